"""Compiled loops of layered samples, against laws and naive loops."""

import numpy as np
import pytest

from fibdask.microtomography._kernels.fitting import LAYERS, half_widths, interpolate
from fibdask.microtomography._kernels.smoothing import project, smooth_step

pytestmark = pytest.mark.interpreted


def interpolated(table, place):
    value, slopes = np.empty(table.shape[3]), np.empty((LAYERS, table.shape[3]))
    interpolate(table, np.array(place), np.empty((LAYERS, 4)), np.empty((LAYERS, 4)), value, slopes)
    return value, slopes


@pytest.mark.parametrize("place", [(0.0, 0.0, 0.0), (2.3, 4.9, 0.0), (6.0, 5.0, 0.0)])
def test_interpolate__is_exact_for_polynomials_of_third_degree(place):
    x, y = np.meshgrid(np.arange(7.0), np.arange(6.0), indexing="ij")
    table = np.stack([x**3 - 2 * x * y, y**3 + x], axis=-1)[:, :, np.newaxis].astype(np.float32)
    value, slopes = interpolated(table, place)
    a, b, _ = place
    np.testing.assert_allclose(value, [a**3 - 2 * a * b, b**3 + a], atol=1e-4)
    np.testing.assert_allclose(slopes[0], [3 * a**2 - 2 * b, 1], atol=1e-4)
    np.testing.assert_allclose(slopes[1], [-2 * a, 3 * b**2], atol=1e-4)
    assert not slopes[2].any()


def naive_step(scores, smoothed, weights, radius, limit):
    """Return averages over pixels that are near and look alike, their weights and variances."""
    rows, columns, _ = scores.shape
    averages, sums, variances = smoothed * np.nan, weights * 0, weights * np.nan
    for y in range(rows):
        for x in range(columns):
            v, u = np.mgrid[:rows, :columns]
            near = np.maximum(1 - ((v - y) ** 2 + (u - x) ** 2) / radius**2, 0)
            near[(abs(v - y) > int(radius)) | (abs(u - x) > int(radius))] = 0
            apart = ((smoothed - smoothed[y, x]) ** 2).sum(axis=2) * weights[y, x] / limit
            weight = np.nan_to_num(near * np.clip(2 * (1 - apart), 0, 1))
            if weight.sum() > 0:
                known = np.nan_to_num(scores)
                averages[y, x] = np.einsum("yx,yxc->c", weight, known) / weight.sum()
                sums[y, x] = weight.sum()
                variances[y, x] = (weight**2).sum() / weight.sum() ** 2
    return averages, sums, variances


def test_smooth_step__equals_the_naive_average():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(9, 8, 2)).astype(np.float32)
    scores[:, 4:] += 5
    scores[2, 2] = np.nan
    smoothed, weights = scores, np.full((9, 8), 1.5, np.float32)
    found = np.empty_like(scores), np.empty_like(weights), np.empty_like(weights)
    smooth_step(scores, smoothed, weights, 2.9, 12.0, *found)
    for made, naive in zip(found, naive_step(scores, smoothed, weights, 2.9, 12.0), strict=True):
        np.testing.assert_allclose(made, naive, rtol=2e-5, atol=1e-6)
    assert np.isnan(found[0][2, 2]).all()


def test_project__returns_what_was_put_together():
    rng = np.random.default_rng(1)
    directions = np.linalg.qr(rng.normal(size=(6, 6)))[0][:3].copy()
    mean, scores = rng.normal(size=6), rng.normal(size=(5, 3))
    back = np.empty((5, 3), np.float32)
    project((scores @ directions + mean).astype(np.float32), mean, directions, back)
    np.testing.assert_allclose(back, scores, atol=1e-5)


def widths(taken, centres, widths, evidence, present, span=10.0):
    """Return the half width of one pixel."""
    given = (np.array(values, float)[:, np.newaxis] for values in (centres, widths, evidence))
    out = np.empty(1)
    half_widths(np.array([float(taken)]), *given, np.array(present), span, out)
    return out[0]


@pytest.mark.parametrize(
    ("taken", "centre", "wide", "half"),
    [
        (5, 5, 1, 1),  # a Gaussian: its standard deviation
        (0, 0, 1, 1),  # half a Gaussian, from the bound on
        (5, 5, 1e9, 0.6827 * 5),  # nothing known: of the whole range
        (10, 10 + 1e3, 50, -(50**2 / 1e3) * np.log(1 - 0.6827)),  # far beyond: an exponential
    ],
)
def test_half_widths__hold_two_thirds(taken, centre, wide, half):
    assert widths(taken, [centre], [wide], [0], [True]) == pytest.approx(half, rel=1e-3)


def test_half_widths__are_those_of_patterns_that_have_the_layer():
    given = [0, 2], [0, 0.5], [30, 0]
    assert widths(2, *given, [False, True]) == pytest.approx(0.5, rel=1e-3)
    # Said to be absent: how much of it might be there all the same.
    assert widths(0, *given, [False, True]) == pytest.approx(2 + 0.5 * 0.4752, rel=1e-3)
    half = widths(5, [4, 6], [1e-3, 1e-3], [0, 0], [True, True])
    assert half == pytest.approx(1, rel=1e-2)
