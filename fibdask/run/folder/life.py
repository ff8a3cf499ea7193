"""Signs of life of a run, which others see on the file system, wherever it runs."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

SILENT = 60.0
"""Seconds without a sign of life after which a run seems dead."""
_BEAT = 10.0  # seconds


@contextlib.contextmanager
def signs_of_life(file: Path) -> Iterator[None]:
    """Set the time of a file every few seconds, until the end."""
    ended = Event()

    def beat() -> None:
        while not ended.wait(_BEAT):
            with contextlib.suppress(OSError):  # the file system is away for a while
                os.utime(file)

    os.utime(file)
    thread = Thread(target=beat, name="signs of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def silence(file: Path) -> float:
    """Return the seconds since the last sign of life; endless where there is none."""
    try:
        return max(time.time() - file.stat().st_mtime, 0.0)
    except OSError:
        return float("inf")
