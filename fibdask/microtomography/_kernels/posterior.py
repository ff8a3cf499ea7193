"""Compiled loops of layered samples: what thicknesses of a layer are likely at a pixel.

The likelihood is walked along a layer, from the fit on to where it is negligible. At each step the
other layers follow, and are integrated as the Gaussian that they are there, cut off by the table:
Laplace's method in all directions but one.
"""

import math

import numpy as np

from ...compiling import compiled
from .fitting import LAYERS, expand, solve, weigh, with_prior

_ONE_SIGMA = 0.6827
_HALVINGS = 10  # of what is likely at all, before the rest is even
_FIRST_STEP = 0.5  # of what one standard error seems to be
_GROWTH = 1.4
_FLAT = 0.7  # change of the logarithm below which steps grow
_END = 6.0  # of the logarithm below its largest value
_SURE_GROWTH = 7  # steps, after which they grow anyway
_EACH_WAY = 12
PLACES = 2 * _EACH_WAY + 1
_TRIED = 1.5  # standard errors either way, at which a Gaussian is told from others
_LIKE = 0.15  # of how much its logarithm falls there
_GAUSSIAN = 4  # places either way of a walk that needs no likelihood, as far as
_STRIDE = 0.9  # standard errors from one another
"""Most places of a walk."""
_FAR = 4.0  # standard errors, beyond which nothing is cut off
_TINY = 1e-300
_ROOT_2, _TURN = math.sqrt(2), math.log(2 * math.pi)


@compiled(nogil=True)
def _inside(centre, precision, last):
    """Return the logarithm of the share of a Gaussian that lies in a table, from 0 to last."""
    near = min(centre, last - centre)
    if near > 0 and near * near * precision > _FAR * _FAR:
        return 0.0
    scale = math.sqrt(precision)
    low, high = centre * scale, (last - centre) * scale
    out = -min(low, high)
    if out > _FAR:  # the tail, of which little more than the first term is left
        return -out * out / 2 - math.log(out) - _TURN / 2
    share = (math.erf(low / _ROOT_2) + math.erf(high / _ROOT_2)) / 2
    return math.log(max(share, _TINY))


@compiled(nogil=True)
def _others(normal, table, layer):
    """Return an information matrix with a prior, and which layers but one are free."""
    free = (table.shape[0] > 1 and layer != 0, table.shape[1] > 1 and layer != 1,
            table.shape[2] > 1 and layer != 2)  # fmt: skip
    return with_prior(normal, table.shape)[0], free


@compiled(nogil=True)
def _likeliness(observed, weights, table, place, layer):
    """Return the logarithm of the likelihood of a layer's place, the others integrated.

    These, in `place`, follow to where they are most likely.
    """
    for last in (False, True):
        square, right, normal = expand(observed, weights, table, place)
        normal, free = _others(normal, table, layer)
        step, pivots = solve(right, normal, free, 0.0)
        if last or max(abs(step[0]), abs(step[1]), abs(step[2])) < 0.5:
            break
        for k in range(LAYERS):
            place[k] = min(max(place[k] + step[k], 0.0), table.shape[k] - 1.0)
    logarithm = -(square + math.log(pivots)) / 2
    precisions = (normal[0], normal[3], normal[5])
    for k in range(LAYERS):
        if free[k]:
            centre, end = place[k] + step[k], table.shape[k] - 1.0
            logarithm += right[k] * step[k] / 2 + _inside(centre, precisions[k], end) + _TURN / 2
            place[k] = min(max(centre, 0.0), end)
    return logarithm


@compiled(nogil=True)
def _width(normal, table, layer):
    """Return the standard error of a layer in nodes, of an information matrix."""
    normal, free = with_prior(normal, table.shape)
    unit = (
        1.0 if layer == 0 else 0.0,
        1.0 if layer == 1 else 0.0,
        1.0 if layer == 2 else 0.0,
    )
    column, _ = solve(unit, normal, free, 0.0)
    return math.sqrt(max(column[layer], 0.0))


@compiled(nogil=True)
def curved_widths(observed, variances, errors, table, fits, layer, wanted, widths):
    """Fill in the standard errors of a layer, as the curvature of the likelihood at fits tells.

    Parameters
    ----------
    observed, variances, errors, table
        As of `fit_pixels`.
    fits
        Places in nodes, float64 (pixel, layer).
    layer
        One of the table's.
    wanted
        Which pixels are asked for, bool (pixel); others are left alone.
    widths
        In nodes, float64 (pixel), overwritten.
    """
    weights = np.empty(observed.shape[1], np.float32)
    for pixel in range(len(observed)):
        if wanted[pixel]:
            weigh(variances[pixel], errors, weights)
            normal = expand(observed[pixel], weights, table, fits[pixel])[2]
            widths[pixel] = _width(normal, table, layer)


