"""Shards: the bytes of one block, checked chunk by chunk, put into place whole or not at all."""

import contextlib
import os
import struct
import zlib
from math import prod
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import zarr
from google_crc32c import value as crc32c
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from ..regions import Region

METADATA = "zarr.json"
CODECS = (ZstdCodec(level=1), Crc32cCodec())  # the checksum of what is on the disk comes last
_ABSENT = b"\xff" * 16  # offset and length of an inner chunk that is not stored
_CHECKSUM = 4  # bytes of a crc32c


class Shard(NamedTuple):
    """What tells a shard file: bytes, time of change in ns, and seal."""

    size: int
    changed: int
    seal: int | None = None


NOT_WRITTEN = Shard(0, 0)


def encoded_shard(metadata: bytes, region: Region, data: np.ndarray) -> Any:
    """Return the bytes of the shard that holds a region, of an array with this metadata.

    Zarr leaves out a shard of nothing but zeros. Here it is one without inner chunks, so that a
    shard that is missing is always one that was lost.
    """
    files: dict[str, Any] = {METADATA: default_buffer_prototype().buffer.from_bytes(metadata)}
    config = {"write_empty_chunks": True}
    array = zarr.open_array(store=MemoryStore(files), mode="r+", config=config)
    array[region] = data
    shards = [files[name] for name in files if name != METADATA]
    if shards:
        return shards[0].as_numpy_array()
    index = _ABSENT * (prod(array.shards or ()) // prod(array.chunks))
    return index + crc32c(index).to_bytes(_CHECKSUM, "little")


def put_shard(file: Path, shard: Any) -> None:
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
        size, index = os.fstat(shard.fileno()).st_size, len(_ABSENT) * chunks + _CHECKSUM
        told = os.pread(shard.fileno(), index, max(size - index, 0))
        for offset, length in struct.iter_unpack("<QQ", told[: len(told) // 16 * 16]):
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
