"""Decoder of Amira and Avizo files (`.am`): uniform lattices, raw, or by runs or zlib."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .._kernels import fill_runs
from .formats import Layout, check_held, volume_layout
from .headers import Conflict, Header, make_header, nanometres, pair, positive, unknown_unit
from .raw import RawValues, plain_frames, skip

_LONGEST_HEADER = 2**22  # bytes
_PIECE = 2**18  # bytes read at a time
_MOST_IN_A_RUN = 64  # values a byte: a run of 127 takes two
_TYPES = {"byte": "u1", "short": "i2", "ushort": "u2", "int": "i4", "float": "f4", "double": "f8"}
_NAMES = ("pixel_size_nm", "slice_thickness_nm")
_FIRST_LINE = re.compile(r"# (?:AmiraMesh|Avizo)(?: 3D)? (BINARY-LITTLE-ENDIAN|BINARY|ASCII)\b")
_LATTICE = re.compile(r"^\s*define\s+Lattice\s+([\d ]+?)\s*$", re.MULTILINE)
_FIELD = re.compile(
    r"^\s*Lattice\s*\{\s*(\w+)(\[\d+\])?\s+(\w+)\s*\}\s*=?\s*@(\d+)(?:\((\w+)\s*,\s*(\d+)\))?",
    re.MULTILINE,
)
_NUMBER = r"([-+\d.eE]+)"
_BEFORE = r"(?:^|[{},])\s*"  # not amid the words of commands, which files keep
_BOX = re.compile(_BEFORE + "BoundingBox" + 6 * rf"\s+{_NUMBER}", re.MULTILINE)
_UNIT = re.compile(r'\bUnits\s*\{[^}]*?\bCoordinates\s+"([^"]*)"')
_MATRIX = re.compile(_BEFORE + r"TransformationMatrix\s+([^\n,}]*)", re.MULTILINE)
_SKEWED = 1e-3  # share of a step by which an axis may lie along another one
_COORDINATES = re.compile(r'\bCoordType\s+"([^"]*)"')


@dataclass(frozen=True)
class Amira:
    """A uniform lattice of scalars; x runs fastest.

    Compressed ones are decompressed from their beginning for every block.

    References
    ----------
    Thermo Fisher Scientific, "Amira-Avizo Software User's Guide", AmiraMesh file format.
    """

    revision = 3

    def inspect(self, path: Path) -> Layout:
        """Read the header; the sizes of voxels are those of the bounding box of their centres."""
        field = _read_field(path)
        header = field.sizes()
        if isinstance(field.values, RawValues):
            return field.values.layout(header)
        check_held(int(np.prod(field.shape)), path.stat().st_size, _MOST_IN_A_RUN)
        return volume_layout(field.shape, np.uint8, 2 * field.shape[1] * field.shape[2], header)

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield frames, one in memory at a time."""
        field = _read_field(path)
        if isinstance(field.values, RawValues):
            yield from field.values.frames(chosen, rows, columns)
            return
        plane = field.shape[1:]
        with path.open("rb") as file:
            file.seek(field.values.start)
            values = _Runs(file, field.values.length)
            skip(values, chosen.start * plane[0] * plane[1])
            yield from plain_frames(values, chosen, plane, np.dtype(np.uint8), (rows, columns))


@dataclass(frozen=True)
class _RunsAt:
    """Where the runs of a field lie."""

    start: int
    length: int


@dataclass(frozen=True)
class _Field:
    """What the header tells of the one field of scalars."""

    text: str
    shape: tuple[int, ...]
    values: RawValues | _RunsAt

    def sizes(self) -> Header:
        """Take the sizes of voxels if their unit is told."""
        scales = _scales(self.text)
        box = _BOX.search(self.text)
        if box is None:
            return Header()
        low, high = np.reshape([float(number) for number in box.groups()], (3, 2)).T
        steps = [
            (end - start) / (n - 1) * scale if n > 1 else None
            for start, end, n, scale in zip(low, high, reversed(self.shape), scales, strict=True)
        ]
        unit = _UNIT.search(self.text)
        if unit is None or not unit[1]:
            text = "Amira BoundingBox is not taken, for no unit (Units { Coordinates }) is told"
            return Header(conflicts=tuple(Conflict(name, text) for name in _NAMES))
        scaled = "" if np.all(scales == 1) else " and TransformationMatrix"
        origin = f"Amira BoundingBox{scaled} in {unit[1]}"
        factor = nanometres(unit[1])
        if factor is None:
            return Header(conflicts=tuple(unknown_unit(name, unit[1], origin) for name in _NAMES))
        x, y, z = (positive(step, factor) for step in steps)
        return make_header({_NAMES[0]: (pair(y, x), origin), _NAMES[1]: (z, origin)})


