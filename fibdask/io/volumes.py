"""Decoders of volumes in one file: .npy, MRC, HDF5."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..conventions import StackReadError
from .formats import Layout
from .headers import Header, make_header, nanometres, pair, positive

_MRC_HEADER = 1024  # bytes
_LONGEST = 2**24
_HDF5_SIZES = {"element_size_um": "um", "element_size_nm": "nm", "voxel_size_nm": "nm"}


@dataclass(frozen=True)
class Npy:
    """NumPy files, mapped into memory frame by frame; in Fortran's order, column by column."""

    def inspect(self, path: Path) -> Layout:
        """Read the header."""
        array = _map_npy(path)
        layout = _volume_layout(array.shape, array.dtype, array[:1].nbytes)
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
            yield frame[rows, columns]


def _map_npy(path: Path) -> np.ndarray:
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
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

    def inspect(self, path: Path) -> Layout:
        """Read the header; the voxel size is in Å."""
        with _optional("mrcfile").open(path, mode="r", header_only=True) as mrc:
            axes = [int(mrc.header[key]) for key in ("mapc", "mapr", "maps")]
            size = [float(mrc.voxel_size[axis]) for axis in "zyx"]
        if axes not in ([1, 2, 3], [0, 0, 0]):
            msg = f"its axes are stored in the order {axes}; expected [1, 2, 3] (x, y, z)"
            raise ValueError(msg)
        start, shape, dtype = _mrc_pixels(path)
        expected = start + prod(shape) * dtype.itemsize
        if path.stat().st_size < expected:
            msg = f"it is cut off: {expected} bytes are expected, {path.stat().st_size} are there"
            raise ValueError(msg)
        return _volume_layout(shape, dtype, prod(shape[-2:]) * dtype.itemsize, _mrc_sizes(size))

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield frames, each mapped on its own."""
        start, shape, dtype = _mrc_pixels(path)
        step = prod(shape[-2:]) * dtype.itemsize
        for k in chosen:
            yield np.memmap(path, dtype, "r", start + k * step, shape[-2:])[rows, columns]


def _mrc_pixels(path: Path) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Return the first byte, shape and type of the pixels."""
    mrcfile = _optional("mrcfile")
    with mrcfile.open(path, mode="r", header_only=True) as mrc:
        shape = tuple(int(n) for n in mrcfile.utils.data_shape_from_header(mrc.header))
        dtype = mrcfile.utils.data_dtype_from_header(mrc.header)
        return _MRC_HEADER + int(mrc.header["nsymbt"]), shape, np.dtype(dtype)


def _mrc_sizes(size: list[float]) -> Header:
    """Take the voxel size, unless it is the 1 Å or 0 Å that programs write for "unknown"."""
    if all(part == 1.0 for part in size):
        return Header()
    thickness, *pixel = [positive(round(part, 4), 0.1) for part in size]
    return make_header(
        {
            "pixel_size_nm": (pair(*pixel), "MRC cell / sampling in Å"),
            "slice_thickness_nm": (thickness, "MRC cell / sampling in Å"),
        }
    )


