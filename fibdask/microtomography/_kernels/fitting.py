"""Compiled loops of layered samples: fits of thicknesses to signals, pixel by pixel.

Between the nodes of a table, values follow polynomials of third degree through the four nodes
around, along each layer in turn; three layers always, of which those that are not there have one
node.
"""

import math

import numpy as np

from ...compiling import compiled

LAYERS = 3
"""Of all tables."""
_STEPS = 24
_SETTLED = 1e-4  # of a node's distance
_FIRST_DAMPING = 1e-3
_MOST_DAMPING = 1e6
_TINY = 1e-30
_ONE_SIGMA = 0.6827
_HALVINGS = 18  # of a table, of fewer than 2^8 nodes
_NEGLIGIBLE = 1e-4
_FAR = 4.0  # standard deviations beyond a bound
_PRIOR = 0.01  # weight of the even prior, 12 of one that counts, so that matrices can be inverted
_ROOT_2 = math.sqrt(2)


@compiled(nogil=True, inline="always")
def _weights(place, nodes, weight, slope):
    """Fill in the weights of nodes around a place, and their derivatives; return the first node."""
    if nodes == 1:
        weight[0], slope[0] = 1.0, 0.0
        return 0
    first = min(max(math.floor(place) - 1, 0), nodes - 4)
    t = place - first
    a, b, c, d = t, t - 1, t - 2, t - 3
    weight[0], slope[0] = -b * c * d / 6, -(b * c + b * d + c * d) / 6
    weight[1], slope[1] = a * c * d / 2, (a * c + a * d + c * d) / 2
    weight[2], slope[2] = -a * b * d / 2, -(a * b + a * d + b * d) / 2
    weight[3], slope[3] = a * b * c / 6, (a * b + a * c + b * c) / 6
    return first


@compiled(nogil=True)
def interpolate(table, place, weight, slope, value, slopes):
    """Fill in the values of a table at a place, and how they change from node to node.

    Parameters
    ----------
    table
        Float32 (layer 1, layer 2, layer 3, energy).
    place
        In nodes, float64 (layer).
    weight, slope
        Room for what the nodes around count, float64 (layer, 4).
    value
        Float64 (energy), overwritten.
    slopes
        Derivatives, float64 (layer, energy), overwritten.
    """
    value[:] = 0
    slopes[:] = 0
    n_0, n_1, n_2, energies = table.shape
    i_0 = _weights(place[0], n_0, weight[0], slope[0])
    i_1 = _weights(place[1], n_1, weight[1], slope[1])
    i_2 = _weights(place[2], n_2, weight[2], slope[2])
    for a in range(min(n_0, 4)):
        for b in range(min(n_1, 4)):
            for c in range(min(n_2, 4)):
                nodes = table[i_0 + a, i_1 + b, i_2 + c]
                u, v, w = weight[0, a], weight[1, b], weight[2, c]
                all_three = u * v * w
                d_0, d_1, d_2 = slope[0, a] * v * w, u * slope[1, b] * w, u * v * slope[2, c]
                for e in range(energies):
                    value[e] += all_three * nodes[e]
                    slopes[0, e] += d_0 * nodes[e]
                    slopes[1, e] += d_1 * nodes[e]
                    slopes[2, e] += d_2 * nodes[e]


