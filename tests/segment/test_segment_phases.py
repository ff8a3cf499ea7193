"""Segmentation: equal to the naive versions, to itself under any chunking, and never eager."""

import json
from contextlib import nullcontext

import dask
import dask.array as da
import distributed
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fibdask.align import apply_shifts
from fibdask.conventions import ConventionError, FibdaskWarning, build_stack
from fibdask.segment import segment_phases
from fibdask.thickness import reposition_slices
from tests.segment.naive import (
    brightest_of_three,
    kmeans_phase,
    otsu_phase,
    otsu_threshold_of_floats,
)

SHAPE = (6, 9, 8)


def mixture(dtype, voltages, seed=0, shape=SHAPE):
    """Pore, shine-through and solid with Gaussian noise: (images, truth)."""
    rng = np.random.default_rng(seed)
    classes = rng.choice(3, shape, p=[0.6, 0.2, 0.2])
    means = [[40 + 8 * v, 90 + 12 * v, 190 - 6 * v] for v in range(voltages)]
    grey = np.array(means)[:, classes] + rng.normal(0, 5, (voltages, *shape))
    scale = 40 if dtype == "uint16" else 1
    return (grey * scale).astype(dtype), (classes == 2).astype(np.uint8)


def stack_of(images):
    voltages = 1.0 + np.arange(len(images))
    z = 10.0 * np.arange(images.shape[1])
    return build_stack(
        {"intensity": images}, z=z, pixel_size=(5, 5), nominal_thickness=10, voltage=voltages
    )


def phase_of(images, **options):
    return segment_phases(stack_of(images), **options)["phase"].values


# Known mixtures


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("voltages", [1, 2, 3])
def test_segment_phases__kmeans_finds_the_brightest_of_three(dtype, voltages):
    images, truth = mixture(dtype, voltages)
    np.testing.assert_array_equal(phase_of(images, method="kmeans"), truth)


def test_segment_phases__joint_kmeans_separates_what_one_voltage_cannot():
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 3, SHAPE)
    images = np.array([[50, 150, 150], [50, 50, 150]])[:, classes].astype(np.uint8)
    images += rng.integers(0, 20, images.shape, dtype=np.uint8)
    np.testing.assert_array_equal(phase_of(images, method="kmeans"), classes == 2)


def test_segment_phases__kmeans_finds_a_rare_bright_class():
    images, _ = mixture("uint8", 1, shape=(10, 20, 20))
    images[images > 120] = 80
    images[0, 0, 0, :12] = 250
    phase = phase_of(images, method="kmeans")
    np.testing.assert_array_equal(phase, images[0] == 250)


def test_segment_phases__threshold_is_exclusive():
    images = np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2)
    phase = phase_of(images, method="threshold", threshold=1)
    np.testing.assert_array_equal(phase, [[[0, 0], [1, 1]]])


@pytest.mark.filterwarnings("ignore:every grey value")
@given(threshold=st.floats(-300, 70000, allow_nan=False), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_segment_phases__threshold_compares_exact_numbers(dtype, threshold, seed):
    images, _ = mixture(dtype, 1, seed, (1, 3, 4))
    images[0, 0, 0, 0] = np.asarray(np.clip(threshold, 0, 255)).astype(dtype)
    phase = phase_of(images, method="threshold", threshold=threshold)
    np.testing.assert_array_equal(phase, images[0].astype(np.float64) > threshold)


# Equality with naive versions


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_segment_phases__otsu_equals_scikit_image(dtype, seed):
    images = np.random.default_rng(seed).gamma(2, 40, (1, *SHAPE)).clip(0, 255).astype(dtype)
    np.testing.assert_array_equal(phase_of(images, method="otsu"), otsu_phase(images[0]))


@pytest.mark.parametrize("offset", [0, -100, -1e5])
def test_segment_phases__otsu_of_floats_equals_trying_every_value(offset):
    images = mixture("float32", 1)[0] + np.float32(offset)
    threshold = otsu_threshold_of_floats(images[0])
    np.testing.assert_array_equal(phase_of(images, method="otsu"), images[0] > threshold)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("voltages", "classes"), [(1, 2), (1, 3), (2, 3)])
