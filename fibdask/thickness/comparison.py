"""Two sources of slice thickness beside one another."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ..conventions import (
    OUTLIER_SCORE,
    THINNEST,
    ConventionError,
    thickness_outliers,
    thin_share,
)
from .values import check_array

_BINS = 40


def compare_slice_thickness(
    first: xr.DataArray, second: xr.DataArray, *, names: tuple[str, str] = ("first", "second")
) -> xr.Dataset:
    """Compare two sources of slice thickness by distribution and slice by slice.

    Parameters
    ----------
    first, second
        Thickness (z) in nm of the same slices; NaN where it is not known. The last slice, whose
        thickness is nominal, is left out.
    names
        Names of the two sources, which must differ.

    Returns
    -------
    xarray.Dataset
        By `source`: `thickness` (source, z) in nm; `outlier` (source, z), an absolute z-score above
        1.5; `counts` (source, bin) on the common `edges` (edge) in nm; and `mean`, `std`,
        `outlier_share`, `implausible_share` (at most 1 nm) and the number of `known` slices
        (source). Of slices that both know: `correlation`, and `rms_difference` and
        `mean_difference` (second less first) in nm; NaN where fewer than two are known.

    Raises
    ------
    ConventionError
        If they are not arrays (z) in nm of the same slices, one is infinite or knows no slice, or
        the names are the same.
    """
    _check_names(names)
    for source, name in zip((first, second), names, strict=True):
        check_array(source, f"thickness of {name}")
    if first.shape != second.shape or not np.array_equal(first["z"], second["z"]):
        msg = (
            f"two sources must tell the thickness of the same slices; {names[0]} has "
            f"{first.size} slices, {names[1]} {second.size}, or they lie elsewhere"
        )
        raise ConventionError(msg)
    values = np.stack([_values(*pair) for pair in zip((first, second), names, strict=True)])
    marks = np.stack([thickness_outliers(source) for source in values])
    edges = _edges(values)
    known = np.isfinite(values)
    counts = [np.histogram(row[valid], edges)[0] for row, valid in zip(values, known, strict=True)]
    nm = {"units": "nm"}
    correlation, rms, mean = _agreement(*values[:, known.all(axis=0)])
    return xr.Dataset(
        {
            "thickness": (("source", "z"), values, {"long_name": "slice thickness", **nm}),
            "outlier": (("source", "z"), marks, {"long_name": f"z-score beyond {OUTLIER_SCORE}"}),
            "counts": (("source", "bin"), np.stack(counts), {"long_name": "number of slices"}),
            "mean": ("source", np.nanmean(values, axis=1), nm),
            "std": ("source", np.nanstd(values, axis=1), nm),
            "known": ("source", known.sum(axis=1)),
            "outlier_share": ("source", marks.sum(axis=1) / known.sum(axis=1)),
            "implausible_share": (
                "source",
                np.array([thin_share(row) for row in values]),
                {"long_name": f"share of slices of at most {THINNEST:g} nm"},
            ),
            "correlation": ((), correlation),
            "rms_difference": ((), rms, nm),
            "mean_difference": ((), mean, nm),
        },
        {
            "source": list(names),
            "z": ("z", first["z"].values[:-1], first["z"].attrs),
            "edges": ("edge", edges, {"long_name": "slice thickness", **nm}),
        },
    )


def _check_names(names: Sequence[str]) -> None:
    if isinstance(names, str) or len(names) != 2 or names[0] == names[1]:
        msg = f"names must be two that differ, one for each source; got {names!r}"
        raise ConventionError(msg)


def _values(source: xr.DataArray, name: str) -> np.ndarray:
    values = np.asarray(source.values, np.float64)[:-1]
    if not np.isfinite(values).any():
        msg = f"thickness must be known for some slices; {name} has none"
        raise ConventionError(msg)
    return values


def _edges(values: np.ndarray) -> np.ndarray:
    """Return the edges of equal bins that hold all values."""
    low, high = np.nanmin(values), np.nanmax(values)
    spare = 0.5 if high == low else 0.0
    return np.linspace(low - spare, high + spare, _BINS + 1)


def _agreement(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Return correlation, rms difference and mean difference."""
    if len(first) < 2:
        return np.nan, np.nan, np.nan
    difference = second - first
    spread = first.std() * second.std()
    covariance = np.mean((first - first.mean()) * (second - second.mean()))
    correlation = float(covariance / spread) if spread > 0 else np.nan
    return correlation, float(np.sqrt(np.mean(difference**2))), float(difference.mean())
