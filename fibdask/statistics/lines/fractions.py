"""Fraction of a phase, of the whole and of each slice."""

import numpy as np
import xarray as xr

from ..bootstrap import resampled_shares
from ..masks import Mask
from ._functions import Segments
from .counting import Counting, Quantity, count_lines, error_bars

_AXES = ("x",)  # any would do; slices stay together in one read along x


def solid_fraction(
    phase: xr.DataArray,
    *,
    mask: Mask = None,
    confidence: float | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """Return the share of solid voxels.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm. All voxels count alike, also for
        unevenly spaced slices.
    mask, confidence, seed
        As for `two_point_correlation`.

    Returns
    -------
    xr.DataArray
        The solid fraction (), lazy; with a confidence also the coordinates `lower` and `upper`.
        NaN if no voxel counts.
    """
    counting = count_lines(phase, max_lag=0, axes=_AXES, mask=mask)
    return counting.measured(fraction_quantity(), error_bars(confidence, seed))


def solid_fraction_profile(phase: xr.DataArray, *, mask: Mask = None) -> xr.DataArray:
    """Return the share of solid voxels in each slice.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm.
    mask
        As for `two_point_correlation`.

    Returns
    -------
    xr.DataArray
        The solid fraction (z), lazy, at the depths in nm of the slices, or of those that a mask of
        coordinates spans; NaN in slices of which no voxel counts.
    """
    counting = count_lines(phase, max_lag=0, axes=_AXES, mask=mask)
    return counting.estimate(profile_quantity(counting))


def fraction_quantity() -> Quantity:
    """Return the solid fraction as a quantity."""
    attrs = {"long_name": "solid fraction", "units": "1"}
    return Quantity(fraction_values, xr.DataArray(0.0, name="solid_fraction", attrs=attrs), most=1)


def profile_quantity(counting: Counting) -> Quantity:
    """Return the solid fractions of slices as a quantity."""
    phase = counting.volume.phase
    template = xr.DataArray(
        np.empty(phase.sizes["z"]),
        dims="z",
        coords={name: c for name, c in phase.coords.items() if c.dims == ("z",)},
        name="solid_fraction_profile",
        attrs={"long_name": "solid fraction of the slice", "units": "1"},
    )
    return Quantity(profile_values, template, most=1)


def fraction_values(segments: Segments, weights: np.ndarray) -> np.ndarray:
    """Return the solid fraction (replicate)."""
    some, every = segments.pairs(segments.lines.axes[0])
    return resampled_shares(some[:, :1], every[:, :1], weights)[:, 0]


def profile_values(segments: Segments, _weights: np.ndarray) -> np.ndarray:
    """Return the solid fractions of slices (1, z); they are not resampled."""
    return resampled_shares(
        segments.some.slices.sum(axis=0, keepdims=True),
        segments.every.slices.sum(axis=0, keepdims=True),
        np.ones((1, 1)),
    )
