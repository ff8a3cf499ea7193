"""Compiled loops of layered samples, against laws and naive loops."""

import numpy as np
import pytest

from fibdask.microtomography._kernels.fitting import LAYERS, expand, solve
from fibdask.microtomography._kernels.posterior import PLACES, half_widths
from fibdask.microtomography._kernels.smoothing import LANES, mean_around, project, smooth_step
from fibdask.microtomography.tables import Basis, Table

pytestmark = pytest.mark.interpreted


NONE = np.zeros(LAYERS)


def curved_table():
    """Return a table of two layers of 9 nodes, and its values at any places."""

    def values(a, b):
        return np.stack([np.exp(-a / 6), np.log1p(a + 2 * b), b + a * b / 40], axis=-1)

    nodes = np.meshgrid(np.arange(9.0), np.arange(9.0), [0.0], indexing="ij")
    energies = values(*nodes[:2]).astype(np.float32)
    return Table.of(np.array([True, True, False]), energies, Basis.whole(3)), values


def test_expand__follows_tangents_and_tells_the_slopes_of_squares():
    table, _ = curved_table()
    seen, weights = np.float32([0.3, 2.0, 5.0]), np.float32([1.0, 4.0, 2.0])

    def expanded(*place):
        return expand(seen, weights, table.tangents, np.array([*place, 0.0]))

    square, right, normal = expanded(3.2, 5.1)
    rows = table.tangents[3, 5, 0].astype(float)
    rest = seen - rows[0] - 0.2 * rows[1] - 0.1 * rows[2]
    assert square == pytest.approx((weights * rest**2).sum(), rel=1e-5)
    ahead, behind = (expanded(3.2 + d, 5.1)[0] for d in (0.1, -0.1))
    assert right[0] == pytest.approx(-(ahead - behind) / 0.4, rel=1e-4)
    assert normal[0] == pytest.approx((ahead + behind - 2 * square) / 0.02, rel=1e-3)


def test_solve__equals_that_of_matrices():
    a = np.random.default_rng(3).normal(size=(5, 3))
    full, right = a.T @ a, np.array([1.0, -2.0, 0.5])
    normal = tuple(full[np.triu_indices(3)])
    steps, pivots = solve(tuple(right), normal, (True, True, True), 0.0)
    np.testing.assert_allclose(steps, np.linalg.solve(full, right))
    assert pivots == pytest.approx(np.linalg.det(full))
    steps, _ = solve(tuple(right), normal, (True, False, True), 0.0)
    some = np.ix_([0, 2], [0, 2])
    np.testing.assert_allclose([steps[0], steps[2]], np.linalg.solve(full[some], right[[0, 2]]))
    assert steps[1] == 0


def test_fit__finds_places_between_nodes_and_at_bounds():
    table, values = curved_table()
    places = np.array([[2.4, 6.3], [0.0, 3.7], [7.9, 0.0], [8.0, 8.0]])
    seen = values(*places.T).astype(np.float32)
    fits = table.fit(seen, np.full(4, 1e-4), NONE)
    np.testing.assert_allclose(fits.places[:, :2], places, atol=0.1)


def test_walk__integrates_the_other_layer():
    table, values = curved_table()
    variance = np.array([0.01])
    seen = values(np.array([4.0]), np.array([3.0])).astype(np.float32)
    fits = table.fit(seen, variance, NONE)
    found, likely, count = np.empty((1, PLACES)), np.empty((1, PLACES)), np.zeros(1, int)
    table.walk(seen, variance, fits, 0, np.array([True]), (found, likely, count))
    along, across = np.meshgrid(found[0, : count[0]], np.linspace(0, 8, 801), indexing="ij")
    square = ((values(along, across) - seen[0]) ** 2).sum(axis=-1) / variance
    summed = np.exp(-square / 2).sum(axis=1) * 0.01
    walked = np.exp(likely[0, : count[0]])
    np.testing.assert_allclose(walked, summed, atol=0.06 * summed.max())


def naive_step(scores, smoothed, weights, radius, limit):
    """Return averages over pixels that are near and look alike, their weights and variances."""
    rows, columns, _ = scores.shape
    weights = weights[:, :columns]
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


