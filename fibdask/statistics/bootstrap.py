"""Estimates from counts by subvolume, and their error bars by resampling the subvolumes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..conventions import ConventionError

Weighted = Callable[[np.ndarray], np.ndarray]
"""Statistic (replicate, …) of weights of the subvolumes (replicate, subvolume)."""

_REPLICATES = 500
_TOGETHER = 25  # replicates, of which each may hold a curve as long as the volume


@dataclass(frozen=True)
class Bootstrap:
    """Confidence intervals by a block bootstrap over subvolumes.

    The subvolumes are drawn anew with replacement, as many as there are. The interval is the
    estimate ± the `confidence` quantile of the distances |resampled - estimate|: it always holds
    the estimate, and is on the safe side for norms of differences, which noise can only raise.
    """

    confidence: float
    seed: int

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            msg = f"confidence must be > 0 and < 1; got {self.confidence}"
            raise ConventionError(msg)

    def interval(self, statistic: Weighted, subvolumes: int, most: float) -> np.ndarray:
        """Return the lower and the upper end (bound, …), between 0 and `most`.

        NaN where there is one subvolume only, which has no scatter. Statistics that most
        resamples cannot give (NaN) have the widest interval.
        """
        estimate = unresampled(statistic, subvolumes)
        if subvolumes < 2:
            return np.full((2, *estimate.shape), np.nan)
        rng = np.random.default_rng(self.seed)
        weights = rng.multinomial(subvolumes, np.full(subvolumes, 1 / subvolumes), _REPLICATES)
        parts = np.split(weights.astype(np.float64), _REPLICATES // _TOGETHER)
        distances = np.abs(np.concatenate([statistic(part) for part in parts]) - estimate)
        distances[np.isnan(distances)] = np.inf
        half = np.quantile(distances, self.confidence, axis=0, method="higher")
        return np.stack([np.maximum(estimate - half, 0), np.minimum(estimate + half, most)])


def unresampled(statistic: Weighted, subvolumes: int) -> np.ndarray:
    """Return a statistic of every subvolume once."""
    return np.asarray(statistic(np.ones((1, subvolumes)))[0])


def resampled_shares(some: np.ndarray, every: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return sums of weighted counts over those of all; NaN where there is none.

    Sums of integers below 2⁵³ are exact in float64, so they do not depend on their order.
    """
    counted, total = weights @ some.astype(np.float64), weights @ every.astype(np.float64)
    result = np.full(total.shape, np.nan)
    np.divide(counted, total, out=result, where=total > 0)
    return result
