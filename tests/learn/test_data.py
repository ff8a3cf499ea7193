"""Data that no network can be trained on, or judged by, are refused."""

import numpy as np
import pytest

from fibdask.conventions import ConventionError
from fibdask.learn.cards import ranges
from fibdask.learn.data import check_data
from fibdask.learn.samples import Variation
from tests.learn.helpers import small_stack


def test_check_data__takes_stacks_of_other_seeds():
    check_data([small_stack(0), small_stack(1)], [small_stack(2)], 40)


@pytest.mark.parametrize(
    ("training", "validation", "crop", "told"),
    [
        (small_stack(0), small_stack(0), 16, "same seed of levelled_wave, 0"),
        (small_stack(0), small_stack(0, history=()), 16, "same materials; small-0: {'pore'"),
        (small_stack(0), small_stack(1, voltages=(1.0, 4.0)), 16, r"\[1.0, 2.0\], small-1: \[1.0"),
        (small_stack(0), small_stack(1, size=24), 32, "crop, 32 pixels; small-1 has 24 × 24"),
    ],
)
def test_check_data__refuses_what_does_not_fit(training, validation, crop, told):
    with pytest.raises(ConventionError, match=told):
        check_data([training], [validation], crop)


def test_check_data__refuses_the_same_structure_whatever_its_seeds():
    history = (("simulate_images", {"seed": 9, "materials": small_stack(0).materials}),)
    with pytest.raises(ConventionError, match="show the same structure"):
        check_data([small_stack(0)], [small_stack(0, history=history)], 16)


def test_check_data__refuses_a_single_slice():
    stack = small_stack(0)
    one = small_stack(1, z=stack.z[:1], counts=stack.counts[:, :1])
    with pytest.raises(ConventionError, match="two slices; small-1 has 1"):
        check_data([one], [stack], 16)


def test_ranges__are_those_of_the_data():
    stacks = [small_stack(0), small_stack(1, pixel_size=5.0, electrons=80.0)]
    found = ranges(stacks, Variation(electrons_per_pixel=(10.0, 70.0)))
    assert found["voltages"] == [1.0, 2.0]
    assert found["pixel_size"] == pytest.approx([2.25, 5.5])
    mean = np.diff(stacks[0].z).mean()
    assert found["thickness"] == pytest.approx([0.7 * mean, 1.5 * mean], rel=1e-3)
    resampled = found["resampled"]
    assert resampled["pixel_size"] == pytest.approx([2.25 / 4, 5.5 * 1.35], rel=1e-3)
    assert resampled["thickness"] == pytest.approx([0.175 * mean, 1.5 * mean], rel=1e-3)
    assert found["electrons_per_pixel"] == [10.0, 70.0]
    assert found["materials"] == {"pore": "C", "solid": "Au"}
    assert found["ligament_size"] == [20.0, 20.0]
    shares = sorted(stack.truth.mean() for stack in stacks)
    assert found["solid_fraction"] == pytest.approx(shares, rel=1e-3)
