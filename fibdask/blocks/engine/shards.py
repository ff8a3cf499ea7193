"""Shards: the bytes of one block, checked chunk by chunk, put into place whole or not at all."""

import contextlib
import os
import zlib
from math import prod
from pathlib import Path
from typing import Any
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
    return index + crc32c(index).to_bytes(4, "little")


def put_shard(file: Path, shard: Any) -> tuple[int, int]:
    """Put a shard into place unless there is one; return the size and time of what is there.

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
    return file_state(file)


def _link(beside: Path, file: Path) -> None:
    """Give a file its name unless that is taken, also where a file has only one name."""
    try:
        os.link(beside, file)
    except FileExistsError:
        raise
    except OSError:
        if not file.exists():
            beside.replace(file)


def file_state(file: Path) -> tuple[int, int]:
    """Return size and time of change of a shard file; (0, 0) where there is none."""
    with contextlib.suppress(FileNotFoundError):
        state = file.stat()
        return state.st_size, state.st_mtime_ns
    return 0, 0


def metadata_checksum(folder: Path) -> int:
    """Return the checksum of an array's metadata; 0 where there are none."""
    try:
        return zlib.crc32((folder / METADATA).read_bytes())
    except OSError:
        return 0
