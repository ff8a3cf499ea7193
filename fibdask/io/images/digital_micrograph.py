"""Decoder of Digital Micrograph files, versions 3 and 4: a tree of tags, one of which is pixels."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .formats import Layout
from .headers import Header, complete, make_header, nanometres, pair, positive, unknown_unit
from .raw import RawValues

_GROUP, _DATA = 20, 21
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_SIMPLE = {2: "i2", 3: "i4", 4: "u2", 5: "u4", 6: "f4", 7: "f8", 8: "u1", 9: "i1", 10: "i1"}
_SIMPLE |= {11: "i8", 12: "u8"}
_TYPES = {1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8", 14: "u1"}
_COLOURS = 23  # the type of thumbnails
_LEAST = {_STRING: 2, _ARRAY: 3}  # numbers that describe a tag of a type
_DEEPEST, _MOST_TAGS = 32, 10**5
_SHORT = 4096  # elements of an array that is read
_NAMES = {"pixel_size_nm": ("x", "y"), "slice_thickness_nm": ("z",)}


@dataclass(frozen=True)
class DigitalMicrograph:
    """The image of a `.dm3` or `.dm4` file, a slice or a stack, beside its thumbnail.

    References
    ----------
    C. Boothroyd, "The Gatan Digital Micrograph 3 and 4 file formats";
    https://personal.ntu.edu.sg/cbb/info/dmformat
    """

    revision = 2

    def inspect(self, path: Path) -> Layout:
        """Read the tags; the pixels are passed over."""
        image = _image(path)
        return _values(path, image).layout(_header(image))

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield frames, one in memory at a time."""
        yield from _values(path, _image(path)).frames(chosen, rows, columns)


@dataclass(frozen=True)
class _Place:
    """Where an array lies that is not read."""

    start: int
    count: int
    dtype: np.dtype[Any]


def _image(path: Path) -> Mapping[str, Any]:
    """Return the tags of the only image that is no thumbnail."""
    with path.open("rb") as file:
        tags = _Tags(file, path.stat().st_size).read()
    images = [image for image in _part(tags, "ImageList").values() if _part(image, "ImageData")]
    found = [image for image in images if image["ImageData"].get("DataType") != _COLOURS]
    if len(found) != 1:
        msg = f"it holds {len(found)} images beside its thumbnail; save one of them"
        raise ValueError(msg)
    return dict(found[0])


def _values(path: Path, image: Mapping[str, Any]) -> RawValues:
    """Return where the pixels lie."""
    told = image["ImageData"]
    sizes = [n if isinstance(n, int) else 0 for n in _part(told, "Dimensions").values()]
    kind, data = told.get("DataType"), told.get("Data")
    if not 2 <= len(sizes) <= 3 or not isinstance(kind, int) or kind not in _TYPES:
        msg = (
            f"its image has the lengths {sizes} and the type {kind}; a stack has x, y and z, and a "
            f"type of {', '.join(map(str, _TYPES))}"
        )
        raise ValueError(msg)
    if not isinstance(data, _Place) or data.count != prod(sizes):
        shown = data.count if isinstance(data, _Place) else "no"
        msg = f"its header is damaged: it tells {shown} pixels of an image of {sizes}"
        raise ValueError(msg)
    dtype = np.dtype(_TYPES[kind]).newbyteorder(">" if data.dtype.byteorder == ">" else "<")
    return RawValues(path, tuple(reversed(sizes)), dtype, data.start)


def _header(image: Mapping[str, Any]) -> Header:
    """Take the voltage, and the sizes of voxels whose unit is told."""
    microscope = _part(image, "ImageTags", "Microscope Info")
    voltage = positive(microscope.get("Voltage"), 1e-3)
    told = _part(image, "ImageData", "Calibrations", "Dimension").values()
    sizes, conflicts = dict.fromkeys("xyz"), []
    for axis, calibration in zip("xyz", told, strict=False):
        unit = _text(_part(calibration).get("Units"))
        factor = nanometres(unit)
        sizes[axis] = positive(_part(calibration).get("Scale"), factor or 0.0)
        if factor is None and unit:
            name = next(name for name, axes in _NAMES.items() if axis in axes)
            conflicts.append(unknown_unit(name, unit, f"Digital Micrograph scale of {axis}"))
    origin = "Digital Micrograph scale"
    lengths = {
        "pixel_size_nm": (pair(sizes["y"], sizes["x"]), f"{origin} of y, x"),
        "slice_thickness_nm": (sizes["z"], f"{origin} of z"),
    }
    first = make_header({"voltage_kv": (voltage, "Digital Micrograph Voltage")})
    return complete(first, make_header(lengths, list(dict.fromkeys(conflicts))))


def _part(tags: Any, *names: str) -> dict[str, Any]:
    """Return a group in groups; an empty one where there is none."""
    for name in names:
        tags = tags.get(name) if isinstance(tags, dict) else None
    return tags if isinstance(tags, dict) else {}


