"""Kernels of image similarity: what slices share with those below, and with themselves moved."""

import numpy as np

from ...compiling import compiled


def slice_similarities(
    slices: np.ndarray, count: int, neighbours: int, lags: tuple[int, int], reach: int
) -> np.ndarray:
    """Return similarities of the first `count` of some slices (z, y, x), float64 (count, number).

    Row k holds the standard deviation of slice k, its similarity with the next `neighbours`
    slices, then that with itself moved by 1 … `lags[0]` pixels along y and 1 … `lags[1]` along x.
    NaN stands for slices that are not there, for NaN in a slice, and for a slice of one grey value.
    """
    # Without the background: slow changes of brightness are alike in slices that are far apart.
    flat = np.empty(slices.shape, np.float32)
    for image, out in zip(slices, flat, strict=True):
        subtract_background(image, reach, out)
    moved_y, moved_x = lags
    rows = np.full((count, 1 + neighbours + moved_y + moved_x), np.nan)
    for k in range(count):
        below = flat[k + 1 : k + 1 + neighbours]
        rows[k, 0] = flat[k].std(dtype=np.float64)
        rows[k, 1 : 1 + len(below)] = [correlation(flat[k], other, 0, 0) for other in below]
        start = 1 + neighbours
        along_y = [correlation(flat[k], flat[k], lag, 0) for lag in range(1, moved_y + 1)]
        along_x = [correlation(flat[k], flat[k], 0, lag) for lag in range(1, moved_x + 1)]
        rows[k, start:] = along_y + along_x
    return rows


@compiled(nogil=True)
def subtract_background(image, reach, out):
    """Write an image less its mean over windows of 2 `reach` + 1 pixels, cut at the edges."""
    # Sums slide by one row in and one out, so that the time does not grow with the window.
    height, width = image.shape
    column = np.zeros(width)
    for y in range(min(reach, height)):
        for x in range(width):
            column[x] += image[y, x]
    for y in range(height):
        for x in range(width):
            if y + reach < height:
                column[x] += image[y + reach, x]
            if y > reach:
                column[x] -= image[y - reach - 1, x]
        # At the edges the mean is of what is there, not of zeros.
        rows = min(y + reach, height - 1) - max(y - reach, 0) + 1
        total = 0.0
        for x in range(min(reach, width)):
            total += column[x]
        for x in range(width):
            if x + reach < width:
                total += column[x + reach]
            if x > reach:
                total -= column[x - reach - 1]
            columns = min(x + reach, width - 1) - max(x - reach, 0) + 1
            out[y, x] = image[y, x] - total / (rows * columns)


@compiled(nogil=True)
def correlation(first, second, down, right):
    """Return the Pearson correlation of an image with another that is moved down and right.

    NaN where one of them is constant.
    """
    sum_a = sum_b = sum_aa = sum_bb = sum_ab = 0.0
    height, width = first.shape
    for y in range(height - down):
        for x in range(width - right):
            a = np.float64(first[y + down, x + right])
            b = np.float64(second[y, x])
            sum_a += a
            sum_b += b
            sum_aa += a * a
            sum_bb += b * b
            sum_ab += a * b
    # Sums of squares lose no digits here: the mean of the images is near zero.
    count = (height - down) * (width - right)
    spread = (sum_aa - sum_a * sum_a / count) * (sum_bb - sum_b * sum_b / count)
    if not spread > 0.0:
        return np.nan
    return (sum_ab - sum_a * sum_b / count) / np.sqrt(spread)
