"""Signals averaged in the plane over pixels that look alike, before layers are told from them.

Films are alike over many pixels, and change abruptly at edges. So pixels are averaged in growing
circles with those whose averages so far differ by no more than noise would make them: adaptive
weights smoothing [1]_. Only the few components of a spectrum that layers can change are looked at.

References
----------
.. [1] Polzehl, J., Spokoiny, V. (2006), Propagation-separation approach for local likelihood
   estimation, Probability Theory and Related Fields 135, 335–362.
"""

from math import pi, sqrt

import numpy as np

from ._kernels.smoothing import LANES, mean_around, project, smooth_step
from .dictionary import Dictionary, Observed, variance_of

_FIRST, _GROWTH = 1.5, 1.25  # radius in pixels, and its factor from step to step
_SEEN = 0.5  # least range of a component, in its noise
_MOST_COMPONENTS = 8
_EVEN = 9.0  # pixels, radius that errors of averages were compared with the truth for
_WHOLE = 4 / (3 * pi)  # variance of an average over a circle, times its squared radius
_SMALL = (4.5, 8.0)  # variances of averages all around, in those of whole circles: from the first
# on, averages are less sure than their variance says, and from the second on as unsure as they get
_UNSURE = 1.8  # more standard deviations of films that are nowhere even, as measured
_LIMIT = 8.0  # times the square root of the number of components: what noise alone does not reach


def radii(most: float) -> list[float]:
    """Return the radii in pixels of all steps, up to the largest."""
    steps: list[float] = []
    radius = _FIRST
    while radius <= most:
        steps.append(radius)
        radius *= _GROWTH
    return steps


def smoothing_halo(most: float) -> int:
    """Return how many pixels away smoothing looks, along y and x."""
    return sum(int(radius) for radius in radii(most))


def around(most: float) -> int:
    """Return how many pixels away patches are looked at to tell how sure averages are."""
    return int(max(radii(most), default=0.0))


def spread(variance: np.ndarray, noise: float, most: float) -> np.ndarray:
    """Return the variance of averages in that which their noise alone would have, float64 (pixel).

    Pixels of which averages are made are chosen by their noise, too, and where thickness changes
    steadily they are not alike. Of even patches this hardly matters; where all patches around are
    small, it does. How much was measured on films of all reliefs, with 0.5 to 5 % noise.

    Parameters
    ----------
    variance
        Of averages that `smoothed` makes, float64 (y, x).
    noise
        Share of the signals.
    most
        Radius in pixels.
    """
    if not radii(most):
        return np.ones(variance.size)
    means = np.empty(variance.shape, np.float32)
    mean_around(variance.astype(np.float32), around(most), means)
    whole = _WHOLE / min(radii(most)[-1], radii(_EVEN)[-1]) ** 2
    low, high = _SMALL
    unsure = np.clip((means / (variance_of(noise) * whole) - low) / (high - low), 0, 1)
    return np.asarray((1 + _UNSURE * unsure.astype(np.float64)) ** 2).ravel()


def smoothed(dictionary: Dictionary, signals: np.ndarray, noise: float, most: float) -> Observed:
    """Return what is observed in signals (energy, y, x), averaged up to a radius in pixels."""
    if not radii(most):
        return Observed.of(dictionary, signals, noise)
    spectrum, own = dictionary.spectrum(), variance_of(noise)
    number = spectrum.seen(sqrt(dictionary.variance(noise)), _SEEN, _MOST_COMPONENTS)
    basis = spectrum.basis(number)
    flat = dictionary.observed(signals, noise)
    scores = np.empty((len(flat), number), np.float32)
    project(flat, basis.mean, basis.directions / sqrt(own), scores)
    averages, variances = _averaged(scores.reshape(*signals.shape[1:], number), most)
    values = averages.reshape(-1, number) * np.float32(sqrt(own))
    variance = own * variances.ravel().astype(np.float64)
    return Observed(basis, values, variance, np.ones(len(values)))


def _averaged(scores: np.ndarray, most: float) -> tuple[np.ndarray, np.ndarray]:
    """Return averages (y, x, component) up to a radius, and the variances (y, x) of each.

    Parameters
    ----------
    scores
        Of independent noise of variance 1, float32 (y, x, component); NaN without data.
    most
        Radius in pixels.
    """
    rows, columns, number = scores.shape
    lining, lanes = int(radii(most)[-1]), -(-columns // LANES) * LANES
    inside = slice(lining, lining + columns)
    averages, new = np.full((2, number, rows, lanes + 2 * lining), np.nan, np.float32)
    averages[:, :, inside] = np.moveaxis(scores, 2, 0)
    shown = np.nan_to_num(averages)
    weights = np.ones((rows, lanes), np.float32)
    new_weights, variances = (np.ones_like(weights) for _ in range(2))
    limit = _LIMIT * sqrt(number)
    for radius in radii(most):
        smooth_step(shown, averages, weights, radius, limit, new, new_weights, variances)
        averages, new, weights, new_weights = new, averages, new_weights, weights
    return np.ascontiguousarray(np.moveaxis(averages[:, :, inside], 0, 2)), variances[:, :columns]
