"""Slow, obvious definitions of the statistics of a phase (z, y, x) in memory."""

import numpy as np


def along_first(phase, axis):
    return np.moveaxis(phase.astype(bool), "zyx".index(axis), 0)


def two_point_correlation(phase, axis, max_lag):
    solid = along_first(phase, axis)
    n = len(solid)
    return np.array(
        [
            np.sum(solid[: n - lag] & solid[lag:]) / solid[lag:].size if lag < n else np.nan
            for lag in range(max_lag + 1)
        ]
    )


def lineal_path(phase, axis, max_lag):
    solid = along_first(phase, axis)
    n = len(solid)
    values = []
    for lag in range(max_lag + 1):
        segments = [solid[i : i + lag + 1].all(axis=0) for i in range(n - lag)]
        values.append(np.sum(segments) / np.size(segments) if segments else np.nan)
    return np.array(values)


def ligament_diameter(phase, axis, spacing, max_lag=None):
    n = phase.shape["zyx".index(axis)]
    last = n - 1 if max_lag is None else min(max_lag, n - 1)
    path = lineal_path(phase, axis, last)
    return spacing * (0.5 + sum(path[1:] / path[0])) if path[0] else np.nan


def curve_error(f_z, f_y, f_x):
    errors = [
        2 * np.sqrt(np.sum((f - f_z) ** 2)) / (np.sqrt(np.sum(f**2)) + np.sqrt(np.sum(f_z**2)))
        for f in (f_x, f_y)
    ]
    return sum(errors) / 2


def isotropy_errors(phase, max_lag, spacing=1.0):
    """Errors of a phase with cubic voxels and at least max_lag + 1 of them along each axis."""
    two_point = [two_point_correlation(phase, axis, max_lag) for axis in "zyx"]
    path = [lineal_path(phase, axis, max_lag) for axis in "zyx"]
    z, y, x = (ligament_diameter(phase, axis, spacing, max_lag) for axis in "zyx")
    xy, xz, yz = (x + y) / 2, (x + z) / 2, (y + z) / 2
    diameter = (abs(xz - xy) + abs(yz - xy)) / xy / 2
    return np.array([curve_error(*two_point), curve_error(*path), diameter])


def segmentation_errors(phase, truth):
    """MP, MGP and MDS, voxel by voxel, of volumes that hold both phases."""
    pairs = list(zip(phase.flat, truth.flat, strict=True))
    tp, fp, fn, tn = (pairs.count(pair) for pair in ((1, 1), (1, 0), (0, 1), (0, 0)))
    dice = [2 * n / (2 * n + fp + fn) for n in (tp, tn)]
    return 100 * (fp + fn) / len(pairs), 100 * fn / (tp + fn), sum(dice) / 2
