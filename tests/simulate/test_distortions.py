import numpy as np
import pytest

from fibdask.conventions import ConventionError, build_stack
from fibdask.io import open_stack, save_stack
from fibdask.simulate.artefacts.brightness import add_brightness_drift
from fibdask.simulate.artefacts.curtaining import add_curtaining
from fibdask.simulate.artefacts.shifts import add_shifts

SHAPE = (2, 6, 40, 50)
STAGES = [add_curtaining, add_brightness_drift, add_shifts]
OPTIONS = {
    add_curtaining: {"strength": 0.1, "width": 6.0, "persistence": 1.5, "decay_length": 90.0},
    add_brightness_drift: {"gradient_std": 0.1, "persistence": 2.0},
    add_shifts: {"step_std": 9.0, "voltage_std": 5.0},
}
DRIFTS = ("true_gain", "true_offset", "true_gradient_y", "true_gradient_x")


def make_stack(shape=SHAPE, dtype=np.float32, value=None, chunks=None):
    rng = np.random.default_rng(0)
    full = 1 if dtype == np.float32 else np.iinfo(dtype).max
    intensity = rng.random(shape) if value is None else np.full(shape, value)
    stack = build_stack(
        {"intensity": (full * intensity).astype(dtype)},
        z=np.arange(shape[1]) * 10.0,
        pixel_size=(4.0, 2.0),
        nominal_thickness=10.0,
        voltage=np.arange(1.0, shape[0] + 1),
    )
    return stack.chunk(chunks) if chunks else stack


def correlation(first, second):
    return float((first * second).mean())


def test_add_curtaining__adds_stripes_that_are_constant_along_y():
    stack = make_stack()
    curtained = add_curtaining(stack, strength=0.1, seed=0)
    added = (curtained["intensity"] - stack["intensity"]).values
    truth = curtained["true_curtaining"]
    assert truth.dims == ("z", "x")
    expected = np.broadcast_to(truth.values[:, np.newaxis], SHAPE)
    np.testing.assert_allclose(added, expected, atol=2e-7)


def test_add_curtaining__decays_from_the_first_row():
    stack = make_stack(value=0.5)
    curtained = add_curtaining(stack, decay_length=50.0, seed=0)
    added = (curtained["intensity"] - 0.5).values[1, 2]
    truth = curtained["true_curtaining"]
    expected = np.exp(-np.arange(40) * 4 / 50)[:, np.newaxis] * truth.values[2]
    np.testing.assert_allclose(added, expected, atol=2e-7)
    assert truth.attrs["decay_length"] == 50


def test_add_curtaining__has_the_strength_and_correlations_asked_for():
    stack = make_stack((1, 300, 2, 2000), value=0.5)
    curtained = add_curtaining(stack, strength=0.07, width=8.0, persistence=2.0, seed=1)
    curtains = curtained["true_curtaining"].values / 0.07
    assert curtains.std() == pytest.approx(1, abs=0.03)
    assert abs(curtains.mean()) < 0.03
    for lag in (2, 4, 8):
        along_x = correlation(curtains[:, lag:], curtains[:, :-lag])
        assert along_x == pytest.approx(np.exp(-((2 * lag) ** 2) / (4 * 8**2)), abs=0.04)
    for lag in (1, 3):
        along_z = correlation(curtains[lag:], curtains[:-lag])
        assert along_z == pytest.approx(np.exp(-(lag**2) / (4 * 2**2)), abs=0.04)


def test_add_curtaining__of_slices_is_independent_without_persistence():
    curtained = add_curtaining(make_stack((1, 200, 2, 800), value=0.5), strength=1, seed=1)
    curtains = curtained["true_curtaining"].values
    assert abs(correlation(curtains[1:], curtains[:-1])) < 0.02


def test_add_brightness_drift__can_be_undone_by_its_truth():
    stack = make_stack()
    drifted = add_brightness_drift(stack, gradient_std=0.1, seed=0)
    gain, offset, gradient_y, gradient_x = (
        drifted[name].values[:, :, np.newaxis, np.newaxis] for name in DRIFTS
    )
    y = (np.arange(40)[:, np.newaxis] + 0.5) / 40 - 0.5
    x = (np.arange(50) + 0.5) / 50 - 0.5
    undone = (drifted["intensity"] - offset - gradient_y * y - gradient_x * x) / gain
    np.testing.assert_allclose(undone, stack["intensity"], atol=1e-6)


def test_add_brightness_drift__has_the_deviations_asked_for():
    stack = make_stack((3, 3000, 1, 2), value=0.5)
    drifted = add_brightness_drift(stack, gain_std=0.2, offset_std=0.1, gradient_std=0.3, seed=2)
    found = [drifted[name].values for name in DRIFTS]
    found[0] = np.log(found[0])
    for values, std in zip(found, (0.2, 0.1, 0.3, 0.3), strict=True):
        assert values.std() == pytest.approx(std, rel=0.05)
        assert abs(values.mean()) < 0.05 * std
        assert abs(np.corrcoef(values)[0, 1]) < 0.06
        assert abs(np.corrcoef(values[0, 1:], values[0, :-1])[0, 1]) < 0.06
    assert np.abs(np.corrcoef(np.reshape(found, (4, -1))) - np.eye(4)).max() < 0.04


