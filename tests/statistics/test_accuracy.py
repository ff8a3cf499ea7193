"""Errors against the ground truth."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given
from hypothesis import strategies as st

from fibdask.conventions import ConventionError
from fibdask.statistics import segmentation_errors
from tests.statistics import naive
from tests.statistics.helpers import in_blocks, noise, phase_of, ragged, random_volumes


def values(phase, truth, **options):
    return [float(v) for v in segmentation_errors(phase, truth, **options).values()]


@given(data=st.data(), truth=random_volumes())
def test_segmentation_errors__equal_the_definition_under_any_chunking(data, truth):
    assume(0 < truth.sum() < truth.size)
    volume = noise(truth.shape, 0.6, 5)
    expected = naive.segmentation_errors(volume, truth)
    for array in (volume, data.draw(ragged(volume)), in_blocks(volume, (2, 3, 4))):
        assert values(phase_of(array), phase_of(data.draw(ragged(truth)))) == list(expected)


def test_segmentation_errors__count_inside_a_mask_or_box_alone():
    volume, truth = noise((9, 8, 7), 0.6), noise((9, 8, 7), 0.5, 1)
    expected = list(naive.segmentation_errors(volume[2:7], truth[2:7]))
    measured = xr.DataArray((np.arange(9) >= 2) & (np.arange(9) < 7), dims="z")
    for array in (volume, in_blocks(volume, (4, 4, 4))):
        for mask in (measured, {"z": (2, 7)}):
            assert values(phase_of(array), phase_of(truth), mask=mask) == expected
    nothing = values(phase_of(volume), phase_of(truth), mask=measured & False)
    np.testing.assert_array_equal(nothing, [np.nan, np.nan, 1])


def test_segmentation_errors__of_the_truth_itself():
    truth = phase_of(noise((4, 5, 6)))
    assert values(truth, truth) == [0, 0, 1]


def test_segmentation_errors__of_the_opposite_phase():
    truth = noise((4, 5, 6))
    assert values(phase_of(1 - truth), phase_of(truth)) == [100, 100, 0]


@pytest.mark.parametrize(
    ("solid", "truly_solid", "expected"),
    [(0, 0, [0, np.nan, 1]), (1, 1, [0, 0, 1]), (1, 0, [100, np.nan, 0]), (0, 1, [100, 100, 0])],
)
def test_segmentation_errors__of_one_phase_alone(solid, truly_solid, expected):
    phase, truth = (phase_of(np.full((2, 3, 4), n, np.uint8)) for n in (solid, truly_solid))
    np.testing.assert_array_equal(values(phase, truth), expected)


def test_segmentation_errors__refuse_other_shapes():
    with pytest.raises(ConventionError, match=r"got \(2, 3, 4\) and \(3, 3, 4\)"):
        segmentation_errors(phase_of(noise((2, 3, 4))), phase_of(noise((3, 3, 4))))


def test_segmentation_errors__refuse_other_depths():
    phase, truth = (phase_of(noise((3, 3, 4)), z=z) for z in ([0, 10, 29], [0, 10, 20]))
    with pytest.raises(ConventionError, match="z is 29 nm and 20 nm at position 2"):
        segmentation_errors(phase, truth)


def test_segmentation_errors__refuse_another_slice():
    phase = phase_of(noise((4, 5, 6)))
    with pytest.raises(ConventionError, match="z is 1 nm and 2 nm at position 0"):
        segmentation_errors(phase.isel(z=[1]), phase.isel(z=[2]))
