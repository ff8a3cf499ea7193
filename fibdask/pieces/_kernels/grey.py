"""Grey values: those of floats counted without a range, numbered in steps, and looked at.

A float32 pattern, inverted where the sign bit is set and else with that bit set, is a whole number
that grows with the float: its upper bits are bins that need no range, and are as wide as 1/512 of
what they hold.
"""

import numpy as np

from ...compiling import compiled

FLOAT_BITS = 18
FLOAT_BINS = 1 << FLOAT_BITS
_DROPPED = 32 - FLOAT_BITS


@compiled(nogil=True)
def float_counts(patterns, counts):
    """Add float32 grey values (y, x), given as their uint32 patterns, to int64 `counts` (bin).

    What is NaN or infinite is not counted; return how many that are.
    """
    unfit = 0
    for y in range(patterns.shape[0]):
        for x in range(patterns.shape[1]):
            pattern = np.int64(patterns[y, x])
            if pattern & 0x7F800000 == 0x7F800000:  # the exponent of what is no number
                unfit += 1
            elif pattern >> 31:
                counts[(0xFFFFFFFF - pattern) >> _DROPPED] += 1
            else:
                counts[(pattern + 0x80000000) >> _DROPPED] += 1
    return unfit


@compiled(nogil=True)
def integer_counts(image, measured, counts):
    """Add the grey values of an integer image (voltage, z, y, x) to int64 `counts` (grey).

    Slices that are not `measured` (z) are left out.
    """
    for v in range(image.shape[0]):
        for z in range(image.shape[1]):
            if not measured[z]:
                continue
            for y in range(image.shape[2]):
                for x in range(image.shape[3]):
                    counts[image[v, z, y, x]] += 1


@compiled(nogil=True)
def slice_sums(image, measured, sums):
    """Add number, sum and sum of squares of the pixels of each slice to int64 `sums`.

    Of an integer image (voltage, z, y, x), to (voltage, z, 3). Slices that are not `measured` (z)
    are left out.
    """
    for v in range(image.shape[0]):
        for z in range(image.shape[1]):
            if not measured[z]:
                continue
            total = squares = np.int64(0)
            for y in range(image.shape[2]):
                for x in range(image.shape[3]):
                    grey = np.int64(image[v, z, y, x])
                    total += grey
                    squares += grey * grey
            sums[v, z, 0] += image.shape[2] * image.shape[3]
            sums[v, z, 1] += total
            sums[v, z, 2] += squares


def float_bin_ends(bins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest float32 value in bins of `float_counts`, as float64."""
    first = bins.astype(np.int64) << _DROPPED
    return _unordered(first), _unordered(first + (1 << _DROPPED) - 1)


def _unordered(ordered: np.ndarray) -> np.ndarray:
    patterns = np.where(ordered < 0x80000000, 0xFFFFFFFF - ordered, ordered - 0x80000000)
    return patterns.astype(np.uint32).view(np.float32).astype(np.float64)


@compiled(nogil=True)
def grey_codes(image, low, scale, steps, codes):
    """Fill integer `codes` with the number of the step, of `steps` equal ones above `low`.

    `low` and `scale`, steps in a unit of grey, are float64 (voltage). What lies below or above
    takes the first or last step. All of shape (voltage, z, y, x).
    """
    for v in range(image.shape[0]):
        for z in range(image.shape[1]):
            for y in range(image.shape[2]):
                for x in range(image.shape[3]):
                    step = (image[v, z, y, x] - low[v]) * scale[v]
                    codes[v, z, y, x] = min(max(step, 0.0), steps - 1.0)


@compiled(nogil=True)
def non_finite(image, measured):
    """Return how many values of a float image (voltage, z, y, x) are none, in `measured` (z)."""
    count = 0
    for v in range(image.shape[0]):
        for z in range(image.shape[1]):
            if not measured[z]:
                continue
            for y in range(image.shape[2]):
                for x in range(image.shape[3]):
                    count += not np.isfinite(image[v, z, y, x])
    return count
