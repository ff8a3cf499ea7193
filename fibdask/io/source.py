"""Image files as a source of blocks: a task reads the slices and rows of its region."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np

from ..blocks import Region, Source, Values, lengths, shift
from ..blocks.regions import BLOCK_BYTES
from ..conventions import StackReadError
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
    decoder
        Reads the files.
    files
        By voltage, one file for each slice, or one that holds all of them.
    corner
        First row and column that are read; what lies before was cropped.
    added
        Number added to the grey values in the files.
    scratch
        Bytes held while one frame is read.
    identity
        Fingerprint of the files and options.
    """

    decoder: Decoder
    files: tuple[tuple[str, ...], ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    corner: tuple[int, int]
    added: int
    scratch: int
    identity: str

    @property
    def block(self) -> tuple[int, ...]:  # type: ignore[override]
        """Whole slices, of about 64 MiB."""
        return slice_block(self.shape, self.dtype.itemsize)

    @property
    def token(self) -> str:
        """Fingerprint of the files and of the options."""
        return self.identity

    def read(self, region: Region, values: Values) -> np.ndarray:
        """Read a region; only the slices in it are opened."""
        block = np.empty(lengths(region), self.dtype)
        voltages, *place = region
        for planes, files in zip(block, self.files[voltages], strict=True):
            for plane, frame in zip(planes, self._frames(files, *place), strict=True):
                if self.added:
                    np.add(frame, self.added, out=plane, dtype=np.int32, casting="unsafe")
                else:
                    plane[...] = frame
        return block

    def task_bytes(self, region: Region) -> int:
        """Return the bytes of the block and of the frame being read."""
        return self.nbytes(region) + self.scratch

    def _frames(
        self, files: tuple[str, ...], slices: slice, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        window = shift(rows, self.corner[0]), shift(columns, self.corner[1])
        places = range(slices.start, slices.stop)
        if len(files) == 1:
            names: Iterator[str] = repeat(files[0])
            frames = self.decoder.frames(Path(files[0]), places, *window)
        else:
            names = iter(files[slices])
            frames = chain.from_iterable(
                self.decoder.frames(Path(file), range(1), *window) for file in files[slices]
            )
        for k, name in zip(places, names, strict=False):
            with reading(f"slice {k} ({name})"):
                frame = next(frames)
            yield frame


def slice_block(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the block of a stack of slices: whole slices, a multiple of 16 if more than 16 fit."""
    _, depth, height, width = shape
    count = BLOCK_BYTES // (height * width * itemsize)
    if count > _SLICES:
        count -= count % _SLICES
    return (1, min(max(count, 1), depth), height, width)


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
