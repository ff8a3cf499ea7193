"""Compiled smoothing in the plane that stops where signals differ by more than their noise."""

import numpy as np

from ...compiling import compiled


@compiled(nogil=True)
def smooth_step(scores, smoothed, weights, radius, limit, new_smoothed, new_weights, variances):
    """Average what is observed around each pixel over those that look like it so far.

    Parameters
    ----------
    scores
        What is observed, of independent noise of variance 1, float32 (y, x, component); NaN of
        pixels without data.
    smoothed, weights
        Averages so far, and the sums of weights they are made of, float32 (y, x, component) and
        (y, x).
    radius
        Of the pixels that are averaged.
    limit
        Squared difference of two averages, in the variance of the first, from which on pixels do
        not count.
    new_smoothed, new_weights
        Overwritten.
    variances
        Of the new averages, float32 (y, x), overwritten.
    """
    rows, columns, components = scores.shape
    reach = int(radius)
    square = radius * radius
    sums = np.empty(components)
    for y in range(rows):
        for x in range(columns):
            own = smoothed[y, x]
            sums[:] = 0
            total, squares = 0.0, 0.0
            scale = weights[y, x] / limit
            for dy in range(-reach, reach + 1):
                v = y + dy
                if v < 0 or v >= rows:
                    continue
                for dx in range(-reach, reach + 1):
                    u = x + dx
                    near = 1 - (dy * dy + dx * dx) / square
                    if u < 0 or u >= columns or near <= 0:
                        continue
                    apart = 0.0
                    for c in range(components):
                        difference = own[c] - smoothed[v, u, c]
                        apart += difference * difference
                    alike = 1 - apart * scale
                    if not alike > 0:  # nor NaN
                        continue
                    weight = near * min(2 * alike, 1.0)
                    total += weight
                    squares += weight * weight
                    for c in range(components):
                        sums[c] += weight * scores[v, u, c]
            if total > 0:
                for c in range(components):
                    new_smoothed[y, x, c] = sums[c] / total
                new_weights[y, x] = total
                variances[y, x] = squares / (total * total)
            else:
                new_smoothed[y, x] = np.nan
                new_weights[y, x] = 0
                variances[y, x] = np.nan


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
