"""Memory forecast: bytes of a task from shapes alone, before any data are touched."""

from collections.abc import Iterator
from itertools import product
from math import ceil, prod
from typing import Any

import dask.array as da
import numpy as np

from ...conventions import MemoryBudgetError
from ..regions import Grid
from .arrays import origin
from .sources import Source

PROCESS_BYTES = 480 * 2**20
"""A worker process with all libraries loaded and its kernels compiled, between blocks.

Measured: up to 350 MiB in short runs, 444 MiB after 1,500 blocks of all stages.
"""

_USABLE = 0.95  # of a worker's limit: beyond it, the nanny ends the process


def format_bytes(count: float) -> str:
    """Format a number of bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def task_bytes(array: Any, grid: Grid, write_bytes: int) -> int:
    """Return the predicted peak memory of a process that makes and writes the largest block."""
    source = origin(array)
    itemsize = int(np.dtype(array.dtype).itemsize)
    block = prod(grid.block) * itemsize
    if isinstance(source, Source):
        regions = [grid.region(position) for position in _extreme_positions(grid)]
        made = max(source.task_bytes(region) for region in regions)
        return PROCESS_BYTES + max(made, source.nbytes(regions[0]) + write_bytes)
    if isinstance(array, da.Array):
        # A derived array holds the chunks that a block is put together of, beside the block.
        chunk = prod(int(max(c)) for c in array.chunks) * itemsize
        return PROCESS_BYTES + 2 * (block + chunk) + write_bytes
    return PROCESS_BYTES + block + write_bytes


def _extreme_positions(grid: Grid) -> Iterator[tuple[int, ...]]:
    """Return first, middle and last blocks of each axis: halos are clipped at the first."""
    return product(*[sorted({0, n // 2, n - 1}) for n in grid.counts])


def least_memory(forecast: int, threads: int) -> int:
    """Return the memory in bytes that a worker must have for tasks of a forecast."""
    needed = PROCESS_BYTES + threads * (forecast - PROCESS_BYTES)
    return ceil(needed / _USABLE)


def check_budget(name: str, forecast: int, threads: int, limit: int | None, more: str = "") -> None:
    """Refuse a stage whose tasks do not fit a worker.

    Parameters
    ----------
    more
        What else can be done about it, where the caller knows.

    Raises
    ------
    MemoryBudgetError
        With the forecast, the limit and what to change.
    """
    if limit is None or least_memory(forecast, threads) <= limit:
        return
    msg = (
        f"{name} needs {format_bytes(PROCESS_BYTES + threads * (forecast - PROCESS_BYTES))} in a "
        f"worker with {threads} thread{'s' if threads > 1 else ''} (process "
        f"{format_bytes(PROCESS_BYTES)} + {format_bytes(forecast - PROCESS_BYTES)} a task); the "
        f"worker has {format_bytes(limit)}, of which {_USABLE:.0%} may be used. Give workers at "
        # rounded up, for what is given as it is told here must do
        f"least {ceil(least_memory(forecast, threads) / 2**20)} MiB{more}"
    )
    raise MemoryBudgetError(msg)
