"""Shards: the bytes of one block, checked chunk by chunk, put into place whole or not at all."""

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator, MutableMapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np
from google_crc32c import value as crc32c
from numcodecs.zstd import Zstd
from zarr.codecs import Crc32cCodec, ZstdCodec

METADATA = "zarr.json"
_LEVEL = 1
CODECS = (ZstdCodec(level=_LEVEL), Crc32cCodec())  # checksums of what is on the disk come last
_ZSTD = Zstd(level=_LEVEL)
_ABSENT = 2**64 - 1  # offset and length of an inner chunk that is not stored
_ENTRY = 16  # bytes of an offset and a length
_CHECKSUM = 4  # bytes of a crc32c


class Shard(NamedTuple):
    """What tells a shard file: bytes, time of change in ns, and seal."""

    size: int
    changed: int
    seal: int | None = None


NOT_WRITTEN = Shard(0, 0)


class Shards(MutableMapping[int, Shard]):
    """What tells the shard files of some of so many blocks: a million in 25 MB."""

    def __init__(self, blocks: int) -> None:
        self._rows = np.full((blocks, 3), -1, np.int64)

    def __getitem__(self, block: int) -> Shard:
        """Return what tells the shard of a block."""
        size, changed, seal = self._rows[block].tolist()
        if size < 0:
            raise KeyError(block)
        return Shard(size, changed, None if seal < 0 else seal)

    def __setitem__(self, block: int, shard: Shard) -> None:
        """Note the shard of a block."""
        self._rows[block] = shard.size, shard.changed, -1 if shard.seal is None else shard.seal

    def __delitem__(self, block: int) -> None:
        """Forget the shard of a block."""
        self._rows[block] = -1

    def __iter__(self) -> Iterator[int]:
        """Iterate over the numbers of the blocks."""
        return iter(np.flatnonzero(self._rows[:, 0] >= 0).tolist())

    def __len__(self) -> int:
        """Return how many shards are known."""
        return int(np.count_nonzero(self._rows[:, 0] >= 0))


def encoded_shard(
    data: np.ndarray, shard: Sequence[int], chunk: Sequence[int], dtype: str
) -> bytes:
    """Return the bytes of a shard of so many voxels, whose first ones are the data.

    They are those that Zarr writes, but that Zarr leaves out a shard of nothing but zeros. Here it
    is one without inner chunks, so that a shard that is missing is always one that was lost. Zarr
    hands every block to a thread of its own, twice, which takes a hundred times as long as a small
    one is worth.
    """
    data = np.asarray(data, dtype)
    counts = tuple(n // c for n, c in zip(shard, chunk, strict=True))
    index = np.full((*counts, 2), _ABSENT, "<u8")
    parts, place = [], 0
    for position in _stored_order(counts):
        sides = zip(position, chunk, strict=True)
        inner = _filled_up(data[tuple(slice(k * c, (k + 1) * c) for k, c in sides)], chunk)
        if not inner.view(np.uint8).any():  # bits, because -0.0 is none of the zeros left out
            continue
        parts.append(_sealed(_ZSTD.encode(inner)))
        index[position] = place, len(parts[-1])
        place += len(parts[-1])
    return b"".join([*parts, _sealed(index.tobytes())])


@lru_cache(16)
def _stored_order(counts: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the positions of inner chunks as Zarr orders them: the bits of axes take turns."""
    positions = np.indices(counts).reshape(len(counts), -1)
    code, bits = np.zeros(positions.shape[1], np.int64), 0
    for place in range(max(counts).bit_length()):
        for along, count in zip(positions, counts, strict=True):
            if place < (count - 1).bit_length():
                code |= (along >> place & 1) << bits
                bits += 1
    return [tuple(position) for position in positions.T[np.argsort(code)].tolist()]


def _filled_up(inner: np.ndarray, chunk: Sequence[int]) -> np.ndarray:
    """Return an inner chunk with zeros beyond the end of the array."""
    if inner.shape == tuple(chunk):
        return np.ascontiguousarray(inner)
    filled = np.zeros(chunk, inner.dtype)
    filled[tuple(map(slice, inner.shape))] = inner
    return filled


def _sealed(content: bytes) -> bytes:
    told = int(crc32c(content))
    return content + told.to_bytes(_CHECKSUM, "little")


def put_shard(file: Path, shard: bytes) -> None:
    """Put a shard into place unless there is one.

    What is there is whole and holds the same: it was made elsewhere, of a block that somebody
    took for lost.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.{uuid4().hex}.partial")
    try:
        beside.write_bytes(shard)
        with contextlib.suppress(FileExistsError):
            _link(beside, file)
    finally:
        beside.unlink(missing_ok=True)


def put_file(file: Path, content: bytes) -> None:
    """Write a file beside the old one and put it in its place, so that it is always whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.{uuid4().hex}.partial")
    try:
        beside.write_bytes(content)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def _link(beside: Path, file: Path) -> None:
    """Give a file its name unless that is taken, also where a file has only one name."""
    try:
        os.link(beside, file)
    except FileExistsError:
        raise
    except OSError:
        if not file.exists():
            beside.replace(file)


def file_state(file: Path) -> Shard:
    """Return size and time of change of a shard file; `NOT_WRITTEN` where there is none."""
    with contextlib.suppress(FileNotFoundError):
        state = file.stat()
        return Shard(state.st_size, state.st_mtime_ns)
    return NOT_WRITTEN


def seal(file: Path, chunks: int) -> int:
    """Return the checksum of a shard's index and of the checksums that end its inner chunks.

    It tells the content, wherever a file was copied to, of a few bytes for each chunk. The index
    alone does not: voxels that do not compress can be edited without moving any chunk.
    """
    with file.open("rb", buffering=0) as shard:
        size, index = os.fstat(shard.fileno()).st_size, _ENTRY * chunks + _CHECKSUM
        told = os.pread(shard.fileno(), index, max(size - index, 0))
        for offset, length in struct.iter_unpack("<QQ", told[: len(told) // _ENTRY * _ENTRY]):
            if _CHECKSUM <= offset + length <= size:  # no absent one
                told += os.pread(shard.fileno(), _CHECKSUM, offset + length - _CHECKSUM)
    return int(crc32c(told))


def checksum(content: bytes) -> int:
    """Return the checksum of what is not in shards."""
    return zlib.crc32(content)


def metadata_checksum(folder: Path) -> int:
    """Return the checksum of an array's metadata; 0 where there are none."""
    try:
        return checksum((folder / METADATA).read_bytes())
    except OSError:
        return 0
