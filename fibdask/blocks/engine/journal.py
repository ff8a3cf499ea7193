"""The record of finished blocks that lies beside the chunks of a stored array.

`array.json` in the array's folder says once what is being written: the fingerprint of everything
that determines the values, grid and type, and the checksum of the array's metadata. Each writer
has a file in `journal/`, with a line for each block that it has finished; reading merges them. A
torn line counts as not written.

A writer makes a part of the blocks, and holds the lock of its file: others may write other parts
at the same time. What concerns all of them, as creating the array, a writer does `alone`.

Of writers that share a run, the files also tell which blocks were begun and which failed in it, so
that what others have tried in vain is not tried without end.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeGuard

from ...conventions import ConventionError, StackReadError
from ..regions import Grid
from .locks import is_locked, locked, taken, unwritable
from .places import Place
from .shards import Shard, Shards, put_file

FILE_NAME, JOURNAL = "array.json", "journal"
_OLD_NAME = "blocks.jsonl"  # of versions that wrote header and lines into one file
_PART = re.compile(r"([1-9]\d*)-of-([1-9]\d*)\.jsonl")
_PATIENCE = 600.0  # seconds in which another writer should have created or cleared an array


@dataclass(frozen=True)
class Part:
    """One of several shares of an array's blocks that processes make side by side.

    Attributes
    ----------
    number
        Of this share, from 1.
    of
        Number of shares.
    """

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        """Check that there is such a part."""
        if not 1 <= self.number <= self.of:
            msg = f"part must be one of 1/{self.of} to {self.of}/{self.of}; got {self}"
            raise ConventionError(msg)

    def __str__(self) -> str:
        """Return it as it is given: 2/3."""
        return f"{self.number}/{self.of}"

    def blocks(self, count: int) -> range:
        """Return the numbers of its blocks, of so many: neighbours, which read the same shards."""
        return range(count * (self.number - 1) // self.of, count * self.number // self.of)


_WHOLE = Part()


@dataclass(frozen=True)
class Record:
    """What is known to be finished under one fingerprint: shard files by block number.

    Attributes
    ----------
    finished
        What tells each shard file; nothing of a shard of zeros that an old version did not store.
    metadata
        Checksum of the array's metadata; None of arrays that were written without.
    file
        Where the checksum is noted.
    """

    fingerprint: str
    blocks: int
    finished: Mapping[int, Shard]
    metadata: int | None = None
    file: str = FILE_NAME

    @property
    def complete(self) -> bool:
        """Whether every block is finished."""
        return len(self.finished) == self.blocks


@dataclass(frozen=True)
class ShareRecord:
    """What one file of a journal tells of the blocks of its share.

    Attributes
    ----------
    finished
        What tells each shard file.
    failed
        Causes of blocks that failed in one run.
    begun
        How often each block was begun in that run.
    """

    finished: Mapping[int, Shard]
    failed: dict[int, str]
    begun: Counter[int]


def has_record(folder: Path) -> bool:
    """Tell whether fibdask has written the array of a folder, of whatever version."""
    return any((folder / name).exists() for name in (FILE_NAME, _OLD_NAME))


def is_old(folder: Path) -> bool:
    """Tell whether the record of a folder is of a version whose records are only read."""
    return (folder / _OLD_NAME).exists() and not (folder / FILE_NAME).exists()


def read_record(folder: Path) -> Record | None:
    """Read the record of an array's folder; None where there is none.

    Raises
    ------
    StackReadError
        If there is one that cannot be understood.
    """
    if is_old(folder):
        return _old_record(folder)
    begun = read_begun(folder)
    if begun is None:
        return None
    lines = (line for file in _journals(folder) for line in _lines(file))
    finished = _finished(lines, Shards(begun.blocks), begun.blocks)
    if read_begun(folder) != begun:  # begun anew meanwhile: the lines are those of something else
        return read_record(folder)
    return replace(begun, finished=finished)


def read_begun(folder: Place) -> Record | None:
    """Read what is being written into an array's folder, and nothing of what is finished.

    Raises
    ------
    StackReadError
        If there is a record that cannot be understood.
    """
    if not (folder / FILE_NAME).exists():
        return None
    header = _header(folder)
    fingerprint, blocks = header.get("fingerprint"), _block_count(header)
    if not isinstance(fingerprint, str) or blocks is None:
        raise _damaged(folder / FILE_NAME)
    metadata = header.get("metadata")
    return Record(fingerprint, blocks, {}, metadata if _is_count(metadata) else None)


def read_share(folder: Path, share: Part, blocks: int, run: str) -> ShareRecord:
    """Read the file of one share of an array of so many blocks, and what failed there in a run."""
    lines = list(_lines(_journal(folder, share)))
    told = [line for line in lines if line.get("run") == run and _is_count(line.get("block"))]
    return ShareRecord(
        _finished(lines, {}, blocks),
        {line["block"]: str(line["failed"]) for line in told if "failed" in line},
        Counter(line["block"] for line in told if "failed" not in line),
    )


def header_fingerprint(folder: Path) -> str | None:
    """Return the fingerprint under which an array's folder is being written."""
    found = _header(folder).get("fingerprint")
    return found if isinstance(found, str) else None


