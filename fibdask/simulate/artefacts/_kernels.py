"""Kernels of distortions: smooth random sequences, and images moved by parts of a pixel."""

from collections.abc import Sequence

import numpy as np

from ...pieces._kernels.resampling import CUBIC_TAPS, cubic_weights, weighted_pixels
from ..images._kernels import add_image_noise

_STDS = 3.0  # where smoothing is cut off


def smoothing_halo(std: float) -> int:
    """Return the number of places on either side that smoothing looks at."""
    return int(_STDS * std + 0.5)


def smooth_deviates(
    key: int, start: Sequence[int], shape: Sequence[int], stds: Sequence[float]
) -> np.ndarray:
    """Return normal deviates (row, column), float32, that are alike where they are near.

    Parameters
    ----------
    key
        64 bits, of the seed and what the deviates are for.
    start, shape
        Row and column of the first one, and their numbers: any part equals that of the whole.
    stds
        Of the Gaussian along rows and columns in places by which independent deviates are
        smoothed; 0 for none. The variance stays 1, so that the correlation a distance d apart
        is exp(−d²/4 std²).
    """
    # A halo is drawn too, so that what is smoothed in a part is what is smoothed in the whole.
    halos = [smoothing_halo(std) for std in stds]
    deviates = np.zeros([n + 2 * halo for n, halo in zip(shape, halos, strict=True)], np.float32)
    add_image_noise(deviates, np.uint64(key), *start, 0.0, 1.0)
    for axis, (std, halo) in enumerate(zip(stds, halos, strict=True)):
        weights = np.exp(-0.5 * (np.arange(-halo, halo + 1) / (std or 1)) ** 2)
        # Divided by the root of their squares' sum, not by the sum: the variance stays 1.
        weights = np.asarray(weights / np.sqrt((weights**2).sum()), np.float32)
        moved = np.moveaxis(deviates, axis, 0)
        smooth = np.zeros_like(moved[: len(moved) - 2 * halo])
        for offset, weight in enumerate(weights):
            smooth += weight * moved[offset : offset + len(smooth)]
        deviates = np.moveaxis(smooth, 0, axis)
    return deviates


def mirrored(numbers: np.ndarray, length: int) -> np.ndarray:
    """Return the pixels 0 … length − 1 that pixels of an axis mirrored at its ends show."""
    folded = numbers % (2 * length)
    return np.asarray(np.minimum(folded, 2 * length - 1 - folded))


def moved_image(
    image: np.ndarray,
    corner: Sequence[int],
    part: Sequence[slice],
    shape: Sequence[int],
    shift: np.ndarray,
) -> np.ndarray:
    """Return a part (y, x) of an image whose content is moved, float32: I(y − s_y, x − s_x).

    Parameters
    ----------
    image
        What is read of it (y, x).
    corner
        Its first pixel.
    part
        Pixels of the result.
    shape
        Of the whole image (y, x), which is mirrored at its borders.
    shift
        (s_y, s_x) in pixels.
    """
    places, weights = [], []
    for interval, length, first, move in zip(part, shape, corner, shift, strict=True):
        whole = int(np.floor(-move))
        reach = whole + CUBIC_TAPS[[0, -1]]
        pixels = np.arange(interval.start + reach[0], interval.stop + reach[1])
        places.append(mirrored(pixels, length) - first)
        weights.append(cubic_weights(-move - whole))
    return np.asarray(weighted_pixels(image[np.ix_(*places)], *weights))
