"""Slice thickness as a result: what every method returns, and what users hand in."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ..conventions import ConventionError, FibdaskWarning, attributes, plain_value

OUTLIER_SCORE = 1.5
IMPLAUSIBLE = 1.0  # nm: no slice is milled that thin
IMPLAUSIBLE_SHARE = 0.1
_WRONG_UNIT = 300.0  # ratio of lengths that speaks for a unit mixed up by 1000
_NM = {"units": "nm"}


def outliers(thickness: np.ndarray) -> np.ndarray:
    """Return where the z-score of thicknesses exceeds 1.5 either way; NaN is none."""
    known = thickness[np.isfinite(thickness)]
    if not len(known):
        return np.zeros(len(thickness), bool)
    return np.asarray(np.abs(thickness - known.mean()) > OUTLIER_SCORE * known.std())


def thickness_array(
    measurement: xr.DataArray,
    steps: np.ndarray,
    errors: np.ndarray,
    lost: np.ndarray,
    method: str,
    parameters: Mapping[str, Any],
    **more: tuple[np.ndarray, str],
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
        Further coordinates (z) with their long names.
    """
    mean = mean_thickness(steps, lost)
    steps = np.where(lost, np.nan, steps)
    steps[np.flatnonzero(~lost)[-1] :] = np.nan
    followed = np.append(~lost[1:], False)  # the step ends at the very next slice
    thickness = np.where(followed, steps, np.nan)
    error = np.where(np.isfinite(thickness), errors, np.nan)
    outlier = outliers(thickness)
    if not lost[-1]:
        thickness[-1] = mean
    names: dict[str, tuple[np.ndarray, str, dict[str, str]]] = {
        "standard_error": (error, "standard error of the slice thickness", _NM),
        "step": (steps, "distance to the next slice that is not lost", _NM),
        "lost": (lost, "slice could not be used", {}),
        "outlier": (outlier, f"z-score beyond {OUTLIER_SCORE}", {}),
    }
    coords: dict[str, Any] = {"z": measurement["z"].variable}
    for name, (values, long_name, units) in names.items():
        coords[name] = ("z", values, {"long_name": long_name} | units)
    for name, (values, long_name) in more.items():
        coords[name] = ("z", values, {"long_name": long_name})
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


def check_unit(thickness: np.ndarray, nominal: float) -> None:
    """Refuse thicknesses in nm that are so far from the nominal one that the unit must be wrong.

    Raises
    ------
    ConventionError
        If their median, or that of a slice against the others, is off by a factor of 300 or more.
    """
    known = np.isfinite(thickness) & (thickness > 0)
    if not known.any():
        return
    median = float(np.median(thickness[known]))
    if not 1 / _WRONG_UNIT < median / nominal < _WRONG_UNIT:
        k = int(np.argmax(known))
        msg = (
            f"thickness must be in nm; its median is {median:g} nm (slice {k} has "
            f"{thickness[k]:g} nm), but the slices of the stack are {nominal:g} nm thick: "
            f"the unit seems wrong by a factor of about {_power_of_ten(median / nominal)}"
        )
        raise ConventionError(msg)
    wrong = known & (thickness >= _WRONG_UNIT * median)
    if wrong.any():
        k = int(np.argmax(wrong))
        msg = (
            f"thickness must be in one unit, nm; slice {k} has {thickness[k]:g} nm, "
            f"the median is {median:g} nm"
        )
        raise ConventionError(msg)


def _power_of_ten(ratio: float) -> str:
    return f"{10.0 ** round(float(np.log10(ratio))):g}"


def implausible_share(thickness: np.ndarray) -> float:
    """Return the share of known thicknesses of at most 1 nm."""
    known = thickness[np.isfinite(thickness)]
    return float(np.mean(known <= IMPLAUSIBLE)) if len(known) else 0.0


def implausible_warning(thickness: np.ndarray) -> FibdaskWarning | None:
    """Return a warning where more than a tenth of the slices is at most 1 nm thick."""
    share = implausible_share(thickness)
    if share <= IMPLAUSIBLE_SHARE:
        return None
    first = int(np.argmax(thickness <= IMPLAUSIBLE))
    return FibdaskWarning(
        f"{share:.0%} of the slices are at most {IMPLAUSIBLE:g} nm thick, slice {first} the "
        "first; no milling is that fine: the source of the thicknesses is hardly to be trusted"
    )
