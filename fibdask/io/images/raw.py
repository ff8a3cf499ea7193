"""Values that lie in a file as they are in memory, x fastest, or compressed as one stream."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from .formats import Layout, check_held, narrowed, volume_layout
from .headers import Conflict, Header

_MOST_INFLATED = 1032  # bytes in one, by zlib
_ANY_WINDOW = 47  # of zlib: streams with the headers of zlib or of gzip
_PIECE = 2**18  # bytes read, or passed over, at a time


class Forward(Protocol):
    """Bytes that are read from the begin on."""

    def read(self, count: int, /) -> bytes:
        """Return the next bytes; fewer at the end."""


@dataclass(frozen=True)
class RawValues:
    """Where values (z, y, x) lie.

    Attributes
    ----------
    path
        Of the file.
    shape
        (z, y, x), or (y, x).
    dtype
        With the order of bytes.
    start
        First byte of the values: of the file, or of the stream.
    stream
        First byte of a stream that zlib or gzip has compressed; None where there is none.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int = 0
    stream: int | None = None

    def layout(self, header: Header) -> Layout:
        """Return what a file with these values and this header holds.

        Raises
        ------
        ValueError
            If it cannot hold them.
        """
        layout = volume_layout(self.shape, self.dtype, 2 * self._step, header)
        needed, size = self.start + prod(self.shape) * self.dtype.itemsize, self._size()
        if self.stream is not None:
            check_held(needed, size - self.stream, _MOST_INFLATED)
        elif size < needed:
            msg = f"it is cut off: {needed} bytes are expected, {size} are there"
            raise ValueError(msg)
        return layout

    def surplus(self) -> Conflict | None:
        """Tell of bytes after the values: a header may leave out slices."""
        return surplus_bytes(self.path, self.start + prod(self.shape) * self.dtype.itemsize)

    def frames(self, chosen: range, rows: slice, columns: slice) -> Iterator[np.ndarray]:
        """Yield frames in order, one in memory at a time."""
        with self.path.open("rb") as file:
            values: Forward = file
            if self.stream is None:
                file.seek(self.start + chosen.start * self._step)
            else:
                file.seek(self.stream)
                values = Inflated(file)
                skip(values, self.start + chosen.start * self._step)
            yield from plain_frames(values, chosen, self.shape[-2:], self.dtype, (rows, columns))

    @property
    def _step(self) -> int:
        return prod(self.shape[-2:]) * self.dtype.itemsize

    def _size(self) -> int:
        return self.path.stat().st_size


def plain_frames(
    values: Forward,
    chosen: range,
    plane: tuple[int, ...],
    dtype: np.dtype[Any],
    window: tuple[slice, slice],
) -> Iterator[np.ndarray]:
    """Yield frames of values that are read from the first chosen one on."""
    step = prod(plane) * dtype.itemsize
    for _ in chosen:
        found = values.read(step)
        if len(found) < step:
            msg = f"it is cut off: a slice of {step} bytes has {len(found)}"
            raise ValueError(msg)
        frame = np.frombuffer(found, dtype).reshape(plane)[window]
        yield narrowed(frame.astype(dtype.newbyteorder("="), copy=False))


def skip(values: Forward, count: int) -> None:
    """Pass over bytes, few in memory at a time; the end is told by whoever reads on."""
    while count and (passed := len(values.read(min(count, _PIECE)))):
        count -= passed


class Inflated:
    """What zlib or gzip has compressed, streams one after another too; what is read is bounded."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stream = zlib.decompressobj(_ANY_WINDOW)
        self._waiting = b""

    def read(self, count: int, /) -> bytes:
        """Return the next bytes; fewer at the end."""
        parts, left = [], count
        while left:
            self._waiting = self._waiting or self._file.read(_PIECE)
            if not self._waiting:
                break
            part = self._stream.decompress(self._waiting, left)
            self._waiting = self._stream.unconsumed_tail
            if self._stream.eof:
                self._waiting = self._stream.unused_data
                self._stream = zlib.decompressobj(_ANY_WINDOW)
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


def surplus_bytes(path: Path, expected: int) -> Conflict | None:
    """Tell of bytes after the pixels: a header may leave out slices."""
    surplus = path.stat().st_size - expected
    if surplus <= 0:
        return None
    text = f"it has {surplus} bytes after the pixels that its header tells; they are not read"
    return Conflict("size", text)
