"""Arrays in Zarr, read by coordinates."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ...conventions import StackReadError, check_block
from ..functions import unpacked
from ..regions import BLOCK_BYTES, Grid, Region, lengths, within
from .access import Access
from .bounded import bounded
from .fingerprints import fingerprint
from .journal import Record, header_fingerprint, is_old, read_record
from .places import Place, RemotePath, located, store_of
from .reading import note_read
from .remote_arrays import remote_content
from .shards import METADATA, Shard, file_state, metadata_checksum, seal
from .sources import Source, Values

_METADATA = (METADATA, ".zarray")  # of the third version of Zarr's format, and of the second
_CONCURRENT_CHUNKS = 10  # zarr's default `async.concurrency`


@dataclass(frozen=True, eq=False)
class StoredArray(Source):
    """An array of a Zarr store.

    Attributes
    ----------
    path
        Folder of the array, or its address.
    chunk
        What is read and decoded at once.
    scale
        Factor from the stored integers to the values, or None where they are the same.
    volume
        Name of the volume of a stack that it is, which must not hold other values than such may.
    recorded
        Whether a record says that every shard was written: one that is missing was lost.
    written
        Fingerprint that the record began with: under another one, the array is written anew. None
        of records of old versions.
    unstored
        Numbers of the recorded shards that hold nothing but zeros and were not stored.
    rounded
        Whether values had to be rounded to the stored integers.
    access
        How the server of an address is reached; None of a folder.
    remote_bytes
        Bytes of the objects on a server.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    block: tuple[int, ...]
    chunk: tuple[int, ...]
    stored_token: str
    scale: float | None = None
    volume: str = ""
    recorded: bool = False
    written: str | None = None
    unstored: tuple[int, ...] = ()
    rounded: bool = True
    access: Access | None = None
    remote_bytes: int = 0

    @property
    def place(self) -> Place:
        """Where the array lies."""
        return located(self.path, self.access)

    @property
    def token(self) -> str:
        """Fingerprint under which the array was written; rounding to integers makes another."""
        if self.scale is None or not self.rounded:
            return self.stored_token
        return fingerprint(self.stored_token, self.scale)

    @property
    def disk_bytes(self) -> int:
        """Bytes of the shards, with what is kept beside them."""
        if self.access is not None:
            return self.remote_bytes
        return sum(file.stat().st_size for file in Path(self.path).rglob("*") if file.is_file())

    def task_bytes(self, region: Region) -> int:
        """Return the bytes of the result and of what is read and decoded beside it."""
        touched = prod(
            min((s.stop - 1) // c - s.start // c + 1, -(-b // c))
            for s, c, b in zip(region, self.chunk, self.block, strict=True)
        )
        chunk = prod(self.chunk) * self.dtype.itemsize
        # Of one shard, all chunks that are wanted, encoded, beside those that are being decoded.
        decoding = (touched + 2 * min(touched, _CONCURRENT_CHUNKS)) * chunk
        result = self.nbytes(region)
        if any(s.start // b < (s.stop - 1) // b for s, b in zip(region, self.block, strict=True)):
            # The parts that lie in one shard each are read one after the other, and joined.
            decoding += prod(map(min, lengths(region), self.block)) * self.dtype.itemsize
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
        # Zarr holds what it wants of ten shards at once, encoded; so that is one here.
        first, *others = self._parts(region)
        data = self._shard(first)
        if others:
            joined = np.empty(lengths(region), data.dtype)
            joined[within(first, region)] = data
            data = joined
        for part in others:
            data[within(part, region)] = self._shard(part)
        note_read(data)
        data = data if self.scale is None else unpacked(data, self.scale)
        check_block(self.volume, data, tuple(s.start for s in region), path=self.path)
        return data

    def _shard(self, part: Region) -> np.ndarray:
        """Read a part of one shard."""
        try:
            data = np.asarray(_opened(self.place, self._metadata_states())[part])
        except Exception as error:  # zarr raises many kinds for a damaged array
            raise self._unreadable(part, _told(error)) from error
        self._check_shard(part, data)
        self._check_written(part)
        return data

    def _check_written(self, part: Region) -> None:
        """Refuse what may be of another array, begun in this place since; to be done last."""
        if not self.recorded or self.access is not None:
            return
        begun = header_fingerprint(Path(self.path))
        if begun != self.written:
            reason = (
                "its record cannot be read any more"
                if begun is None
                else "it was written anew since it was opened: open it again, or run again"
            )
            raise self._unreadable(part, reason)

    @property
    def read_now(self) -> object:
        """Size and time of the files that others wrote, of this machine.

        An array with a record looks at that itself. Hidden files are none of it, such as those that
        show folders; but for metadata.
        """
        if self.recorded or self.access is not None:
            return None
        files = (
            file
            for file in Path(self.path).rglob("*")
            if file.name in _METADATA or not file.name.startswith(".")
        )
        return sorted((str(file), *_size_and_time(file)) for file in files if file.is_file())

    def _metadata_states(self) -> tuple[Shard, ...]:
        """Return what tells the files of metadata; those on a server are taken to stay."""
        if self.access is not None:
            return ()
        return tuple(file_state(Path(self.path, name)) for name in _METADATA)

    def _check_shard(self, part: Region, data: np.ndarray) -> None:
        """Refuse zeros that Zarr reads where a shard was lost; looked at after it was read."""
        if not self.recorded or self._is_there(self._shard_file(part), data):
            return
        position = self._position(part)
        if int(np.ravel_multi_index(position, self.grid.counts)) not in self.unstored:
            raise self._unreadable(part, "this shard was written and is gone; run again to make it")

    @staticmethod
    def _is_there(file: Place, data: np.ndarray) -> bool:
        if isinstance(file, RemotePath):
            return bool(data.any()) or file.is_file()  # a server is only asked where it must be
        return bool(file_state(file).size)

    def _unreadable(self, part: Region, reason: object) -> StackReadError:
        place = ", ".join(f"{s.start}:{s.stop}" for s in part)
        where = f" ({self._shard_file(part)})" if self.recorded else ""
        return StackReadError(f"{self.path} cannot be read at ({place}): {reason}{where}")

    def _position(self, part: Region) -> tuple[int, ...]:
        return tuple(s.start // b for s, b in zip(part, self.block, strict=True))

    def _shard_file(self, part: Region) -> Place:
        return self.place.joinpath("c", *map(str, self._position(part)))


def _told(error: Exception) -> str:
    """Say what to do about a file whose checksum is wrong; other errors speak for themselves."""
    remedy = ": it is damaged; remove it, and make it anew as it was made"
    return f"{error}{remedy if 'checksum' in str(error) else ''}"


@lru_cache(16)
def _opened(place: Place, _metadata: tuple[Shard, ...]) -> "zarr.Array[Any]":
    """Open an array for reading, once for as long as its metadata are the same files.

    Blocks are read from few arrays at a time, each in many parts.
    """
    return bounded(zarr.open_array(store=store_of(place), mode="r"))


def open_stored(path: Place, *, volume: str = "") -> StoredArray:
    """Open an array of a store for reading by coordinates, such as a `volume` of a stack.

    Raises
    ------
    StackReadError
        If it is no Zarr array, or its writing was not finished.
    """
    path = path.absolute()  # workers have other working folders
    try:
        array = zarr.open_array(store=store_of(path), mode="r")
    except Exception as error:
        msg = f"{path} cannot be read as a Zarr array: {error}"
        raise StackReadError(msg) from error
    if isinstance(path, RemotePath):
        token, size, recorded = remote_content(path, array)
        stored = _described(path, array, token, recorded=recorded)
        stored = replace(stored, access=path.access, remote_bytes=size)
    else:
        record = read_record(path)
        token = _foreign_token(path) if record is None else _written_token(path, array, record)
        stored = _described(path, array, token, recorded=record is not None)
        finished = {} if record is None else record.finished
        unstored = tuple(n for n, s in finished.items() if not s.size)
        begun = None if record is None or is_old(path) else record.fingerprint
        stored = replace(stored, unstored=unstored, written=begun)
    return replace(stored, volume=volume)


def _described(path: Place, array: "zarr.Array[Any]", token: str, *, recorded: bool) -> StoredArray:
    """Return a stored array as its metadata tell of it."""
    scale = array.attrs.get("scale_factor")
    return StoredArray(
        str(path),
        tuple(array.shape),
        np.dtype(np.float32) if scale is not None else np.dtype(array.dtype),
        tuple(array.shards) if array.shards else _grouped_chunks(array),
        tuple(array.chunks),
        token,
        float(str(scale)) if scale is not None else None,
        recorded=recorded,
    )


def _written_token(path: Path, array: "zarr.Array[Any]", record: Record) -> str:
    """Return the fingerprint of an array with a record.

    Raises
    ------
    StackReadError
        If blocks are missing or torn, or its metadata are not those that were written.
    """
    grid = Grid(tuple(array.shape), tuple(array.shards or array.chunks))
    if record.metadata not in (None, metadata_checksum(path)) or record.blocks != grid.size:
        msg = (
            f"{path / METADATA} is not what was written: it is damaged, or was edited (then "
            f'remove the entry "metadata" of {record.file} beside it)'
        )
        raise StackReadError(msg)
    files = {n: path.joinpath("c", *map(str, grid.position(n))) for n in record.finished}
    found = {n: file_state(file) for n, file in files.items()}
    resized = [n for n, shard in record.finished.items() if found[n].size != shard.size]
    torn = [n for n in resized if not _readable(array, grid.numbered(n), found[n])]
    whole = len(files) - len(torn)
    if whole < record.blocks:
        msg = (
            f"{path} is incomplete: {whole} of {record.blocks} blocks are written; "
            "run again to finish it"
        )
        raise StackReadError(msg)
    # Somebody may have edited voxels since: what was computed of them before is then stale.
    changed = [n for n, shard in record.finished.items() if found[n][:2] != shard[:2]]
    chunks = prod(grid.block) // prod(array.chunks)
    content = {n: _content(files[n], found[n], record.finished[n], chunks) for n in changed}
    edited = sorted((n, told) for n, told in content.items() if told)
    return fingerprint(record.fingerprint, edited) if edited else record.fingerprint


def _content(file: Path, found: Shard, recorded: Shard, chunks: int) -> tuple[int, ...]:
    """Return what tells the content of a shard that has another time; nothing if it is the same.

    A copy has other times than what it is a copy of. Of old records, which hold no seals, nobody
    can tell whether a shard is a copy or was edited.
    """
    if recorded.seal is None:
        return found[:2]
    told = seal(file, chunks)
    return () if told == recorded.seal else (told,)


def _readable(array: "zarr.Array[Any]", region: Region, file: Shard) -> bool:
    """Tell whether a shard of another size was edited rather than torn."""
    try:
        return bool(file.size) and np.asarray(array[region]).size > 0
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


def _size_and_time(file: Path) -> tuple[int, int]:
    state = file.stat()
    return state.st_size, state.st_mtime_ns


def _foreign_token(path: Path) -> str:
    """Fingerprint a store that others wrote, by its place and the state of each of its files.

    The time of change of a file's entry cannot be set back, as that of its content can.
    """
    states = []
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        state = file.stat()
        times = state.st_mtime_ns, state.st_ctime_ns
        states.append((str(file.relative_to(path)), state.st_size, state.st_ino, *times))
    return fingerprint(str(path.resolve()), states)
