"""Arrays made block by block."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from ..conventions import AXES, ConventionError
from .engine.arrays import Array, from_source, normal_chunks, origin
from .engine.dependencies import map_dependencies
from .engine.sources import Computed, Reduction, Source
from .engine.stored import StoredArray
from .functions import BlockFunction
from .regions import Grid, default_block


def map_blocks(
    function: BlockFunction,
    inputs: Sequence[Any] = (),
    *,
    shape: tuple[int, ...],
    dtype: Any,
    parameters: Sequence[Array] = (),
    block: tuple[int, ...] | None = None,
    shared: bool = False,
) -> Array:
    """Make an array block by block, lazily, in one task a block.

    Parameters
    ----------
    function
        What a block needs and how it is made.
    inputs
        Arrays: Dask or numpy, of any dimensions; the function says which part of each it needs.
    shape, dtype
        Of the result.
    parameters
        Small lazy arrays, such as results of `reduce_blocks`, given whole to every block.
    block
        Shape of one task's block; the first input's by default.
    shared
        Whether the inputs are results too. Dask then makes them once where it is asked for both,
        in two tasks a block; what is written is made of what is stored anyway.
    """
    dtype = np.dtype(dtype)
    if block is None:
        block = _inherited_block(inputs, shape, dtype)
    origins = [origin(array) for array in inputs]
    reductions = [origin(parameter) for parameter in parameters]
    if all(isinstance(o, Source) for o in origins) and all(
        isinstance(r, Reduction) for r in reductions
    ):
        return from_source(
            Computed(
                function,
                cast("tuple[Source, ...]", tuple(origins)),
                cast("tuple[Reduction, ...]", tuple(reductions)),
                tuple(shape),
                dtype,
                tuple(block),
            ),
            inputs if shared else (),
        )
    return map_dependencies(function, inputs, parameters, Grid(tuple(shape), tuple(block)), dtype)


def _inherited_block(
    inputs: Sequence[Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[int, ...]:
    """Take the block of an input that is best read that way; stores are read in any blocks."""
    for array in inputs:
        readable = isinstance(origin(array), StoredArray)
        if isinstance(array, Array) and array.ndim >= len(shape) and not readable:
            return tuple(
                max(min(max(c), n), 1)
                for c, n in zip(array.chunks[-len(shape) :], shape, strict=True)
            )
    return default_block(shape, dtype.itemsize)


def block_grid(array: Any) -> Grid:
    """Return the blocks that an array is best read in: its own, or default ones in memory."""
    return Grid(tuple(array.shape), _inherited_block([array], array.shape, array.dtype))


def volume_chunks(shape: tuple[int, ...], itemsize: int, chunks: Any) -> tuple[int, ...]:
    """Resolve a `chunks` argument ("auto", an integer, or one for each axis) to a block shape."""
    if chunks == "auto":
        return default_block(shape, itemsize)
    try:
        normal = normal_chunks(chunks, shape, itemsize)
    except (TypeError, ValueError, ZeroDivisionError):
        msg = f"chunks must be 'auto', a number of voxels, or one for each axis; got {chunks!r}"
        raise ConventionError(msg) from None
    return tuple(int(max(c)) for c in normal[-len(AXES) :])
