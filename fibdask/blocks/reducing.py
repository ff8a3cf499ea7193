"""Reductions: integers counted in every block, summed, finished once."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from .engine.arrays import Array, from_partials, from_reduction, origin
from .engine.sources import Computed, EachBlock, Reduction
from .mapping import map_blocks
from .regions import BlockList


def reduce_blocks(
    function: Any,
    inputs: Sequence[Any],
    *,
    grid: BlockList,
    finish: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, ...],
    dtype: Any = np.float64,
    parameters: Sequence[Any] = (),
) -> Array:
    """Count in every block, sum the integers, and finish with one small computation.

    The result is a lazy array in one chunk, bit-identical under any grid, order or number of
    workers, because only integers are added.

    Parameters
    ----------
    function
        A `BlockFunction` over the regions of `grid` whose `compute` returns int64 counts of the
        fixed length `function.size`.
    inputs
        Arrays that the function needs.
    grid
        The blocks that are counted; they may overlap, as columns along several axes do.
        Counts of `GroupedBlocks` are summed by group.
    finish
        Turns the summed counts (count), or (group, count), into the result; picklable, its fields
        determine the result.
    shape, dtype
        Of the result.
    parameters
        Small lazy arrays, such as results of other reductions, given whole to every block.
    """
    partials = map_blocks(
        EachBlock(function, grid),
        inputs,
        shape=(grid.size, function.size),
        dtype=np.int64,
        block=(1, function.size),
        parameters=parameters,
    )
    source = origin(partials)
    template = Reduction(cast("Computed", source), finish, tuple(shape), np.dtype(dtype))
    if source is not None:
        return from_reduction(template)
    return from_partials(partials, grid, template)