@compiled(nogil=True)
def _gaussian(observed, weights, table, fitted, layer, likely, place):
    """Return the standard error of a layer where its likelihood is a Gaussian, else 0."""
    width = _width(expand(observed, weights, table, fitted)[2], table, layer)
    if min(fitted[layer], table.shape[layer] - 1 - fitted[layer]) < _GAUSSIAN * _STRIDE * width:
        return 0.0
    expected, fallen = _TRIED * _TRIED / 2, 0.0
    for way in (-1, 1):
        place[:] = fitted
        place[layer] += way * _TRIED * width
        fall = likely - _likeliness(observed, weights, table, place, layer)
        if abs(fall - expected) > _LIKE * expected:
            return 0.0
        fallen += fall / 2
    return width * math.sqrt(expected / fallen)


@compiled(nogil=True)
def _first_step(observed, weights, table, place, layer):
    """Return a step along a layer from a fit, in which the likelihood falls somewhat."""
    _, right, normal = expand(observed, weights, table, place)
    width = min(_width(normal, table, layer), (table.shape[layer] - 1) / 3)
    along = (normal[0], normal[1], normal[2])
    if layer == 1:
        along = (normal[1], normal[3], normal[4])
    elif layer == 2:
        along = (normal[2], normal[4], normal[5])
    step, _ = solve(right, *_others(normal, table, layer), 0.0)
    slope = right[layer]  # of the logarithm, where the others follow; 0 but at a bound
    for k in range(LAYERS):
        slope -= along[k] * step[k]
    return _FIRST_STEP / (1 / max(width, 1e-6) + abs(slope))


@compiled(nogil=True)
def _walk(observed, weights, table, layer, way, step, place, before, found, likely):
    """Fill in places and logarithms of the likelihood from a first one on; return how many."""
    most = likely[0]
    end = 0.0 if way < 0 else table.shape[layer] - 1.0
    number = 1
    while number <= _EACH_WAY and found[number - 1] != end:
        new = found[number - 1] + way * step
        new = max(new, end) if way < 0 else min(new, end)
        move, last = new - place[layer], place[layer] - before[layer]
        for k in range(LAYERS):  # the others as they went before
            ahead = place[k] + (move * (place[k] - before[k]) / last if number > 1 else 0.0)
            before[k] = place[k]
            place[k] = new if k == layer else min(max(ahead, 0.0), table.shape[k] - 1.0)
        here = _likeliness(observed, weights, table, place, layer)
        found[number], likely[number] = new, here
        change = abs(here - likely[number - 1])
        most = max(most, here)
        number += 1
        if here < most - _END:
            break
        if change < _FLAT or number > _SURE_GROWTH:
            step *= _GROWTH
    return number


@compiled(nogil=True)
def walk_pixels(observed, variances, errors, table, fits, layer, worth, places, logarithms, counts):
    """Fill in how likely thicknesses of a layer are about fits, whatever the others are.

    Parameters
    ----------
    observed, variances, errors, table
        As of `fit_pixels`.
    fits
        Places in nodes, float64 (pixel, layer).
    layer
        One of the table's.
    worth
        Which pixels are asked for, bool (pixel).
    places, logarithms
        Of the layer, increasing, and of the likelihood integrated over the other layers in nodes,
        float64 (pixel, place), overwritten.
    counts
        How many of them there are, int64 (pixel), overwritten; 0 of pixels not asked for.
    """
    weights = np.empty(observed.shape[1], np.float32)
    first, place, before = np.empty(LAYERS), np.empty(LAYERS), np.empty(LAYERS)
    found, likely = np.empty(_EACH_WAY + 1), np.empty(_EACH_WAY + 1)
    for pixel in range(len(observed)):
        counts[pixel] = 0
        if not worth[pixel]:
            continue
        seen = observed[pixel]
        weigh(variances[pixel], errors, weights)
        first[:] = fits[pixel]
        likely[0] = _likeliness(seen, weights, table, first, layer)
        found[0] = first[layer]
        width = _gaussian(seen, weights, table, first, layer, likely[0], place)
        if width > 0:
            counts[pixel] = 2 * _GAUSSIAN + 1
            for k in range(counts[pixel]):
                away = (k - _GAUSSIAN) * _STRIDE
                places[pixel, k] = first[layer] + away * width
                logarithms[pixel, k] = likely[0] - away * away / 2
            continue
        step = _first_step(seen, weights, table, first, layer)
        for way in (-1, 1):
            place[:] = first
            number = _walk(seen, weights, table, layer, way, step, place, before, found, likely)
            done = counts[pixel]
            for k in range(number):
                into = number - 1 - k if way < 0 else done - 1 + k  # the fit is the first of both
                places[pixel, into], logarithms[pixel, into] = found[k], likely[k]
            counts[pixel] = number if way < 0 else done - 1 + number


