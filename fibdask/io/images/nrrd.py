"""Decoder of NRRD files, raw or compressed by gzip, and of raw files with a header beside."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from math import prod
from os.path import normpath
from pathlib import Path
from typing import Any

import numpy as np

from ...blocks import RemotePath
from .formats import Layout
from .headers import Conflict, Header, make_header, nanometres, pair, positive, unknown_unit
from .raw import RawValues

_LONGEST_HEADER = 2**20  # bytes
_SKEWED = 1e-3  # cosine of the angle between two axes
_TYPES = {
    "int8": ("int8", "int8_t", "signed char"),
    "uint8": ("uint8", "uint8_t", "uchar", "unsigned char"),
    "int16": ("int16", "int16_t", "short", "short int", "signed short", "signed short int"),
    "uint16": ("uint16", "uint16_t", "ushort", "unsigned short", "unsigned short int"),
    "float32": ("float",),
    "float64": ("double",),
}
_ALIASES = {
    "centerings": "centers",
    "datafile": "data file",
    "byteskip": "byte skip",
    "lineskip": "line skip",
}
_SPATIAL_KINDS = ("domain", "space", "???", "none")
_SIZES = ("slice_thickness_nm", "pixel_size_nm")


@dataclass(frozen=True)
class Nrrd:
    """NRRD files, or headers of files of values beside them; x runs fastest.

    Compressed ones are decompressed from their beginning for every block.

    References
    ----------
    G. Kindlmann, "Definition of NRRD file format", https://teem.sourceforge.net/nrrd/format.html
    """

    revision = 3

    def inspect(self, path: Path) -> Layout:
        """Read the header; sizes of voxels count where it tells their unit."""
        fields, values = _find_values(path)
        header = _lengths(fields)
        layout = values.layout(header)
        surplus = None if _is_compressed(fields) else values.surplus()
        if surplus:
            header = replace(header, conflicts=(*header.conflicts, surplus))
        beside = (values.path,) if values.path != path else ()
        return replace(layout, headers=(header,), beside=beside)

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield frames, one in memory at a time."""
        yield from _find_values(path)[1].frames(chosen, rows, columns)


def _find_values(path: Path) -> tuple[Mapping[str, str], RawValues]:
    """Return the fields of the header, and where the values lie."""
    fields, start = _read_header(path)
    shape, dtype = _shape(fields), _dtype(fields)
    file = path
    if "data file" in fields:
        file, start = _file_beside(path, fields["data file"]), 0
    skipped = int(fields.get("byte skip", "0"))
    if _is_compressed(fields):
        return fields, RawValues(file, shape, dtype, max(skipped, 0), start)
    if skipped == -1:
        start = max(file.stat().st_size - prod(shape) * dtype.itemsize, 0)
    return fields, RawValues(file, shape, dtype, start + max(skipped, 0))


def _file_beside(path: Path, name: str) -> Path:
    """Return the file of values that a header names, in its folder or below."""
    if name.startswith("LIST") or "%" in name:
        msg = f"its values lie in several files, {name}; save them as one"
        raise ValueError(msg)
    if isinstance(path, RemotePath):
        msg = f"its values lie in {name} beside it, which is not read from servers"
        raise ValueError(msg)
    folder = path.absolute().parent
    file = folder / name
    if not Path(normpath(file)).is_relative_to(folder):
        msg = f"its values lie in {file}, outside its folder"
        raise ValueError(msg)
    if not file.is_file():
        msg = f"its values lie in {file}, which is absent"
        raise ValueError(msg)
    return file


def _read_header(path: Path) -> tuple[Mapping[str, str], int]:
    """Return the fields of the header, and where the values begin."""
    with path.open("rb") as file:
        raw = file.read(_LONGEST_HEADER)
    if not raw.startswith(b"NRRD000"):
        msg = "it is no NRRD file: it does not begin with NRRD000"
        raise ValueError(msg)
    ends = {raw.find(end) + len(end) for end in (b"\n\n", b"\r\n\r\n") if end in raw}
    if not ends and (len(raw) == _LONGEST_HEADER or b"\ndata file:" not in raw.lower()):
        msg = "its header has no end, which is an empty line"
        raise ValueError(msg)
    start = min(ends, default=len(raw))
    lines = raw[:start].decode("utf-8", "replace").splitlines()[1:]
    told = [line.split(": ", 1) for line in lines if ": " in line and line[0] != "#"]
    fields = {
        _ALIASES.get(name.casefold(), name.casefold()): value.strip()
        for name, value in told
        if ":=" not in name  # words of the program that wrote it
    }
    _check_fields(fields)
    return fields, start


