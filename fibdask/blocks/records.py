"""The record of finished blocks that lies beside the chunks of a stored array.

`blocks.jsonl` in the array's folder: a header with the fingerprint of everything that determines
the values, then one line for each finished block with the size of its shard file. One process
writes it, holding a lock; a torn last line counts as not written.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..conventions import StackReadError

FILE_NAME = "blocks.jsonl"


@dataclass(frozen=True)
class Record:
    """What is known to be finished under one fingerprint: shard files by block number.

    Attributes
    ----------
    finished
        Size in bytes and time of change in ns of each shard file; 0 and 0 for a shard of zeros,
        which Zarr does not store.
    """

    fingerprint: str
    blocks: int
    finished: dict[int, tuple[int, int]]

    @property
    def complete(self) -> bool:
        """Whether every block is finished."""
        return len(self.finished) == self.blocks


def read_record(folder: Path) -> Record | None:
    """Read the record of an array's folder; None where there is none."""
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    lines = [_parse(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if not lines or lines[0] is None or "fingerprint" not in lines[0]:
        return None
    finished = {
        line["block"]: (line["bytes"], line["changed"])
        for line in lines[1:]
        if line is not None and line.keys() >= {"block", "bytes", "changed"}
    }
    return Record(lines[0]["fingerprint"], lines[0]["blocks"], finished)


def _parse(line: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except ValueError:
        return None


class RecordWriter:
    """Appends finished blocks; every line is on disk before the next is begun."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def restart(self, fingerprint: str, blocks: int) -> None:
        """Forget all blocks and write a new header."""
        self._file.truncate(0)
        self._append({"fingerprint": fingerprint, "blocks": blocks})

    def add(self, block: int, size: int, changed: int) -> None:
        """Record one finished block."""
        self._append({"block": block, "bytes": size, "changed": changed})

    def _append(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def header_fingerprint(folder: Path) -> str | None:
    """Return the fingerprint under which an array's folder is being written."""
    try:
        with (folder / FILE_NAME).open(encoding="utf-8") as file:
            header = _parse(file.readline())
    except FileNotFoundError:
        return None
    return str(header["fingerprint"]) if header and "fingerprint" in header else None


@contextmanager
def record_writer(folder: Path) -> Iterator[RecordWriter]:
    """Open the record of an array's folder for appending, locked against other processes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    with locked(path) as file:
        _end_torn_line(path, file)
        yield RecordWriter(file)


@contextmanager
def locked(path: Path) -> Iterator[IO[str]]:
    """Open a file for appending, and hold its lock until the end.

    Raises
    ------
    StackReadError
        If another process holds it.
    """
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"{path.parent} is being written by another process; wait for it, or stop it"
            raise StackReadError(msg) from None
        except OSError:  # a file system without locks: nothing is known of other processes
            pass
        yield file


def is_locked(path: Path) -> bool:
    """Tell whether a process holds the lock of a file, or may hold it where there are no locks."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _end_torn_line(path: Path, file: IO[str]) -> None:
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        file.write("\n")
        file.flush()
