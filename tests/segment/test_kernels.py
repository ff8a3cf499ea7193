"""Clusters of histograms: the least sum of squares of all for one voltage, near it for several."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from fibdask.segment._kernels import cluster_centres, joint_clusters, optimal_clusters
from tests.segment.naive import least_sum_of_squares, sum_of_squares


@st.composite
def histograms(draw, grey, most):
    """Grey values and counts of up to nine bins, and a number of clusters that they can fill."""
    values = sorted(draw(st.sets(grey, min_size=2, max_size=9)))
    number = st.lists(st.integers(1, most), min_size=len(values), max_size=len(values))
    return values, draw(number), draw(st.integers(2, len(values)))


def clusters(grey, counts, classes):
    return optimal_clusters(np.array(grey, float), np.array(counts, float), classes)


def inertia(points, counts, centres):
    """Sum of squares of points (bin, voltage), each about the nearest centre."""
    squares = ((points[:, np.newaxis] - centres) ** 2).sum(axis=2).min(axis=1)
    return float(counts @ squares)


def best_of_twenty(points, counts, classes):
    model = KMeans(classes, n_init=20, tol=0, max_iter=1000, random_state=0)
    return model.fit(points, sample_weight=counts).inertia_


def joint_histogram(kind, voltages, seed):
    """Points (bin, voltage) and counts of 3000 pixels of 6 bits."""
    rng = np.random.default_rng(seed)
    if kind == "gamma":
        grey = rng.gamma(2, 8, (3000, voltages))
    elif kind == "decay":
        depth = rng.exponential(1, (3000, 1)) * (rng.random((3000, 1)) < 0.8)
        grey = 10 + 42 * np.exp(-depth / [0.3, 1, 3][:voltages])
        grey += rng.normal(0, 4, grey.shape)
    else:
        rare = rng.choice(3, 3000, p=[0.75, 0.15, 0.1])
        grey = rng.uniform(0, 64, (3, voltages))[rare] + rng.normal(0, 5, (3000, voltages))
    points, counts = np.unique(grey.clip(0, 63).astype(int), axis=0, return_counts=True)
    return points.astype(float), counts


# One voltage


@pytest.mark.interpreted
@given(histograms(st.integers(0, 255), 1000))
def test_optimal_clusters__are_the_best_of_all_thresholds(histogram):
    grey, counts, _ = histogram
    labels = clusters(*histogram)
    assert sum_of_squares(grey, counts, labels) == least_sum_of_squares(*histogram)


@given(histograms(st.integers(0, 65535), 10**12))
def test_optimal_clusters__are_the_best_of_all_thresholds_for_huge_counts(histogram):
    grey, counts, _ = histogram
    squares = sum_of_squares(grey, counts, clusters(*histogram))
    least = least_sum_of_squares(*histogram)
    assert squares - least <= least / 10**12


@pytest.mark.interpreted
@given(histograms(st.integers(0, 255), 1000))
def test_optimal_clusters__are_filled_intervals_from_dark_to_bright(histogram):
    labels = clusters(*histogram)
    steps = np.diff(labels)
    assert labels[0] == 0
    assert labels[-1] == histogram[-1] - 1
    assert ((steps == 0) | (steps == 1)).all()


def test_optimal_clusters__of_a_tie_are_those_with_the_larger_bright_cluster():
    np.testing.assert_array_equal(clusters([1, 2, 3], [1, 1, 1], 2), [0, 1, 1])


@pytest.mark.interpreted
@pytest.mark.parametrize("hot", [1e30, -1e30])
def test_optimal_clusters__keep_all_digits_beside_a_hot_pixel(hot):
    grey = np.array([0, 1, 2, 3, 100, 101, 102, hot])
    order = np.argsort(grey)
    labels = clusters(grey[order], np.array([10**12, 5, 5, 5, 9, 9, 1, 1])[order], 3)
    parts = np.split(grey[order], np.flatnonzero(np.diff(labels)) + 1)
    assert sorted(len(part) for part in parts) == [1, 3, 4]
    assert [hot] in [part.tolist() for part in parts]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_cluster_centres__of_one_voltage_are_never_worse_than_scikit_learn(classes, seed):
    rng = np.random.default_rng(seed)
    points = np.arange(256.0)[:, np.newaxis]
    counts = 1 + rng.poisson(rng.gamma(0.3, 300, 256))
    found = inertia(points, counts, cluster_centres(points, counts, classes))
    assert found <= best_of_twenty(points, counts, classes) * (1 + 1e-12)


# Several voltages


@pytest.mark.parametrize("kind", ["gamma", "decay", "rare"])
@pytest.mark.parametrize(("voltages", "classes"), [(2, 3), (3, 3)])
def test_cluster_centres__of_several_voltages_are_as_good_as_scikit_learn(voltages, classes, kind):
    points, counts = joint_histogram(kind, voltages, seed=0)
    found = inertia(points, counts, cluster_centres(points, counts, classes))
    assert found <= best_of_twenty(points, counts, classes) * (1 + 1e-3)


@pytest.mark.interpreted
def test_joint_clusters__of_two_equal_voltages_are_those_of_one():
    grey = np.arange(64.0)
    weights = 1.0 + np.random.default_rng(0).poisson(50 * np.sin(grey) ** 2)
    labels = joint_clusters(np.stack([grey, grey], axis=1), weights, 3)
    np.testing.assert_array_equal(labels, optimal_clusters(grey, weights, 3))


@pytest.mark.interpreted
def test_joint_clusters__fill_more_classes_than_a_voltage_has_grey_values():
    points = np.array([[x, y] for x in (0.0, 50.0) for y in (0.0, 50.0)])
    labels = joint_clusters(points, np.ones(4), 4)
    assert sorted(labels) == [0, 1, 2, 3]
