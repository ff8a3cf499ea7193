"""Decoder of datasets in HDF5 files."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from os.path import normpath
from pathlib import Path
from typing import Any

import numpy as np

from ...blocks import RemotePath
from ...pieces.axes import hdf5_axes, text_of
from .channels import Channel, find_channel
from .formats import Layout, check_held, narrowed, optional, readable, volume_layout
from .headers import (
    Conflict,
    Header,
    complete,
    make_header,
    nanometres,
    no_data,
    pair,
    positive,
    unknown_unit,
)

_NO_DATA = ("_FillValue", "missing_value", "nodata", "no_data")
_PACKING = {"scale_factor": 1, "add_offset": 0}  # of netCDF, and what changes nothing
_BIG_DATA_VIEWER = re.compile(r"/t\d{5}/s\d{2}/\d+/cells$")
_MOST_ENCODED = 8 * 2**15  # pixels in a byte, by Zstandard: the densest of its filters
_SURPLUS = 64  # part of its bytes by which a chunk that does not compress may grow
_UNEVEN = 0.01  # of a step, by which values of an even scale may be off
_HDF5_SIZES = {"element_size_um": "um", "element_size_nm": "nm", "voxel_size_nm": "nm"}


@dataclass(frozen=True)
class Hdf5:
    """A dataset of an HDF5 file.

    Attributes
    ----------
    dataset
        Its name, or None for the only one with three dimensions, those of length one aside.
    channel
        Position along a declared axis of channels; None if there is only one.
    """

    dataset: str | None = None
    channel: Channel = None

    revision = 5

    def channels(self, path: Path) -> tuple[str, ...]:
        """Return a name, which is empty, for each channel."""
        with optional("h5py").File(readable(path), "r") as file:
            return _channels(self._stored(file))

    def inspect(self, path: Path) -> Layout:
        """Read shape, type and attributes of the dataset."""
        with optional("h5py").File(readable(path), "r") as file:
            data = self._find(file)
            sizes = _hdf5_sizes(data.attrs)
            doubts = _grey_conflicts(data.stored)
            sizes = replace(sizes, conflicts=(*sizes.conflicts, *doubts))
            # a chunk is decoded beside its encoded bytes
            held = 2 * prod(data.stored.chunks) if data.chunks else prod(data.shape[-2:])
            layout = volume_layout(data.shape, data.dtype, held * data.dtype.itemsize, sizes)
            check_stored(data.stored, path)
            beside = _files_beside(data.stored, path)
            headers = _with_scales(sizes, data)
            return replace(layout, headers=headers, chunk=_chunk(data.chunks), beside=beside)

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield frames; each layer of chunks is decoded once."""
        with optional("h5py").File(readable(path), "r") as file:
            data = self._find(file)
            if data.ndim == 2:
                yield data[rows, columns]
                return
            for layer in layers(chosen, data.chunks[0] if data.chunks else 1):
                yield from data[layer, rows, columns]

    def _find(self, file: Any) -> "_Volume":
        data = self._stored(file)
        return _Volume(data, find_channel(_channels(data), self.channel))

    def _stored(self, file: Any) -> Any:
        """Return the dataset that is meant."""
        found = _datasets(file)
        shapes = ", ".join(f"{name} {item.shape}" for name, item in found.items()) or "none"
        if self.dataset is not None:
            if self.dataset.strip("/") not in found:
                msg = f"it has no dataset {self.dataset!r}; it holds {shapes}"
                raise ValueError(msg)
            return found[self.dataset.strip("/")]
        volumes = [item for item in found.values() if item.ndim == 3]
        volumes = volumes or [item for item in found.values() if item.ndim > 3]
        if len(volumes) != 1:
            msg = (
                f"it holds {len(volumes)} datasets of three dimensions; "
                f"choose one of its datasets with dataset: {shapes}"
            )
            raise ValueError(msg)
        return volumes[0]


