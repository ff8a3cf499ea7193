import numpy as np
import pytest

from fibdask.conventions import ConventionError
from fibdask.pieces._kernels.resampling import cubic_weights
from fibdask.simulate.artefacts._functions import ShiftedImages
from fibdask.simulate.artefacts._kernels import mirrored
from fibdask.simulate.artefacts.shifts import add_shifts
from tests.simulate.naive_structures import keys_kernel, moved_image
from tests.simulate.test_distortions import make_stack


def test_add_shifts__by_whole_pixels_copies_and_mirrors_at_the_borders():
    stack = make_stack(dtype=np.uint8)
    shifted = add_shifts(stack, shifts=(12.0, -8.0))["intensity"].values
    padded = np.pad(stack["intensity"], [(0, 0), (0, 0), (3, 0), (0, 4)], mode="symmetric")
    np.testing.assert_array_equal(shifted, padded[:, :, :40, 4:])


def test_add_shifts__of_nothing_changes_nothing():
    stack = make_stack()
    shifted = add_shifts(stack)
    np.testing.assert_array_equal(shifted["intensity"], stack["intensity"])
    assert not shifted["true_shift_y"].any()


@pytest.mark.interpreted
def test_add_shifts__refuses_shifts_that_are_not_of_two_axes():
    with pytest.raises(ConventionError, match="those along y and those along x; got 3 of them"):
        add_shifts(make_stack(), shifts=[0, 5, 3])


def test_add_shifts__equals_the_naive_convolution():
    stack = make_stack((2, 3, 12, 17))
    shifts = ([[1.7, -9.0, 100.0], [0.4, 3.0, -55.5]], [-0.9, 7.3, 33.0])
    shifted = add_shifts(stack, shifts=shifts)
    for v, k in np.ndindex(2, 3):
        shift = (shifts[0][v][k] / 4, shifts[1][k] / 2)
        naive = moved_image(stack["intensity"].values[v, k], shift)
        np.testing.assert_allclose(shifted["intensity"][v, k], naive, atol=2e-6)
    np.testing.assert_array_equal(shifted["true_shift_y"], shifts[0])
    np.testing.assert_array_equal(shifted["true_shift_x"], [shifts[1]] * 2)
    assert shifted["true_shift_x"].attrs["units"] == "nm"


def test_add_shifts__is_exact_for_parabolas():
    y, x = np.mgrid[:40, :50] / 50.0
    stack = make_stack()
    images = np.broadcast_to(y**2 + x - 2 * x * y, stack["intensity"].shape)
    stack["intensity"] = stack["intensity"].copy(data=images.astype(np.float32))
    shifted = add_shifts(stack, shifts=(4 * 1.3, 2 * -2.6))["intensity"].values
    v, u = y - 1.3 / 50, x + 2.6 / 50
    inside = (slice(None), slice(None), slice(4, -4), slice(4, -6))
    expected = np.broadcast_to(v**2 + u - 2 * u * v, shifted.shape)
    np.testing.assert_allclose(shifted[inside], expected[inside], atol=1e-6)


def test_add_shifts__is_undone_by_the_opposite_translation():
    smooth = np.add.outer(np.sin(np.arange(40) / 6), np.cos(np.arange(50) / 7)) / 4 + 0.5
    stack = make_stack(value=smooth)
    shifted = add_shifts(stack, step_std=3.0, seed=1)
    truths = [shifted[name] for name in ("true_shift_y", "true_shift_x")]
    back = add_shifts(
        shifted.drop_vars(["true_shift_y", "true_shift_x"]), shifts=[-t for t in truths]
    )
    difference = np.abs(back["intensity"] - stack["intensity"])[:, :, 8:-8, 12:-12]
    assert np.abs(shifted["intensity"] - stack["intensity"]).max() > 0.1
    assert difference.max() < 2e-3


def test_add_shifts__walks_at_random_from_slice_to_slice():
    shifted = add_shifts(make_stack((2, 3000, 1, 2)), step_std=7.0, seed=0)
    steps = []
    for name in ("true_shift_y", "true_shift_x"):
        walk = shifted[name].values
        np.testing.assert_array_equal(walk[0], walk[1])
        assert walk[0, 0] == 0
        steps.append(np.diff(walk[0]))
    assert np.std(steps, axis=1) == pytest.approx(7.0, rel=0.05)
    assert abs(np.corrcoef(*steps)[0, 1]) < 0.06
    assert abs(np.corrcoef(steps[0][1:], steps[0][:-1])[0, 1]) < 0.06


def test_add_shifts__moves_voltages_apart():
    shifted = add_shifts(make_stack((3, 3000, 1, 2)), voltage_std=5.0, seed=0)
    y = shifted["true_shift_y"].values
    assert (y[0] == 0).all()
    assert y[1:].std(axis=1) == pytest.approx(5.0, rel=0.05)
    assert abs(np.corrcoef(y[1:])[0, 1]) < 0.06


def test_shifted_images__need_no_more_than_the_taps():
    shifts = np.array([[[0.0, 2.5]], [[-3.0, 0.25]]])
    function = ShiftedImages(shifts, (40, 50))
    ((_, _, y, x),) = function.needs((slice(0, 1), slice(0, 2), slice(10, 20), slice(40, 45)))
    assert (y, x) == (slice(6, 22), slice(38, 50))
    far = ShiftedImages(shifts + 3e4, (40, 50))
    ((_, _, y, x),) = far.needs((slice(0, 1), slice(0, 2), slice(10, 20), slice(40, 45)))
    assert 0 <= y.start < y.stop <= 40
    assert 0 <= x.start < x.stop <= 50


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 0.99])
def test_cubic_weights__are_those_of_keys_and_sum_to_one(fraction):
    weights = cubic_weights(fraction)
    naive = [keys_kernel(tap - fraction) for tap in (-1, 0, 1, 2)]
    np.testing.assert_allclose(weights, naive, atol=1e-7)
    assert weights.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_mirrored__repeats_the_edges(length):
    numbers = np.arange(-3 * length, 3 * length)
    expected = np.pad(np.arange(length), (3 * length, 2 * length), mode="symmetric")
    np.testing.assert_array_equal(mirrored(numbers, length), expected)
