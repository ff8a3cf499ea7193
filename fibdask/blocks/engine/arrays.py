"""Dask arrays of blocks: one task a block, and they remember their source.

A `BlockArray` is a Dask array. As long as it is only sliced with step one it still knows how to
read any region of itself, so the next stage adds no task to its graph. Arrays in memory and
arrays derived in other ways go through the same functions, by ordinary Dask dependencies.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from ..regions import BlockList, group_numbers, sums_by_group, whole
from .fingerprints import fingerprint
from .sources import Reduction, Source, Window

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
    """A Dask array whose blocks are read by coordinates from `origin`."""

    __slots__ = ("origin",)

    origin: Source | Reduction | None

    def __getitem__(self, index: Any) -> Any:
        """Slice; steps of one and integers keep the origin."""
        window = _window(self, index)
        if window is None:
            return super().__getitem__(index)
        full = window.region == whole(self.shape) and not window.dropped
        return self if full else from_source(window)

    def __setitem__(self, index: Any, value: Any) -> None:
        """Assign lazily, as Dask does; what is read by coordinates no longer holds."""
        super().__setitem__(index, value)
        self.origin = None

    def copy(self) -> Any:
        """Return a copy that can be assigned to on its own."""
        return super().copy() if self.origin is None else _array_of(self.origin)

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def __reduce__(self) -> Any:
        return super().__reduce__() if self.origin is None else (_array_of, (self.origin,))


def _array_of(origin: Source | Reduction) -> "BlockArray":
    return from_source(origin) if isinstance(origin, Source) else from_reduction(origin)


class _LazyGraph(Mapping[Any, Any]):
    """A graph that is built when its tasks are first asked for, which planning never does."""

    def __init__(self, build: Callable[[], dict[Any, Any]]) -> None:
        self._build = build

    @cached_property
    def _tasks(self) -> dict[Any, Any]:
        return self._build()

    def __getitem__(self, key: Any) -> Any:
        return self._tasks[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def _wrap(
    graph: Mapping[Any, Any],
    name: str,
    chunks: Any,
    dtype: Any,
    origin: Source | Reduction,
    dependencies: Sequence[da.Array],
) -> BlockArray:
    layers = HighLevelGraph.from_collections(name, graph, dependencies=dependencies)
    array: BlockArray = da.Array.__new__(BlockArray, layers, name, chunks, dtype=dtype)
    array.origin = origin
    return array


def origin(array: Any) -> Source | Reduction | None:
    """Return what an array is read from by coordinates, or None."""
    return array.origin if isinstance(array, BlockArray) else None


def from_source(source: Source) -> BlockArray:
    """Return the Dask array of a source: one task a block."""
    # Other blocks of the same values are other tasks, and so are their stored copies.
    place = getattr(source, "path", "")
    name = f"blocks-{fingerprint(source.token, source.block, type(source).__name__, place)}"
    results = [from_reduction(reduction) for reduction in source.reductions]
    references = [(result.name, *(0,) * result.ndim) for result in results]
    graph = _LazyGraph(partial(_block_tasks, name, source, references))
    return _wrap(graph, name, source.grid.chunks, source.dtype, source, results)


def _block_tasks(name: str, source: Source, references: list[Any]) -> dict[Any, Any]:
    tokens = tuple(reduction.token for reduction in source.reductions)
    return {
        (name, *position): (_read_block, source, Place(position), tokens, references)
        for position in source.grid.indices()
    }


class Place(tuple[int, ...]):
    """A block position that Dask does not take for a key."""

    __slots__ = ()


def _read_block(
    source: Source, place: Place, tokens: tuple[str, ...], results: list[np.ndarray]
) -> np.ndarray:
    values = dict(zip(tokens, results, strict=True))
    return source.read(source.grid.region(tuple(place)), values)


def from_reduction(reduction: Reduction) -> BlockArray:
    """Return the lazy result of a reduction: one task a block, then a tree of integer sums."""
    partials = from_source(reduction.partials)
    return _sum_tree(partials, reduction.blocks, reduction, reduction.token)


def from_partials(partials: da.Array, blocks: BlockList, reduction: Reduction) -> da.Array:
    """Return the lazy result of counts that are not read by coordinates."""
    token = tokenize(reduction.finish, partials.name)
    array = _sum_tree(partials, blocks, reduction, token)
    return da.Array(array.dask, array.name, array.chunks, dtype=array.dtype)


def _sum_tree(
    partials: da.Array, blocks: BlockList, reduction: Reduction, token: str
) -> BlockArray:
    name, shape = f"result-{token}", reduction.shape
    last = (name, *(0,) * len(shape))
    finish = partial(_finish, reduction.result, blocks)
    graph = _LazyGraph(partial(_sum_tasks, last, partials.name, blocks, finish, token))
    chunks = tuple((n,) for n in shape)
    return _wrap(graph, name, chunks, reduction.dtype, reduction, [partials])


def _sum_tasks(
    last: Any, partials: str, blocks: BlockList, finish: Callable[..., np.ndarray], token: str
) -> dict[Any, Any]:
    numbers = group_numbers(blocks)
    members = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])
    graph: dict[Any, Any] = {}
    sums = []
    for group, rows in enumerate(members):
        keys: list[Any] = [(partials, int(row), 0) for row in rows]
        level = 0
        while len(keys) > _FAN_IN:
            parts = [keys[i : i + _FAN_IN] for i in range(0, len(keys), _FAN_IN)]
            keys = [(f"sum-{token}", group, level, i) for i in range(len(parts))]
            graph |= {key: (_add, part) for key, part in zip(keys, parts, strict=True)}
            level += 1
        sums.append(keys)
    return graph | {last: (finish, sums)}


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
    if not isinstance(array.origin, Source):
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
    return Window(array.origin, tuple(region), tuple(dropped))


def normal_chunks(chunks: Any, shape: tuple[int, ...], itemsize: int) -> Any:
    """Return chunks as Dask writes them: lengths along each dimension."""
    return da.core.normalize_chunks(chunks, shape, dtype=np.dtype(f"V{itemsize}"))


def gathered(
    records: da.Array,
    blocks: int,
    combine: Callable[[list[np.ndarray]], np.ndarray],
    shape: tuple[int, ...],
    dtype: Any,
) -> da.Array:
    """Return the lazy result of one computation on the elements of an array, a chunk each.

    `combine` is bound to its parameters, because Dask may take tuples among arguments for keys.
    """
    name = f"gathered-{tokenize(combine, shape, dtype, records.name)}"
    keys = [(records.name, number) for number in range(blocks)]
    graph = {(name, *(0,) * len(shape)): (combine, keys)}
    layers = HighLevelGraph.from_collections(name, graph, dependencies=[records])
    return da.Array(layers, name, tuple((n,) for n in shape), dtype=dtype)
