"""Figures about the third axis: drift of the slices, their thickness and their depth."""

from itertools import cycle
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import ACCENT, ALARM, INK, plot_axes

# Told apart by colour-blind readers, and by their dashes in grey.
CURVE_STYLES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))
_BEFORE, _REFERENCE = "#8a929e", "#E69F00"
_OUTLIER = 1.5  # z-score


def thickness_outliers(thickness: np.ndarray) -> np.ndarray:
    """Return where the z-score of slice thicknesses exceeds 1.5 either way; NaN is none."""
    known = thickness[np.isfinite(thickness)]
    if not len(known) or known.std() <= 1e-9 * known.mean():
        return np.zeros(len(thickness), bool)
    return np.asarray(np.abs(thickness - known.mean()) > _OUTLIER * known.std())


def depth_trace(stack: xr.Dataset) -> Figure:
    """Plot depth and thickness against the slice number, and the thickness histogram."""
    z, thickness = stack["z"].values, stack["slice_thickness"].values
    if len(thickness) > 1:
        thickness = thickness[:-1]  # that of the last slice is nominal
    slices = np.arange(len(z))
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
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


def thickness_trace(estimate: xr.Dataset, labels: tuple[str, str]) -> Figure:
    """Plot estimated thickness with its standard error, and histograms of it and a reference.

    `labels` are those of the estimate and of its `reference_thickness`.
    """
    thickness = estimate["thickness"].values
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    grid = figure.add_gridspec(1, 2, width_ratios=(3, 1))
    trace = plot_axes(figure, grid[0], "slice", "slice thickness (nm)")
    sources = {labels[0]: thickness}
    if "reference_thickness" in estimate:
        sources[labels[1]] = estimate["reference_thickness"].values
        trace.plot(sources[labels[1]], color=_REFERENCE, linewidth=0.8, label=labels[1])
    if "standard_error" in estimate:
        error = estimate["standard_error"].values
        ends = thickness - error, thickness + error
        trace.fill_between(np.arange(len(error)), *ends, color=INK, alpha=0.25, linewidth=0)
    _thickness(trace, thickness, estimate["outlier"].values)
    for k in np.flatnonzero(estimate["lost"].values):
        trace.axvspan(k - 0.5, k + 0.5, color=_BEFORE, alpha=0.3, linewidth=0)
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
        axes.plot(out, thickness[out], "o", color=ALARM, markersize=3.5, label="|z-score| > 1.5")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8, loc="upper right", ncols=2)
    if spread <= 1e-9 * mean:
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
        axes.legend(frameon=False, fontsize=8)
    axes.sharey(trace)
    axes.tick_params(labelleft=False)


def drift_trace(estimate: xr.Dataset) -> Figure:
    """Plot the shifts (voltage, z) along y and x against depth; bad slices are crossed out."""
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    grid = figure.add_gridspec(2, 1)
    for row, axis in enumerate("yx"):
        label = "depth z (µm)" if row else ""
        axes = plot_axes(figure, grid[row], label, f"shift along {axis} (nm)")
        for curve, colour, dashes in _per_voltage(estimate[f"shift_{axis}"]):
            z, name = curve["z"].values / 1000, _voltage_name(curve)
            axes.plot(z, curve, color=colour, linestyle=dashes, linewidth=1.3, label=name)
            if "bad" in estimate:
                bad = _of_voltage(estimate["bad"], curve).values
                style: dict[str, Any] = {"color": INK, "markersize": 6, "markeredgewidth": 1.6}
                axes.plot(z[bad], curve.values[bad], "x", **style)
        axes.sharex(figure.axes[0])
        axes.tick_params(labelbottom=row == 1)
    if "voltage" in estimate.dims:
        figure.axes[0].legend(frameon=False, fontsize=8, ncols=4)
    figure.align_ylabels()
    return figure


def pair_quality(estimate: xr.Dataset) -> Figure:
    """Plot the correlation of each slice with its neighbours, thin before, and residuals."""
    panels = [("correlation_after", "correlation"), ("residual", "residual")]
    panels = [(name, label) for name, label in panels if name in estimate]
    figure = Figure(figsize=(9.6, 2.3 * len(panels) + 0.4), layout="constrained")
    grid = figure.add_gridspec(len(panels), 1)
    for row, (name, label) in enumerate(panels):
        unit = estimate[name].attrs.get("units")
        last = row == len(panels) - 1
        ylabel = f"{label} ({unit})" if unit else label
        axes = plot_axes(figure, grid[row], "depth z (µm)" if last else "", ylabel)
        axes.sharex(figure.axes[0])
        axes.tick_params(labelbottom=last)
        if name == "correlation_after" and "correlation_before" in estimate:
            _plot_quality(axes, per_slice(estimate["correlation_before"]), before=True)
        if name == "residual":
            _plot_quality(axes, per_slice(estimate[name] ** 2) ** 0.5, before=False)
            axes.set_ylim(0, None)
        else:
            _plot_quality(axes, per_slice(estimate[name]), before=False)
    if "voltage" in estimate.dims:
        figure.axes[0].legend(frameon=False, fontsize=8, ncols=4, loc="best")
    figure.align_ylabels()
    return figure


def _plot_quality(axes: Axes, values: xr.DataArray, *, before: bool) -> None:
    """Plot a quality of slices (voltage, z) against depth."""
    for curve, colour, dashes in _per_voltage(values):
        style: dict[str, Any] = {"color": colour, "linestyle": dashes, "linewidth": 1.3}
        style |= {"alpha": 0.5, "linewidth": 0.7} if before else {"label": _voltage_name(curve)}
        axes.plot(curve["z"] / 1000, curve, **style)


def per_slice(values: xr.DataArray) -> xr.DataArray:
    """Return the mean over all pairs of a slice, (voltage, z) or (z)."""
    others = [dim for dim in values.dims if dim not in ("voltage", "z")]
    return values.mean(others) if others else values


def distance_trace(stack: xr.Dataset, distance: np.ndarray) -> Figure:
    """Plot the distance of each plane to the nearest measured one against depth."""
    figure = Figure(figsize=(9.6, 2.1), layout="constrained")
    axes = plot_axes(figure, figure.add_gridspec(1, 1)[0], "depth z (µm)", "distance (nm)")
    style: dict[str, Any] = {"color": ACCENT, "linewidth": 0.8, "step": "mid", "alpha": 0.7}
    axes.fill_between(stack["z"].values / 1000, distance, **style)
    axes.set_ylim(0, None)
    return figure


def _per_voltage(values: xr.DataArray) -> list[tuple[xr.DataArray, str, str]]:
    """Return a curve (z) for each voltage, with colour and dashes."""
    if "voltage" not in values.dims:
        return [(values, *CURVE_STYLES[0])]
    curves = [values.isel(voltage=v) for v in range(values.sizes["voltage"])]
    return [(curve, *style) for curve, style in zip(curves, cycle(CURVE_STYLES), strict=False)]


def _of_voltage(values: xr.DataArray, curve: xr.DataArray) -> xr.DataArray:
    return values.sel(voltage=curve["voltage"]) if "voltage" in values.dims else values


def _voltage_name(curve: xr.DataArray) -> str:
    return f"{float(curve['voltage']):g} kV" if "voltage" in curve.coords else ""
