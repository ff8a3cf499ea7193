"""Figures that show the physics of simulated images."""

from itertools import cycle, pairwise
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from .depth import CURVE_STYLES
from .plots import ALARM, INK, draw_scale_bar, plot_axes
from .slices import PORE, SOLID, Geometry

# Told apart by colour-blind readers: after Okabe and Ito, dark enough for thin lines.
_COLOURS = ("#222a35", "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#B07A00")
_MARKERS = "os^Dv>"
_FLIGHT = 0.12  # of an electron that has come out, as a share of the depth shown
_WIDTH = 0.75  # least half-width of that figure, as a share of its height
_COLUMNS = 4  # of pictures in a row


def trajectory_paths(paths: xr.Dataset) -> Figure:
    """Plot the paths of electrons across x, depth downwards; those that come out in front."""
    out = paths["backscattered"].values
    lines = [
        np.stack([x[known], z[known]], axis=1)
        for x, z, known in zip(
            paths["x"].values, paths["z"].values, paths["z"].notnull().values, strict=True
        )
    ]
    depth, side = (max(float(np.abs(line[:, k]).max()) for line in lines) for k in (1, 0))
    flight = _FLIGHT * depth
    lines = [_with_exit(line, flight) if o else line for line, o in zip(lines, out, strict=True)]
    figure = Figure(figsize=(9.6, 6.0), layout="constrained")
    axes = plot_axes(figure, figure.add_gridspec(1, 1)[0], "x (nm)", "depth z (nm)")
    bottom, top = depth + flight / 2, -2 * flight
    side = max(side, _WIDTH * (bottom - top))
    axes.set(xlim=(-side, side), ylim=(bottom, top), aspect="equal")
    axes.axhline(0, color=INK, linewidth=1)
    for colour, share, label in (("#6f94b8", ~out, "absorbed"), (ALARM, out, "back-scattered")):
        chosen = [line for line, wanted in zip(lines, share, strict=True) if wanted]
        drawn = LineCollection(chosen, colors=colour, linewidths=0.6, alpha=0.75, label=label)
        axes.add_collection(drawn)
    arrow: dict[str, Any] = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.6}
    axes.annotate("", (0, 0), (0, -2 * flight), arrowprops=arrow)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def _with_exit(line: np.ndarray, flight: float) -> np.ndarray:
    """Let an electron fly on straight after its exit."""
    step = line[-1] - line[-2]
    length = float(np.hypot(*step)) or 1.0
    return np.vstack([line, line[-1] + flight * step / length])


def coefficient_curves(coefficients: xr.Dataset) -> Figure:
    """Plot the backscatter coefficients of materials against energy, with measured points."""
    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    axes = plot_axes(figure, figure.add_gridspec(1, 1)[0], "", "backscatter coefficient η")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda energy, _: f"{energy:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("energy of the beam (keV)", color=INK, fontsize=9)
    curves = coefficients["backscatter_coefficient"].transpose("material", "energy")
    ends = _apart(curves.values[:, -1], 0.05 * float(curves.max()))
    styles = zip(cycle(_COLOURS), cycle(_MARKERS), strict=True)
    for name, curve, end, (colour, marker) in zip(
        curves["material"].values, curves.values, ends, styles, strict=False
    ):
        axes.plot(curves["energy"], curve, color=colour, linewidth=1.6)
        text: dict[str, Any] = {"color": colour, "fontsize": 9, "va": "center"}
        axes.annotate(str(name), (1.01, end), xycoords=("axes fraction", "data"), **text)
        if "measured_coefficient" in coefficients:
            points = coefficients["measured_coefficient"]
            points = points[points["measured_material"].values == name]
            hollow: dict[str, Any] = {"color": colour, "markersize": 4, "markerfacecolor": "none"}
            axes.plot(points["measured_energy"], points, marker, markeredgewidth=0.8, **hollow)
    energies = curves["energy"].values
    axes.set(xlim=(energies.min() / 1.1, energies.max() * 1.1), ylim=(0, None))
    return figure


def _apart(places: np.ndarray, gap: float) -> np.ndarray:
    """Move places up where they are closer than a gap."""
    moved = places.copy()
    order = np.argsort(places)
    for lower, upper in pairwise(order):
        moved[upper] = max(moved[upper], moved[lower] + gap)
    return moved


def shine_through_curves(signal: xr.DataArray, half: dict[float, float]) -> Figure:
    """Plot signals (voltage, depth) against depth; `half` is that of half contrast by voltage."""
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    label = "thickness of the layer (nm)"
    axes = plot_axes(figure, figure.add_gridspec(1, 1)[0], label, "mean intensity")
    for number, voltage in enumerate(signal["voltage"].values):
        colour, dashes = CURVE_STYLES[number % len(CURVE_STYLES)]
        curve = signal.sel(voltage=voltage)
        depth = curve["depth"].values
        name = f"{voltage:g} kV"
        axes.plot(depth, curve, color=colour, linestyle=dashes, linewidth=1.6, label=name)
        level = np.interp(half[voltage], depth, curve)
        axes.plot([half[voltage]] * 2, [0, level], ":", color=colour, linewidth=1)
        axes.plot(half[voltage], level, "o", color=colour, markersize=5)
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    return figure


def slice_row(images: xr.DataArray, truth: xr.DataArray, where: Geometry) -> Figure:
    """Show one slice at all voltages (voltage, y, x) on one grey scale, and its truth (y, x)."""
    grey = images.values.astype(np.float64)
    low, high = np.nanquantile(grey, (0.005, 0.995))
    shown = [
        *(
            (f"{voltage:g} kV", image)
            for voltage, image in zip(images["voltage"], grey, strict=True)
        ),
        ("truth", _coloured(truth.values)),
    ]
    width, height = where.length("x"), where.length("y")
    rows = -(-len(shown) // _COLUMNS)
    columns = min(len(shown), _COLUMNS)
    size = 9.6, 9.6 / columns * rows * (height / width) + 0.3 * rows
    figure = Figure(figsize=size, layout="constrained")
    for number, (title, picture) in enumerate(shown):
        axes = figure.add_subplot(rows, columns, number + 1)
        scale: dict[str, Any] = {"cmap": "gray", "vmin": low, "vmax": max(high, low + 1e-9)}
        axes.imshow(picture, extent=(0, width, height, 0), **scale)
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=9, color=INK)
    draw_scale_bar(figure.axes[0], width, height)
    return figure


def _coloured(labels: np.ndarray) -> np.ndarray:
    """Return colours (y, x, rgb) of phases, or of more labels from dark to light."""
    if labels.max() < 2:
        palette = np.array([PORE, SOLID])
    else:
        palette = colormaps["cividis"](np.linspace(0, 1, int(labels.max()) + 1))[:, :3]
    return np.asarray(palette[labels])
