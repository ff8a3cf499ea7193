"""Error bars: coverage, independence of chunking, and what has none."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from fibdask.conventions import ConventionError
from fibdask.statistics import (
    isotropy_errors,
    ligament_diameter,
    lineal_path,
    solid_fraction,
    two_point_correlation,
)
from fibdask.statistics.bootstrap import Bootstrap
from tests.statistics.helpers import in_blocks, noise, phase_of, ragged, random_volumes

CURVES = (two_point_correlation, lineal_path)


def covered(array, truth):
    return ((array.lower <= truth) & (truth <= array.upper)).values


def test_intervals__hold_the_truth_as_often_as_they_say():
    hits = []
    for seed in range(40):
        phase = phase_of(noise((16, 24, 24), 0.6, seed))
        path = lineal_path(phase, max_lag=2, axes=("x",), confidence=0.9).compute()
        hits.append(covered(path, np.array([[0.6, 0.36, 0.216]])))
    assert 0.8 < np.mean(hits) < 0.98


def test_intervals__are_those_of_independent_subvolumes():
    # Voxels of noise are independent: the standard error of their mean is known.
    fraction = solid_fraction(phase_of(noise((64, 64, 64), 0.3)), confidence=0.95).compute()
    half = 1.96 * np.sqrt(0.3 * 0.7 / 64**3)
    assert float(fraction.upper - fraction) == pytest.approx(half, rel=0.25)


@given(random_volumes())
def test_intervals__hold_the_estimate_and_stay_within_bounds(volume):
    for curve in CURVES:
        array = curve(phase_of(volume), max_lag=4, confidence=0.95).compute()
        known = np.isfinite(array.lower.values)
        assert covered(array, array)[known].all()
        assert (array.lower.values[known] >= 0).all()
        assert (array.upper.values[known] <= 1).all()


@pytest.mark.filterwarnings("ignore:the ligament diameter along")
@given(data=st.data(), volume=random_volumes())
def test_intervals__are_the_same_under_any_chunking(data, volume):
    whole = ligament_diameter(phase_of(volume), confidence=0.9, seed=3).compute()
    for array in (data.draw(ragged(volume)), in_blocks(volume, (2, 3, 4))):
        found = ligament_diameter(phase_of(array), confidence=0.9, seed=3).compute()
        xr.testing.assert_identical(found, whole)


def test_intervals__shrink_as_the_volume_grows():
    small, large = (
        lineal_path(phase_of(noise((n,) * 3, 0.5)), max_lag=2, confidence=0.95) for n in (32, 96)
    )
    assert (large.upper - large.lower < 0.5 * (small.upper - small.lower)).all()


def test_intervals__vanish_where_all_parts_are_alike():
    for curve in CURVES:
        array = curve(phase_of(np.ones((16, 16, 16), np.uint8)), max_lag=15, confidence=0.95)
        assert (array.lower == 1).all()
        assert (array.upper == 1).all()


def test_intervals__do_not_change_the_estimate():
    phase = phase_of(noise((9, 70, 66), 0.6))
    with_bars = isotropy_errors(phase, max_lag=5, confidence=0.9).compute()
    without = isotropy_errors(phase, max_lag=5).compute()
    xr.testing.assert_identical(with_bars[list(without)], without)


def test_bootstrap__holds_few_curves_at_a_time():
    counts = np.arange(12.0).reshape(4, 3)
    shown = []

    def statistic(weights):
        shown.append(len(weights))
        return weights @ counts

    low, high = Bootstrap(0.9, 1).interval(statistic, 4, np.inf)
    assert max(shown) <= 25
    weights = np.random.default_rng(1).multinomial(4, np.full(4, 0.25), 500)
    distances = np.abs(weights @ counts - counts.sum(axis=0))
    half = np.quantile(distances, 0.9, axis=0, method="higher")
    np.testing.assert_array_equal(
        [low, high], [np.maximum(counts.sum(axis=0) - half, 0), counts.sum(axis=0) + half]
    )


def test_intervals__of_one_voxel_are_unknown():
    fraction = solid_fraction(phase_of(np.ones((1, 1, 1), np.uint8)), confidence=0.95)
    assert float(fraction) == 1
    assert np.isnan(fraction.lower)
    assert np.isnan(fraction.upper)


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_intervals__refuse_a_confidence_that_is_no_share(confidence):
    with pytest.raises(ConventionError, match=f"confidence must be > 0 and < 1; got {confidence}"):
        solid_fraction(phase_of(noise((4, 5, 6))), confidence=confidence)


@pytest.mark.parametrize("seed", [-1, 1.5, True])
def test_intervals__refuse_what_is_no_seed_at_once(seed):
    with pytest.raises(ConventionError, match=f"seed must be a whole number >= 0; got {seed}"):
        solid_fraction(phase_of(noise((2, 2, 2))), confidence=0.9, seed=seed)
