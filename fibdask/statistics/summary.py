"""All statistics of a phase in one dataset."""

from functools import partial
from math import prod

import numpy as np
import xarray as xr

from ..conventions import AXES, require_phase
from .accuracy import segmentation_errors
from .columns import LineCounts
from .correlation import (
    diameter_array,
    line_counts,
    lineal_path_array,
    reduce_lines,
    two_point_array,
)
from .fractions import fraction_array, fraction_value, profile_array, profile_values
from .isotropy import isotropy_array


def phase_statistics(
    phase: xr.DataArray, *, max_lag: int, truth: xr.DataArray | None = None
) -> xr.Dataset:
    """Return all statistics of a phase, counted together.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm, with evenly spaced slices.
    max_lag
        Longest segment, in voxels between its ends.
    truth
        The true phase (z, y, x) of the same voxels, where it is known.

    Returns
    -------
    xr.Dataset
        `two_point_correlation` and `lineal_path` (axis, lag), `ligament_diameter` (axis) in nm,
        `solid_fraction` (), `solid_fraction_profile` (z), `isotropy_error` (statistic); with a
        truth also `misplaced` and `misplaced_solid` in % and `mean_dice`, each (). All lazy:
        computed together they read the volume once for each axis, and once with the truth.

    Raises
    ------
    ConventionError
        If z is irregular (reposition the slices first), or phase and truth are not on the same
        voxels.

    See Also
    --------
    two_point_correlation, lineal_path, ligament_diameter, solid_fraction,
    solid_fraction_profile, isotropy_errors, segmentation_errors
    """
    lines = line_counts(require_phase(phase), max_lag=max_lag, axes=AXES)
    fraction = reduce_lines(phase, lines, partial(_fraction, lines), ())
    profile = reduce_lines(phase, lines, partial(_profile, lines), (phase.sizes["z"],))
    arrays = [
        two_point_array(phase, lines),
        lineal_path_array(phase, lines),
        diameter_array(phase, lines),
        fraction_array(fraction),
        profile_array(phase, profile),
        isotropy_array(phase, lines),
    ]
    statistics = xr.Dataset({str(array.name): array for array in arrays})
    return statistics if truth is None else statistics.merge(segmentation_errors(phase, truth))


def _fraction(lines: LineCounts, counts: np.ndarray) -> np.ndarray:
    return fraction_value(prod(lines.shape[1:]), lines.slices(counts))


def _profile(lines: LineCounts, counts: np.ndarray) -> np.ndarray:
    return profile_values(prod(lines.shape[1:]), lines.slices(counts))