def _check_fields(fields: Mapping[str, str]) -> None:
    """Refuse values that are placed in other ways, and axes that are not x, y and z."""
    lacking = [name for name in ("type", "dimension", "sizes", "encoding") if name not in fields]
    if lacking:
        msg = f"its header lacks {' and '.join(lacking)}"
        raise ValueError(msg)
    if fields.get("line skip", "0") != "0":
        msg = f"its line skip is {fields['line skip']}; save it without"
        raise ValueError(msg)
    if int(fields.get("byte skip", "0")) < (0 if _is_compressed(fields) else -1):
        msg = f"its byte skip is {fields['byte skip']}; expected a number of bytes"
        raise ValueError(msg)
    kinds = fields.get("kinds", "").split()
    if strange := [kind for kind in kinds if kind.casefold() not in _SPATIAL_KINDS]:
        msg = f"an axis of it is of the kind {strange[0]}; a stack has x, y and z"
        raise ValueError(msg)
    labels = [label.casefold() for label in _quoted(fields.get("labels", ""))]
    if set(labels) <= set("xyz") and labels != sorted(labels):
        msg = f"its axes are stored in the order {', '.join(labels)}; expected x, y, z"
        raise ValueError(msg)


def _shape(fields: Mapping[str, str]) -> tuple[int, ...]:
    """Return the lengths along z, y and x."""
    shape = tuple(int(n) for n in reversed(fields["sizes"].split()))
    if len(shape) != int(fields["dimension"]) or min(shape) < 1:
        told = f"dimension {fields['dimension']} and sizes {fields['sizes']}"
        msg = f"its header is damaged: it tells {told}"
        raise ValueError(msg)
    return shape


def _dtype(fields: Mapping[str, str]) -> np.dtype[Any]:
    name = next((name for name, words in _TYPES.items() if fields["type"] in words), None)
    if name is None:
        known = ", ".join(words[0] for words in _TYPES.values())
        msg = f"its values are of the type {fields['type']}; readable are {known}"
        raise ValueError(msg)
    dtype, endian = np.dtype(name), fields.get("endian", "").casefold()
    if dtype.itemsize > 1 and endian not in ("little", "big"):
        msg = f"its values have {dtype.itemsize} bytes, but their order (endian) is not told"
        raise ValueError(msg)
    return dtype.newbyteorder("<" if endian == "little" else ">")


def _is_compressed(fields: Mapping[str, str]) -> bool:
    encoding = fields["encoding"].casefold()
    if encoding not in ("raw", "gzip", "gz"):
        msg = f"its encoding is {encoding}; readable are raw and gzip"
        raise ValueError(msg)
    return encoding != "raw"


def _lengths(fields: Mapping[str, str]) -> Header:
    """Take the distances of voxels along each axis whose unit is told."""
    count = int(fields["dimension"])
    if "space directions" in fields:
        name, steps = "space directions", _direction_lengths(fields["space directions"])
        units = _quoted(fields.get("space units", ""))
    else:
        name, steps = "spacings", [abs(float(step)) for step in fields.get("spacings", "").split()]
        units = _quoted(fields.get("units", ""))
    if not steps:
        return Header()
    if len(steps) != count or len(units) not in (0, count):
        msg = f"its header is damaged: {count} axes have {len(steps)} steps, {len(units)} units"
        raise ValueError(msg)
    origin = f"NRRD {name}"
    if not units:
        text = f"{origin} is not taken, for no unit is told"
        return Header(conflicts=tuple(Conflict(size, text) for size in _SIZES))
    if strange := [unit for unit in units if nanometres(unit) is None]:
        return Header(conflicts=tuple(unknown_unit(size, strange[0], origin) for size in _SIZES))
    x, y, *z = [
        positive(step, nanometres(unit) or 0) for step, unit in zip(steps, units, strict=True)
    ]
    origin = f"{origin} in {' '.join(dict.fromkeys(units))}"
    thickness = (z[0], origin) if z else None
    return make_header({"pixel_size_nm": (pair(y, x), origin), "slice_thickness_nm": thickness})


def _direction_lengths(text: str) -> list[float]:
    """Return the length of a step along each axis, which must be at right angles.

    Raises
    ------
    ValueError
        If two axes are not, or one has no direction.
    """
    rows = text.replace("(", " ").replace(")", " ").split()
    steps = [np.array([float(part) for part in row.split(",")]) for row in rows if row != "none"]
    lengths = [float(np.linalg.norm(step)) for step in steps]
    for (one, first), (other, second) in combinations(zip(steps, lengths, strict=True), 2):
        if not abs(one @ other) <= _SKEWED * first * second:
            msg = f"its axes are not at right angles: {text}"
            raise ValueError(msg)
    return lengths


def _quoted(text: str) -> list[str]:
    return text.split('"')[1::2]
