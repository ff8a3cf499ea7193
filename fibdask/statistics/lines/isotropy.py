"""Isotropy errors: how far statistics along z differ from those along y and x."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from ...blocks import revised
from ..bootstrap import unresampled
from ..cautions import phase_warnings
from ..chosen import Chosen
from ..masks import Mask
from ._functions import Segments
from .correlation import diameter_parts, lineal_path_values, two_point_values
from .counting import Counting, Quantity, Statistic, count_lines, error_bars
from .distances import common_distances, interpolated_curves

STATISTICS = ("two_point_correlation", "lineal_path", "ligament_diameter")
COMPARED = ("", "_xy")
"""Suffixes of errors: z against x and y, and x against y."""

_LONG_NAMES = {
    "two_point_correlation": "isotropy error of the two-point correlation",
    "lineal_path": "isotropy error of the lineal path function",
    "ligament_diameter": "isotropy error of the mean ligament diameter",
}


def isotropy_errors(
    phase: xr.DataArray,
    *,
    max_lag: int,
    of: Chosen = "solid",
    mask: Mask = None,
    confidence: float | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Return how far statistics of the solid along z differ from those along y and x.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm, with evenly spaced slices.
    max_lag
        Longest segment that is compared, in voxels.
    of
        "solid" or "pore".
    mask, confidence, seed
        As for `two_point_correlation`.

    Returns
    -------
    xr.Dataset
        `two_point_correlation`, `lineal_path` (e_L2) and `ligament_diameter` (e_D), each (), lazy;
        0 for an isotropic structure of fine voxels. The same names with `_xy` are the error of x
        against y: the noise floor, as far as the structure is isotropic in that plane. With a
        confidence, also the same names with `_interval` (bound): lower, upper. NaN without any
        solid, and where the axes share no distance but 0 (see Notes). Axes are compared up to the
        attribute `max_distance` in nm, if no mask ends it earlier. The attribute `warnings` lists
        which known causes, of the three below, spoil the errors.

    Raises
    ------
    ConventionError
        If z is irregular (reposition the slices first), another argument is out of range, or the
        mask does not fit the phase.

    Notes
    -----
    e_L2 = ½ Σ_{a∈{x,y}} 2 ‖f^a - f^z‖ / (‖f^a‖ + ‖f^z‖) for a function f of the distance, and e_D =
    ½ (``|D_xz - D_xy| + |D_yz - D_xy|``) / D_xy, where D_ij is the mean of the ligament diameters
    along i and j. Their noise floors are 2 ‖f^x - f^y‖ / (‖f^x‖ + ‖f^y‖) and
    ``½ |D_x - D_y| / D_xy``, the size of each of the two differences in e_D.

    Functions are compared at distances in nm that are multiples of the coarsest voxel size, up to
    the largest that all axes reach within the volume, the mask and `max_lag`; along finer axes they
    are interpolated linearly. With cubic voxels these distances are the lags. Ligament diameters
    are areas under L / L(0), by trapezoids, up to exactly that distance along each axis, not over
    the whole axis as in `ligament_diameter`.

    Not every error is anisotropy. An isotropic structure that was sampled coarser along z has
    errors too: overlapping spheres of 10 pixels' radius give e_D = 0.09 for slices five pixels
    apart and 0.23 for ten, with a noise floor of 0.02; planes inpainted between such slices do not
    mend that. Where slice thicknesses took their scale from an isotropic texture
    (`estimate_slice_thickness`), small errors prove nothing: isotropy was assumed.
    """
    counting = count_lines(phase, max_lag=max_lag, of=of, mask=mask)
    bootstrap = error_bars(confidence, seed)
    quantities = []
    for row, suffix in enumerate(COMPARED):
        for place, name in enumerate(STATISTICS):
            attrs = _attrs(_LONG_NAMES[name], suffix, counting)
            template = xr.DataArray(0.0, name=name + suffix, attrs=attrs)
            statistic = partial(isotropy_value, counting.spacing, row, place)
            quantities.append(Quantity(statistic, template))
    arrays = [counting.estimate(quantity) for quantity in quantities]
    if bootstrap is not None:
        arrays += [counting.interval(quantity, bootstrap) for quantity in quantities]
    attrs = {"warnings": phase_warnings(counting.volume.phase)}
    return xr.Dataset({str(array.name): array for array in arrays}, attrs=attrs)


