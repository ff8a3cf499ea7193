"""Decoders: what a file holds, told by its header alone, and its frames one after the other."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from tifffile import PHOTOMETRIC, TiffFile, TiffPage, TiffPageSeries

from ...conventions import FibdaskError, StackReadError
from .headers import Conflict, Header, reason
from .vendor import page_header, tiff_header

_FRAME_AXES = "ZIQ"  # axes of a TIFF series that may count slices: depth, and pages of no meaning
_PHOTOMETRIC = (
    PHOTOMETRIC.MINISBLACK,
    PHOTOMETRIC.RGB,
    PHOTOMETRIC.PALETTE,
    PHOTOMETRIC.YCBCR,
)
_ROUNDING = 1e-12  # relative spread of values that are constant but for rounding
_COARSE = 256 * float(np.finfo(np.float32).eps)  # relative spread of which float32 holds 256 steps
_MOST_DEFLATED = 8 * 1032  # pixels of one bit in each byte, by the best that deflate can do
_MOST_ENCODED = 8 * 2**15  # by Zstandard, the densest that TIFF knows
_PIL_DTYPES = {"1": "bool", "I;16": "uint16", "I;16B": "uint16", "I": "int32", "F": "float32"}


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


@dataclass(frozen=True)
class Tiff:
    """TIFF: single frames, multipage, and ImageJ stacks that are contiguous after one page."""

    def inspect(self, path: Path) -> Layout:
        """Read tags; refuse what is cut off or has no grey values."""
        with _open_tiff(path) as tif:
            frames = _tiff_frames(tif)
            page = frames[0][0].keyframe
            _check_pages(frames)
            _check_complete(tif, frames)
            sizes = _tiff_sizes(frames[0][0])
            height, width = sizes["Y"], sizes["X"]
            dtype = np.dtype(page.dtype or "V").newbyteorder("=")
            scratch = 4 * height * width * page.samplesperpixel * dtype.itemsize
            return Layout(len(frames), height, width, dtype, scratch, _tiff_headers(tif, frames))

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield frames; contiguous ones are read by rows, others are decoded whole."""
        with _open_tiff(path) as tif:
            frames = _tiff_frames(tif)
            for k in chosen:
                series, i = frames[k]
                frame = _tiff_frame(tif, series, i)[..., rows, columns]
                yield narrowed(to_grey(frame, _tiff_palette(series.keyframe.colormap)))


_Frame = tuple[TiffPageSeries, int]


def _open_tiff(path: Path) -> TiffFile:
    # The slices that OME-XML places in other files are not read as those of this one.
    return TiffFile(path, _multifile=False)


def _tiff_frames(tif: TiffFile) -> list[_Frame]:
    """Return the frames of a file as places in its series; reduced copies are left aside.

    Programs that append pages one by one make a series of each.
    """
    found = [series for series in tif.series if not series.keyframe.is_reduced]
    if not found:
        msg = "it holds no image"
        raise ValueError(msg)
    first = found[0].keyframe
    for series in found:
        page = series.keyframe
        if (page.shape, page.dtype) != (first.shape, first.dtype):
            msg = (
                f"its pages differ: {first.shape} {first.dtype} and {page.shape} {page.dtype}; "
                "all slices must have one shape and type"
            )
            raise ValueError(msg)
    return [(series, i) for series in found for i in range(_frame_count(series))]


def _tiff_sizes(series: TiffPageSeries) -> dict[str, int]:
    return dict(zip(series.axes, series.shape, strict=True))


def _frame_count(series: TiffPageSeries) -> int:
    """Return the length of the one axis beside y and x."""
    sizes = _tiff_sizes(series)
    others = {axis: n for axis, n in sizes.items() if axis not in "YXS" and n > 1}
    order = "".join(axis for axis in sizes if axis in "YX" or axis in others)
    page = series.keyframe
    if (
        len(others) > 1
        or set(others) - set(_FRAME_AXES)
        or not order.endswith("YX")
        or (page.imagelength, page.imagewidth) != (sizes["Y"], sizes["X"])
    ):
        axes = ", ".join(f"{axis} {n}" for axis, n in sizes.items())
        msg = (
            f"its axes are {axes}; a stack has one axis of slices (Z) before Y and X, and channels "
            "(C) or times (T) are none: save one of them, or name the axis Z if it is depth"
        )
        raise ValueError(msg)
    return next(iter(others.values()), 1)


