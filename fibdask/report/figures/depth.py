"""Figures about the third axis: drift of the slices, their thickness and their depth."""

from itertools import cycle
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...conventions import OUTLIER_SCORE, thickness_outliers
from ..words import uniform
from .plots import ACCENT, ALARM, INK, constrained, legend_above, plot_axes

# Told apart by colour-blind readers, and by their dashes in grey.
CURVE_STYLES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))
_LOST, _REFERENCE = "#8a929e", "#E69F00"


def depth_trace(stack: xr.Dataset, figure: Figure | None = None) -> Figure:
    """Plot depth and thickness against the slice number, and the thickness histogram."""
    z, thickness = stack["z"].values, stack["slice_thickness"].values
    if len(thickness) > 1:
        thickness = thickness[:-1]  # that of the last slice is nominal
    slices = np.arange(len(z))
    figure = constrained(figure, 9.6, 4.4)
    grid = figure.add_gridspec(2, 2, width_ratios=(4, 1), height_ratios=(1, 1.5))
    depth = plot_axes(figure, grid[0, 0], "", "depth z (µm)")
    depth.tick_params(labelbottom=False)
    depth.plot(slices, z / 1000, color=ACCENT, linewidth=1.4)
    trace = plot_axes(figure, grid[1, 0], "slice", "slice thickness (nm)")
    trace.sharex(depth)
    _thickness(trace, thickness, thickness_outliers(thickness))
    histogram = plot_axes(figure, grid[1, 1], "slices", "")
    _histogram(histogram, trace, {"": thickness})
    return figure


def thickness_trace(
    estimate: xr.Dataset, sources: dict[str, np.ndarray], figure: Figure | None = None
) -> Figure:
    """Plot estimated thickness with its standard error, and histograms of all sources.

    `sources` are thicknesses (z) by name, that of the estimate first, then a second one if any.
    """
    (_, thickness), *others = sources.items()
    figure = constrained(figure, 9.6, 3.4)
    grid = figure.add_gridspec(1, 2, width_ratios=(3, 1))
    trace = plot_axes(figure, grid[0], "slice", "slice thickness (nm)")
    for name, values in others:
        trace.plot(values, color=_REFERENCE, linewidth=0.8, label=name)
    error = estimate["standard_error"].values
    ends = thickness - error, thickness + error
    trace.fill_between(np.arange(len(error)), *ends, color=INK, alpha=0.25, linewidth=0)
    _thickness(trace, thickness, estimate["outlier"].values)
    for k in np.flatnonzero(estimate["lost"].values):
        trace.axvspan(k - 0.5, k + 0.5, color=_LOST, alpha=0.3, linewidth=0)
    histogram = plot_axes(figure, grid[1], "slices", "")
    _histogram(histogram, trace, sources)
    return figure


def _thickness(axes: Axes, thickness: np.ndarray, outlier: np.ndarray) -> None:
    """Plot thicknesses with mean, standard deviation and outliers."""
    mean, spread = np.nanmean(thickness), np.nanstd(thickness)
    axes.axhspan(mean - spread, mean + spread, color=ACCENT, alpha=0.12, linewidth=0)
    axes.axhline(mean, color=ACCENT, linewidth=1, linestyle="--")
    axes.plot(thickness, color=INK, linewidth=0.8)
    out = np.flatnonzero(outlier)
    if len(out):
        label = f"|z-score| > {OUTLIER_SCORE}"
        axes.plot(out, thickness[out], "o", color=ALARM, markersize=3.5, label=label)
    if axes.get_legend_handles_labels()[1]:
        legend_above(axes)
    if uniform(thickness):
        axes.set_ylim(0, 1.6 * mean)


def _histogram(axes: Axes, trace: Axes, sources: dict[str, np.ndarray]) -> None:
    """Draw lying histograms at the right of a trace; the first one filled."""
    bins = min(max(max(map(len, sources.values())) // 4, 5), 30)
    ends = [f(v) for v in sources.values() for f in (np.nanmin, np.nanmax)]
    even = max(ends) - min(ends) <= 1e-9 * max(ends)
    limits = trace.get_ylim() if even else (min(ends), max(ends))
    style: dict[str, Any] = {"range": limits, "orientation": "horizontal"}
    first, *others = ({"label": name} | {"x": v[np.isfinite(v)]} for name, v in sources.items())
    axes.hist(bins=bins, color=ACCENT, alpha=0.7, **first, **style)
    for other in others:
        axes.hist(bins=bins, histtype="step", color=_REFERENCE, linewidth=1.6, **other, **style)
    if others:
        axes.legend(frameon=False, fontsize=8, loc="upper right")
    axes.sharey(trace)
    axes.tick_params(labelleft=False)


def drift_trace(estimate: xr.Dataset) -> Figure:
    """Plot the shifts (voltage, z) along y and x against depth; flagged slices are crossed out."""
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    grid = figure.add_gridspec(2, 1)
    for row, axis in enumerate("yx"):
        label = "depth z (µm)" if row else ""
        axes = plot_axes(figure, grid[row], label, f"shift along {axis} (nm)")
        _curves(axes, estimate[f"shift_{axis}"])
        for curve, flag in zip(estimate[f"shift_{axis}"], estimate["flag"].values, strict=True):
            flagged = curve[flag > 0]
            style: dict[str, Any] = {"color": INK, "markersize": 6, "markeredgewidth": 1.6}
            axes.plot(flagged["z"] / 1000, flagged, "x", **style)
        axes.sharex(figure.axes[0])
        axes.tick_params(labelbottom=row == 1)
    legend_above(figure.axes[0])
    figure.align_ylabels()
    return figure


def pair_quality(pairs: xr.Dataset) -> Figure:
    """Plot correlations and residual of each slice with the next one (voltage, z) against depth."""
    figure = Figure(figsize=(9.6, 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 1)
    correlation = plot_axes(figure, grid[0], "", "correlation")
    _curves(correlation, pairs["correlation_before"], ", before", linewidth=0.7, alpha=0.5)
    _curves(correlation, pairs["correlation_after"], ", after")
    residual = plot_axes(figure, grid[1], "depth z (µm)", "residual (nm)")
    _curves(residual, pairs["residual"])
    residual.set_ylim(0, None)
    residual.sharex(correlation)
    correlation.tick_params(labelbottom=False)
    for axes in figure.axes:
        legend_above(axes)
    figure.align_ylabels()
    return figure


def _curves(axes: Axes, values: xr.DataArray, when: str = "", **style: float) -> None:
    """Plot values (voltage, z) against depth, by voltage in colour and dashes."""
    for curve, (colour, dashes) in zip(values, cycle(CURVE_STYLES), strict=False):
        drawn: dict[str, Any] = {"linewidth": 1.3, "color": colour, "linestyle": dashes} | style
        label = f"{float(curve['voltage']):g} kV{when}"
        axes.plot(curve["z"] / 1000, curve, label=label, **drawn)


def distance_trace(stack: xr.Dataset, distance: np.ndarray) -> Figure:
    """Plot the distance of each plane to the nearest measured one against depth."""
    figure = Figure(figsize=(9.6, 2.1), layout="constrained")
    axes = plot_axes(figure, figure.add_gridspec(1, 1)[0], "depth z (µm)", "distance (nm)")
    style: dict[str, Any] = {"color": ACCENT, "linewidth": 0.8, "step": "mid", "alpha": 0.7}
    axes.fill_between(stack["z"].values / 1000, distance, **style)
    axes.set_ylim(0, None)
    return figure