def begun_in(folder: Path, share: Part) -> str | None:
    """Return the run of several parts in which an array was begun by the writer of a share."""
    found = next(_lines(_journal(folder, share)), {}).get("run")
    return found if isinstance(found, str) else None


def note_metadata(folder: Path, metadata: int) -> None:
    """Note another checksum of an array's metadata, of the same blocks; to be done `alone`."""
    _put_header(folder, _header(folder) | {"metadata": metadata})


def check_complete(folder: Path) -> None:
    """Check that every block is recorded, by whichever part.

    Raises
    ------
    StackReadError
        Saying how many are.
    """
    record = read_record(folder)
    if record is None or not record.complete:
        written = f"{len(record.finished)} of {record.blocks}" if record else "no"
        msg = f"{folder} is incomplete: {written} blocks are written; let all parts finish"
        raise StackReadError(msg)


def _header(folder: Place) -> dict[str, Any]:
    try:
        return _parse((folder / FILE_NAME).read_bytes())
    except StackReadError:  # of a server that does not answer
        raise
    except OSError:  # a folder in its place, for one
        return {}


def _put_header(folder: Path, header: Mapping[str, Any]) -> None:
    try:
        put_file(folder / FILE_NAME, json.dumps(header, indent=1).encode())
    except OSError as error:
        raise unwritable(folder, FILE_NAME, error) from error


def _block_count(header: dict[str, Any]) -> int | None:
    """Return the number of blocks of a header, if it tells a grid."""
    shape, block = header.get("shape"), header.get("block")
    if not isinstance(shape, list) or not isinstance(block, list) or len(shape) != len(block):
        return None
    if not all(map(_is_count, shape + block)) or 0 in block:
        return None
    return Grid(tuple(shape), tuple(block)).size


def _old_record(folder: Path) -> Record:
    """Read the one file of an old version: its header, then a line for each block."""
    path = folder / _OLD_NAME
    header, *lines = list(_lines(path)) or [{}]
    fingerprint, blocks = header.get("fingerprint"), header.get("blocks")
    if not isinstance(fingerprint, str) or not _is_count(blocks):
        raise _damaged(path)
    checksums = [line["metadata"] for line in lines if _is_count(line.get("metadata"))]
    return Record(
        fingerprint, blocks, _finished(lines, {}, blocks), next(iter(checksums), None), _OLD_NAME
    )


def _damaged(path: Place) -> StackReadError:
    msg = f"{path} is damaged: it does not say what was written; run again to make it anew"
    return StackReadError(msg)


def _finished(
    lines: Iterable[dict[str, Any]], finished: MutableMapping[int, Shard], blocks: int
) -> Mapping[int, Shard]:
    """Note the blocks that lines tell; of one that several tell, the shard that came last."""
    for line in lines:
        known = all(_is_count(line.get(key)) for key in ("block", "bytes", "changed"))
        if known and (number := line["block"]) < blocks:
            seal = line.get("seal")
            shard = Shard(line["bytes"], line["changed"], seal if _is_count(seal) else None)
            if number not in finished or shard.changed >= finished[number].changed:
                finished[number] = shard
    return finished


