"""Decoders of volumes in one file: .npy and MRC."""

import struct
import warnings
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .formats import Layout, narrowed, optional, volume_layout
from .headers import (
    Conflict,
    Header,
    disagreement,
    make_header,
    pair,
    positive,
    sourced,
)
from .raw import surplus_bytes

_MRC_HEADER = 1024  # bytes
_COMPRESSED = (b"\x1f\x8b", b"BZ")
_FEI_SECTIONS = (b"FEI1", b"FEI2")
_IMOD = 1146047817


@dataclass(frozen=True)
class Npy:
    """NumPy files, mapped into memory frame by frame; in Fortran's order, column by column."""

    revision = 2

    def inspect(self, path: Path) -> Layout:
        """Read the header."""
        array = _map_npy(path)
        surplus = surplus_bytes(path, array.offset + array.nbytes)
        header = Header(conflicts=(surplus,) if surplus else ())
        layout = volume_layout(array.shape, array.dtype, array[:1].nbytes, header)
        if not _is_fortran(array):
            return layout
        column = layout.count * layout.height * array.itemsize
        return replace(layout, scratch=column, chunk=(layout.count, layout.height, 1))

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield frames; each part is mapped anew, so that only one stays in memory."""
        array = _map_npy(path)
        if _is_fortran(array):
            yield from _fortran_region(path, (slice(chosen.start, chosen.stop), rows, columns))
            return
        for k in chosen:
            array = _map_npy(path)
            frame = array if array.ndim == 2 else array[k]
            yield narrowed(frame[rows, columns])


def _map_npy(path: Path) -> Any:
    array: np.memmap = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _is_fortran(array: np.ndarray) -> bool:
    return array.ndim == 3 and array.flags.f_contiguous and not array.flags.c_contiguous


def _fortran_region(path: Path, region: tuple[slice, slice, slice]) -> np.ndarray:
    """Read a region (z, y, x) of a file in which z runs fastest and x slowest."""
    slices, rows, columns = region
    depth, height, width = (part.stop - part.start for part in region)
    data = np.empty((depth, height, width), _map_npy(path).dtype)
    for k, column in enumerate(range(columns.start, columns.stop)):
        data[:, :, k] = _map_npy(path)[slices, rows, column]
    return data


@dataclass(frozen=True)
class Mrc:
    """MRC files, in the order in which they store rows and sections."""

    revision = 2

    def inspect(self, path: Path) -> Layout:
        """Read the header; the voxel size is in Å."""
        header = _mrc_header(path)
        axes = [int(header[key]) for key in ("mapc", "mapr", "maps")]
        if axes not in ([1, 2, 3], [0, 0, 0]):
            msg = f"its axes are stored in the order {axes}; expected [1, 2, 3] (x, y, z)"
            raise ValueError(msg)
        start, shape, dtype = _mrc_pixels(header)
        settings = _mrc_settings(header, _mrc_sections(path))
        expected = start + prod(shape) * dtype.itemsize
        if surplus := surplus_bytes(path, expected):
            settings = replace(settings, conflicts=(*settings.conflicts, surplus))
        layout = volume_layout(shape, dtype, prod(shape[-2:]) * dtype.itemsize, settings)
        if path.stat().st_size < expected:
            msg = f"it is cut off: {expected} bytes are expected, {path.stat().st_size} are there"
            raise ValueError(msg)
        return layout

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield frames, each mapped on its own."""
        header = _mrc_header(path)
        start, shape, dtype = _mrc_pixels(header)
        step = prod(shape[-2:]) * dtype.itemsize
        for k in chosen:
            yield np.memmap(path, dtype, "r", start + k * step, shape[-2:])[rows, columns]


def _open_mrc(path: Path) -> Any:
    """Open a file whose extended header, read at once, is no longer than the file."""
    mrcfile = optional("mrcfile")
    with path.open("rb") as file:
        raw = file.read(_MRC_HEADER)
    if raw[208:211] != b"MAP" and raw.startswith(_COMPRESSED):
        msg = "it is compressed; decompress it first"
        raise ValueError(msg)
    if len(raw) == _MRC_HEADER and raw[208:211] == b"MAP":
        order = mrcfile.utils.byte_order_from_machine_stamp(np.frombuffer(raw[212:216], np.uint8))
        (more,) = struct.unpack(f"{order}i", raw[92:96])
        if more > (size := path.stat().st_size) - _MRC_HEADER:
            msg = (
                f"its header is damaged: it tells an extended header of {more} bytes, which "
                f"{size} bytes cannot hold"
            )
            raise ValueError(msg)
    return mrcfile.open(path, mode="r", header_only=True)


def _mrc_header(path: Path) -> Any:
    with _open_mrc(path) as mrc:
        return mrc.header.copy()


