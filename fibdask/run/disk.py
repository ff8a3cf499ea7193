"""A full disk is told with its folder: the system's error names none."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..blocks import DISK_FULL
from ..conventions import BlocksFailedError, StackReadError


@contextlib.contextmanager
def told_if_full(folder: Path) -> Iterator[None]:
    """Name a folder where its disk is full.

    Raises
    ------
    StackReadError, BlocksFailedError
        In place of an error of the system, and of blocks that failed for it.
    """
    told = f"the disk of {folder} is full; make room, and run again to go on"
    try:
        yield
    except BlocksFailedError as error:
        # Blocks fail on workers: of their errors only the text has come here.
        if not any(text in str(error) for text in map(os.strerror, DISK_FULL)):
            raise
        msg = f"{error}\n{told}"
        raise BlocksFailedError(msg) from error
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise StackReadError(told) from error
