"""Make and write blocks: resumable, observed, with the memory of every task known beforehand.

With a `distributed.Client` the blocks are futures on its workers; without one they run in Dask's
configured scheduler. Only this process writes the record of what has finished.
"""

import contextlib
import errno
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask
import dask.array as da
import distributed
import numpy as np
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from .arrays import from_source, origin, piece
from .memory import check_budget, task_bytes
from .monitor import BlockFailure, Monitor, StageReport
from .records import RecordWriter, record_writer
from .regions import BLOCK_BYTES, BlockList, Grid, group_numbers, sums_by_group
from .sources import Reduction, Source, fingerprint
from .stored import Target

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Execution:
    """Where and how blocks are made.

    Attributes
    ----------
    client
        Connection to a cluster, or None for this process.
    threads, memory_limit
        Of one worker; `memory_limit` in bytes, None for no limit.
    resume
        Keep finished blocks of the same fingerprint.
    counts
        Folder in which the counts of reductions are kept, so that they resume too.
    block_bytes
        Most bytes of one block.
    """

    client: distributed.Client | None = None
    threads: int = 1
    memory_limit: int | None = None
    resume: bool = True
    counts: Path = Path("counts")
    block_bytes: int = BLOCK_BYTES
    monitor: Monitor = field(default_factory=Monitor)


@dataclass(frozen=True)
class _Outcome:
    number: int
    size: int
    peak_bytes: int
    cause: str = ""
    full: bool = False


def write_array(
    array: Any, target: Target, execution: Execution, *, name: str, values: Mapping[str, Any]
) -> StageReport:
    """Make every missing block of an array and write it.

    Parameters
    ----------
    array
        Dask or numpy array of the target's shape.
    values
        Results of the reductions that the array depends on, by token.
    name
        Of the stage, for reports and errors.

    Raises
    ------
    MemoryBudgetError
        Before anything is touched, if a block does not fit a worker.
    """
    grid = target.grid
    report = StageReport(name, grid.size, forecast_bytes=forecast(array, target))
    check_budget(name, report.forecast_bytes, execution.threads, execution.memory_limit)
    token = array_token(array)
    record = target.finished(token) if execution.resume else None
    if record is None:
        target.create()
    target.sweep()
    with record_writer(target.path) as writer:
        done = target.whole_blocks(record) if record else set()
        if record is None:
            writer.restart(token, grid.size)
        report.blocks_skipped = len(done)
        execution.monitor.started(report)
        started = time.monotonic()
        missing = (number for number in range(grid.size) if number not in done)
        tasks = (_task(array, target, number, values) for number in missing)
        outcomes = _run(tasks, execution, _ahead(array, execution))
        _collect(outcomes, writer, report, target, execution.monitor)
        report.seconds = time.monotonic() - started
    execution.monitor.finished(report)
    return report


def forecast(array: Any, target: Target) -> int:
    """Return the predicted peak memory of a process that writes one block, in bytes."""
    return task_bytes(array, target.grid, target.write_bytes())


def reduction_forecast(reduction: Reduction) -> int:
    """Return the predicted peak memory of a process that counts one block, in bytes."""
    return forecast(from_source(reduction.partials), counts_target(reduction, Path()))


def array_token(array: Any) -> str:
    """Return the fingerprint of everything that determines an array's values."""
    source = origin(array)
    if source is not None:
        return source.token
    if isinstance(array, da.Array):
        return fingerprint(array.name)
    return fingerprint(array)


def is_complete(array: Any, target: Target) -> bool:
    """Tell whether the target holds every block of this array already."""
    record = target.finished(array_token(array))
    return record is not None and len(target.whole_blocks(record)) == record.blocks


def count_blocks(
    reduction: Reduction, execution: Execution, *, name: str, values: Mapping[str, Any]
) -> tuple[np.ndarray, StageReport]:
    """Count in every block, keep the counts, and return their sums with the report.

    Reductions of the same `partials` share the counts: each makes its `result` of them.

    Raises
    ------
    MemoryBudgetError
        Before anything is touched, if a block does not fit a worker.
    """
    partials = reduction.partials
    target = counts_target(reduction, execution.counts)
    report = write_array(from_source(partials), target, execution, name=name, values=values)
    return np.empty(0) if report.failures else _sum_counts(target, reduction.blocks), report


