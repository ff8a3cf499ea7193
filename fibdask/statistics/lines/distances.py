"""Curves along axes of different voxel sizes, compared at equal distances in nm."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

_ROUNDING = 1e-6  # of a voxel: spacings that differ by rounding only share all lags


def common_distances(spacing: Sequence[float], last_lags: Sequence[int]) -> np.ndarray:
    """Return multiples of the coarsest voxel size, up to the largest distance of all axes.

    Empty where an axis of one voxel has no spacing.
    """
    coarsest = max(spacing)
    reach = np.array(spacing) * last_lags
    if not np.isfinite([*reach, coarsest]).all():
        return np.empty(0)
    return coarsest * np.arange(max(int(reach.min() / coarsest + _ROUNDING), 0) + 1)


def compared_distance(statistics: xr.Dataset) -> float:
    """Return the largest distance in nm at which isotropy errors compare; NaN if there is none.

    Parameters
    ----------
    statistics
        Of a phase, with its `lineal_path`, computed.
    """
    path = statistics["lineal_path"].transpose("axis", "lag")
    if path.sizes["lag"] < 2:
        return np.nan
    spacing = path["distance"].transpose("axis", "lag").values[:, 1]  # of the first lag but 0
    last = np.isfinite(path.values).sum(axis=1) - 1
    compared = common_distances(spacing.tolist(), last.tolist())
    return float(compared[-1]) if len(compared) > 1 else np.nan


def lag_beyond(reach: float, step: float) -> int:
    """Return the first lag of steps in nm at a distance in nm or beyond."""
    return int(np.ceil(reach / step - _ROUNDING))


def interpolated_curves(
    curves: np.ndarray, spacing: Sequence[float], distance: np.ndarray
) -> list[np.ndarray]:
    """Interpolate curves (replicate, axis, lag) linearly: (replicate, distance) of each axis."""
    along = []
    for number, step in enumerate(spacing):
        position = distance / step
        # The lag after it is within reach, though the one after a whole lag may not be.
        before = np.maximum(np.ceil(position - _ROUNDING).astype(int) - 1, 0)
        after = np.minimum(before + 1, curves.shape[-1] - 1)
        share = np.clip(position - before, 0, 1)
        share = np.where(np.abs(share - np.round(share)) <= _ROUNDING, np.round(share), share)
        curve = curves[:, number]
        along.append(_share_of(curve[:, before], 1 - share) + _share_of(curve[:, after], share))
    return along


def _share_of(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return shares of values, of which nothing is none, also where a value is not known."""
    part: np.ndarray = np.where(share > 0, values * share, 0.0)
    return part
