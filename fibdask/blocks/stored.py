"""Arrays in Zarr: read by coordinates, created sharded, written one whole shard at a time."""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from ..conventions import StackReadError, check_phase_values, plain_value
from .records import FILE_NAME, Record, header_fingerprint, read_record
from .regions import BLOCK_BYTES, INNER_CHUNK, Grid, Region, lengths, within
from .sources import Source, Values, fingerprint

_COMPRESSOR = ZstdCodec(level=1)
_CUBIC_CHUNK, _FLAT_CHUNK = (128, 128, 128), (32, 256, 256)
_CONCURRENT_CHUNKS = 10  # zarr's default `async.concurrency`


@dataclass(frozen=True, eq=False)
class StoredArray(Source):
    """An array of a Zarr store.

    Attributes
    ----------
    path
        Folder of the array.
    chunk
        What is read and decoded at once.
    scale
        Factor from the stored integers to the values, or None where they are the same.
    checked
        Refuse values other than 0 and 1: a phase that others wrote.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    block: tuple[int, ...]
    chunk: tuple[int, ...]
    stored_token: str
    scale: float | None = None
    checked: bool = False

    @property
    def token(self) -> str:
        """Fingerprint under which the array was written; rounding to integers makes another."""
        if self.scale is None:
            return self.stored_token
        return fingerprint(self.stored_token, self.scale)

    def task_bytes(self, region: Region) -> int:
        """Return the bytes of the result and of the chunks that are decoded beside it."""
        touched = prod(
            min((s.stop - 1) // c - s.start // c + 1, -(-b // c))
            for s, c, b in zip(region, self.chunk, self.block, strict=True)
        )
        chunk = prod(self.chunk) * self.dtype.itemsize
        # Of one shard, all chunks that are wanted, encoded, beside those that are being decoded.
        decoding = (touched + 2 * min(touched, _CONCURRENT_CHUNKS)) * chunk
        result = self.nbytes(region)
        # Scaled integers are held beside the floats made of them.
        scaled = result // 4 if self.scale is not None else 0
        return int(result + max(result, decoding) + scaled)

    def _parts(self, region: Region) -> Iterator[Region]:
        """Iterate over the parts of a region that lie in one shard each."""
        yield from product(
            *[
                [
                    slice(max(s.start, n * b), min(s.stop, (n + 1) * b))
                    for n in range(s.start // b, (s.stop - 1) // b + 1)
                ]
                for s, b in zip(region, self.block, strict=True)
            ]
        )

    def read(self, region: Region, values: Values) -> np.ndarray:
        """Read a region from the store."""
        try:
            stored = zarr.open_array(store=self.path, mode="r")
            data = np.empty(lengths(region), stored.dtype)
            # Zarr holds what it wants of ten shards at once, encoded; so that is one here.
            for part in self._parts(region):
                data[within(part, region)] = stored[part]
        except Exception as error:
            place = ", ".join(f"{s.start}:{s.stop}" for s in region)
            msg = f"{self.path} cannot be read at ({place}): {error}"
            raise StackReadError(msg) from error
        if self.checked:
            check_phase_values(self.path, data, tuple(s.start for s in region))
        return data if self.scale is None else data.astype(self.dtype) * self.dtype.type(self.scale)


def open_stored(path: Path, *, phase: bool = False) -> StoredArray:
    """Open an array of a store for reading by coordinates; a `phase` holds only 0 and 1.

    Raises
    ------
    StackReadError
        If it is no Zarr array, or its writing was not finished.
    """
    try:
        array = zarr.open_array(store=path, mode="r")
    except Exception as error:
        msg = f"{path} cannot be read as a Zarr array: {error}"
        raise StackReadError(msg) from error
    token = _written_token(path, array)
    scale = array.attrs.get("scale_factor")
    return StoredArray(
        str(path),
        tuple(array.shape),
        np.dtype(np.float32) if scale is not None else np.dtype(array.dtype),
        tuple(array.shards) if array.shards else _grouped_chunks(array),
        tuple(array.chunks),
        token or _foreign_token(path),
        float(str(scale)) if scale is not None else None,
        checked=phase and token is None,
    )


def _written_token(path: Path, array: "zarr.Array[Any]") -> str | None:
    """Return the fingerprint of an array with a record; None where others wrote it.

    Raises
    ------
    StackReadError
        If blocks are missing or torn.
    """
    record = read_record(path)
    if record is None:
        return None
    grid = Grid(tuple(array.shape), tuple(array.shards or array.chunks))
    files = {n: _stat(path.joinpath("c", *map(str, grid.position(n)))) for n in record.finished}
    torn = [
        n
        for n, (size, _) in record.finished.items()
        if files[n][0] != size and not _readable(array, grid.region(grid.position(n)), files[n])
    ]
    whole = len(files) - len(torn)
    if whole < record.blocks:
        msg = (
            f"{path} is incomplete: {whole} of {record.blocks} blocks are written; "
            "run again to finish it"
        )
        raise StackReadError(msg)
    # Somebody may have edited voxels since: what was computed of them before is then stale.
    edited = sorted((n, file) for n, file in files.items() if file != record.finished[n])
    return fingerprint(record.fingerprint, edited) if edited else record.fingerprint


def _readable(array: "zarr.Array[Any]", region: Region, file: tuple[int, int]) -> bool:
    """Tell whether a shard of another size was edited rather than torn."""
    try:
        return bool(file[0]) and np.asarray(array[region]).size > 0
    except Exception:  # zarr raises many kinds for a damaged shard
        return False


def _grouped_chunks(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Group the chunks of a foreign array into blocks of about the usual size."""
    block = list(array.chunks)
    for axis in reversed(range(len(block))):
        room = BLOCK_BYTES // max(prod(block) * array.dtype.itemsize, 1)
        steps = max(min(room, -(-array.shape[axis] // block[axis])), 1)
        block[axis] *= steps
    return tuple(block)


def _foreign_token(path: Path) -> str:
    """Fingerprint a store that others wrote, by the names, sizes and times of its files."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    stats = [(str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return fingerprint(str(path.resolve()), stats)


@dataclass(frozen=True)
class Target:
    """An array to be written.

    Attributes
    ----------
    path
        Folder of the array.
    grid
        The blocks; one task writes one.
    inner
        Chunks inside a block that readers fetch one by one.
    stored_dtype
        Type on disk.
    dims
        Dimension names.
    attrs
        Attributes; a `scale_factor` among them is applied on writing.
    """

    path: Path
    grid: Grid
    inner: tuple[int, ...]
    stored_dtype: str
    dims: tuple[str, ...]
    attrs: Mapping[str, Any]

    @property
    def shard(self) -> tuple[int, ...]:
        """The block, made divisible by inner chunks."""
        return tuple(-(-b // i) * i for b, i in zip(self.grid.block, self.inner, strict=True))

    def shard_file(self, position: tuple[int, ...]) -> Path:
        """Return the file that holds a block."""
        return self.path.joinpath("c", *(str(i) for i in position))

    def create(self) -> None:
        """Create the empty array, removing what lies there but the record."""
        for child in self.path.iterdir():
            if child.is_dir():
                shutil.rmtree(child)
            elif child.name != FILE_NAME:
                child.unlink()
        array = zarr.create_array(
            store=self.path,
            shape=self.grid.shape,
            dtype=self.stored_dtype,
            chunks=self.inner,
            shards=self.shard,
            compressors=_COMPRESSOR,
            dimension_names=list(self.dims),
            attributes=json.loads(json.dumps(dict(self.attrs), default=plain_value)),
            fill_value=0,
        )
        if Grid(tuple(array.shape), tuple(array.shards or ())).counts != self.grid.counts:
            msg = f"blocks {self.grid.block} and shards {array.shards} of {self.path} differ"
            raise AssertionError(msg)

    def finished(self, token: str) -> Record | None:
        """Return the record if what lies there was written under the same fingerprint."""
        record = read_record(self.path)
        if record is None or record.fingerprint != token or record.blocks != self.grid.size:
            return None
        try:
            array = zarr.open_array(store=self.path, mode="r")
        except Exception:  # zarr raises many kinds for a damaged array: it is made anew
            return None
        same = array.shape == self.grid.shape and array.shards == self.shard
        return record if same and array.dtype == np.dtype(self.stored_dtype) else None

    def whole_blocks(self, record: Record) -> set[int]:
        """Return the recorded blocks whose shard files still have their size."""
        return {
            number
            for number, (size, _) in record.finished.items()
            if _stat(self.shard_file(self.grid.position(number)))[0] == size
        }

    def sweep(self) -> None:
        """Remove what an interrupted writer left behind."""
        for leftover in self.path.rglob("*.partial"):
            leftover.unlink(missing_ok=True)

    def write(self, position: tuple[int, ...], data: np.ndarray, token: str) -> tuple[int, int]:
        """Write one whole shard; return the size of its file and the time of its change.

        Raises
        ------
        StackReadError
            If another run has meanwhile begun the array under another fingerprint than `token`.
        """
        region = self.grid.region(position)
        if data.shape != lengths(region):
            msg = f"block {position} must have shape {lengths(region)}; the stage made {data.shape}"
            raise ValueError(msg)
        scale = self.attrs.get("scale_factor")
        if scale is not None:
            data = np.rint(np.clip(data, 0, 1) / scale).astype(self.stored_dtype)
        if header_fingerprint(self.path) != token:
            msg = f"{self.path} is being written anew by another run; this block is not"
            raise StackReadError(msg)
        file = self.shard_file(position)
        # A torn shard fails even a full overwrite, so nothing of it may be there.
        file.unlink(missing_ok=True)
        array = zarr.open_array(store=self.path, mode="r+", config={"write_empty_chunks": True})
        array[region] = data
        size, changed = _stat(file)
        if not size and data.any():
            msg = f"{file} is missing after it was written"
            raise StackReadError(msg)
        return size, changed

    def open(self) -> "zarr.Array[Any]":
        """Open what is written, for reading."""
        return zarr.open_array(store=self.path, mode="r")

    def write_bytes(self) -> int:
        """Return the peak bytes of encoding a shard beside its data."""
        itemsize = np.dtype(self.stored_dtype).itemsize
        return int(2.25 * prod(self.shard) * itemsize)


def storage_grid(shape: tuple[int, ...], block: tuple[int, ...]) -> Grid:
    """Return the grid for storing: blocks of whole inner chunks unless they span the axis."""
    lengths = []
    for b, n in zip(block, shape, strict=True):
        lengths.append(n if b >= n else b if b <= INNER_CHUNK else b // INNER_CHUNK * INNER_CHUNK)
    return Grid(shape, tuple(lengths))


def inner_chunks(block: tuple[int, ...], *, flat: bool) -> tuple[int, ...]:
    """Return inner chunks of a block: of at most 128 voxels along z, y and x.

    `flat` ones, of images, have as many voxels, but 32 along z and 256 along y and x: stages that
    work on whole images read few slices at once.
    """
    most = (1,) * (len(block) - 3) + (_FLAT_CHUNK if flat else _CUBIC_CHUNK)
    return tuple(_inner(n, m) for n, m in zip(block, most, strict=True))


def _inner(length: int, most: int) -> int:
    """Return a length of at most `most` that divides another, if one above half of that does."""
    fewest = -(-length // most)
    even = (parts for parts in range(fewest, 2 * fewest + 1) if length % parts == 0)
    return -(-length // next(even, fewest))


def _stat(file: Path) -> tuple[int, int]:
    """Return size and time of change of a shard file; (0, 0) for a shard of zeros."""
    with contextlib.suppress(FileNotFoundError):
        stat = file.stat()
        return stat.st_size, stat.st_mtime_ns
    return 0, 0
