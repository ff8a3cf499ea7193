"""Make and write blocks: resumable, observed, with the memory of every task known beforehand.

With a `distributed.Client` the blocks are futures on its workers; without one they run in threads
of this process. Only this process notes which of them have finished, in a journal of its own: other
processes may make other parts of the same array.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np

from ...conventions import ConventionError
from ..regions import BlockList, Grid, group_numbers, sums_by_group
from .arrays import from_source, origin
from .fingerprints import fingerprint
from .forecast import check_budget, task_bytes
from .journal import (
    JournalWriter,
    Record,
    alone,
    check_complete,
    header_fingerprint,
    is_old,
    journal_writer,
)
from .making import Execution, Job, begin_anew, make_blocks, sweep, warn_of_old
from .monitor import StageReport
from .sharing import share_blocks
from .sources import Reduction, Source
from .stored import StoredArray
from .targets import Target


def write_array(
    array: Any, target: Target, execution: Execution, *, name: str, values: Mapping[str, Any]
) -> StageReport:
    """Make the missing blocks of an array and write them.

    One of several parts returns when the array is whole, or when what is left cannot be made.

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
    StackReadError
        If another process is making these blocks, or the same array of something else.
    """
    if execution.part.of > 1 and is_derived(array):
        msg = f"{name} is derived from arrays in memory or by arithmetic: it has no parts"
        raise ConventionError(msg)
    needed = forecast(array, target)
    check_budget(name, needed, execution.resources)
    peak = execution.resources.process_peak(needed)
    report = StageReport(name, target.grid.size, forecast_bytes=peak)
    source = origin(array)
    known = source if isinstance(source, Source) else None
    job = Job(array, known, target, _resume_token(array), name, values)
    if execution.part.of > 1:
        share_blocks(job, execution, report)
    else:
        _write_alone(job, execution, report)
    report.look_at_clock()
    execution.monitor.finished(report)
    return report


def _write_alone(job: Job, execution: Execution, report: StageReport) -> None:
    """Make the missing blocks of an array that nobody else makes."""
    numbers = range(job.target.grid.size)
    with ExitStack() as held:
        with alone(job.target.path):
            journal = held.enter_context(journal_writer(job.target.path))
            record = _begun(job, journal, resume=execution.resume)
        done = job.target.whole_blocks(record.finished, numbers) if record else set()
        missing = [number for number in numbers if number not in done]
        if record:
            sweep(job.target, missing)
        report.blocks_skipped = len(done)
        execution.monitor.started(report)
        make_blocks(job, missing, execution, journal, report)
        if report.blocks_retried:  # a worker that has ended may have left a part of a file
            job.target.sweep(set(missing))


def _begun(job: Job, journal: JournalWriter, *, resume: bool) -> Record | None:
    """Return the record of an array that was begun under a fingerprint, or create the array."""
    if resume:
        warn_of_old(job.target)
    if resume and not is_old(job.target.path) and (record := job.target.finished(job.token)):
        job.target.sweep_metadata()
        return record
    begin_anew(job, journal)
    return None


def skip_array(name: str, blocks: int, execution: Execution) -> StageReport:
    """Report an array of which every block is already there."""
    report = StageReport(name, blocks, blocks_skipped=blocks)
    execution.monitor.started(report)
    execution.monitor.finished(report)
    return report


def forecast(array: Any, target: Target) -> int:
    """Return the predicted peak memory of a process that writes one block, in bytes."""
    return task_bytes(array, target.grid, target.write_bytes())


def reduction_forecast(reduction: Reduction) -> int:
    """Return the predicted peak memory of a process that counts one block, in bytes."""
    return forecast(from_source(reduction.partials), counts_target(reduction, Path()))


def array_token(array: Any) -> str:
    """Return the fingerprint of what an array's values are made of."""
    source = origin(array)
    if source is not None:
        return source.token
    return fingerprint(array.name if isinstance(array, da.Array) else array)


def _resume_token(array: Any) -> str:
    """Return the fingerprint under which an array is written.

    Of an array derived by other means nobody can tell whether its files have changed since: it
    is written under a new one every time.
    """
    return fingerprint(uuid4().hex) if is_derived(array) else array_token(array)


def is_derived(array: Any) -> bool:
    """Tell whether a Dask array is not read by coordinates, as results of arithmetic are not."""
    return isinstance(array, da.Array) and origin(array) is None


def is_begun(array: Any, folder: Path) -> bool:
    """Tell whether what lies in a folder was begun of what this array is made of."""
    return header_fingerprint(folder) == array_token(array)


def is_complete(array: Any, target: Target) -> bool:
    """Tell whether the target holds every block of this array already."""
    source = origin(array)
    if isinstance(source, StoredArray) and source.place.resolve() == target.path.resolve():
        return True
    record = target.finished(_resume_token(array))
    numbers = range(target.grid.size)
    return record is not None and len(target.whole_blocks(record.finished, numbers)) == len(numbers)


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
    target = counts_target(reduction, execution.resources.folder)
    report = write_array(from_source(partials), target, execution, name=name, values=values)
    if report.failures:
        return np.empty(0), report
    return _sum_counts(target, reduction.blocks), report


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


def keep_values(array: Any, execution: Execution, *, name: str) -> tuple[np.ndarray, StageReport]:
    """Make a small array block by block, keep it, and return its values with the report.

    Raises
    ------
    MemoryBudgetError
        Before anything is touched, if a block does not fit a worker.
    """
    target = values_target(array, execution.resources.folder)
    report = write_array(array, target, execution, name=name, values={})
    if report.failures:
        return np.empty(0), report
    check_complete(target.path)
    kept = np.asarray(target.open()[...])
    target.check_there()
    return kept, report


def values_target(array: Any, folder: Path) -> Target:
    """Return where the values of a small array are kept."""
    block = tuple(max(lengths) for lengths in array.chunks)
    dims = tuple(f"axis {number}" for number in range(array.ndim))
    path = folder / array_token(array)
    return Target(path, Grid(array.shape, block), block, array.dtype.name, dims, {})


def _sum_counts(target: Target, blocks: BlockList) -> np.ndarray:
    check_complete(target.path)
    stored, groups = target.open(), group_numbers(blocks)
    total = np.zeros((int(groups.max()) + 1, stored.shape[1]), np.int64)
    step = max(2**22 // stored.shape[1], 1)
    for start in range(0, stored.shape[0], step):
        rows = np.asarray(stored[start : start + step])
        np.add.at(total, groups[start : start + step], rows)
    target.check_there()
    return sums_by_group(blocks, total)
