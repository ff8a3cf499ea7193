"""Two-point correlation, lineal path and ligament diameter along the axes of a phase.

Counts along lines are integers, added over all columns and divided once, so results are the same
bits under any chunking. What is computed together, with the same `max_lag` and `axes`, is counted
together. Every axis reads the volume in full-length columns: save a phase before measuring it,
for a lazy one is computed anew for each axis.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import index
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import reduce_blocks
from ..conventions import AXES, ConventionError, axis_spacing, require_phase
from .columns import LineCounts


def two_point_correlation(
    phase: xr.DataArray, *, max_lag: int, axes: Sequence[str] = AXES
) -> xr.DataArray:
    """Return the probability that both ends of a segment along an axis lie in the solid.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm.
    max_lag
        Longest segment, in voxels between its ends.
    axes
        Any of z, y, x. Along z the slices must be evenly spaced.

    Returns
    -------
    xr.DataArray
        S2 (axis, lag), lazy, with the lag in voxels and `distance` (axis, lag) in nm. NaN where
        no segment fits into the volume.

    Raises
    ------
    ConventionError
        If z is among the axes and irregular; reposition the slices first.

    Notes
    -----
    S2(r) is the number of pairs of solid voxels r apart, over the number of all pairs r apart,
    both inside the volume: nothing is taken to be periodic. S2(0) is the solid fraction; a
    longer lag may exceed it, for it leaves out voxels (S2(2) of the row 1, 0, 1 is 1).
    """
    lines = line_counts(require_phase(phase), max_lag=max_lag, axes=axes)
    return two_point_array(phase, lines)


def lineal_path(phase: xr.DataArray, *, max_lag: int, axes: Sequence[str] = AXES) -> xr.DataArray:
    """Return the probability that a whole segment along an axis lies in the solid.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm.
    max_lag
        Longest segment, in voxels between its ends.
    axes
        Any of z, y, x. Along z the slices must be evenly spaced.

    Returns
    -------
    xr.DataArray
        L (axis, lag), lazy, with the lag in voxels and `distance` (axis, lag) in nm. NaN where
        no segment fits into the volume.

    Raises
    ------
    ConventionError
        If z is among the axes and irregular; reposition the slices first.

    Notes
    -----
    L(k) is the share of the segments of k + 1 voxels that are solid throughout. A run of l solid
    voxels holds max(l - k, 0) of them, a line of n voxels max(n - k, 0):
    L(k) = Σ_runs max(l - k, 0) / Σ_lines max(n - k, 0).
    """
    lines = line_counts(require_phase(phase), max_lag=max_lag, axes=axes)
    return lineal_path_array(phase, lines)


def ligament_diameter(phase: xr.DataArray, *, axes: Sequence[str] = AXES) -> xr.DataArray:
    """Return the mean ligament diameter along each axis: the area under L / L(0).

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm.
    axes
        Any of z, y, x. Along z the slices must be evenly spaced.

    Returns
    -------
    xr.DataArray
        D (axis) in nm, lazy. NaN without any solid, and along an axis of one voxel that has no
        spacing.

    Raises
    ------
    ConventionError
        If z is among the axes and irregular; reposition the slices first.

    Notes
    -----
    D = h (½ + Σ_{k≥1} L(k) / L(0)) with the voxel size h and the lineal path L, summed over the
    whole length of the axis.
    """
    return diameter_array(phase, line_counts(require_phase(phase), max_lag=0, axes=axes))


def line_counts(phase: xr.DataArray, *, max_lag: int, axes: Iterable[str]) -> LineCounts:
    """Return the counts that statistics of a phase along axes need."""
    axes = tuple(axes)
    if not axes or len(set(axes)) < len(axes) or not set(axes) <= set(AXES):
        msg = f"axes must be different ones of {', '.join(AXES)}; got {axes}"
        raise ConventionError(msg)
    shape = (phase.sizes["z"], phase.sizes["y"], phase.sizes["x"])
    return LineCounts(shape, tuple(AXES.index(axis) for axis in axes), _checked_lag(max_lag))


def _checked_lag(max_lag: int) -> int:
    try:
        lag = index(max_lag)
    except TypeError:
        lag = -1
    if lag < 0:
        msg = f"max_lag must be a whole number of voxels >= 0; got {max_lag!r}"
        raise ConventionError(msg)
    return lag


def spacings(phase: xr.DataArray, lines: LineCounts) -> tuple[float, ...]:
    """Return the voxel sizes in nm along the counted axes; they must be regular."""
    return tuple(axis_spacing(phase, AXES[axis]) for axis in lines.axes)


def reduce_lines(
    phase: xr.DataArray,
    lines: LineCounts,
    finish: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, ...],
) -> Any:
    """Count along lines, lazily, and finish to a small array."""
    return reduce_blocks(lines, [phase.data], grid=lines.columns, finish=finish, shape=shape)


def two_point_array(phase: xr.DataArray, lines: LineCounts) -> xr.DataArray:
    """Return the two-point correlation from these counts."""
    return _curves(phase, lines, two_point_values, "two_point_correlation", "two-point correlation")


def lineal_path_array(phase: xr.DataArray, lines: LineCounts) -> xr.DataArray:
    """Return the lineal path from these counts."""
    return _curves(phase, lines, lineal_path_values, "lineal_path", "lineal path function")


def diameter_array(phase: xr.DataArray, lines: LineCounts) -> xr.DataArray:
    """Return the mean ligament diameters from these counts."""
    finish = partial(diameter_values, lines, spacings(phase, lines))
    return xr.DataArray(
        reduce_lines(phase, lines, finish, (len(lines.axes),)),
        dims="axis",
        coords={"axis": [AXES[axis] for axis in lines.axes]},
        name="ligament_diameter",
        attrs={"long_name": "mean ligament diameter", "units": "nm"},
    )


def _curves(
    phase: xr.DataArray,
    lines: LineCounts,
    values: Callable[[LineCounts, np.ndarray], np.ndarray],
    name: str,
    long_name: str,
) -> xr.DataArray:
    lag = np.arange(lines.max_lag + 1)
    distance = np.multiply.outer(spacings(phase, lines), lag)
    attrs = {"long_name": "distance of the ends", "units": "nm"}
    return xr.DataArray(
        reduce_lines(phase, lines, partial(values, lines), distance.shape),
        dims=("axis", "lag"),
        coords={
            "axis": [AXES[axis] for axis in lines.axes],
            "lag": ("lag", lag, {"long_name": "distance of the ends in voxels"}),
            "distance": (("axis", "lag"), distance, attrs),
        },
        name=name,
        attrs={"long_name": long_name, "units": "1"},
    )


def two_point_values(lines: LineCounts, counts: np.ndarray) -> np.ndarray:
    """Return S2 (axis, lag) of summed counts."""
    pairs = [lines.along(counts, axis)[0] for axis in lines.axes]
    return np.stack([_shares(lines, axis, n) for axis, n in zip(lines.axes, pairs, strict=True)])


def lineal_path_values(lines: LineCounts, counts: np.ndarray) -> np.ndarray:
    """Return L (axis, lag) of summed counts."""
    paths = [_path(lines, counts, axis, lines.max_lag) for axis in lines.axes]
    return np.stack(paths)


def diameter_values(
    lines: LineCounts, spacing: Sequence[float], counts: np.ndarray, max_lag: int | None = None
) -> np.ndarray:
    """Return D (axis) in nm of summed counts; up to a lag, or over the whole length."""
    diameters = []
    for axis, step in zip(lines.axes, spacing, strict=True):
        last = lines.shape[axis] - 1
        path = _path(lines, counts, axis, last if max_lag is None else min(max_lag, last))
        area = 0.5 + np.sum(path[1:] / path[0]) if path[0] > 0 else np.nan
        diameters.append(step * area)
    return np.array(diameters)


def _path(lines: LineCounts, counts: np.ndarray, axis: int, max_lag: int) -> np.ndarray:
    """Return L along an axis at lags 0 … max_lag."""
    runs = lines.along(counts, axis)[1]
    # Runs at least as long as k + 1 hold a segment of lag k more than of lag k + 1.
    at_least = np.cumsum(runs[:0:-1])
    solid = np.zeros(max(max_lag + 1, len(runs) - 1), np.int64)
    solid[: len(runs) - 1] = np.cumsum(at_least)[::-1]
    return _shares(lines, axis, solid[: max_lag + 1])


def _shares(lines: LineCounts, axis: int, solid: np.ndarray) -> np.ndarray:
    """Return solid segments over all segments of each lag; NaN where there is none."""
    segments = lines.segments(axis, len(solid))
    shares = np.full(len(solid), np.nan)
    np.divide(solid, segments, out=shares, where=segments > 0)
    return shares
