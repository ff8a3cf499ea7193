"""Kernels of segmentation: grey-value histograms, Otsu, k-means, and the assignment of voxels.

Histograms and assignments are compiled loops without temporaries. What is fitted on a histogram
is plain float64 arithmetic in a fixed order, so that results are equal to the last bit whatever
counted it: scikit-image rounds counts to float32 before it sums them, which loses voxels beyond
2^24, and the sums of scikit-learn depend on the number of threads.
"""

from itertools import combinations

import numpy as np

from ..compiling import compiled

_ITERATIONS = 1000  # Lloyd's stand still long before; a guard against rounding
_HURRIED = 1e-4  # gain of Lloyd's iterations below which a start is compared with others


@compiled(nogil=True)
def joint_counts(codes, measured, bits, shift, counts):
    """Add joint grey values to int64 `counts` (joint bin).

    The joint bin of a voxel holds `bits` bits for each voltage, the first voltage uppermost:
    those that `codes` (voltage, z, y, x), integers, keep when shifted right by `shift`. Slices that
    are not `measured` (z) are left out.
    """
    for z in range(codes.shape[1]):
        if not measured[z]:
            continue
        for y in range(codes.shape[2]):
            for x in range(codes.shape[3]):
                # The first voltage uppermost: bins sort as grey values do, voltage by voltage.
                joint = 0
                for v in range(codes.shape[0]):
                    joint = (joint << bits) | (np.int64(codes[v, z, y, x]) >> shift)
                counts[joint] += 1


@compiled(nogil=True)
def above_code(image, low, scale, code, phase):
    """Set uint8 `phase` to 1 where `grey_codes` of a float image (z, y, x) exceed a code, else 0.

    The arithmetic is that of `grey_codes`, so that no voxel lies on the other side than it was
    counted on.
    """
    for z in range(image.shape[0]):
        for y in range(image.shape[1]):
            for x in range(image.shape[2]):
                phase[z, y, x] = (image[z, y, x] - low) * scale >= code + 1


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


@compiled(nogil=True)
def nearest_is_last(image, centres, phase):
    """Set uint8 `phase` (z, y, x) to 1 where the nearest centre is the last, else 0.

    `image` (voltage, z, y, x), `centres` (class, voltage) float64; a tie goes to the others.
    """
    classes, voltages = centres.shape
    columns = image.shape[3]
    # Row by row, so that all of one step are done at once, in lanes.
    squares, nearest_other = np.empty(columns), np.empty(columns)
    for z in range(image.shape[1]):
        for y in range(image.shape[2]):
            nearest_other[:] = np.inf
            for k in range(classes):
                squares[:] = 0.0
                for v in range(voltages):
                    row, centre = image[v, z, y], centres[k, v]
                    for x in range(columns):
                        squares[x] += (row[x] - centre) ** 2
                # The last centre's own distances stay in `squares` when the loop has ended.
                if k < classes - 1:
                    for x in range(columns):
                        nearest_other[x] = min(nearest_other[x], squares[x])
            solid = phase[z, y]
            for x in range(columns):
                solid[x] = squares[x] < nearest_other[x]


def otsu_split(grey: np.ndarray, counts: np.ndarray) -> int:
    """Return the last bin of the lower of the two classes with the largest variance between them.

    `grey` (bin) increasing float64, `counts` (bin) > 0; at least two bins.

    References
    ----------
    N. Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62-66.
    """
    # The variance between two classes is n₁ n₂ (m₁ − m₂)² / n²: all splits at once, from two sums.
    below = np.cumsum(counts.astype(np.float64))
    weighted = np.cumsum(counts * grey)
    above = below[-1] - below[:-1]
    step = weighted[:-1] / below[:-1] - (weighted[-1] - weighted[:-1]) / above
    return int(np.argmax(below[:-1] * above * step**2))


def cluster_centres(points: np.ndarray, counts: np.ndarray, classes: int) -> np.ndarray:
    """Return k-means centres (class, voltage) of a histogram, by increasing mean brightness.

    `points` (bin, voltage) float64, at least `classes` of them and all different; `counts` (bin)
    > 0. The sum of squares is the least of all for one voltage, and the least that was found by
    `joint_clusters` for several.
    """
    weights = counts.astype(np.float64)
    if points.shape[1] == 1:
        labels = optimal_clusters(points[:, 0], weights, classes)
    else:
        labels = joint_clusters(points, weights, classes)
    centres = np.zeros((classes, points.shape[1]))
    _move_to_means(points, weights, labels, centres)
    return centres[np.lexsort((*centres.T, centres.mean(axis=1)))]


