"""Uneven slices of a structure that is known everywhere."""

import warnings

import numpy as np
import xarray as xr

from ... import blocks
from ...conventions import (
    AXES,
    ConventionError,
    FibdaskWarning,
    attributes,
    axis_spacing,
    check_not_negative,
    check_positive,
    check_seed,
    finish_stack,
    record_step,
    require_phase,
)
from ...pieces.planes import pick_planes
from .building import check_known, split_history

_LARGEST = 1e6  # nm, of what nobody mills
_OFF = 0.05  # relative, of a mean that rounding moves
_OFF_STD = 0.1  # and of a standard deviation
_CHANCE = 4.0  # standard errors
_TOLERANCE = 1e-6  # of a plane, which is rounding of coordinates


def mimic_milling(
    phase: xr.DataArray, *, mean_thickness: float, std_thickness: float, seed: int
) -> xr.Dataset:
    """Take slices of uneven thickness from a ground truth, as milling does.

    Lazy. The first slice is the first plane. Each next slice is deeper by a gamma-distributed
    thickness, rounded to whole planes, at least one.

    Parameters
    ----------
    phase
        Ground truth (z, y, x), uint8, evenly spaced along z in nm.
    mean_thickness
        Mean slice thickness in nm, at least the spacing of the planes.
    std_thickness
        Standard deviation of the slice thickness in nm. The value before rounding is reduced by the
        variance h²/12 that rounding to planes h apart adds on average.
    seed
        Seed of the thicknesses.

    Returns
    -------
    xarray.Dataset
        Stack of the slices: `phase` (z, y, x) at the uneven z in nm, with `slice_thickness`. The
        last slice takes the mean thickness.

    Raises
    ------
    ConventionError
        If the truth is no phase on even z, holds planes without data, or an argument is out of
        range.

    Warns
    -----
    FibdaskWarning
        If planes are too coarse for such slices, so that rounding changes their mean or spread, or
        makes them all alike.
    """
    phase = require_phase(phase)
    check_known(phase)
    spacing = axis_spacing(phase, "z")
    if not np.isfinite(spacing):
        msg = "a truth of one plane needs the attribute spacing of z in nm; none found"
        raise ConventionError(msg)
    if check_positive("mean_thickness", mean_thickness, "nm") < (1 - _TOLERANCE) * spacing:
        msg = f"mean_thickness must be at least one plane of {spacing:g} nm; got {mean_thickness}"
        raise ConventionError(msg)
    check_not_negative("std_thickness", std_thickness, "nm")
    for name, value in (("mean_thickness", mean_thickness), ("std_thickness", std_thickness)):
        if value > _LARGEST:
            msg = f"{name} must be at most {_LARGEST:g} nm; got {value:g}"
            raise ConventionError(msg)
    steps = _draw_steps(phase.sizes["z"], mean_thickness / spacing, std_thickness / spacing, seed)
    planes = np.append(0, np.cumsum(steps))
    planes = planes[planes < phase.sizes["z"]]
    if len(planes) > 1:  # a single slice has no distance that could be rounded
        _warn_of_even(std_thickness, spacing)
        _warn_of_another_mean(steps * spacing, mean_thickness, std_thickness, spacing)
        _warn_of_another_std(steps * spacing, std_thickness, spacing)
    truth, history = split_history(phase)
    coords = {axis: phase[axis].variable for axis in ("y", "x")}
    coords["z"] = xr.Variable("z", phase["z"].values[planes], attributes("z"))
    data = pick_planes(phase.data, planes)
    stack = xr.Dataset({"phase": (AXES, data, truth.attrs)}, coords, history)
    stack = finish_stack(stack, nominal_thickness=float(mean_thickness))
    parameters = {"mean_thickness": mean_thickness, "std_thickness": std_thickness, "seed": seed}
    token = blocks.fingerprint(blocks.array_token(phase.data))
    return record_step(stack, "mimic_milling", parameters, token)


def _draw_steps(count: int, mean: float, std: float, seed: int) -> np.ndarray:
    """Draw gamma-distributed steps, rounded to integers of at least 1."""
    rng = np.random.default_rng(check_seed(seed))
    variance = std**2 - 1 / 12  # rounding puts it back
    if variance <= 0:
        thickness = np.full(count, mean)
    else:
        thickness = rng.gamma(mean**2 / variance, variance / mean, count)
    return np.maximum(np.floor(thickness + 0.5).astype(np.int64), 1)


def _warn_of_even(std: float, spacing: float) -> None:
    """Warn of thicknesses that differ less than planes can tell, so that they do not at all."""
    least = _least_std(spacing)
    if _TOLERANCE * spacing < std <= least:
        text = (
            f"std_thickness of {std:g} nm is not kept: thicknesses are rounded to planes of "
            f"{spacing:g} nm, which alone adds {least:.3g} nm to what varies more; here all slices "
            "are alike; finer planes keep it"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=3)


def _warn_of_another_mean(thickness: np.ndarray, wanted: float, std: float, spacing: float) -> None:
    """Warn where rounding to planes has made slices of another thickness, by more than chance."""
    # A few that happen to be alike would tell of no chance at all.
    mean, error = thickness.mean(), max(thickness.std(), std) / np.sqrt(len(thickness))
    if abs(mean - wanted) > _OFF * wanted + _CHANCE * error:
        text = (
            f"slices are {mean:.4g} nm thick on average, not {wanted:g} nm: each is rounded to "
            f"planes of {spacing:g} nm, of which it takes at least one; finer planes, or a mean of "
            "whole planes, keep it"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=3)


def _warn_of_another_std(thickness: np.ndarray, wanted: float, spacing: float) -> None:
    """Warn where rounding to planes has made slices that differ otherwise, by more than chance."""
    if wanted <= _least_std(spacing):
        return  # all are alike, which is told
    std = float(thickness.std())
    squares = (thickness - thickness.mean()) ** 2
    errors = wanted / np.sqrt(2), squares.std() / (2 * std) if std else 0.0
    if abs(std - wanted) > _OFF_STD * wanted + _CHANCE * max(errors) / np.sqrt(len(thickness)):
        text = (
            f"thicknesses have a standard deviation of {std:.4g} nm, not {wanted:g} nm: each is "
            f"rounded to planes of {spacing:g} nm, of which it takes at least one; finer planes "
            "keep it"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=3)


def _least_std(spacing: float) -> float:
    """Return the standard deviation of what rounding to planes adds to thicknesses."""
    return spacing / float(np.sqrt(12))