@dataclass(frozen=True)
class Hdf5:
    """A dataset of an HDF5 file.

    Attributes
    ----------
    dataset
        Its name, or None for the only one with three dimensions.
    """

    dataset: str | None = None

    def inspect(self, path: Path) -> Layout:
        """Read shape, type and attributes of the dataset."""
        with _optional("h5py").File(path, "r") as file:
            data = self._find(file)
            # a chunk is decoded beside its encoded bytes
            held = 2 * prod(data.chunks) if data.chunks else prod(data.shape[-2:])
            sizes = _hdf5_sizes(data.attrs)
            layout = _volume_layout(data.shape, data.dtype, held * data.dtype.itemsize, sizes)
            return replace(layout, chunk=_chunk(data.chunks), beside=_files_beside(data, path))

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield frames; each layer of chunks is decoded once."""
        with _optional("h5py").File(path, "r") as file:
            data = self._find(file)
            if data.ndim == 2:
                yield data[rows, columns]
                return
            for layer in _layers(chosen, data.chunks[0] if data.chunks else 1):
                yield from data[layer, rows, columns]

    def _find(self, file: Any) -> Any:
        found = _datasets(file)
        shapes = ", ".join(f"{name} {item.shape}" for name, item in found.items()) or "none"
        if self.dataset is not None:
            if self.dataset.strip("/") not in found:
                msg = f"it has no dataset {self.dataset!r}; it holds {shapes}"
                raise ValueError(msg)
            return found[self.dataset.strip("/")]
        volumes = [item for item in found.values() if item.ndim == 3]
        if len(volumes) != 1:
            msg = (
                f"it holds {len(volumes)} datasets of three dimensions; "
                f"choose one of its datasets with dataset: {shapes}"
            )
            raise ValueError(msg)
        return volumes[0]


def _files_beside(data: Any, path: Path) -> tuple[Path, ...]:
    """Return the other files that hold pixels of a dataset; without one, they read as zeros.

    HDF5 looks for parts of a virtual dataset beside the file, for external ones where it runs.
    """
    virtual = {part.file_name for part in data.virtual_sources()} if data.is_virtual else set()
    external = {name for name, *_ in data.external or ()}
    files = tuple(path.absolute().parent / name for name in sorted(virtual - {"."} | external))
    lost = [str(file) for file in files if not file.is_file()]
    lost += [name for name in external if not Path(name).is_absolute()]
    if lost:
        msg = f"its pixels lie in {lost[0]}, which is not found; h5repack can make one file of all"
        raise ValueError(msg)
    return files


def _chunk(lengths: tuple[int, ...] | None) -> tuple[int, int, int] | None:
    """Return lengths along z, y and x."""
    if not lengths:
        return None
    *depth, height, width = lengths
    return (*depth, 1)[0], height, width


def _layers(chosen: range, depth: int) -> Iterator[slice]:
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
        if isinstance(item, _optional("h5py").Dataset):
            found[name] = item

    file.visititems(collect)
    return found


def _hdf5_sizes(attrs: Mapping[str, Any]) -> Header:
    """Take a voxel size (z, y, x) whose attribute names its unit."""
    for name in (*_HDF5_SIZES, "resolution", "voxel_size"):
        unit = _HDF5_SIZES.get(name) or _text(attrs.get("units", attrs.get("unit", "")))
        factor, values = nanometres(unit), np.ravel(attrs.get(name, ()))
        if factor is None or len(values) != 3:
            continue
        thickness, *pixel = [positive(value, factor) for value in values]
        origin = f"HDF5 attribute {name} in {unit}"
        return make_header(
            {"pixel_size_nm": (pair(*pixel), origin), "slice_thickness_nm": (thickness, origin)}
        )
    return Header()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _volume_layout(
    shape: tuple[int, ...], dtype: Any, scratch: int, header: Header | None = None
) -> Layout:
    if len(shape) not in (2, 3) or 0 in shape:
        msg = f"its shape is {tuple(shape)}; a stack has (z, y, x), a slice (y, x)"
        raise ValueError(msg)
    if max(shape) > _LONGEST:
        msg = f"its shape is {tuple(shape)}; no side of a stack has more than {_LONGEST} voxels"
        raise ValueError(msg)
    count = shape[0] if len(shape) == 3 else 1
    height, width = (int(n) for n in shape[-2:])
    native = np.dtype(dtype).newbyteorder("=")
    return Layout(int(count), height, width, native, scratch, header or Header())


def _optional(name: str) -> Any:
    """Import a package that only some formats need."""
    try:
        return import_module(name)
    except ImportError as error:
        msg = f"this format needs the package {name}: pip install 'fibdask[io]'"
        raise StackReadError(msg) from error