@compiled(nogil=True)
def nearest_nodes(observed, coarse, nodes, squares, place, inner):
    """Find the coarse nodes whose values differ least from what is observed (energy).

    Parameters
    ----------
    observed
        Float32 (energy).
    coarse
        Values at some nodes, float32 (energy, node).
    nodes
        Their places, float64 (node, layer), those of layers that are not there −1.
    squares
        Room for how far nodes are, float32 (node).
    place, inner
        The nearest of all, and of those at which all layers are thicker than nothing, float64
        (layer), overwritten.
    """
    least, least_inner, best, best_inner = np.inf, np.inf, 0, -1
    squares[:] = np.float32(0)
    for e in range(len(observed)):  # outside: sums of nodes beside each other make vectors
        row = coarse[e]
        for k in range(len(squares)):
            difference = observed[e] - row[k]
            squares[k] += difference * difference
    for k in range(len(squares)):
        if squares[k] < least:
            least, best = float(squares[k]), k
        if squares[k] < least_inner and nodes[k].all():
            least_inner, best_inner = float(squares[k]), k
    for i in range(LAYERS):
        place[i] = max(nodes[best, i], 0.0)
        inner[i] = max(nodes[best_inner, i], 0.0)


@compiled(nogil=True, inline="always")
def _solve(matrix, right, free, damping, step):
    """Solve the normal equations of free parameters, damped, by elimination; others stay."""
    n = len(right)
    a = np.zeros((n, n))
    for i in range(n):
        step[i] = right[i] if free[i] else 0.0
        for j in range(n):
            a[i, j] = matrix[i, j] if free[i] and free[j] else 0.0
        a[i, i] = a[i, i] * (1 + damping) + _TINY if free[i] else 1.0
    for i in range(n):
        for j in range(i + 1, n):
            share = a[j, i] / a[i, i]
            for k in range(i, n):
                a[j, k] -= share * a[i, k]
            step[j] -= share * step[i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            step[i] -= a[i, k] * step[k]
        step[i] /= a[i, i]


@compiled(nogil=True)
def _normal(observed, value, slopes, place, ridge, matrix, right):
    """Fill in normal equations, and return the sum of squares, that of the ridge included."""
    square = 0.0
    matrix[:] = 0
    right[:] = 0
    for e in range(len(observed)):
        rest = observed[e] - value[e]
        square += rest * rest
        for i in range(LAYERS):
            right[i] += rest * slopes[i, e]
            for j in range(i + 1):
                matrix[i, j] += slopes[i, e] * slopes[j, e]
    for i in range(LAYERS):
        square += ridge[i] * place[i] * place[i]
        right[i] -= ridge[i] * place[i]
        matrix[i, i] += ridge[i]
        for j in range(i):
            matrix[j, i] = matrix[i, j]
    return square


@compiled(nogil=True)
def _improve(observed, table, ridge, least, place, room):
    """Improve a place by damped steps, kept within the table, and return its sum of squares.

    It is good enough where a step makes the sum smaller by no more than `least`.
    """
    weight, slope, value, slopes, matrix, right, new_matrix, new_right, step, tried = room
    free = np.empty(LAYERS, np.bool_)
    interpolate(table, place, weight, slope, value, slopes)
    square = _normal(observed, value, slopes, place, ridge, matrix, right)
    damping = _FIRST_DAMPING
    for _ in range(_STEPS):
        for i in range(LAYERS):
            stuck = (place[i] <= 0 and right[i] <= 0) or (
                place[i] >= table.shape[i] - 1 and right[i] >= 0
            )
            free[i] = table.shape[i] > 1 and not stuck
        _solve(matrix, right, free, damping, step)
        moved = 0.0
        for i in range(LAYERS):
            tried[i] = min(max(place[i] + step[i], 0.0), float(table.shape[i] - 1))
            moved = max(moved, abs(tried[i] - place[i]))
        if moved < _SETTLED or damping > _MOST_DAMPING:
            break
        interpolate(table, tried, weight, slope, value, slopes)
        new = _normal(observed, value, slopes, tried, ridge, new_matrix, new_right)
        if new < square:
            gained = square - new
            square, damping = new, damping / 8
            place[:] = tried
            matrix[:] = new_matrix
            right[:] = new_right
            if gained < least:
                break
        else:
            damping *= 8
    return square


@compiled(nogil=True)
def fit_pixels(observed, table, coarse, nodes, ridge, least, out, squares):
    """Fit the places in a table whose values come nearest to what is observed.

    The best of some coarse nodes is improved by the steps of Levenberg and Marquardt; where it
    lacks a layer, the best one that has all of them is, too, and the better one taken.

    Parameters
    ----------
    observed
        Float32 (pixel, energy); pixels with NaN stay NaN.
    table
        Float32 (layer 1, layer 2, layer 3, energy).
    coarse, nodes
        As of `nearest_nodes`.
    ridge
        Factor of the square of each place that is added to the squares of differences.
    least
        By which a step must make the sum of squares smaller to be followed by another, float64
        (pixel).
    out
        Places in nodes, float64 (pixel, layer), overwritten.
    squares
        Sums of squares, float64 (pixel), overwritten.
    """
    energies = observed.shape[1]
    room = (
        np.empty((LAYERS, 4)),
        np.empty((LAYERS, 4)),
        np.empty(energies),
        np.empty((LAYERS, energies)),
        np.empty((LAYERS, LAYERS)),
        np.empty(LAYERS),
        np.empty((LAYERS, LAYERS)),
        np.empty(LAYERS),
        np.empty(LAYERS),
        np.empty(LAYERS),
    )
    place, inner = np.empty(LAYERS), np.empty(LAYERS)
    nearness = np.empty(len(nodes), np.float32)
    for pixel in range(len(observed)):
        if np.isnan(observed[pixel].sum()):
            out[pixel] = np.nan
            squares[pixel] = np.nan
            continue
        nearest_nodes(observed[pixel], coarse, nodes, nearness, place, inner)
        apart = 0.0
        for i in range(LAYERS):
            apart = max(apart, abs(place[i] - inner[i]))
        squares[pixel] = _improve(observed[pixel], table, ridge, least[pixel], place, room)
        out[pixel] = place
        if apart > 0:
            square = _improve(observed[pixel], table, ridge, least[pixel], inner, room)
            if square < squares[pixel]:
                squares[pixel] = square
                out[pixel] = inner


@compiled(nogil=True)
def describe_fits(observed, places, table, variance, centres, widths, shares):
    """Fill in the Gaussians that describe, within the table, what places are likely.

    Where a fit ends at a bound of the table, the centre lies beyond it, as far as the values say.
    A layer that they say nothing of is as wide as an even prior of the whole table.

    Parameters
    ----------
    observed
        As of `fit_pixels`.
    places
        That were fitted to it, in nodes, float64 (pixel, layer).
    table
        As of `fit_pixels`.
    variance
        Of what was observed at each energy, float64 (pixel).
    centres, widths
        And standard deviations, in nodes, float64 (pixel, layer), overwritten.
    shares
        How much of the table is as likely as the fitted place, if that were a Gaussian: its volume,
        √(2π)^n √det of the covariance, in that of the table, float64 (pixel), overwritten.
    """
    energies = table.shape[3]
    value, slopes = np.empty(energies), np.empty((LAYERS, energies))
    weight, slope = np.empty((LAYERS, 4)), np.empty((LAYERS, 4))
    matrix, right, unit = np.empty((LAYERS, LAYERS)), np.empty(LAYERS), np.empty(LAYERS)
    column, free = np.empty(LAYERS), np.empty(LAYERS, np.bool_)
    none = np.zeros(LAYERS)
    for i in range(LAYERS):
        free[i] = table.shape[i] > 1
    for pixel in range(len(places)):
        centres[pixel] = places[pixel]
        widths[pixel] = 0.0
        if np.isnan(places[pixel, 0]):
            shares[pixel] = np.nan
            continue
        interpolate(table, places[pixel], weight, slope, value, slopes)
        _normal(observed[pixel], value, slopes, places[pixel], none, matrix, right)
        for i in range(LAYERS):
            if free[i]:  # a prior as wide as the table, so that what is not known has an error
                matrix[i, i] += variance[pixel] * _PRIOR / (table.shape[i] - 1) ** 2
        shares[pixel] = min(_share(matrix, free, variance[pixel], table.shape), 1.0)
        for i in range(LAYERS):
            if free[i]:
                unit[:] = 0
                unit[i] = 1
                _solve(matrix, unit, free, 0.0, column)
                widths[pixel, i] = math.sqrt(variance[pixel] * max(column[i], 0.0))
                if places[pixel, i] <= 0 or places[pixel, i] >= table.shape[i] - 1:
                    centres[pixel, i] += right[i] * column[i]


@compiled(nogil=True)
def _share(matrix, free, variance, shape):
    """Return the volume of a Gaussian of an information matrix, in that of a table."""
    n = len(free)
    a = matrix.copy()
    share = 1.0
    for i in range(n):
        if not free[i]:
            continue
        share *= math.sqrt(2 * math.pi * variance / max(a[i, i], _TINY)) / (shape[i] - 1)
        for j in range(i + 1, n):
            part = a[j, i] / a[i, i]
            for k in range(i, n):
                a[j, k] -= part * a[i, k]
    return share


@compiled(nogil=True)
def half_widths(taken, centres, widths, evidence, present, span, out):
    """Fill in how far to either side of a place a layer lies, if it is there, with 68.27 %.

    Of a Gaussian about the place, that is its standard deviation.

    Parameters
    ----------
    taken
        Places of the layer in nodes, float64 (pixel).
    centres, widths
        Gaussians of each pattern of layers, in nodes, float64 (pattern, pixel).
    evidence
        Logarithms of what each pattern counts, float64 (pattern, pixel).
    present
        In which patterns the layer is, bool (pattern); in one at least.
    span
        Of the table in nodes: nothing is likely beyond 0 and it.
    out
        In nodes, float64 (pixel), overwritten; NaN where the place is.
    """
    patterns = len(present)
    weights = np.empty(patterns)
    for pixel in range(len(taken)):
        if np.isnan(taken[pixel]):
            out[pixel] = np.nan
            continue
        most = -np.inf
        for k in range(patterns):
            if present[k]:
                most = max(most, evidence[k, pixel])
        total, simple = 0.0, True
        for k in range(patterns):
            weights[k] = math.exp(evidence[k, pixel] - most) if present[k] else 0.0
            total += weights[k]
            if weights[k] > _NEGLIGIBLE:  # of those that there are, the most is 1
                wide, centre = widths[k, pixel], centres[k, pixel]
                inside = _FAR * wide < min(centre, span - centre)
                simple = simple and inside and weights[k] == 1 and centre == taken[pixel]
                out[pixel] = wide
        if simple:
            continue
        low, high = 0.0, float(span)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            inside = 0.0
            for k in range(patterns):
                if weights[k] > _NEGLIGIBLE:
                    inside += weights[k] * _within(
                        taken[pixel], middle, centres[k, pixel], widths[k, pixel], span
                    )
            if inside < _ONE_SIGMA * total:
                low = middle
            else:
                high = middle
        out[pixel] = (low + high) / 2


@compiled(nogil=True)
def _within(place, reach, centre, width, span):
    """Return how likely a Gaussian that a table cuts off is within reach of a place."""
    width = max(width, _TINY)
    if centre < -_FAR * width or centre > span + _FAR * width:  # the tail is an exponential
        end = 0.0 if centre < 0 else float(span)
        beyond = abs(centre - end)
        near = max(abs(place - end) - reach, 0.0)
        rate = beyond / (width * width)
        return math.exp(-near * rate) - math.exp(-(abs(place - end) + reach) * rate)
    scale = 1 / (width * _ROOT_2)
    first, last = math.erf(-centre * scale), math.erf((span - centre) * scale)
    low, high = max(place - reach, 0.0), min(place + reach, float(span))
    found = math.erf((high - centre) * scale) - math.erf((low - centre) * scale)
    return found / max(last - first, _TINY)
