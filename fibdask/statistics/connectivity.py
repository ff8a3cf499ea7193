"""Connected pieces of the solid: the share of the largest, and percolation along the axes.

Every block is labelled alone, with one plane of the next block along each axis. Two blocks thus
share a plane, and in it they see the same patches: pieces that hold the same patch are one.
Only the pieces that reach a face of their block leave it, with their sizes and patches, so memory
is that of a block and of the patches; results are exact and the same under any chunking.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..blocks import (
    Grid,
    default_block,
    gather_blocks,
    gather_forecast,
)
from ..conventions import (
    AXES,
    ConventionError,
    FibdaskWarning,
    check_choice,
    check_planes,
    require_phase,
)
from ._functions import Labelling, OpenPieces
from ._kernels import connectivity as kernels
from .chosen import CHOICES, Chosen
from .masks import Mask, masked

_VOXEL_BYTES = 8  # of blocks as small as if voxels had so many bytes, for the sake of the labels


def connected_fraction(
    phase: xr.DataArray, *, connectivity: int = 6, of: Chosen = "solid", mask: Mask = None
) -> xr.DataArray:
    """Return the share of the solid that belongs to its largest connected piece.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm. Slices may be unevenly spaced: only
        neighbourhood matters.
    connectivity
        Neighbours of a voxel: 6 by faces, 18 by edges too, 26 by corners too. Boundaries are not
        periodic.
    of
        "solid", or "pore" for the pores.
    mask
        Voxels that exist, or a box {axis: (start, stop)} in voxels; nothing connects through
        others, nor through planes that hold no data: with such planes, a mask is needed.

    Returns
    -------
    xr.DataArray
        The largest share (), lazy; 1 if all solid is connected, NaN without any.

    Raises
    ------
    ConventionError
        If an argument is invalid, the mask does not fit the phase, or planes are not measured and
        there is no mask.
    """
    attrs = {"long_name": f"share of the {of} in its largest connected piece", "units": "1"}
    data = _gather(phase, connectivity, of, mask, connected_value, (), np.float64)
    return xr.DataArray(data, name="connected_fraction", attrs=attrs)


def percolates(
    phase: xr.DataArray, *, connectivity: int = 6, of: Chosen = "solid", mask: Mask = None
) -> xr.DataArray:
    """Return along which axes a connected piece of solid joins both faces of the volume.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm. Slices may be unevenly spaced: only
        neighbourhood matters.
    connectivity
        Neighbours of a voxel: 6 by faces, 18 by edges too, 26 by corners too. Boundaries are not
        periodic.
    of
        "solid", or "pore" for the pores.
    mask
        Voxels that exist, or a box {axis: (start, stop)} in voxels; nothing connects through
        others, nor through planes that hold no data: with such planes, a mask is needed. The faces
        are those of the box, or of the whole volume, whatever else a mask leaves out.

    Returns
    -------
    xr.DataArray
        True or False (axis), lazy.

    Raises
    ------
    ConventionError
        If an argument is invalid, the mask does not fit the phase, or planes are not measured and
        there is no mask.

    Warns
    -----
    FibdaskWarning
        If a mask leaves out a whole face.
    """
    _warn_of_faces(mask)
    attrs = {"long_name": f"{of} joins both faces of the volume"}
    data = _gather(phase, connectivity, of, mask, percolation_values, (len(AXES),), np.bool_)
    coords = {"axis": list(AXES)}
    return xr.DataArray(data, dims="axis", coords=coords, name="percolates", attrs=attrs)


def _warn_of_faces(mask: Mask) -> None:
    """Warn of faces that a mask in memory leaves out: nothing can reach them."""
    if not isinstance(mask, xr.DataArray) or not isinstance(mask.data, np.ndarray):
        return
    ends = {axis: mask.isel({axis: [0, -1]}) for axis in mask.dims if mask.sizes[axis]}
    inside = {axis: part.any([d for d in mask.dims if d != axis]) for axis, part in ends.items()}
    if bare := [str(axis) for axis, faces in inside.items() if not faces.all()]:
        text = (
            f"the mask leaves out a whole face of the volume along {', '.join(bare)}: nothing "
            "joins both faces there; give a box {axis: (start, stop)}, whose faces count"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=3)


def _gather(
    phase: xr.DataArray,
    connectivity: int,
    of: Chosen,
    mask: Mask,
    value: Callable[[Grid, list[OpenPieces]], np.ndarray],
    shape: tuple[int, ...],
    dtype: Any,
) -> Any:
    function, inputs, grid = _labelling(phase, connectivity, of, mask)
    finish = partial(value, grid)
    return gather_blocks(function, inputs, grid=grid, finish=finish, shape=shape, dtype=dtype)


def _labelling(
    phase: xr.DataArray, connectivity: int = 6, of: Chosen = "solid", mask: Mask = None
) -> tuple[Labelling, tuple[Any, ...], Grid]:
    """Return what labels blocks, its inputs, and the blocks."""
    phase = require_phase(phase)
    check_choice("of", of, CHOICES)
    if connectivity not in kernels.RANKS:
        msg = f"connectivity must be 6, 18 or 26; got {connectivity!r}"
        raise ConventionError(msg)
    if mask is None:
        check_planes(phase, "give mask=; nothing is connected through what it leaves out")
    volume = masked(phase, mask)
    grid = Grid(volume.shape, default_block(volume.shape, _VOXEL_BYTES))
    return Labelling(volume.shape, connectivity, of, volume.axes), volume.inputs, grid


def connectivity_forecast(phase: xr.DataArray) -> tuple[int, int]:
    """Return how many blocks are labelled, and the predicted peak memory of one in bytes."""
    function, inputs, grid = _labelling(phase)
    return grid.size, gather_forecast(function, inputs, grid)


def connected_value(grid: Grid, blocks: list[OpenPieces]) -> np.ndarray:
    """Return the share of the largest piece of all blocks."""
    root, _ = joined_pieces(grid, blocks)
    sizes = np.zeros(len(root) + 1, np.int64)
    np.add.at(sizes, root, np.concatenate([block.sizes for block in blocks]))
    largest = max(sizes.max(), *(block.largest_closed for block in blocks))
    total = sum(block.total for block in blocks)
    return np.asarray(largest / total if total else np.nan)


def percolation_values(grid: Grid, blocks: list[OpenPieces]) -> np.ndarray:
    """Return whether a piece of all blocks reaches both ends of each axis (axis)."""
    root, starts = joined_pieces(grid, blocks)
    reached: list[tuple[list[np.ndarray], list[np.ndarray]]] = [([], []) for _ in grid.shape]
    for start, block, position in zip(starts, blocks, grid.indices(), strict=True):
        for axis, (first, last) in enumerate(block.faces):
            if position[axis] == 0:
                reached[axis][0].append(root[start + first])
            if position[axis] == grid.counts[axis] - 1:
                reached[axis][1].append(root[start + last])
    ends = [(np.concatenate(first), np.concatenate(last)) for first, last in reached]
    return np.array([len(np.intersect1d(first, last)) > 0 for first, last in ends])


def joined_pieces(grid: Grid, blocks: list[OpenPieces]) -> tuple[np.ndarray, np.ndarray]:
    """Join the pieces that hold the same patch of a plane which two blocks share.

    Returns
    -------
    np.ndarray, np.ndarray
        For each piece of all blocks, one after another, which joined piece it belongs to
        (piece); and the number of the first piece of each block (block).
    """
    ends = np.cumsum([0, *(len(block.sizes) for block in blocks)])
    ones, others = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    numbers = np.arange(grid.size).reshape(grid.counts)
    for axis in range(len(grid.shape)):
        before = numbers.take(range(grid.counts[axis] - 1), axis)
        after = numbers.take(range(1, grid.counts[axis]), axis)
        for one, other in zip(before.flat, after.flat, strict=True):
            ones.append(ends[one] + blocks[one].faces[axis][1])
            others.append(ends[other] + blocks[other].faces[axis][0])
    pairs = np.concatenate(ones), np.concatenate(others)
    graph = coo_array((np.ones(len(pairs[0]), np.bool_), pairs), shape=(ends[-1], ends[-1]))
    root = connected_components(graph, directed=False)[1] if ends[-1] else np.empty(0, np.int64)
    return root, ends[:-1]