def _journals(folder: Path) -> list[Path]:
    return sorted(file for file in (folder / JOURNAL).glob("*") if _PART.fullmatch(file.name))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Iterate over the lines of a record; those that are torn or damaged are empty."""
    with suppress(OSError), path.open("rb") as file:  # a folder in its place, for one
        yield from map(_parse, file)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and value >= 0


class JournalWriter:
    """Appends finished blocks; every line is on disk before the next is begun."""

    def __init__(self, folder: Path, file: IO[str], *, others: bool, run: str = "") -> None:
        self._folder = folder
        self._file = file
        self._others = others
        self._run = run

    def restart(self, fingerprint: str, grid: Grid, dtype: str, metadata: int) -> None:
        """Forget all blocks, and say what will be written; to be done `alone`.

        Raises
        ------
        TakenError
            If other parts are being written.
        StackReadError
            If it cannot be said.
        """
        if self._others:
            raise taken(self._folder)
        # Without lines the old header stands for an array of which nothing is finished.
        for file in _journals(self._folder):
            if file != Path(self._file.name):
                file.unlink()
        self._file.truncate(0)
        shape, block = list(grid.shape), list(grid.block)
        header = {"fingerprint": fingerprint, "shape": shape, "block": block, "dtype": dtype}
        _put_header(self._folder, header | {"metadata": metadata})
        if self._run:
            self._write({"run": self._run})

    def add(self, block: int, shard: Shard) -> None:
        """Record one finished block."""
        size, changed, seal = shard
        self._write({"block": block, "bytes": size, "changed": changed, "seal": seal})

    def begin(self, block: int) -> None:
        """Note that a block is being made, for the other writers of the run, if there are any."""
        if self._run:
            self._write({"block": block, "run": self._run})

    def fail(self, block: int, cause: str) -> None:
        """Note why a block failed, for the other writers of the run, if there are any."""
        if self._run:
            self._write({"block": block, "run": self._run, "failed": cause})

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other writers of an array waiting: while it is created, or a journal is begun."""
    journal = folder / JOURNAL
    try:
        journal.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, JOURNAL, error) from error
    with locked(journal / "lock", what=folder, wait=_PATIENCE):
        yield


@contextmanager
def journal_writer(folder: Path, part: Part = _WHOLE, *, run: str = "") -> Iterator[JournalWriter]:
    """Open the journal of a part of an array, until the end for this process only.

    To be begun `alone`.

    Raises
    ------
    TakenError
        If another process writes this part, or other shares than those that this is one of.
    """
    others = [other for other in _living(folder) if other != part]
    for other in others:
        if other.of != part.of:
            raise taken(folder, f"another process, as part {other}")
    with _opened(folder, part) as file:
        yield JournalWriter(folder, file, others=bool(others), run=run)


@contextmanager
def share_writer(folder: Path, share: Part, run: str) -> Iterator[JournalWriter]:
    """Open the journal of a share of an array that is begun, for this process of a run only.

    Raises
    ------
    TakenError
        If another process makes this share.
    """
    with _opened(folder, share) as file:
        yield JournalWriter(folder, file, others=True, run=run)


@contextmanager
def _opened(folder: Path, part: Part) -> Iterator[IO[str]]:
    path = _journal(folder, part)
    with locked(path, what=folder) as file:
        _end_torn_line(path, file)
        yield file


def _journal(folder: Path, part: Part) -> Path:
    return folder / JOURNAL / f"{part.number}-of-{part.of}.jsonl"


def _living(folder: Path) -> list[Part]:
    """Return the parts that are being written."""
    found = [_PART.fullmatch(file.name) for file in _journals(folder) if is_locked(file)]
    return [Part(int(match[1]), int(match[2])) for match in found if match]


def _end_torn_line(path: Path, file: IO[str]) -> None:
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        file.write("\n")
        file.flush()
