"""Decoder of datasets in N5, folders of blocks, as BigDataViewer and Paintera write them."""

import bz2
import json
import lzma
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import Blosc, Zstd

from ...blocks import Place, RemotePath, object_states
from .formats import Layout, narrowed, volume_layout
from .hdf5 import layers
from .headers import Conflict, Header, make_header, nanometres, pair, positive, unknown_unit
from .raw import Inflated

N5_ATTRIBUTES = "attributes.json"
"""Of a folder of N5."""
_LARGEST_DICTIONARY = 2**27  # bytes, of xz
_LONGEST_ATTRIBUTES = 2**20  # bytes
_DEEPEST = 4  # groups below the one that is given, in which datasets are looked for
_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_NAMES = ("pixel_size_nm", "slice_thickness_nm")


@dataclass(frozen=True)
class N5:
    """A dataset of N5, named by the file of attributes of the folder that was given.

    On a server it is one that lists what it holds.

    Attributes
    ----------
    dataset
        Its path below that folder; None for the folder itself, its finest level (`s0`), or the
        only dataset below it.

    References
    ----------
    S. Saalfeld et al., "N5: a simple yet powerful API for chunked multi-dimensional data",
    https://github.com/saalfeldlab/n5
    """

    dataset: str | None = None

    revision = 2

    def inspect(self, path: Path) -> Layout:
        """Read the attributes; no block is read, but their files are listed."""
        data = _Dataset(_find(path.parent, self.dataset), path.parent)
        header, names = data.header(), data.written()
        if len(names) < (expected := prod(data.grid)):
            text = f"it has parts without data, which read as 0: {len(names)} of {expected} "
            conflict = Conflict("intensity", text + "blocks were written")
            header = replace(header, conflicts=(*header.conflicts, conflict))
        held = 2 * prod(data.block) * data.dtype.itemsize  # decoded beside its encoded bytes
        layout = volume_layout(data.shape, data.dtype, held, header)
        return replace(layout, chunk=data.block, beside=(data.attributes, *data.files(names)))

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield frames; each layer of blocks is decoded once."""
        data = _Dataset(_find(path.parent, self.dataset), path.parent)
        for layer in layers(chosen, data.block[0]):
            yield from map(narrowed, data.read(layer, rows, columns))


class _Dataset:
    """Blocks (z, y, x); N5 counts their axes as x, y, z."""

    def __init__(self, folder: Place, root: Place) -> None:
        self._folder, self._root = folder, root
        self.attributes: Any = folder / N5_ATTRIBUTES
        self._attrs = _attributes(folder)
        sizes, blocks = (_lengths(self._attrs, key) for key in ("dimensions", "blockSize"))
        if len(blocks) != len(sizes) or len(sizes) < 3 or max(sizes[3:], default=1) > 1:
            msg = f"its axes have the lengths {sizes}, in blocks of {blocks}; a stack has x, y, z"
            raise ValueError(msg)
        self._trailing = len(sizes) - 3
        self.shape = (sizes[2], sizes[1], sizes[0])
        self.block = (blocks[2], blocks[1], blocks[0])
        if (kind := self._attrs.get("dataType")) not in _TYPES:
            msg = f"its values are of the type {kind}; readable are {', '.join(_TYPES)}"
            raise ValueError(msg)
        self.dtype = np.dtype(kind)
        self.grid = tuple(-(-n // b) for n, b in zip(self.shape, self.block, strict=True))
        _decompressor(self._attrs)

    def written(self) -> list[str]:
        """Return the names of the blocks that were written, below the folder."""
        if isinstance(self._folder, RemotePath):
            names = sorted(object_states(self._folder, None))
        else:
            files = (file for file in sorted(self._folder.rglob("*")) if file.is_file())
            names = [file.relative_to(self._folder).as_posix() for file in files]
        return list(filter(self._is_block, names))

    def files(self, names: Iterable[str]) -> tuple[Any, ...]:
        """Return where blocks of these names lie; on a server, all of them at one place."""
        if isinstance(self._folder, RemotePath):
            return (self._folder,)
        return tuple(self._folder / name for name in names)

    def _is_block(self, name: str) -> bool:
        parts = name.split("/")
        most = (*reversed(self.grid), *(1,) * self._trailing)
        return len(parts) == len(most) and all(
            part.isdecimal() and int(part) < n for part, n in zip(parts, most, strict=True)
        )

    def read(self, *region: slice) -> np.ndarray:
        values = np.zeros([part.stop - part.start for part in region], self.dtype)
        first = [part.start // n for part, n in zip(region, self.block, strict=True)]
        last = [-(-part.stop // n) for part, n in zip(region, self.block, strict=True)]
        for place in product(*map(range, first, last)):
            block = self._read_block(place)
            if block is not None:
                _paste(
                    values, region, block, [k * n for k, n in zip(place, self.block, strict=True)]
                )
        return values

    def _read_block(self, place: tuple[int, ...]) -> np.ndarray | None:
        """Decode a block into the room that the attributes tell; None if it was not written."""
        names = [str(k) for k in (*reversed(place), *(0,) * self._trailing)]
        raw = self._bytes(names)
        if raw is None:
            return None
        mode, count = struct.unpack_from(">2H", raw)
        sizes = struct.unpack_from(f">{count}I", raw, 4)
        if mode != 0 or count != len(names):
            msg = f"block {'/'.join(names)} is of mode {mode} with {count} axes; expected mode 0"
            raise ValueError(msg)
        whole = (*reversed(self.block), *(1,) * self._trailing)
        if any(n > most for n, most in zip(sizes, whole, strict=False)):
            msg = f"block {'/'.join(names)} tells the lengths {sizes}, above {whole}"
            raise ValueError(msg)
        needed = prod(sizes) * self.dtype.itemsize
        content = _decompressor(self._attrs)(raw[4 + 4 * count :], needed)
        if len(content) < needed:
            msg = f"block {'/'.join(names)} is cut off: {needed} bytes are expected, "
            msg += f"{len(content)} are there"
            raise ValueError(msg)
        stored = np.frombuffer(content, self.dtype.newbyteorder(">"), prod(sizes))
        return stored.reshape(sizes[2::-1]).astype(self.dtype)

    def _bytes(self, names: list[str]) -> bytes | None:
        """Return what the file of a block holds; None if it was not written."""
        file: Any = self._folder.joinpath(*names)
        if not file.resolve().is_relative_to(self._root.resolve()):
            msg = f"block {'/'.join(names)} lies outside its folder"
            raise ValueError(msg)
        try:
            content: bytes = file.read_bytes()
        except FileNotFoundError:
            return None
        return content

    def header(self) -> Header:
        """Return the sizes of voxels whose unit is told, here or by the group of its levels."""
        for folder in (self._folder, self._folder.parent):
            told = self._attrs if folder == self._folder else _attributes(folder, absent={})
            finest = folder == self._folder or self._folder.name == "s0"
            if finest and (found := _resolution(told)):
                return _header(*found)
        return Header()


def _paste(
    values: np.ndarray, region: tuple[slice, ...], block: np.ndarray, start: list[int]
) -> None:
    """Copy what a block that begins at `start` has of a region."""
    into, of = [], []
    for part, begin, length in zip(region, start, block.shape, strict=True):
        low, high = max(part.start, begin), max(min(part.stop, begin + length), part.start, begin)
        into.append(slice(low - part.start, high - part.start))
        of.append(slice(low - begin, high - begin))
    values[tuple(into)] = block[tuple(of)]


def _find(folder: Any, dataset: str | None) -> Any:
    """Return the folder of the dataset that is meant."""
    if dataset is not None:
        wanted = folder / dataset.strip("/")
        if wanted.resolve().is_relative_to(folder.resolve()) and _is_dataset(wanted):
            return wanted
    elif _is_dataset(folder):
        return folder
    elif _is_dataset(folder / "s0"):
        return folder / "s0"
    found = [str(one)[len(str(folder)) + 1 :] for one in _datasets(folder, _DEEPEST)]
    finest = [name for name in found if name.endswith("/s0") or not _is_level(name)]
    if dataset is None and len(finest) == 1:
        return folder / finest[0]
    shown = ", ".join(found) or "none"
    if dataset is not None:
        msg = f"it has no dataset {dataset!r}; it holds {shown}"
    else:
        msg = f"it holds several datasets, or none; choose one with dataset: {shown}"
    raise ValueError(msg)


def _is_level(name: str) -> bool:
    level = name.rpartition("/")[2]
    return level[:1] == "s" and level[1:].isdecimal()


def _is_dataset(folder: Place) -> bool:
    return "dimensions" in _attributes(folder, absent={})


def _datasets(folder: Place, depth: int) -> Iterator[Place]:
    for child in _folders(folder):
        if _is_dataset(child):
            yield child
        elif depth > 1:
            yield from _datasets(child, depth - 1)


def _folders(folder: Place) -> list[Place]:
    """Return the groups and datasets of a group."""
    if isinstance(folder, RemotePath):
        return [file.parent for file in folder.glob(f"*/{N5_ATTRIBUTES}")]
    return [one for one in sorted(folder.iterdir()) if one.is_dir() and not one.is_symlink()]


def _attributes(folder: Place, *, absent: dict[str, Any] | None = None) -> dict[str, Any]:
    file = folder / N5_ATTRIBUTES
    if absent is not None and not file.is_file():
        return absent
    with file.open("rb") as stream:
        raw = stream.read(_LONGEST_ATTRIBUTES)
    found = json.loads(raw)
    if not isinstance(found, dict):
        msg = f"{file} holds no attributes"
        raise ValueError(msg)
    return found


def _lengths(attrs: Mapping[str, Any], key: str) -> list[int]:
    told = attrs.get(key, [])
    if not (isinstance(told, list) and all(isinstance(n, int) and n > 0 for n in told)):
        msg = f"its header is damaged: {key} is {told}"
        raise ValueError(msg)
    return told


def _decompressor(attrs: Mapping[str, Any]) -> Any:
    """Return what decodes the bytes of a block into at most so many."""
    told = attrs.get("compression", attrs.get("compressionType", "raw"))
    kind = told.get("type") if isinstance(told, dict) else told
    known = {"raw": _plain, "gzip": _inflated, "bzip2": _bunzipped, "xz": _unxzed}
    known |= {"blosc": _filled(Blosc()), "zstd": _filled(Zstd())}
    if kind not in known:
        msg = f"its compression is {kind}; readable are {', '.join(known)}"
        raise ValueError(msg)
    return known[kind]


def _plain(raw: bytes, most: int) -> bytes:
    return raw[:most]


def _inflated(raw: bytes, most: int) -> bytes:
    return Inflated(BytesIO(raw)).read(most)


def _bunzipped(raw: bytes, most: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(raw, most)


def _unxzed(raw: bytes, most: int) -> bytes:
    return lzma.LZMADecompressor(memlimit=_LARGEST_DICTIONARY).decompress(raw, most)


def _filled(codec: Any) -> Any:
    """Return a decoder by one that refuses more bytes than it is given room for."""

    def decode(raw: bytes, most: int) -> bytes:
        room = bytearray(most)
        codec.decode(raw, out=room)
        return bytes(room)

    return decode


def _resolution(told: Mapping[str, Any]) -> tuple[str, list[Any], list[Any]] | None:
    """Return the attribute that tells sizes of voxels, these, and their units, as x, y, z."""
    if isinstance(part := told.get("transform"), dict) and set("xyz") <= set(part.get("axes", ())):
        places = [part["axes"].index(axis) for axis in "xyz"]
        sizes, units = ([part[key][k] for k in places] for key in ("scale", "units"))
        return "transform", sizes, units
    if isinstance(part := told.get("pixelResolution"), dict):
        return "pixelResolution", part.get("dimensions", []), [part.get("unit")] * 3
    if "resolution" in told:
        units = told.get("units", [None] * 3)
        return "resolution", told["resolution"], [units] * 3 if isinstance(units, str) else units
    return None


def _header(name: str, sizes: list[Any], units: list[Any]) -> Header:
    origin = f"N5 attribute {name}"
    if len(sizes) < 3 or len(units) < 3 or None in units[:3]:
        text = f"{origin} is not taken: no unit is told for x, y and z"
        return Header(conflicts=tuple(Conflict(key, text) for key in _NAMES))
    factors = [nanometres(str(unit)) for unit in units[:3]]
    if None in factors:
        strange = str(units[factors.index(None)])
        return Header(conflicts=tuple(unknown_unit(key, strange, origin) for key in _NAMES))
    x, y, z = (positive(size, factor or 0) for size, factor in zip(sizes, factors, strict=False))
    where = f"{origin} in {' '.join(dict.fromkeys(map(str, units[:3])))}"
    return make_header({_NAMES[0]: (pair(y, x), where), _NAMES[1]: (z, where)})
