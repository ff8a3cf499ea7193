"""Kernels of segmentation: grey-value histograms, Otsu, k-means, and the assignment of voxels.

Histograms and assignments are compiled loops without temporaries. What is fitted on a histogram
is plain float64 arithmetic in a fixed order, so that results are equal to the last bit whatever
counted it: scikit-image rounds counts to float32 before it sums them, which loses voxels beyond
2^24, and the sums of scikit-learn depend on the number of threads.
"""

import numpy as np
from numba import njit

FLOAT_BITS = 18
FLOAT_BINS = 1 << FLOAT_BITS
_DROPPED = 32 - FLOAT_BITS
_ITERATIONS = 1000  # Lloyd's stand still long before; a guard against rounding


@njit(nogil=True, cache=True)
def integer_counts(image, counts):
    """Add the grey values of an integer image (voltage, z, y, x) to int64 `counts` (grey)."""
    for v in range(image.shape[0]):
        for z in range(image.shape[1]):
            for y in range(image.shape[2]):
                for x in range(image.shape[3]):
                    counts[image[v, z, y, x]] += 1


@njit(nogil=True, cache=True)
def float_counts(patterns, counts):
    """Add float32 grey values, given as their uint32 patterns, to int64 `counts` (bin).

    The bin is made of the upper bits of the pattern after the mapping that orders patterns as
    numbers are ordered: negative ones inverted, the sign bit of the others set. The element of
    `counts` after the last bin counts what is NaN or infinite.
    """
    for v in range(patterns.shape[0]):
        for z in range(patterns.shape[1]):
            for y in range(patterns.shape[2]):
                for x in range(patterns.shape[3]):
                    pattern = np.int64(patterns[v, z, y, x])
                    if pattern & 0x7F800000 == 0x7F800000:
                        counts[FLOAT_BINS] += 1
                    elif pattern >> 31:
                        counts[(0xFFFFFFFF - pattern) >> _DROPPED] += 1
                    else:
                        counts[(pattern + 0x80000000) >> _DROPPED] += 1


def float_bin_grey(bins: np.ndarray) -> np.ndarray:
    """Return the float64 grey value of bins of `float_counts`: their end that is next to zero.

    So counted values are rounded towards zero to 10 significant bits; integers to 1024 are exact.
    """
    ordered = bins.astype(np.int64) << _DROPPED
    negative = ordered < 0x80000000
    return _unordered(np.where(negative, ordered + (1 << _DROPPED) - 1, ordered))


def float_bin_top(bins: np.ndarray) -> np.ndarray:
    """Return the largest float32 value in bins of `float_counts`, as float64."""
    return _unordered((bins.astype(np.int64) << _DROPPED) + (1 << _DROPPED) - 1)


def _unordered(ordered: np.ndarray) -> np.ndarray:
    patterns = np.where(ordered < 0x80000000, 0xFFFFFFFF - ordered, ordered - 0x80000000)
    return patterns.astype(np.uint32).view(np.float32).astype(np.float64)


@njit(nogil=True, cache=True)
def joint_counts(codes, bits, shift, counts):
    """Add joint grey values to int64 `counts` (joint bin).

    The joint bin of a voxel holds `bits` bits for each voltage, the first voltage uppermost:
    those that `codes` (voltage, z, y, x), integers, keep when shifted right by `shift`.
    """
    for z in range(codes.shape[1]):
        for y in range(codes.shape[2]):
            for x in range(codes.shape[3]):
                joint = 0
                for v in range(codes.shape[0]):
                    joint = (joint << bits) | (np.int64(codes[v, z, y, x]) >> shift)
                counts[joint] += 1


@njit(nogil=True, cache=True)
def grey_codes(image, low, high, steps, codes):
    """Fill uint16 `codes` with the number of the step, of `steps` equal ones from `low` to `high`.

    What lies below or above takes the first or last step. All of shape (voltage, z, y, x).
    """
    scale = steps / (high - low)
    for v in range(image.shape[0]):
        for z in range(image.shape[1]):
            for y in range(image.shape[2]):
                for x in range(image.shape[3]):
                    step = (image[v, z, y, x] - low) * scale
                    codes[v, z, y, x] = min(max(step, 0.0), steps - 1.0)


@njit(nogil=True, cache=True)
def non_finite(image):
    """Return how many grey values of a float32 image (voltage, z, y, x) are NaN or infinite."""
    count = 0
    for v in range(image.shape[0]):
        for z in range(image.shape[1]):
            for y in range(image.shape[2]):
                for x in range(image.shape[3]):
                    count += not np.isfinite(image[v, z, y, x])
    return count


