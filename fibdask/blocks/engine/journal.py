"""The record of finished blocks that lies beside the chunks of a stored array.

`blocks.jsonl` in the array's folder: a header with the fingerprint of everything that determines
the values, the checksum of the array's metadata, then one line for each finished block with the
size of its shard file. One process writes it, holding a lock; a torn line counts as not written.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeGuard

from ...conventions import StackReadError
from .locks import locked

FILE_NAME = "blocks.jsonl"


@dataclass(frozen=True)
class Record:
    """What is known to be finished under one fingerprint: shard files by block number.

    Attributes
    ----------
    finished
        Size in bytes and time of change in ns of each shard file; 0 and 0 for a shard of zeros
        that was not stored.
    metadata
        Checksum of the array's metadata; None of arrays that were written without.
    """

    fingerprint: str
    blocks: int
    finished: dict[int, tuple[int, int]]
    metadata: int | None = None

    @property
    def complete(self) -> bool:
        """Whether every block is finished."""
        return len(self.finished) == self.blocks


def read_record(folder: Path) -> Record | None:
    """Read the record of an array's folder; None where there is none.

    Raises
    ------
    StackReadError
        If there is one that cannot be understood.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    header, *lines = _lines(path) or [{}]
    fingerprint, blocks = header.get("fingerprint"), header.get("blocks")
    if not isinstance(fingerprint, str) or not _is_count(blocks):
        msg = f"{path} is damaged: it does not say what was written; run again to make it anew"
        raise StackReadError(msg)
    finished = {
        line["block"]: (line["bytes"], line["changed"])
        for line in lines
        if all(_is_count(line.get(key)) for key in ("block", "bytes", "changed"))
        and line["block"] < blocks
    }
    checksums = [line["metadata"] for line in lines if _is_count(line.get("metadata"))]
    return Record(fingerprint, blocks, finished, next(iter(checksums), None))


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a record; those that are torn or damaged are empty."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return [_parse(line) for line in file]
    except OSError:  # a folder in its place, for one
        return []


def _parse(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and value >= 0


class RecordWriter:
    """Appends finished blocks; every line is on disk before the next is begun."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def restart(self, fingerprint: str, blocks: int) -> None:
        """Forget all blocks and write a new header."""
        self._file.truncate(0)
        self._append({"fingerprint": fingerprint, "blocks": blocks})

    def created(self, metadata: int) -> None:
        """Record the checksum of the metadata of the array that was created."""
        self._append({"metadata": metadata})

    def add(self, block: int, size: int, changed: int) -> None:
        """Record one finished block."""
        self._append({"block": block, "bytes": size, "changed": changed})

    def _append(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def header_fingerprint(folder: Path) -> str | None:
    """Return the fingerprint under which an array's folder is being written."""
    try:
        with (folder / FILE_NAME).open(encoding="utf-8", errors="replace") as file:
            found = _parse(file.readline()).get("fingerprint")
    except OSError:
        return None
    return found if isinstance(found, str) else None


@contextmanager
def record_writer(folder: Path) -> Iterator[RecordWriter]:
    """Open the record of an array's folder for appending, locked against other processes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    with locked(path) as file:
        _end_torn_line(path, file)
        yield RecordWriter(file)


def _end_torn_line(path: Path, file: IO[str]) -> None:
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        file.write("\n")
        file.flush()
