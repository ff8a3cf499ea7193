"""Two-point correlation, lineal path and ligament diameter along the axes of a phase.

Counts along lines are integers, added over all columns and divided once, so results are the same
bits under any chunking. What is computed together, with the same `max_lag`, `axes`, `of` and
`mask`, is counted together. Every axis reads the volume in full-length columns: save a phase
before measuring it, for a lazy one is computed anew for each axis.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Literal, get_args

import numpy as np
import xarray as xr

from ...blocks import revised
from ...conventions import AXES, check_choice
from ..bootstrap import resampled_shares
from ..cautions import UNDECAYED, warn_of_undecayed
from ..chosen import Chosen
from ..masks import Mask
from ._functions import Segments
from .counting import (
    Counting,
    PairPhase,
    Quantity,
    Statistic,
    count_lines,
    error_bars,
)
from .distances import interpolated_curves, lag_beyond


def two_point_correlation(
    phase: xr.DataArray,
    *,
    max_lag: int,
    axes: Sequence[str] = AXES,
    of: PairPhase = "solid",
    mask: Mask = None,
    confidence: float | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """Return the probability that both ends of a segment along an axis lie in the solid.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm.
    max_lag
        Longest segment, in voxels between its ends.
    axes
        Any of z, y, x. Along z, slices must be evenly spaced.
    of
        Phase of both ends: "solid" or "pore"; "cross" for one end in each (see Notes).
    mask
        Voxels that count: an array (any of z, y, x) of bool, or of uint8 zeros and ones; or a box
        {axis: (start, stop)} in voxels. With or without a mask, planes without data do not count:
        those that `measured` (z) marks as such, unless they were inpainted. Leave out pixels that
        alignment filled.
    confidence
        Level of a confidence interval, such as 0.95; None for no interval. The interval comes from
        the same counts, by a bootstrap over subvolumes: up to four sections along each axis.
    seed
        Seed of the bootstrap.

    Returns
    -------
    xr.DataArray
        S2 (axis, lag), lazy, with the lag in voxels and `distance` (axis, lag) in nm. NaN where
        there is no pair to count. With a confidence also the coordinates `lower` and `upper` (axis,
        lag).

    Raises
    ------
    ConventionError
        If z is among the axes and irregular (reposition the slices first), another argument is out
        of range, or the mask does not fit the phase.

    Notes
    -----
    With I = 1 in the phase and M = 1 where voxels count (without a mask everywhere inside the
    volume; nowhere outside it),

        S2(k) = Σ_i I_i M_i I_{i+k} M_{i+k} / Σ_i M_i M_{i+k}.

    Voxels between the ends do not matter, and boundaries are not periodic. S2(0) is the solid
    fraction; S2 at a longer lag may exceed it, for it leaves out voxels (S2(2) of the row 1, 0, 1
    is 1). "cross" is the mean over both orders of the ends,

        S2(k) = Σ_i (I_i (1 - I_{i+k}) + (1 - I_i) I_{i+k}) M_i M_{i+k} / (2 Σ_i M_i M_{i+k}),

    so that the solid, the pore and twice the cross correlation add up to 1.

    The interval is S2 ± the `confidence` quantile of ``|S2* - S2|``, where S2* is counted over
    subvolumes drawn with replacement; pairs belong to the subvolume of their first end. It measures
    the scatter from part to part of the volume, and is too narrow if features are as large as the
    subvolumes.
    """
    counting = count_lines(
        phase, max_lag=max_lag, axes=axes, of=of, mask=mask, choices=get_args(PairPhase)
    )
    return counting.measured(two_point_quantity(counting), error_bars(confidence, seed))


def lineal_path(
    phase: xr.DataArray,
    *,
    max_lag: int,
    axes: Sequence[str] = AXES,
    of: Chosen = "solid",
    mask: Mask = None,
    confidence: float | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """Return the probability that a whole segment along an axis lies in the solid.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm.
    max_lag
        Longest segment, in voxels between its ends.
    axes
        Any of z, y, x. Along z, slices must be evenly spaced.
    of
        "solid" or "pore".
    mask, confidence, seed
        As for `two_point_correlation`.

    Returns
    -------
    xr.DataArray
        L (axis, lag), lazy, with the lag in voxels and `distance` (axis, lag) in nm. NaN where
        no segment fits into the volume or mask. With a confidence also the coordinates `lower`
        and `upper` (axis, lag).

    Raises
    ------
    ConventionError
        If z is among the axes and irregular (reposition the slices first), another argument is out
        of range, or the mask does not fit the phase.

    Notes
    -----
    L(k) is the share of segments of k + 1 counting voxels that lie in the phase throughout. A run
    of l voxels of the phase holds max(l - k, 0) such segments, a run of m voxels that count (a
    whole line without a mask) max(m - k, 0): L(k) = Σ_runs max(l - k, 0) / Σ_m max(m - k, 0).
    """
    counting = count_lines(phase, max_lag=max_lag, axes=axes, of=of, mask=mask)
    return counting.measured(lineal_path_quantity(counting), error_bars(confidence, seed))


def ligament_diameter(
    phase: xr.DataArray,
    *,
    axes: Sequence[str] = AXES,
    per: Literal["axis", "plane"] = "axis",
    of: Chosen = "solid",
    mask: Mask = None,
    confidence: float | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """Return the mean ligament diameter along each axis: the area under L / L(0).

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm.
    axes
        Any of z, y, x. Along z, slices must be evenly spaced.
    per
        "axis", or "plane" for the means of two axes at a time.
    of
        "solid" or "pore".
    mask, confidence, seed
        As for `two_point_correlation`.

    Returns
    -------
    xr.DataArray
        D (axis), or (plane) named xy, xz, yz, in nm, lazy. NaN without any solid, and along an axis
        without neighbouring voxels that count, such as that of one plane. With a confidence also
        the coordinates `lower` and `upper`. Where L has not decayed at the end of the axis, `upper`
        includes what may lie beyond; it is infinite if L does not fall.

    Raises
    ------
    ConventionError
        If z is among the axes and irregular (reposition the slices first), another argument is out
        of range, or the mask does not fit the phase.

    Warns
    -----
    FibdaskWarning
        When computed, if more than 5 % of L is left at the end of an axis: D is too small there, as
        from few slices.

    Notes
    -----
    D = h (½ + Σ_{k≥1} L(k) / L(0)) with the voxel size h and the lineal path L, summed over the
    whole length of the axis. D_ij = (D_i + D_j) / 2 in the plane of the axes i and j. The sum is by
    trapezoids: coarse voxels make D larger, by about h² / (12 l) for chords of length l. Beyond its
    last lag m, L may lack L(m) q / (1 - q) with q = (L(m) / L(0))^(1/m).
    """
    counting = count_lines(phase, max_lag=0, axes=axes, of=of, mask=mask)
    check_choice("per", per, ("axis", "plane"))
    quantity = diameter_quantity(counting) if per == "axis" else plane_quantity(counting)
    found = counting.measured(quantity, error_bars(confidence, seed))
    telling = partial(telling_values, quantity.statistic, tuple(counting.axes))
    return found.copy(data=counting.estimate(replace(quantity, statistic=telling)).data)


def telling_values(
    statistic: Statistic, axes: Sequence[str], segments: Segments, weights: np.ndarray
) -> np.ndarray:
    """Return diameters, and warn where they are too small."""
    warn_of_undecayed(axes, remainder_values(segments, weights)[0])
    return statistic(segments, weights)


def two_point_quantity(counting: Counting) -> Quantity:
    """Return S2 as a quantity."""
    template = _curves(counting, "two_point_correlation", "two-point correlation")
    return Quantity(two_point_values, template, most=1)


def lineal_path_quantity(counting: Counting) -> Quantity:
    """Return L as a quantity."""
    template = _curves(counting, "lineal_path", "lineal path function")
    return Quantity(lineal_path_values, template, most=1)


def diameter_quantity(counting: Counting) -> Quantity:
    """Return D along axes as a quantity."""
    template = _diameters({"axis": counting.axes})
    beyond = partial(beyond_diameter, counting.spacing)
    return Quantity(partial(diameter_values, counting.spacing), template, beyond=beyond)


def remainder_quantity(counting: Counting) -> Quantity:
    """Return what is left of L at the end of each axis as a quantity."""
    template = xr.DataArray(
        np.empty(len(counting.axes)),
        dims="axis",
        coords={"axis": counting.axes},
        name="lineal_path_remainder",
        attrs={"long_name": "share of the lineal path left at the end of the axis", "units": "1"},
    )
    return Quantity(remainder_values, template, most=1)


def plane_quantity(counting: Counting) -> Quantity:
    """Return D in planes as a quantity."""
    axes = sorted(counting.axes)
    planes = tuple(combinations([counting.axes.index(axis) for axis in axes], 2))
    template = _diameters({"plane": ["".join(pair) for pair in combinations(axes, 2)]})
    along, beyond = (
        partial(plane_values, partial(values, counting.spacing), planes)
        for values in (diameter_values, beyond_diameter)
    )
    return Quantity(along, template, beyond=beyond)


def _curves(counting: Counting, name: str, long_name: str) -> xr.DataArray:
    lag = np.arange(counting.lines.max_lag + 1)
    distance = np.multiply.outer(counting.spacing, lag)
    attrs = {"long_name": "distance of the ends", "units": "nm"}
    return xr.DataArray(
        np.empty(distance.shape),
        dims=("axis", "lag"),
        coords={
            "axis": counting.axes,
            "lag": ("lag", lag, {"long_name": "distance of the ends in voxels"}),
            "distance": (("axis", "lag"), distance, attrs),
        },
        name=name,
        attrs={"long_name": long_name, "units": "1"},
    )


def _diameters(coords: dict[str, list[str]]) -> xr.DataArray:
    ((dim, names),) = coords.items()
    return xr.DataArray(
        np.empty(len(names)),
        dims=dim,
        coords=coords,
        name="ligament_diameter",
        attrs={"long_name": "mean ligament diameter", "units": "nm"},
    )


def two_point_values(segments: Segments, weights: np.ndarray) -> np.ndarray:
    """Return S2 (replicate, axis, lag)."""
    curves = [resampled_shares(*segments.pairs(axis), weights) for axis in segments.lines.axes]
    return np.stack(curves, axis=1)


def lineal_path_values(segments: Segments, weights: np.ndarray) -> np.ndarray:
    """Return L (replicate, axis, lag)."""
    lines = segments.lines
    paths = [resampled_shares(*segments.paths(axis, lines.max_lag), weights) for axis in lines.axes]
    return np.stack(paths, axis=1)


@revised(2)
def diameter_values(
    spacing: Sequence[float], segments: Segments, weights: np.ndarray
) -> np.ndarray:
    """Return D (replicate, axis) in nm."""
    diameters = []
    for axis, step in zip(segments.lines.axes, spacing, strict=True):
        path = _relative_path(segments, axis, weights)
        # NaN beyond the longest segment of a mask adds nothing.
        area = 0.5 + np.nansum(path[:, 1:], axis=1)
        diameters.append(step * np.where(_longest(path) > 0, area, np.nan))
    return np.stack(diameters, axis=1)


def diameter_parts(
    spacing: Sequence[float], reach: float, segments: Segments, weights: np.ndarray
) -> np.ndarray:
    """Return what D (replicate, axis) in nm has up to a distance in nm: the area to there.

    Where that lies between two lags, the last trapezoid ends there.
    """
    parts = []
    for axis, step in zip(segments.lines.axes, spacing, strict=True):
        last = lag_beyond(reach, step)
        path = _relative_path(segments, axis, weights, last)
        distance = np.minimum(step * np.arange(last + 1), reach)
        (curve,) = interpolated_curves(path[:, np.newaxis], [step], distance)
        # NaN beyond the longest segment of a mask adds nothing.
        area = np.nansum((curve[:, :-1] + curve[:, 1:]) / 2 * np.diff(distance), axis=1)
        parts.append(np.where(_longest(path) > 0, area, np.nan))
    return np.stack(parts, axis=1)


def beyond_diameter(
    spacing: Sequence[float], segments: Segments, weights: np.ndarray
) -> np.ndarray:
    """Return what D (replicate, axis) may lack in nm, where L has not decayed.

    L is continued as it has fallen in the mean from its first lag to its last.
    """
    lacking = []
    for axis, step in zip(segments.lines.axes, spacing, strict=True):
        path = _relative_path(segments, axis, weights)
        last = _longest(path)
        left = np.take_along_axis(path, last[:, np.newaxis], axis=1)[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = left ** (1 / last)
            rest = left * factor / (1 - factor)
        lacking.append(step * np.where(left > UNDECAYED, rest, 0.0))
    return np.stack(lacking, axis=1)


def remainder_values(segments: Segments, weights: np.ndarray) -> np.ndarray:
    """Return L / L(0) (replicate, axis) at the last lag that there is; NaN if that is 0."""
    remainders = []
    for axis in segments.lines.axes:
        path = _relative_path(segments, axis, weights)
        last = _longest(path)
        left = np.take_along_axis(path, last[:, np.newaxis], axis=1)[:, 0]
        remainders.append(np.where(last > 0, left, np.nan))
    return np.stack(remainders, axis=1)


def _relative_path(
    segments: Segments, axis: int, weights: np.ndarray, most: float = np.inf
) -> np.ndarray:
    """Return L / L(0) (replicate, lag) up to a lag, or over the whole length; NaN without solid."""
    last = int(min(most, segments.lines.shape[axis] - 1))
    path = resampled_shares(*segments.paths(axis, last), weights)
    return np.asarray(path / np.where(path[:, :1] > 0, path[:, :1], np.nan))


def _longest(path: np.ndarray) -> np.ndarray:
    """Return the last lag (replicate) at which curves (replicate, lag) are known, or 0."""
    return np.asarray((np.isfinite(path) * np.arange(path.shape[1])).max(axis=1))


def plane_values(
    values: Statistic,
    planes: Sequence[tuple[int, int]],
    segments: Segments,
    weights: np.ndarray,
) -> np.ndarray:
    """Return means (replicate, plane) of values along pairs of axes, given by their places."""
    along = values(segments, weights)
    means = [(along[:, i] + along[:, j]) / 2 for i, j in planes]
    return np.stack(means, axis=1) if means else np.empty((len(along), 0))
