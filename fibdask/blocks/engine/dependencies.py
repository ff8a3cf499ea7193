"""Graphs of blocks whose inputs are not read by coordinates: in memory, or derived by Dask."""

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from ..functions import BlockFunction
from ..regions import Grid, Region, lengths
from .arrays import Place


def map_dependencies(
    function: BlockFunction,
    inputs: Sequence[Any],
    parameters: Sequence[da.Array],
    grid: Grid,
    dtype: np.dtype[Any],
) -> da.Array:
    """Build the graph for inputs that are not read by coordinates."""
    tokens = [array.name if isinstance(array, da.Array) else tokenize(array) for array in inputs]
    name = f"blocks-{tokenize(function, grid, tokens, [p.name for p in parameters])}"
    parameters = [parameter.rechunk(parameter.shape) for parameter in parameters]
    references = [(p.name, *(0,) * p.ndim) for p in parameters]
    graph: dict[Any, Any] = {}
    dependencies = list(parameters)
    for position in grid.indices():
        arguments = []
        for array, region in zip(inputs, function.needs(grid.region(position)), strict=True):
            argument, dependency = piece(array, region)
            arguments.append(argument)
            dependencies += dependency
        graph[(name, *position)] = (
            _compute,
            function,
            grid,
            Place(position),
            arguments,
            references,
        )
    layers = HighLevelGraph.from_collections(name, graph, dependencies=dependencies)
    return da.Array(layers, name, grid.chunks, dtype=dtype)


def piece(array: Any, region: Region) -> tuple[Any, list[da.Array]]:
    """Return a task's argument that holds a region of an array, and what it depends on."""
    if isinstance(array, da.Array):
        part = array[region].rechunk(lengths(region))
        return (part.name, *(0,) * part.ndim), [part]
    return np.asarray(array)[region], []


def _compute(
    function: BlockFunction,
    grid: Grid,
    place: Place,
    inputs: list[np.ndarray],
    parameters: list[np.ndarray],
) -> np.ndarray:
    # Parts of chunks and of arrays in memory are views: kernels are given whole arrays in C order.
    blocks = [np.asarray(array, order="C") for array in inputs]
    return function.compute(grid.region(tuple(place)), *blocks, *parameters)
