"""Make the blocks of one array in several processes that know of each other by its journal alone.

The blocks are divided into shares of neighbours, a few for each part. A part makes its own, then
those that nobody is at: of parts that have not begun yet, are slower, or were killed. Whoever makes
a share holds the lock of its file in the journal, which the system lets go when a process ends. A
part is done when the array is whole: that is the barrier before what reads it.

Shares of neighbours, rather than every n-th block, because blocks that lie side by side read the
same chunks beside them, and a part writes into few folders.

A block that failed for one part is not tried by the others, and one whose processes were killed
is tried alone, and no more than a few times: it may be what killed them.
"""

import time
from collections.abc import Iterator

from ...conventions import StackReadError
from .journal import (
    JournalWriter,
    Part,
    ShareRecord,
    alone,
    begun_in,
    journal_writer,
    read_record,
    read_share,
    share_writer,
)
from .locks import TakenError
from .making import Execution, Job, begin_anew, make_blocks, sweep, warn_of_old
from .monitor import StageReport

SHARES = 4  # of each part
_BEGINNING = Part(1, SHARES)  # no share of several parts: its file tells in which run all began
TRIES = 3  # of a block that was never finished
_POLL = 0.05, 5.0  # shortest and longest seconds between looks at what others make
_SILENCE = 2.0  # seconds of waiting before it is told


def share_blocks(job: Job, execution: Execution, report: StageReport) -> None:
    """Make what is missing of an array, with the other parts, until nothing is left to be made."""
    sharing = _Sharing(job, execution, report)
    sharing.begin()
    execution.monitor.started(report)
    left = [share for share in ordered_shares(execution.part) if sharing.left(share)]
    pause, waited = _POLL[0], 0.0
    while left:
        made = False
        for share in left:
            try:
                going = sharing.make(share)
            except TakenError:  # somebody else is at it
                continue
            made = True
            if not going:
                return
        left = sharing.look_again(left)
        if made or not left:
            pause, waited = _POLL[0], 0.0
            continue
        if waited <= _SILENCE < waited + pause:
            execution.monitor.waiting(report)
        time.sleep(pause)
        pause, waited = min(2 * pause, _POLL[1]), waited + pause
    sharing.tell_failures()


def ordered_shares(part: Part) -> Iterator[Part]:
    """Return all shares of an array: those of a part, then those of the others.

    Of these the last come first, because they themselves begin with their first.
    """
    of = SHARES * part.of
    first = SHARES * (part.number - 1)
    yield from (Part(first + k + 1, of) for k in range(SHARES))
    for other in range(1, part.of):
        first = SHARES * ((part.number - 1 + other) % part.of)
        yield from (Part(first + k + 1, of) for k in reversed(range(SHARES)))


class _Sharing:
    """What one part knows of the blocks of an array.

    Attributes
    ----------
    done
        Finished blocks, by whomever.
    failed
        Causes of those that failed in this run.
    """

    def __init__(self, job: Job, execution: Execution, report: StageReport) -> None:
        self.done: set[int] = set()
        self.failed: dict[int, str] = {}
        self._job, self._execution, self._report = job, execution, report
        self._size = job.target.grid.size

    def begin(self) -> None:
        """Create the array unless another part has, and find what is finished."""
        target, run = self._job.target, self._execution.run
        with alone(target.path):
            if not target.is_begun(self._job.token):
                if begun_in(target.path, _BEGINNING) == run:
                    msg = (
                        f"{target.path} is being made by another part of this run, of something "
                        "else: other input, other code or another device; make all parts alike"
                    )
                    raise StackReadError(msg)
                warn_of_old(target)
                with journal_writer(target.path, _BEGINNING, run=run) as journal:
                    begin_anew(self._job, journal)
        record = read_record(target.path)
        finished = record.finished if record else {}
        self.done = target.whole_blocks(finished, range(self._size))
        self._report.blocks_skipped = len(self.done)

    def left(self, share: Part) -> list[int]:
        """Return the blocks of a share that may still be made."""
        blocks = share.blocks(self._size)
        return [n for n in blocks if n not in self.done and n not in self.failed]

    def look_again(self, shares: list[Part]) -> list[Part]:
        """Read what others have made of shares, and return those of which something is left."""
        return [share for share in shares if self._look(share) and self.left(share)]

    def _look(self, share: Part) -> ShareRecord:
        target = self._job.target
        told = read_share(target.path, share, self._size, self._execution.run)
        self.done |= target.whole_blocks(told.finished, self.left(share))
        self.failed |= {n: cause for n, cause in told.failed.items() if n not in self.done}
        report = self._report
        report.blocks_elsewhere = len(self.done) - report.blocks_skipped - report.blocks_run
        return told

    def make(self, share: Part) -> bool:
        """Make what is left of a share, and tell whether it came to the end.

        Raises
        ------
        TakenError
            If another process makes it.
        """
        target, run = self._job.target, self._execution.run
        with share_writer(target.path, share, run) as journal:
            begun = self._look(share).begun
            missing = self.left(share)
            sweep(target, missing)
            for number in [n for n in missing if begun[n] >= TRIES]:
                journal.fail(number, f"the {TRIES} processes that made it were killed")
            suspect = [n for n in missing if 0 < begun[n] < TRIES]
            parts = [[n for n in missing if not begun[n]], *([n] for n in suspect)]
            going = all(self._made(numbers, journal) for numbers in parts if numbers)
            self._look(share)
        return going

    def _made(self, numbers: list[int], journal: JournalWriter) -> bool:
        return make_blocks(self._job, numbers, self._execution, journal, self._report)

    def tell_failures(self) -> None:
        """Put what failed for others into the report too."""
        own = {failure.block for failure in self._report.failures}
        found = [self._job.failure(number, cause) for number, cause in sorted(self.failed.items())]
        self._report.failures += [failure for failure in found if failure.block not in own]
