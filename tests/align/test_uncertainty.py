"""Errors of sums of steps: as random walks have, and as steps that hang together have."""

import numpy as np
import pytest

from fibdask.align._frames import Window
from fibdask.align.uncertainty import accumulated_error, parts_of


def test_accumulated_error__of_independent_steps_grows_as_the_root_of_their_number():
    steps = np.random.default_rng(0).normal(3, 2, (4, 4000))
    error = accumulated_error(steps, straight=False)
    np.testing.assert_allclose(error[[0, 1, 9, 100]], [0, 1, 3, 10], rtol=0.15)


def test_accumulated_error__of_steps_that_hang_together_grows_faster():
    steps = np.repeat(np.random.default_rng(0).normal(0, 2, (4, 1000)), 4, axis=1)
    error = accumulated_error(steps, straight=False)
    np.testing.assert_allclose(error[[1, 100]], [1, 20], rtol=0.1)


def test_accumulated_error__of_steps_that_all_parts_share_is_none():
    steps = np.tile(np.random.default_rng(0).normal(size=50), (4, 1))
    assert (accumulated_error(steps, straight=False) == 0).all()


def test_accumulated_error__of_parts_that_lean_is_none_without_a_straight_line():
    steps = np.outer([0.1, -0.2, 0.3, 0.0], np.ones(30))
    assert accumulated_error(steps, straight=False)[-1] > 2
    np.testing.assert_allclose(accumulated_error(steps, straight=True), 0, atol=1e-6)


def test_accumulated_error__is_kept_by_steps_that_are_missing_and_unknown_without_most():
    steps = np.random.default_rng(0).normal(0, 2, (4, 4000))
    steps[:, ::4] = np.nan
    assert accumulated_error(steps, straight=False)[100] == pytest.approx(10, rel=0.1)
    steps[1:, ::3] = steps[1:, 1::3] = np.nan
    assert np.isnan(accumulated_error(steps, straight=False)).all()


def test_parts_of__cover_the_window_once():
    window = Window((3, 10), (68, 82), 2, (4, 4))
    pixels = np.zeros((80, 100), int)
    for part in parts_of(window, 17):
        pixels[tuple(slice(o, o + n) for o, n in zip(part.origin, part.size, strict=True))] += 1
    assert (pixels[3:71, 10:92] == 1).all()
    assert pixels.sum() == 68 * 82
    assert parts_of(window, 18) == ()