def counts_target(reduction: Reduction, folder: Path) -> Target:
    """Return where the counts of a reduction are kept."""
    partials = reduction.partials
    return Target(
        folder / partials.token,
        Grid(partials.shape, partials.block),
        partials.block,
        partials.dtype.name,
        ("block", "count"),
        {"long_name": "counts of each block"},
    )


def _sum_counts(target: Target, blocks: BlockList) -> np.ndarray:
    stored, groups = target.open(), group_numbers(blocks)
    total = np.zeros((int(groups.max()) + 1, stored.shape[1]), np.int64)
    step = max(2**22 // stored.shape[1], 1)
    for start in range(0, stored.shape[0], step):
        rows = np.asarray(stored[start : start + step])
        np.add.at(total, groups[start : start + step], rows)
    return sums_by_group(blocks, total)


def _task(array: Any, target: Target, number: int, values: Mapping[str, Any]) -> Delayed:
    """Return one block's task: a source and coordinates, or a part of an array."""
    key = f"write-{uuid4().hex}-{number}"
    source = origin(array)
    if isinstance(source, Source):
        needed = _Values({r.token: values[r.token] for r in source.reductions})
        graph: dict[str, Any] = {key: (_write_source, target, number, source, needed)}
        return Delayed(key, HighLevelGraph.from_collections(key, graph))
    argument, dependencies = piece(array, target.grid.region(target.grid.position(number)))
    graph = {key: (_write_data, target, number, argument)}
    return Delayed(key, HighLevelGraph.from_collections(key, graph, dependencies=dependencies))


class _Values(dict[str, Any]):
    """Results of reductions, opaque to Dask."""


def _write_source(target: Target, number: int, source: Source, values: _Values) -> _Outcome:
    _reset_peak()
    position = target.grid.position(number)
    try:
        data = source.read(target.grid.region(position), values)
        size = target.write(position, data)
    except Exception as error:  # the block is reported as failed, the others go on
        return _failure(number, error)
    return _Outcome(number, size, _peak_bytes())


def _write_data(target: Target, number: int, data: np.ndarray) -> _Outcome:
    _reset_peak()
    try:
        size = target.write(target.grid.position(number), data)
    except Exception as error:  # the block is reported as failed, the others go on
        return _failure(number, error)
    return _Outcome(number, size, _peak_bytes())


def _failure(number: int, error: BaseException) -> _Outcome:
    full = any(getattr(e, "errno", None) in _FULL for e in _chain(error))
    cause = f"{type(error).__name__}: {error}"
    return _Outcome(number, -1, _peak_bytes(), cause, full)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _run(tasks: Iterable[Delayed], execution: Execution, ahead: int) -> Iterator[_Outcome]:
    """Run tasks, handing over at most `ahead` at a time."""
    iterator = iter(tasks)
    if execution.client is None:
        while batch := list(islice(iterator, ahead)):
            yield from dask.compute(*batch)
        return
    client = execution.client
    waiting = distributed.as_completed(client.compute(list(islice(iterator, ahead))))
    for future in waiting:
        try:
            yield future.result()
        except Exception as error:  # its worker died too often, or what it depends on failed
            yield _failure(int(future.key.rsplit("-", 1)[1]), error)
        future.release()
        for task in islice(iterator, 1):
            waiting.add(client.compute(task))


def _ahead(array: Any, execution: Execution) -> int:
    """Blocks read by coordinates are independent; derived ones share tasks of one graph."""
    if not isinstance(origin(array), Source):
        return sys.maxsize
    if execution.client is None:
        return os.cpu_count() or 1
    threads = sum(int(count) for count in execution.client.nthreads().values())
    return 2 * max(threads, 1)


def _reset_peak() -> None:
    """Make the kernel measure the peak of this process's memory anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    kibibytes: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes * 1024


def _collect(
    outcomes: Iterator[_Outcome],
    writer: RecordWriter,
    report: StageReport,
    target: Target,
    monitor: Monitor,
) -> None:
    for outcome in outcomes:
        report.peak_bytes = max(report.peak_bytes, outcome.peak_bytes)
        if outcome.cause:
            position = target.grid.position(outcome.number)
            region = target.grid.region(position)
            place = ", ".join(
                f"{dim} {s.start}:{s.stop}" for dim, s in zip(target.dims, region, strict=True)
            )
            report.failures.append(BlockFailure(position, place, outcome.cause))
        else:
            writer.add(outcome.number, outcome.size)
            report.blocks_run += 1
        monitor.advanced(report)
        if outcome.full:
            return  # every further block would fail the same way
