"""Decoder of TIFF files."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from pathlib import Path
from threading import RLock
from typing import cast

import numpy as np
from tifffile import PHOTOMETRIC, TiffFile, TiffFrame, TiffPage, TiffPageSeries

from ...blocks import RemotePath
from .channels import Channel, channel_header, find_channel
from .formats import Layout, check_held, narrowed, to_grey
from .headers import Conflict, Header, complete
from .imagej import ome_channels
from .vendor import page_header, tiff_header

_FRAME_AXES = "ZIQ"  # axes of a TIFF series that may count slices: depth, and pages of no meaning
_PHOTOMETRIC = (
    PHOTOMETRIC.MINISBLACK,
    PHOTOMETRIC.RGB,
    PHOTOMETRIC.PALETTE,
    PHOTOMETRIC.YCBCR,
)
_MOST_ENCODED = 8 * 2**15  # by Zstandard, the densest that TIFF knows
_TURNS = RLock()  # of threads that read a file on a server, which is open once


@dataclass(frozen=True)
class Tiff:
    """TIFF: single frames, multipage, and ImageJ stacks that are contiguous after one page.

    Attributes
    ----------
    channel
        Name or position of the one that is read; None if there is only one.
    """

    channel: Channel = None

    revision = 5

    def channels(self, path: Path) -> tuple[str, ...]:
        """Return the names of the channels, empty where there is none."""
        with _open_tiff(path) as tif:
            return _channel_names(tif)

    def inspect(self, path: Path) -> Layout:
        """Read tags; refuse what is cut off or has no grey values."""
        with _open_tiff(path) as tif:
            names = _channel_names(tif)
            chosen = find_channel(names, self.channel)
            frames = _tiff_frames(tif, chosen)
            page = frames[0][0].keyframe
            _check_pages(frames)
            _check_complete(tif, frames, len(names) * len(frames))
            sizes = _tiff_sizes(frames[0][0])
            height, width = sizes["Y"], sizes["X"]
            dtype = np.dtype(page.dtype or "V").newbyteorder("=")
            scratch = 4 * height * width * page.samplesperpixel * dtype.itemsize
            first, *others = _tiff_headers(tif, frames, chosen)
            first = complete(first, channel_header(names[chosen], "OME channel"))
            return Layout(len(frames), height, width, dtype, scratch, (first, *others))

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield frames; contiguous ones are read by rows, others are decoded whole."""
        with _open_tiff(path) as tif:
            frames = _tiff_frames(tif, find_channel(_channel_names(tif), self.channel))
            for k in chosen:
                series, i = frames[k]
                frame = _tiff_frame(tif, series, i)[..., rows, columns]
                yield narrowed(to_grey(frame, _tiff_palette(series.keyframe.colormap)))


_Frame = tuple[TiffPageSeries, int]


@contextmanager
def _open_tiff(path: Path) -> Iterator[TiffFile]:
    """Open a file; the slices that OME-XML places in other files are not read as those of it."""
    if isinstance(path, RemotePath):
        with _TURNS:
            yield _open_once(path)
        return
    if not path.stat().st_size:
        msg = "it is empty"
        raise ValueError(msg)
    with TiffFile(path, _multifile=False) as tif:
        yield tif


@lru_cache(4)
def _open_once(path: RemotePath) -> TiffFile:
    """Open a file on a server, where the list of its pages may take many requests."""
    return TiffFile(path.open("rb"), name=path.name, _multifile=False)


def _tiff_frames(tif: TiffFile, channel: int) -> list[_Frame]:
    """Return the frames of a channel as places in the series of a file."""
    found = _whole_series(tif)
    return [(series, i) for series in found for i in _places(series)[channel]]


def _channel_names(tif: TiffFile) -> tuple[str, ...]:
    """Return the names of the channels, as many as all series have; empty where none is told."""
    counts = {len(_places(series)) for series in _whole_series(tif)}
    if len(counts) > 1:
        msg = f"its images have {' and '.join(map(str, sorted(counts)))} channels; save one of them"
        raise ValueError(msg)
    count = counts.pop()
    told = ome_channels(tif.ome_metadata) if tif.ome_metadata else ()
    return told if len(told) == count else ("",) * count


