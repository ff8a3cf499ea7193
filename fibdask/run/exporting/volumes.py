"""Writers of volumes (z, y, x) for other programs: plane after plane, with the size of a voxel."""

import struct
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
import xarray as xr

from ...blocks import NO_MONITOR, Monitor
from ...conventions import PHASES, ConventionError, axis_spacing
from ..folder.progress import watched

_SLICES = 32  # planes held in memory at a time,
_HELD_BYTES = 2**28  # but no more than this
LARGEST_TIFF = 2**32 - 2**25  # bytes: its offsets have 32 bits
_PAGE_BYTES = 1024  # of a page's header, at most
_MRC_MODES = {"int8": 0, "float32": 2, "uint16": 6}
_MRC_VERSION = 20141
_NRRD_TYPES = {"uint8": "uint8", "uint16": "uint16", "float32": "float"}
_NIFTI_TYPES = {"uint8": 2, "float32": 16, "uint16": 512}
_LONGEST_FIRST_NIFTI = 2**15 - 1  # voxels along an axis: its header has 16 bits for them
_MICROMETRES = 3  # NIfTI knows no shorter unit
_VTK_TYPES = {"uint8": "UInt8", "uint16": "UInt16", "float32": "Float32"}


def write_tiff(
    volume: xr.DataArray, out: Path, monitor: Monitor = NO_MONITOR, *, largest: int = LARGEST_TIFF
) -> None:
    """Write a volume on regular axes, as BigTIFF if it needs more than `largest` bytes.

    Solid is 255. The spacing is told as ImageJ tells it.
    """
    big = tiff_bytes(volume) > largest
    spacing = axis_spacing(volume, "z")
    told: dict[str, Any] = {"axes": "ZYX", "spacing": spacing, "unit": "nm"}
    if big:  # ImageJ's own files end at 4 GiB for all other readers
        slices = volume.sizes["z"]
        text = f"ImageJ=1.54f\nimages={slices}\nslices={slices}\nunit=nm\nspacing={spacing}\n"
    with tifffile.TiffWriter(out, imagej=not big, bigtiff=big) as writer:
        writer.write(
            planes(volume, monitor, solid=255),
            shape=volume.shape,
            dtype=volume.dtype,
            photometric="minisblack",
            resolution=(1 / axis_spacing(volume, "x"), 1 / axis_spacing(volume, "y")),
            resolutionunit="none",  # that of the description
            description=text if big else None,
            metadata=None if big else told,
        )


def tiff_bytes(volume: xr.DataArray) -> int:
    """Return the size of a TIFF file of a volume, at most."""
    pages = volume.size // (volume.sizes["y"] * volume.sizes["x"])
    return volume.size * volume.dtype.itemsize + _PAGE_BYTES * pages


def write_mrc(volume: xr.DataArray, out: Path, monitor: Monitor = NO_MONITOR) -> None:
    """Write an MRC file, lengths in Å.

    Bytes of MRC are signed: a phase, 0 and 1, fits them; grey values of 8 bits are stored in 16.

    References
    ----------
    A. Cheng et al., "MRC2014: Extensions to the MRC format header for electron cryo-microscopy
    and tomography", J. Struct. Biol. 192, 146-150 (2015).
    """
    stored = np.dtype("uint16" if volume.dtype == np.uint8 else volume.dtype)
    if _is_phase(volume):
        stored = np.dtype("int8")
    moments = _Moments()
    with out.open("wb") as file:
        file.write(_mrc_header(volume, stored, moments))
        for plane in planes(volume, monitor):
            moments.add(plane)
            file.write(_little(plane.astype(stored)))
        file.seek(0)
        file.write(_mrc_header(volume, stored, moments))


class _Moments:
    """Range, mean and standard deviation of the planes that were added.

    References
    ----------
    T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance",
    Am. Stat. 37, 242-247 (1983).
    """

    def __init__(self) -> None:
        self.count, self.mean, self._squares = 0, 0.0, 0.0
        self.low, self.high = np.inf, -np.inf

    @property
    def deviation(self) -> float:
        return float(np.sqrt(self._squares / max(self.count, 1)))

    def add(self, plane: np.ndarray) -> None:
        self.low, self.high = min(self.low, plane.min()), max(self.high, plane.max())
        mean, count = float(plane.mean(dtype=np.float64)), self.count + plane.size
        apart = mean - self.mean
        self._squares += plane.size * float(plane.var(dtype=np.float64))
        self._squares += apart**2 * self.count * plane.size / count
        self.mean += apart * plane.size / count
        self.count = count


