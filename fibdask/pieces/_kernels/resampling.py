"""Images at places between their pixels: weights of the pixels around, and their sums.

Sums are taken along y, then along x, tap by tap in float32: a pixel has the same bits whatever
part of an image is made.
"""

import numpy as np

from ...compiling import compiled

LANCZOS_TAPS = np.arange(-2, 4)
"""Pixels about a place that `lanczos_weights` are for."""
CUBIC_TAPS = np.arange(-1, 3)
"""Pixels about a place that `cubic_weights` are for."""


def lanczos_weights(fraction: float) -> np.ndarray:
    """Return weights of pixels, float32, for a place a fraction after pixel 0.

    Lanczos' windowed sine: keeps what is fine. The sum is 1, so that a constant stays one.
    """
    distance = LANCZOS_TAPS - fraction
    weights = np.sinc(distance) * np.sinc(distance / 3)
    return np.asarray(weights / weights.sum(), np.float32)


def cubic_weights(fraction: float) -> np.ndarray:
    """Return weights of pixels, float32, for a place a fraction, in [0, 1), after pixel 0.

    Cubic convolution of Keys (IEEE Transactions on Acoustics, Speech and Signal Processing 29,
    1981): exact for parabolas; at 0 the weights are 0, 1, 0, 0.
    """
    distance = np.abs(CUBIC_TAPS - fraction)
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.asarray(np.where(distance <= 1, near, far), np.float32)


@compiled(nogil=True)
def weighted_pixels(image, weights_y, weights_x):
    """Return sums of neighbouring pixels (y, x) times float32 weights, float32.

    The image is wider than the result: by the number of weights along an axis less one.
    """
    rows = image.shape[0] - len(weights_y) + 1
    columns = image.shape[1] - len(weights_x) + 1
    result = np.zeros((rows, columns), np.float32)
    # Rows of the image are summed whole, then the sum along itself: two loops over neighbours in
    # memory, instead of the product of both numbers of taps for each pixel.
    line = np.empty(image.shape[1], np.float32)
    for y in range(rows):
        line[:] = 0
        for j in range(len(weights_y)):
            for x in range(image.shape[1]):
                line[x] += weights_y[j] * np.float32(image[y + j, x])
        for i in range(len(weights_x)):
            for x in range(columns):
                result[y, x] += weights_x[i] * line[x + i]
    return result
