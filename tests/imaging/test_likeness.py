import numpy as np
import pytest
import tifffile
import xarray as xr

from fibdask import (
    ConventionError,
    FibdaskWarning,
    RecipeError,
    add_brightness_drift,
    add_noise,
    apply_slice_thickness,
    measure_imaging,
    read_images,
    reposition_slices,
    save_stack,
    simulate_images,
    simulate_stack,
    simulation_options,
)
from fibdask.imaging.likeness import _noise
from fibdask.run.recipe import read_recipe
from fibdask.simulate import scale_brightness
from tests.imaging.helpers import clean_images, in_bytes, recorded, with_grey

STRUCTURE = {"shape": [40, 128, 128], "ligament_size": [45.0], "solid_fraction": [0.4]}


@pytest.fixture(scope="module")
def stack():
    """Images of another contrast and brightness than those of the simulator."""
    made = recorded(clean_images((16, 128, 128)), width=0.0, electrons=60.0, gaussian=0.0)
    return with_grey(made, lambda grey: np.rint(0.6 * grey + 60).astype(np.uint8))


def test_simulation_options__simulate_images_like_those_of_a_stack(stack):
    options = simulation_options(stack, model="analytic")
    assert options["voltage"] == (1.0, 2.0)
    assert options["voxel_size"] == (2.5, 2.5, 2.5)
    made = simulate_stack(model="analytic", seed=8, **STRUCTURE, **options).compute()
    assert made["intensity"].dtype == stack["intensity"].dtype
    like, known = measure_imaging(made), measure_imaging(stack)
    for name in ("solid_level", "deep_pore_level"):
        np.testing.assert_allclose(like[name], known[name], rtol=0.05)
    noise = [np.hypot(one["counting_noise"], one["gaussian_noise"]) for one in (like, known)]
    np.testing.assert_allclose(*noise, rtol=0.12)


def test_simulation_options__keep_noise_beyond_the_white_of_the_simulator():
    sharp = clean_images((16, 128, 128), voltage=(2.0,))
    few = scale_brightness(add_noise(sharp, electrons_per_pixel=8, seed=1), contrast=0.4).compute()
    dark = in_bytes(few)
    options = simulation_options(dark, model="analytic")
    made = simulate_stack(model="analytic", seed=8, **STRUCTURE, **options).compute()
    solid = [one["intensity"].where(one["true_phase"] == 1) for one in (made, dark)]
    assert float(solid[0].std()) == pytest.approx(float(solid[1].std()), rel=0.1)
    white = 255 * (options["contrast"][0] + options["brightness"][0])
    assert made["intensity"].max() > 1.2 * white


@pytest.mark.parametrize(("detector", "pore"), [("icd", "epoxy"), ("tld", "vacuum")])
def test_simulation_options__set_the_grey_levels_that_monte_carlo_has_of_bulks(
    stack, detector, pore
):
    some = stack.isel(voltage=[1], z=slice(2))
    seen = {"detector": detector, "materials": {"pore": pore, "solid": "Au"}}
    options = simulation_options(some, **seen)
    known = measure_imaging(some)
    for phase, name in enumerate(("deep_pore_level", "solid_level")):
        bulk = some["true_phase"].isel(y=slice(20), x=slice(20)) * np.uint8(0) + np.uint8(phase)
        images = simulate_images(bulk, voltage=2, gaussian_std=0, dtype="float32", seed=9, **seen)
        knobs = {key: options[key] for key in ("contrast", "brightness")}
        made = scale_brightness(images, **knobs)["intensity"].values
        assert 255 * made.mean() == pytest.approx(known[name].item(), abs=2.5)