def test_add_brightness_drift__is_slow_where_it_persists():
    stack = make_stack((1, 40_000, 1, 2), value=0.5)
    offset = add_brightness_drift(stack, persistence=5.0, seed=2)["true_offset"].values[0] / 0.02
    for lag in (1, 5, 10):
        expected = np.exp(-(lag**2) / (4 * 5**2))
        assert correlation(offset[lag:], offset[:-lag]) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("chunks", [{"y": 7, "x": 50}, {"z": 1, "x": 13}, {"voltage": 1, "y": 1}])
def test_distortions__do_not_depend_on_chunks(stage, chunks):
    expected = stage(make_stack(), seed=3, **OPTIONS[stage])
    found = stage(make_stack(chunks=chunks), seed=3, **OPTIONS[stage])
    np.testing.assert_array_equal(found["intensity"].values, expected["intensity"].values)
    for name in (name for name in expected.coords if "true" in name):
        np.testing.assert_array_equal(found[name].values, expected[name].values)


@pytest.mark.parametrize("stage", STAGES)
def test_distortions__of_a_stored_stack_are_one_task_a_block_and_keep_their_truth(stage, tmp_path):
    save_stack(make_stack(chunks={"z": 2, "y": 9}), tmp_path / "plain.zarr")
    expected = stage(make_stack(), seed=3, **OPTIONS[stage])
    distorted = stage(open_stack(tmp_path / "plain.zarr"), seed=3, **OPTIONS[stage])
    data = distorted["intensity"].data
    assert len(data.dask) == np.prod(data.numblocks)
    save_stack(distorted, tmp_path / "distorted.zarr")
    opened = open_stack(tmp_path / "distorted.zarr")
    np.testing.assert_array_equal(opened["intensity"].values, expected["intensity"].values)
    for name in (name for name in expected.coords if "true" in name):
        np.testing.assert_array_equal(opened[name].values, expected[name].values)
        assert opened[name].attrs.items() >= expected[name].attrs.items()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_distortions__keep_the_type_and_round_what_float_images_show(stage, dtype):
    stack = make_stack(dtype=dtype)
    full = np.iinfo(dtype).max
    signal = (stack["intensity"] / np.float32(full)).astype(np.float32)
    found = stage(stack, seed=1, **OPTIONS[stage])["intensity"]
    exact = stage(stack.assign(intensity=signal), seed=1, **OPTIONS[stage])["intensity"]
    assert found.dtype == dtype
    difference = found - np.clip(full * exact.astype(float), 0, full)
    assert np.abs(difference).max() < 0.53


@pytest.mark.parametrize("stage", STAGES)
def test_distortions__repeat_with_the_seed_only(stage):
    first, again, other = (
        stage(make_stack(), seed=seed, **OPTIONS[stage])["intensity"].values for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


@pytest.mark.parametrize("stage", STAGES)
def test_distortions__are_recorded_and_not_done_twice(stage):
    distorted = stage(make_stack(), seed=0, **OPTIONS[stage])
    assert f'"step": "{stage.__name__}"' in distorted.attrs["provenance"][-1]
    with pytest.raises(ConventionError, match=f"{stage.__name__} must not be done twice.*true_"):
        stage(distorted, seed=0, **OPTIONS[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_distortions__refuse_a_stack_without_intensity(stage):
    stack = make_stack()
    stack = stack.assign(true_phase=(("z", "y", "x"), np.zeros(SHAPE[1:], np.uint8)))
    with pytest.raises(ConventionError, match="needs the variable intensity"):
        stage(stack.drop_vars(["intensity", "voltage"]), seed=0)


@pytest.mark.parametrize(
    ("stage", "argument", "value", "message"),
    [
        (add_curtaining, "strength", -1.0, "strength must be a share of white, .*; got -1.0"),
        (add_curtaining, "width", -2.0, "width must be finite and >= 0 nm; got -2.0"),
        (add_curtaining, "decay_length", 0.0, "decay_length must be finite and > 0 nm; got 0.0"),
        (add_curtaining, "persistence", -1, "persistence must be finite and >= 0 slices; got -1"),
        (add_brightness_drift, "gain_std", -0.1, "gain_std must be a share of .*; got -0.1"),
        (
            add_brightness_drift,
            "gradient_std",
            np.nan,
            "gradient_std must be a share of .*; got nan",
        ),
        (add_brightness_drift, "persistence", -1, "persistence must be finite .* slices; got -1"),
        (add_brightness_drift, "seed", -1, "seed must be a whole number >= 0; got -1"),
        (add_shifts, "step_std", -1.0, "step_std must be finite and >= 0 nm; got -1.0"),
        (add_shifts, "voltage_std", -1.0, "voltage_std must be finite and >= 0 nm; got -1.0"),
        (add_shifts, "shifts", ([1.0] * 3, 0), r"shifts must fit .*\(2, 6\); got \(3,\) along y"),
        (add_shifts, "shifts", (0, np.nan), "shifts must be finite; slice 0 has nan nm along x"),
    ],
)
def test_distortions__refuse_wrong_arguments(stage, argument, value, message):
    with pytest.raises(ConventionError, match=message):
        stage(make_stack(), **{"seed": 0, argument: value})
