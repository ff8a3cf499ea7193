import numpy as np
import pytest
import xarray as xr

from fibdask.align import apply_shifts
from fibdask.conventions import ConventionError, FibdaskWarning, validate_stack
from fibdask.simulate import levelled_wave, mimic_milling, self_similar, simulate_images
from tests.simulate.naive import attenuated

CLEAN = {
    "model": "analytic",
    "electrons_per_pixel": None,
    "gaussian_std": 0.0,
    "seed": 0,
    "dtype": "float32",
}
NOISY = {"model": "analytic", "electrons_per_pixel": 80.0, "seed": 4}
VOLTAGES = [1.0, 2.0, 4.0]


def structure(chunks="auto", planes=50):
    return levelled_wave(
        (planes, 14, 11),
        voxel_size=(2.5, 3, 3),
        ligament_size=15,
        solid_fraction=0.2,
        seed=2,
        chunks=chunks,
    )


def staircase(steps=40, h=2.5):
    """Solid below a surface that is one plane deeper at each x."""
    phase = structure(planes=steps).isel(y=[0], x=[0])
    depth = np.arange(float(steps))
    data = (depth[:, np.newaxis, np.newaxis] >= depth).astype(np.uint8)
    coords = {"y": phase.y}
    coords |= {axis: (axis, depth * h, phase[axis].attrs) for axis in ("z", "x")}
    return xr.DataArray(data, coords, ("z", "y", "x"), attrs=phase.attrs)


def test_simulate_images__contrast_falls_exponentially_with_depth():
    image = simulate_images(staircase(), voltage=2, **CLEAN).intensity.values[0, 0, 0]
    pore = simulate_images(staircase() * np.uint8(0), voltage=2, **CLEAN).intensity.values[0, 0, 0]
    contrast = (image - pore)[:30]
    assert (np.diff(contrast) < 0).all()
    np.testing.assert_allclose(contrast[1:] / contrast[:-1], 2 ** (-2.5 / 24.2), rtol=1e-4)


@pytest.mark.parametrize(("voltage", "depth"), [(1, 7), (2, 23), (4, 88)])
def test_simulate_images__half_of_the_contrast_is_left_at_the_published_depth(voltage, depth):
    image = simulate_images(staircase(700, h=1), voltage=voltage, **CLEAN).intensity.values[0, 0, 0]
    half = np.argmax(image - image.min() < (image.max() - image.min()) / 2)
    assert half == pytest.approx(depth, rel=0.1)


def test_simulate_images__shine_through_grows_with_voltage():
    image = simulate_images(staircase(), voltage=VOLTAGES, **CLEAN).intensity.values[:, 0, 0]
    assert (np.diff(image[:, 1:30], axis=0) > 0).all()


@pytest.mark.parametrize("z_steps", [[2.5], [1.0, 7.0, 3.0]])
def test_simulate_images__equals_the_naive_attenuation(z_steps):
    phase = structure().compute()
    z = np.cumsum(np.resize(z_steps, 50))
    phase = phase.assign_coords(z=("z", z, {"units": "nm"}))
    images = simulate_images(phase, voltage=[2, 4], **CLEAN).intensity.values
    pore, solid = images[0].min(), images[0].max()
    expected = attenuated(phase.values, z, 10, pore, solid, 24.2 / np.log(2))
    np.testing.assert_allclose(images[0, 10], expected, atol=0.6 / 255)


@pytest.mark.parametrize("detector", ["tld", "icd"])
@pytest.mark.parametrize("kind", ["blocks", "dask", "numpy"])
@pytest.mark.parametrize("chunks", [(50, 14, 11), (3, 14, 4), (17, 5, 11)])
def test_simulate_images__does_not_depend_on_chunks_or_kind(chunks, kind, detector):
    options = {"voltage": VOLTAGES, "detector": detector, **NOISY}
    slices = mimic_milling(structure(), mean_thickness=6, std_thickness=3, seed=1)
    expected = simulate_images(structure().compute(), slices=slices, **options).compute()
    phase = structure(chunks)
    if kind == "dask":
        phase = phase.copy(data=phase.data + np.uint8(0))
    elif kind == "numpy":
        phase = phase.compute()
    # Provenance tells the array that was given, which is another one.
    found = simulate_images(phase, slices=slices, **options).compute()
    xr.testing.assert_identical(found.drop_attrs(deep=False), expected.drop_attrs(deep=False))


