"""Memory forecast: bytes of a task from shapes alone, before any data are touched.

Blocks of every kind are looked at. What a block needs may change from plane to plane, as beside a
gap between slices or a jump of an image. Along the last two axes only the ends of the volume and
of chunks matter, which are at the same places in every row, and in every column.
"""

from collections.abc import Callable, Sequence
from itertools import product
from math import ceil, prod
from typing import Any

import dask.array as da
import numpy as np

from ...conventions import MemoryBudgetError
from ..regions import Grid
from .arrays import origin
from .resources import PROCESS_BYTES, Resources
from .sources import Computed, EachBlock, Source

_USABLE = 0.95  # of a worker's limit: beyond it, the nanny ends the process


def format_bytes(count: float) -> str:
    """Format a number of bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def task_bytes(array: Any, grid: Grid, write_bytes: int) -> int:
    """Return the predicted peak memory of a plain process that makes and writes any block."""
    source = origin(array)
    if isinstance(source, Source):
        largest_block = source.nbytes(grid.numbered(0))  # those at the ends are smaller
        return PROCESS_BYTES + max(_most_bytes(source, grid), largest_block + write_bytes)
    itemsize = int(np.dtype(array.dtype).itemsize)
    block = prod(grid.block) * itemsize
    if isinstance(array, da.Array):
        # A derived array holds the chunks that a block is put together of, beside the block.
        chunk = prod(int(max(c)) for c in array.chunks) * itemsize
        return PROCESS_BYTES + 2 * (block + chunk) + write_bytes
    return PROCESS_BYTES + block + write_bytes


def _most_bytes(source: Source, grid: Grid) -> int:
    """Return the bytes of the block of a source that needs the most."""
    first, most = 0, 0
    for counts in _parts(source, grid):
        numbers = np.arange(first, first + prod(counts)).reshape(counts)

        def cost(*position: int, numbers: np.ndarray = numbers) -> int:
            return source.task_bytes(grid.numbered(int(numbers[position])))

        most = max(most, largest(cost, counts))
        first += numbers.size
    return most


def _parts(source: Source, grid: Grid) -> Sequence[tuple[int, ...]]:
    """Return the numbers of blocks along the axes of each part of what is blocked."""
    if isinstance(source, Computed) and isinstance(source.function, EachBlock):
        return source.function.grid.parts  # of a row each
    return (grid.counts,)


def largest(cost: Callable[..., int], counts: tuple[int, ...]) -> int:
    """Return the largest cost(*position), each kind of position looked at once.

    Positions along the leading axes are of one kind where nine places of the last two axes cost
    the same; rows, and columns, where three places in them do.
    """
    *leading, rows, columns = (1, 1, *counts)
    used = slice(len(leading) + 2 - len(counts), None)

    def at(*position: int) -> int:
        return cost(*position[used])

    few = list(product(_ends(rows), _ends(columns)))
    kinds = {tuple(at(*place, *end) for end in few): place for place in np.ndindex(*leading)}
    return max(_largest_of_plane(at, place, rows, columns) for place in kinds.values())


def _largest_of_plane(
    at: Callable[..., int], place: tuple[int, ...], rows: int, columns: int
) -> int:
    some_rows, some_columns = _ends(rows), _ends(columns)
    row_kinds = {tuple(at(*place, r, c) for c in some_columns): r for r in range(rows)}
    column_kinds = {tuple(at(*place, r, c) for r in some_rows): c for c in range(columns)}
    return max(at(*place, r, c) for r, c in product(row_kinds.values(), column_kinds.values()))


def _ends(count: int) -> list[int]:
    return sorted({0, count // 2, count - 1})


def least_memory(forecast: int, threads: int, process_bytes: int = PROCESS_BYTES) -> int:
    """Return the memory in bytes that a worker must have for tasks of a forecast."""
    return ceil((process_bytes + threads * (forecast - PROCESS_BYTES)) / _USABLE)


def check_budget(name: str, forecast: int, resources: Resources, more: str = "") -> None:
    """Refuse a stage whose tasks do not fit a worker.

    Parameters
    ----------
    forecast
        Of a plain process.
    more
        What else can be done about it, where the caller knows.

    Raises
    ------
    MemoryBudgetError
        With the forecast, the limit and what to change.
    """
    threads, process, task = resources.threads, resources.process_bytes, forecast - PROCESS_BYTES
    least = least_memory(forecast, threads, process)
    if least <= resources.host_bytes:
        return
    msg = (
        f"{name} needs {format_bytes(process + threads * task)} in a "
        f"worker with {threads} thread{'s' if threads > 1 else ''} (process "
        f"{format_bytes(process)} + {format_bytes(task)} a task); the "
        f"worker has {format_bytes(resources.host_bytes)}, of which {_USABLE:.0%} may be used. "
        # rounded up, for what is given as it is told here must do
        f"Give workers at least {ceil(least / 2**20)} MiB{more}"
    )
    raise MemoryBudgetError(msg)
