"""Chord lengths along the axes of a phase."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import xarray as xr

from ...conventions import AXES
from ..chosen import Chosen
from ..masks import Mask
from ._functions import LineCounts
from .counting import Counting, count_lines


def chord_length_distribution(
    phase: xr.DataArray,
    *,
    axes: Sequence[str] = AXES,
    of: Chosen = "solid",
    mask: Mask = None,
) -> xr.Dataset:
    """Return the chord lengths of the solid: its runs along lines of voxels.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm.
    axes
        Any of z, y, x. Along z, slices must be evenly spaced.
    of
        "solid" or "pore".
    mask
        As for `two_point_correlation`.

    Returns
    -------
    xr.Dataset
        Lazy, over (axis, length) with the length in voxels and `distance` (axis, length) in nm:
        `chords`, the numbers of chords that begin and end inside; `cut_chords`, the numbers of
        those that touch the edge of the volume or mask, of which only a part is seen; and for
        `chords`, `number_weighted` and `length_weighted`, the shares of all chords and of their
        voxels. Shares are NaN where there is no chord.

    Raises
    ------
    ConventionError
        If z is among the axes and irregular (reposition the slices first), another argument is out
        of range, or the mask does not fit the phase.

    Notes
    -----
    With n(l) chords of l voxels, the shares are n(l) / Σ n and l n(l) / Σ l n. The lineal path
    holds the cut chords too: Σ_{l>k} (l - k) (n + n_cut)(l) is the number of its solid segments.
    """
    counting = count_lines(phase, max_lag=0, axes=axes, of=of, mask=mask)
    return xr.Dataset(
        {
            "chords": _array(counting, chord_counts, "chords", np.int64),
            "cut_chords": _array(counting, cut_counts, "chords cut by an edge", np.int64),
            "number_weighted": _array(counting, number_shares, "share of the chords"),
            "length_weighted": _array(counting, length_shares, "share of the length of chords"),
        }
    )


def _array(
    counting: Counting,
    values: Callable[[LineCounts, np.ndarray], np.ndarray],
    long_name: str,
    dtype: type = np.float64,
) -> xr.DataArray:
    length = np.arange(1, max(counting.lines.shape[axis] for axis in counting.lines.axes) + 1)
    distance = np.multiply.outer(counting.spacing, length)
    data = counting.reduced(partial(values, counting.lines), distance.shape, dtype)
    return xr.DataArray(
        data,
        dims=("axis", "length"),
        coords={
            "axis": counting.axes,
            "length": ("length", length, {"long_name": "length of a chord in voxels"}),
            "distance": (
                ("axis", "length"),
                distance,
                {"long_name": "length of a chord", "units": "nm"},
            ),
        },
        attrs={"long_name": long_name, "units": "1"},
    )


def chord_counts(lines: LineCounts, counts: np.ndarray) -> np.ndarray:
    """Return the numbers of chords inside (axis, length) of summed counts."""
    segments = lines.segments(counts)
    return np.stack([segments.runs(axis)[0][1:] for axis in lines.axes])


def cut_counts(lines: LineCounts, counts: np.ndarray) -> np.ndarray:
    """Return the numbers of cut chords (axis, length) of summed counts."""
    segments = lines.segments(counts)
    return np.stack([segments.runs(axis)[1][1:] for axis in lines.axes])


def number_shares(lines: LineCounts, counts: np.ndarray) -> np.ndarray:
    """Return the shares of the chords (axis, length) of summed counts."""
    return _normalised(chord_counts(lines, counts))


def length_shares(lines: LineCounts, counts: np.ndarray) -> np.ndarray:
    """Return the shares of the chords' voxels (axis, length) of summed counts."""
    chords = chord_counts(lines, counts)
    return _normalised(chords * np.arange(1, chords.shape[1] + 1))


def _normalised(numbers: np.ndarray) -> np.ndarray:
    total = numbers.sum(axis=1, keepdims=True)
    result = np.full(numbers.shape, np.nan)
    np.divide(numbers, total, out=result, where=total > 0)
    return result
