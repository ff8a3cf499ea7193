"""Make blocks of one array in one process, or on its workers, and note which have finished."""

import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import distributed
import numpy as np

from ...conventions import AXES, ConventionError, FibdaskWarning
from ..regions import BLOCK_BYTES
from .journal import JournalWriter, Part, alone, is_old, note_metadata
from .monitor import BlockFailure, Monitor, SlowBlock, StageReport
from .resources import GPU, Resources, own_resources
from .schedule import run_blocks, run_graph, run_name
from .shards import METADATA, checksum, put_file
from .sources import Computed, EachBlock, Source
from .targets import Target
from .workers import workers_watched
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
        Which of several processes this is: it makes its share of the blocks of every array, then
        what the others have left.
    run
        Name of what these processes have in common: a block that failed in it for one of them is
        not tried by the others.
    """

    client: distributed.Client | None = None
    resources: Resources = field(default_factory=own_resources)
    resume: bool = True
    block_bytes: int = BLOCK_BYTES
    monitor: Monitor = field(default_factory=Monitor)
    part: Part = field(default_factory=Part)
    run: str = "run"

    def __post_init__(self) -> None:
        """Check that the parts do not make anew what the others have just made."""
        if self.part.of > 1 and not self.resume:
            msg = f"part {self.part} cannot make everything anew: remove first what lies there"
            raise ConventionError(msg)


@dataclass(frozen=True, eq=False)
class Job:
    """An array that is to be written.

    Attributes
    ----------
    array
        Dask or numpy array of the target's shape.
    source
        What it is read from by coordinates, if it is.
    token
        Fingerprint under which it is written.
    name
        Of the stage, for reports and errors.
    values
        Results of the reductions that the array depends on, by token.
    """

    array: Any
    source: Source | None
    target: Target
    token: str
    name: str
    values: Mapping[str, Any]

    def place(self, number: int) -> tuple[tuple[int, ...], str]:
        """Return the position of a block, and in words the voxels that it makes or counts."""
        grid, dims = self.target.grid, self.target.dims
        position = grid.position(number)
        region, source = grid.region(position), self.source
        if isinstance(source, Computed) and isinstance(source.function, EachBlock):
            # What comes before the axes says which of several lists of blocks it is of.
            region = source.function.grid.numbered(number)[-len(AXES) :]
            dims = AXES[-len(region) :]
        told = (f"{dim} {s.start}:{s.stop}" for dim, s in zip(dims, region, strict=True))
        return position, ", ".join(told)

    def failure(self, number: int, cause: str) -> BlockFailure:
        """Return what is told of a block that failed."""
        return BlockFailure(*self.place(number), cause)


def warn_of_old(target: Target) -> None:
    """Say where the blocks of an earlier version cannot be kept."""
    if is_old(target.path):
        warnings.warn(
            f"{target.path} was written by an earlier version of fibdask, whose fingerprint does "
            "not vouch for all that this one's does: its blocks are made anew",
            FibdaskWarning,
            stacklevel=3,
        )


def begin_anew(job: Job, journal: JournalWriter) -> None:
    """Create the array of a job; to be done `alone`."""
    metadata = job.target.metadata()
    # The header first: until its blocks are recorded, the array counts as incomplete.
    dtype = np.dtype(job.target.stored_dtype).name
    journal.restart(job.token, job.target.grid, dtype, checksum(metadata))
    job.target.create(metadata)


def rename(target: Target) -> None:
    """Give an array the attributes of a target: names of classes, say, are in no fingerprint.

    Its blocks stay. Between the two files, the array counts as damaged, until it is named again.
    """
    if target.renamed() is None:
        return
    with alone(target.path):
        metadata = target.renamed()
        if metadata is not None:  # no other part was first
            put_file(target.path / METADATA, metadata)
            note_metadata(target.path, checksum(metadata))


def sweep(target: Target, missing: Iterable[int]) -> None:
    """Remove what there is of blocks that are not finished.

    What there is of others may be in the making.
    """
    missing = set(missing)
    target.sweep(missing)
    target.clear(missing)


def make_blocks(
    job: Job,
    numbers: Iterable[int],
    execution: Execution,
    journal: JournalWriter,
    report: StageReport,
) -> bool:
    """Make blocks, note them in a journal and a report, and tell whether it came to the end.

    It does not where every further block would fail the same way.
    """
    run, noted = run_name(job.name), _noted(numbers, journal)
    watched = workers_watched(execution.client, run, report)
    with watched, closing(_outcomes(job, noted, execution, run)) as found:
        return _collect(found, job, journal, report, execution.monitor)


def _noted(numbers: Iterable[int], journal: JournalWriter) -> Iterator[int]:
    for number in numbers:
        journal.begin(number)
        yield number


def _outcomes(
    job: Job, numbers: Iterable[int], execution: Execution, run: str
) -> Generator[Outcome]:
    client = execution.client
    if job.source is None:
        lazy = outcomes(job.array, job.target, job.token, run)
        return run_graph(lazy, list(numbers), client)
    needed = {reduction.token: job.values[reduction.token] for reduction in job.source.reductions}
    work = BlockWork(job.target, job.token, job.source, needed)
    has = execution.resources
    gpu = GPU if "gpu" in job.source.devices and has.gpu_workers else None
    return run_blocks(work, numbers, client, threads=has.threads, run=run, resources=gpu)


def _collect(
    found: Iterator[Outcome],
    job: Job,
    journal: JournalWriter,
    report: StageReport,
    monitor: Monitor,
) -> bool:
    for outcome in found:
        report.peak_bytes = max(report.peak_bytes, outcome.peak_bytes)
        if outcome.cause:
            report.failures.append(job.failure(outcome.number, outcome.cause))
            if not outcome.final:
                journal.fail(outcome.number, outcome.cause)
        else:
            journal.add(outcome.number, outcome.shard)
            report.blocks_run += 1
            if report.work.add(outcome.spent, outcome.shard.size):
                slow = SlowBlock(*job.place(outcome.number), outcome.spent.seconds)
                report.work.slowest = slow
        report.look_at_clock()
        monitor.advanced(report)
        if outcome.final:
            return False
    return True
