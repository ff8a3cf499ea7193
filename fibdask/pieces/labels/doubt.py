"""Where painting helps most: slices around which most errors are expected."""

import numpy as np

_NEARLY = 0.9  # of the largest gain: of such slices the one that is doubted most is chosen


def most_gained(
    doubt: np.ndarray, z: np.ndarray, painted: np.ndarray, free: np.ndarray, count: int
) -> list[tuple[int, float]]:
    """Return the slices around which most errors are expected, one after another, and the gain.

    Parameters
    ----------
    doubt
        Share of the pixels of each slice that are expected to be wrong (z).
    z
        Depths of the slices in nm.
    painted
        Numbers of slices that are painted already.
    free
        Which slices (z) may be chosen.
    count
        How many, at most.

    Returns
    -------
    list of tuple
        Numbers of slices, and the share of all expected errors that lie around each, and around
        none of those painted or chosen before.

    Notes
    -----
    A painted slice is taken to tell of others by w = exp(−(Δz/ℓ)²), where ℓ is half the depth that
    each would have if all lay evenly. The gain of a slice is Σ doubt · max(w − w₀, 0) / Σ doubt
    over all slices, w₀ being the largest w of those painted or chosen before: the next one is,
    of those with the largest gain or up to a tenth less, the one that is doubted most.
    """
    span = (z[-1] - z[0]) / max(len(z) - 1, 1) * len(z)
    reach = span / (2 * (len(painted) + count)) or 1.0
    told = np.exp(-(((z[:, np.newaxis] - z) / reach) ** 2))
    known = told[painted].max(axis=0, initial=0.0)
    total = max(float(doubt.sum()), np.finfo(float).tiny)
    free, chosen = free.copy(), []
    for _ in range(min(count, int(free.sum()))):
        gains = np.maximum(told - known, 0) @ doubt / total
        near = free & (gains >= _NEARLY * gains[free].max())
        k = int(np.argmax(np.where(near, doubt, -1.0)))
        known, free[k] = np.maximum(known, told[k]), False
        chosen.append((k, float(gains[k])))
    return chosen
