"""Gathering: one small object of every block, combined once.

For what neither adds up nor has a fixed size, such as the pieces of a structure that reach the
faces of a block. Where integers of a fixed number do, `reduce_blocks` is lighter.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .engine.arrays import Array, gathered
from .engine.forecast import task_bytes
from .engine.sources import EachBlock
from .mapping import map_blocks
from .regions import BlockList, Grid


def gather_blocks(
    function: Any,
    inputs: Sequence[Any],
    *,
    grid: BlockList,
    finish: Callable[[list[Any]], np.ndarray],
    shape: tuple[int, ...],
    dtype: Any = np.float64,
) -> Array:
    """Take one small object of every block, and finish with one computation on all of them.

    The result is a lazy array in one chunk: one task a block, and one more. What gathers the
    same from the same inputs shares its tasks.

    Parameters
    ----------
    function
        A `BlockFunction` over the regions of `grid` whose `compute` returns any object that can
        be pickled; its `working_bytes` counts that object too.
    inputs
        Arrays that the function needs.
    grid
        The blocks that are looked at; they may overlap.
    finish
        Turns the objects, in the order of the blocks, into the result; picklable, its fields
        determine the result. It holds all objects at once.
    shape, dtype
        Of the result.
    """
    records = _records(function, inputs, grid)
    combine = partial(_finish, finish, tuple(shape), dtype)
    return gathered(records, combine, tuple(shape), dtype)


def gather_forecast(function: Any, inputs: Sequence[Any], grid: BlockList) -> int:
    """Return the predicted peak memory of a process that looks at one block, in bytes."""
    return task_bytes(_records(function, inputs, grid), Grid((grid.size,), (1,)), 0)


def _records(function: Any, inputs: Sequence[Any], grid: BlockList) -> Array:
    return map_blocks(
        EachBlock(function, grid), inputs, shape=(grid.size,), dtype=object, block=(1,)
    )


def _finish(
    finish: Callable[[list[Any]], np.ndarray],
    shape: tuple[int, ...],
    dtype: Any,
    records: list[np.ndarray],
) -> np.ndarray:
    result = finish([record[0] for record in records])
    return np.asarray(result, dtype=dtype).reshape(shape)