@pytest.mark.parametrize("columns", [8, LANES + 3])
def test_smooth_step__equals_the_naive_average(columns):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(9, columns, 2)).astype(np.float32)
    scores[:, 4:] += 5
    scores[2, 2] = np.nan
    lining, lanes = 3, -(-columns // LANES) * LANES
    inside = slice(lining, lining + columns)
    smoothed, averages = np.full((2, 2, 9, lanes + 2 * lining), np.nan, np.float32)
    smoothed[:, :, inside] = np.moveaxis(scores, 2, 0)
    weights = np.full((9, lanes), 1.5, np.float32)
    sums, variances = np.empty_like(weights), np.empty_like(weights)
    given = np.nan_to_num(smoothed), smoothed, weights, 2.9, 12.0
    smooth_step(*given, averages, sums, variances)
    found = np.moveaxis(averages[:, :, inside], 0, 2), sums[:, :columns], variances[:, :columns]
    for made, naive in zip(found, naive_step(scores, scores, weights, 2.9, 12.0), strict=True):
        np.testing.assert_allclose(made, naive, rtol=2e-5, atol=1e-6)
    assert np.isnan(found[0][2, 2]).all()
    assert np.isnan(averages[:, :, columns + lining :]).all()
    assert not sums[:, columns:].any()


def test_mean_around__is_that_of_the_pixels_that_are_there():
    values = np.random.default_rng(2).normal(size=(6, 7)).astype(np.float32)
    values[3, 3] = np.nan
    found = np.empty_like(values)
    mean_around(values, 2, found)
    for y, x in ((0, 0), (3, 3), (5, 6)):
        window = values[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        assert found[y, x] == pytest.approx(np.nanmean(window), rel=1e-5)


def test_project__returns_what_was_put_together():
    rng = np.random.default_rng(1)
    directions = np.linalg.qr(rng.normal(size=(6, 6)))[0][:3].copy()
    mean, scores = rng.normal(size=6), rng.normal(size=(5, 3))
    back = np.empty((5, 3), np.float32)
    project((scores @ directions + mean).astype(np.float32), mean, directions, back)
    np.testing.assert_allclose(back, scores, atol=1e-5)


def half_width(taken, patterns, beforehand=(0.0, 0.0)):
    """Return the half width of one pixel, of functions on ranges that say how likely places are."""
    given = [(np.linspace(low, high, 25), likely) for low, high, likely in patterns]
    places = np.array([where for where, _ in given])[:, np.newaxis]
    logarithms = np.array([likely(where) for where, likely in given])[:, np.newaxis]
    counts, out = np.full((len(given), 1), 25), np.empty(1)
    before = np.array(beforehand[: len(given)])
    half_widths(np.array([float(taken)]), places, logarithms, counts, before, out)
    return out[0]


@pytest.mark.parametrize(
    ("taken", "low", "high", "likely", "half"),
    [
        (5, 0, 10, lambda t: -((t - 5) ** 2) / 2, 1),  # a Gaussian: its standard deviation
        (0, 0, 5, lambda t: -(t**2) / 2, 1),  # half a Gaussian, from the bound on
        (5, 0, 10, lambda t: 0 * t, 0.6827 * 5),  # nothing known: of the whole range
        (10, 0, 10, lambda t: t - 10, -np.log(1 - 0.6827)),  # an exponential
    ],
)
def test_half_widths__hold_two_thirds(taken, low, high, likely, half):
    assert half_width(taken, [(low, high, likely)]) == pytest.approx(half, rel=3e-3)


def test_half_widths__are_those_of_patterns_by_their_evidence():
    first, second = (3.9, 4.1, lambda t: 0 * t), (5.9, 6.1, lambda t: 0 * t)
    assert half_width(4, [first, second], (0.0, -30.0)) == pytest.approx(0.06827, rel=1e-2)
    assert half_width(4, [first, second], (-30.0, 0.0)) == pytest.approx(2 + 0.0365, rel=1e-2)
    assert half_width(5, [first, second]) == pytest.approx(1.0365, rel=1e-2)
