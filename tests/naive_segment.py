"""Slow, obvious references for segment: every voxel is a sample, nothing is binned."""

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


def kmeans_phase(images, classes):
    """Phase of images (voltage, z, y, x): the best of 20 scikit-learn runs on all voxels."""
    samples = images.reshape(len(images), -1).T.astype(np.float64)
    model = KMeans(classes, n_init=20, tol=0, max_iter=1000, random_state=0).fit(samples)
    brightest = np.argmax(model.cluster_centers_.mean(axis=1))
    return (model.labels_ == brightest).astype(np.uint8).reshape(images.shape[1:])