def test_segment_phases__kmeans_equals_scikit_learn_on_all_voxels(voltages, classes, seed):
    images = mixture("uint8", voltages, seed)[0]
    phase = phase_of(images, method="kmeans", classes=classes)
    np.testing.assert_array_equal(phase, kmeans_phase(images, classes))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_segment_phases__kmeans_equals_trying_every_two_thresholds(dtype, seed):
    rng = np.random.default_rng(seed)
    solid = rng.random((1, 6, 30, 30)) < 0.12
    electrons = rng.poisson(50 * np.where(solid, 0.45, 0.1 * rng.gamma(1, 1, solid.shape)))
    np.testing.assert_array_equal(
        phase_of(electrons.astype(dtype), method="kmeans"), brightest_of_three(electrons[0])
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_segment_phases__binned_kmeans_is_scikit_learn_within_one_percent(dtype):
    images = np.random.default_rng(3).normal(128, 30, (3, *SHAPE)).clip(0, 255).astype(dtype)
    images[:, :3] = images[:, :3] // 3
    images[1:, ::2] = images[1:, ::2] // 2
    differing = phase_of(images, method="kmeans") != kmeans_phase(images, 3)
    assert differing.mean() < 0.01


def test_segment_phases__integers_held_as_floats_give_the_same_phase():
    images = mixture("uint8", 1)[0]
    for method in ("kmeans", "otsu"):
        phase = phase_of(images.astype(np.float32), method=method)
        np.testing.assert_array_equal(phase, phase_of(images, method=method))


def test_segment_phases__a_hot_pixel_does_not_spoil_joint_bins():
    images, truth = mixture("float32", 2, shape=(10, 20, 20))
    images[:, 0, 0, 0] = 1e30
    differing = phase_of(images, method="kmeans") != truth
    assert differing[1:].sum() == 0


# Floats in steps of their own range


def noisy_floats(low, high, noise, shape=(12, 40, 40), seed=4):
    """Two phases with Gaussian noise: (image (1, z, y, x) float32, phase)."""
    rng = np.random.default_rng(seed)
    phase = ndimage.gaussian_filter(rng.standard_normal(shape), 2) > 0.1
    grey = np.where(phase, high, low) + rng.normal(0, noise, shape)
    return grey.astype(np.float32)[np.newaxis], phase


@pytest.mark.parametrize("options", [{"method": "otsu"}, {"method": "kmeans", "classes": 2}])
@pytest.mark.parametrize(
    ("low", "high", "noise"),
    [
        (30000, 30030, 4),
        (-30030, -30000, 4),
        (1e6, 1e6 + 100, 12),
        (-1e6 - 100, -1e6, 12),
        (300174.6, 300270.7, 10),
        (1e-6, 2e-6, 1e-7),
        (-1, 1, 0.2),
        (1e30, 2e30, 1e29),
    ],
)
def test_segment_phases__of_floats_follows_their_range(low, high, noise, options):
    image, phase = noisy_floats(low, high, noise)
    assert (phase_of(image, **options) != phase).mean() < 0.002


@pytest.mark.parametrize("options", [{"method": "otsu"}, {"method": "kmeans", "classes": 2}])
@pytest.mark.parametrize("hot", [1e9, -1e9, 3e38])
def test_segment_phases__hot_pixels_do_not_widen_the_steps(hot, options):
    image, phase = noisy_floats(30000, 30030, 4)
    image[0, 3, 4, :5] = hot
    assert (phase_of(image, **options) != phase).mean() < 0.002


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_segment_phases__voltages_far_apart_are_told_jointly(dtype):
    first, phase = noisy_floats(60000, 60030, 3)
    second = noisy_floats(100, 130, 3)[0]
    images = np.concatenate([first, second]).astype(dtype)
    assert (phase_of(images, method="kmeans", classes=2) != phase).mean() < 0.002


def test_segment_phases__joint_steps_follow_the_range_of_floats():
    first, phase = noisy_floats(1e6, 1e6 + 20, 2)
    images = np.concatenate([first, noisy_floats(-1e6, -1e6 + 20, 2, seed=4)[0]])
    assert (phase_of(images, method="kmeans", classes=2) != phase).mean() < 0.002


@pytest.mark.parametrize("grey", [0.0, 1e6, -3e-7])
def test_segment_phases__a_constant_float_image_holds_one_grey_value(grey):
    images = np.full((1, 3, 4, 5), grey, np.float32)
    with pytest.raises(ConventionError, match=r"otsu needs at least 2.* counted holds 1 of"):
        phase_of(images, method="otsu")


# What is no image


OTHER_METHODS = [
    {"method": "otsu"},
    {"method": "kmeans", "classes": 2},
    {"method": "kmeans", "classes": 2, "voltage": 1},
]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("options", OTHER_METHODS)
def test_segment_phases__slices_that_are_not_measured_are_not_counted(options, dtype):
    images = mixture(dtype, 2, shape=(10, 9, 8))[0]
    measured = np.isin(np.arange(10), [0, 3, 4, 5, 7])
    expected = phase_of(images[:, measured], **options)
    images[:, ~measured] = 0
    stack = stack_of(images).assign_coords(measured=("z", measured))
    phase = segment_phases(stack, **options)["phase"].values
    np.testing.assert_array_equal(phase[measured], expected)


@pytest.mark.parametrize("chunks", [None, (1, 2, 3, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("options", OTHER_METHODS)
def test_segment_phases__tells_of_slices_of_one_grey_value(options, dtype, chunks):
    images = mixture(dtype, 2)[0]
    images[0, 1], images[0, 3] = 0, 77
    images[0, 4, :4] = 0  # a part that is blank makes no blank slice
    stack = stack_of(images)
    if chunks:
        stack = stack.chunk(dict(zip(("voltage", "z", "y", "x"), chunks, strict=True)))
    told = "of voltage number 0, 2 of 5 slices hold one grey value alone, .* failed: 1, 3; "
    found = segment_phases(stack, **options, region_of_interest={"z": (0, 5)})["phase"]
    with pytest.warns(FibdaskWarning, match=told):
        found.compute()


def test_segment_phases__gaps_of_a_repositioned_stack_are_not_counted():
    images = np.random.default_rng(0).normal(120, 40, (1, *SHAPE)).clip(0, 255).astype(np.uint8)
    moved = reposition_slices(stack_of(images), spacing=3.0)
    phase = segment_phases(moved, method="otsu")["phase"].values
    np.testing.assert_array_equal(phase[moved["measured"].values], otsu_phase(images[0]))


def test_segment_phases__refuses_to_count_where_nothing_is_measured():
    measured = np.arange(6) < 3
    stack = stack_of(mixture("uint8", 1)[0]).assign_coords(measured=("z", measured))
    with pytest.raises(ConventionError, match="of slices 3 to 5 none is measured"):
        segment_phases(stack, method="otsu", region_of_interest={"z": (3, 6)})


@pytest.mark.parametrize("outside", ["zero", "edge"])
def test_segment_phases__pixels_that_alignment_filled_are_not_counted(outside):
    stack = stack_of(mixture("uint8", 1, shape=(6, 30, 40))[0])
    pixels = np.array([[0, 0], [2, -3], [4, -6], [6, -9], [4, 0], [2, 12]])
    shifts = xr.Dataset({f"shift_{a}": ("z", 5.0 * pixels[:, i]) for i, a in enumerate("yx")})
    with pytest.warns(FibdaskWarning, match="filled"):
        filled = apply_shifts(stack, shifts, outside=outside)
    found = segment_phases(filled, method="otsu")
    record = json.loads(found.attrs["provenance"][-1])["parameters"]["region_of_interest"]
    assert record == {"z": [0, 6], "y": [6, 30], "x": [12, 31]}
    whole = found["phase"].values[:, 6:30, 12:31]
    cropped = filled["intensity"].values[0, :, 6:30, 12:31]
    np.testing.assert_array_equal(whole, otsu_phase(cropped))


@pytest.mark.filterwarnings("ignore:.*since no raw pixel falls")
@pytest.mark.parametrize(
    ("outside", "rows"), [("edge", -2), ("edge", 2), ("crop", -2), ("crop", 2)]
)
def test_segment_phases__tells_of_a_data_bar_that_alignment_has_left(outside, rows):
    images = mixture("uint8", 1)[0]
    images[..., -2:, :] = 255
    moved = {"shift_y": ("z", 5.0 * np.array([0, 0, rows, 0, 0, 0])), "shift_x": ("z", np.zeros(6))}
    aligned = apply_shifts(stack_of(images), xr.Dataset(moved), outside=outside)
    left = (aligned["intensity"].values[0, 2, :-2] == 255).all(axis=1).any()
    told = "left above those that data_bar cuts"
    with pytest.warns(FibdaskWarning, match=told) if left else nullcontext():
        segment_phases(aligned, method="otsu", data_bar=2)
    assert left == (outside == "edge" and rows < 0)


def test_segment_phases__refuses_filled_pixels_whose_place_is_lost():
    share = ("z", np.array([0, 0, 0.25, 0, 0, 0]))
    stack = stack_of(mixture("uint8", 1)[0]).assign_coords(filled_share=share)
    with pytest.raises(ConventionError, match=r"slice 2 has 25 % of them.*outside='crop'"):
        segment_phases(stack, method="otsu")


@pytest.mark.parametrize("method", ["otsu", "kmeans"])
def test_segment_phases__warns_of_a_threshold_above_all_but_outliers(method):
    images = mixture("uint16", 1, shape=(10, 20, 20))[0] // 40
    images[:, 3, 4, 5] = 60000
    with pytest.warns(FibdaskWarning, match=f"{method} leaves 1 of 4,000 .* to the solid phase"):
        phase_of(images, method=method, classes=2)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("voltages", [1, 2])
def test_segment_phases__warns_of_three_classes_where_nothing_shines_through(dtype, voltages):
    rng = np.random.default_rng(1)
    solid = rng.random((10, 30, 30)) < 0.7
    grey = np.where(solid, 160, 70) + rng.normal(0, 12, (voltages, *solid.shape))
    images = grey.astype(dtype)
    with pytest.warns(FibdaskWarning, match="parts one peak of grey values in two, and takes"):
        assert phase_of(images, method="kmeans").mean() < 0.4
    np.testing.assert_array_equal(phase_of(images, method="kmeans", classes=2), solid)
    shines = ~solid & (rng.random(solid.shape) < 0.5)
    deep = (grey - 40 * shines).clip(0).astype(dtype)  # three peaks: warnings are errors
    np.testing.assert_allclose(phase_of(deep, method="kmeans").mean(), solid.mean(), atol=0.01)


def test_segment_phases__warns_when_computed_on_a_worker():
    images = mixture("uint16", 1, shape=(10, 20, 20))[0] // 40
    images[:, 3, 4, 5] = 60000
    stack = segment_phases(stack_of(images), method="otsu")
    with (
        distributed.Client(n_workers=1, processes=False, dashboard_address="127.0.0.1:0"),
        pytest.warns(FibdaskWarning, match="to the solid phase"),
    ):
        stack["phase"].compute()


@pytest.mark.parametrize("threshold", [np.nan, "90", np.array([90.0, 91.0])])
def test_segment_phases__refuses_a_threshold_that_is_no_number(threshold):
    with pytest.raises(ConventionError, match="threshold must be a finite grey value; got"):
        phase_of(mixture("uint8", 1)[0], method="threshold", threshold=threshold)


@pytest.mark.parametrize(("threshold", "phase"), [(255, "pore"), (-1, "solid")])
def test_segment_phases__warns_of_a_threshold_that_no_grey_value_can_cross(threshold, phase):
    images = mixture("uint8", 1)[0]
    with pytest.warns(FibdaskWarning, match=f"uint8 is {phase} at a threshold of {threshold}"):
        phase_of(images, method="threshold", threshold=threshold)


def test_segment_phases__warns_of_a_threshold_beyond_the_images_in_memory():
    images = mixture("uint8", 1)[0] // 2
    images[:, 2] = 255
    measured = ("z", np.arange(images.shape[1]) != 2)
    stack = stack_of(images).assign_coords(measured=measured)
    with pytest.warns(FibdaskWarning, match="that is measured is pore at a threshold of 200"):
        segment_phases(stack, method="threshold", threshold=200)


@pytest.mark.parametrize(
    "options", [{"method": "otsu"}, {"classes": 2}, {"method": "threshold", "threshold": 100}]
)
@pytest.mark.parametrize("voltages", [1, 2])
def test_segment_phases__asks_nothing_of_slices_that_are_not_measured(options, voltages):
    images = mixture("float32", voltages)[0]
    images[:, 2] = 0
    lost = images.copy()
    lost[:, 2] = np.nan
    with pytest.raises(ConventionError, match="the first at z 2, y 0, x 0; crop or fill them, or"):
        phase_of(lost, **options)
    measured = ("z", np.arange(images.shape[1]) != 2)
    black, empty = (
        segment_phases(stack_of(array).assign_coords(measured=measured), **options)["phase"].values
        for array in (images, lost)
    )
    assert black.any()
    np.testing.assert_array_equal(empty, black)


# Independence of chunking


@st.composite
def ragged(draw, shape):
    """Chunks of a shape, of any lengths."""
    cuts = [draw(st.sets(st.integers(1, n - 1), max_size=3)) if n > 1 else set() for n in shape]
    edges = [[0, *sorted(c), n] for c, n in zip(cuts, shape, strict=True)]
    return tuple(tuple(int(d) for d in np.diff(e)) for e in edges)


@given(data=st.data())
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("method", ["kmeans", "otsu"])
def test_segment_phases__does_not_depend_on_chunks(method, data):
    shape = (data.draw(st.integers(1, 3)), *data.draw(st.sampled_from([SHAPE, (1, 5, 40)])))
    dtype = data.draw(st.sampled_from(["uint8", "uint16", "float32"]))
    images = np.random.default_rng(7).normal(90, 40, shape).clip(0, 255).astype(dtype)
    chunked = da.from_array(images, chunks=data.draw(ragged(shape)))
    phase = phase_of(chunked, method=method)
    np.testing.assert_array_equal(phase, phase_of(images, method=method))


# Region of interest and data bar


@pytest.mark.parametrize("method", ["kmeans", "otsu"])
def test_segment_phases__region_of_interest_alone_is_counted(method):
    images, truth = mixture("uint8", 2)
    images[:, 4:] = 255 - images[:, 4:] // 8
    phase = phase_of(images, method=method, region_of_interest={"z": (0, 4)})
    np.testing.assert_array_equal(phase[:4], truth[:4])
    assert phase[4:].all()


def test_segment_phases__data_bar_is_neither_counted_nor_kept():
    images, truth = mixture("uint8", 1)
    images[:, :, -2:] = 255
    result = segment_phases(stack_of(images), method="kmeans", data_bar=2)
    assert result.sizes["y"] == SHAPE[1] - 2
    assert result["intensity"].shape == (1, 6, 7, 8)
    np.testing.assert_array_equal(result["phase"], truth[:, :-2])


# Voltages


def test_segment_phases__otsu_takes_the_lowest_voltage():
    images, _ = mixture("uint8", 3)
    expected = phase_of(images, method="otsu", voltage=1)
    np.testing.assert_array_equal(phase_of(images, method="otsu"), expected)
    np.testing.assert_array_equal(expected, otsu_phase(images[0]))


def test_segment_phases__a_voltage_alone_is_the_stack_of_that_voltage():
    images, _ = mixture("uint8", 3)
    phase = phase_of(images, method="kmeans", voltage=2)
    np.testing.assert_array_equal(phase, phase_of(images[1:2], method="kmeans"))


# Laziness and the record


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("method", ["kmeans", "otsu"])
def test_segment_phases__runs_no_task_when_called(method, dtype):
    ran = []

    def scheduler(graph, keys, **options):
        ran.append(keys)
        return dask.get(graph, keys, **options)

    images = da.from_array(mixture(dtype, 2)[0], chunks=(1, 3, 4, 4))
    with dask.config.set(scheduler=scheduler):
        result = segment_phases(stack_of(images), method=method)
        assert not ran
        result["phase"].compute()
    assert len(ran) == 1


def test_segment_phases__records_its_resolved_parameters():
    result = segment_phases(stack_of(mixture("uint8", 2)[0]), method="otsu")
    record = json.loads(result.attrs["provenance"][-1])
    assert record["step"] == "segment_phases"
    assert record["parameters"]["voltage"] == [1.0]
    assert record["parameters"]["region_of_interest"]["x"] == [0, 8]


def test_segment_phases__labels_the_phase():
    phase = segment_phases(stack_of(mixture("uint8", 1)[0]))["phase"]
    assert phase.dims == ("z", "y", "x")
    assert phase.dtype == np.uint8
    assert phase.attrs["flag_meanings"] == "pore solid"


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "snake"},
            "must be one of kmeans, otsu, threshold, network, random_forest; got 'snake'",
        ),
        ({"classes": 1}, "whole number >= 2; got 1"),
        ({"classes": "3"}, "whole number >= 2; got '3'"),
        ({"method": "threshold"}, "got None with 'threshold'"),
        ({"method": "otsu", "threshold": 5}, "got 5 with 'otsu'"),
        (
            {"method": "threshold", "threshold": 5, "region_of_interest": {"z": (0, 2)}},
            r"'random_forest' only; got \{'z': \(0, 2\)\} with 'threshold'",
        ),
        ({"method": "threshold", "threshold": np.nan}, "finite grey value; got nan"),
        ({"voltage": 3.5}, r"one of the stack, 1, 2 kV; got 3\.5 kV"),
        ({"data_bar": 9}, "of rows from 0 to 8; got 9"),
        ({"data_bar": -1}, "of rows from 0 to 8; got -1"),
        ({"data_bar": True}, "of rows from 0 to 8; got True"),
        ({"region_of_interest": {"t": (0, 1)}}, "axes z, y, x; got 't'"),
        ({"region_of_interest": {"z": (2, 7)}}, r"stop <= 6; got \(2, 7\)"),
        ({"region_of_interest": {"y": (0, 9)}, "data_bar": 1}, r"stop <= 8; got \(0, 9\)"),
    ],
)
def test_segment_phases__refuses_what_does_not_fit(options, message):
    with pytest.raises(ConventionError, match=message):
        phase_of(mixture("uint8", 2)[0], **options)