def _check_pages(frames: list[_Frame]) -> None:
    """Refuse pixels that are no grey values of a slice, or grey values upside down."""
    for kind in dict.fromkeys(series.keyframe.photometric for series, _ in frames):
        if kind == PHOTOMETRIC.MINISWHITE:
            msg = "it stores white as zero; save it with black as zero"
            raise ValueError(msg)
        if kind not in _PHOTOMETRIC:
            msg = f"its photometric interpretation is {kind!s}; save it as grey"
            raise ValueError(msg)
    depth = max(series.keyframe.imagedepth for series, _ in frames)
    if depth > 1:
        msg = f"its pages are volumes of {depth} slices; save each slice as a page"
        raise ValueError(msg)


def _tiff_headers(tif: TiffFile, frames: list[_Frame]) -> tuple[Header, ...]:
    """Read the header of every page; that of the file goes with the first one."""
    pages = [_tiff_page(tif, *frame) for frame in frames]
    first = tiff_header(tif)
    series = dict.fromkeys(series for series, _ in frames)
    if 1 < len(series) < len(frames):
        counts = " and ".join(str(_frame_count(one)) for one in series)
        text = f"it holds {len(series)} images, of {counts} slices, which are taken as one stack"
        first = replace(first, conflicts=(*first.conflicts, Conflict("series", text)))
    if all(page is pages[0] for page in pages):
        return (first,)
    return first, *(page_header(page) for page in pages[1:])


def _tiff_page(tif: TiffFile, series: TiffPageSeries, i: int) -> TiffPage:
    """Return the page of a frame with its tags; the first one of frames that share it."""
    page = series.pages[i] if i < len(series.pages) else None
    if page is None or page is series.keyframe:
        return series.keyframe
    whole = page if isinstance(page, TiffPage) else tif.pages.get(page.index)
    return cast(TiffPage, whole)


def _check_complete(tif: TiffFile, frames: list[_Frame]) -> None:
    """Refuse files that end early, for tifffile reads what is left as a shorter stack."""
    size = tif.filehandle.size
    _check_held(sum(prod(series.keyframe.shape) for series, _ in frames), size, _MOST_ENCODED)
    described = (tif.imagej_metadata or {}).get("images", len(frames))
    if described != len(frames) or _next_page(tif) != 0:
        msg = f"it is cut off, or its list of pages is broken: {len(frames)} slices were found"
        raise ValueError(msg)
    for series in dict.fromkeys(series for series, _ in frames):
        strips = [(series.dataoffset or 0, series.nbytes)]
        if series.dataoffset is None:
            pages = [page for page in series.pages if page is not None]
            strips = [s for p in pages for s in zip(p.dataoffsets, p.databytecounts, strict=True)]
        if min((length for _, length in strips), default=0) == 0:
            msg = "it has parts without data, which would read as black"
            raise ValueError(msg)
        end = max(offset + length for offset, length in strips)
        if end > size:
            msg = f"it is cut off: {end} bytes are expected, {size} are there"
            raise ValueError(msg)


def _check_held(pixels: int, size: int, most: int) -> None:
    """Refuse more pixels than any compression can hold in a file of this size."""
    if pixels > most * size:
        msg = f"its header is damaged: it tells {pixels} pixels, which {size} bytes cannot hold"
        raise ValueError(msg)