def _mrc_header(volume: xr.DataArray, stored: np.dtype[Any], moments: _Moments) -> bytes:
    size, first = voxel_size(volume), first_voxel(volume)
    lengths = volume.shape[::-1]
    cell = [10 * step * n for step, n in zip(size[::-1], lengths, strict=True)]
    header = bytearray(1024)
    struct.pack_into("<10i", header, 0, *lengths, _MRC_MODES[stored.name], 0, 0, 0, *lengths)
    struct.pack_into("<6f3i", header, 40, *cell, 90, 90, 90, 1, 2, 3)
    grey = (moments.low, moments.high, moments.mean)
    struct.pack_into("<3fi", header, 76, *grey, 1)  # a volume, not a stack of images
    struct.pack_into("<i", header, 108, _MRC_VERSION)
    struct.pack_into("<3f", header, 196, *(10 * place for place in first[::-1]))
    struct.pack_into("<4s4Bf", header, 208, b"MAP ", 0x44, 0x44, 0, 0, moments.deviation)
    struct.pack_into("<i80s", header, 220, 1, f"fibdask: {volume.name}".encode())
    return bytes(header)


def write_nrrd(volume: xr.DataArray, out: Path, monitor: Monitor = NO_MONITOR) -> None:
    """Write a NRRD file, lengths in nm, values not compressed.

    References
    ----------
    G. Kindlmann, "Definition of NRRD file format", https://teem.sourceforge.net/nrrd/format.html
    """
    z, y, x = voxel_size(volume)
    header = (
        "NRRD0004\n"
        f"type: {_NRRD_TYPES[volume.dtype.name]}\n"
        "dimension: 3\n"
        "space dimension: 3\n"
        f"sizes: {' '.join(map(str, volume.shape[::-1]))}\n"
        f"space directions: ({x!r},0,0) (0,{y!r},0) (0,0,{z!r})\n"
        f"space origin: ({','.join(map(repr, first_voxel(volume)[::-1]))})\n"
        'space units: "nm" "nm" "nm"\n'
        "kinds: domain domain domain\n"
        'labels: "x" "y" "z"\n'
        "endian: little\n"
        "encoding: raw\n"
        f"content: {volume.name}\n\n"
    )
    with out.open("wb") as file:
        file.write(header.encode())
        _write_planes(volume, file, monitor)


def write_nifti(volume: xr.DataArray, out: Path, monitor: Monitor = NO_MONITOR) -> None:
    """Write a NIfTI-1 file, or NIfTI-2 where that is too small for its sides; lengths in µm.

    References
    ----------
    R. W. Cox et al., "A (sort of) new image data format standard: NIfTI-1", 10th Annual Meeting of
    the Organization for Human Brain Mapping (2004); https://nifti.nimh.nih.gov
    """
    size, first = (np.array(told(volume)[::-1]) / 1e3 for told in (voxel_size, first_voxel))
    dims, code = (3, *volume.shape[::-1], 1, 1, 1, 1), _NIFTI_TYPES[volume.dtype.name]
    steps, bits = (1, *size, 1, 1, 1, 1), 8 * volume.dtype.itemsize
    affine = np.column_stack([np.diag(size), first]).ravel()
    header = bytearray(352 if max(volume.shape) <= _LONGEST_FIRST_NIFTI else 544)
    if len(header) == 352:
        struct.pack_into("<i", header, 0, 348)
        struct.pack_into("<8h", header, 40, *dims)
        struct.pack_into("<2h", header, 70, code, bits)
        struct.pack_into("<8f3f", header, 76, *steps, 352, 1, 0)
        struct.pack_into("<B", header, 123, _MICROMETRES)
        struct.pack_into("<2h", header, 252, 0, 1)  # axes: those of the voxels, from the first one
        struct.pack_into("<12f", header, 280, *affine)
        struct.pack_into("<4s", header, 344, b"n+1")
    else:
        struct.pack_into("<i8s2h", header, 0, 540, b"n+2\0\r\n\x1a\n", code, bits)
        struct.pack_into("<8q", header, 16, *dims)
        struct.pack_into("<8dq2d", header, 104, *steps, 544, 1, 0)
        struct.pack_into("<2i", header, 344, 0, 1)
        struct.pack_into("<12d", header, 400, *affine)
        struct.pack_into("<i", header, 500, _MICROMETRES)
    with out.open("wb") as file:
        file.write(header)
        _write_planes(volume, file, monitor)


