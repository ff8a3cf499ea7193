"""What decoders share: what a file holds, told by its header alone, and its grey values."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from math import prod
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import numpy as np

from ...blocks import RemotePath
from ...conventions import FibdaskError, StackReadError
from .headers import Header, reason

_ROUNDING = 1e-12  # relative spread of values that are constant but for rounding
_COARSE = 256 * float(np.finfo(np.float32).eps)  # relative spread of which float32 holds 256 steps
_LONGEST, _LARGEST = 2**24, 2**50  # voxels along one side, and of a volume


@dataclass(frozen=True)
class Layout:
    """What the header of a file says about its pixels.

    Attributes
    ----------
    count
        Number of slices.
    height, width
        Size of a slice in pixels.
    dtype
        Type of the grey values in the file.
    scratch
        Bytes held at once while one frame, or chunk, is read, beside the result.
    headers
        What else the file says: once, or for each of its slices.
    chunk
        What the file stores together (z, y, x); None where that is whole slices, or rows of them.
    beside
        Other files that hold pixels of it.

    Raises
    ------
    ValueError
        If the sizes are none that pixels can have.
    """

    count: int
    height: int
    width: int
    dtype: np.dtype[Any]
    scratch: int
    headers: tuple[Header, ...] = field(default=(Header(),), compare=False)
    chunk: tuple[int, int, int] | None = None
    beside: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no image can be, before anything is computed of it."""
        if min(self.count, self.height, self.width) < 1:
            msg = (
                f"its header is damaged: it tells {self.count} slices of {self.height} x "
                f"{self.width} pixels"
            )
            raise ValueError(msg)


class Decoder(Protocol):
    """Reads files of one format; a frozen dataclass of options, sent to every task."""

    def inspect(self, path: Path) -> Layout:
        """Read the header of a file, not its pixels."""

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield the grey values (rows, columns) of the chosen frames in order."""


@runtime_checkable
class WithChannels(Protocol):
    """A decoder of files that may hold several channels."""

    def channels(self, path: Path) -> tuple[str, ...]:
        """Return the names of the channels of a file, empty where none is told."""


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Turn whatever decoding raises into a StackReadError that names the place."""
    try:
        yield
    except FibdaskError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        msg = f"{place} cannot be read: {reason(error)}"
        raise StackReadError(msg) from error


def volume_layout(
    shape: tuple[int, ...], dtype: Any, scratch: int, header: Header | None = None
) -> Layout:
    """Return the layout of a volume; a shape that no stack has is refused."""
    if len(shape) not in (2, 3) or 0 in shape:
        msg = f"its shape is {tuple(shape)}; a stack has (z, y, x), a slice (y, x)"
        raise ValueError(msg)
    if max(shape) > _LONGEST or prod(shape) > _LARGEST:
        msg = f"its header is damaged, or it is no stack: its shape is {tuple(shape)}"
        raise ValueError(msg)
    count = shape[0] if len(shape) == 3 else 1
    height, width = (int(n) for n in shape[-2:])
    native = np.dtype(dtype).newbyteorder("=")
    return Layout(int(count), height, width, native, scratch, (header or Header(),))


def check_held(pixels: int, size: int, most: int) -> None:
    """Refuse more pixels than any compression can hold in a file of this size."""
    if pixels > most * size:
        msg = f"its header is damaged: it tells {pixels} pixels, which {size} bytes cannot hold"
        raise ValueError(msg)


def optional(name: str) -> Any:
    """Import a package that only some formats need."""
    try:
        return import_module(name)
    except ImportError as error:
        msg = f"this format needs the package {name}: pip install 'fibdask[io]'"
        raise StackReadError(msg) from error


def readable(path: Path) -> Path | IO[bytes]:
    """Return what packages open: a path of this machine, or a file on a server."""
    return path.open("rb") if isinstance(path, RemotePath) else path


def narrowed(frame: np.ndarray) -> np.ndarray:
    """Return float64 values as float32, as a stack holds them.

    Raises
    ------
    ValueError
        If float32 cannot hold them, or would make steps of more than 1/256 of their range.
    """
    if frame.dtype != np.float64:
        return frame
    with np.errstate(over="ignore"):
        small = frame.astype(np.float32)
    if np.isinf(small).any() and not np.isinf(frame).any():
        msg = "its float64 values exceed what float32 holds; scale them"
        raise ValueError(msg)
    low, high = float(np.fmin.reduce(frame, axis=None)), float(np.fmax.reduce(frame, axis=None))
    spread, peak = high - low, max(abs(low), abs(high))
    # a constant is none, though float64 may hold it with rounding errors
    if peak * _ROUNDING < spread < peak * _COARSE:
        msg = (
            f"its float64 values lie between {low!r} and {high!r}, which float32 holds in steps of "
            "more than 1/256 of that range; subtract their minimum"
        )
        raise ValueError(msg)
    return small


def to_grey(frame: np.ndarray, palette: np.ndarray | None = None) -> np.ndarray:
    """Reduce a frame to grey values.

    Parameters
    ----------
    frame
        Pixels (y, x), or (channel, y, x): grey or three equal colours, perhaps with an opaque
        alpha channel after them.
    palette
        Colours of the pixel values (value, 3), uint8; None if the pixels are grey values.

    Raises
    ------
    ValueError
        If it is a colour image.
    """
    if palette is not None:
        frame = np.take(_palette_greys(palette), frame, mode="clip")
    if frame.ndim == 2:
        return frame
    if len(frame) in (2, 4):
        opaque = np.iinfo(frame.dtype).max if frame.dtype.kind in "iu" else 1
        if (frame[-1] != opaque).any():
            msg = "it is partly transparent; a slice must be opaque"
            raise ValueError(msg)
        frame = frame[:-1]
    differing = np.argwhere((frame != frame[0]).any(axis=0))
    if len(differing):
        y, x = differing[0]
        values = ", ".join(str(value) for value in frame[:, y, x])
        msg = (
            f"it is a colour image: pixel ({y}, {x}) has the channels {values}; "
            "a slice must be grey, crop may cut coloured annotations"
        )
        raise ValueError(msg)
    return np.asarray(frame[0])


def _palette_greys(palette: np.ndarray) -> np.ndarray:
    """Return the grey value of each palette entry.

    Zeiss writes a grey ramp in which a few entries are the colours of annotations; the pixel
    values are grey values all the same.
    """
    ramp = np.arange(len(palette), dtype=np.uint8)
    if (palette != ramp[:, np.newaxis]).any(axis=1).mean() <= 0.25:
        return ramp
    if (palette != palette[:, :1]).any():
        msg = "its palette is coloured; a slice must be grey"
        raise ValueError(msg)
    return palette[:, 0]
