"""Targets: arrays to be written, created sharded, one whole shard at a time."""

import json
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import MemoryStore

from ...conventions import StackReadError, check_block, plain_attributes
from ..regions import INNER_CHUNK, Grid, lengths
from .journal import FILE_NAME, JOURNAL, Record, header_fingerprint, is_old, read_begun, read_record
from .shards import (
    CODECS,
    METADATA,
    Shard,
    encoded_shard,
    file_state,
    metadata_checksum,
    put_file,
    put_shard,
    seal,
)

_CUBIC_CHUNK, _FLAT_CHUNK = (128, 128, 128), (32, 256, 256)


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
        Attributes; a `scale_factor` among them, of probabilities, is applied on writing.
    """

    path: Path
    grid: Grid
    inner: tuple[int, ...]
    stored_dtype: str
    dims: tuple[str, ...]
    attrs: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Make the path absolute: workers have other working folders than this process."""
        object.__setattr__(self, "path", self.path.absolute())

    @property
    def shard(self) -> tuple[int, ...]:
        """The block, made divisible by inner chunks."""
        return tuple(-(-b // i) * i for b, i in zip(self.grid.block, self.inner, strict=True))

    def shard_file(self, position: tuple[int, ...]) -> Path:
        """Return the file that holds a block."""
        return self.path.joinpath("c", *(str(i) for i in position))

    @property
    def holds_voxels(self) -> bool:
        """Whether its elements are voxels, or pixels: no counts, and nothing that was measured."""
        return self.dims[-1:] == ("x",)

    @property
    def chunks(self) -> int:
        """Number of inner chunks of a shard."""
        return prod(self.shard) // prod(self.inner)

    def metadata(self) -> bytes:
        """Return the metadata of the array, as Zarr writes them."""
        files: dict[str, Any] = {}
        array = zarr.create_array(
            store=MemoryStore(files),
            shape=self.grid.shape,
            dtype=self.stored_dtype,
            chunks=self.inner,
            shards=self.shard,
            compressors=CODECS,
            dimension_names=list(self.dims),
            attributes=plain_attributes(self.attrs),
            fill_value=0,
        )
        if Grid(tuple(array.shape), tuple(array.shards or ())).counts != self.grid.counts:
            msg = f"blocks {self.grid.block} and shards {array.shards} of {self.path} differ"
            raise AssertionError(msg)
        return bytes(files[METADATA].to_bytes())

    def create(self, metadata: bytes) -> None:
        """Create the empty array, removing what lies there but the record."""
        # The metadata first: while others are being removed, it is no array.
        for child in sorted(self.path.iterdir(), key=lambda child: child.name != METADATA):
            if child.is_dir() and not child.is_symlink():
                if child.name != JOURNAL:
                    shutil.rmtree(child)
            elif child.name != FILE_NAME:
                child.unlink()
        put_file(self.path / METADATA, metadata)

    def renamed(self) -> bytes | None:
        """Return the metadata of what lies there, under the attributes of this target.

        None where it has them, and where it is damaged in what is no attribute, or somebody edited
        it and let it pass.
        """
        try:
            record = read_begun(self.path)
            there = json.loads((self.path / METADATA).read_bytes())
        except (StackReadError, OSError, ValueError):  # it is made anew
            return None
        if record is None or record.metadata is None:
            return None
        wanted = json.loads(self.metadata())
        renamed = there | {"attributes": wanted["attributes"]}
        as_written = record.metadata == metadata_checksum(self.path)
        if renamed == there if as_written else renamed != wanted:
            return None
        return json.dumps(renamed, indent=2).encode()

    def finished(self, token: str) -> Record | None:
        """Return the record if what lies there was written under the same fingerprint."""
        return self._same(read_record, token)

    def is_begun(self, token: str) -> bool:
        """Tell whether what lies there is being written under the same fingerprint."""
        return not is_old(self.path) and self._same(read_begun, token) is not None

    def _same(self, read: Callable[[Path], Record | None], token: str) -> Record | None:
        try:
            record = read(self.path)
            if record is None or record.fingerprint != token or record.blocks != self.grid.size:
                return None
            array = zarr.open_array(store=self.path, mode="r")
        except Exception:  # zarr raises many kinds for a damaged array: it is made anew
            return None
        if record.metadata not in (None, metadata_checksum(self.path)):
            return None
        same = array.shape == self.grid.shape and array.shards == self.shard
        return record if same and array.dtype == np.dtype(self.stored_dtype) else None

    def whole_blocks(self, finished: Mapping[int, Shard], numbers: Iterable[int]) -> set[int]:
        """Return those of some blocks that are recorded and whose shard files have their size."""
        sizes = ((n, finished[n].size) for n in numbers if n in finished)
        return {n for n, size in sizes if size and self._state(n).size == size}

    def _state(self, number: int) -> Shard:
        return file_state(self.shard_file(self.grid.position(number)))

    def clear(self, numbers: Iterable[int]) -> None:
        """Remove shards that are torn or that nobody has recorded."""
        for number in numbers:
            self.shard_file(self.grid.position(number)).unlink(missing_ok=True)

    def sweep_metadata(self) -> None:
        """Remove what an interrupted creation left behind."""
        for leftover in self.path.glob("*.partial"):
            leftover.unlink(missing_ok=True)

    def sweep(self, numbers: Collection[int]) -> None:
        """Remove what an interrupted writer of some blocks left behind, and nobody else did."""
        folders = {self.shard_file(self.grid.position(number)).parent for number in numbers}
        for folder in folders:
            for leftover in folder.glob("*.partial"):
                if self._number(leftover) in numbers:
                    leftover.unlink(missing_ok=True)

    def _number(self, leftover: Path) -> int:
        """Return the block of a file that was to become its shard."""
        *outer, name = leftover.relative_to(self.path / "c").parts
        try:
            position = [int(part) for part in (*outer, name.partition(".")[0])]
            return int(np.ravel_multi_index(position, self.grid.counts))
        except ValueError:  # of somebody else
            return -1

    def write(self, position: tuple[int, ...], data: np.ndarray, token: str) -> Shard:
        """Write one whole shard, and return what tells its file.

        A shard that is there already stays as it is.

        Raises
        ------
        ConventionError
            If it is a volume of a stack, by its name, and holds what such must not.
        StackReadError
            If another run has meanwhile begun the array under another fingerprint than `token`.
        """
        region = self.grid.region(position)
        if data.shape != lengths(region):
            msg = f"block {position} must have shape {lengths(region)}; the stage made {data.shape}"
            raise ValueError(msg)
        check_block(self.path.name, data, tuple(s.start for s in region))
        scale = self.attrs.get("scale_factor")
        if scale is not None:
            data = np.rint(np.clip(data, 0, 1) / scale).astype(self.stored_dtype)
        shard = encoded_shard(data, self.shard, self.inner, self.stored_dtype)
        if header_fingerprint(self.path) != token:
            msg = f"{self.path} is being written anew by another run; this block is not"
            raise StackReadError(msg)
        file = self.shard_file(position)
        put_shard(file, shard)
        return file_state(file)._replace(seal=seal(file, self.chunks))

    def open(self) -> "zarr.Array[Any]":
        """Open what is written, for reading."""
        return zarr.open_array(store=self.path, mode="r")

    def check_there(self) -> None:
        """Check that no shard was lost; to be called after values were read.

        Raises
        ------
        StackReadError
            Naming the shard.
        """
        for position in self.grid.indices():
            if not self.shard_file(position).exists():
                msg = f"{self.shard_file(position)} was written and is gone; run again to make it"
                raise StackReadError(msg)

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