def write_vti(volume: xr.DataArray, out: Path, monitor: Monitor = NO_MONITOR) -> None:
    """Write an image of VTK: voxels are cells around their coordinates, lengths in nm.

    References
    ----------
    VTK documentation, "VTK XML formats", https://docs.vtk.org/en/latest/vtk_file_formats
    """
    spacing = voxel_size(volume)
    corner = [place - step / 2 for place, step in zip(first_voxel(volume), spacing, strict=True)]
    extent = " ".join(f"0 {n}" for n in volume.shape[::-1])
    header = (
        '<?xml version="1.0"?>\n'
        "<!-- lengths in nm -->\n"
        '<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64">\n'
        f'<ImageData WholeExtent="{extent}" Origin="{" ".join(map(repr, corner[::-1]))}" '
        f'Spacing="{" ".join(map(repr, spacing[::-1]))}">\n'
        f'<Piece Extent="{extent}">\n'
        f'<CellData Scalars="{volume.name}">\n'
        f'<DataArray type="{_VTK_TYPES[volume.dtype.name]}" Name="{volume.name}" '
        'format="appended" offset="0"/>\n'
        "</CellData>\n</Piece>\n</ImageData>\n"
        '<AppendedData encoding="raw">\n_'
    )
    with out.open("wb") as file:
        file.write(header.encode() + struct.pack("<Q", volume.size * volume.dtype.itemsize))
        _write_planes(volume, file, monitor)
        file.write(b"\n</AppendedData>\n</VTKFile>\n")


def write_npy(volume: xr.DataArray, out: Path, monitor: Monitor = NO_MONITOR) -> None:
    """Write a NumPy file (z, y, x), which tells no size of a voxel."""
    told = {"descr": volume.dtype.newbyteorder("<").str, "fortran_order": False}
    with out.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, told | {"shape": volume.shape})
        _write_planes(volume, file, monitor)


Writer = Callable[[xr.DataArray, Path, Monitor], None]


def batches(
    volume: xr.DataArray, monitor: Monitor = NO_MONITOR, *, most: int = _HELD_BYTES
) -> Iterator[np.ndarray]:
    """Yield a volume in parts (z, y, x) of a few planes, `most` bytes or one; a phase is 0 or 1.

    Of several voltages, one comes after another.
    """
    plane = volume.sizes["y"] * volume.sizes["x"] * volume.dtype.itemsize
    step = max(min(_SLICES, most // plane), 1)
    starts = range(0, volume.sizes["z"], step)
    channels = [volume] if volume.ndim == 3 else list(volume)
    parts = product(channels, starts)
    count = len(channels) * len(starts)
    for channel, start in watched(parts, count, str(volume.name), monitor):
        yield plain_values(volume, channel.isel(z=slice(start, start + step)).values)


def plain_values(volume: xr.DataArray, part: np.ndarray) -> np.ndarray:
    """Return values of a volume as they are written: those of a phase are 0 or 1."""
    return (part == 1).view(np.uint8) if _is_phase(volume) else part


def planes(
    volume: xr.DataArray, monitor: Monitor = NO_MONITOR, *, solid: int = 1
) -> Iterator[np.ndarray]:
    """Yield the planes (y, x) of a volume; where it is a phase, solid has this value."""
    for part in batches(volume, monitor):
        for plane in part:
            # one of its own, lest whoever holds it holds the part when the next one is read
            yield plane * np.uint8(solid) if _is_phase(volume) else plane.copy()
        del part, plane


def _write_planes(volume: xr.DataArray, file: BinaryIO, monitor: Monitor) -> None:
    for plane in planes(volume, monitor):
        file.write(_little(plane))


def _little(plane: np.ndarray) -> memoryview:
    """Return the bytes of a plane, the least significant ones first."""
    return np.ascontiguousarray(plane, plane.dtype.newbyteorder("<")).data


def _is_phase(volume: xr.DataArray) -> bool:
    return volume.name in PHASES


def voxel_size(volume: xr.DataArray) -> tuple[float, float, float]:
    """Return the size of a voxel (z, y, x) in nm; a format that tells it needs it."""
    z, y, x = (axis_spacing(volume, axis) for axis in "zyx")
    for axis, step in zip("zyx", (z, y, x), strict=True):
        if not step > 0:
            msg = f"the spacing of {volume.name} along {axis} is not known: it has one pixel there"
            raise ConventionError(msg)
    return z, y, x


def first_voxel(volume: xr.DataArray) -> tuple[float, float, float]:
    """Return where the first voxel lies (z, y, x) in nm."""
    z, y, x = (float(volume[axis][0]) for axis in "zyx")
    return z, y, x
