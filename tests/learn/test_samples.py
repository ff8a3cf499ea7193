"""Samples are made of a seed and a number, and thinned images are those of fewer electrons."""

from dataclasses import astuple, replace

import numpy as np
import pytest
from scipy.stats import binom, chi2, poisson

from fibdask.conventions import ConventionError
from fibdask.learn._kernels import draw_counts
from fibdask.learn.artefacts import Artefacts
from fibdask.learn.samples import Variation, cumulated, grey_range
from fibdask.pieces.grey import QUANTILES
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


def test_samples__grey_values_of_blurred_images_go_from_about_0_to_about_1():
    blurred = replace(CLEAN, electrons_per_pixel=(20.0, 20.0), blur=3.0)
    ends = []
    for number in range(40):
        sample = small_samples(variation=blurred, crop=40)[number]
        shown = sample.images[:, np.isfinite(sample.distances)]
        ends.append(np.quantile(shown, QUANTILES, axis=(1, 2, 3)))
    low, high = np.abs(np.array(ends) - np.array(QUANTILES).round()[:, np.newaxis]).max(axis=(0, 2))
    assert low < 0.12
    assert high < 0.2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"electrons_per_pixel": (50.0, 10.0)}, "least and the most; got 50 and 10"),
        ({"electrons_per_pixel": (0.0, 10.0)}, "electrons_per_pixel must be finite and > 0; got 0"),
        ({"blur": -1.0}, "blur must be finite and >= 0; got -1"),
        ({"stripes": np.nan}, "stripes must be finite and >= 0; got nan"),
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


def test_artefacts__a_quarter_of_the_samples_has_one():
    rng = np.random.default_rng(1)
    drawn = [Artefacts.drawn(0.0, 0.3, 0.0, rng) for _ in range(2000)]
    strengths = np.array([artefacts.gradient for artefacts in drawn])
    assert (strengths > 0).mean() == pytest.approx(0.25, abs=0.03)
    assert strengths[strengths > 0].mean() == pytest.approx(0.15, abs=0.01)
    assert not any(artefacts.gain or artefacts.stripes for artefacts in drawn)


@pytest.mark.parametrize("artefact", ["gain", "gradient", "stripes"])
def test_samples__have_artefacts_within_the_range_of_grey_values(artefact):
    clean = small_samples(variation=CLEAN)
    disturbed = small_samples(variation=replace(CLEAN, **{artefact: 1.0}))
    solid, others = (
        np.concatenate([s.images[0, 1][s.truth[0] == 1] for s in map(of.__getitem__, range(100))])
        for of in (clean, disturbed)
    )
    assert others.std() > 1.1 * solid.std()
    assert np.median(others) == pytest.approx(np.median(solid), abs=0.1)


def _added(voltages=2, slots=400, size=(24, 96), missing=3, **strengths):
    """Return an image of 1 everywhere, with artefacts, and which of them there are."""
    artefacts = Artefacts(**{"gain": 0.0, "gradient": 0.0, "stripes": 0.0} | strengths)
    exist = np.ones((voltages, slots), bool)
    exist[:, missing] = False
    images = np.where(exist[..., np.newaxis, np.newaxis], np.ones(size, np.float32), np.float32(0))
    added = artefacts.added(images, exist, np.random.default_rng(4))
    assert added.dtype == np.float32
    assert not added[:, missing].any()
    return np.delete(added, missing, axis=1)


def test_artefacts__stripes_are_of_columns_and_the_same_at_all_voltages():
    added = _added(stripes=0.2)
    assert (added == added[:1, :, :1]).all()
    assert added[0, :, 0].std() == pytest.approx(0.2, rel=0.03)
    assert np.abs(np.diff(added[0, :, 0], axis=-1)).mean() > 0.001


def test_artefacts__brightness_rises_evenly_across_a_sample():
    added = _added(gradient=0.2)
    for axis in (-2, -1):
        steps = np.diff(added, axis=axis)
        np.testing.assert_allclose(steps, steps[..., :1, :1] + 0 * steps, atol=1e-6)
        rises = added.take(-1, axis) - added.take(0, axis)
        assert rises[..., 0].std() == pytest.approx(0.2, rel=0.1)
    np.testing.assert_allclose(added.mean((-2, -1)), 1, atol=1e-6)


def test_artefacts__gain_is_of_each_slice_and_voltage():
    added = _added(gain=0.2)
    assert (added == added[..., :1, :1]).all()
    assert added[..., 0, 0].std() == pytest.approx(np.hypot(0.2, 0.1), rel=0.1)
    assert not np.array_equal(added[0], added[1])


@pytest.mark.parametrize(
    "strengths", [{"gain": 0.2}, {"gradient": 0.3}, {"stripes": 0.1}, {"gain": 0.1, "stripes": 0.2}]
)
def test_artefacts__their_spread_widens_the_range_of_grey_values(strengths):
    artefacts = Artefacts(**{"gain": 0.0, "gradient": 0.0, "stripes": 0.0} | strengths)
    exist = np.ones((2, 400), bool)
    added = artefacts.added(np.zeros((2, 400, 24, 96), np.float32), exist, np.random.default_rng(6))
    assert added.std() == pytest.approx(artefacts.std, rel=0.1)
