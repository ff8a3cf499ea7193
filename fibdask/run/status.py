"""What a run has done and does, for people: by what its folder tells, never by its scheduler."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..blocks import format_bytes
from ..conventions import StackReadError
from .folder.run_folder import RunFolder
from .info import headline
from .shown import one_line, table

_POLL = 1.0  # seconds between looks at the folder
_PATIENCE = 10  # looks that may fail one after the other, as where a file system is away
_QUIET = 10.0  # seconds between lines about a stage, where there is no terminal

_COUNTS = ("stage", "blocks", "run", "skipped", "failed", "seconds", "forecast", "peak")
_SPEEDS = (
    "stage",
    "Mvox/s",
    "MB/s read",
    "MB/s written",
    "block (median)",
    "slowest block",
    "at once",
    "retried",
    "no worker",
    "slowest at",
)


def format_status(summary: Mapping[str, Any]) -> str:
    """Format the summary of a run for people."""
    stages = summary["stages"]
    lines = [headline(summary), *table(_COUNTS, list(map(_counts, stages)))]
    if measured := [stage for stage in stages if stage["slowest"] is not None]:
        lines += ["", *table(_SPEEDS, list(map(_speeds, measured)))]
    if summary["waited_seconds"] >= 1:
        lines.append(f"waited {_seconds(summary['waited_seconds'])} for workers")
    for stage in stages:
        for failure in stage["failures"]:
            place = f"{stage['name']} block {tuple(failure['block'])} ({failure['place']})"
            lines.append(one_line(f"failed: {place}: {failure['cause']}"))
    return "\n".join(lines)


def _counts(stage: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        one_line(stage["name"]),
        *(stage[key] for key in ("blocks", "blocks_run", "blocks_skipped", "blocks_failed")),
        f"{stage['seconds']:.1f}",
        format_bytes(stage["forecast_bytes"]),
        format_bytes(stage["peak_bytes"]),
    )


def _speeds(stage: Mapping[str, Any]) -> tuple[Any, ...]:
    keys = ("mvox_per_second", "read_mb_per_second", "written_mb_per_second")
    seconds, slow = stage["seconds"], stage["slowest"]
    return (
        one_line(stage["name"]),
        *("–" if stage[key] is None else f"{stage[key]:.3g}" for key in keys),
        _seconds(stage["median_seconds"]),
        _seconds(slow["seconds"]),
        f"{stage['work_seconds'] / seconds:.1f}" if stage["blocks_run"] and seconds else "–",
        stage["blocks_retried"],
        _seconds(stage["waiting_seconds"]),
        one_line(slow["place"]),
    )


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if 0 < seconds < 1 else f"{seconds:.1f} s"


def watched(folder: RunFolder, *, poll: float = _POLL) -> Iterator[dict[str, Any]]:
    """Yield the summary of a run, and again whenever it has changed, until the run has ended.

    One that has not begun is waited for.

    Parameters
    ----------
    poll
        Seconds between looks.

    Raises
    ------
    StackReadError
        If the folder holds something else than a run, or is that of a run no more.
    """
    while folder.is_awaited:
        time.sleep(poll)
    summary, shown = folder.read(), None
    while True:
        if (now := _changing(summary)) != shown:
            yield summary
            shown = now
        if summary["state"] != "running":
            return
        time.sleep(poll)
        summary = _read_again(folder, poll)


def _read_again(folder: RunFolder, poll: float) -> dict[str, Any]:
    for _ in range(_PATIENCE):
        try:
            return folder.read()
        except StackReadError:
            time.sleep(poll)
    return folder.read()


def _changing(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a summary is worth another look: not how long a run has been silent."""
    return {**summary, "silent_seconds": summary["silent_seconds"] is None}


class ProgressLines:
    """Says of a run that is watched what is new, a line for each stage from time to time."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[Any, float]] = {}

    def __call__(self, summary: Mapping[str, Any]) -> list[str]:
        """Return the lines that are due."""
        lines = [self._line("", headline(summary), wait=0.0)]
        for stage in summary["stages"]:
            ended = _done(stage) >= stage["blocks"]
            lines.append(self._line(stage["name"], progress(stage), wait=0 if ended else _QUIET))
        return [line for line in lines if line]

    def _line(self, name: str, line: str, *, wait: float) -> str:
        said, when = self._said.get(name, ("", float("-inf")))
        if line == said or time.monotonic() < when + wait:
            return ""
        self._said[name] = line, time.monotonic()
        return line


def progress(stage: Mapping[str, Any]) -> str:
    """Return how far a stage is, how fast, and how long it will take at this speed."""
    done = _done(stage)
    parts = [f"{done} of {stage['blocks']} blocks"]
    if stage["blocks_failed"]:
        parts.append(f"{stage['blocks_failed']} failed")
    if stage["blocks_run"]:
        if stage["mvox_per_second"] is not None:
            parts.append(f"{stage['mvox_per_second']:.3g} Mvox/s")
        parts.append(f"{_seconds(stage['seconds'])} so far")
        if left := stage["blocks"] - done:
            made = stage["blocks_run"] + stage["blocks_failed"]
            parts.append(f"{_seconds(stage['seconds'] / made * left)} left")
    return one_line(f"{stage['name']}: {', '.join(parts)}")


def _done(stage: Mapping[str, Any]) -> int:
    return sum(int(stage[f"blocks_{kind}"]) for kind in ("run", "skipped", "failed"))
