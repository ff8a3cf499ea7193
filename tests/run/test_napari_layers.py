"""Layers of napari: what its plugin manager reads of stores and runs, without a window."""

import sys
import tomllib
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import fibdask
from fibdask.conventions import build_stack
from fibdask.run.napari_layers import get_reader

REPOSITORY = Path(__file__).parents[2]
needs_npe2 = pytest.mark.skipif(find_spec("npe2") is None, reason="npe2 is not installed")


@pytest.fixture
def read():
    """Return what reads a path as napari does that knows no plugin but ours."""
    with warnings.catch_warnings():  # npe2 tells pydantic what it will not know one day
        warnings.simplefilter("ignore")
        import npe2
    told = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    package, _, name = told["project"]["entry-points"]["napari.manifest"]["fibdask"].partition(":")
    manifest = npe2.PluginManifest.from_file(REPOSITORY / package / name)
    manager = npe2.PluginManager.instance()
    manager.register(manifest)
    yield lambda path: npe2.read([str(path)], stack=False, plugin_name="fibdask")
    manager.unregister("fibdask")


@needs_npe2
def test_read__shows_voltages_and_phase_of_uneven_slices_at_their_depth(read, stack, tmp_path):
    layers = read(fibdask.save_stack(stack, tmp_path / "a.zarr"))
    assert [(options["name"], kind, options["visible"]) for _, options, kind in layers] == [
        ("1 kV", "image", True),
        ("2 kV", "image", False),
        ("phase", "labels", True),
    ]
    for (data, options, _), values in zip(
        layers, (*stack["intensity"].values, stack["phase"].values), strict=True
    ):
        assert options["scale"][1:] == (3, 4)
        assert options["units"] == ("nm", "nm", "nm")
        assert options["axis_labels"] == ("z", "y", "x")
        depths = options["translate"][0] + options["scale"][0] * np.arange(data.shape[0])
        distances = np.abs(stack["z"].values[:, None] - depths)
        nearest = options["metadata"]["slice"]
        assert np.array_equal(distances[nearest, range(len(nearest))], distances.min(axis=0))
        assert np.array_equal(np.asarray(data), values[nearest])
        assert np.array_equal(data[5, 3:9, 7], values[nearest[5], 3:9, 7])
    assert "napari" not in sys.modules


@needs_npe2
def test_read__gives_even_slices_with_their_pyramid(read, tmp_path):
    values = np.random.default_rng(3).integers(0, 2, (20, 30, 150), dtype=np.uint8)
    even = build_stack(
        {"phase": values}, z=100 + 8.0 * np.arange(20), pixel_size=(4, 4), nominal_thickness=8
    )
    path = fibdask.save_stack(even, tmp_path / "a.zarr", pyramid=True)
    ((levels, options, _),) = read(path)
    assert options["multiscale"]
    assert options["translate"] == (100, 0, 0)
    assert options["colormap"] == {None: "#00000000", 0: "#00000000", 1: "#57b5e8"}
    coarse = fibdask.open_stack(path / "scale1")["phase"].values
    for level, wanted in zip(levels, (values, coarse), strict=True):
        assert (level.shape, level.ndim, level.size) == (wanted.shape, 3, wanted.size)
        assert np.array_equal(level[:], wanted)


def test_get_reader__declines_what_is_no_stack(stack, tmp_path):
    path = fibdask.save_stack(stack, tmp_path / "a.zarr")
    assert get_reader([str(path), str(tmp_path)]) is None
    assert get_reader(str(tmp_path / "missing.zarr")) is None
    assert callable(get_reader([str(path), str(path)]))
