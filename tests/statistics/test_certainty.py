"""How sure probabilities are."""

import numpy as np
import pytest

from fibdask.conventions import build_stack, record_step
from fibdask.statistics import expected_solid_fraction
from fibdask.statistics.certainty import certainty
from tests.statistics.helpers import in_blocks


def probability(levels, **coordinates):
    stack = build_stack(
        {"solid_probability": levels},
        z=10.0 * np.arange(len(levels)),
        pixel_size=(5, 5),
        nominal_thickness=10,
    )
    return stack.assign_coords(coordinates)


def random_levels(shape=(7, 6, 5)):
    levels = np.random.default_rng(0).integers(0, 256, shape)
    return (levels / np.float32(255)).astype(np.float32)


def test_certainty__equals_the_definition_under_any_chunking():
    levels = random_levels()
    between = (levels > 0.1) & (levels < 0.9)
    other = np.minimum(levels, 1 - levels.astype(float))
    for array in (levels, in_blocks(levels, (2, 3, 4)), in_blocks(levels, (3, 6, 5))):
        found = certainty(probability(array)).compute()
        np.testing.assert_array_equal(found["unsure_share"], between.mean(axis=(1, 2)))
        assert found["expected_misplaced"].values == pytest.approx(
            100 * other.mean(axis=(1, 2)), rel=1e-6
        )
        assert found["expected_solid_fraction"].values == pytest.approx(
            levels.mean(axis=(1, 2)), rel=1e-6
        )
        np.testing.assert_array_equal(found["depth"], 10.0 * np.arange(7))


def test_certainty__what_is_certain_errs_nowhere_and_a_coin_in_half():
    levels = np.stack([np.zeros((4, 4)), np.ones((4, 4)), np.full((4, 4), 127 / 255)])
    found = certainty(probability(levels.astype(np.float32))).compute()
    np.testing.assert_array_equal(found["unsure_share"], [0, 0, 1])
    assert found["expected_misplaced"].values == pytest.approx([0, 0, 100 * 127 / 255])
    assert found["expected_solid_fraction"].values == pytest.approx([0, 1, 127 / 255])


def test_certainty__of_planes_that_are_not_measured_is_not_known():
    measured = ("z", np.arange(7) % 2 == 0)
    found = certainty(probability(random_levels(), measured=measured)).compute()
    for values in found.values():
        np.testing.assert_array_equal(np.isfinite(values), measured[1])


def of_networks(*errors):
    """Return probabilities of the last of some networks, whose cards tell errors at 1 and 2 kV."""
    stack = probability(random_levels())
    for error in errors:
        conditions = [
            {"voltages": [1.0, 2.0], "calibration_error": error},
            {"voltages": [1.0], "calibration_error": 0.5},
        ]
        card = {"errors": {"calibration_error": 0.4}, "conditions": conditions}
        stack = record_step(
            stack, "segment_phases", {"voltage": [1.0, 2.0], "model_card": card}, ""
        )
    return stack


def test_expected_solid_fraction__is_the_mean_within_the_error_of_the_network():
    found = expected_solid_fraction(of_networks(0.003, 0.004)).compute()
    mean = random_levels().astype(float).mean()
    assert found.item() == pytest.approx(mean, rel=1e-6)
    assert (found["lower"].item(), found["upper"].item()) == pytest.approx(
        (mean - 0.004, mean + 0.004), rel=1e-6
    )
    filled, kept = (
        record_step(of_networks(0.003), "inpaint_gaps", {"method": method}, "")
        for method in ("spline", "distance")
    )
    assert set(expected_solid_fraction(kept).coords) == {"lower", "upper"}
    for unknown in (of_networks(), of_networks(0.003, None), filled):
        assert not expected_solid_fraction(unknown).coords