def _whole_series(tif: TiffFile) -> list[TiffPageSeries]:
    """Return the series of a file, of one shape and type; reduced copies are left aside.

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
    _check_held(found, tif.filehandle.size)
    return found


def _check_held(found: list[TiffPageSeries], size: int) -> None:
    """Refuse more slices and pixels than a file of this size holds, before any is listed."""
    check_held(sum(prod(series.shape) for series in found), size, _MOST_ENCODED)
    count = sum(prod(_outer_sizes(series).values()) for series in found)
    if count > size:
        msg = f"its header is damaged: it tells {count} slices, which {size} bytes cannot hold"
        raise ValueError(msg)


def _tiff_sizes(series: TiffPageSeries) -> dict[str, int]:
    return dict(zip(series.axes, series.shape, strict=True))


def _outer_sizes(series: TiffPageSeries) -> dict[str, int]:
    """Return the lengths of the axes beside y and x: one of slices, and one of channels."""
    sizes = _tiff_sizes(series)
    others = {axis: n for axis, n in sizes.items() if axis not in "YXS" and n > 1}
    order = "".join(axis for axis in sizes if axis in "YX" or axis in others)
    page = series.keyframe
    if (
        len(set(others) - {"C"}) > 1
        or set(others) - {*_FRAME_AXES, "C"}
        or not order.endswith("YX")
        or (page.imagelength, page.imagewidth) != (sizes["Y"], sizes["X"])
    ):
        axes = ", ".join(f"{axis} {n}" for axis, n in sizes.items())
        msg = (
            f"its axes are {axes}; a stack has one axis of slices (Z) before Y and X, perhaps one "
            "of channels (C), and times (T) are none: save one of them, or name the axis Z if it "
            "is depth"
        )
        raise ValueError(msg)
    return others


def _places(series: TiffPageSeries) -> np.ndarray:
    """Return where frames lie in a series (channel, slice)."""
    others = _outer_sizes(series)
    places = np.arange(prod(others.values())).reshape(tuple(others.values()))
    if "C" in others:
        return np.moveaxis(places, list(others).index("C"), 0).reshape(others["C"], -1)
    return places.reshape(1, -1)


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


def _tiff_headers(tif: TiffFile, frames: list[_Frame], channel: int) -> tuple[Header, ...]:
    """Read the header of every page; that of the file goes with the first one."""
    pages = [_tiff_page(tif, *frame) for frame in frames]
    first = tiff_header(tif, pages[0] if channel else tif.pages.first)
    series = dict.fromkeys(series for series, _ in frames)
    if 1 < len(series) < len(frames):
        counts = " and ".join(str(_places(one).shape[1]) for one in series)
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


def _check_complete(tif: TiffFile, frames: list[_Frame], count: int) -> None:
    """Refuse files that end early, for tifffile reads what is left as a shorter stack.

    `count` are the frames of all channels.
    """
    size = tif.filehandle.size
    described = (tif.imagej_metadata or {}).get("images", count)
    if described != count or _next_page(tif) != 0:
        msg = f"it is cut off, or its list of pages is broken: {count} slices were found"
        raise ValueError(msg)
    for series in dict.fromkeys(series for series, _ in frames):
        strips = [(series.dataoffset or 0, series.nbytes)]
        if series.dataoffset is None:
            pages = [page for page in series.pages if page is not None]
            parts = prod(series.keyframe.chunked)
            if fewest := next((p for p in pages if len(p.dataoffsets) < parts), None):
                msg = f"a page of it has {len(fewest.dataoffsets)} of its {parts} parts"
                raise ValueError(msg)
            strips = [s for p in pages for s in zip(p.dataoffsets, p.databytecounts, strict=True)]
        if min((length for _, length in strips), default=0) == 0:
            msg = "it has parts without data, which would read as black"
            raise ValueError(msg)
        end = max(offset + length for offset, length in strips)
        if end > size:
            msg = f"it is cut off: {end} bytes are expected, {size} are there"
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
        number, sample = divmod(i, page.samplesperpixel)
        frames = np.asarray(_own_page(series, number).asarray(maxworkers=1))
        return np.asarray(frames[sample])
    if series.dataoffset is not None and page.samplesperpixel == 1:
        dtype = np.dtype(page.dtype or "V").newbyteorder(tif.byteorder)
        start = series.dataoffset + i * page.nbytes
        if not tif.filehandle.is_file:
            tif.filehandle.seek(start)
            return np.frombuffer(tif.filehandle.read(page.nbytes), dtype).reshape(page.shape)
        return np.memmap(tif.filehandle.path, dtype, "r", start, page.shape)
    frame = np.asarray(_own_page(series, i).asarray(maxworkers=1))
    return np.moveaxis(frame, -1, 0) if page.axes.endswith("S") else frame


def _own_page(series: TiffPageSeries, number: int) -> TiffPage | TiffFrame:
    page = series.pages[number]
    if page is None:
        msg = f"page {number} is missing"
        raise ValueError(msg)
    return page


def _tiff_palette(colormap: np.ndarray | None) -> np.ndarray | None:
    """Return the colours of a palette, in 8 bits: some programs write them so, TIFF says 16."""
    if colormap is None:
        return None
    colours = np.asarray(colormap).T
    if len(colours) > 256:
        msg = f"it has a palette of {len(colours)} colours; a slice must be grey"
        raise ValueError(msg)
    return (colours // 257 if colours.max() > 255 else colours).astype(np.uint8)
