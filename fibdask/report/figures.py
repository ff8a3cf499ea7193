"""Figures of the report, each a Matplotlib `Figure` of its own: no pyplot, no global state."""

import base64
import io
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator

from .slices import VIEWS, Geometry, Planes

AXIS_STYLES = {"x": ("#0072B2", "-"), "y": ("#009E73", "--"), "z": ("#D55E00", "-.")}
_INK, _GRID, _ACCENT, _ALARM = "#333a45", "#d9dde3", "#0072B2", "#D55E00"
_OUTLIER = 1.5  # z-score
_GUTTER = 0.025  # between views, as a share of the figure's longer edge


def embedded(figure: Figure, kind: str) -> str:
    """Return a figure as the data address of an image, `kind` svg or png."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    if kind == "svg":
        metadata: dict[str, str | None] = {"Date": None, "Creator": None}
        figure.savefig(stream, format="svg", metadata=metadata, transparent=True)
    else:
        figure.savefig(stream, format="png", dpi=160)
    media = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    return f"data:{media};base64,{base64.b64encode(stream.getvalue()).decode()}"


def orthogonal_views(pictures: Planes, where: Geometry) -> Figure:
    """Show xy with yz to its right and xz below it, in true proportions, with a scale bar."""
    x, y, z = (where.length(axis) for axis in "xyz")
    gutter = _GUTTER * (max(x, y) + z)
    width, height = x + gutter + z, y + gutter + z
    inches = 5.2 / max(width, height)
    figure = Figure(figsize=(width * inches, height * inches))
    boxes = {"xy": (0, z + gutter, x, y), "yz": (x + gutter, z + gutter, z, y), "xz": (0, 0, x, z)}
    for view, (left, bottom, wide, high) in boxes.items():
        picture = pictures[view]
        across, down = VIEWS[view][1], VIEWS[view][0]
        if view == "yz":  # depth to the right, so that y runs as in the view beside it
            picture, across, down = picture.swapaxes(0, 1), "z", "y"
        box = (left / width, bottom / height, wide / width, high / height)
        axes = figure.add_axes(box)
        extent = (0, where.length(across), where.length(down), 0)
        colours = np.rint(255 * picture).clip(0, 255).astype(np.uint8)
        axes.imshow(colours, extent=extent, aspect="auto", interpolation="antialiased")
        _mark_planes(axes, where, across, down)
    _scale_bar(figure.axes[0], x, y)
    return figure


def _mark_planes(axes: Axes, where: Geometry, across: str, down: str) -> None:
    """Draw where the other two views cut this one, and name its axes."""
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color="#8a929e", linewidth=0.6)
    line: dict[str, Any] = {
        "color": _ACCENT,
        "linewidth": 0.7,
        "alpha": 0.75,
        "linestyle": (0, (6, 4)),
    }
    axes.axvline(where.position(across), **line)
    axes.axhline(where.position(down), **line)
    label: dict[str, Any] = {
        "facecolor": "white",
        "alpha": 0.85,
        "edgecolor": "none",
        "boxstyle": "round,pad=0.2",
    }
    offset: dict[str, Any] = {"textcoords": "offset points", "va": "top", "ha": "left"}
    text = f"{across} → {down} ↓"
    axes.annotate(
        text, (0, 1), (4, -4), "axes fraction", fontsize=11, color=_INK, bbox=label, **offset
    )


def _scale_bar(axes: Axes, width: float, height: float) -> None:
    length, text = scale_bar_length(width)
    left, right, level = 0.04 * width, 0.04 * width + length, height - 0.05 * min(width, height)
    for colour, thickness in (("white", 5.0), (_INK, 2.6)):
        axes.plot([left, right], [level, level], color=colour, linewidth=thickness)
    label: dict[str, Any] = {
        "facecolor": "white",
        "alpha": 0.85,
        "edgecolor": "none",
        "boxstyle": "round,pad=0.2",
    }
    place = ((left + right) / 2, level)
    offset: dict[str, Any] = {"textcoords": "offset points", "va": "bottom", "ha": "center"}
    axes.annotate(text, place, (0, 5), fontsize=11, color=_INK, bbox=label, **offset)
    axes.set(xlim=(0, width), ylim=(height, 0))


def scale_bar_length(width: float) -> tuple[float, str]:
    """Return the length of a scale bar in nm, 1, 2 or 5 times a power of ten, and its label.

    It is the longest up to a third of `width` nm.
    """
    power = 10.0 ** np.floor(np.log10(width / 3))
    length = float(max(m * power for m in (1, 2, 5) if m * power <= width / 3 * (1 + 1e-9)))
    return length, f"{length / 1000:g} µm" if length >= 1000 else f"{length:g} nm"


def thickness_outliers(thickness: np.ndarray) -> np.ndarray:
    """Return where the z-score of slice thicknesses exceeds 1.5 either way."""
    spread = thickness.std()
    if spread <= 1e-9 * thickness.mean():
        return np.zeros(len(thickness), bool)
    return np.asarray(np.abs(thickness - thickness.mean()) > _OUTLIER * spread)


def depth_trace(stack: xr.Dataset) -> Figure:
    """Plot depth and thickness against the slice number, and the thickness histogram."""
    z, thickness = stack["z"].values, stack["slice_thickness"].values
    if len(thickness) > 1:
        thickness = thickness[:-1]  # that of the last slice is nominal
    slices = np.arange(len(z))
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(4, 1), height_ratios=(1, 1.5))
    depth = _axes(figure, grid[0, 0], "", "depth z (µm)")
    depth.tick_params(labelbottom=False)
    depth.plot(slices, z / 1000, color=_ACCENT, linewidth=1.4)
    trace = _axes(figure, grid[1, 0], "slice", "slice thickness (nm)")
    trace.sharex(depth)
    mean, spread = thickness.mean(), thickness.std()
    trace.axhspan(mean - spread, mean + spread, color=_ACCENT, alpha=0.12, linewidth=0)
    trace.axhline(mean, color=_ACCENT, linewidth=1, linestyle="--")
    trace.plot(slices[: len(thickness)], thickness, color=_INK, linewidth=0.8)
    out = np.flatnonzero(thickness_outliers(thickness))
    trace.plot(out, thickness[out], "o", color=_ALARM, markersize=3.5, label="|z-score| > 1.5")
    if len(out):
        trace.legend(frameon=False, fontsize=8, loc="upper right")
    if spread <= 1e-9 * mean:
        trace.set_ylim(0, 1.6 * mean)
    histogram = _axes(figure, grid[1, 1], "slices", "")
    bins = min(max(len(thickness) // 4, 5), 30)
    histogram.hist(
        thickness, bins, range=trace.get_ylim(), orientation="horizontal", color=_ACCENT, alpha=0.7
    )
    histogram.sharey(trace)
    histogram.tick_params(labelleft=False)
    return figure


def fraction_profile(profile: xr.DataArray, measured: np.ndarray | None) -> Figure:
    """Plot the solid fraction of every plane against depth; measured planes as dots."""
    figure = Figure(figsize=(9.6, 3.0), layout="constrained")
    axes = _axes(figure, figure.add_gridspec(1, 1)[0], "depth z (µm)", "solid fraction φ")
    z, values = profile["z"].values / 1000, profile.values
    axes.axhline(values.mean(), color=_INK, linewidth=1, linestyle="--", label="mean")
    axes.plot(z, values, color=_ACCENT, linewidth=1.2, label="planes")
    if measured is not None and len(measured) == len(z) and not measured.all():
        style: dict[str, Any] = {"color": _ALARM, "markersize": 3, "label": "measured planes"}
        axes.plot(z[measured], values[measured], "o", **style)
    axes.set_ylim(0, min(1.0, 1.25 * float(values.max()) + 0.02))
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower right")
    return figure


def correlation_curves(statistics: xr.Dataset, names: dict[str, str]) -> Figure:
    """Plot functions of distance along x, y and z side by side."""
    figure = Figure(figsize=(9.6, 3.7), layout="constrained")
    grid = figure.add_gridspec(1, len(names))
    for number, (name, label) in enumerate(names.items()):
        axes = _axes(figure, grid[number], "distance r (nm)", label)
        curves = statistics[name]
        for axis in sorted(str(a) for a in curves["axis"].values):
            curve = curves.sel(axis=axis)
            colour, dashes = AXIS_STYLES.get(axis, (_INK, "-"))
            style: dict[str, Any] = {
                "color": colour,
                "linestyle": dashes,
                "linewidth": 1.6,
                "label": f"along {axis}",
            }
            distance = curve["distance"].values
            axes.plot(distance, curve.values, **style)
            if f"{name}_interval" in statistics:
                ends = statistics[f"{name}_interval"].sel(axis=axis)
                lower, upper = (ends.sel(bound=bound).values for bound in ("lower", "upper"))
                axes.fill_between(distance, lower, upper, color=colour, alpha=0.15, linewidth=0)
        if name == "two_point_correlation" and "solid_fraction" in statistics:
            level = float(statistics["solid_fraction"]) ** 2
            axes.axhline(level, color=_INK, linewidth=0.9, linestyle=":", label="φ²")
        axes.set(xlim=(0, None), ylim=(0, None))
        axes.legend(frameon=False, fontsize=8)
    return figure


def _axes(figure: Figure, place: SubplotSpec, xlabel: str, ylabel: str) -> Axes:
    axes = figure.add_subplot(place)
    axes.set_xlabel(xlabel, color=_INK, fontsize=9)
    axes.set_ylabel(ylabel, color=_INK, fontsize=9)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=xlabel == "slices"))
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color="#8a929e")
    return axes
