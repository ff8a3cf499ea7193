"""Make and write blocks: resumable, observed, with the memory of every task known beforehand.

With a `distributed.Client` the blocks are futures on its workers; without one they run in threads
of this process. Only this process notes which of them have finished, in a journal of its own: other
processes may make other parts of the same array.
"""

import time
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask.array as da
import distributed
import numpy as np

from ...conventions import ConventionError, FibdaskWarning
from ..regions import BLOCK_BYTES, BlockList, Grid, group_numbers, sums_by_group
from .arrays import from_source, origin
from .fingerprints import fingerprint
from .forecast import check_budget, task_bytes
from .journal import JournalWriter, Part, Record, alone, check_complete, is_old, journal_writer
from .monitor import BlockFailure, Monitor, StageReport
from .resources import GPU, Resources, own_resources
from .schedule import run_blocks, run_graph, run_name
from .shards import checksum
from .sources import Reduction, Source
from .stored import StoredArray
from .targets import Target
from .writing import BlockWork, Outcome, outcomes


@dataclass(frozen=True)
class Execution:
    """Where and how blocks are made.

    Attributes
    ----------
    client
        Connection to a cluster, or None for this process.
    resources
        What each worker has; by default what this process has.
    resume
        Keep finished blocks of the same fingerprint.
    block_bytes
        Most bytes of one block.
    part
        Share of every array's blocks that is made here; other processes make the others.
    """

    client: distributed.Client | None = None
    resources: Resources = field(default_factory=own_resources)
    resume: bool = True
    block_bytes: int = BLOCK_BYTES
    monitor: Monitor = field(default_factory=Monitor)
    part: Part = field(default_factory=Part)

    def __post_init__(self) -> None:
        """Check that the parts do not make anew what the others have just made."""
        if self.part.of > 1 and not self.resume:
            msg = f"part {self.part} cannot make everything anew: remove first what lies there"
            raise ConventionError(msg)


def write_array(
    array: Any, target: Target, execution: Execution, *, name: str, values: Mapping[str, Any]
) -> StageReport:
    """Make the missing blocks of an array, or of the part that is made here, and write them.

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
    part = execution.part
    if part.of > 1 and is_derived(array):
        msg = f"{name} is derived from arrays in memory or by arithmetic: it has no parts"
        raise ConventionError(msg)
    mine = part.blocks(target.grid.size)
    needed = forecast(array, target)
    check_budget(name, needed, execution.resources)
    report = StageReport(name, len(mine), forecast_bytes=execution.resources.process_peak(needed))
    token = _resume_token(array)
    with ExitStack() as held:
        with alone(target.path):
            journal = held.enter_context(journal_writer(target.path, part))
            record = _begun(target, journal, token, resume=execution.resume)
        done = set() if record is None else _swept(target, record, mine)
        missing = [number for number in mine if number not in done]
        report.blocks_skipped = len(done)
        execution.monitor.started(report)
        started = time.monotonic()
        with closing(_outcomes(array, target, token, missing, execution, name, values)) as outcomes:
            _collect(outcomes, journal, report, target, execution.monitor)
        report.seconds = time.monotonic() - started
    execution.monitor.finished(report)
    return report


def _begun(target: Target, journal: JournalWriter, token: str, *, resume: bool) -> Record | None:
    """Return the record of an array that was begun under a fingerprint, or create the array."""
    if resume and is_old(target.path):
        warnings.warn(
            f"{target.path} was written by an earlier version of fibdask, whose fingerprint does "
            "not vouch for all that this one's does: its blocks are made anew",
            FibdaskWarning,
            stacklevel=3,
        )
    elif resume and (record := target.finished(token)):
        target.sweep_metadata()
        return record
    metadata = target.metadata()
    # The header first: until its blocks are recorded, the array counts as incomplete.
    dtype = np.dtype(target.stored_dtype).name
    journal.restart(token, target.grid, dtype, checksum(metadata))
    target.create(metadata)
    return None


def _swept(target: Target, record: Record, mine: range) -> set[int]:
    """Return the finished ones of some blocks, and remove what there is of the others.

    What there is of other parts may be in the making.
    """
    done = target.whole_blocks(record, mine)
    target.sweep(mine)
    target.clear(number for number in mine if number not in done)
    return done


def _outcomes(
    array: Any,
    target: Target,
    token: str,
    missing: list[int],
    execution: Execution,
    name: str,
    values: Mapping[str, Any],
) -> Generator[Outcome]:
    """Make the missing blocks of an array, and yield how it went."""
    source = origin(array)
    if isinstance(source, Source):
        needed = {reduction.token: values[reduction.token] for reduction in source.reductions}
        work = BlockWork(target, token, source, needed)
        run, threads = run_name(name), execution.resources.threads
        gpu = GPU if source.on_gpu and execution.resources.gpu_workers else None
        return run_blocks(work, missing, execution.client, threads=threads, run=run, resources=gpu)
    return run_graph(outcomes(array, target, token, run_name(name)), missing, execution.client)


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


def is_complete(array: Any, target: Target) -> bool:
    """Tell whether the target holds every block of this array already."""
    source = origin(array)
    if isinstance(source, StoredArray) and Path(source.path).resolve() == target.path.resolve():
        return True
    record = target.finished(_resume_token(array))
    numbers = range(target.grid.size)
    return record is not None and len(target.whole_blocks(record, numbers)) == len(numbers)


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


def _collect(
    outcomes: Iterator[Outcome],
    journal: JournalWriter,
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
            journal.add(outcome.number, outcome.shard)
            report.blocks_run += 1
        monitor.advanced(report)
        if outcome.full:
            return  # every further block would fail the same way
