"""What a layered sample is, and how one is stored."""

import numpy as np
import pytest
import xarray as xr

from fibdask.conventions import ConventionError, is_layered, validate_stack
from fibdask.io import open_stack, save_stack


def sample(**changes):
    signal = np.ones((3, 4, 5), np.float32)
    coords = {
        "energy": ("energy", [5.0, 6.0, 8.0], {"units": "keV"}),
        "layer": ["Al", "Au"],
        "y": ("y", np.arange(4) * 10.0, {"units": "nm"}),
        "x": ("x", np.arange(5) * 10.0, {"units": "nm"}),
    }
    data = {
        "signal": (("energy", "y", "x"), signal),
        "thickness": (("layer", "y", "x"), np.zeros((2, 4, 5), np.float32)),
    }
    return xr.Dataset(data, coords).assign(changes)


def with_energies(*energies):
    return sample().assign_coords(energy=("energy", list(energies), {"units": "keV"}))


def test_is_layered__is_no_stack(stack):
    assert is_layered(sample())
    assert not is_layered(stack)
    assert not is_layered(stack.assign(signal=stack["intensity"][:, 0]))


def test_save_stack__a_layered_sample_is_read_as_it_was(tmp_path):
    noisy = sample()
    noisy["signal"][:] = np.random.default_rng(0).random((3, 4, 5))
    found = open_stack(save_stack(noisy, tmp_path / "sample.zarr"))
    xr.testing.assert_equal(found.compute(), noisy)
    assert found["thickness"].attrs["units"] == "nm"
    other = xr.open_zarr(tmp_path / "sample.zarr")
    xr.testing.assert_equal(other["signal"].compute(), noisy["signal"])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (with_energies(5.0, 9.0, 8.0), "strictly increasing; position 2 has 8 keV after 9 keV"),
        (with_energies(0.0, 1.0, 2.0), "energy must be > 0 keV; position 0 has 0 keV"),
        (with_energies(1.0, np.nan, 2.0), "energy must be finite; position 1"),
        (sample(signal=-sample()["signal"]), r"\(energy, y, x\) = \(0, 0, 0\) has -1"),
        (sample(thickness=sample()["thickness"] - 2), r"\(layer, y, x\) = \(0, 0, 0\) has -2"),
        (sample(signal=sample()["signal"].astype("int32")), "type float32 or float64; found int32"),
        (sample().transpose("y", "x", ...), r"dimensions \(energy, y, x\); found \(y, x, energy\)"),
        (sample().drop_vars("energy"), "dimension energy must have a coordinate"),
        (sample().assign_coords(layer=[1, 2]), "layer must hold names of materials"),
    ],
)
def test_validate_stack__a_layered_sample_keeps_its_rules(wrong, told):
    with pytest.raises(ConventionError, match=told):
        validate_stack(wrong)


def test_validate_stack__lengths_need_their_unit():
    wrong = sample()
    wrong["y"].attrs["units"] = "um"
    with pytest.raises(ConventionError, match="y must have units 'nm'; found 'um'"):
        validate_stack(wrong)
