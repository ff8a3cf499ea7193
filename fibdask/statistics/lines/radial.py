"""The two-point correlation of a distance alone: the mean over the axes."""

from collections.abc import Sequence
from functools import partial
from typing import get_args

import numpy as np
import xarray as xr

from ...blocks import revised
from ...conventions import AXES
from ..masks import Mask
from ._functions import Segments
from .correlation import two_point_values
from .counting import PairPhase, Quantity, count_lines, error_bars
from .distances import common_distances, interpolated_curves


def radial_two_point_correlation(
    phase: xr.DataArray,
    *,
    max_lag: int,
    axes: Sequence[str] = AXES,
    of: PairPhase = "solid",
    mask: Mask = None,
    confidence: float | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """Return the two-point correlation by distance, as the mean of those along the axes.

    For an isotropic structure this estimates the value in any direction; directions between the
    axes are not measured.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm.
    max_lag
        Longest segment along each axis, in voxels.
    axes
        Any of z, y, x. Along z, slices must be evenly spaced.
    of, mask, confidence, seed
        As for `two_point_correlation`.

    Returns
    -------
    xr.DataArray
        S2 (distance), lazy, at multiples of the coarsest voxel size in nm that all axes reach; NaN
        where a mask leaves no pair. With a confidence also the coordinates `lower` and `upper`.

    Raises
    ------
    ConventionError
        As `two_point_correlation`.

    Notes
    -----
    S2(r) = Σ_a S2(r, a) / (number of axes a); along finer axes S2 is interpolated linearly.
    """
    counting = count_lines(
        phase, max_lag=max_lag, axes=axes, of=of, mask=mask, choices=get_args(PairPhase)
    )
    lines = counting.lines
    last_lags = [min(lines.max_lag, lines.shape[axis] - 1) for axis in lines.axes]
    distance = common_distances(counting.spacing, last_lags)
    attrs = {"long_name": "distance of the ends", "units": "nm"}
    template = xr.DataArray(
        np.empty(len(distance)),
        dims="distance",
        coords={"distance": ("distance", distance, attrs)},
        name="radial_two_point_correlation",
        attrs={"long_name": "two-point correlation, mean over axes", "units": "1"},
    )
    statistic = partial(radial_values, counting.spacing, tuple(distance))
    return counting.measured(Quantity(statistic, template, most=1), error_bars(confidence, seed))


@revised(2)
def radial_values(
    spacing: Sequence[float], distance: Sequence[float], segments: Segments, weights: np.ndarray
) -> np.ndarray:
    """Return S2 (replicate, distance), the mean over axes."""
    curves = two_point_values(segments, weights)
    along = interpolated_curves(curves, spacing, np.array(distance))
    return np.asarray(np.mean(along, axis=0))
