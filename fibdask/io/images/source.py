"""Image files as a source of blocks: a task reads the slices and rows of its region."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from math import lcm, prod
from pathlib import Path
from typing import Any

import numpy as np

from ...blocks import (
    BLOCK_BYTES,
    INNER_CHUNK,
    Access,
    Region,
    Source,
    Values,
    fit_block,
    is_address,
    lengths,
    located,
    note_read,
    shift,
)
from ...conventions import StackReadError
from .formats import Decoder, reading

_SLICES = 16  # blocks hold a multiple of this many slices where more of them fit
_KEPT = {"bool": "uint8", "uint8": "uint8", "uint16": "uint16"} | dict.fromkeys(
    ("float16", "float32", "float64"), "float32"
)
_SIGNED = {"int8": ("uint8", 128), "int16": ("uint16", 32768)}


@dataclass(frozen=True, eq=False)
class ImageSource(Source):
    """Slices (voltage, z, y, x) in image files.

    Attributes
    ----------
    decoders
        By voltage, what reads its files.
    files
        By voltage, one file for each slice, or one that holds all of them.
    corner
        First row and column that are read; what lies before was cropped.
    added
        Number added to the grey values in the files.
    scratch
        Bytes held while one frame, or chunk, is read.
    chunk
        What the files store together (z, y, x), where that is not whole slices.
    raw
        Bytes of a grey value in the files.
    identity
        Fingerprint of the files and options.
    access
        How the server is reached of those files that are addresses.
    """

    decoders: tuple[Decoder, ...]
    files: tuple[tuple[str, ...], ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    corner: tuple[int, int]
    added: int
    scratch: int
    chunk: tuple[int, ...] | None
    raw: int
    identity: str
    access: Access | None = None

    @property
    def block(self) -> tuple[int, ...]:  # type: ignore[override]
        """Whole slices, or whole chunks, of about 64 MiB."""
        return self.fitted(BLOCK_BYTES)

    @property
    def held_bytes(self) -> int:
        """Bytes of one frame, or chunk, that is decoded whole."""
        return self.scratch

    def fitted(self, most: int) -> tuple[int, ...]:
        """Return the block that is stored: parts of the file that are decoded together."""
        itemsize = self.dtype.itemsize
        if self.chunk is None:
            return fit_block(slice_block(self.shape, itemsize), most // itemsize)
        return chunk_block(self.shape, itemsize, self.chunk, most)

    @property
    def token(self) -> str:
        """Fingerprint of the files and of the options."""
        return self.identity

    @property
    def disk_bytes(self) -> int:
        """Bytes of the files of all slices, those of this machine."""
        files = {file for files in self.files for file in files if not is_address(file)}
        return sum(Path(file).stat().st_size for file in files)

    @property
    def read_now(self) -> object:
        """Size and time of the files of all slices, those of this machine.

        That others may not write them any more, or have another name for them, is no change.
        """
        names = sorted({file for files in self.files for file in files if not is_address(file)})
        states = map(os.stat, names)
        return [(state.st_size, state.st_mtime_ns) for state in states]

    def read(self, region: Region, values: Values) -> np.ndarray:
        """Read a region; only the slices in it are opened."""
        block = np.empty(lengths(region), self.dtype)
        voltages, *place = region
        parts = zip(block, self.decoders[voltages], self.files[voltages], strict=True)
        for planes, decoder, files in parts:
            for plane, frame in zip(planes, self._frames(decoder, files, *place), strict=True):
                if self.added:
                    np.add(frame, self.added, out=plane, dtype=np.int32, casting="unsafe")
                else:
                    plane[...] = frame
        note_read(block)
        return block

    def task_bytes(self, region: Region) -> int:
        """Return the bytes of the block and of the frames, or layers of chunks, being read."""
        held = self.scratch
        if self.chunk is not None:
            _, depth, height, width = lengths(region)
            held += min(depth, 2 * self.chunk[0]) * height * width * self.raw  # two layers
        return self.nbytes(region) + held

    def _place(self, file: str) -> Any:
        return located(file, self.access if is_address(file) else None)

    def _frames(
        self,
        decoder: Decoder,
        files: tuple[str, ...],
        slices: slice,
        rows: slice,
        columns: slice,
    ) -> Iterator[np.ndarray]:
        window = shift(rows, self.corner[0]), shift(columns, self.corner[1])
        places = range(slices.start, slices.stop)
        if len(files) == 1:
            names: Iterator[str] = repeat(files[0])
            frames = decoder.frames(self._place(files[0]), places, *window)
        else:
            names = iter(files[slices])
            frames = chain.from_iterable(
                decoder.frames(Path(file), range(1), *window) for file in files[slices]
            )
        for k, name in zip(places, names, strict=False):
            with reading(f"slice {k} ({name})"):
                frame = next(frames)
                self._check(frame, (rows, columns))
            yield frame

    def _check(self, frame: np.ndarray, place: tuple[slice, ...]) -> None:
        """Refuse a frame of a file that another has replaced; it would be cast or repeated."""
        kept = stack_dtype(frame.dtype, "it")
        if frame.shape != lengths(place) or kept != (self.dtype, self.added):
            msg = (
                f"it was replaced since the headers were read: {frame.shape} {frame.dtype} came "
                f"for {lengths(place)} pixels of a stack of {self.dtype}"
            )
            raise ValueError(msg)


def slice_block(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the block of a stack of slices: whole slices, a multiple of 16 if more than 16 fit."""
    _, depth, height, width = shape
    count = max(BLOCK_BYTES // (height * width * itemsize), 1)
    return (1, _even(count, depth), height, width)


def chunk_block(
    shape: tuple[int, ...], itemsize: int, chunk: tuple[int, ...], most: int
) -> tuple[int, ...]:
    """Return a block of whole chunks (z, y, x) of at most `most` bytes.

    It is one of whole slices if a layer of chunks fits; else it grows along y and x first. Where
    even one chunk does not fit, it is a part of one.
    """
    _, *spatial = shape
    chunk = tuple(min(c, n) for c, n in zip(chunk, spatial, strict=True))
    layer = chunk[0] * spatial[1] * spatial[2] * itemsize
    if layer <= most:
        count = _even(most // layer * chunk[0], spatial[0], chunk[0])
        return (1, count, *spatial[1:])
    pairs = zip(chunk, spatial, strict=True)
    stored_whole = tuple(min(lcm(c, INNER_CHUNK), n) for c, n in pairs)
    start = stored_whole if prod(stored_whole) * itemsize <= most else chunk
    block = _grown(fit_block(start, most // itemsize), tuple(spatial), most // itemsize)
    return (1, _even(block[0], spatial[0], chunk[0]), *block[1:])


def _grown(block: tuple[int, ...], spatial: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Double a block, along the shorter one of y and x, at last along z, up to `most` voxels."""
    while True:
        for axis in (*sorted((1, 2), key=block.__getitem__), 0):
            length = min(2 * block[axis], spatial[axis])
            larger = (*block[:axis], length, *block[axis + 1 :])
            if block[axis] < length and prod(larger) <= most:
                block = larger
                break
        else:
            return block


def _even(count: int, depth: int, chunk: int = 1) -> int:
    """Reduce a number of slices to one that even chunks can store, whole chunks of a file best.

    Up to 32 slices are stored as one chunk, more in chunks that divide a multiple of 16.
    """
    if count >= depth:
        return depth
    if count <= _SLICES:
        return count
    step = lcm(chunk, _SLICES)
    if step > count >= chunk and chunk <= 2 * _SLICES:
        count = min(count, 2 * _SLICES)
        return count - count % chunk
    return count - count % (step if step <= count else _SLICES)


def stack_dtype(dtype: np.dtype[Any], name: str) -> tuple[np.dtype[Any], int]:
    """Return the type of the grey values in the stack, and the number added to those in files.

    Raises
    ------
    StackReadError
        If values of this type would not fit.
    """
    if dtype.name in _SIGNED:
        unsigned, added = _SIGNED[dtype.name]
        return np.dtype(unsigned), added
    if dtype.name not in _KEPT:
        known = ", ".join([*_KEPT, *_SIGNED])
        msg = f"the grey values of {name} must be of a type among {known}; found {dtype.name}"
        raise StackReadError(msg)
    return np.dtype(_KEPT[dtype.name]), 0
