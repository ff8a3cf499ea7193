"""Images in larger or smaller pixels: means over squares, along y and then along x.

Sums are taken tap by tap in float32: a pixel has the same bits whatever part of an image is made.
"""

from math import ceil

import numpy as np

from ...compiling import compiled


def square_taps(numbers: slice, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what pixels along an axis are made of: the first of the others, and weights of these.

    A larger pixel is the mean of what lies in it. A smaller one is the mean of a square about it
    that is as large as the others: what linear interpolation between their centres gives.

    Parameters
    ----------
    numbers
        Pixels that are made.
    step
        Length of one, in those of the others.

    Returns
    -------
    first, weights
        Number of the first of the others, int64 (pixel), before the image's begin if negative;
        weights of it and of those after it, float32 (pixel, tap).
    """
    width = max(step, 1.0)
    low = (np.arange(numbers.start, numbers.stop) + 0.5) * step - width / 2
    first = np.floor(low).astype(np.int64)
    edges = first[:, np.newaxis] + np.arange(ceil(width) + 2)
    inside = edges.clip(low[:, np.newaxis], low[:, np.newaxis] + width)
    return first, (np.diff(inside) / width).astype(np.float32)


@compiled(nogil=True)
def square_means(image, first_y, weights_y, first_x, weights_x, result):
    """Fill float32 `result` (y, x) with sums of pixels of an image (y, x) times their weights.

    `first_y` and `first_x` number pixels of the image; beyond its sides these are repeated.
    """
    rows, columns = image.shape
    line = np.empty(columns, np.float32)
    for y in range(len(first_y)):
        line[:] = 0
        for j in range(weights_y.shape[1]):
            row = min(max(first_y[y] + j, 0), rows - 1)
            for x in range(columns):
                line[x] += weights_y[y, j] * np.float32(image[row, x])
        for x in range(len(first_x)):
            total = np.float32(0)
            for i in range(weights_x.shape[1]):
                total += weights_x[x, i] * line[min(max(first_x[x] + i, 0), columns - 1)]
            result[y, x] = total
