"""Signals averaged in the plane over pixels that look alike, before layers are told from them.

Films are alike over many pixels, and change abruptly at edges. So pixels are averaged in growing
circles with those whose averages so far differ by no more than noise would make them: adaptive
weights smoothing [1]_. Only the few components of a spectrum that layers can change are looked at.

References
----------
.. [1] Polzehl, J., Spokoiny, V. (2006), Propagation-separation approach for local likelihood
   estimation, Probability Theory and Related Fields 135, 335–362.
"""

from math import sqrt

import numpy as np

from ._kernels.smoothing import project, smooth_step
from .dictionary import Dictionary, Observed, variance_of

FIRST_RADIUS = 1.5
"""In pixels: a smaller one averages nothing."""
_GROWTH = 1.25  # of the radius from step to step
_SEEN = 0.5  # least range of a component, in its noise
_MOST_COMPONENTS = 8
_LIMIT = 8.0  # times the square root of the number of components: what noise alone does not reach


def radii(most: float) -> list[float]:
    """Return the radii in pixels of all steps, up to the largest."""
    steps: list[float] = []
    radius = FIRST_RADIUS
    while radius <= most:
        steps.append(radius)
        radius *= _GROWTH
    return steps


def smoothing_halo(most: float) -> int:
    """Return how many pixels away smoothing looks, along y and x."""
    return sum(int(radius) for radius in radii(most))


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
    scores = scores.reshape(*signals.shape[1:], number)
    averages, weights = scores, np.ones(signals.shape[1:], np.float32)
    variances, limit = np.ones_like(weights), _LIMIT * sqrt(number)
    for radius in radii(most):
        new, new_weights = np.empty_like(averages), np.empty_like(weights)
        smooth_step(scores, averages, weights, radius, limit, new, new_weights, variances)
        averages, weights = new, new_weights
    values = averages.reshape(-1, number) * np.float32(sqrt(own))
    return Observed(basis, values, own * variances.ravel().astype(np.float64))
