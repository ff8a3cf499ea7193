"""Samples are made of a seed and a number, and thinned images are those of fewer electrons."""

from dataclasses import astuple

import numpy as np
import pytest
from scipy.stats import binom, chi2, poisson

from fibdask.conventions import ConventionError
from fibdask.learn._kernels import draw_counts
from fibdask.learn.samples import QUANTILES, Variation, cumulated, grey_range
from tests.learn.helpers import CLEAN, SLICES, small_samples, small_stack


def _thinned(counts, share, seed=3):
    counts = np.asarray(counts, np.uint16)
    uniform = np.random.default_rng(seed).random(counts.size, np.float32)
    out = np.empty(counts.size, np.float32)
    draw_counts(counts, cumulated(int(counts.max()) + 1, share), uniform, out)
    return out


def _differs(found, law):
    """Return the probability that numbers so unlike a law are of it."""
    most = int(found.max()) + 1
    seen = np.bincount(found.astype(int), minlength=most)
    expected = law.pmf(np.arange(most)) * found.size
    often = expected > 5
    rest = max(found.size - expected[often].sum(), 1e-6)
    terms = (seen[often] - expected[often]) ** 2 / expected[often]
    return chi2(often.sum()).sf(terms.sum() + (seen[~often].sum() - rest) ** 2 / rest)


@pytest.mark.parametrize(("count", "share"), [(1, 0.5), (20, 0.3), (200, 0.05), (40, 0.9)])
def test_draw_counts__each_electron_is_kept_with_its_probability(count, share):
    kept = _thinned(np.full(40_000, count), share)
    law = binom(count, share)
    assert kept.mean() == pytest.approx(law.mean(), abs=4 * law.std() / 200)
    assert kept.var() == pytest.approx(law.var(), rel=0.03)
    assert _differs(kept, law) > 0.01


def test_draw_counts__fewer_of_poissons_electrons_are_poissons():
    counts = np.random.default_rng(1).poisson(12.0, 60_000)
    assert _differs(_thinned(counts, 0.4), poisson(4.8)) > 0.01


@pytest.mark.parametrize("share", [1.0, 1.5])
def test_draw_counts__all_are_kept_where_all_are_wanted(share):
    counts = np.arange(30)
    np.testing.assert_array_equal(_thinned(counts, share), counts)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
def test_grey_range__is_that_of_many_pixels(noise):
    rng = np.random.default_rng(2)
    counts = rng.poisson(np.repeat([4.0, 25.0], 300_000))
    histogram = np.bincount(counts) / counts.size
    low, high = grey_range(histogram, cumulated(len(histogram), 0.5), noise)
    kept = _thinned(counts, 0.5)
    bare = np.quantile(kept, QUANTILES, method="inverted_cdf")
    kept = kept + noise * (bare[1] - bare[0]) * rng.standard_normal(kept.size)
    expected = np.quantile(kept, QUANTILES, method="inverted_cdf")
    assert (low, high) == pytest.approx(expected, abs=0.02 if noise else 0)


def test_samples__are_made_of_a_seed_and_a_number_alone():
    samples, again = small_samples(), small_samples()
    for number in (7, 0, 7, 3):
        for first, second in zip(astuple(samples[number]), astuple(again[number]), strict=True):
            np.testing.assert_array_equal(first, second)
    assert not np.array_equal(samples[0].images, samples[1].images)
    assert not np.array_equal(samples[0].images, small_samples(seed=6)[0].images)


def test_samples__show_nothing_where_there_is_nothing():
    samples = small_samples()
    drawn = [samples[number] for number in range(40)]
    for sample in drawn:
        missing = np.isnan(sample.distances)
        assert not sample.images[:, missing].any()
        assert not sample.images[sample.present == 0].any()
        assert sample.present.any()
    assert any(sample.present.sum() == 1 for sample in drawn)
    assert any(np.isnan(sample.distances).any() for sample in drawn)


def test_samples__planes_lie_between_a_slice_and_the_next():
    samples = small_samples(variation=CLEAN)
    for number in range(40):
        sample = samples[number]
        below = sample.distances[2]
        assert sample.offsets[0] == 0
        assert sample.distances[1] == 0
        assert (sample.offsets >= 0).all()
        assert np.isnan(below) or (sample.offsets < below).all()


def test_samples__the_truth_is_what_the_images_show():
    samples = small_samples(variation=CLEAN)
    for number in range(10):
        sample = samples[number]
        solid = sample.truth[0] == 1
        assert sample.images[0, 1][solid].mean() > 0.5
        assert sample.images[0, 1][~solid].mean() < 0.3


def test_samples__grey_values_go_from_about_0_to_about_1():
    images = small_samples(variation=CLEAN)[0].images
    assert -0.2 < images.min() < 0.05
    assert 0.9 < images.max() < 1.5


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"electrons_per_pixel": (50.0, 10.0)}, "least and the most; got 50 and 10"),
        ({"electrons_per_pixel": (0.0, 10.0)}, "electrons_per_pixel must be finite and > 0; got 0"),
        ({"blur": -1.0}, "blur must be finite and >= 0; got -1"),
        ({"lacking": 1.5}, "lacking must be a share from 0 to 1; got 1.5"),
    ],
)
def test_variation__is_within_bounds(given, told):
    with pytest.raises(ConventionError, match=told):
        Variation(**given)


def test_simulated_stack__histograms_are_those_of_its_counts():
    stack = small_stack()
    np.testing.assert_allclose(stack.histograms.sum(1), 1)
    mean = stack.histograms @ np.arange(stack.histograms.shape[1])
    np.testing.assert_allclose(mean, stack.counts.mean((1, 2, 3)))
    assert stack.thickness == pytest.approx(2.5 * np.diff(SLICES).mean())
