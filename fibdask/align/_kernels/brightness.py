"""Brightness and contrast: classes of one grey value everywhere, of free shares.

Counts of grey values, in rows of one slice or one place each, are explained by a mixture of
normal distributions. Their means and deviations are the same in all rows, up to a gain and an
offset of the row; their shares are its own, so that porosity is none of what is fitted.
"""

import numpy as np

from ...compiling import compiled

GREY_BITS = 8
GREY_BINS = 1 << GREY_BITS
NEUTRAL = np.array([[1.0], [0.0]])  # gain, offset
TILES = 4  # along y and x
_PARTS = 4  # of an image, that are fitted each for itself
_CLASSES = 4  # pore, shine-through, edges, solid
_ROUNDS = 60
_BLANK = 0.25  # of the usual range of grey values: rows with less are left alone
_NARROWEST = 0.5  # bins: deviation of a class
_USUAL_SHARE = 0.01  # of a row's pixels, by which its shares are drawn to the usual ones
_WIDEST = 0.2  # gains expected beforehand: deviations from 1
_MODEL_ERROR = (0.002, 0.25)  # of gain, and of the mean grey value in bins
_CERTAIN = 16.0  # squared errors below which a deviation is none
_RESTLESS = 6.0  # squared errors by which the usual slice deviates where brightness is unsteady
_VAGUE = 0.01  # error of the gain above which grey values form no reliable classes ...
_VAGUE_RESTLESS = 25.0  # ... and what the usual slice must deviate by, for any to be corrected


