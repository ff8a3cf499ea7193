"""Plots of stacks, for notebooks and scripts: the figures of the report, one at a time."""

from io import BytesIO

import xarray as xr
from matplotlib.figure import Figure

from ..conventions import (
    PHASES,
    ConventionError,
    known_planes,
    require,
    thickness_outliers,
    voltage_index,
    volume_names,
)
from ..statistics import phase_statistics
from .figures import slices
from .figures.depth import depth_trace, thickness_trace
from .figures.plots import correlation_curves, orthogonal_views
from .sections.statistics import CURVES


class _Shown(Figure):
    """A figure that is no part of pyplot, and that notebooks show all the same."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format="png", dpi=110)
        return stream.getvalue()


def plot_slices(
    stack: xr.Dataset,
    *,
    variable: str | None = None,
    voltage: float | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw the middle planes of a volume across z, y and x, each slice at its depth.

    Reads three planes of the volume. Planes without data are coloured.

    Parameters
    ----------
    stack
        A stack.
    variable
        Name of the volume; by default the images, else the phase.
    voltage
        Voltage of the images in kV; by default the lowest.
    figure
        Figure to draw into, such as `pyplot.figure()`; by default a new one, which notebooks show
        and `savefig` writes.

    Returns
    -------
    Figure
        Matplotlib figure.

    Raises
    ------
    ConventionError
        If there is no such volume or voltage.
    """
    stack = require(stack)
    volume = _volume(stack, variable, voltage)
    known = known_planes(volume)
    where = slices.geometry(stack, known)
    planes = slices.read_planes({"": volume}, where)[""]
    if volume.name in PHASES:
        pictures = slices.label_pictures(planes, [slices.PORE, slices.SOLID], where, ~known)
    else:
        pictures = slices.grey_pictures(planes, where, ~known)
    return orthogonal_views(pictures, where, _Shown() if figure is None else figure)


def _volume(stack: xr.Dataset, variable: str | None, voltage: float | None) -> xr.DataArray:
    """Return the volume (z, y, x) that is meant."""
    volumes = volume_names(stack)
    name = variable or next(iter(volumes), None)
    if name not in volumes:
        msg = f"variable must be a volume of the stack, {', '.join(volumes) or 'none'}; got {name}"
        raise ConventionError(msg)
    volume = stack[name]
    if "voltage" not in volume.dims:
        return volume
    return volume.isel(voltage=voltage_index(stack, voltage))


def plot_thickness(
    stack: xr.Dataset, *, estimate: xr.DataArray | None = None, figure: Figure | None = None
) -> Figure:
    """Draw depth and thickness of the slices, or an estimate with its standard errors.

    Parameters
    ----------
    stack
        A stack.
    estimate
        Result (z) in nm of `estimate_slice_thickness`, drawn beside the thickness of the stack,
        with a band of one standard error, its outliers, and the lost slices.
    figure
        As for `plot_slices`.

    Returns
    -------
    Figure
        Matplotlib figure.

    Raises
    ------
    ConventionError
        If the estimate is for other slices.
    """
    stack = require(stack)
    figure = _Shown() if figure is None else figure
    if estimate is None:
        return depth_trace(stack, figure)
    if estimate.shape != (stack.sizes["z"],):
        msg = f"estimate must be of {stack.sizes['z']} slices (z); found {estimate.shape}"
        raise ConventionError(msg)
    found = estimate.rename("thickness").reset_coords()
    found = found.assign(outlier=("z", thickness_outliers(estimate.values)))
    if missing := {"standard_error", "lost"} - set(found):
        msg = f"estimate must be what estimate_slice_thickness returns; it has no {min(missing)}"
        raise ConventionError(msg)
    sources = {"estimated": estimate.values, "of the stack": stack["slice_thickness"].values}
    return thickness_trace(found, sources, figure)


def plot_correlations(
    phase: xr.DataArray,
    *,
    max_lag: int,
    confidence: float = 0.95,
    seed: int = 0,
    figure: Figure | None = None,
) -> Figure:
    """Measure and draw the two-point correlation and the lineal path, with their error bars.

    Reads the phase once; use `phase_statistics` if you need the numbers too.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm, with evenly spaced slices.
    max_lag
        Longest segment, in voxels between its ends.
    confidence, seed
        Level and seed of the intervals, as for `phase_statistics`.
    figure
        As for `plot_slices`.

    Returns
    -------
    Figure
        Matplotlib figure; bands are the confidence intervals.

    Raises
    ------
    ConventionError
        If the phase cannot be measured.
    """
    statistics = phase_statistics(phase, max_lag=max_lag, confidence=confidence, seed=seed)
    names = [*CURVES, *(f"{name}_interval" for name in CURVES), "solid_fraction"]
    found = statistics[names].compute()
    return correlation_curves(found, CURVES, _Shown() if figure is None else figure)
