"""`xarray.open_dataset(path, engine="fibdask")`."""

import tomllib
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
from xarray.backends.plugins import build_engines

import fibdask
from fibdask.conventions import ConventionError, StackReadError
from fibdask.io.backend import StackBackend

GROUP = "xarray.backends"
IMAGES = {"voltage": 2.0, "pixel_size": 5.0, "slice_thickness": 10.0}


@pytest.fixture
def store(stack, tmp_path):
    return fibdask.save_stack(stack, tmp_path / "gold.zarr")


@pytest.fixture
def slices(tmp_path):
    """A folder of images, and their values."""
    values = np.random.default_rng(1).integers(0, 256, (4, 20, 24), dtype=np.uint8)
    (tmp_path / "slices").mkdir()
    for number, image in enumerate(values):
        tifffile.imwrite(tmp_path / "slices" / f"slice_{number}.tif", image)
    return tmp_path / "slices", values


def test_open_dataset__engine_is_offered_to_xarray():
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    offered = settings["project"]["entry-points"][GROUP]
    points = EntryPoints(EntryPoint(name, value, GROUP) for name, value in offered.items())
    assert isinstance(build_engines(points)["fibdask"], StackBackend)


@pytest.mark.parametrize("options", [{}, {"cache": False}, {"chunks": {}}, {"chunks": {"z": 2}}])
def test_open_dataset__of_a_store_equals_open_stack(store, options):
    opened = xr.open_dataset(store, engine=StackBackend, **options)
    assert opened.identical(fibdask.open_stack(store))


def test_open_dataset__without_chunks_blocks_are_read_by_coordinates_as_those_of_open_stack(store):
    opened, expected = xr.open_dataset(store, engine=StackBackend), fibdask.open_stack(store)
    assert opened["intensity"].data.name == expected["intensity"].data.name
    segmented = opened.fib.segment_phases(method="otsu")
    assert segmented.identical(expected.fib.segment_phases(method="otsu"))


def test_open_dataset__of_images_equals_read_images(slices):
    folder, values = slices
    opened = xr.open_dataset(folder, engine=StackBackend, **IMAGES)
    assert opened.identical(fibdask.read_images(folder, **IMAGES))
    assert np.array_equal(opened["intensity"][0], values)


def test_open_dataset__leaves_variables_out(store):
    opened = xr.open_dataset(store, engine=StackBackend, drop_variables=["intensity"])
    assert set(opened.data_vars) == {"phase"}


def test_open_dataset__says_what_is_wrong(store, tmp_path):
    with pytest.raises(ConventionError, match="is a store, which tells its own voltage"):
        xr.open_dataset(store, engine=StackBackend, voltage=2.0)
    with pytest.raises(StackReadError, match="nowhere"):
        xr.open_dataset(tmp_path / "nowhere", engine=StackBackend, **IMAGES)