def test_simulate_images__a_part_equals_that_of_the_whole():
    stack = simulate_images(structure((10, 6, 6)), voltage=VOLTAGES, **NOISY)
    part = {"voltage": slice(1, 3), "z": slice(13, 20), "y": slice(3, 9), "x": slice(2, 3)}
    whole = stack.intensity.compute().isel(part)
    np.testing.assert_array_equal(stack.intensity.isel(part).compute(), whole)


def test_simulate_images__an_image_does_not_depend_on_what_else_is_imaged():
    phase = structure()
    whole = simulate_images(phase, voltage=VOLTAGES, **NOISY)
    some = simulate_images(phase, voltage=2, slices=phase.z.values[[5, 30]], **NOISY)
    np.testing.assert_array_equal(some.intensity[0], whole.intensity.sel(voltage=2).isel(z=[5, 30]))


def test_simulate_images__gives_a_stack_with_the_truth_of_its_slices():
    phase = structure()
    slices = mimic_milling(phase, mean_thickness=10, std_thickness=3, seed=0)
    stack = simulate_images(phase, voltage=VOLTAGES, slices=slices, **NOISY)
    validate_stack(stack.compute())
    assert stack.intensity.dtype == np.uint8
    assert [text.split('"')[3] for text in stack.attrs["provenance"]] == [
        "levelled_wave",
        "mimic_milling",
        "simulate_images",
    ]
    np.testing.assert_array_equal(stack.true_phase, slices.phase)
    np.testing.assert_array_equal(stack.slice_thickness, slices.slice_thickness)


def test_simulate_images__differs_with_the_seed():
    first, second = (
        simulate_images(structure(), voltage=2, **NOISY | {"seed": seed}).intensity.values
        for seed in (0, 1)
    )
    assert (first != second).mean() > 0.8


def test_simulate_images__of_one_plane_shows_only_itself():
    phase = structure().isel(z=slice(7, 8))
    image = simulate_images(phase, voltage=4, **CLEAN).intensity.values[0, 0]
    assert len(np.unique(image)) == 2


def test_simulate_images__of_one_face_is_as_thick_as_the_planes():
    phase = structure()
    z = xr.DataArray(phase["z"].values, dims="z", attrs={"units": "nm"})  # as made by hand
    by_hand = phase.assign_coords(z=z)
    for slices in ([5.0], xr.Dataset(coords={"z": [5.0]})):
        stack = simulate_images(by_hand, voltage=4, slices=slices, **CLEAN)
        assert stack["slice_thickness"].values == pytest.approx(np.diff(z)[0])


def test_simulate_images__is_two_tasks_a_block_at_most():
    phase = structure((20, 7, 6))
    stack = simulate_images(phase, voltage=VOLTAGES, **NOISY)
    assert len(stack.intensity.data.dask) <= 2 * np.prod(stack.intensity.data.numblocks)


