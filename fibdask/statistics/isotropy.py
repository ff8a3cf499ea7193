"""Isotropy errors: how far statistics along z differ from those along y and x."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import xarray as xr

from ..conventions import AXES, require_phase
from .columns import LineCounts
from .correlation import (
    diameter_values,
    line_counts,
    lineal_path_values,
    reduce_lines,
    spacings,
    two_point_values,
)

STATISTICS = ("two_point_correlation", "lineal_path", "ligament_diameter")

_ROUNDING = 1e-6  # of a voxel: spacings that differ by rounding only share all lags

_LONG_NAMES = {
    "two_point_correlation": "isotropy error of the two-point correlation",
    "lineal_path": "isotropy error of the lineal path function",
    "ligament_diameter": "isotropy error of the mean ligament diameter",
}


def isotropy_errors(phase: xr.DataArray, *, max_lag: int) -> xr.Dataset:
    """Return how far statistics of the solid along z differ from those along y and x.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm, with evenly spaced slices.
    max_lag
        Longest segment that is compared, in voxels.

    Returns
    -------
    xr.Dataset
        `two_point_correlation`, `lineal_path` (e_L2) and `ligament_diameter` (e_D), each (),
        lazy; 0 for an isotropic structure. NaN without any solid, and where no distance but 0 is
        common to all axes (see Notes): there is nothing to compare.

    Raises
    ------
    ConventionError
        If z is irregular; reposition the slices first.

    Notes
    -----
    e_L2 = ½ Σ_{a∈{x,y}} 2 ‖f^a - f^z‖ / (‖f^a‖ + ‖f^z‖) for a function f of the distance, and
    e_D = ½ (|D_xz - D_xy| + |D_yz - D_xy|) / D_xy, where D_ij is the mean of the ligament
    diameters along i and j.

    Functions are compared at distances in nm that are multiples of the coarsest voxel size, up
    to the largest that all axes reach within the volume and `max_lag`; along finer axes they are
    interpolated linearly. With cubic voxels these are the lags themselves. Ligament diameters
    are summed to `max_lag` voxels along each axis.
    """
    lines = line_counts(require_phase(phase), max_lag=max_lag, axes=AXES)
    return xr.Dataset({name: _error_array(phase, lines, name) for name in STATISTICS})


def isotropy_array(phase: xr.DataArray, lines: LineCounts) -> xr.DataArray:
    """Return the isotropy errors (statistic) from counts along z, y and x."""
    finish = partial(isotropy_values, lines, spacings(phase, lines))
    return xr.DataArray(
        reduce_lines(phase, lines, finish, (len(STATISTICS),)),
        dims="statistic",
        coords={"statistic": list(STATISTICS)},
        name="isotropy_error",
        attrs={"long_name": "isotropy error", "units": "1"},
    )


def _error_array(phase: xr.DataArray, lines: LineCounts, name: str) -> xr.DataArray:
    place = STATISTICS.index(name)
    finish = partial(isotropy_value, lines, spacings(phase, lines), place)
    attrs = {"long_name": _LONG_NAMES[name], "units": "1"}
    return xr.DataArray(reduce_lines(phase, lines, finish, ()), attrs=attrs)


def isotropy_value(
    lines: LineCounts, spacing: Sequence[float], place: int, counts: np.ndarray
) -> np.ndarray:
    """Return one of the isotropy errors, by its place in `STATISTICS`."""
    return np.asarray(isotropy_values(lines, spacing, counts)[place])


def isotropy_values(lines: LineCounts, spacing: Sequence[float], counts: np.ndarray) -> np.ndarray:
    """Return the isotropy errors (statistic) from summed counts along z, y and x."""
    distance = _common_distances(lines, spacing)
    if len(distance) < 2:
        return np.full(len(STATISTICS), np.nan)
    curves = two_point_values(lines, counts), lineal_path_values(lines, counts)
    errors = [_curve_error(*_resampled(curve, spacing, distance)) for curve in curves]
    diameters = diameter_values(lines, spacing, counts, lines.max_lag)
    return np.array([*errors, _diameter_error(*diameters)])


def _common_distances(lines: LineCounts, spacing: Sequence[float]) -> np.ndarray:
    """Return multiples of the coarsest voxel size, up to the largest distance of all axes."""
    reach = [
        step * min(lines.max_lag, lines.shape[axis] - 1)
        for axis, step in zip(lines.axes, spacing, strict=True)
    ]
    coarsest = max(spacing)
    if not np.isfinite([*reach, coarsest]).all():  # an axis of one voxel without a spacing
        return np.empty(0)
    return coarsest * np.arange(int(min(reach) / coarsest + _ROUNDING) + 1)


def _resampled(
    curves: np.ndarray, spacing: Sequence[float], distance: np.ndarray
) -> list[np.ndarray]:
    """Interpolate curves (axis, lag) linearly at distances."""
    valid = [curve[np.isfinite(curve)] for curve in curves]
    return [
        np.interp(distance, step * np.arange(len(curve)), curve)
        for curve, step in zip(valid, spacing, strict=True)
    ]


def _curve_error(along_z: np.ndarray, along_y: np.ndarray, along_x: np.ndarray) -> np.floating:
    """Return e_L2; NaN of curves that vanish."""
    with np.errstate(invalid="ignore"):
        return 0.5 * (_difference(along_x, along_z) + _difference(along_y, along_z))


def _difference(curve: np.ndarray, along_z: np.ndarray) -> np.floating:
    norm = np.linalg.norm
    return 2 * norm(curve - along_z) / (norm(curve) + norm(along_z))


def _diameter_error(along_z: float, along_y: float, along_x: float) -> float:
    """Return e_D of the diameters along the axes."""
    plane_xy = (along_x + along_y) / 2
    plane_xz = (along_x + along_z) / 2
    plane_yz = (along_y + along_z) / 2
    return 0.5 * (abs(plane_xz - plane_xy) + abs(plane_yz - plane_xy)) / plane_xy