def _scales(text: str) -> np.ndarray:
    """Return by what the transformation scales x, y and z; it may move the lattice, too.

    Raises
    ------
    ValueError
        If it does anything else: turned and skewed lattices are no stacks.
    """
    found = _MATRIX.search(text)
    if found is None:
        return np.ones(3)
    matrix = np.array([float(number) for number in found[1].split()])
    if len(matrix) == 16:
        columns = matrix.reshape(4, 4)
        scales = np.diag(columns)[:3]
        others = np.abs(columns[:3] - np.eye(4)[:3] * columns[:3])
        if (others < _SKEWED * scales[:, np.newaxis]).all() and columns[3, 3] == 1:
            return scales
    msg = (
        f"its TransformationMatrix is {found[1].strip()}: only such as scale and move are read; "
        "resample it, or save it without"
    )
    raise ValueError(msg)


def _read_field(path: Path) -> _Field:
    """Read the header and find the values of its only field.

    Raises
    ------
    ValueError
        If it is no uniform lattice of scalars, or several.
    """
    with path.open("rb") as file:
        raw = file.read(_LONGEST_HEADER)
    text = _decoded(re.split(rb"\n@\d+\r?\n", raw, maxsplit=1)[0])
    first, lattice = _FIRST_LINE.match(text), _LATTICE.search(text)
    if first is None or lattice is None:
        msg = "it is no Amira mesh of a lattice: it does not begin with # AmiraMesh or # Avizo"
        raise ValueError(msg)
    if first[1] == "ASCII":
        msg = "its values are written as text (ASCII); save it as binary"
        raise ValueError(msg)
    shape = tuple(int(n) for n in reversed(lattice[1].split()))
    kind = _COORDINATES.search(text)
    if len(shape) != 3 or min(shape) < 1 or (kind is not None and kind[1] != "uniform"):
        shown = kind[1] if kind else "uniform"
        msg = f"its lattice is {lattice[1]} with {shown} coordinates; a stack has x, y, z, uniform"
        raise ValueError(msg)
    fields = list(_FIELD.finditer(text))
    if len(fields) != 1 or fields[0][2] or fields[0][1] not in _TYPES:
        found = ", ".join(f"{one[1]}{one[2] or ''} {one[3]}" for one in fields) or "none"
        msg = f"its fields are {found}; readable is one of {', '.join(_TYPES)}"
        raise ValueError(msg)
    mark = re.search(rb"\n@" + fields[0][4].encode() + rb"\r?\n", raw)
    if mark is None:
        msg = f"its header has no end: @{fields[0][4]} does not follow"
        raise ValueError(msg)
    dtype = np.dtype(_TYPES[fields[0][1]]).newbyteorder("<" if "LITTLE" in first[1] else ">")
    return _Field(text, shape, _values(path, shape, dtype, mark.end(), fields[0]))


def _values(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], start: int, field: re.Match[str]
) -> RawValues | _RunsAt:
    """Return where the values of a field lie, and how."""
    method = field[5]
    if method is None:
        return RawValues(path, shape, dtype, start)
    if method == "HxZip":
        return RawValues(path, shape, dtype, 0, start)
    if method == "HxByteRLE" and dtype.itemsize == 1:
        return _RunsAt(start, int(field[6]))
    msg = f"its values are compressed by {method}; readable are HxZip and, of bytes, HxByteRLE"
    raise ValueError(msg)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class _Runs:
    """Bytes that runs stand for: a count and a value, or above 128, a count of values as such."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file, self._left = file, length
        self._waiting = np.empty(0, np.uint8)
        self._run = np.zeros(2, np.int64)  # values left of the run, and which; -1: as such

    def read(self, count: int, /) -> bytes:
        """Return the next bytes; fewer at the end."""
        values, filled = np.empty(count, np.uint8), 0
        while filled < count:
            used, made = fill_runs(self._waiting, values[filled:], self._run)
            self._waiting, filled = self._waiting[used:], filled + made
            if filled < count:
                more = self._file.read(min(_PIECE, self._left))
                if not more:
                    break
                self._left -= len(more)
                self._waiting = np.concatenate([self._waiting, np.frombuffer(more, np.uint8)])
        return values[:filled].tobytes()
