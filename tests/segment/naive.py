"""Slow, obvious references for segment: every voxel is a sample, or every choice is tried."""

from fractions import Fraction
from itertools import combinations

import numpy as np
from skimage.filters import threshold_otsu
from sklearn.cluster import KMeans


def otsu_phase(image):
    """Phase of a uint8 or uint16 image by the threshold of scikit-image on all voxels."""
    return (image > threshold_otsu(image)).astype(np.uint8)


def otsu_threshold_of_floats(image):
    """Try every grey value; the first with the largest variance between the classes."""
    best, threshold = -1.0, None
    for level in np.unique(image)[:-1]:
        low, high = image[image <= level], image[image > level]
        between = low.size * high.size * (high.mean(dtype=float) - low.mean(dtype=float)) ** 2
        if between > best:
            best, threshold = between, level
    return threshold


def sum_of_squares(grey, counts, labels):
    """Sum of squares about the means of clusters of integer grey values, as an exact fraction."""
    squares = Fraction(0)
    for label in set(labels):
        inside = [
            (int(g), int(n)) for g, n, k in zip(grey, counts, labels, strict=True) if k == label
        ]
        mean = Fraction(sum(g * n for g, n in inside), sum(n for _, n in inside))
        squares += sum(n * (g - mean) ** 2 for g, n in inside)
    return squares


def least_sum_of_squares(grey, counts, classes):
    """Try every choice of thresholds between the grey values of a histogram."""
    cuts = combinations(range(1, len(grey)), classes - 1)
    every = (np.searchsorted(cut, np.arange(len(grey)), side="right") for cut in cuts)
    return min(sum_of_squares(grey, counts, labels) for labels in every)


def brightest_of_three(image):
    """Try every two thresholds of an integer image; 1 above the higher of the best."""
    number = np.bincount(image.ravel())
    grey = np.arange(len(number))
    n, total = (np.append(0, np.cumsum(row)) for row in (number, number * grey))
    low, high = np.triu_indices(len(number) + 1)
    explained = np.zeros(len(low))
    for start, stop in ((0, low), (low, high), (high, len(number))):
        explained += (total[stop] - total[start]) ** 2 / np.maximum(n[stop] - n[start], 1)
    return (image >= high[explained.argmax()]).astype(np.uint8)


def kmeans_phase(images, classes):
    """Phase of images (voltage, z, y, x): the best of 20 scikit-learn runs on all voxels."""
    samples = images.reshape(len(images), -1).T.astype(np.float64)
    model = KMeans(classes, n_init=20, tol=0, max_iter=1000, random_state=0).fit(samples)
    brightest = np.argmax(model.cluster_centers_.mean(axis=1))
    return (model.labels_ == brightest).astype(np.uint8).reshape(images.shape[1:])
