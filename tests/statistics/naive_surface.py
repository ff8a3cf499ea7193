"""Slow, obvious definition of interfaces per length along a direction."""

from itertools import product

import numpy as np

DIRECTIONS = [step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]


def interfaces_per_length(phase, step, spacing, mask=None):
    """Look at every pair of neighbours at a step that both lie in a mask."""
    inside = np.ones_like(phase) if mask is None else mask
    crossed = pairs = 0
    for here in np.ndindex(phase.shape):
        there = tuple(i + d for i, d in zip(here, step, strict=True))
        within = all(0 <= i < n for i, n in zip(there, phase.shape, strict=True))
        if within and inside[here] and inside[there]:
            pairs += 1
            crossed += phase[here] != phase[there]
    nm = pairs * np.linalg.norm(np.multiply(step, spacing))
    return crossed / nm if pairs else np.nan
