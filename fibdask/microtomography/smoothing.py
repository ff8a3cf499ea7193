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

from ._kernels.smoothing import smooth_step
from .dictionary import Dictionary, Observed

_FIRST, _GROWTH = 1.5, 1.25  # radius in pixels, and its factor from step to step
_SEEN = 0.5  # least range of a component, in its noise
_MOST_COMPONENTS = 8
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


def smoothed(dictionary: Dictionary, signals: np.ndarray, noise: float, most: float) -> Observed:
    """Return what is observed in signals (energy, y, x), averaged up to a radius in pixels."""
    if not radii(most):
        return Observed.of(dictionary, signals, noise)
    spectrum, std = dictionary.spectrum(), sqrt(dictionary.variance(noise))
    number = spectrum.seen(std, _SEEN, _MOST_COMPONENTS)
    scores = spectrum.scores(dictionary.observed(signals, noise), number, 1 / std)
    scores = scores.reshape(*signals.shape[1:], number)
    averages, weights = scores, np.ones(signals.shape[1:], np.float32)
    variances, limit = np.ones_like(weights), _LIMIT * sqrt(number)
    for radius in radii(most):
        new, new_weights = np.empty_like(averages), np.empty_like(weights)
        smooth_step(scores, averages, weights, radius, limit, new, new_weights, variances)
        averages, weights = new, new_weights
    values = averages.reshape(-1, number) * np.float32(std)
    of_model = dictionary.variance_of_components(0.0)  # which is not averaged
    own = dictionary.variance_of_components(noise) - of_model
    return Observed(values, own * variances.ravel().astype(np.float64) + of_model)
