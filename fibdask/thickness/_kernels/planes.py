"""Kernels of repositioning: arithmetic on slice positions, and which slices are distinct."""

import numpy as np
from scipy.optimize import isotonic_regression

from ...pieces._kernels.planes import nearest_planes

_ROUNDED = 1e-6  # relative


def free_planes(positions: np.ndarray) -> np.ndarray:
    """Return a plane for each slice: near its position, strictly increasing, none shared.

    `positions` (float64, slices) are increasing depths in planes; the plane of the first is not
    undercut and that of the last not exceeded, and between them there are enough planes.

    Strictly increasing planes p_k are non-decreasing p_k - k, so the least squares of the
    displacement is an isotonic regression of position_k - k, within bounds. Where no two slices
    fall on one plane, rounding it is the same as rounding the positions.
    """
    planes = nearest_planes(positions)
    if (np.diff(planes) > 0).all():
        return planes
    count = np.arange(len(positions))
    spread = nearest_planes(isotonic_regression(positions - count).x)
    return np.clip(spread, planes[0], planes[-1] - count[-1]) + count


def distinct_slices(depths_nm: np.ndarray, minimum_nm: float) -> np.ndarray:
    """Return which slices (bool) lie at least `minimum_nm` under the last such slice before.

    Depths are sums of thicknesses, so those of exactly that may be less by rounding.
    """
    minimum_nm -= _ROUNDED * abs(minimum_nm)
    distinct = np.ones(len(depths_nm), bool)
    last = -np.inf
    for k, depth in enumerate(depths_nm):
        distinct[k] = depth - last >= minimum_nm
        if distinct[k]:
            last = depth
    return distinct