def _text(value: Any) -> str:
    """Return a text, which is stored as an array of UTF-16."""
    if isinstance(value, np.ndarray) and value.dtype.itemsize == 2:
        return value.astype("<u2").tobytes().decode("utf-16-le", "replace")
    return value if isinstance(value, str) else ""


class _Tags:
    """Reads the tree of tags; numbers of the tree are big-endian, those of data as is told."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size, self._count = file, size, 0
        version = self._number(">I")
        if version not in (3, 4):
            msg = f"it is no Digital Micrograph file of version 3 or 4; it tells version {version}"
            raise ValueError(msg)
        self._long = ">I" if version == 3 else ">Q"
        self._number(self._long)  # length of the file
        self._order = "<" if self._number(">I") == 1 else ">"

    def read(self) -> dict[str, Any]:
        """Return groups as dictionaries; what has no name is numbered."""
        return self._group(0)

    def _group(self, depth: int) -> dict[str, Any]:
        self._file.read(2)  # whether it is sorted, and open
        count, found = self._number(self._long), {}
        self._count += count
        if depth > _DEEPEST or self._count > _MOST_TAGS:
            msg = f"its header is damaged: {self._count} tags, {depth} groups in one another"
            raise ValueError(msg)
        for number in range(count):
            kind, length = struct.unpack(">BH", self._bytes(3))
            name = self._bytes(length).decode("latin-1") or str(number)
            if self._long == ">Q":
                self._number(">Q")  # bytes of the tag
            if kind == _GROUP:
                found[name] = self._group(depth + 1)
            elif kind == _DATA:
                found[name] = self._data(skipped=name == "Data")
            else:
                msg = f"its header is damaged: tag {name!r} is of the kind {kind}"
                raise ValueError(msg)
        return found

    def _data(self, *, skipped: bool) -> Any:
        if (mark := self._bytes(4)) != b"%%%%":
            msg = f"its header is damaged: a tag begins with {mark!r}"
            raise ValueError(msg)
        count = self._number(self._long)
        if not 0 < count <= _SHORT:
            msg = f"its header is damaged: a tag is described by {count} numbers"
            raise ValueError(msg)
        width = struct.calcsize(self._long)
        told = struct.unpack(f">{count}{self._long[1]}", self._bytes(width * count))
        return self._value(told, skipped=skipped)

    def _value(self, told: tuple[int, ...], *, skipped: bool) -> Any:
        """Read what numbers describe: one number, several, a text, or an array of them."""
        if len(told) < _LEAST.get(told[0], 1):
            msg = f"its header is damaged: a tag is described by {told}"
            raise ValueError(msg)
        kind = told[0]
        if kind in _SIMPLE:
            return self._numbers(_SIMPLE[kind], 1)[0].item()
        if kind == _STRUCT:
            types = told[4::2]
            return [self._numbers(self._simple(one), 1)[0].item() for one in types]
        if kind == _STRING:
            return self._bytes(self._held(told[1], 2)).decode("utf-16-le", "replace")
        if kind == _ARRAY and told[1] == _STRUCT:
            dtypes = [self._dtype(self._simple(one)) for one in told[5:-1:2]]
            step = sum(dtype.itemsize for dtype in dtypes)
            self._file.seek(self._held(told[-1], step), 1)
            return None
        if kind == _ARRAY:
            return self._array(self._simple(told[1]), told[2], skipped=skipped)
        msg = f"its header is damaged: a tag is of the type {kind}"
        raise ValueError(msg)

    def _array(self, name: str, count: int, *, skipped: bool) -> Any:
        """Read an array, or note where it lies: one of pixels, or too long for anything else."""
        dtype = self._dtype(name)
        size = self._held(count, dtype.itemsize)
        if count <= _SHORT and not skipped:
            return self._numbers(name, count)
        place = _Place(self._file.tell(), count, dtype)
        self._file.seek(size, 1)
        return place

    def _simple(self, kind: int) -> str:
        if kind not in _SIMPLE:
            msg = f"its header is damaged: a number is of the type {kind}"
            raise ValueError(msg)
        return _SIMPLE[kind]

    def _dtype(self, name: str) -> np.dtype[Any]:
        return np.dtype(self._order + name)

    def _held(self, count: int, step: int) -> int:
        """Return so many bytes, which the rest of the file must have."""
        if count * step > (left := self._size - self._file.tell()):
            msg = f"it is cut off: {count * step} bytes are expected, {left} are there"
            raise ValueError(msg)
        return count * step

    def _numbers(self, name: str, count: int) -> np.ndarray:
        dtype = self._dtype(name)
        return np.frombuffer(self._bytes(count * dtype.itemsize), dtype)

    def _number(self, form: str) -> int:
        (number,) = struct.unpack(form, self._bytes(struct.calcsize(form)))
        return int(number)

    def _bytes(self, count: int) -> bytes:
        found = self._file.read(self._held(count, 1))
        if len(found) < count:
            msg = f"it is cut off: {count} bytes are expected, {len(found)} are there"
            raise ValueError(msg)
        return found