def _next_page(tif: TiffFile) -> int:
    """Return where the page after the last readable one should be; 0 if there is none."""
    file, form = tif.filehandle, tif.tiff
    file.seek(tif.pages[-1].offset)
    (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(tags * form.tagsize, 1)
    return int(struct.unpack(form.offsetformat, file.read(form.offsetsize))[0])


def _tiff_frame(tif: TiffFile, series: TiffPageSeries, i: int) -> np.ndarray:
    """Map one frame if it is contiguous, else decode it; colours on the first axis."""
    page = series.keyframe
    if page.samplesperpixel > 1 and "S" not in series.axes:
        # tifffile stores a volume of three or four slices as the channels of one page
        volume = np.asarray(series.asarray(maxworkers=1))
        return np.asarray(volume[i])
    if series.dataoffset is not None and page.samplesperpixel == 1:
        dtype = np.dtype(page.dtype or "V").newbyteorder(tif.byteorder)
        return np.memmap(
            tif.filehandle.path, dtype, "r", series.dataoffset + i * page.nbytes, page.shape
        )
    own = series.pages[i]
    if own is None:
        msg = f"page {i} is missing"
        raise ValueError(msg)
    frame = np.asarray(own.asarray(maxworkers=1))
    return np.moveaxis(frame, -1, 0) if page.axes.endswith("S") else frame


def _tiff_palette(colormap: np.ndarray | None) -> np.ndarray | None:
    """Return the colours of a palette, in 8 bits: some programs write them so, TIFF says 16."""
    if colormap is None:
        return None
    colours = np.asarray(colormap).T
    if len(colours) > 256:
        msg = f"it has a palette of {len(colours)} colours; a slice must be grey"
        raise ValueError(msg)
    return (colours // 257 if colours.max() > 255 else colours).astype(np.uint8)


@dataclass(frozen=True)
class Pillow:
    """PNG and BMP: one frame a file."""

    def inspect(self, path: Path) -> Layout:
        """Read the header."""
        with _open_pillow(path) as image:
            dtype = np.dtype(_PIL_DTYPES.get(image.mode, "uint8"))
            width, height = image.size
            channels = len(image.getbands())
            if (count := getattr(image, "n_frames", 1)) > 1:
                msg = f"it is an animation of {count} images; save each as a file"
                raise ValueError(msg)
            _check_held(height * width, path.stat().st_size, _MOST_DEFLATED)
            _check_depth(image)
            return Layout(1, height, width, dtype, 6 * height * width * channels * dtype.itemsize)

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield the frame."""
        for _ in chosen:
            with _open_pillow(path) as image:
                palette = image.getpalette("RGB") if image.mode == "P" else None
                frame = np.asarray(image)
                _check_opaque(frame, image.info.get("transparency"))
            if frame.ndim == 3:
                frame = np.moveaxis(frame, -1, 0)
            colours = None if palette is None else np.reshape(palette, (-1, 3)).astype(np.uint8)
            yield to_grey(frame[..., rows, columns], colours)


def _open_pillow(path: Path) -> ImageFile:
    # The classes are opened directly: Image.open warns of large images, as of an attack.
    opener = PngImageFile if path.suffix.casefold() == ".png" else BmpImageFile
    return opener(path)


def _check_depth(image: ImageFile) -> None:
    """Refuse what Pillow reads with 8 of its 16 bits."""
    stored = str(image.tile[0][3]) if image.tile else ""
    if ";16" in stored and not image.mode.startswith("I"):
        msg = f"it has 16 bits in each channel ({image.mode}), which are not read; save it as grey"
        raise ValueError(msg)


def _check_opaque(frame: np.ndarray, transparency: Any) -> None:
    """Refuse pixels (y, x) or (y, x, channel) of a value that the file marks as transparent."""
    if transparency is None:
        return
    if isinstance(transparency, bytes):  # an opacity for each colour of a palette
        transparency = np.flatnonzero(np.frombuffer(transparency, np.uint8) < 255)
    clear = np.isin(frame, transparency) if frame.ndim == 2 else (frame == transparency).all(-1)
    if clear.any():
        msg = "it is partly transparent; a slice must be opaque"
        raise ValueError(msg)


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
