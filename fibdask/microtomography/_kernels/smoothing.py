"""Compiled smoothing in the plane that stops where signals differ by more than their noise."""

import numpy as np

from ...compiling import compiled

LANES = 64
"""Pixels beside each other that are averaged together."""


@compiled(nogil=True, fastmath={"contract"})
def smooth_step(scores, smoothed, weights, radius, limit, new_smoothed, new_weights, variances):
    """Average what is observed around each pixel over those that look like it so far.

    Images are lined with pixels that there are not, as many to either side along x as the radius
    has, and as many more at the end as make `LANES` whole.

    Parameters
    ----------
    scores
        What is observed, of independent noise of variance 1, float32 (component, y, lined x); 0 of
        pixels without data.
    smoothed
        Averages so far, float32 (component, y, lined x); NaN of pixels without data.
    weights
        Sums of weights that they are made of, float32 (y, x).
    radius
        Of the pixels that are averaged.
    limit
        Squared difference of two averages, in the variance of the first, from which on pixels do
        not count.
    new_smoothed, new_weights
        Overwritten, but for the lining.
    variances
        Of the new averages, float32 (y, x), overwritten.
    """
    components, rows, lined = scores.shape
    columns = weights.shape[1]
    lining = (lined - columns) // 2
    reach = int(radius)
    square = radius * radius
    zero, one, two = np.float32(0), np.float32(1), np.float32(2)
    own, sums = np.empty((2, components, LANES), np.float32)
    scale, total, squares, weight = np.empty((4, LANES), np.float32)
    for y in range(rows):
        for x in range(0, columns, LANES):
            for lane in range(LANES):
                scale[lane] = weights[y, x + lane] / limit
            total[:] = zero
            squares[:] = zero
            sums[:] = zero
            own[:] = smoothed[:, y, x + lining : x + lining + LANES]
            for dy in range(-reach, reach + 1):
                v = y + dy
                if v < 0 or v >= rows:
                    continue
                for dx in range(-reach, reach + 1):
                    near = np.float32(1 - (dy * dy + dx * dx) / square)
                    if near <= 0:
                        continue
                    u = x + dx + lining
                    weight[:] = zero
                    for c in range(components):
                        mine, other = own[c], smoothed[c, v, u : u + LANES]
                        for lane in range(LANES):
                            difference = mine[lane] - other[lane]
                            weight[lane] += difference * difference
                    for lane in range(LANES):
                        alike = one - weight[lane] * scale[lane]
                        counted = near * min(two * alike, one)
                        counted = counted if alike > zero else zero  # nor NaN
                        total[lane] += counted
                        squares[lane] += counted * counted
                        weight[lane] = counted
                    for c in range(components):
                        mine, other = sums[c], scores[c, v, u : u + LANES]
                        for lane in range(LANES):
                            mine[lane] += weight[lane] * other[lane]
            for lane in range(LANES):
                there = total[lane] > zero
                share = one / total[lane] if there else np.float32(np.nan)
                for c in range(components):
                    new_smoothed[c, y, x + lining + lane] = sums[c, lane] * share
                new_weights[y, x + lane] = total[lane]
                variances[y, x + lane] = squares[lane] * share * share


@compiled(nogil=True)
def mean_around(values, reach, out):
    """Average values over squares, of those that are there, each pixel by itself.

    Parameters
    ----------
    values
        Float32 (y, x); NaN of pixels without data.
    reach
        Of the squares to either side, in pixels.
    out
        Float32 (y, x), overwritten.
    """
    rows, columns = values.shape
    sums, counts = np.empty((rows, columns)), np.empty((rows, columns))
    for y in range(rows):
        for x in range(columns):
            sums[y, x], counts[y, x] = 0.0, 0.0
            for u in range(max(x - reach, 0), min(x + reach + 1, columns)):
                if not np.isnan(values[y, u]):
                    sums[y, x] += values[y, u]
                    counts[y, x] += 1
    for y in range(rows):
        for x in range(columns):
            total, count = 0.0, 0.0
            for v in range(max(y - reach, 0), min(y + reach + 1, rows)):
                total += sums[v, x]
                count += counts[v, x]
            out[y, x] = total / count if count else np.nan


@compiled(nogil=True)
def project(values, mean, directions, out):
    """Fill in the components of values, each pixel by itself: a product of matrices would not be.

    Parameters
    ----------
    values
        Float32 (pixel, energy).
    mean
        That they are counted from, float64 (energy).
    directions
        Float64 (component, energy).
    out
        Float32 (pixel, component), overwritten.
    """
    for pixel in range(len(values)):
        for c in range(len(directions)):
            total = 0.0
            for e in range(len(mean)):
                total += (values[pixel, e] - mean[e]) * directions[c, e]
            out[pixel, c] = total
