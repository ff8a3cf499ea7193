"""All statistics of a phase in one dataset."""

import xarray as xr

from ..conventions import check_seed
from .accuracy import segmentation_errors
from .bootstrap import Bootstrap
from .cautions import phase_warnings
from .lines.correlation import (
    diameter_quantity,
    lineal_path_quantity,
    remainder_quantity,
    two_point_quantity,
)
from .lines.counting import count_lines
from .lines.fractions import fraction_quantity, profile_quantity
from .lines.isotropy import isotropy_quantities
from .masks import Mask


def phase_statistics(
    phase: xr.DataArray,
    *,
    max_lag: int,
    truth: xr.DataArray | None = None,
    mask: Mask = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> xr.Dataset:
    """Return all statistics of a phase with their confidence intervals, counted together.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm, with evenly spaced slices.
    max_lag
        Longest lag, in voxels between the ends of a segment.
    truth
        True phase (z, y, x) of the same voxels, where it is known.
    mask
        Voxels that count, as for `two_point_correlation`.
    confidence
        Confidence level of the intervals.
    seed
        Seed of the bootstrap that makes the intervals.

    Returns
    -------
    xr.Dataset
        All lazy: computed together, they read the volume once for each axis, and once with the
        truth.

        - `two_point_correlation` and `lineal_path` (axis, lag), `ligament_diameter` (axis) in nm,
          `solid_fraction` (), `isotropy_error` (statistic) and `isotropy_noise` (statistic), its
          noise floor where the plane itself is isotropic: each with its confidence interval (bound,
          …) of the same name with `_interval`;
        - `solid_fraction_profile` (z);
        - `lineal_path_remainder` (axis), the share of the lineal path left at the end of the axis:
          ligament diameters are summed over the whole axis; isotropy errors compare those up to
          their attribute `max_distance` in nm, or to where a mask ends;
        - with a truth, `misplaced` and `misplaced_solid` in %, and `mean_dice`, each ().

        The attribute `warnings` lists what must be known of the phase and its truth beside the
        numbers; `statistics_warnings` adds what follows from computed numbers.

    Raises
    ------
    ConventionError
        If z is irregular (reposition the slices first), or phase, truth and mask are not on the
        same voxels.

    Warns
    -----
    FibdaskWarning
        About the truth, as `segmentation_errors`.

    See Also
    --------
    statistics_warnings, two_point_correlation, lineal_path, ligament_diameter, solid_fraction,
    solid_fraction_profile, isotropy_errors, segmentation_errors
    """
    counting = count_lines(phase, max_lag=max_lag, mask=mask)
    bootstrap = Bootstrap(confidence, check_seed(seed))
    quantities = [
        two_point_quantity(counting),
        lineal_path_quantity(counting),
        diameter_quantity(counting),
        fraction_quantity(),
        *isotropy_quantities(counting),
    ]
    arrays = [counting.estimate(quantity) for quantity in quantities]
    arrays += [counting.interval(quantity, bootstrap) for quantity in quantities]
    more = remainder_quantity(counting), profile_quantity(counting)
    arrays += [counting.estimate(quantity) for quantity in more]
    statistics = xr.Dataset({str(array.name): array for array in arrays})
    told = phase_warnings(counting.volume.phase)
    if truth is not None:
        errors = segmentation_errors(phase, truth, mask=mask)
        statistics, told = statistics.merge(errors), told + errors.attrs["warnings"]
    return statistics.assign_attrs(warnings=told)


def size_statistics(phase: xr.DataArray) -> xr.Dataset:
    """Return `solid_fraction` () and `ligament_diameter` (axis) in nm, counted together."""
    counting = count_lines(phase, max_lag=0)
    quantities = fraction_quantity(), diameter_quantity(counting)
    return xr.Dataset({str(q.template.name): counting.estimate(q) for q in quantities})
