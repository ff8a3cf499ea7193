"""Specific surface area of the interface between solid and pore.

Interfaces between neighbouring voxels are counted along 13 directions, as integers added over all
blocks and weighed once, so results are the same bits under any chunking.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import xarray as xr

from ..blocks import block_grid, reduce_blocks
from ..conventions import AXES, ConventionError, axis_spacing, require_phase
from ._functions import NeighbourCounts
from ._kernels import surface as kernels
from .masks import Mask, Masked, masked

_ALONG_AXES: tuple[kernels.Step, ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


def specific_surface_area(
    phase: xr.DataArray,
    *,
    method: Literal["crofton", "intercept"] = "crofton",
    mask: Mask = None,
) -> xr.DataArray:
    """Return the area of the interface between solid and pore per volume of both.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm, with evenly spaced slices.
    method
        "crofton" for one value from 13 directions, "intercept" for a value from each axis.
    mask
        Voxels that count, or a box {axis: (start, stop)} in voxels: pairs count where both voxels
        do. The edge of the mask is no interface.

    Returns
    -------
    xr.DataArray
        S_V in 1/nm, lazy: () for "crofton", (axis) for "intercept". The faces of the volume are no
        interface. NaN where no two voxels are neighbours in a direction; for "crofton", in any.

    Raises
    ------
    ConventionError
        If z is irregular (reposition the slices first), the method is unknown, or the mask does
        not fit the phase.

    Notes
    -----
    Along a direction u, P_L(u) is the number of interfaces crossed by lines in that direction per
    length of these lines: pairs of neighbouring voxels of different phase, over all pairs inside
    the volume times the distance of their centres in nm. Averaged over all directions, S_V = 2
    ⟨P_L⟩ whatever the structure.

    "intercept" gives 2 P_L along each axis: three estimates of S_V that agree where the structure
    is isotropic, and whose mean weighs three directions only (a plane comes out between 0.67 and
    1.15 of its area).

    "crofton" weighs P_L of the 13 directions to the 26 nearest voxels [1]_ by the share of the unit
    sphere nearest to each of them in nm, for voxels of any shape: cubes have the weights of [2]_.
    It is right on average over all orientations of the structure. At worst, a plane comes out too
    large by up to 3 % and too small by up to 8 %, depending on its orientation; for slices 2 pixels
    apart by 10 % and 13 %, for 3 by 11 % and 16 %. Structure thinner than a step between neighbours
    is missed in part.

    References
    ----------
    .. [1] J. Ohser, F. Mücklich, Statistical Analysis of Microstructures in Materials Science,
       Wiley 2000.
    .. [2] D. Legland, K. Kiêu, M.-F. Devaux, Computation of Minkowski measures on 2D and 3D
       binary images, Image Analysis & Stereology 26 (2007) 83–92.
    """
    volume = masked(require_phase(phase), mask)
    spacing = tuple(axis_spacing(volume.phase, axis) for axis in AXES)
    if method == "crofton":
        counts = NeighbourCounts(volume.shape, kernels.DIRECTIONS, volume.axes)
        data = _reduce(volume, counts, partial(crofton_value, counts, spacing), ())
        return _area_array(data, (), {})
    if method == "intercept":
        counts = NeighbourCounts(volume.shape, _ALONG_AXES, volume.axes)
        data = _reduce(volume, counts, partial(intercept_values, counts, spacing), (len(AXES),))
        return _area_array(data, ("axis",), {"axis": list(AXES)})
    msg = f"method must be 'crofton' or 'intercept'; got {method!r}"
    raise ConventionError(msg)


def _area_array(data: Any, dims: tuple[str, ...], coords: dict[str, Any]) -> xr.DataArray:
    attrs = {"long_name": "specific surface area", "units": "1/nm"}
    name = "specific_surface_area"
    return xr.DataArray(data, dims=dims, coords=coords, name=name, attrs=attrs)


def _reduce(
    volume: Masked,
    counts: NeighbourCounts,
    finish: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, ...],
) -> Any:
    grid = block_grid(volume.phase.data)
    return reduce_blocks(counts, volume.inputs, grid=grid, finish=finish, shape=shape)


def intercept_values(
    neighbours: NeighbourCounts, spacing: tuple[float, ...], counts: np.ndarray
) -> np.ndarray:
    """Return 2 P_L (direction) in 1/nm of summed counts."""
    return 2 * neighbours.per_length(counts, spacing)


def crofton_value(
    neighbours: NeighbourCounts, spacing: tuple[float, ...], counts: np.ndarray
) -> np.ndarray:
    """Return S_V in 1/nm of summed counts."""
    weights = kernels.direction_weights(neighbours.steps(spacing))
    return np.asarray(2 * np.sum(weights * neighbours.per_length(counts, spacing)))
