"""Statistics averaged over patches of the images, as publications report them."""

import xarray as xr

from ...conventions import check_count, require_phase
from ..cautions import phase_warnings
from ..chosen import Chosen
from .correlation import (
    diameter_quantity,
    lineal_path_quantity,
    remainder_quantity,
    two_point_quantity,
)
from .counting import count_lines
from .isotropy import isotropy_quantities


def patch_statistics(
    phase: xr.DataArray, *, max_lag: int, patch: int = 256, of: Chosen = "solid"
) -> xr.Dataset:
    """Return the means of statistics over patches that do not overlap.

    Use it to compare with figures obtained in this way. Statistics of the whole volume
    (`phase_statistics`) use all of it, including segments longer than a patch.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm, with evenly spaced slices.
    max_lag
        Longest segment, in voxels between its ends.
    patch
        Length of a patch along y and x, in voxels. Along z it is as long as the volume. Remainders
        at the far ends of y and x are left out.
    of
        "solid" or "pore".

    Returns
    -------
    xr.Dataset
        `two_point_correlation` and `lineal_path` (axis, lag), `ligament_diameter` (axis) in nm,
        `lineal_path_remainder` (axis), the share of the lineal path left where patches end,
        `isotropy_error` and `isotropy_noise` (statistic), lazy: each the mean over the patches that
        have one; the attribute `patches` is their number. `warnings` as from `phase_statistics`.

    Raises
    ------
    ConventionError
        If z is irregular (reposition the slices first), or no patch fits into the images.
    """
    phase = require_phase(phase)
    most = min(phase.sizes["y"], phase.sizes["x"])
    size = check_count("patch", patch, most=most, unit="voxels")
    places = [
        {"y": slice(y, y + size), "x": slice(x, x + size)}
        for y in range(0, phase.sizes["y"] - size + 1, size)
        for x in range(0, phase.sizes["x"] - size + 1, size)
    ]
    results = [_of_patch(phase.isel(place), max_lag, of) for place in places]
    warnings = phase_warnings(phase)
    patches = xr.concat(results, dim="patch", coords="minimal", compat="override", join="override")
    return patches.mean("patch", keep_attrs=True).assign_attrs(
        patches=len(places), warnings=warnings
    )


def _of_patch(part: xr.DataArray, max_lag: int, of: Chosen) -> xr.Dataset:
    counting = count_lines(part, max_lag=max_lag, of=of)
    quantities = [
        two_point_quantity(counting),
        lineal_path_quantity(counting),
        diameter_quantity(counting),
        remainder_quantity(counting),
        *isotropy_quantities(counting),
    ]
    return xr.Dataset({str(q.template.name): counting.estimate(q) for q in quantities})
