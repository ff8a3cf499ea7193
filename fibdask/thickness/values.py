"""Slice thickness as a result: what every method returns, and what users hand in."""

import json
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ..conventions import (
    MANY_THIN,
    OUTLIER_SCORE,
    THINNEST,
    ConventionError,
    FibdaskWarning,
    attributes,
    other_unit,
    plain_value,
    thickness_outliers,
    thin_share,
)
from ._kernels.planes import distinct_slices

_NM = {"units": "nm"}
_MOST = 0.5  # share of the slices that duplicates seldom are


def check_array(thickness: Any, name: str = "thickness") -> None:
    """Refuse what is no array (z) in nm, finite or NaN.

    Raises
    ------
    ConventionError
        With what was found.
    """
    if not isinstance(thickness, xr.DataArray):
        msg = f"{name} must be an xarray.DataArray (z) in nm; got {type(thickness).__name__}"
        raise ConventionError(msg)
    if thickness.dims != ("z",):
        found = ", ".join(map(str, thickness.dims)) or "none"
        msg = f"{name} must have the dimension z; found {found}"
        raise ConventionError(msg)
    units = thickness.attrs.get("units", "nm")
    if units != "nm":
        msg = f"{name} must have units 'nm'; found {units!r}"
        raise ConventionError(msg)
    check_no_infinity(np.asarray(thickness, np.float64), name)


def check_no_infinity(thickness: np.ndarray, name: str = "thickness") -> None:
    """Refuse infinite thicknesses; NaN stands for what is not known."""
    if np.isinf(thickness).any():
        k = int(np.argmax(np.isinf(thickness)))
        msg = f"{name} must be finite, or NaN where unknown; slice {k} has {thickness[k]} nm"
        raise ConventionError(msg)


def thickness_array(
    measurement: xr.DataArray,
    steps: np.ndarray,
    errors: np.ndarray,
    lost: np.ndarray,
    method: str,
    parameters: Mapping[str, Any],
    **more: tuple[np.ndarray, Mapping[str, str]],
) -> xr.DataArray:
    """Return thickness with its coordinates, of steps from each slice to the next not lost.

    Parameters
    ----------
    measurement
        What was measured of the slices (z, …): its z is taken.
    steps, errors
        In nm (z); those of lost slices and of the last one that is not lost are not used.
    lost
        Where a slice could not be used (z).
    method, parameters
        How it was estimated.
    more
        Further coordinates (z) with their attributes.
    """
    z = measurement["z"].values
    mean = mean_thickness(steps, lost)
    steps = np.where(lost, np.nan, steps)
    steps[np.flatnonzero(~lost)[-1] :] = np.nan
    followed = np.append(~lost[1:], False)  # the step ends at the very next slice
    thickness = np.where(followed, steps, np.nan)
    error = np.where(np.isfinite(thickness), errors, np.nan)
    outlier = thickness_outliers(thickness)
    if not lost[-1]:
        thickness[-1] = mean
    names: dict[str, tuple[np.ndarray, str, dict[str, str]]] = {
        "standard_error": (error, "standard error of the slice thickness", _NM),
        "step": (steps, "distance to the next slice that is not lost", _NM),
        "lost": (lost, "slice could not be used", {}),
        "outlier": (outlier, f"z-score beyond {OUTLIER_SCORE}", {}),
        "next_z": (np.append(z[1:], np.nan), "z of the next slice, which thickness reaches", _NM),
    }
    coords: dict[str, Any] = {"z": measurement["z"].variable}
    for name, (values, long_name, units) in names.items():
        coords[name] = ("z", values, {"long_name": long_name} | units)
    for name, (values, further) in more.items():
        coords[name] = ("z", values, dict(further))
    attrs = attributes("slice_thickness") | {
        "method": method,
        "parameters": json.dumps(dict(parameters), default=plain_value),
    }
    return xr.DataArray(thickness, coords, ("z",), "slice_thickness", attrs)


def mean_thickness(steps: np.ndarray, lost: np.ndarray) -> float:
    """Return the mean thickness of slices, of steps from each to the next that is not lost."""
    kept = np.flatnonzero(~lost)
    known = np.isfinite(steps[kept[:-1]])
    if not known.any():
        msg = "slice thickness needs at least one pair of slices that can be compared; found none"
        raise ConventionError(msg)
    return float(steps[kept[:-1]][known].sum() / np.diff(kept)[known].sum())


def check_unit(thickness: np.ndarray, nominal: float, *, thin: bool = False) -> None:
    """Refuse thicknesses in nm that are so far from the nominal one that the unit must be wrong.

    `thin` admits slices of almost nothing among others. Those of 0 or less are not looked at.

    Raises
    ------
    ConventionError
        If their median, or that of a slice against the others, is off by a factor of 300 or more.
    """
    known = np.isfinite(thickness) & (thickness > 0)
    if not known.any():
        return
    median = float(np.median(thickness[known]))
    if other_unit(median, nominal):
        k = int(np.argmax(known))
        msg = (
            f"thickness must be in nm; its median is {median:g} nm (slice {k} has "
            f"{thickness[k]:g} nm), but the slices of the stack are {nominal:g} nm thick: "
            f"the unit seems wrong by a factor of about {_power_of_ten(median / nominal)}"
        )
        raise ConventionError(msg)
    wrong = known & other_unit(thickness, median)
    if thin:
        wrong &= thickness > median
    if wrong.any():
        k = int(np.argmax(wrong))
        msg = (
            f"thickness must be in one unit, nm; slice {k} has {thickness[k]:g} nm, "
            f"the median is {median:g} nm"
        )
        if thickness[k] < median:
            msg += "; where it is a duplicate of the next, drop_thinner takes it out"
        raise ConventionError(msg)


def _power_of_ten(ratio: float) -> str:
    return f"{10.0 ** round(float(np.log10(ratio))):g}"


def implausible_warning(thickness: np.ndarray) -> FibdaskWarning | None:
    """Return a warning where more than a tenth of the slices is at most 1 nm thick."""
    share = thin_share(thickness)
    if share <= MANY_THIN:
        return None
    first = int(np.argmax(thickness <= THINNEST))
    return FibdaskWarning(
        f"{share:.0%} of the slices are at most {THINNEST:g} nm thick, slice {first} the "
        "first; no milling is that fine: the source of the thicknesses is hardly to be trusted"
    )


def distinct(depth: np.ndarray, minimum: float) -> np.ndarray:
    """Return which slices (bool) are no duplicates of those before, by their depths (z) in nm.

    Warns
    -----
    FibdaskWarning
        If most of them are less than `minimum` nm below the last one that is kept.
    """
    chosen = distinct_slices(depth, minimum)
    if (dropped := np.count_nonzero(~chosen)) > _MOST * len(chosen):
        text = (
            f"{dropped} of {len(chosen)} slices are left out as duplicates, since they are less "
            f"than {minimum:g} nm below the one before: is that number in nm?"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=4)
    return chosen
