"""What the engine tells while it works; the caller decides what to show."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class BlockFailure:
    """A block that could not be made: its place in the array and the cause."""

    block: tuple[int, ...]
    place: str
    cause: str


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
    """

    name: str
    blocks: int
    blocks_run: int = 0
    blocks_skipped: int = 0
    seconds: float = 0.0
    forecast_bytes: int = 0
    peak_bytes: int = 0
    failures: list[BlockFailure] = field(default_factory=list)
    blocks_elsewhere: int = 0

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
