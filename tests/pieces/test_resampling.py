"""Images at places between their pixels."""

import numpy as np
import pytest

from fibdask.pieces._kernels.resampling import (
    CUBIC_TAPS,
    LANCZOS_TAPS,
    cubic_weights,
    lanczos_weights,
    weighted_pixels,
)

pytestmark = pytest.mark.interpreted

METHODS = [(cubic_weights, CUBIC_TAPS), (lanczos_weights, LANCZOS_TAPS)]


@pytest.mark.parametrize(("weights", "taps"), METHODS)
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 0.999])
def test_weights__keep_a_constant(weights, taps, fraction):
    assert len(weights(fraction)) == len(taps)
    assert weights(fraction).sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("weights", "taps"), METHODS)
def test_weights__of_a_pixel_itself_are_its_own(weights, taps):
    np.testing.assert_allclose(weights(0.0), taps == 0, atol=1e-7)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_weighted_pixels__equal_the_naive_sums(dtype):
    image = np.random.default_rng(0).integers(0, 255, (7, 9)).astype(dtype)
    along_y, along_x = cubic_weights(0.3), lanczos_weights(0.6)
    naive = [
        [along_y @ image[y : y + 4, x : x + 6].astype(float) @ along_x for x in range(4)]
        for y in range(4)
    ]
    np.testing.assert_allclose(weighted_pixels(image, along_y, along_x), naive, rtol=1e-5)


def test_weighted_pixels__have_the_same_bits_in_any_part():
    image = np.random.default_rng(1).normal(size=(12, 14)).astype(np.float32)
    weights = cubic_weights(0.2), cubic_weights(0.7)
    whole = weighted_pixels(image, *weights)
    np.testing.assert_array_equal(weighted_pixels(image[3:, 5:], *weights), whole[3:, 5:])