def isotropy_quantities(counting: Counting) -> list[Quantity]:
    """Return the isotropy errors (statistic), and their noise floor."""
    names = ("isotropy_error", "isotropy_noise")
    quantities = []
    for row, (name, suffix) in enumerate(zip(names, COMPARED, strict=True)):
        template = xr.DataArray(
            np.empty(len(STATISTICS)),
            dims="statistic",
            coords={"statistic": list(STATISTICS)},
            name=name,
            attrs=_attrs("isotropy error", suffix, counting),
        )
        statistic: Statistic = partial(isotropy_rows, counting.spacing, row)
        quantities.append(Quantity(statistic, template))
    return quantities


def _attrs(long_name: str, suffix: str, counting: Counting) -> dict[str, Any]:
    compared = ", x against y" if suffix else ""
    max_lag = counting.lines.max_lag
    # A mask may end it earlier, which only the counts tell.
    distance = common_distances(
        counting.spacing, [min(max_lag, n - 1) for n in counting.volume.shape]
    )
    return {
        "long_name": long_name + compared,
        "units": "1",
        "max_lag": max_lag,
        "max_distance": float(distance.max(initial=0.0)),
    }


@revised(3)
def isotropy_value(
    spacing: Sequence[float], row: int, place: int, segments: Segments, weights: np.ndarray
) -> np.ndarray:
    """Return one of the errors (replicate), by its places in `COMPARED` and `STATISTICS`."""
    return isotropy_values(spacing, segments, weights)[:, row, place]


@revised(3)
def isotropy_rows(
    spacing: Sequence[float], row: int, segments: Segments, weights: np.ndarray
) -> np.ndarray:
    """Return errors (replicate, statistic), by their place in `COMPARED`."""
    return isotropy_values(spacing, segments, weights)[:, row]


def isotropy_values(
    spacing: Sequence[float], segments: Segments, weights: np.ndarray
) -> np.ndarray:
    """Return all errors (replicate, compared, statistic) of segments along z, y and x."""
    errors = np.full((len(weights), len(COMPARED), len(STATISTICS)), np.nan)
    distance = _compared_distances(spacing, segments)
    if len(distance) < 2:
        return errors
    for place, values in enumerate((two_point_values, lineal_path_values)):
        along = interpolated_curves(values(segments, weights), spacing, distance)
        errors[:, :, place] = _curve_errors(*along)
    diameters = diameter_parts(spacing, distance[-1], segments, weights)
    errors[:, :, -1] = _diameter_errors(*diameters.T)
    return errors


def _compared_distances(spacing: Sequence[float], segments: Segments) -> np.ndarray:
    """Return the distances that all axes reach within the volume and the mask."""
    # Whole segments need more of a mask than pairs do.
    path = unresampled(partial(lineal_path_values, segments), segments.subvolumes)
    return common_distances(spacing, np.isfinite(path).sum(axis=1) - 1)


def _curve_errors(along_z: np.ndarray, along_y: np.ndarray, along_x: np.ndarray) -> np.ndarray:
    """Return e_L2 of z against x and y, and of x against y (replicate, compared)."""
    error = 0.5 * (_difference(along_x, along_z) + _difference(along_y, along_z))
    return np.stack([error, _difference(along_x, along_y)], axis=1)


def _difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return 2 ‖f - g‖ / (‖f‖ + ‖g‖) of curves (replicate, distance); NaN if both vanish."""
    size = np.linalg.norm(first, axis=1) + np.linalg.norm(second, axis=1)
    difference = np.full(len(size), np.nan)
    norm = 2 * np.linalg.norm(first - second, axis=1)
    np.divide(norm, size, out=difference, where=size > 0)
    return difference


def _diameter_errors(along_z: np.ndarray, along_y: np.ndarray, along_x: np.ndarray) -> np.ndarray:
    """Return e_D of diameters (replicate) for z against x and y, and for x against y."""
    plane_xy = (along_x + along_y) / 2
    plane_xz = (along_x + along_z) / 2
    plane_yz = (along_y + along_z) / 2
    error = 0.5 * (np.abs(plane_xz - plane_xy) + np.abs(plane_yz - plane_xy)) / plane_xy
    return np.stack([error, 0.5 * np.abs(along_x - along_y) / plane_xy], axis=1)
