"""Decoder of NIfTI files of both versions, raw or compressed by gzip."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .formats import Layout
from .headers import Conflict, Header, make_header, pair, positive
from .raw import Inflated, RawValues

_FIELDS = ["sizeof_hdr", "dim", "datatype", "pixdim", "vox_offset", "scl_slope", "scl_inter"]
_FIELDS += ["xyzt_units", "magic"]
_FIRST = np.dtype(
    {
        "names": _FIELDS,
        "formats": ["<i4", "8<i2", "<i2", "8<f4", "<f4", "<f4", "<f4", "u1", "S4"],
        "offsets": [0, 40, 70, 76, 108, 112, 116, 123, 344],
        "itemsize": 348,
    }
)
_SECOND = np.dtype(
    {
        "names": _FIELDS,
        "formats": ["<i4", "8<i8", "<i2", "8<f8", "<i8", "<f8", "<f8", "<i4", "S8"],
        "offsets": [0, 16, 12, 104, 168, 176, 184, 500, 4],
        "itemsize": 540,
    }
)
_MAGIC = {_FIRST: b"n+1", _SECOND: b"n+2\0\r\n\x1a\n"}
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
_UNITS = {1: ("m", 1e9), 2: ("mm", 1e6), 3: ("µm", 1e3)}
_SPATIAL = 7  # bits of the code of units that are about lengths
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Nifti:
    """NIfTI-1 and NIfTI-2 files with header and values in one; x runs fastest.

    Compressed ones are decompressed from their beginning for every block. How a scanner lies in a
    room, which the header tells too, does not count.

    References
    ----------
    R. W. Cox et al., "A (sort of) new image data format standard: NIfTI-1", 10th Annual Meeting of
    the Organization for Human Brain Mapping (2004); https://nifti.nimh.nih.gov
    """

    revision = 2

    def inspect(self, path: Path) -> Layout:
        """Read the header; sizes of voxels count where it tells their unit."""
        fields = _read_fields(path)
        layout = _values(path, fields).layout(_sizes(fields))
        return replace(layout, dtype=np.dtype(np.float32)) if _scale(fields) else layout

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield frames, one in memory at a time, with the scale that the header tells."""
        fields = _read_fields(path)
        for frame in _values(path, fields).frames(chosen, rows, columns):
            if scale := _scale(fields):
                slope, intercept = scale
                yield (frame * np.float64(slope) + intercept).astype(np.float32)
            else:
                yield frame


def _read_fields(path: Path) -> Any:
    """Return the header, in the order of bytes that gives it the size that it tells."""
    with path.open("rb") as file:
        values = Inflated(file) if _is_compressed(path) else file
        raw = values.read(_SECOND.itemsize)
    for kind, magic in _MAGIC.items():
        for ordered in (kind, kind.newbyteorder("S")):
            if len(raw) >= kind.itemsize:
                fields = np.frombuffer(raw, ordered, 1)[0]
                if fields["sizeof_hdr"] == kind.itemsize and fields["magic"] == magic:
                    return fields
    if raw[344:348] == b"ni1\0":
        msg = "its values lie in another file (.img); save both as one, .nii"
        raise ValueError(msg)
    msg = "it is no NIfTI file: neither header of version 1 nor of version 2"
    raise ValueError(msg)


def _is_compressed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_GZIP)) == _GZIP


def _values(path: Path, fields: Any) -> RawValues:
    """Return where the values lie; axes after z must have length one."""
    count = int(fields["dim"][0])
    sizes = [int(n) for n in fields["dim"][1 : count + 1]]
    if not 2 <= count <= 7 or min(sizes) < 1:
        msg = f"its header is damaged: it tells {count} axes of lengths {sizes}"
        raise ValueError(msg)
    if max(sizes[3:], default=1) > 1:
        shown = ", ".join(map(str, sizes))
        msg = f"its axes have the lengths {shown}; a stack has x, y and z: save one of its times"
        raise ValueError(msg)
    code, start = int(fields["datatype"]), float(fields["vox_offset"])
    if code not in _TYPES or not start >= fields.dtype.itemsize:
        msg = f"its values are of the type {code} at byte {start:g}; readable are "
        msg += f"{', '.join(f'{key} ({name})' for key, name in _TYPES.items())}, after the header"
        raise ValueError(msg)
    order = fields.dtype["sizeof_hdr"].byteorder
    dtype = np.dtype(_TYPES[code]).newbyteorder(order)
    shape = tuple(reversed(sizes[:3]))
    return RawValues(path, shape, dtype, int(start), 0 if _is_compressed(path) else None)


def _scale(fields: Any) -> tuple[float, float] | None:
    """Return by what stored values are multiplied, and what is added; None if by nothing."""
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or not np.isfinite(slope) or (slope, intercept) == (1, 0):
        return None
    return slope, intercept if np.isfinite(intercept) else 0.0


def _sizes(fields: Any) -> Header:
    """Take the sizes of voxels if their unit is told."""
    unit = _UNITS.get(int(fields["xyzt_units"]) & _SPATIAL)
    names = ("pixel_size_nm", "slice_thickness_nm")
    if unit is None:
        text = "NIfTI pixdim is not taken, for no unit is told"
        return Header(conflicts=tuple(Conflict(name, text) for name in names))
    # as the shortest decimals of which they are the nearest numbers of their type
    x, y, z = (positive(_shortest(size), unit[1]) for size in fields["pixdim"][1:4])
    origin = f"NIfTI pixdim in {unit[0]}"
    thickness = (z, origin) if int(fields["dim"][0]) > 2 else None
    return make_header({names[0]: (pair(y, x), origin), names[1]: thickness})


def _shortest(size: Any) -> float:
    return abs(float(str(size)))