class _Volume:
    """One channel of a dataset without its axes of length one, in the order z, y, x."""

    def __init__(self, stored: Any, channel: int) -> None:
        self.stored = stored
        self._along, self._channel = _channel_axis(stored), channel
        self.places = _volume_axes(stored)
        self.shape = tuple(stored.shape[k] for k in self.places)
        self.chunks = stored.chunks and tuple(stored.chunks[k] for k in self.places)
        self.ndim, self.dtype, self.attrs = len(self.shape), _hdf5_type(stored), stored.attrs

    def __getitem__(self, region: tuple[slice, ...]) -> np.ndarray:
        whole: list[slice | int] = [0] * self.stored.ndim
        if self._along is not None:
            whole[self._along] = self._channel
        for k, part in zip(self.places, region, strict=True):
            whole[k] = part
        return narrowed(np.asarray(self.stored[tuple(whole)]).view(self.dtype))


def _hdf5_type(data: Any) -> np.dtype[Any]:
    """Return the type of the grey values: unsigned where netCDF or BigDataViewer say so.

    They store unsigned numbers in the signed type of their size.
    """
    dtype: np.dtype[Any] = data.dtype
    unsigned = text_of(data.attrs.get("_Unsigned", "")).casefold() == "true"
    if dtype.kind == "i" and (unsigned or _BIG_DATA_VIEWER.search(data.name or "")):
        return np.dtype(dtype.str.replace("i", "u"))
    return dtype


def _grey_conflicts(data: Any) -> list[Conflict]:
    """Tell of grey values of a dataset that are none."""
    if _first(data.attrs, "IMAGE_WHITE_IS_ZERO") == 1:
        msg = "it stores white as zero; save it with black as zero"
        raise ValueError(msg)
    if text_of(_first(data.attrs, "IMAGE_SUBCLASS")) == "IMAGE_TRUECOLOR":
        msg = "it is a colour image (IMAGE_TRUECOLOR); a slice must be grey"
        raise ValueError(msg)
    if packing := _packing(data.attrs):
        msg = f"its {packing}, which is not applied; save its grey values unpacked"
        raise ValueError(msg)
    names = [name for name in _NO_DATA if name in data.attrs]
    found = [
        no_data(_first(data.attrs, name), data.dtype, f"HDF5 attribute {name}") for name in names
    ]
    return [*filter(None, [*found[:1], unwritten(data, data.shape)])]


def _packing(attrs: Mapping[str, Any]) -> str:
    """Say by what values are to be multiplied or added to; empty if they are as they lie there."""
    for name, neutral in _PACKING.items():
        told = text_of(_first(attrs, name)) if name in attrs and np.size(attrs[name]) else ""
        if told and told not in (str(neutral), f"{neutral}.0"):
            return f"{name} is {told}"
    return ""


def _first(attrs: Mapping[str, Any], name: str) -> Any:
    values = np.ravel(np.asarray(attrs.get(name), object))
    return values[0] if len(values) else None


def _volume_axes(data: Any) -> list[int]:
    """Return the places of z, y and x: as the dataset declares them, else by what is longer."""
    declared, shape = hdf5_axes(data), data.shape
    if declared is None:
        places = list(range(data.ndim))
        for k in range(data.ndim):
            if len(places) > 3 and shape[k] == 1:
                places.remove(k)
        return places
    places = [k for k, axis in enumerate(declared) if axis in "zyx"]
    if "".join(declared[k] for k in places) not in ("zyx", "yx") or any(
        n > 1 for k, n in enumerate(shape) if k not in places and declared[k] != "c"
    ):
        axes = ", ".join(f"{axis} {n}" for axis, n in zip(declared, shape, strict=True))
        msg = (
            f"its axes are {axes}; a stack has z, y, x in this order, perhaps channels (c), other "
            "axes of length one"
        )
        raise ValueError(msg)
    return places


def _channel_axis(data: Any) -> int | None:
    """Return the place of an axis that the dataset declares to be that of channels."""
    declared = hdf5_axes(data) or ""
    return declared.index("c") if "c" in declared else None


def _channels(data: Any) -> tuple[str, ...]:
    """Return a name, which HDF5 does not tell, for each channel."""
    along = _channel_axis(data)
    return ("",) * (1 if along is None else data.shape[along])


