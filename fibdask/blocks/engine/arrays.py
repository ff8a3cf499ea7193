"""Dask arrays of blocks: one task a block, and they remember their source.

A `BlockArray` is a Dask array. As long as it is only sliced with step one it still knows how to
read any region of itself, so the next stage adds no task to its graph. Arrays in memory and
arrays derived in other ways go through the same functions, by ordinary Dask dependencies.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from dask.task_spec import List, Task

from ...conventions import ConventionError
from ..regions import BlockList, group_numbers, sums_by_group, whole
from .fingerprints import fingerprint
from .layers import BlockLayer, BuiltLayer, LazyLayer, references, whole_key
from .sources import Computed, Reduction, Source, Values, Window

if da.array_expr_enabled():
    _MSG = (
        "fibdask does not work with Dask's query planning of arrays: set array.query-planning to "
        "False before dask.array is imported"
    )
    raise ConventionError(_MSG)

Array = da.Array  # for those who make arrays of blocks, and need not know Dask

_FAN_IN = 16  # partial counts added by one task


class _DaskKind(type):
    """Makes `BlockArray` equal to `da.Array` as a class.

    xarray refuses to load arrays of different chunked classes together, and compares by ==.
    """

    def __eq__(cls, other: object) -> bool:
        return other is da.Array or type.__eq__(cls, other)

    def __hash__(cls) -> int:
        return hash(da.Array)


class BlockArray(da.Array, metaclass=_DaskKind):  # type: ignore[misc]
    """A Dask array whose blocks are read by coordinates, from the origin in its graph's layer.

    Assigning to it gives it another layer, as to any Dask array, and so takes its origin away.
    """

    __slots__ = ()

    @property
    def origin(self) -> Source | Reduction | None:
        """What it is read from by coordinates."""
        return origin(self)

    def __getitem__(self, index: Any) -> Any:
        """Slice; steps of one and integers keep the origin."""
        window = _window(self, index)
        if window is None:
            return super().__getitem__(index)
        full = window.region == whole(self.shape) and not window.dropped
        return self if full else from_source(window)

    def copy(self) -> Any:
        """Return a copy that can be assigned to on its own."""
        return _block_array(self.dask, self.name, self.chunks, self.dtype)

    def __reduce__(self) -> Any:
        return _block_array, (self.dask, self.name, self.chunks, self.dtype)


def _block_array(graph: HighLevelGraph, name: str, chunks: Any, dtype: Any) -> BlockArray:
    array: BlockArray = da.Array.__new__(BlockArray, graph, name, chunks, dtype=dtype)
    return array


def _of_layer(
    layer: LazyLayer, chunks: Any, dtype: Any, dependencies: Sequence[da.Array]
) -> BlockArray:
    graph = HighLevelGraph.from_collections(layer.name, layer, dependencies=dependencies)
    return _block_array(graph, layer.name, chunks, dtype)


def origin(array: Any) -> Source | Reduction | None:
    """Return what an array is read from by coordinates, or None."""
    layer = array.dask.layers.get(array.name) if isinstance(array, da.Array) else None
    return layer.origin if isinstance(layer, LazyLayer) else None


def disk_bytes(array: Any) -> int | None:
    """Return the bytes of the files that an array is read from, or None if it is not from files."""
    source = origin(array)
    return source.disk_bytes if isinstance(source, Source) else None


def from_source(source: Source, inputs: Sequence[BlockArray] = ()) -> BlockArray:
    """Return the Dask array of a source: one task a block.

    Tasks take blocks of the `inputs` of a computed source that others want too, where one of each
    is all that they need.
    """
    # Other blocks of the same values are other tasks, and so are their stored copies.
    place = getattr(source, "path", "")
    name = f"blocks-{fingerprint(source.token, source.block, type(source).__name__, place)}"
    results = [from_reduction(reduction) for reduction in source.reductions]
    names = [array.name for array in inputs]
    layer = _SourceLayer(name, source, [whole_key(result) for result in results], names)
    return _of_layer(layer, source.grid.chunks, source.dtype, [*results, *inputs])


class _SourceLayer(BlockLayer):
    """The blocks of a source, which depend on results of its reductions, and on some inputs."""

    def __init__(self, name: str, source: Source, results: list[Any], inputs: list[str]) -> None:
        super().__init__(name, source.grid.counts, source)
        self.tokens = [reduction.token for reduction in source.reductions]
        self.results, self.inputs = results, inputs

    def task(self, key: Any, position: tuple[int, ...]) -> Task:
        """Make the task that reads a block, or makes it of blocks of the inputs."""
        results = references(self.results)
        if self.inputs and _needs_blocks(cast("Computed", self.origin), position):
            blocks = references([(name, *position) for name in self.inputs])
            return Task(key, _make_block, self.origin, position, self.tokens, results, blocks)
        return Task(key, _read_block, self.origin, position, self.tokens, results)


def _needs_blocks(source: Computed, position: tuple[int, ...]) -> bool:
    """Tell whether a block is made of those at the same position of the inputs, and no more."""
    grids = [inner.grid for inner in source.inputs]
    if any(grid.counts != source.grid.counts for grid in grids):
        return False
    needed = source.function.needs(source.grid.region(position))
    return list(needed) == [grid.region(position) for grid in grids]


def _make_block(
    source: Computed,
    position: tuple[int, ...],
    tokens: list[str],
    results: list[np.ndarray],
    blocks: list[np.ndarray],
) -> np.ndarray:
    values: Values = dict(zip(tokens, results, strict=True))
    parameters = [values[parameter.token] for parameter in source.parameters]
    return source.function.compute(source.grid.region(position), *blocks, *parameters)


def _read_block(
    source: Source, position: tuple[int, ...], tokens: list[str], results: list[np.ndarray]
) -> np.ndarray:
    values: Values = dict(zip(tokens, results, strict=True))
    return source.read(source.grid.region(position), values)


def from_reduction(reduction: Reduction) -> BlockArray:
    """Return the lazy result of a reduction: one task a block, then a tree of integer sums."""
    partials = from_source(reduction.partials)
    return _sum_tree(partials, reduction.blocks, reduction, reduction.token)


def from_partials(partials: da.Array, blocks: BlockList, reduction: Reduction) -> da.Array:
    """Return the lazy result of counts that are not read by coordinates."""
    return _sum_tree(partials, blocks, reduction, tokenize(reduction.finish, partials.name))


def _sum_tree(
    partials: da.Array, blocks: BlockList, reduction: Reduction, token: str
) -> BlockArray:
    name, shape = f"result-{token}", reduction.shape
    last = (name, *(0,) * len(shape))
    finish = partial(_finish, reduction.result, blocks)
    build = partial(_sum_tasks, last, partials.name, blocks, finish, token)
    layer = BuiltLayer(name, build, reduction if origin(partials) else None)
    return _of_layer(layer, tuple((n,) for n in shape), reduction.dtype, [partials])


def _sum_tasks(
    last: Any, partials: str, blocks: BlockList, finish: Callable[..., np.ndarray], token: str
) -> dict[Any, Task]:
    numbers = group_numbers(blocks)
    members = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])
    graph: dict[Any, Task] = {}
    sums = []
    for group, rows in enumerate(members):
        keys: list[Any] = [(partials, int(row), 0) for row in rows]
        level = 0
        while len(keys) > _FAN_IN:
            parts = [keys[i : i + _FAN_IN] for i in range(0, len(keys), _FAN_IN)]
            keys = [(f"sum-{token}", group, level, i) for i in range(len(parts))]
            graph |= {
                key: Task(key, _add, references(part))
                for key, part in zip(keys, parts, strict=True)
            }
            level += 1
        sums.append(references(keys))
    return graph | {last: Task(last, finish, List(*sums))}


def _add(partials: list[np.ndarray]) -> np.ndarray:
    return np.asarray(np.sum(partials, axis=0))


def _finish(
    result: Callable[[np.ndarray], np.ndarray],
    blocks: BlockList,
    groups: list[list[np.ndarray]],
) -> np.ndarray:
    sums = np.concatenate([_add(partials) for partials in groups])
    return result(sums_by_group(blocks, sums))


def _window(array: BlockArray, index: Any) -> Window | None:
    source = origin(array)
    if not isinstance(source, Source):
        return None
    index = index if isinstance(index, tuple) else (index,)
    ellipses = [i is Ellipsis for i in index]
    if any(ellipses):
        at = ellipses.index(True)
        fill = (slice(None),) * (array.ndim - len(index) + 1)
        index = (*index[:at], *fill, *index[at + 1 :])
    index = (*index, *(slice(None),) * (array.ndim - len(index)))
    if len(index) != array.ndim:
        return None
    region, dropped = [], []
    for axis, (item, n) in enumerate(zip(index, array.shape, strict=True)):
        if isinstance(item, int | np.integer) and -n <= item < n:
            region.append(slice(int(item) % n, int(item) % n + 1))
            dropped.append(axis)
        elif isinstance(item, slice) and item.step in (None, 1) and len(range(*item.indices(n))):
            region.append(slice(*item.indices(n)[:2]))
        else:
            return None
    return Window(source, tuple(region), tuple(dropped))


def normal_chunks(chunks: Any, shape: tuple[int, ...], itemsize: int) -> Any:
    """Return chunks as Dask writes them: lengths along each dimension."""
    return da.core.normalize_chunks(chunks, shape, dtype=np.dtype(f"V{itemsize}"))


def gathered(
    records: da.Array,
    combine: Callable[[list[np.ndarray]], np.ndarray],
    shape: tuple[int, ...],
    dtype: Any,
) -> da.Array:
    """Return the lazy result of one computation on the elements of an array, a chunk each."""
    name = f"gathered-{tokenize(combine, shape, dtype, records.name)}"
    last = (name, *(0,) * len(shape))
    build = partial(_gather_task, last, combine, records.name, records.size)
    return _of_layer(BuiltLayer(name, build), tuple((n,) for n in shape), dtype, [records])


def gathered_records(array: da.Array) -> da.Array:
    """Return the array on whose elements a gathered result is computed."""
    (name,) = array.dask.dependencies[array.name]
    count = len(array.dask.layers[name])
    return da.Array(array.dask, name, ((1,) * count,), dtype=object)


def _gather_task(
    last: Any, combine: Callable[[list[np.ndarray]], np.ndarray], records: str, number: int
) -> dict[Any, Task]:
    return {last: Task(last, combine, references([(records, i) for i in range(number)]))}