def optimal_clusters(grey: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """Return the clusters (bin), the darkest 0, with the least sum of squares of all.

    `grey` (bin) increasing float64, `weights` (bin) > 0 float64; at least `classes` bins. Optimal
    clusters of one voltage are intervals, so that the best k clusters of the bins up to any one
    are the best k - 1 up to where the last begins, and the last.

    References
    ----------
    H. Wang and M. Song, The R Journal 3/2 (2011) 29-33.
    """
    bins = len(grey)
    starts = np.zeros((classes, bins), np.intp)
    least = np.full(bins + 1, np.inf)
    least[0] = 0
    # One cluster more at a time; the best start of the last one is all that must be remembered.
    for k in range(classes):
        before, least = least, np.full(bins + 1, np.inf)
        span = (k, bins - 1, k, bins - 1 if k else 0)
        _add_cluster(grey, weights, before, least, starts[k], span, (0.0, 0.0, 0.0))
    # The starts are followed back from the last bin.
    labels = np.empty(bins, np.intp)
    stop = bins
    for k in reversed(range(classes)):
        start = starts[k, stop - 1]
        labels[start:stop] = k
        stop = start
    return labels


@compiled(nogil=True)
def _add_cluster(grey, weights, before, least, starts, span, beyond):
    """Fill in where the last cluster of the bins up to each of `low` to `high` best starts.

    `before` and `least` (bin + 1) are the least sums of squares of the bins below, without and
    with one cluster more; `span` is `low`, `high`, and the `first` and `last` possible start.
    A later end never has an earlier start, so the middle one halves the span of the others.
    `beyond` are the moments of the bins after `last` and before `low`: moments only ever grow,
    as differences of cumulative sums would lose all digits beside a hot pixel.
    """
    low, high, first, last = span
    if low > high:
        return
    middle = (low + high) // 2
    after = beyond
    for i in range(max(low, last + 1), middle + 1):
        after = _with_bin(after, grey[i], weights[i])
    moments = after
    best = last
    for start in range(min(last, middle), first - 1, -1):
        moments = _with_bin(moments, grey[start], weights[start])
        squares = before[start] + moments[2]
        if squares <= least[middle + 1]:  # of equally good starts the earliest, whatever the span
            least[middle + 1] = squares
            best = start
    starts[middle] = best
    lower = beyond
    for i in range(min(last, low - 1), best, -1):
        lower = _with_bin(lower, grey[i], weights[i])
    span = (low, middle - 1, first, best)
    _add_cluster(grey, weights, before, least, starts, span, lower)
    span = (middle + 1, high, best, last)
    _add_cluster(grey, weights, before, least, starts, span, after)


@compiled(nogil=True)
def _with_bin(moments, grey, weight):
    """Return the weight, mean, and sum of squared deviations with one bin more."""
    total, mean, squares = moments
    step = grey - mean
    share = weight / (total + weight)
    return total + weight, mean + step * share, squares + step * step * total * share


def joint_clusters(points: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """Return clusters (bin) of `points` (bin, voltage): the best of Lloyd's from several starts.

    First from the optimal clusters of each voltage and of the mean over voltages, then, as long
    as that helps, from the best so far with two clusters merged and one cut in two. Lloyd's alone
    never moves a cluster past another, and so stands still at sums that are far from the least.
    """
    starts = (_projected(grey, weights, classes) for grey in (*points.T, points.sum(axis=1)))
    least, best = np.inf, np.empty(0, np.intp)
    while True:
        reached = least
        for labels in starts:
            squares = _iterate(points, weights, labels, classes, _HURRIED)
            if squares < reached:
                reached, best = squares, labels
        if reached == least:
            _iterate(points, weights, best, classes, 0.0)
            return best
        least = reached
        starts = _rearranged(points, weights, best, classes)


def _projected(grey, weights, classes):
    """Return the optimal clusters of points by one grey value of each, which need not differ."""
    levels, which = np.unique(grey, return_inverse=True)
    classes = min(classes, len(levels))
    return optimal_clusters(levels, np.bincount(which, weights), classes)[which]


def _rearranged(points, weights, labels, classes):
    """Yield every choice of two clusters merged and one cut along the axis it varies most in."""
    for kept, freed in combinations(range(classes), 2):
        merged = np.where(labels == freed, kept, labels)
        for cut in range(classes):
            members = np.flatnonzero(merged == cut)
            if not len(members):
                continue
            inside, weight = points[members], weights[members, np.newaxis]
            # Where it varies most, a cut takes most off the sum of squares.
            mean = (weight * inside).sum(axis=0) / weight.sum()
            widest = np.argmax((weight * (inside - mean) ** 2).sum(axis=0))
            halves = _projected(inside[:, widest], weights[members], 2)
            rearranged = merged.copy()
            rearranged[members[halves == 1]] = freed
            yield rearranged


@compiled(nogil=True)
def _iterate(points, weights, labels, classes, gain):
    """Improve `labels` (bin) by Lloyd's iterations; return the sum of squares.

    The last iteration is the first that takes off no more than `gain` as a share of the sum.
    """
    centres = np.zeros((classes, points.shape[1]))
    squares = np.inf
    for _ in range(_ITERATIONS):
        _move_to_means(points, weights, labels, centres)
        previous, squares = squares, 0.0
        for i in range(len(points)):
            nearest, least = 0, np.inf
            for k in range(classes):
                apart = 0.0
                for v in range(points.shape[1]):
                    apart += (points[i, v] - centres[k, v]) ** 2
                if apart < least:
                    nearest, least = k, apart
            squares += weights[i] * least
            labels[i] = nearest
        if squares >= previous * (1 - gain):
            break
    return squares


@compiled(nogil=True)
def _move_to_means(points, weights, labels, centres):
    """Move centres to the weighted means of their points; one without points stays."""
    sums = np.zeros(centres.shape)
    totals = np.zeros(len(centres))
    for i in range(len(points)):
        totals[labels[i]] += weights[i]
        for v in range(points.shape[1]):
            sums[labels[i], v] += weights[i] * points[i, v]
    for k in range(len(centres)):
        if totals[k] > 0:
            for v in range(points.shape[1]):  # by numbers: checks of rows take 5 s to compile
                centres[k, v] = sums[k, v] / totals[k]