def unwritten(data: Any, shape: tuple[int, ...]) -> Conflict | None:
    """Tell of parts of a dataset that were never written: they read as one value.

    Those beyond a shape are of no matter.
    """
    if data.is_virtual or data.external:
        return None
    if data.chunks:
        expected = prod(-(-n // chunk) for n, chunk in zip(shape, data.chunks, strict=True))
        written = data.id.get_num_chunks()
        if written and shape != data.shape:
            written = _chunks_within(data, shape)
    else:
        expected, written = data.nbytes, data.id.get_storage_size()
    if written >= expected:
        return None
    unit = "chunks" if data.chunks else "bytes"
    text = (
        f"it has parts without data, which read as {data.fillvalue}: {written} of {expected} "
        f"{unit} were written"
    )
    return Conflict("intensity", text)


def _chunks_within(data: Any, shape: tuple[int, ...]) -> int:
    """Count the chunks that were written of the part from the origin to a shape."""
    within: list[bool] = []

    def count(chunk: Any) -> None:
        within.append(all(start < n for start, n in zip(chunk.chunk_offset, shape, strict=True)))

    data.id.chunk_iter(count)
    return sum(within)


def _files_beside(data: Any, path: Path) -> tuple[Path, ...]:
    """Return the other files that hold pixels of a dataset; without one, they read as one value.

    HDF5 looks for parts of a virtual dataset beside the file, for external ones where it runs.
    Files elsewhere are not read: nobody who opens a file expects that of one in another folder.
    """
    if isinstance(path, RemotePath) and (data.is_virtual or data.external):
        msg = "its pixels lie in other files, which are not read from servers"
        raise ValueError(msg)
    virtual = {part.file_name for part in data.virtual_sources()} if data.is_virtual else set()
    external = {name for name, *_ in data.external or ()}
    files = tuple(path.absolute().parent / name for name in sorted(virtual - {"."} | external))
    lost = [str(file) for file in files if not file.is_file()]
    lost += [name for name in external if not Path(name).is_absolute()]
    if lost:
        msg = (
            f"its pixels lie in {lost[0]}, which is absent and would read as {data.fillvalue}; "
            "h5repack can make one file of all"
        )
        raise ValueError(msg)
    for file in files:
        if not Path(normpath(file)).is_relative_to(path.absolute().parent):
            msg = f"its pixels lie in {file}, outside its folder; h5repack can make one file of all"
            raise ValueError(msg)
    for part in data.virtual_sources() if data.is_virtual else ():
        if part.file_name != ".":
            _check_source(path.absolute().parent / part.file_name, part.dset_name)
    return files


def _check_source(path: Path, name: str) -> None:
    """Refuse a source of a virtual dataset that takes its pixels from elsewhere in turn."""
    with optional("h5py").File(readable(path), "r") as file:
        source = file.get(name)
        if source is None or not hasattr(source, "is_virtual"):
            return  # reads as one value, as HDF5 has it
        if not path.samefile(source.file.filename):
            msg = f"its pixels lie in {source.file.filename}, to which {path} links"
            raise ValueError(msg)
        _files_beside(source, path)


def check_stored(data: Any, path: Path) -> None:
    """Refuse more pixels than a file can hold, and chunks that are more than their pixels.

    What was never written takes no bytes.
    """
    if data.is_virtual or data.external:
        return
    if data.chunks:
        written = data.id.get_num_chunks() * prod(data.chunks)
    else:
        written = data.id.get_storage_size() // data.dtype.itemsize
    check_held(written, path.stat().st_size, _MOST_ENCODED)
    if data.chunks and data.compression is not None:
        raw = prod(data.chunks) * data.dtype.itemsize
        stored: list[int] = []
        data.id.chunk_iter(lambda chunk: stored.append(chunk.size))
        if max(stored, default=0) > (most := raw + raw // _SURPLUS + 2**12):
            msg = f"it is damaged: a chunk of {raw} bytes has {max(stored)}, encoded, above {most}"
            raise ValueError(msg)


def _chunk(lengths: tuple[int, ...] | None) -> tuple[int, int, int] | None:
    """Return lengths along z, y and x."""
    if not lengths:
        return None
    *depth, height, width = lengths
    return (*depth, 1)[0], height, width


def layers(chosen: range, depth: int) -> Iterator[slice]:
    """Cut slices where layers of chunks end, so that each of these is decoded once."""
    start = chosen.start
    while start < chosen.stop:
        stop = min((start // depth + 1) * depth, chosen.stop)
        yield slice(start, stop)
        start = stop


def _datasets(file: Any) -> dict[str, Any]:
    """Return the datasets of a file by name, those in groups too."""
    found: dict[str, Any] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, optional("h5py").Dataset):
            found[name] = item

    file.visititems(collect)
    return found


def _hdf5_sizes(attrs: Mapping[str, Any]) -> Header:
    """Take a voxel size (z, y, x) whose attribute names its unit, or one for each axis."""
    header = Header()
    for name in (*_HDF5_SIZES, "resolution", "voxel_size"):
        values = np.ravel(attrs.get(name, ()))
        if len(values) == 3:
            header = complete(header, _hdf5_size(name, values, attrs))
    return header


def _hdf5_size(name: str, values: np.ndarray, attrs: Mapping[str, Any]) -> Header:
    origin = f"HDF5 attribute {name}"
    told = _HDF5_SIZES.get(name, attrs.get("units", attrs.get("unit", "")))
    units = [text_of(unit) for unit in np.broadcast_to(np.ravel(np.asarray(told, object)), 3)]
    factors = [nanometres(unit) for unit in units]
    strange = next((unit for unit, factor in zip(units, factors, strict=True) if not factor), None)
    if strange is not None:
        names = ("pixel_size_nm", "slice_thickness_nm")
        return Header(conflicts=tuple(unknown_unit(name, strange, origin) for name in names))
    thickness, *pixel = [
        positive(value, factor or 0.0) for value, factor in zip(values, factors, strict=True)
    ]
    origin = f"{origin} in {' '.join(dict.fromkeys(units))}"
    return make_header(
        {"pixel_size_nm": (pair(*pixel), origin), "slice_thickness_nm": (thickness, origin)}
    )


def _with_scales(header: Header, data: _Volume) -> tuple[Header, ...]:
    """Complete a header by the scales of z, y and x: once, or for each slice where z is uneven."""
    axes = zip("zyx"[-data.ndim :], data.places, strict=True)
    found = {axis: _scale(data.stored, place) for axis, place in axes}
    scales = {axis: scale for axis, scale in found.items() if scale is not None}
    z = scales.pop("z", None)
    steps = {axis: _step(scale) for axis, scale in scales.items()}
    doubts = [
        Conflict("pixel_size_nm", f"the HDF5 scale of {axis} is not taken, for its steps differ")
        for axis, step in steps.items()
        if step is None
    ]
    doubts += [
        Conflict("orientation", f"the HDF5 scale of {axis} falls; the image is not turned")
        for axis, step in steps.items()
        if step is not None and step < 0
    ]
    size = pair(*(step and abs(step) for step in map(steps.get, "yx")))
    thickness = None if z is None else _step(z)
    told = {
        "pixel_size_nm": (size, "HDF5 scale of y, x"),
        "slice_thickness_nm": (thickness, "HDF5 scale of z"),
    }
    header = complete(header, make_header(told, doubts))
    if z is None:
        return (header,)
    if not (np.diff(z) > 0).all():
        msg = (
            f"its scale of z goes from {z[0]:g} to {z[-1]:g} nm without rising from slice to "
            "slice; save the slices, and their scale, in the order of depth"
        )
        raise ValueError(msg)
    if thickness is not None:
        return (header,)
    return tuple(replace(header, depth_nm=float(depth)) for depth in z)


def _scale(data: Any, place: int) -> np.ndarray | None:
    """Return the first scale of an axis in nm; None without values, or a known unit."""
    told = data.attrs.get("DIMENSION_LIST", ())
    if len(told) != data.ndim or not len(told[place]):
        return None
    scale = data.file[told[place][0]]
    factor = nanometres(text_of(_first(scale.attrs, "units")))
    elsewhere = scale.is_virtual or scale.external
    if factor is None or elsewhere or scale.shape != (data.shape[place],) or len(scale) < 2:
        return None
    if scale.dtype.kind not in "iuf" or _packing(scale.attrs):
        return None
    values = scale[()].astype(np.float64) * factor
    # Such as were never written tell nothing.
    return values if np.isfinite(values).any() and np.ptp(values) != 0 else None


def _step(scale: np.ndarray) -> float | None:
    """Return the step of an even scale, to as many digits as it has; None of an uneven one."""
    step = float(scale[-1] - scale[0]) / (len(scale) - 1)
    even = scale[0] + step * np.arange(len(scale))
    if not (np.abs(scale - even) <= _UNEVEN * abs(step)).all():
        return None
    return float(f"{step:.6g}")
