"""Slow, obvious definitions of the statistics of a phase (z, y, x) in memory."""

import numpy as np


def along_first(volume, axis):
    return np.moveaxis(volume.astype(bool), "zyx".index(axis), 0)


def members(phase, axis, of="solid", mask=None):
    """Return which voxels are in the phase and count, and which count, with the axis first."""
    inside = np.ones(phase.shape, bool) if mask is None else np.broadcast_to(mask, phase.shape) > 0
    wanted = phase == (0 if of == "pore" else 1)
    return along_first(wanted & inside, axis), along_first(inside, axis)


def two_point_correlation(phase, axis, max_lag, of="solid", mask=None):
    some, inside = members(phase, axis, of, mask)
    other = inside & ~some
    n, values = len(some), []
    for lag in range(max_lag + 1):
        first, second = slice(0, max(n - lag, 0)), slice(lag, n)
        every = np.sum(inside[first] & inside[second])
        if of == "cross":
            pairs = np.sum(some[first] & other[second]) + np.sum(other[first] & some[second])
            every = 2 * every
        else:
            pairs = np.sum(some[first] & some[second])
        values.append(pairs / every if every else np.nan)
    return np.array(values)


def lineal_path(phase, axis, max_lag, of="solid", mask=None):
    some, inside = members(phase, axis, of, mask)
    n, values = len(some), []
    for lag in range(max_lag + 1):
        in_phase = sum(some[i : i + lag + 1].all(axis=0).sum() for i in range(n - lag))
        every = sum(inside[i : i + lag + 1].all(axis=0).sum() for i in range(n - lag))
        values.append(in_phase / every if every else np.nan)
    return np.array(values)


def chords(phase, axis, of="solid", mask=None):
    """Return numbers of chords inside and of cut ones, by length from 1 on."""
    some, inside = (v.reshape(len(v), -1).T for v in members(phase, axis, of, mask))
    counts = np.zeros((2, some.shape[1]), int)
    for line, counted in zip(some, inside, strict=True):
        i = 0
        while i < len(line):
            start = i
            while i < len(line) and line[i]:
                i += 1
            if i > start:
                ends = [start > 0 and counted[start - 1], i < len(line) and counted[i]]
                counts[0 if all(ends) else 1, i - start - 1] += 1
            i += 1
    return counts


def ligament_diameter(phase, axis, spacing, of="solid", mask=None):
    path = lineal_path(phase, axis, phase.shape["zyx".index(axis)] - 1, of, mask)
    if not path[0] > 0 or not np.isfinite(path[1:]).any():
        return np.nan
    return spacing * (0.5 + np.nansum(path[1:] / path[0]))


def part_of_diameter(phase, axis, spacing, reach):
    """The area under L / L(0) up to a distance, where the curve is a polyline."""
    path = lineal_path(phase, axis, phase.shape["zyx".index(axis)] - 1)
    places = spacing * np.arange(len(path))
    ends = np.append(places[places < reach], reach)
    return np.trapezoid(np.interp(ends, places, path / path[0]), ends)


def curve_error(f_z, f_y, f_x):
    errors = [
        2 * np.sqrt(np.sum((f - f_z) ** 2)) / (np.sqrt(np.sum(f**2)) + np.sqrt(np.sum(f_z**2)))
        for f in (f_x, f_y)
    ]
    return sum(errors) / 2


def isotropy_errors(phase, max_lag, spacing=1.0):
    """Errors and noise floor of a phase with cubic voxels, max_lag + 1 of them or more an axis."""
    two_point = [two_point_correlation(phase, axis, max_lag) for axis in "zyx"]
    path = [lineal_path(phase, axis, max_lag) for axis in "zyx"]
    z, y, x = (part_of_diameter(phase, axis, spacing, spacing * max_lag) for axis in "zyx")
    xy, xz, yz = (x + y) / 2, (x + z) / 2, (y + z) / 2
    diameter = (abs(xz - xy) + abs(yz - xy)) / xy / 2
    noise = [curve_error(f[1], f[2], f[2]) for f in (two_point, path)]
    return np.array(
        [curve_error(*two_point), curve_error(*path), diameter, *noise, abs(x - y) / 2 / xy]
    )


def segmentation_errors(phase, truth):
    """MP, MGP and MDS, voxel by voxel, of volumes that hold both phases."""
    pairs = list(zip(phase.flat, truth.flat, strict=True))
    tp, fp, fn, tn = (pairs.count(pair) for pair in ((1, 1), (1, 0), (0, 1), (0, 0)))
    dice = [2 * n / (2 * n + fp + fn) for n in (tp, tn)]
    return 100 * (fp + fn) / len(pairs), 100 * fn / (tp + fn), sum(dice) / 2
