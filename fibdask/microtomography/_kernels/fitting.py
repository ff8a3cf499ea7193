"""Compiled loops of layered samples: fits of thicknesses to signals, pixel by pixel.

A table holds values at nodes, and their derivatives from node to node: up to half way to the next
node, values follow the tangent. There are three layers always, of which those that are not there
have one node. Components of values have independent errors, so that weights, the inverse of their
variances, are all that is asked of these.
"""

import math

import numpy as np

from ...compiling import compiled

LAYERS = 3
"""Of all tables."""
PRIOR = 0.01
"""Weight of the even prior, 12 of one that counts, so that matrices can be inverted."""
_STEPS = 24
_SETTLED = 1e-4  # of a node's distance
_FIRST_DAMPING = 1e-3
_MOST_DAMPING = 1e6
_TINY = 1e-30
_ANY_ORDER = {"reassoc", "contract", "nsz"}  # of sums: the same for each pixel


@compiled(nogil=True, fastmath=_ANY_ORDER)
def expand(observed, weights, table, place):
    """Return how far values at a place are from what is observed, and how that changes.

    Parameters
    ----------
    observed, weights
        Float32 (component).
    table
        Values, then derivatives along the first two layers or all three, float32 (layer 1,
        layer 2, layer 3, 3 or 4, component).
    place
        In nodes, float64 (layer).

    Returns
    -------
    tuple
        The weighted sum of squares; half of how fast it falls along each layer (3); and the
        information matrix (00, 01, 02, 11, 12, 22).
    """
    i = min(max(int(place[0] + 0.5), 0), table.shape[0] - 1)
    j = min(max(int(place[1] + 0.5), 0), table.shape[1] - 1)
    k = min(max(int(place[2] + 0.5), 0), table.shape[2] - 1)
    rows = table[i, j, k]
    u, v, w = np.float32(place[0] - i), np.float32(place[1] - j), np.float32(place[2] - k)
    zero = np.float32(0)
    square, r_0, r_1, r_2 = zero, zero, zero, zero
    g_00, g_01, g_02, g_11, g_12, g_22 = zero, zero, zero, zero, zero, zero
    third = table.shape[2] > 1
    for c in range(len(observed)):
        weight, s_0, s_1 = weights[c], rows[1, c], rows[2, c]
        rest = observed[c] - rows[0, c] - u * s_0 - v * s_1
        if third:
            s_2 = rows[3, c]
            rest -= w * s_2
            r_2 += weight * rest * s_2
            g_02 += weight * s_0 * s_2
            g_12 += weight * s_1 * s_2
            g_22 += weight * s_2 * s_2
        square += weight * rest * rest
        r_0 += weight * rest * s_0
        r_1 += weight * rest * s_1
        g_00 += weight * s_0 * s_0
        g_01 += weight * s_0 * s_1
        g_11 += weight * s_1 * s_1
    return square, (r_0, r_1, r_2), (g_00, g_01, g_02, g_11, g_12, g_22)


@compiled(nogil=True, inline="always")
def regularised(right, normal, place, ridge):
    """Return right sides and normal equations with a ridge (layer) about 0."""
    r_0, r_1, r_2 = right
    g_00, g_01, g_02, g_11, g_12, g_22 = normal
    right = (r_0 - ridge[0] * place[0], r_1 - ridge[1] * place[1], r_2 - ridge[2] * place[2])
    return right, (g_00 + ridge[0], g_01, g_02, g_11 + ridge[1], g_12, g_22 + ridge[2])


@compiled(nogil=True)
def solve(right, normal, free, damping):
    """Solve normal equations of free parameters, damped; others stay.

    Returns
    -------
    tuple
        The steps (3), and the product of the pivots of free parameters.
    """
    f_0, f_1, f_2 = free
    g_00, g_01, g_02, g_11, g_12, g_22 = normal
    more = 1 + damping
    a = g_00 * more + _TINY if f_0 else 1.0
    b = g_01 if f_0 and f_1 else 0.0
    c = g_02 if f_0 and f_2 else 0.0
    d = g_11 * more + _TINY if f_1 else 1.0
    e = g_12 if f_1 and f_2 else 0.0
    f = g_22 * more + _TINY if f_2 else 1.0
    l_10, l_20 = b / a, c / a
    d_1 = max(d - l_10 * b, _TINY)
    e_1 = e - l_20 * b
    l_21 = e_1 / d_1
    d_2 = max(f - l_20 * c - l_21 * e_1, _TINY)
    y_0 = right[0] if f_0 else 0.0
    y_1 = (right[1] if f_1 else 0.0) - l_10 * y_0
    y_2 = (right[2] if f_2 else 0.0) - l_20 * y_0 - l_21 * y_1
    s_2 = y_2 / d_2
    s_1 = y_1 / d_1 - l_21 * s_2
    s_0 = y_0 / a - l_10 * s_1 - l_20 * s_2
    return (s_0, s_1, s_2), a * d_1 * d_2


@compiled(nogil=True)
def _squares_of(observed, weights, coarse, squares):
    """Fill in weighted sums of squares (node) between what is observed and coarse nodes."""
    squares[:] = np.float32(0)
    for c in range(len(observed)):  # outside: sums of nodes beside each other make vectors
        row, value, weight = coarse[c], observed[c], weights[c]
        for k in range(len(squares)):
            difference = value - row[k]
            squares[k] += weight * difference * difference


@compiled(nogil=True, inline="always")
def _least(values, first, last):
    """Return where values from a first to before a last one are the least."""
    best = first
    for k in range(first + 1, last):
        if values[k] < values[best]:
            best = k
    return best