def test_segment_phases__refuses_seven_voltages_jointly():
    images = np.zeros((7, 2, 2, 2), np.uint8)
    with pytest.raises(ConventionError, match="up to 6 voltages; got 7"):
        phase_of(images, method="kmeans")


@pytest.mark.parametrize("voltages", [1, 2])
def test_segment_phases__too_few_grey_values_are_counted(voltages):
    images = np.full((voltages, 2, 2, 2), 9, np.uint8)
    images[:, 0] = 200
    with pytest.raises(ConventionError, match=r"needs at least 3 different.*counted holds 2 of"):
        phase_of(images, method="kmeans")


@pytest.mark.parametrize("voltages", [1, 2])
def test_segment_phases__unfit_floats_are_counted_when_computed(voltages):
    images = mixture("float32", voltages)[0]
    images[0, 1, 2, 3:6] = [np.nan, np.inf, -np.inf]
    result = segment_phases(stack_of(images), method="kmeans")
    with pytest.raises(ConventionError, match=r"3 of 432 .* the first at z 1, y 2, x 3"):
        result["phase"].compute()


def test_segment_phases__unfit_floats_outside_the_region_are_found_in_their_block():
    images = mixture("float32", 1)[0]
    images[0, 5, 0, 0] = np.nan
    result = segment_phases(stack_of(images), method="otsu", region_of_interest={"z": (0, 3)})
    with pytest.raises(ConventionError, match=r"1 of 432 grey values .* block z 0:6, y 0:9, x 0:8"):
        result["phase"].compute()