def test_noise__of_electrons_that_are_followed_is_even_where_that_of_the_stack_is():
    levels = {"deep_pore_level": 60.0, "solid_level": 200.0}
    noise = {"counting_noise": 0.0, "gaussian_noise": 10.0}
    found = xr.Dataset({key: ("voltage", [value]) for key, value in (levels | noise).items()})
    pore, solid = np.array([0.15]), np.array([0.75])
    counted, _ = _noise(found, pore, solid, followed=False)
    assert counted == pytest.approx(1e5)
    counted, gaussian = _noise(found, pore, solid, followed=True)
    assert counted < 5000
    for signal in (pore, solid):
        std = np.sqrt(signal / counted + gaussian**2)
        assert std == pytest.approx(10 * 0.6 / 140, rel=0.05)


def test_simulation_options__warn_of_electrons_that_take_monte_carlo_long():
    clean = clean_images((2, 64, 64), voltage=(2.0,))
    even = recorded(clean, width=0.0, electrons=1e6, gaussian=0.05)
    with pytest.warns(FibdaskWarning, match="electrons_per_pixel, each of which the model 'mont"):
        simulation_options(even)


def test_simulation_options__refuse_float32_that_is_not_on_0_to_1(stack):
    some = stack.isel(voltage=[1], z=slice(6))
    drifting = add_brightness_drift(some, offset_std=0.1, gradient_std=0.1, seed=1).compute()
    floats = with_grey(drifting, lambda grey: grey.astype(np.float32))
    with pytest.raises(ConventionError, match="bring grey values to 0 … 1 first"):
        simulation_options(floats, model="analytic")


def test_simulation_options__take_blur_for_a_wide_beam_or_for_blurred_edges(stack):
    blurred = recorded(clean_images((6, 96, 96)), width=5.0)
    beam, edges = (simulation_options(blurred, model=m) for m in ("monte_carlo", "analytic"))
    assert beam["blur_width"] == edges["beam_diameter"] == 0
    assert edges["blur_width"] == pytest.approx(5.0, rel=0.15)
    assert beam["beam_diameter"] == pytest.approx(2.355 * edges["blur_width"], rel=1e-3)


@pytest.mark.parametrize("lost", [[2, 4], [1, 3, 5]])
def test_simulation_options__take_slices_that_are_lost_for_no_uneven_milling(lost):
    images = recorded(clean_images((6, 96, 96)))
    measured = ("z", ~np.isin(np.arange(6), lost))
    options = simulation_options(images.assign_coords(measured=measured))
    assert (options["mean_thickness"], options["std_thickness"]) == (2.5, 0)


@pytest.mark.filterwarnings("ignore:.*they become gaps in z")
@pytest.mark.parametrize("every", [1, 2])
def test_simulation_options__take_files_that_are_missing_for_lost_slices(tmp_path, every):
    images = recorded(clean_images((6, 96, 96), voltage=(2.0,)))
    for number, image in enumerate(images["intensity"].values[0]):
        if number != 3:
            tifffile.imwrite(tmp_path / f"image_{every * number:02}.tif", image)
    stack = read_images(tmp_path, voltage=2, pixel_size=2.5, slice_thickness=2.5)
    assert max(np.diff(stack["z"])) == 5 * every
    options = simulation_options(stack)
    assert (options["mean_thickness"], options["std_thickness"]) == (2.5 * every, 0)


def test_simulation_options__take_distances_of_slices_and_not_of_planes():
    images = recorded(clean_images((6, 96, 96)))
    images = apply_slice_thickness(images, [5.0, 5, 15, 5, 5, 5])
    planes = reposition_slices(images, spacing=5.0)
    options = simulation_options(planes)
    assert options["mean_thickness"] == 7
    assert options["std_thickness"] == 4


def test_simulation_options__warn_where_voltages_differ(stack):
    noisier = stack["intensity"].values.copy()
    noise = np.random.default_rng(0).normal(0, 25, noisier[1].shape)
    noisier[1] = np.clip(noisier[1] + noise, 0, 255)
    with pytest.warns(FibdaskWarning, match="is one number for all voltages"):
        simulation_options(with_grey(stack, lambda _: noisier))


def test_simulation_options__refuse_a_solid_that_is_darker(stack):
    with pytest.raises(ConventionError, match="signals of the materials"):
        simulation_options(stack, materials={"pore": "epoxy", "solid": "epoxy"})