def above_threshold(image: np.ndarray, threshold: float) -> np.ndarray:
    """Return 1 where grey values (z, y, x) exceed a float threshold, else 0, as uint8.

    The comparison is that of exact numbers: the threshold is first lowered to the next number
    that the type of the image can hold, which changes no answer and saves a float64 copy.
    """
    if image.dtype.kind == "u":
        level = int(np.clip(np.floor(threshold), -1, np.iinfo(image.dtype).max))
        return np.greater(image, level).view(np.uint8)
    lowered = np.float32(threshold)
    if float(lowered) > threshold:
        lowered = np.nextafter(lowered, np.float32(-np.inf))
    return np.greater(image, lowered).view(np.uint8)


@njit(nogil=True, cache=True)
def nearest_is_last(image, centres, phase):
    """Set uint8 `phase` (z, y, x) to 1 where the nearest centre is the last, else 0.

    `image` (voltage, z, y, x), `centres` (class, voltage) float64; a tie goes to the others.
    """
    classes, voltages = centres.shape
    for z in range(image.shape[1]):
        for y in range(image.shape[2]):
            for x in range(image.shape[3]):
                nearest_other = np.inf
                squares = 0.0
                for k in range(classes):
                    squares = 0.0
                    for v in range(voltages):
                        squares += (image[v, z, y, x] - centres[k, v]) ** 2
                    if k < classes - 1:
                        nearest_other = min(nearest_other, squares)
                phase[z, y, x] = squares < nearest_other


def otsu_split(grey: np.ndarray, counts: np.ndarray) -> int:
    """Return the last bin of the lower of the two classes with the largest variance between them.

    `grey` (bin) increasing float64, `counts` (bin) > 0; at least two bins.

    References
    ----------
    N. Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62-66.
    """
    below = np.cumsum(counts.astype(np.float64))
    weighted = np.cumsum(counts * grey)
    above = below[-1] - below[:-1]
    step = weighted[:-1] / below[:-1] - (weighted[-1] - weighted[:-1]) / above
    return int(np.argmax(below[:-1] * above * step**2))


def cluster_centres(points: np.ndarray, counts: np.ndarray, classes: int) -> np.ndarray:
    """Return k-means centres (class, voltage) of a histogram, by increasing mean brightness.

    `points` (bin, voltage) float64, at least `classes` of them and all different; `counts` (bin)
    > 0. Lloyd's iterations from clusters made by division: that with the largest sum of squares
    is cut along the voltage in which it varies most, as in Var-Part, but where Otsu's criterion
    cuts it and not at its mean, which a rare bright class barely moves.

    References
    ----------
    T. Su and J. G. Dy, Intelligent Data Analysis 11 (2007) 319-338.
    """
    weights = counts.astype(np.float64)
    labels = _divided(points, weights, classes)
    centres = np.zeros((classes, points.shape[1]))
    for _ in range(_ITERATIONS):
        centres = _means(points, weights, labels, centres)
        previous, labels = labels, _nearest(points, centres)
        if np.array_equal(labels, previous):
            break
    return centres[np.lexsort((*centres.T, centres.mean(axis=1)))]


def _divided(points, weights, classes):
    labels = np.zeros(len(points), np.intp)
    for new in range(1, classes):
        means = _means(points, weights, labels, np.zeros((new, points.shape[1])))
        squares = weights[:, np.newaxis] * (points - means[labels]) ** 2
        spread = np.stack([np.bincount(labels, s, minlength=new) for s in squares.T], axis=1)
        widest = int(np.argmax(spread.sum(axis=1)))
        axis = int(np.argmax(spread[widest]))
        members = np.flatnonzero(labels == widest)
        grey, which = np.unique(points[members, axis], return_inverse=True)
        split = otsu_split(grey, np.bincount(which, weights[members]))
        labels[members[which > split]] = new
    return labels


def _means(points, weights, labels, centres):
    """Return the weighted means of labelled points; a cluster without points stays where it is."""
    total = np.bincount(labels, weights, minlength=len(centres))
    sums = [np.bincount(labels, weights * p, minlength=len(centres)) for p in points.T]
    filled = total > 0
    means = centres.copy()
    means[filled] = np.stack(sums, axis=1)[filled] / total[filled, np.newaxis]
    return means


def _nearest(points, centres):
    squares = [((points - centre) ** 2).sum(axis=1) for centre in centres]
    return np.argmin(squares, axis=0)
