"""What a person sees while a run works: bars in a terminal, plain lines elsewhere, a log always."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from ...blocks import Monitor, StageReport, format_bytes
from ..shown import one_line

LOGGER = logging.getLogger("fibdask")


class Listener(Protocol):
    """Is told the figures of a stage while it works."""

    def __call__(self, report: StageReport, *, now: bool) -> None:
        """Take the figures; `now` at the begin and end of a stage."""


class RunMonitor(Monitor):
    """Shows progress, writes the log, and passes the figures on."""

    def __init__(self, listener: Listener, *, quiet: bool) -> None:
        self._listener = listener
        self._quiet = quiet
        self._bars: Progress | None = None
        self._bar: TaskID | None = None

    def say(self, text: str) -> None:
        """Write a line to the log, and show it."""
        LOGGER.info(text)
        if not self._quiet:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def started(self, report: StageReport) -> None:
        """Begin a bar or a line."""
        text = (
            f"{report.name}: {report.blocks} blocks, {report.blocks_skipped} already done, "
            f"forecast {format_bytes(report.forecast_bytes)} a process"
        )
        LOGGER.info(text)
        if not self._quiet and sys.stdout.isatty():
            self._bars = Progress(
                TextColumn("{task.description:<20}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=Console(),
            )
            self._bars.start()
            self._bar = self._bars.add_task(report.name, total=report.blocks, note="")
            self._draw(report)
        self._listener(report, now=True)

    def advanced(self, report: StageReport) -> None:
        """Move on by a block."""
        for failure in report.failures[-1:]:
            if report.blocks_failed != getattr(self, "_logged", 0):
                self._logged = report.blocks_failed
                LOGGER.error(
                    "%s: block %s (%s) failed: %s",
                    report.name,
                    failure.block,
                    failure.place,
                    failure.cause,
                )
        self._draw(report)
        self._listener(report, now=False)

    def waiting(self, report: StageReport) -> None:
        """Say that other parts make what is left."""
        left = report.blocks - report.blocks_run - report.blocks_skipped - report.blocks_elsewhere
        self.say(f"{report.name}: waiting for {left} blocks that other parts are making")
        self._draw(report)
        self._listener(report, now=True)

    def finished(self, report: StageReport) -> None:
        """End the bar or the line."""
        text = (
            f"{report.name}: {report.blocks_run} run, {report.blocks_skipped} skipped, "
            f"{report.blocks_failed} failed{_elsewhere(report)} in {report.seconds:.1f} s, "
            f"peak {format_bytes(report.peak_bytes)} a process"
        )
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
            LOGGER.info(text)
        else:
            self.say(text)
        self._logged = 0
        self._listener(report, now=True)

    def _draw(self, report: StageReport) -> None:
        if self._bars is None or self._bar is None:
            return
        done = report.blocks_run + report.blocks_skipped + report.blocks_failed
        done += report.blocks_elsewhere
        note = f"{report.blocks_skipped} skipped, {report.blocks_failed} failed{_elsewhere(report)}"
        self._bars.update(self._bar, completed=done, note=note)


def _elsewhere(report: StageReport) -> str:
    """Say how many blocks other parts have made, if any."""
    return f", {report.blocks_elsewhere} by other parts" if report.blocks_elsewhere else ""


class _OneLine(logging.Formatter):
    """Writes each message on a line of its own, whatever it holds."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return one_line(super().format(record))


@contextlib.contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Write the log of a run to a file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(message)s"))
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    LOGGER.addHandler(handler)
    propagate, LOGGER.propagate = LOGGER.propagate, False
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        LOGGER.propagate = propagate
        handler.close()
