"""Kernels of forests: filters of finite radius, what is made of them, and the vote of trees.

Each pixel is made by the same operations in the same order wherever it lies in what is given, so
that no value depends on blocks. Sums are float32; nothing is contracted or reordered.
"""

import numpy as np

from ...compiling import compiled

_CHUNK = 256  # pixels that go down a tree together
_HALF = np.float32(0.5)
_QUARTER = np.float32(0.25)
_TWO = np.float32(2)


@compiled(nogil=True)
def smooth(image, taps_y, taps_x, result):
    """Filter an image along y, then along x, where the taps fit in.

    `image` (y + 2 ry, x + 2 rx) float32, `result` (y, x) float32; `taps_y` (ry + 1) and `taps_x`
    (rx + 1) float32: the weight of a pixel itself, then of both at a distance 1, 2, ….
    """
    n_y, n_x = result.shape
    r_y, r_x = len(taps_y) - 1, len(taps_x) - 1
    row = np.empty(n_x + 2 * r_x, np.float32)
    for y in range(n_y):
        centre = image[y + r_y]
        for x in range(len(row)):
            row[x] = taps_y[0] * centre[x]
        for t in range(1, r_y + 1):
            before, after, weight = image[y + r_y - t], image[y + r_y + t], taps_y[t]
            for x in range(len(row)):
                row[x] += weight * (before[x] + after[x])
        made = result[y]
        for x in range(n_x):
            made[x] = taps_x[0] * row[x + r_x]
        for t in range(1, r_x + 1):
            weight = taps_x[t]
            for x in range(n_x):
                made[x] += weight * (row[x + r_x - t] + row[x + r_x + t])


@compiled(nogil=True)
def curvatures(image, made):
    """Set `made` (3, y, x) to the gradient's magnitude and the Hessian's eigenvalues, large first.

    `image` (y + 2, x + 2) float32; differences are central, per pixel.
    """
    for y in range(made.shape[1]):
        above, own, below = image[y], image[y + 1], image[y + 2]
        for x in range(made.shape[2]):
            g_y = (below[x + 1] - above[x + 1]) * _HALF
            g_x = (own[x + 2] - own[x]) * _HALF
            h_yy = above[x + 1] - _TWO * own[x + 1] + below[x + 1]
            h_xx = own[x] - _TWO * own[x + 1] + own[x + 2]
            h_yx = (below[x + 2] - below[x] - above[x + 2] + above[x]) * _QUARTER
            mean, apart = (h_yy + h_xx) * _HALF, (h_yy - h_xx) * _HALF
            root = np.sqrt(apart * apart + h_yx * h_yx)
            made[0, y, x] = np.sqrt(g_y * g_y + g_x * g_x)
            made[1, y, x] = mean + root
            made[2, y, x] = mean - root


@compiled(nogil=True)
def gradient_products(image, made):
    """Set `made` (3, y, x) to products yy, xx, yx of the gradient of `image` (y + 2, x + 2)."""
    for y in range(made.shape[1]):
        above, own, below = image[y], image[y + 1], image[y + 2]
        for x in range(made.shape[2]):
            g_y = (below[x + 1] - above[x + 1]) * _HALF
            g_x = (own[x + 2] - own[x]) * _HALF
            made[0, y, x] = g_y * g_y
            made[1, y, x] = g_x * g_x
            made[2, y, x] = g_y * g_x


@compiled(nogil=True)
def tensor_eigenvalues(tensor, made):
    """Set `made` (2, y, x) to the eigenvalues, large first, of `tensor` (yy xx yx, y, x)."""
    for y in range(made.shape[1]):
        for x in range(made.shape[2]):
            mean = (tensor[0, y, x] + tensor[1, y, x]) * _HALF
            apart = (tensor[0, y, x] - tensor[1, y, x]) * _HALF
            root = np.sqrt(apart * apart + tensor[2, y, x] * tensor[2, y, x])
            made[0, y, x] = mean + root
            made[1, y, x] = mean - root


@compiled(nogil=True)
def between_slices(own, above, below, made):
    """Set `made` (4, y, x) to what is above and below, and to first and second differences.

    `own` (y, x) float32; `above` and `below` likewise.
    """
    for y in range(made.shape[1]):
        for x in range(made.shape[2]):
            over, under = above[y, x], below[y, x]
            made[0, y, x] = over
            made[1, y, x] = under
            made[2, y, x] = under - over
            made[3, y, x] = over + under - _TWO * own[y, x]


@compiled(nogil=True)
def vote(features, feature, threshold, left, value, depth, votes):
    """Add the leaves' `value` (tree, node) to `votes` (pixel, class): trees take turns at classes.

    `features` (feature, pixel) float32. Of the nodes (tree, node): the `feature` that is looked
    at, int32, its `threshold`, float32, and the `left` child, int32; what exceeds the threshold
    goes to the node after that. A leaf has itself on its left, and an infinite threshold, so
    that all pixels go down a tree by the same number of steps, its `depth` (tree).
    """
    count, pixels = features.shape
    classes = votes.shape[1]
    rows = np.empty((_CHUNK, count), np.float32)
    place = np.empty(_CHUNK, np.int32)
    for start in range(0, pixels, _CHUNK):
        n = min(_CHUNK, pixels - start)
        for f in range(count):
            for p in range(n):
                rows[p, f] = features[f, start + p]
        for t in range(len(depth)):
            place[:n] = 0
            for _ in range(depth[t]):
                for p in range(n):
                    k = place[p]
                    place[p] = left[t, k] + (rows[p, feature[t, k]] > threshold[t, k])
            for p in range(n):
                votes[start + p, t % classes] += value[t, place[p]]
