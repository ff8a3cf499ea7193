"""Planes of a regular grid: arithmetic on positions."""

import numpy as np

_DECIMALS = 6  # of a plane: what lies half way between two goes up, whatever the division rounds to


def nearest_planes(positions: np.ndarray) -> np.ndarray:
    """Return the plane, an int64, that is nearest to each position in planes (float64)."""
    return np.floor(np.round(positions, _DECIMALS) + 0.5).astype(np.int64)
