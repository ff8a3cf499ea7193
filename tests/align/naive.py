"""Registration as its definitions say it, slow and short."""

from itertools import pairwise

import numpy as np
from scipy import ndimage


def moved(image, shift, margin):
    """Return an image (y, x) moved by a shift in pixels, less a margin: no border is seen.

    By splines of fifth order, independent of what is tested.
    """
    image = np.asarray(image, np.float64)
    wide = ndimage.shift(image, shift, order=5, mode="mirror")
    return np.clip(np.rint(wide[margin:-margin, margin:-margin]), 0, 255).astype(np.uint8)


def lanczos(image, shift):
    """Return raw(y - shift_y, x - shift_x) pixel by pixel, nearest pixels beyond the border."""
    image = np.asarray(image, np.float64)
    for axis, move in enumerate(shift):
        n = image.shape[axis]
        result = np.zeros_like(image)
        for i in range(n):
            whole = int(np.floor(i - move))
            places = np.arange(whole - 2, whole + 4)
            distance = places - (i - move)
            weights = np.sinc(distance) * np.sinc(distance / 3) * (np.abs(distance) < 3)
            taken = np.take(image, np.clip(places, 0, n - 1), axis)
            line = np.tensordot(weights / weights.sum(), taken, (0, axis))
            result[(slice(None),) * axis + (i,)] = line
        image = result
    return image


def correlation(first, second, lag):
    """Return Pearson's correlation of first(y, x) and second(y - lag_y, x - lag_x)."""
    pairs = [
        (first[y, x], second[y - lag[0], x - lag[1]])
        for y, x in np.ndindex(first.shape)
        if 0 <= y - lag[0] < second.shape[0] and 0 <= x - lag[1] < second.shape[1]
    ]
    return np.corrcoef(np.array(pairs).T)[0, 1]


def chained(images):
    """Return shifts (slice, 2) in pixels: scikit-image's phase correlation, pair after pair."""
    from skimage.registration import phase_cross_correlation

    steps = [phase_cross_correlation(a, b, upsample_factor=100)[0] for a, b in pairwise(images)]
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
