"""The surface of a phase as triangles for other programs, made slab after slab."""

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from ...blocks import NO_MONITOR, Monitor
from ...conventions import StackReadError
from ...io.images.formats import optional
from .volumes import Writer, batches, first_voxel, voxel_size

_MOST_TRIANGLES = 2**32 - 1  # that STL can count
_MOST_VERTICES = 2**31 - 1  # that PLY can number
_SLAB_VOXELS = 2**23  # at a time, of which marching cubes make float32
_HEAD = 256  # bytes of a PLY header, filled up, for its numbers are known at the end
_STL_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_PLY_TRIANGLE = np.dtype([("count", "u1"), ("vertices", "<i4", 3)])

Piece = tuple[np.ndarray, np.ndarray]
"""Vertices (vertex, z y x) in voxels, and triangles (triangle, corner) of all vertices so far."""


def triangles(phase: xr.DataArray, monitor: Monitor = NO_MONITOR) -> Iterator[Piece]:
    """Yield the surface between solid and pore: new vertices, and triangles, of each slab.

    Marching cubes, with pore all around: solid that ends at a side of the volume is closed half a
    voxel beyond it, so that the mesh encloses as much as the solid's voxels fill. Slabs share a
    plane, whose vertices are told once, so every edge is one of exactly two triangles. Seen from
    outside, corners run counterclockwise.

    References
    ----------
    W. E. Lorensen, H. E. Cline, "Marching cubes: a high resolution 3D surface construction
    algorithm", Comput. Graph. (ACM) 21, 163-169 (1987).
    """
    find = optional("skimage.measure").marching_cubes
    shared, numbers = np.empty(0, np.int64), np.empty(0, np.int64)
    total, depth = 0, -1
    for slab in _slabs(phase, monitor):
        if slab.min() == slab.max():
            shared, depth = shared[:0], depth + len(slab) - 1
            continue
        # Other variants meet in four triangles at some edges, where voxels touch by an edge.
        found, corners, *_ = find(slab, 0.5, method="lorensen", allow_degenerate=True)
        keys = _keys(found, slab.shape)
        known = found[:, 0] == 0
        own = np.empty(len(found), np.int64)
        own[known] = numbers[np.searchsorted(shared, keys[known])]
        vertices = found[~known].astype(np.float64) + np.array([depth, -1, -1])
        own[~known] = total + np.arange(len(vertices))
        total += len(vertices)
        last = found[:, 0] == len(slab) - 1
        order = np.argsort(keys[last])
        shared, numbers = keys[last][order], own[last][order]
        depth += len(slab) - 1
        yield vertices, own[corners]


def _keys(vertices: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a number for the place of each vertex within its plane, in steps of half a voxel."""
    y, x = np.rint(2 * vertices[:, 1:]).astype(np.int64).T
    places: np.ndarray = y * 2 * shape[2] + x
    return places


def _slabs(phase: xr.DataArray, monitor: Monitor) -> Iterator[np.ndarray]:
    """Yield slabs of a phase with pore all around, each beginning with the last plane before."""
    around = ((0, 0), (1, 1), (1, 1))
    last = np.zeros((1, phase.sizes["y"] + 2, phase.sizes["x"] + 2), np.uint8)
    for part in batches(phase, monitor, most=_SLAB_VOXELS):
        slab = np.concatenate([last, np.pad(part, around)])
        yield slab
        last = slab[-1:].copy()
    yield np.concatenate([last, np.zeros_like(last)])


def write_stl(phase: xr.DataArray, out: Path, monitor: Monitor = NO_MONITOR) -> None:
    """Write the surface of a phase as binary STL, lengths in nm.

    Raises
    ------
    StackReadError
        If there are more triangles than the format can count.
    """
    count = start = 0
    kept = np.empty((0, 3), "<f4")
    with out.open("wb") as file:
        file.write(struct.pack("<80sI", b"fibdask: surface of the phase, lengths in nm", 0))
        for vertices, corners in triangles(phase, monitor):
            # Corners are vertices of this slab, or of the last one, on the plane that they share.
            new = _places(phase, vertices)
            records = np.zeros(len(corners), _STL_TRIANGLE)
            records["corners"] = np.concatenate([kept, new])[corners - start]
            records["normal"] = _normals(records["corners"])
            file.write(records.data)
            kept, start = new, start + len(kept)
            count += len(corners)
            _check_fits(count, _MOST_TRIANGLES, "triangles")
        file.seek(80)
        file.write(struct.pack("<I", count))


def write_ply(phase: xr.DataArray, out: Path, monitor: Monitor = NO_MONITOR) -> None:
    """Write the surface of a phase as binary PLY, lengths in nm.

    Raises
    ------
    StackReadError
        If there are more vertices than the format can number.
    """
    count = faces = 0
    beside = out.with_name(out.name + ".triangles")
    try:
        with out.open("wb") as file, beside.open("w+b") as triangle_file:
            file.write(bytes(_HEAD))
            for vertices, corners in triangles(phase, monitor):
                file.write(_places(phase, vertices).data)
                records = np.full(len(corners), 3, _PLY_TRIANGLE)
                records["vertices"] = corners
                triangle_file.write(records.data)
                count, faces = count + len(vertices), faces + len(corners)
                _check_fits(count, _MOST_VERTICES, "vertices")
            triangle_file.seek(0)
            shutil.copyfileobj(triangle_file, file)
            file.seek(0)
            file.write(_ply_header(count, faces))
    finally:
        beside.unlink(missing_ok=True)


def _ply_header(count: int, faces: int) -> bytes:
    """Return a header of fixed length."""
    start = "ply\nformat binary_little_endian 1.0\ncomment lengths in nm"
    end = (
        f"\nelement vertex {count}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {faces}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    return f"{start:{_HEAD - len(end)}}{end}".encode()


def _places(phase: xr.DataArray, vertices: np.ndarray) -> np.ndarray:
    """Return vertices (vertex, x y z) in nm."""
    places = first_voxel(phase) + vertices * voxel_size(phase)
    return np.ascontiguousarray(places[:, ::-1], "<f4")


def _normals(corners: np.ndarray) -> np.ndarray:
    """Return the unit normals (triangle, x y z) of triangles (triangle, corner, x y z)."""
    a, b, c = np.moveaxis(corners.astype(np.float64), 1, 0)
    normals: np.ndarray = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return normals


def _check_fits(count: int, most: int, of: str) -> None:
    if count > most:
        msg = f"the surface has more than {most} {of}, the most that its format can tell"
        raise StackReadError(msg)


SURFACES: dict[str, Writer] = {".stl": write_stl, ".ply": write_ply}
"""Writers by the suffix of a file."""