@compiled(nogil=True)
def half_widths(taken, places, logarithms, counts, beforehand, out):
    """Fill in how far to either side of a place a layer lies, if it is there, with 68.27 %.

    Of a Gaussian about the place, that is its standard deviation.

    Parameters
    ----------
    taken
        Places of the layer in nodes, float64 (pixel).
    places, logarithms, counts
        As of `walk_pixels`, of each pattern that has the layer, (pattern, pixel, place) and
        (pattern, pixel).
    beforehand
        Logarithms of the density of each pattern beforehand, per node of each of its layers,
        float64 (pattern).
    out
        In nodes, float64 (pixel), overwritten; NaN where there are no places.
    """
    patterns = len(places)
    density = np.empty((patterns, 3, PLACES))
    for pixel in range(len(taken)):
        most, furthest = -np.inf, 0.0
        for p in range(patterns):
            for k in range(counts[p, pixel]):
                most = max(most, logarithms[p, pixel, k] + beforehand[p])
                furthest = max(furthest, abs(places[p, pixel, k] - taken[pixel]))
        total = 0.0
        for p in range(patterns):
            given = places[p, pixel], logarithms[p, pixel], counts[p, pixel]
            total += _sum(*given, beforehand[p] - most, density[p])
        if not total > 0:
            out[pixel] = np.nan
            continue
        low, high, below, above = 0.0, furthest, 0.0, total
        wanted = _ONE_SIGMA * total
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            inside = 0.0
            for p in range(patterns):
                given = places[p, pixel], counts[p, pixel], density[p]
                inside += _below(*given, taken[pixel] + middle)
                inside -= _below(*given, taken[pixel] - middle)
            if inside < wanted:
                low, below = middle, inside
            else:
                high, above = middle, inside
        out[pixel] = low + (high - low) * (wanted - below) / max(above - below, _TINY)


@compiled(nogil=True)
def _bend(places, logarithms, k):
    """Return the second derivative of logarithms at a place between two others."""
    before, after = places[k] - places[k - 1], places[k + 1] - places[k]
    rise = (logarithms[k + 1] - logarithms[k]) / after - (
        logarithms[k] - logarithms[k - 1]
    ) / before
    return 2 * rise / (before + after)


@compiled(nogil=True)
def _sum(places, logarithms, number, more, density):
    """Fill in a density of logarithms and more, and return its sum over all places.

    Its rows are the density at places, half way to the one before, and its sum up to there.
    Half way, logarithms are those of parabolas, as are those of Gaussians.
    """
    if number == 0:
        return 0.0
    density[0, 0] = math.exp(logarithms[0] + more)
    density[2, 0] = 0.0
    for k in range(1, number):
        step = places[k] - places[k - 1]
        bend, bends = 0.0, 0
        if k > 1:
            bend += _bend(places, logarithms, k - 1)
            bends += 1
        if k < number - 1:
            bend += _bend(places, logarithms, k)
            bends += 1
        middle = (logarithms[k] + logarithms[k - 1]) / 2 - bend / max(bends, 1) * step * step / 8
        density[0, k] = math.exp(logarithms[k] + more)
        density[1, k] = math.exp(min(middle + more, 0.0))
        mean = (density[0, k - 1] + 4 * density[1, k] + density[0, k]) / 6
        density[2, k] = density[2, k - 1] + step * mean
    return density[2, number - 1]


@compiled(nogil=True)
def _below(places, number, density, place):
    """Return what lies below a place, of a density that is a parabola from place to place."""
    if number < 2 or place <= places[0]:
        return 0.0
    if place >= places[number - 1]:
        return density[2, number - 1]
    k = 1
    while places[k] < place:
        k += 1
    step = places[k] - places[k - 1]
    part = (place - places[k - 1]) / step
    first, middle, last = density[0, k - 1], density[1, k], density[0, k]
    slope, bend = -3 * first + 4 * middle - last, 2 * (first - 2 * middle + last)
    return density[2, k - 1] + step * part * (first + part * (slope / 2 + part * bend / 3))
