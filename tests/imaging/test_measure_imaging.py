import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import fibdask
from fibdask import (
    ConventionError,
    FibdaskWarning,
    add_brightness_drift,
    add_curtaining,
    blur_edges,
    measure_imaging,
    read_images,
    save_stack,
)
from fibdask.conventions import build_stack
from fibdask.run.cli import cli
from tests.imaging.helpers import blurred, clean_images, in_bytes, recorded, with_grey

FIB25 = Path("../shared/data/fib25")


@pytest.fixture(scope="module")
def clean():
    return clean_images()


@pytest.fixture(scope="module")
def found(clean):
    return measure_imaging(recorded(clean))


def test_measure_imaging__finds_the_electrons_and_the_gaussian_noise(found):
    np.testing.assert_allclose(found["white_electrons"], 100, rtol=0.1)
    np.testing.assert_allclose(found["gaussian_noise"], 0.02 * 255, rtol=0.15)
    counted = np.sqrt(found["solid_level"] * 255 / 100)
    np.testing.assert_allclose(found["counting_noise"], counted, rtol=0.05)


@pytest.mark.parametrize(("electrons", "gaussian"), [(30.0, 0.0), (400.0, 0.05)])
def test_measure_imaging__finds_few_electrons_and_many(clean, electrons, gaussian):
    one = clean.isel(voltage=[1], z=slice(0, 8))
    found = measure_imaging(recorded(one, electrons=electrons, gaussian=gaussian))
    total = np.sqrt(found["counting_noise"] ** 2 + found["gaussian_noise"] ** 2)
    level = found["solid_level"].item()
    known = np.sqrt(255 * level / electrons + (255 * gaussian) ** 2)
    np.testing.assert_allclose(total, known, rtol=0.1)


@pytest.mark.parametrize("width", [2.5, 5.0, 10.0])
def test_measure_imaging__finds_the_blur(clean, width):
    one = clean.isel(voltage=[1], z=slice(0, 8))
    found = measure_imaging(recorded(one, width=width))
    np.testing.assert_allclose(found["blur"], width, rtol=0.15)
    np.testing.assert_allclose(found["blur_of_slice"], width, rtol=0.3)


@pytest.mark.parametrize("pixels", [(1, 2), (4, 1)])
def test_measure_imaging__finds_as_much_blur_in_oblong_pixels(pixels):
    found = _blur_of(pixels)
    np.testing.assert_allclose(found, _blur_of((max(pixels),) * 2), rtol=0.05)


def _blur_of(pixels):
    """Return the blur that is found where pixels of 2.5 nm are put together."""
    y, x = pixels
    sharp = clean_images(shape=(4, 128 * y, 128 * x), voltage=(2.0,))
    stack = build_stack(
        {"intensity": blurred(sharp, 9.0)["intensity"].coarsen(y=y, x=x).mean().values},
        z=sharp["z"].values,
        nominal_thickness=2.5,
        pixel_size=(2.5 * y, 2.5 * x),
        voltage=np.array([2.0]),
    )
    return measure_imaging(in_bytes(stack))["blur"].values


def test_measure_imaging__finds_the_width_of_blurred_edges(clean):
    one = in_bytes(clean.isel(voltage=[0], z=slice(0, 8)))
    found = measure_imaging(blur_edges(one, width=4.0))
    np.testing.assert_allclose(found["blur"], 4.0, rtol=0.15)


def test_measure_imaging__finds_grey_levels(found, clean):
    truth = clean["true_phase"].values == 1
    for v, one in enumerate(clean["intensity"].values * 255):
        assert found["solid_level"][v] == pytest.approx(np.median(one[truth]), rel=0.05)
        assert found["deep_pore_level"][v] == pytest.approx(one.min(), abs=2)


def test_measure_imaging__finds_the_drift_of_every_slice(clean):
    steady = recorded(clean_images((16, 128, 128), voltage=2.0))
    stack = add_brightness_drift(steady, gain_std=0.08, offset_std=0.0, seed=2).compute()
    found = measure_imaging(stack)
    gain = stack["true_gain"].values / np.median(stack["true_gain"].values)
    assert np.abs(found["gain"].values / gain - 1).std() < 0.02
    np.testing.assert_allclose(found["gain_std"], np.log(gain).std(ddof=1), rtol=0.1)


def test_measure_imaging__takes_what_shines_through_for_no_drift():
    deep = clean_images((72, 96, 96), voltage=(4.0,)).isel(z=slice(0, None, 4))
    found = measure_imaging(recorded(deep))
    for name, most in (("gain_std", 0.01), ("offset_std", 2.0)):
        assert found[name] < min(most, 2 * found[f"{name}_error"])


@pytest.mark.parametrize("voltage", [1.0, 2.0])
def test_measure_imaging__finds_the_drift_of_gain_alone(voltage):
    steady = recorded(clean_images((16, 128, 128), voltage=(voltage,)))
    stack = add_brightness_drift(steady, gain_std=0.05, offset_std=0.0, seed=4).compute()
    found = measure_imaging(stack)
    true = np.log(stack["true_gain"]).std("z", ddof=1)
    np.testing.assert_allclose(found["gain_std"], true, rtol=0.1)
    assert found["offset_std"] < 2 * found["offset_std_error"] + 0.5


def test_measure_imaging__finds_stripes_and_none_where_there_are_none(found, clean):
    striped = recorded(clean.isel(voltage=[1]))
    striped = add_curtaining(striped, strength=0.04, width=5.0, seed=2).compute()
    strength = striped["true_curtaining"].values.std() * 255
    np.testing.assert_allclose(measure_imaging(striped)["curtaining"], strength, rtol=0.25)
    assert (found["curtaining"] < 0.02 * 255).all()


