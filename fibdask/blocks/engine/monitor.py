"""What the engine tells while it works; the caller decides what to show."""

from collections import Counter
from dataclasses import dataclass, field
from math import exp2, log2
from time import monotonic
from typing import NamedTuple

_BINS = 64  # of a doubling: durations are told apart by one per cent
_SHORTEST = 1e-6  # seconds


@dataclass(frozen=True)
class BlockFailure:
    """A block that could not be made: its place in the array and the cause."""

    block: tuple[int, ...]
    place: str
    cause: str


@dataclass(frozen=True)
class SlowBlock:
    """The block that took longest: its place in the array."""

    block: tuple[int, ...]
    place: str
    seconds: float


class Spent(NamedTuple):
    """What a block took, measured where it was made.

    Attributes
    ----------
    seconds
        From the begin of reading to the end of writing.
    voxels
        That were made; where a block only counts or measures, those that were read.
    read_bytes, written_bytes
        Of voxels before compression; halos are read, too.
    """

    seconds: float = 0.0
    voxels: int = 0
    read_bytes: int = 0
    written_bytes: int = 0


NOTHING_SPENT = Spent()


@dataclass
class Work:
    """What the blocks of an array took that were made, added up as they finish.

    Attributes
    ----------
    seconds
        Of all blocks, of which several are made at a time.
    stored_bytes
        Of the shard files.
    durations
        Number of blocks by the logarithm of their time: however many there are, it stays small.
    """

    seconds: float = 0.0
    voxels: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    stored_bytes: int = 0
    slowest: SlowBlock | None = None
    durations: Counter[int] = field(default_factory=Counter)

    def add(self, spent: Spent, stored_bytes: int) -> bool:
        """Add a block, and tell whether it is the slowest so far."""
        self.seconds += spent.seconds
        self.voxels += spent.voxels
        self.read_bytes += spent.read_bytes
        self.written_bytes += spent.written_bytes
        self.stored_bytes += stored_bytes
        self.durations[round(_BINS * log2(max(spent.seconds, _SHORTEST)))] += 1
        return self.slowest is None or spent.seconds > self.slowest.seconds

    def __add__(self, other: "Work") -> "Work":
        """Return the work of two arrays."""
        slow = [work.slowest for work in (self, other) if work.slowest is not None]
        return Work(
            self.seconds + other.seconds,
            self.voxels + other.voxels,
            self.read_bytes + other.read_bytes,
            self.written_bytes + other.written_bytes,
            self.stored_bytes + other.stored_bytes,
            max(slow, key=lambda block: block.seconds, default=None),
            self.durations + other.durations,
        )

    @property
    def median_seconds(self) -> float | None:
        """Median time of a block, to one per cent; None if there is none."""
        below, half = 0, self.durations.total() / 2
        for step in sorted(self.durations):
            below += self.durations[step]
            if below >= half:
                return exp2(step / _BINS)
        return None


@dataclass
class StageReport:
    """How the writing of one array or the counting of one reduction went.

    Attributes
    ----------
    blocks_elsewhere
        Blocks that other parts of the run have made meanwhile.
    forecast_bytes
        Predicted peak memory of one task's process.
    peak_bytes
        Largest measured peak memory of a process during a task; 0 if none ran.
    blocks_retried
        Blocks that another worker was given because the first one had ended.
    waiting_seconds
        Time in which there was no worker.
    began
        When, by a clock that only goes on.
    """

    name: str
    blocks: int
    blocks_run: int = 0
    blocks_skipped: int = 0
    seconds: float = 0.0
    forecast_bytes: int = 0
    peak_bytes: int = 0
    blocks_retried: int = 0
    waiting_seconds: float = 0.0
    work: Work = field(default_factory=Work)
    failures: list[BlockFailure] = field(default_factory=list)
    blocks_elsewhere: int = 0
    began: float = field(default_factory=monotonic)

    def look_at_clock(self) -> None:
        """Note how long it has taken so far."""
        self.seconds = monotonic() - self.began

    @property
    def blocks_failed(self) -> int:
        """Number of blocks that failed."""
        return len(self.failures)


class Monitor:
    """Listens to the engine; subclass and override what is wanted."""

    def started(self, report: StageReport) -> None:
        """Be told that a stage begins; blocks and skipped blocks are known."""

    def advanced(self, report: StageReport) -> None:
        """Be told that one more block has finished or failed."""

    def waiting(self, report: StageReport) -> None:
        """Be told that all that is left is being made by other parts of the run."""

    def finished(self, report: StageReport) -> None:
        """Be told that a stage has ended."""


NO_MONITOR = Monitor()
"""Listens to nothing."""