def test_simulate_images__repeats_the_distance_of_faces_and_not_of_planes():
    phase = structure()
    for images in (
        simulate_images(phase, voltage=4, slices=[0.0, 5.0, 15.0], **CLEAN),
        simulate_images(phase.isel(z=slice(None, None, 4)), voltage=4, **CLEAN),
    ):
        assert images.slice_thickness.values[-1] == 10


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("voltage", [2.0, 1.0], "voltage must be strictly increasing; position 1 has 1 kV"),
        ("voltage", 0.0, "voltage must be > 0 kV; position 0 has 0 kV"),
        ("voltage", 2000.0, r"voltage must be from 0.05 to 60 kV; got \[2000.0\] kV"),
        ("model", "mott", "model must be one of analytic, learned, monte_carlo; got 'mott'"),
        ("materials", {"pore": "epoxy", "solid": "Xx"}, "solid must be one of Au, .*; got 'Xx'"),
        ("materials", {"pore": "vacuum", "solid": "Au"}, "epoxy, PMMA, .*; got 'vacuum'"),
        ("materials", {"solid": "Au"}, "those of pore and solid; got solid"),
        ("materials", "Au", r"must be by name, such as \{'pore': 'epoxy', .*; got 'Au'"),
        ("materials", None, "materials must be by name, .*; got None"),
        ("detector", "etd", "detector must be one of tld, icd; got 'etd'"),
        ("electrons_per_pixel", -1.0, "electrons_per_pixel must be finite and > 0 .*; got -1.0"),
        ("gaussian_std", -0.1, "gaussian_std must be a share of white, .*; got -0.1"),
        ("slices", [0.0, 4.0], "slice 1 is at 4 nm, the nearest plane at 5 nm"),
        ("voltage", "2 kV", "voltage must be a number of kV, or several; got '2 kV'"),
        ("slices", [5.0, 0.0], "z must be strictly increasing; slice 1 has 0 nm"),
        ("tilt", 36.0, "tilt goes with model 'learned' and 'monte_carlo' only; got 36.0"),
        ("beam_diameter", -1.0, "beam_diameter goes with model 'learned' and"),
        ("network", "gold", "network goes with model 'learned' only; got 'gold' with 'analytic'"),
        ("device", "cpu", "device goes with model 'learned' and 'monte_carlo' only; got 'cpu'"),
        ("dtype", "int8", "dtype must be one of uint8, uint16, float32; got 'int8'"),
    ],
)
def test_simulate_images__refuses_wrong_arguments(argument, value, message):
    with pytest.raises(ConventionError, match=message):
        simulate_images(structure(), **{"voltage": 2, **NOISY, argument: value})


@pytest.mark.parametrize("model", ["analytic", "learned"])
def test_simulate_images__of_a_lazy_phase_refuse_what_is_none(model):
    pytest.importorskip("torch")
    phase = structure(chunks=(10, 14, 11))
    doubled = phase.copy(data=phase.data * np.uint8(2))
    made = simulate_images(doubled, voltage=2, **CLEAN | {"model": model})
    with pytest.raises(
        ConventionError, match=r"must be 0 .* or 1 .*; voxel \(\d+, \d+, \d+\) has 2"
    ):
        made["intensity"].compute()


MADE_OF_STRUCTURES = pytest.mark.parametrize(
    "made",
    [
        lambda phase: simulate_images(phase, voltage=2, **NOISY),
        lambda phase: mimic_milling(phase, mean_thickness=10, std_thickness=3, seed=0),
        lambda phase: self_similar(phase, scale=[1], seed=0),
    ],
)


@MADE_OF_STRUCTURES
def test_simulate__planes_without_data_are_no_pores(made):
    gaps = structure().assign_coords(measured=("z", np.arange(50) % 7 > 0))
    with pytest.raises(ConventionError, match="8 of 50 planes are not measured, plane 0 the"):
        made(gaps)


@MADE_OF_STRUCTURES
def test_simulate__pixels_that_alignment_filled_are_no_structure(made):
    shifts = xr.Dataset({a: ("z", 3.0 * (np.arange(50) % 3)) for a in ("shift_y", "shift_x")})
    with pytest.warns(FibdaskWarning, match="of the pixels are filled"):
        filled = apply_shifts(structure().to_dataset(), shifts, outside="zero")["phase"]
    with pytest.raises(ConventionError, match=r"outside of \(2, 14\): .* isel\(y=slice\(2, 14\)\)"):
        made(filled)
    made(filled.isel(y=slice(2, 14), x=slice(2, 11)))