def test_measure_imaging__tells_the_same_of_any_type(clean, found):
    noisy = recorded(clean)
    wide = with_grey(noisy, lambda grey: grey.astype(np.uint16) * 257)
    other = measure_imaging(wide)
    np.testing.assert_allclose(other["white_electrons"], found["white_electrons"], rtol=0.02)
    np.testing.assert_allclose(other["blur"], found["blur"], rtol=0.02)


def test_measure_imaging__leaves_out_what_is_not_measured(clean, found):
    noisy = recorded(clean)
    measured = np.ones(noisy.sizes["z"], bool)
    measured[3] = False
    spoilt = with_grey(noisy, lambda grey: grey.copy())
    spoilt["intensity"].values[:, 3] = 0
    spoilt = spoilt.assign_coords(measured=("z", measured))
    other = measure_imaging(spoilt)
    assert np.isnan(other["gain"][:, 3]).all()
    np.testing.assert_allclose(other["white_electrons"], found["white_electrons"], rtol=0.05)


@pytest.mark.parametrize(("dtype", "grey"), [("uint8", 0), ("uint16", 65535), ("float32", -1e5)])
def test_measure_imaging__leaves_out_slices_of_one_grey_value_and_says_so(clean, dtype, grey):
    noisy = with_grey(recorded(clean), lambda values: values.astype(dtype))
    blank = with_grey(noisy, lambda values: values.copy())
    blank["intensity"].values[1, 3] = grey
    measured = np.arange(noisy.sizes["z"]) != 3
    with pytest.warns(FibdaskWarning, match=r"alone show nothing .*: 1 at 2 kV \(3\)"):
        found = measure_imaging(blank)
    apart = measure_imaging(noisy.assign_coords(measured=("z", measured)))
    for name, values in measure_imaging(noisy).data_vars.items():
        np.testing.assert_array_equal(found[name][0], values[0], err_msg=name)
        np.testing.assert_array_equal(found[name][1], apart[name][1], err_msg=name)


def test_measure_imaging__does_not_depend_on_blocks(clean, found, tmp_path):
    path = save_stack(recorded(clean).chunk(z=5, y=64, x=64), tmp_path / "stack.zarr")
    stored = measure_imaging(fibdask.open_stack(path))
    for name in found.data_vars:
        np.testing.assert_array_equal(stored[name].values, found[name].values, err_msg=name)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda stack: stack.isel(x=slice(0, 40)), "at least 48 pixels .* these have 128 x 40"),
        (
            lambda stack: with_grey(stack, lambda g: np.full_like(g, 7)),
            "grey value alone, the first one 7",
        ),
        (
            lambda stack: stack.assign_coords(measured=("z", np.zeros(12, bool))),
            "none of 12 is measured",
        ),
        (
            lambda stack: with_grey(stack, lambda g: np.where(g > 100, np.nan, g / np.float32(1))),
            "intensity must be finite",
        ),
    ],
)
def test_measure_imaging__refuses_what_tells_nothing(clean, change, rule):
    with pytest.raises(ConventionError, match=rule):
        measure_imaging(change(in_bytes(clean)))


def test_measure_imaging__warns_of_negative_grey_values(clean):
    below = with_grey(clean.isel(z=slice(0, 2)), lambda grey: grey - 0.5)
    with pytest.warns(FibdaskWarning, match=r"^grey 0 is taken for no electrons, but at 1 kV"):
        measure_imaging(below)


def test_measure_imaging__warns_of_signed_integers_that_were_shifted(clean, tmp_path):
    image = in_bytes(clean)["intensity"][0, :4]
    grey = image.values.astype(np.int16)
    below = grey == grey.min()  # as noise leaves them
    np.save(tmp_path / "signed.npy", np.where(below, -1, grey).astype(np.int16))
    options = {"voltage": 1, "pixel_size": 2, "slice_thickness": 5}
    signed = read_images(tmp_path / "signed.npy", **options)
    with pytest.warns(FibdaskWarning, match="read of int16, whose 0 is grey 32768 now"):
        measure_imaging(signed)
    shifted = signed.assign(intensity=signed["intensity"].clip(min=32768) - 32768)
    np.save(tmp_path / "unsigned.npy", np.where(below, 0, grey).astype(np.uint16))
    unsigned = read_images(tmp_path / "unsigned.npy", **options)
    xr.testing.assert_equal(measure_imaging(shifted), measure_imaging(unsigned))


def test_measure__prints_what_was_measured(clean, tmp_path, capsys):
    path = str(save_stack(recorded(clean), tmp_path / "stack.zarr"))
    cli(["measure", path, "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["blur"]["dims"] == ["voltage"]
    cli(["measure", path], standalone_mode=False)
    told = capsys.readouterr().out
    assert "electrons counted in a white pixel" in told
    assert "of 12 slices with contrast, of 12" in told


@pytest.mark.skipif(not FIB25.is_dir(), reason=f"no real images in {FIB25}")
def test_measure_imaging__tells_plausible_numbers_of_tissue():
    stack = read_images(f"{FIB25}/iso.260*.png", voltage=1.2, pixel_size=10, slice_thickness=10)
    found = measure_imaging(stack)
    assert 5 < found["blur"].item() < 20  # nm, at pixels of 10 nm
    assert 2 < float(np.hypot(found["counting_noise"], found["gaussian_noise"]).item()) < 25
    assert found["gain_std"].item() < 0.1


def test_blurred__keeps_the_mean(clean):
    smooth = blurred(clean, 5.0)["intensity"].mean().item()
    assert smooth == pytest.approx(clean["intensity"].mean().item(), rel=1e-3)
