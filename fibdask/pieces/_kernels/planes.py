"""Planes of a regular grid: arithmetic on positions."""

import numpy as np


def nearest_planes(positions: np.ndarray) -> np.ndarray:
    """Return the plane, an int64, that is nearest to each position in planes (float64)."""
    return np.floor(positions + 0.5).astype(np.int64)
