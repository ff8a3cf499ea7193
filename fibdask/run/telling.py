"""How far a long command is, and how long it will take: a bar in a terminal, lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import isnan, nan
from typing import Any

from dask.callbacks import Callback
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

_LINE_EVERY = 30.0  # seconds, where there is no terminal


@contextlib.contextmanager
def telling(what: str = "training", *, quiet: bool) -> Iterator[Callable[..., None]]:
    """Show how far something is: a bar that vanishes in a terminal, lines now and then elsewhere.

    What it yields takes how many pieces are done, how many there are (0 while unknown), the loss
    of a training, and a note.
    """
    if quiet:
        yield lambda *_figures, **_note: None
    elif not sys.stdout.isatty():
        yield _Lines(what)
    else:
        columns = (
            TextColumn("{task.description:<20}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, transient=True) as bars:
            yield partial(_draw, bars, bars.add_task(what, total=None, note=""))


def _draw(
    bars: Progress, bar: TaskID, done: int, count: int, loss: float = nan, note: str = ""
) -> None:
    bars.update(bar, completed=done, total=count or None, note=_noted(loss, note))


def _noted(loss: float, note: str) -> str:
    return note if isnan(loss) else f"loss {loss:.4f}"


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


class _Lines:
    """Writes a line of how far something is, now and then."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._first = 0, 0.0
        self._last = sys.maxsize
        self._written = time.monotonic()

    def __call__(self, done: int, count: int, loss: float = nan, note: str = "") -> None:
        """Take how far it is; what was done before figures begin, or begin anew, is no pace."""
        now = time.monotonic()
        if done < self._last:
            self._first = done, now
        self._last = done
        if now - self._written < _LINE_EVERY:
            return
        self._written = now
        before, began = self._first
        parts = [f"{self._what}: {done} of {count or 'an unknown number'}"]
        parts += [text for text in [_noted(loss, note)] if text]
        if done > before and count:
            seconds = (now - began) / (done - before) * (count - done)
            parts.append(f"{seconds / 60:.1f} minutes left")
        sys.stdout.write(f"{', '.join(parts)}\n")
        sys.stdout.flush()
