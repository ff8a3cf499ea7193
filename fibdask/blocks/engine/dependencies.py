"""Blocks whose inputs are not read by coordinates: in memory, or derived by Dask.

Dask makes the chunks of such an input, and the task of a block takes those that it needs any part
of. Nothing is done for each block before its task is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from dask.task_spec import Task, TaskRef

from ..functions import BlockFunction
from ..regions import Grid, Region, lengths, overlap, within
from .layers import BlockLayer, references, whole_key


def map_dependencies(
    function: BlockFunction,
    inputs: Sequence[Any],
    parameters: Sequence[da.Array],
    grid: Grid,
    dtype: np.dtype[Any],
    name: str = "",
) -> da.Array:
    """Return the array of blocks of inputs that are not read by coordinates.

    Parameters
    ----------
    name
        Of the array and of its tasks; by default one that says what they are made of.
    """
    parameters = [parameter.rechunk(parameter.shape) for parameter in parameters]
    chunked = [array for array in inputs if isinstance(array, da.Array)]
    if not name:
        tokens = [
            array.name if isinstance(array, da.Array) else tokenize(array) for array in inputs
        ]
        name = f"blocks-{tokenize(function, grid, tokens, [p.name for p in parameters])}"
    pieces = [_Chunks.of(a) if isinstance(a, da.Array) else np.asarray(a) for a in inputs]
    # Sent once: the tasks of all blocks refer to it.
    shared = dask.delayed(function, name=f"function-{name}", traverse=False)
    layer = _DerivedLayer(name, function, grid, pieces, [whole_key(p) for p in parameters])
    dependencies = [*chunked, *parameters, shared]
    graph = HighLevelGraph.from_collections(name, layer, dependencies=dependencies)
    return da.Array(graph, name, grid.chunks, dtype=dtype)


@dataclass(frozen=True, eq=False)
class _Chunks:
    """The chunks of a Dask array: their edges along each axis."""

    name: str
    edges: tuple[np.ndarray, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, array: da.Array) -> "_Chunks":
        """Return those of an array."""
        edges = tuple(np.cumsum((0, *lengths)) for lengths in array.chunks)
        return cls(array.name, edges, array.dtype)

    def piece(self, region: Region) -> Task:
        """Return the task that puts a region together of the chunks that hold parts of it."""
        numbers = [
            range(np.searchsorted(e, s.start, "right") - 1, np.searchsorted(e, s.stop, "left"))
            for e, s in zip(self.edges, region, strict=True)
        ]
        positions = list(product(*numbers))
        corners = [tuple(int(e[i]) for e, i in zip(self.edges, p, strict=True)) for p in positions]
        chunks = references([(self.name, *position) for position in positions])
        return Task(None, _joined, region, self.dtype, corners, chunks)


class _DerivedLayer(BlockLayer):
    """Blocks made by a function, which is the result of a task of its own."""

    def __init__(
        self,
        name: str,
        function: BlockFunction,
        grid: Grid,
        inputs: list[_Chunks | np.ndarray],
        parameters: list[Any],
    ) -> None:
        super().__init__(name, grid.counts)
        self.function, self.grid, self.inputs, self.parameters = function, grid, inputs, parameters

    def task(self, key: Any, position: tuple[int, ...]) -> Task:
        """Make the task of a block."""
        region = self.grid.region(position)
        needed = self.function.needs(region)
        pieces = [
            array.piece(part) if isinstance(array, _Chunks) else array[part]
            for array, part in zip(self.inputs, needed, strict=True)
        ]
        return Task(
            key,
            _compute,
            TaskRef(f"function-{self.name}"),
            region,
            references(self.parameters),
            *pieces,
        )


def _compute(
    function: BlockFunction, region: Region, parameters: list[np.ndarray], *inputs: np.ndarray
) -> np.ndarray:
    # Parts of chunks and of arrays in memory are views: kernels are given whole arrays in C order.
    blocks = [np.asarray(array, order="C") for array in inputs]
    return function.compute(region, *blocks, *parameters)


def _joined(
    region: Region,
    dtype: np.dtype[Any],
    corners: list[tuple[int, ...]],
    chunks: list[np.ndarray],
) -> np.ndarray:
    """Return a region of an array, put together of chunks with their first corners."""
    places = [
        tuple(slice(c, c + n) for c, n in zip(corner, chunk.shape, strict=True))
        for corner, chunk in zip(corners, chunks, strict=True)
    ]
    if len(chunks) == 1:
        return np.asarray(chunks[0][within(region, places[0])])
    joined = np.empty(lengths(region), np.result_type(*chunks) if chunks else dtype)
    for place, chunk in zip(places, chunks, strict=True):
        part = overlap(place, region)
        joined[within(part, region)] = chunk[within(part, place)]
    return joined