def recipe(tmp_path, stack, **keys):
    save_stack(stack, tmp_path / "real.zarr")
    (tmp_path / "out").mkdir()
    table = STRUCTURE | {"model": "analytic", "like": str(tmp_path / "real.zarr")} | keys
    return read_recipe({"simulate": table, "output": {"path": str(tmp_path / "out")}})


def test_like__is_measured_when_the_recipe_is_read(stack, tmp_path):
    read = recipe(tmp_path, stack)
    table = read.tables["simulate"]
    assert "like" not in table
    assert read.measured == (str(tmp_path / "real.zarr"),)
    assert {key: table[key] for key in ("voltage", "contrast")} == {
        key: simulation_options(stack, model="analytic")[key] for key in ("voltage", "contrast")
    }


def test_like__is_refused_beside_a_key_that_it_measures(stack, tmp_path):
    rule = r"\[simulate\] gaussian_std, voltage: measured of the stack that like names"
    with pytest.raises(RecipeError, match=rule):
        recipe(tmp_path, stack, gaussian_std=0.1, voltage=[1])


def test_like__is_refused_of_another_pixel_size_than_the_structure(stack, tmp_path):
    other = stack.assign_coords(x=("x", stack["x"].values * 2, stack["x"].attrs))
    save_stack(other, tmp_path / "other.zarr")
    save_stack(stack.rename(true_phase="phase"), tmp_path / "structure.zarr")
    tables = {
        "input": {"path": str(tmp_path / "structure.zarr")},
        "simulate": {"model": "analytic", "like": str(tmp_path / "other.zarr")},
        "output": {"path": str(tmp_path / "out")},
    }
    with pytest.raises(RecipeError, match=r"pixels of the stack are 5 nm along x, .* 2\.5 nm"):
        read_recipe(tables)


def test_scale_brightness__multiplies_and_adds(stack):
    scaled = scale_brightness(stack, contrast=(0.5, 1.0), brightness=(0.0, 0.1)).compute()
    low, high = stack["intensity"].values.astype(float)
    np.testing.assert_array_equal(scaled["intensity"][0], np.rint(low / 2))
    np.testing.assert_allclose(scaled["intensity"][1], np.clip(high + 25.5, 0, 255), atol=0.6)


def test_scale_brightness__of_a_type_keeps_what_was_beyond_white():
    signals = clean_images((2, 32, 32), voltage=(2.0,)).isel(z=[0, 1])
    bright = with_grey(signals, lambda grey: grey + np.float32(0.9))
    scaled = scale_brightness(bright, contrast=0.5, dtype="uint8").compute()["intensity"]
    assert scaled.dtype == np.uint8
    np.testing.assert_allclose(scaled, 127.5 * bright["intensity"], atol=0.51)
    with pytest.raises(ConventionError, match="dtype must be"):
        scale_brightness(bright, dtype="int8")
    bright["intensity"][0, 1, 3, 3] = np.nan
    with pytest.raises(ConventionError, match=r"\(NaN\) are no uint8; slice 1 has some"):
        scale_brightness(bright, dtype="uint8").compute()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"brightness": 20}, "relative to white, from -1 to 1, not in grey values; got 20"),
        ({"contrast": 0}, "contrast must be above 0"),
        ({"contrast": (0.5, -1.0)}, "contrast must be above 0.*; got -1"),
        ({"contrast": "high"}, "contrast must be a number, or one for each voltage; got 'high'"),
    ],
)
def test_scale_brightness__refuses_what_leaves_no_image(stack, given, told):
    with pytest.raises(ConventionError, match=told):
        scale_brightness(stack, **given)


def test_scale_brightness__refuses_other_numbers_than_voltages(stack):
    with pytest.raises(ConventionError, match=r"each of 2 voltages; got \[1.0, 2.0, 3.0\]"):
        scale_brightness(stack, contrast=(1, 2, 3))