def slice_corrections(counts: np.ndarray) -> np.ndarray:
    """Return gain and offset in bins (2, z) of every slice, of `counts` (z, tile y, tile x, bin).

    The quarters of the image are fitted each for itself, and relative to their own median over
    the slices; what they do not have in common is structure. Their scatter tells the uncertainty.
    """
    halves = counts.reshape(len(counts), 2, TILES // 2, 2, TILES // 2, GREY_BINS)
    parts = halves.sum(axis=(2, 4)).reshape(-1, GREY_BINS)
    fitted = relative_grey(parts).reshape(2, -1, _PARTS)
    blank = ((fitted[0] == 1) & (fitted[1] == 0)).any(axis=1)
    if not blank.all():
        fitted += NEUTRAL[..., None] - np.median(fitted[:, ~blank], axis=1, keepdims=True)
    mean = fitted.mean(axis=2)
    if not blank.all():
        shift = NEUTRAL - np.median(mean[:, ~blank], axis=1, keepdims=True)
        mean += shift
        # Errors of gain and offset hang together; those of gain and grey level do not.
        grey = np.average(np.arange(GREY_BINS), weights=counts.sum(axis=(0, 1, 2)))
        level = fitted[1] + (fitted[0] - 1) * grey
        scatter = np.stack([fitted[0], level]).std(axis=2, ddof=1) / np.sqrt(_PARTS)
        error = np.maximum(np.median(scatter[:, ~blank], axis=1), _MODEL_ERROR)
        fitted_mean = mean[:, ~blank]
        share = certain_share(fitted_mean, grey, error)
        mean[:, ~blank] = NEUTRAL + (fitted_mean - NEUTRAL) * share
    mean[:, blank] = NEUTRAL
    return mean


def certain_share(fitted: np.ndarray, grey: float, error: np.ndarray) -> np.ndarray:
    """Return the share, 0 to 1, of deviations (2, z) that is more than their error (2).

    Where the usual slice deviates by little more than its error, only outliers are trusted; where
    the error is large besides, as in textures without classes, not even these.
    """
    gain = fitted[0] - 1
    squares = (gain / error[0]) ** 2 + ((fitted[1] + gain * grey) / error[1]) ** 2
    vague = error[0] > _VAGUE
    restless = np.median(squares) > (_VAGUE_RESTLESS if vague else _RESTLESS)
    explained = 1.0 if restless else np.inf if vague else _CERTAIN
    return np.asarray(np.maximum(1 - explained / np.maximum(squares, 1e-12), 0))


def shading_corrections(
    counts: np.ndarray, corrections: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """Return coefficients of gain and offset in bins (2, function) of functions of the place.

    `counts` (z, tile y, tile x, bin) are first moved by the corrections of slices; the functions
    have values `places` (function, tile y, tile x).
    """
    summed = moved_counts(counts.reshape(len(counts), TILES**2, -1), corrections)
    fitted = relative_grey(summed) - NEUTRAL
    design = np.concatenate([np.ones((1, TILES**2)), places.reshape(len(places), -1)]).T
    solution, *_ = np.linalg.lstsq(design, fitted.T)
    rest = fitted.T - design @ solution
    variance = (rest**2).sum(axis=0) / (TILES**2 - design.shape[1])
    error = np.sqrt(np.diag(np.linalg.inv(design.T @ design))[:, None] * variance)
    chi = ((solution[1:] / np.maximum(error[1:], 1e-12)) ** 2).mean()
    return solution[1:].T * max(1 - _CERTAIN / max(chi, 1e-12), 0)


def shading_functions(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return linear and quadratic functions of the place (function, y, x), -1 to 1 along each.

    Their means over the image are 0.
    """
    y, x = np.asarray(y)[:, None], np.asarray(x)[None]
    one = np.ones((y.shape[0], x.shape[1]))
    return np.stack([y * one, x * one, (y * y - 1 / 3) * one, y * x, (x * x - 1 / 3) * one])


def shading_field(coefficients: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the sum (y, x) of the functions of the place times coefficients, float32."""
    linear_y, linear_x, square_y, product, square_x = coefficients
    along_y = linear_y * y + square_y * (y * y - 1 / 3)
    along_x = linear_x * x + square_x * (x * x - 1 / 3)
    field = np.multiply.outer((product * y).astype(np.float32), x.astype(np.float32))
    field += along_y.astype(np.float32)[:, None]
    field += along_x.astype(np.float32)
    return field


def moved_counts(counts: np.ndarray, corrections: np.ndarray) -> np.ndarray:
    """Sum counts (z, tile, bin) over slices, the true grey values in the bins: (tile, bin)."""
    edges = np.arange(counts.shape[2] + 1.0)
    summed = np.zeros(counts.shape[1:])
    for rows, gain, offset in zip(counts, *corrections, strict=True):
        true = (edges - offset) / gain
        for tile, row in enumerate(rows):
            below = np.concatenate([[0], np.cumsum(row)])
            summed[tile] += np.diff(np.interp(edges, true, below))
    return summed


def relative_grey(counts: np.ndarray) -> np.ndarray:
    """Fit the gain and offset (2, row) of counts (row, bin): seen = gain * true + offset.

    Rows of little contrast get gain 1 and offset 0.
    """
    fitted = np.tile(NEUTRAL, len(counts))
    low, high = (_quantile_bins(counts, share) for share in (0.05, 0.95))
    counted = counts.sum(axis=1) > 0
    usual = np.median((high - low)[counted])
    fit = (high - low > _BLANK * usual) & counted
    if usual <= 0 or fit.sum() < 2:
        return fitted
    gain = (high - low)[fit] / usual
    offset = low[fit] - gain * np.median(low[fit])
    fitted[:, fit] = _fit_mixture(counts[fit] / counts[fit].sum(axis=1)[:, None], gain, offset)
    return fitted


def _quantile_bins(counts: np.ndarray, share: float) -> np.ndarray:
    below = np.cumsum(counts, axis=1)
    wanted = share * below[:, -1]
    last = np.argmax(below >= wanted[:, None], axis=1)
    rows = np.arange(len(counts))
    return last + 1 - (below[rows, last] - wanted) / np.maximum(counts[rows, last], 1e-12)


def _fit_mixture(seen: np.ndarray, gain: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return gain and offset (2, row) by expectation and maximisation from starting values."""
    centre, deviation = _first_classes(seen, gain, offset)
    shares = np.full((len(seen), _CLASSES), 1 / _CLASSES)
    for _ in range(_ROUNDS):
        mass, mean, square = _moments(seen, gain, offset, centre, deviation, shares)
        shares = (mass + _USUAL_SHARE * mass.mean(axis=0)) / (1 + _USUAL_SHARE)
        true = (mean - offset[:, None]) / gain[:, None]
        total = mass.sum(axis=0) + 1e-12
        centre = (mass * true).sum(axis=0) / total
        spread = square / gain[:, None] ** 2 + (true - centre) ** 2
        deviation = np.sqrt(np.maximum((mass * spread).sum(axis=0) / total, _NARROWEST**2))
        gain, offset = _regression(mass / deviation**2, centre, mean)
        middle, shift = np.median(gain), np.median(offset)
        gain, offset = gain / middle, offset - gain * (shift / middle)
    return np.stack([gain, offset])


def _first_classes(
    seen: np.ndarray, gain: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return means and deviations of classes of equal shares of the true grey values."""
    true = ((np.arange(seen.shape[1]) + 0.5 - offset[:, None]) / gain[:, None]).ravel()
    order = np.argsort(true, kind="stable")
    below = np.cumsum(seen.ravel()[order]) / seen.sum()
    centre = true[order][np.searchsorted(below, (np.arange(_CLASSES) + 0.5) / _CLASSES)]
    return centre, np.full(_CLASSES, max(np.ptp(centre) / _CLASSES, 1.0))


def _regression(
    weight: np.ndarray, centre: np.ndarray, mean: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return gain and offset of means seen (row, class) of the class centres."""
    prior = 1e-3 / _WIDEST**2 * weight.sum(axis=1)
    base = (weight * centre).sum(axis=1) / weight.sum(axis=1)
    level = (weight * mean).sum(axis=1) / weight.sum(axis=1)
    x, y = centre - base[:, None], mean - level[:, None]
    gain = ((weight * x * y).sum(axis=1) + prior) / ((weight * x * x).sum(axis=1) + prior)
    return gain, level - gain * base


@compiled(nogil=True)
def _moments(seen, gain, offset, centre, deviation, shares):
    """Return mass, mean and variance (row, class) of what belongs to each class."""
    mass, mean, square = np.zeros((3, len(seen), len(centre)))
    weight = np.empty(len(centre))
    for row in range(len(seen)):
        for b in range(seen.shape[1]):
            if seen[row, b] == 0:
                continue
            true = (b + 0.5 - offset[row]) / gain[row]
            for c in range(len(centre)):
                u = (true - centre[c]) / deviation[c]
                weight[c] = (shares[row, c] + 1e-12) / deviation[c] * np.exp(-0.5 * u * u) + 1e-200
            weight *= seen[row, b] / weight.sum()
            for c in range(len(centre)):
                mass[row, c] += weight[c]
                mean[row, c] += weight[c] * (b + 0.5)
                square[row, c] += weight[c] * (b + 0.5) ** 2
        for c in range(len(centre)):
            if mass[row, c] > 0:
                mean[row, c] /= mass[row, c]
                square[row, c] = square[row, c] / mass[row, c] - mean[row, c] ** 2
    return mass, mean, square
