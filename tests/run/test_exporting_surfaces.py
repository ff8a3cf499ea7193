"""Surfaces of a phase: closed, of the right volume, the same however they are cut into slabs."""

import tracemalloc

import meshio
import numpy as np
import pytest
import xarray as xr

from fibdask import ConventionError, save_stack
from fibdask.conventions import build_stack
from fibdask.run.exporting import export_surface, volumes
from fibdask.run.exporting.surfaces import SURFACES

SPACING = np.array([4.0, 6.0, 5.0])  # z, y, x


def make_phase(solid):
    """Return a phase on a grid of 4 × 6 × 5 nm that begins at 100, 0, 10 nm."""
    first = (100.0, 0.0, 10.0)
    coords = {
        axis: start + step * np.arange(n)
        for axis, start, step, n in zip("zyx", first, SPACING, solid.shape, strict=True)
    }
    return xr.DataArray(solid.astype(np.uint8), coords, ("z", "y", "x"), name="phase")


@pytest.fixture(params=[1, 3, 32])
def slabs(request, monkeypatch):
    """Cut volumes into slabs of so many planes."""
    monkeypatch.setattr(volumes, "_SLICES", request.param)


def ball():
    z, y, x = (SPACING[k] * (np.arange(n) - n // 2) for k, n in enumerate((41, 29, 33)))
    return z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 < 75.0**2


def write(solid, path):
    """Write a surface; return vertices (vertex, x y z) in nm and triangles that share them."""
    SURFACES[path.suffix](make_phase(solid), path)
    mesh = meshio.read(path)
    points, places = np.unique(mesh.points.astype(np.float64), axis=0, return_inverse=True)
    return points, places.ravel()[mesh.cells_dict["triangle"]]


def volume(points, corners):
    a, b, c = np.moveaxis(points[corners], 1, 0)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def edges(corners):
    """Return every edge with its direction."""
    return np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])


@pytest.mark.parametrize("suffix", [".stl", ".ply"])
def test_write_surface__every_edge_is_one_of_two_triangles_that_turn_alike(slabs, tmp_path, suffix):
    solid = (
        np.random.default_rng(0).random((7, 9, 10)) > 0.5
    )  # all cases of the method, at sides too
    _, corners = write(solid, tmp_path / f"a{suffix}")
    there, count = np.unique(edges(corners), axis=0, return_counts=True)
    back = np.unique(edges(corners)[:, ::-1], axis=0)
    assert (count == 1).all()
    assert np.array_equal(there, back)


@pytest.mark.parametrize("suffix", [".stl", ".ply"])
def test_write_surface__a_ball_has_its_volume_at_its_place(slabs, tmp_path, suffix):
    points, corners = write(ball(), tmp_path / f"a{suffix}")
    assert volume(points, corners) == pytest.approx(4 / 3 * np.pi * 75**3, rel=0.02)
    centre = np.array([10 + 5 * 16, 6 * 14, 100 + 4 * 20])
    assert (points.min(axis=0) + points.max(axis=0)) / 2 == pytest.approx(centre)


def test_write_surface__slabs_and_formats_make_one_surface(tmp_path, monkeypatch):
    solid = np.random.default_rng(1).random((8, 7, 6)) > 0.4
    solid[2:5] = False  # slabs without a surface
    meshes = []
    for planes, suffix in ((32, ".ply"), (1, ".ply"), (2, ".stl")):
        monkeypatch.setattr(volumes, "_SLICES", planes)
        points, corners = write(solid, tmp_path / f"a{suffix}")
        meshes.append((points, np.unique(np.sort(corners), axis=0)))
    for points, corners in meshes[1:]:
        assert np.array_equal(points, meshes[0][0])
        assert np.array_equal(corners, meshes[0][1])


def test_write_ply__no_vertex_is_told_twice(slabs, tmp_path):
    write(ball(), tmp_path / "a.ply")
    points = meshio.read(tmp_path / "a.ply").points
    assert len(np.unique(points, axis=0)) == len(points)


def test_write_stl__normals_point_to_the_pore(tmp_path):
    SURFACES[".stl"](make_phase(ball()), tmp_path / "a.stl")
    content = (tmp_path / "a.stl").read_bytes()
    count = int.from_bytes(content[80:84], "little")
    rows = np.frombuffer(content[84:], np.dtype([("numbers", "<f4", (4, 3)), ("more", "<u2")]))
    outwards = rows["numbers"][:, 1:].mean(axis=1) - [90, 84, 180]
    assert len(rows) == count
    assert (np.einsum("ij,ij->i", rows["numbers"][:, 0], outwards) > 0).all()


@pytest.mark.parametrize("suffix", [".stl", ".ply"])
def test_write_surface__solid_alone_is_closed_beyond_its_voxels(tmp_path, suffix):
    points, corners = write(np.ones((3, 4, 5), bool), tmp_path / f"a{suffix}")
    assert points.min(axis=0) == pytest.approx([10 - 2.5, -3, 100 - 2])
    assert points.max(axis=0) == pytest.approx([10 + 22.5, 21, 100 + 10])
    assert 0.7 < volume(points, corners) / (60 * SPACING.prod()) < 1


def test_write_stl__memory_does_not_grow_with_depth(tmp_path):
    peaks = []
    SURFACES[".stl"](make_phase(ball()), tmp_path / "a.stl")  # loads what it needs
    for balls in (2, 6):
        phase = make_phase(np.concatenate([ball()] * balls))
        tracemalloc.start()
        SURFACES[".stl"](phase, tmp_path / "a.stl")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_export_surface__needs_even_depths(tmp_path):
    values = {"phase": ball()[:3].astype(np.uint8)}
    stack = build_stack(values, z=[0.0, 4.0, 12.0], pixel_size=(6.0, 5.0), nominal_thickness=4.0)
    store = save_stack(stack, tmp_path / "uneven.zarr")
    with pytest.raises(ConventionError, match=r"uneven depths, .*: reposition"):
        export_surface(store, tmp_path / "a.stl")
    assert [path.name for path in tmp_path.iterdir()] == ["uneven.zarr"]
