import json
import tracemalloc

import numpy as np
import pytest
import xarray as xr

from fibdask.blocks import whole
from fibdask.conventions import ConventionError, recorded_steps, validate_stack
from fibdask.simulate import (
    add_noise,
    anisotropy_phantom,
    blur_edges,
    levelled_wave,
    simulate_stack,
    simulate_structure,
)

SMALL = {"shape": (48, 20, 30), "electrons_per_pixel": 50.0, "model": "analytic"}


def arrays():
    shape = (16, 192, 256)
    stack = simulate_stack(shape=shape, voltage=[2.0, 4.0], mean_thickness=5, model="analytic")
    return {
        "images": stack.intensity,
        "slices": stack.true_phase,
        "waves": levelled_wave(shape, voxel_size=2.5, ligament_size=20, solid_fraction=0.4, seed=0),
        "phantom": anisotropy_phantom(shape, voxel_size=2.5),
        "noise": add_noise(stack, seed=0).intensity,
        "blur": blur_edges(stack, width=10.0).intensity,
    }


def test_simulate_stack__is_a_stack_with_uneven_slices():
    stack = simulate_stack(**SMALL)
    validate_stack(stack.compute())
    assert list(stack.voltage) == [1, 2, 4]
    assert len(np.unique(stack.slice_thickness)) > 2


def test_simulate_stack__repeats_with_the_seed_only():
    first, again, other = (simulate_stack(**SMALL, seed=s).intensity.data for s in (1, 1, 2))
    assert first.origin.token == again.origin.token != other.origin.token
    np.testing.assert_array_equal(first.compute(), again.compute())


def test_simulate_stack__solid_is_brighter_than_pore():
    stack = simulate_stack(**SMALL)
    brightness = stack.intensity.where(stack.true_phase == 1).mean(["z", "y", "x"])
    background = stack.intensity.where(stack.true_phase == 0).mean(["z", "y", "x"])
    assert (brightness > background + 30).all()


def test_simulate_stack__images_a_given_structure():
    structure = simulate_structure(shape=SMALL["shape"], seed=5)
    given = {key: value for key, value in SMALL.items() if key != "shape"}
    stack = simulate_stack(structure.compute(), **given, seed=5).compute()
    made = simulate_stack(**SMALL, seed=5).compute()
    # Both tell what they were made of, which is one in memory and one that is computed.
    steps = [
        [step | {"input_fingerprint": ""} for step in recorded_steps(one)] for one in (stack, made)
    ]
    assert steps[0] == steps[1]
    xr.testing.assert_identical(stack.drop_attrs(deep=False), made.drop_attrs(deep=False))


def test_simulate_stack__tells_what_each_step_was_made_of():
    stack = simulate_stack(
        **SMALL, blur_width=2.0, shift_std=1.0, gain_std=0.1, curtaining=0.1, seed=2
    )
    first, *steps = recorded_steps(stack)
    assert not first["input_fingerprint"]  # made of numbers alone
    assert len({step["input_fingerprint"] for step in steps}) == len(steps) - 1  # two of the phase
    assert all(step["input_fingerprint"] for step in steps)


def test_simulate_stack__takes_whole_planes_off_for_what_is_unmilled():
    structure = simulate_structure(shape=(60, 1, 2), voxel_size=3.26, ligament_size=(40.0, 20.0))
    milling = {"mean_thickness": 3.26, "std_thickness": 0.0, "model": "analytic"}
    assert simulate_stack(structure, unmilled=5 * 3.26, **milling).sizes["z"] == 55


def test_simulate_stack__needs_a_structure_or_a_shape():
    with pytest.raises(ConventionError, match="shape is needed where no structure is given"):
        simulate_stack()


def test_simulate_stack__checks_its_seed():
    with pytest.raises(ConventionError, match="seed must be a whole number >= 0; got -1"):
        simulate_stack(**SMALL, seed=-1)


def test_simulate_stack__adds_artefacts_with_their_truth():
    artefacts = {"blur_width": 5.0, "shift_std": 4.0, "gain_std": 0.1, "curtaining": 0.1}
    stack, clean = simulate_stack(**SMALL, **artefacts), simulate_stack(**SMALL)
    assert set(stack.coords) - set(clean.coords) >= {"true_shift_y", "true_gain", "true_curtaining"}
    assert stack.true_phase.variable.identical(clean.true_phase.variable)
    assert not stack.intensity.variable.equals(clean.intensity.variable)
    steps = [json.loads(record)["step"] for record in stack.attrs["provenance"]]
    added = ["blur_edges", "add_shifts", "add_brightness_drift", "add_curtaining"]
    assert steps[-5:] == [*added, "scale_brightness"]  # which rounds


def test_simulate_stack__takes_contrasts_as_an_array():
    options = SMALL | {"voltage": (1.0, 2.0), "brightness": np.array([0.0, 0.1])}
    found = simulate_stack(**options, contrast=np.array([0.5, 0.8])).intensity.values
    expected = simulate_stack(**options, contrast=(0.5, 0.8)).intensity.values
    np.testing.assert_array_equal(found, expected)


def test_simulate_stack__of_float32_takes_any_brightness_and_others_that_of_white():
    options = SMALL | {"contrast": 242.0, "brightness": 3.5}
    assert float(simulate_stack(**options, dtype="float32").intensity.mean()) > 3.5
    for more in ({}, {"gain_std": 0.1}):
        with pytest.raises(ConventionError, match="brightness is relative to white"):
            simulate_stack(**options, **more)
    with pytest.raises(ConventionError, match="contrast must be a number"):
        simulate_stack(**SMALL, contrast=[[1, 2], [3]])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_simulate_stack__rounds_after_all_that_changes_brightness(dtype):
    # At eight electrons much of the solid's noise is beyond white, which darker images show.
    options = SMALL | {"electrons_per_pixel": 8.0, "offset_std": 0.1, "gain_std": 0.3}
    options |= {"curtaining": 0.05, "contrast": 0.6, "seed": 4}
    signals = simulate_stack(**options, dtype="float32").intensity.values
    assert (signals > 1).any()
    white = np.iinfo(dtype).max
    recorded = simulate_stack(**options, dtype=dtype).intensity.values
    np.testing.assert_array_equal(recorded, np.rint(np.clip(signals, 0, 1) * np.float32(white)))


@pytest.mark.memory
@pytest.mark.parametrize("name", ["images", "slices", "waves", "phantom", "noise", "blur"])
def test_working_bytes__bound_what_a_block_takes(name):
    source = arrays()[name].data.origin
    function, region = source.function, whole(source.shape)
    needed = function.needs(region)
    inputs = [part.read(n, {}) for part, n in zip(source.inputs, needed, strict=True)]
    function.compute(region, *inputs)
    tracemalloc.start()
    result = function.compute(region, *inputs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - result.nbytes <= function.working_bytes(region) + 2**16


def test_simulate_stack__a_structure_of_one_plane_is_as_thick_as_its_voxels():
    one = {**SMALL, "shape": (1, 20, 30)}
    assert simulate_structure(shape=one["shape"], voxel_size=4.0).slice_thickness == 4
    assert simulate_stack(**one, std_thickness=0).sizes["z"] == 1


@pytest.mark.parametrize("name", ["blur_width", "shift_std", "curtaining"])
def test_simulate_stack__refusals_name_its_own_arguments(name):
    with pytest.raises(ConventionError, match=f"^{name} must be .*; got -1"):
        simulate_stack(**SMALL, **{name: -1.0})
