"""How far a long command is, and how long it will take."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from math import isnan, nan
from typing import Any

from dask.callbacks import Callback
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY = 30.0
"""Seconds between lines of how far something is, where there is no terminal."""


@contextlib.contextmanager
def telling(what: str = "training", *, quiet: bool) -> Iterator[Callable[..., None]]:
    """Show how far something is: a bar in a terminal, lines now and then elsewhere.

    What it yields takes the step, the number of steps (0 while unknown) and the loss, if any.
    """
    if quiet:
        yield lambda *_figures: None
    elif not sys.stdout.isatty():
        yield _Lines(what)
    else:
        note = TextColumn("{task.fields[note]}")
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), note, TimeRemainingColumn())
        with Progress(*columns) as bars:
            bar = bars.add_task(what, total=None, note="")

            def told(step: int, steps: int, loss: float = nan) -> None:
                known = "" if isnan(loss) else f"loss {loss:.4f}"
                bars.update(bar, completed=step, total=steps or None, note=known)

            yield told


@contextlib.contextmanager
def computing(what: str, *, quiet: bool) -> Iterator[None]:
    """Show how far Dask is with what this process computes."""
    with telling(what, quiet=quiet) as tell, _Computed(tell):
        yield


class _Computed(Callback):  # type: ignore[misc]
    """Tells of the tasks of all computations together."""

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        super().__init__()
        self._tell, self._done, self._tasks = tell, 0, 0

    def _start_state(self, _dsk: Any, state: Mapping[str, Any]) -> None:
        self._tasks += sum(len(state[kind]) for kind in ("ready", "waiting"))

    def _posttask(self, *_told: Any) -> None:
        self._done += 1
        self._tell(self._done, self._tasks)


def time_left(seconds: float, done: int, left: int) -> str:
    """Write how long what is left takes, as long as what was done in so many seconds."""
    return f", {seconds / done * left / 60:.1f} minutes left" if done else ""


class _Lines:
    """Writes a line of how far something is, now and then."""

    def __init__(self, what: str) -> None:
        self._what = "step" if what == "training" else what
        self._begun: tuple[int, float] = (0, 0.0)
        self._last = sys.maxsize
        self._written = 0.0

    def __call__(self, step: int, steps: int, loss: float = nan) -> None:
        """Take the figures of a step; where they begin anew, so does what is told of the time."""
        now = time.monotonic()
        if step <= self._last:
            self._begun = step, now
        self._last = step
        if now - self._written < LINE_EVERY and step != steps:
            return
        self._written = now
        first, begun = self._begun
        left = time_left(now - begun, step - first, steps - step) if steps else ""
        known = "" if isnan(loss) else f", loss {loss:.4f}"
        sys.stdout.write(f"{self._what} {step} of {steps or 'unknown'}{known}{left}\n")
        sys.stdout.flush()