@compiled(nogil=True)
def _improve(observed, weights, table, ridge, least, place, tried):
    """Improve a place by damped steps, kept within the table, and return its sum of squares.

    It is good enough where a step makes the sum smaller by no more than `least`.
    """
    n_0, n_1, n_2 = table.shape[0] - 1, table.shape[1] - 1, table.shape[2] - 1
    square, right, normal = expand(observed, weights, table, place)
    total = square + _penalty(ridge, place)
    damping = _FIRST_DAMPING
    for _ in range(_STEPS):
        right, normal = regularised(right, normal, place, ridge)
        free = (
            n_0 > 0 and (place[0] > 0 or right[0] > 0) and (place[0] < n_0 or right[0] < 0),
            n_1 > 0 and (place[1] > 0 or right[1] > 0) and (place[1] < n_1 or right[1] < 0),
            n_2 > 0 and (place[2] > 0 or right[2] > 0) and (place[2] < n_2 or right[2] < 0),
        )
        gained, moved = -1.0, 1.0
        while gained < 0 and moved >= _SETTLED and damping <= _MOST_DAMPING:
            step, _ = solve(right, normal, free, damping)
            tried[0] = min(max(place[0] + step[0], 0.0), n_0)
            tried[1] = min(max(place[1] + step[1], 0.0), n_1)
            tried[2] = min(max(place[2] + step[2], 0.0), n_2)
            moved = max(abs(tried[0] - place[0]), abs(tried[1] - place[1]))
            moved = max(moved, abs(tried[2] - place[2]))
            new, new_right, new_normal = expand(observed, weights, table, tried)
            new_total = new + _penalty(ridge, tried)
            gained = total - new_total
            damping = damping / 8 if gained >= 0 else damping * 8
        if gained < 0:
            break
        total, right, normal = new_total, new_right, new_normal
        place[:] = tried
        if gained <= least or moved < _SETTLED:
            break
    return total


@compiled(nogil=True, inline="always")
def _penalty(ridge, place):
    square = 0.0
    for i in range(LAYERS):
        square += ridge[i] * place[i] * place[i]
    return square


@compiled(nogil=True)
def fit_pixels(observed, variances, errors, table, coarse, nodes, inner, ridge, least, out, squares,
               shares):  # fmt: skip
    """Fit the places in a table whose values come nearest to what is observed.

    The best of some coarse nodes is improved by the steps of Levenberg and Marquardt; where it
    lacks a layer, the best one that has all of them is, too, and the better one taken.

    Parameters
    ----------
    observed
        Float32 (pixel, component); pixels with NaN stay NaN.
    variances
        Of the noise of each component, float64 (pixel).
    errors
        Variances of the components of the table, float32 (component).
    table
        As of `expand`.
    coarse, nodes
        Values at some nodes, float32 (component, node), and their places, float64 (node, layer).
    inner
        How many of these, the first ones, are not without a layer of the table.
    ridge
        Factor of the square of each place that is added to the squares of differences.
    least
        By which a step must make the sum of squares smaller to be followed by another.
    out
        Places in nodes, float64 (pixel, layer), overwritten.
    squares
        Weighted sums of squares, float64 (pixel), overwritten.
    shares
        How much of the table is as likely as the fitted place, if that were a Gaussian: its volume,
        √(2π)^n √det of the covariance, in that of the table, at most 1, float64 (pixel),
        overwritten.
    """
    weights = np.empty(observed.shape[1], np.float32)
    place, second, tried = np.empty(LAYERS), np.empty(LAYERS), np.empty(LAYERS)
    nearness = np.empty(len(nodes), np.float32)
    for pixel in range(len(observed)):
        seen = observed[pixel]
        if np.isnan(seen.sum()):
            out[pixel] = np.nan
            squares[pixel] = np.nan
            shares[pixel] = np.nan
            continue
        weigh(variances[pixel], errors, weights)
        _squares_of(seen, weights, coarse, nearness)
        start = _least(nearness, 0, inner)
        second[:] = nodes[start]
        square = _improve(seen, weights, table, ridge, least, second, tried)
        if inner < len(nodes):
            outer = _least(nearness, inner, len(nodes))
            if nearness[outer] < nearness[start]:
                place[:] = nodes[outer]
                other = _improve(seen, weights, table, ridge, least, place, tried)
                if other < square:
                    square = other
                    second[:] = place
        out[pixel] = second
        squares[pixel] = square
        shares[pixel] = _share(expand(seen, weights, table, second)[2], table.shape)


@compiled(nogil=True, inline="always")
def weigh(variance, errors, weights):
    """Fill in the weights of components of a noise, and of errors of the table."""
    for c in range(len(weights)):
        weights[c] = 1 / (variance + errors[c])


@compiled(nogil=True)
def with_prior(normal, shape):
    """Return an information matrix with that of an even prior, and which layers are free."""
    g_00, g_01, g_02, g_11, g_12, g_22 = normal
    n_0, n_1, n_2 = max(shape[0] - 1, 1), max(shape[1] - 1, 1), max(shape[2] - 1, 1)
    p_0, p_1, p_2 = PRIOR / n_0**2, PRIOR / n_1**2, PRIOR / n_2**2
    free = (shape[0] > 1, shape[1] > 1, shape[2] > 1)
    return (g_00 + p_0, g_01, g_02, g_11 + p_1, g_12, g_22 + p_2), free


@compiled(nogil=True)
def _share(normal, shape):
    """Return the volume of a Gaussian of an information matrix, in that of a table."""
    normal, free = with_prior(normal, shape)
    _, pivots = solve((0.0, 0.0, 0.0), normal, free, 0.0)
    share = 1 / math.sqrt(pivots)
    for i in range(LAYERS):
        if free[i]:
            share *= math.sqrt(2 * math.pi) / (shape[i] - 1)
    return min(share, 1.0)
