"""What a person sees while a run works: how far each stage is, what it took; a log always."""

import contextlib
import json
import logging
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ...blocks import Monitor, StageReport, format_bytes
from ...conventions import FibdaskWarning
from ..shown import one_line
from ..telling import telling
from .figures import figures

Piece = TypeVar("Piece")
LOGGER = logging.getLogger("fibdask")


def log_event(level: int, text: str, event: str, **told: Any) -> None:
    """Write a line to the log: a text for people, and what it tells for programs."""
    LOGGER.log(level, text, extra={"event": event, "told": told})


class Listener(Protocol):
    """Is told the figures of a stage while it works."""

    def __call__(self, report: StageReport, *, now: bool) -> None:
        """Take the figures; `now` at the begin and end of a stage."""


class RunMonitor(Monitor):
    """Shows progress, writes the log, and passes the figures on."""

    def __init__(self, listener: Listener, *, quiet: bool) -> None:
        self._listener = listener
        self._quiet = quiet
        self._shown = contextlib.ExitStack()
        self._tell: Callable[..., None]

    def say(self, text: str, event: str = "message", **told: Any) -> None:
        """Write a line to the log, and show it."""
        log_event(logging.INFO, text, event, **told)
        self._show(text)

    def _show(self, text: str) -> None:
        if not self._quiet:
            sys.stdout.write(one_line(text) + "\n")
            sys.stdout.flush()

    def started(self, report: StageReport) -> None:
        """Begin to show how far the stage is."""
        text = (
            f"{report.name}: {report.blocks} blocks, {report.blocks_skipped} already done, "
            f"forecast {format_bytes(report.forecast_bytes)} a process"
        )
        log_event(logging.INFO, text, "stage_started", **_counts(report))
        self._tell = self._shown.enter_context(telling(report.name, quiet=self._quiet))
        self._draw(report)
        self._listener(report, now=True)

    def advanced(self, report: StageReport) -> None:
        """Move on by a block."""
        for failure in report.failures[-1:]:
            if report.blocks_failed != getattr(self, "_logged", 0):
                self._logged = report.blocks_failed
                place = f"block {failure.block} ({failure.place})"
                text = f"{report.name}: {place} failed: {failure.cause}"
                log_event(logging.ERROR, text, "block_failed", stage=report.name, **asdict(failure))
        self._draw(report)
        self._listener(report, now=False)

    def waiting(self, report: StageReport) -> None:
        """Say that other parts make what is left."""
        left = report.blocks - report.blocks_run - report.blocks_skipped - report.blocks_elsewhere
        self.say(f"{report.name}: waiting for {left} blocks that other parts are making")
        self._draw(report)
        self._listener(report, now=True)

    def finished(self, report: StageReport) -> None:
        """Say what the stage took."""
        found = figures([report])
        text = (
            f"{report.name}: {report.blocks_run} run, {report.blocks_skipped} skipped, "
            f"{report.blocks_failed} failed{_elsewhere(report)} in {report.seconds:.1f} s"
            f"{_peak(report)}{_speed(found)}"
        )
        told = _counts(report) | {"peak_bytes": report.peak_bytes, **found}
        log_event(logging.INFO, text + _slowest(found), "stage_finished", **told)
        self._shown.close()
        self._show(text)
        self._logged = 0
        self._listener(report, now=True)

    def _draw(self, report: StageReport) -> None:
        done = report.blocks_run + report.blocks_skipped + report.blocks_failed
        note = f"{report.blocks_skipped} skipped, {report.blocks_failed} failed{_elsewhere(report)}"
        self._tell(done + report.blocks_elsewhere, report.blocks, note=note)


def command_monitor(*, quiet: bool) -> RunMonitor:
    """Return what shows the progress of a command that has no folder for a log of it."""
    return RunMonitor(_nobody, quiet=quiet)


def _nobody(report: StageReport, *, now: bool) -> None:
    """Take figures that nobody asked for."""


def watched(pieces: Iterable[Piece], count: int, name: str, monitor: Monitor) -> Iterator[Piece]:
    """Yield pieces of a work that this process does in order, and tell how far it is.

    Parameters
    ----------
    count
        Of the pieces.
    name
        Of the work.
    """
    report = StageReport(name, count)
    monitor.started(report)
    try:
        for piece in pieces:
            yield piece
            report.blocks_run += 1
            report.look_at_clock()
            monitor.advanced(report)
    finally:
        report.look_at_clock()
        report.peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        monitor.finished(report)


def _counts(report: StageReport) -> dict[str, Any]:
    """Return the numbers of a stage, as its summary names them."""
    kinds = ("run", "skipped", "failed")
    counts = {f"blocks_{kind}": getattr(report, f"blocks_{kind}") for kind in kinds}
    told = {"stage": report.name, "blocks": report.blocks, **counts}
    return told | {"seconds": round(report.seconds, 3), "forecast_bytes": report.forecast_bytes}


def _peak(report: StageReport) -> str:
    """Return the memory of a process, where one made blocks."""
    return f", peak {format_bytes(report.peak_bytes)} a process" if report.peak_bytes else ""


def _speed(found: Mapping[str, Any]) -> str:
    """Return how fast blocks were made, where some were."""
    if found["slowest"] is None:
        return ""
    again = f", {found['blocks_retried']} given again" if found["blocks_retried"] else ""
    return f", {found['mvox_per_second'] or 0:.3g} Mvox/s{again}"


def _slowest(found: Mapping[str, Any]) -> str:
    """Return how long blocks took, where some were made."""
    if (slow := found["slowest"]) is None:
        return ""
    median = f"; a block {found['median_seconds']} s (median)"
    return f"{median}, slowest {slow['seconds']:.3g} s ({slow['place']})"


def _elsewhere(report: StageReport) -> str:
    """Say how many blocks other parts have made, if any."""
    return f", {report.blocks_elsewhere} by other parts" if report.blocks_elsewhere else ""


class _OneLine(logging.Formatter):
    """Writes each message on a line of its own, whatever it holds."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return one_line(super().format(record))


class _Json(logging.Formatter):
    """Writes each event as a line of JSON; what is no event of a run's is a message."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created))
        zone = time.strftime("%z", time.localtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03}{zone}",
            "level": record.levelname,
            "event": getattr(record, "event", "message"),
            "text": record.getMessage(),
        }
        return json.dumps(line | getattr(record, "told", {}), default=str)


@contextlib.contextmanager
def warnings_logged(hear: Callable[[str], None]) -> Iterator[None]:
    """Write each of our warnings to the log as well, once, and pass its text on."""
    show, told = warnings.showwarning, set()

    def log(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, FibdaskWarning) and str(message) not in told:
            told.add(str(message))
            LOGGER.warning(message)
            hear(str(message))
        show(message, category, *place, **more)

    warnings.showwarning = log
    try:
        yield
    finally:
        warnings.showwarning = show


@contextlib.contextmanager
def log_file(path: Path, *, as_json: bool = False) -> Iterator[None]:
    """Write the log of a run to a file, in lines for people or of JSON."""
    handler = logging.FileHandler(path, encoding="utf-8")
    lines = _OneLine("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(_Json() if as_json else lines)
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
