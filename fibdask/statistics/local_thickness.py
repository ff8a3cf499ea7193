"""Local thickness: the diameter of the largest ball of solid that holds each voxel.

A block is computed with a halo of `max_thickness`, in which lies all that it depends on, and all
lengths are sums of the same numbers in the same order: the result is the same bits under any
blocks as of the whole volume at once.
"""

from math import isfinite

import numpy as np
import xarray as xr

from ..blocks import (
    block_grid,
    default_block,
    map_blocks,
    reduce_blocks,
)
from ..conventions import (
    AXES,
    ConventionError,
    axis_spacing,
    check_choice,
    check_planes,
    check_positive,
    filled_attributes,
    require_phase,
)
from ._functions import LargestBalls, ThicknessCounts
from .chosen import CHOICES, Chosen
from .masks import Mask, check_edges, masked

_DIGITS = 6  # of voxel sizes relative to each other: axes that differ by rounding are alike


def local_thickness(
    phase: xr.DataArray, *, max_thickness: float, of: Chosen = "solid"
) -> xr.DataArray:
    """Return at each voxel the diameter of the largest ball inside the solid that contains it.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm, with evenly spaced slices.
    max_thickness
        Largest thickness in nm, at least a voxel: where the solid is thicker, the result is this.
        It is also the halo of blocks: best is little more than the thickest ligament.
    of
        "solid", or "pore" for the thickness of the pores.

    Returns
    -------
    xr.DataArray
        Local thickness (z, y, x) in nm, float32, lazy; 0 in the other phase.

    Raises
    ------
    ConventionError
        If z is irregular (reposition the slices first), planes are not measured (inpaint them
        first), or an argument is out of range.

    See Also
    --------
    local_thickness_distribution : The share of the solid by its thickness.

    Notes
    -----
    With the distance R(c) in nm from the centre of a voxel c to that of the nearest voxel of the
    other phase [1]_, ::

        T(p) = 2 max { R(c) : |p - c| < R(c) }, with R at most max_thickness / 2.

    All balls are found, not only those of a few radii. Beyond its faces the volume holds neither
    phase: a ligament cut there may come out thicker than it is. Because balls are centred on voxels
    and end at centres, a plate of n voxels has a thickness of n voxels if n is even, and of n + 1
    if it is odd.

    References
    ----------
    .. [1] T. Hildebrand, P. Rüegsegger, A new method for the model-independent assessment of
       thickness in three-dimensional images, Journal of Microscopy 185 (1997) 67–75.
    """
    phase = require_phase(phase)
    check_edges(phase)
    return _local_thickness(phase, max_thickness, of)


def _local_thickness(phase: xr.DataArray, max_thickness: float, of: Chosen) -> xr.DataArray:
    check_planes(phase, "take planes without gaps: phase.isel(z=slice(start, stop))")
    function = _largest_balls(phase, max_thickness, of)
    data = map_blocks(
        function,
        [phase.data],
        shape=phase.shape,
        dtype=np.float32,
        # Near cubes whatever the chunks, because the halo costs the least there.
        block=default_block(phase.shape, np.dtype(np.float32).itemsize),
    )
    attrs = {"long_name": f"local thickness of the {of}", "units": "nm"}
    attrs |= filled_attributes(phase)
    coords = {name: coord for name, coord in phase.coords.items() if set(coord.dims) <= set(AXES)}
    return xr.DataArray(data, dims=AXES, coords=coords, name="local_thickness", attrs=attrs)


def local_thickness_distribution(
    phase: xr.DataArray,
    *,
    max_thickness: float,
    of: Chosen = "solid",
    mask: Mask = None,
    bin_width: float | None = None,
) -> xr.DataArray:
    """Return the share of the solid by its local thickness.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm, with evenly spaced slices.
    max_thickness
        Where the solid is thicker than this, in nm, it counts as that thick.
    of
        "solid", or "pore" for the pores.
    mask
        Voxels that count, or a box {axis: (start, stop)} in voxels. The balls are those of the
        whole volume.
    bin_width
        Width of a bin in nm; the finest voxel size by default.

    Returns
    -------
    xr.DataArray
        Shares of the voxels of solid (diameter), lazy; their sum is 1. `diameter` is the middle of
        each bin in nm, a multiple of the width; the last bin includes all larger thicknesses. NaN
        without any solid.

    Raises
    ------
    ConventionError
        If z is irregular (reposition the slices first), planes are not measured (inpaint them
        first), or an argument is out of range.
    """
    phase = require_phase(phase)
    thickness = _local_thickness(phase, max_thickness, of)
    width = _finest(phase) if bin_width is None else bin_width
    check_positive("bin_width", width, "nm")
    volume = masked(thickness, mask)
    counts = ThicknessCounts(float(width), round(max_thickness / width) + 1, volume.axes)
    data = reduce_blocks(
        counts,
        volume.inputs,
        grid=block_grid(volume.inputs[0]),
        finish=bin_shares,
        shape=(counts.size,),
    )
    diameter = ("diameter", np.arange(counts.size) * counts.width, {"units": "nm"})
    return xr.DataArray(
        data,
        dims="diameter",
        coords={"diameter": diameter},
        name="local_thickness_distribution",
        attrs={"long_name": f"share of the {of} by local thickness", "units": "1"},
    )


def _largest_balls(phase: xr.DataArray, max_thickness: float, of: Chosen) -> "LargestBalls":
    check_positive("max_thickness", max_thickness, "nm")
    check_choice("of", of, CHOICES)
    finest = _finest(phase)
    if max_thickness < finest:
        msg = (
            f"max_thickness must be at least the finest voxel, {finest:g} nm, for nothing is "
            f"thinner; got {max_thickness:g} nm"
        )
        raise ConventionError(msg)
    z, y, x = (
        round(np.nan_to_num(axis_spacing(phase, axis), nan=finest) / finest, _DIGITS)
        for axis in AXES
    )
    return LargestBalls(phase.shape, (z, y, x), finest, float(max_thickness), of)


def _finest(phase: xr.DataArray) -> float:
    """Return the finest voxel size in nm; of a single voxel without a size, 1."""
    known = [size for axis in AXES if isfinite(size := axis_spacing(phase, axis))]
    return min(known, default=1.0)


def bin_shares(counts: np.ndarray) -> np.ndarray:
    """Return the share of each count; NaN of nothing."""
    total = counts.sum()
    return counts / total if total else np.full(len(counts), np.nan)