def _mrc_sections(path: Path) -> np.ndarray | None:
    """Return what FEI's extended header says of every section; None if there is none."""
    with _open_mrc(path) as mrc:
        if bytes(mrc.header["exttyp"]) not in _FEI_SECTIONS:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that they cannot be read, and gives None
            sections: np.ndarray | None = copy(mrc.indexed_extended_header)
            return sections


def _mrc_pixels(header: Any) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Return the first byte, shape and type of the pixels."""
    if min(int(header[key]) for key in ("nx", "ny", "nz")) < 1 or header["nsymbt"] < 0:
        told = ", ".join(f"{key} {int(header[key])}" for key in ("nx", "ny", "nz", "nsymbt"))
        msg = f"its header is damaged: it says {told}"
        raise ValueError(msg)
    shape = tuple(int(n) for n in optional("mrcfile").utils.data_shape_from_header(header))
    return _MRC_HEADER + int(header["nsymbt"]), shape, _mrc_type(header)[0]


def _mrc_type(header: Any) -> tuple[np.dtype[Any], Conflict | None]:
    """Return the type of the pixels, and what leaves it open.

    Bytes (mode 0) are signed by the standard of 2014; IMOD writes unsigned ones as well, and a
    flag that tells them. Where there is none, the range of the values in the header may tell.
    """
    dtype = np.dtype(optional("mrcfile").utils.data_dtype_from_header(header))
    if dtype != np.int8:
        return dtype, None
    words = np.frombuffer(header["extra2"].tobytes(), header["mode"].dtype)
    stamp, flags = int(words[10]), int(words[11])  # bytes 152 to 159 of the file
    low, high = float(header["dmin"]), float(header["dmax"])
    ranges = f"minimum {low:g} and maximum {high:g}"
    if stamp == _IMOD:
        signed = bool(flags & 1)
        fits = low >= high or (high <= 127 if signed else low >= 0)
        text = f"IMOD says that its bytes are {'' if signed else 'un'}signed, yet {ranges}"
    else:
        signed = not (0 <= low < high and high > 127)
        fits = low < high and (high <= 127 or not signed)
        text = (
            f"it does not tell whether its bytes are signed: no IMOD stamp, {ranges}; they are "
            "taken as signed, as MRC says. If they are not, dark and bright change places"
        )
    return np.dtype(np.int8 if signed else np.uint8), None if fits else Conflict("sign", text)


def _mrc_settings(header: Any, sections: np.ndarray | None) -> Header:
    """Take the voxel size, unless it is the 1 Å or 0 Å that programs write for "unknown"."""
    sampled = {axis: int(header[f"m{axis}"]) for axis in "zyx"}
    size = [float(header["cella"][axis]) / n if n > 0 else 0.0 for axis, n in sampled.items()]
    conflicts = [_mrc_type(header)[1], *_section_conflicts(sections, size)]
    images = int(header["ispg"]) == 0 and sampled["z"] == 1  # what the standard asks of images
    if 0 < sampled["z"] < header["nz"] and not images:
        conflicts.append(_mrc_depth(sampled["z"], int(header["nz"]), size[0] / 10))
    if all(part == 1.0 for part in size):
        return make_header({}, conflicts)
    thickness, *pixel = [positive(round(part, 4), 0.1) for part in size]
    return make_header(
        {
            "pixel_size_nm": (pair(*pixel), "MRC cell / sampling in Å"),
            "slice_thickness_nm": (thickness, "MRC cell / sampling in Å"),
        },
        conflicts,
    )


def _mrc_depth(sampled: int, count: int, thickness: float) -> Conflict:
    other = thickness * sampled / count
    text = (
        f"its cell is {sampled} sections deep (mz), it holds {count}: their thickness is "
        f"{thickness:g} nm, which is taken, or {other:g} nm if the cell holds all of them"
    )
    return Conflict("slice_thickness_nm", text, (other,))


def _section_conflicts(sections: np.ndarray | None, size: list[float]) -> list[Conflict | None]:
    """Compare what FEI's extended header says of the sections with a stack of slices."""
    if sections is None or not len(sections):
        return []
    conflicts: list[Conflict | None] = []
    low, high = (float(bound(sections["Alpha tilt"])) for bound in (np.min, np.max))
    if high - low > 1:
        text = (
            f"its sections were taken at tilts from {low:g} to {high:g} degrees (FEI extended "
            "header): a tilt series is no stack of slices"
        )
        conflicts.append(Conflict("axes", text))
    width = positive(sections["Pixel size X"][0], 1e9)
    known = sourced(positive(size[2], 0.1) if size[2] != 1.0 else None, "MRC cell / sampling in Å")
    found = sourced(width, "FEI extended header")
    return [*conflicts, disagreement("pixel_size_nm", known, found)]
