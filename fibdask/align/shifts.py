"""Shifts are applied: every slice is translated, to a fraction of a pixel."""

import warnings
from math import ceil, floor, prod
from typing import Any

import numpy as np
import xarray as xr

from ..conventions import (
    FILLED,
    ConventionError,
    FibdaskWarning,
    array_names,
    attributes,
    axis_spacing,
    check_choice,
    covered_region,
    finish_stack,
    is_label,
    is_truth,
    measured_slices,
    plain_value,
    provenance_records,
    record_step,
    require,
    value_range,
    volume_names,
    with_filled_share,
    without_filled_share,
)
from ..pieces.volumes import volumes_fingerprint, with_volumes
from ._functions_shifts import ShiftedSlices

OUTSIDE = ("crop", "edge", "zero")
_IN_PLANE = ("y", "x")
_DECIMALS = 6  # of a pixel: whole shifts in nm are whole pixels, whatever the division rounds to


def apply_shifts(stack: xr.Dataset, shifts: xr.Dataset, *, outside: str = "crop") -> xr.Dataset:
    """Translate every slice by its shifts.

    Lazy. With the shifts s of a slice, in nm,

        aligned(y, x) = raw(y - shift_y, x - shift_x),

    so that a feature at (y, x) of the raw slice lies at (y + shift_y, x + shift_x) afterwards.

    Parameters
    ----------
    stack
        Any stack; all its volumes are translated except the truth (`true_…`), which is already in
        place.
    shifts
        Dataset with `shift_y` and `shift_x` (voltage, z) or (z) in nm, as returned by
        `estimate_shifts`, on the z, and the voltages if any, of the stack.
    outside
        What to do where no pixel of the raw slice falls. `crop` leaves out rows and columns that
        any measured slice does not cover; `edge` fills pixels with the nearest one of the slice,
        `zero` with 0.

    Returns
    -------
    xarray.Dataset
        The stack with `shift_y` and `shift_x` in nm; shifts applied before are added. Slices that
        `flag` of the shifts marks at any voltage are no longer `measured`. Where pixels are filled,
        `filled_share` (z) is their share in the slice, the largest of any voltage; if the stack
        already had some, it is an upper bound.

    Raises
    ------
    ConventionError
        If the shifts do not fit the stack, are not finite, move a slice out of the image, or differ
        between voltages by more than half a pixel where the stack has volumes without a voltage.

    Warns
    -----
    FibdaskWarning
        If pixels are filled, cropping leaves less than half of an axis, or the stack has sections
        along z, which are not translated.

    Notes
    -----
    `intensity` and `solid_probability` are interpolated by Lanczos' windowed sine of 6 × 6 pixels,
    rounded to integers and clipped to the range of their type; closer than that to the border, the
    nearest pixel of the slice stands for those beyond. Phases and other labels take the nearest
    pixel (a half: that of larger index). Whole-pixel shifts copy every value unchanged. Shifts are
    rounded to 1e-6 pixels.

    Volumes without a voltage move with the reference voltage of the shifts, or the first.
    """
    stack = require(stack)
    check_choice("outside", outside, OUTSIDE)
    _warn_of_sections(stack)
    moves = _moves(stack, shifts)
    stack = _with_marks(stack, shifts)
    window = _covered(moves, stack)
    crop = outside == "crop"
    aligned = _cropped(moves, stack, window) if crop else _with_filled(moves, stack, window)
    names = [name for name in volume_names(stack) if not is_truth(name)]
    functions = {}
    for name in names:
        volume = stack[name]
        pixels = moves if "voltage" in volume.dims else _common(moves, name, shifts)
        pixels = _nearest(pixels) if is_label(name, volume) else pixels
        functions[name] = ShiftedSlices(
            pixels,
            volume.shape[-2:],
            tuple(part.start for part in window.values()) if crop else (0, 0),
            value_range(name, volume.dtype, floats=np.float32),
            outside == "zero",
        )
    aligned = with_volumes(stack, functions, aligned)
    aligned = finish_stack(_with_shifts(aligned, shifts))
    earlier = [*provenance_records(stack), *provenance_records(shifts)]
    aligned = aligned.assign_attrs(provenance=earlier) if earlier else aligned
    own = {"outside": outside, "largest_shift": _largest(shifts)}
    parameters = own | _shares(stack, aligned)
    fingerprint = volumes_fingerprint(stack, names, moves)
    return record_step(aligned, "apply_shifts", parameters, fingerprint)


def _warn_of_sections(stack: xr.Dataset) -> None:
    """Warn of what lies along z and one other axis: it is of no slice that could be translated."""
    flat = set(array_names(stack)) - set(volume_names(stack))
    sections = (name for name in flat if "z" in stack[name].dims)
    if left := sorted(name for name in sections if not is_truth(name)):
        text = f"{', '.join(left)}: sections along z are not translated with the slices"
        warnings.warn(text, FibdaskWarning, stacklevel=3)


def _moves(stack: xr.Dataset, shifts: xr.Dataset) -> np.ndarray:
    """Return shifts in pixels (voltage, z, 2); one voltage for a stack without any."""
    voltages = stack["voltage"].values if "voltage" in stack.dims else None
    _check_places(stack, shifts, voltages)
    moves = []
    for axis in _IN_PLANE:
        values = np.atleast_2d(shifts[f"shift_{axis}"].values.astype(np.float64))
        wrong = ~np.isfinite(values)
        if wrong.any():
            v, k = (int(i[0]) for i in np.nonzero(wrong))
            place = _place(voltages, v, k)
            msg = f"shift_{axis} must be finite; {place} has {values[v, k]} nm"
            raise ConventionError(msg)
        extent = axis_spacing(stack, axis) * stack.sizes[axis]
        # The image of one pixel has no spacing: only a shift of 0 can be told.
        beyond = np.abs(values) > 0 if np.isnan(extent) else np.abs(values) >= extent
        if beyond.any():
            v, k = (int(i[0]) for i in np.nonzero(beyond))
            msg = (
                f"shift_{axis} must be smaller than the image, {extent:g} nm; "
                f"{_place(voltages, v, k)} has {values[v, k]:g} nm"
            )
            raise ConventionError(msg)
        step = 1.0 if np.isnan(extent) else axis_spacing(stack, axis)
        moves.append(np.round(values / step, _DECIMALS))
    pixels = np.stack(moves, axis=-1)
    count = 1 if voltages is None else len(voltages)
    return np.repeat(pixels, count, axis=0) if len(pixels) == 1 else pixels


def _place(voltages: np.ndarray | None, v: int, k: int) -> str:
    return f"slice {k}" if voltages is None else f"slice {k} at {voltages[v]:g} kV"


def _check_places(stack: xr.Dataset, shifts: xr.Dataset, voltages: np.ndarray | None) -> None:
    for name in ("shift_y", "shift_x"):
        if not isinstance(shifts, xr.Dataset) or name not in shifts.variables:
            msg = f"shifts must be a Dataset with shift_y and shift_x; {name} is missing"
            raise ConventionError(msg)
        if shifts[name].dims not in (("voltage", "z"), ("z",)):
            msg = f"{name} must have dimensions (voltage, z) or (z); found {shifts[name].dims}"
            raise ConventionError(msg)
        if shifts[name].dtype.kind not in "iuf":
            msg = f"{name} must be numbers of nm; it is of the type {shifts[name].dtype}"
            raise ConventionError(msg)
        if (units := shifts[name].attrs.get("units", "nm")) != "nm":
            msg = f"{name} must be in nm; its attribute units is {units!r}"
            raise ConventionError(msg)
    if shifts["shift_y"].dims != shifts["shift_x"].dims:
        both = f"{shifts['shift_y'].dims} and {shifts['shift_x'].dims}"
        msg = f"shift_y and shift_x must have the same dimensions; found {both}"
        raise ConventionError(msg)
    known = {"z": stack["z"].values} | ({} if voltages is None else {"voltage": voltages})
    for axis, expected in known.items():
        if axis not in shifts.coords:
            continue
        found = shifts[axis].values
        if found.shape == () and np.isclose(expected, found, rtol=1e-9, atol=1e-6).any():
            continue  # those of one voltage are applied to all
        found = np.atleast_1d(found)
        if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-9, atol=1e-6):
            msg = (
                f"shifts must be on the {axis} of the stack; the stack has {len(expected)} "
                f"from {expected[0]:g}, the shifts {len(found)} from {found[0]:g}"
            )
            raise ConventionError(msg)
    if shifts.sizes["z"] != stack.sizes["z"]:
        msg = f"shifts must be for {stack.sizes['z']} slices; got {shifts.sizes['z']}"
        raise ConventionError(msg)
    if voltages is not None and shifts.sizes.get("voltage", 1) not in (1, len(voltages)):
        msg = f"shifts must be for {len(voltages)} voltages; got {shifts.sizes['voltage']}"
        raise ConventionError(msg)


def _common(moves: np.ndarray, name: str, shifts: xr.Dataset) -> np.ndarray:
    """Return the shifts (z, 2) of a volume without a voltage."""
    spread = np.ptp(moves, axis=0).max(axis=-1)
    if (spread > 0.5).any():
        k = int(np.argmax(spread))
        msg = (
            f"{name} has no voltage, so that shifts must agree between voltages within half a "
            f"pixel; at slice {k} they differ by {spread[k]:.2f} pixels; align before segmenting, "
            f"or drop {name}"
        )
        raise ConventionError(msg)
    reference: np.ndarray = moves[_reference(shifts) if len(moves) > 1 else 0]
    return reference


def _nearest(pixels: np.ndarray) -> np.ndarray:
    """Return the nearest whole shifts, of two the lower: `ShiftedSlices` covers as many pixels."""
    return np.ceil(pixels - 0.5)


def _reference(shifts: xr.Dataset) -> int:
    wanted = shifts.attrs.get("reference_voltage")
    if wanted is None or "voltage" not in shifts.coords:
        return 0
    return int(np.argmin(np.abs(shifts["voltage"].values - float(wanted))))


def _covered(moves: np.ndarray, stack: xr.Dataset) -> dict[str, slice]:
    """Return the rows and columns that every measured slice covers; none may be left."""
    moves = moves[:, _fixing(stack)]
    covered = {}
    for i, (axis, before) in enumerate(covered_region(stack).items()):
        start = max(before.start + ceil(moves[..., i].max()), 0)
        stop = min(before.stop + floor(moves[..., i].min()), stack.sizes[axis])
        covered[axis] = slice(start, max(start, stop))
    return covered


def _fixing(stack: xr.Dataset) -> np.ndarray:
    """Return the numbers of the slices that count: those that are measured, if any is."""
    measured = np.flatnonzero(measured_slices(stack))
    return measured if len(measured) else np.arange(stack.sizes["z"])


def _extremes(moves: np.ndarray, stack: xr.Dataset, axis: str) -> str:
    """Return between which shifts along an axis the measured slices lie, and which have them."""
    numbers = _fixing(stack)
    moves = moves[:, numbers, _IN_PLANE.index(axis)]
    ends = ((moves.min(), moves.min(axis=0).argmin()), (moves.max(), moves.max(axis=0).argmax()))
    low, high = (f"{move:g} at slice {numbers[k]}" for move, k in ends)
    return f"the shifts go from {low} to {high}, of {stack.sizes[axis]} pixels"


def _cropped(moves: np.ndarray, stack: xr.Dataset, window: dict[str, slice]) -> xr.Dataset:
    """Return the part of a stack that every measured slice will cover."""
    for axis, part in window.items():
        left = part.stop - part.start
        if left < 1:
            extremes = _extremes(moves, stack, axis)
            msg = f"no pixel along {axis} is covered by every measured slice; {extremes}"
            raise ConventionError(msg)
        if left < stack.sizes[axis] / 2:
            text = (
                f"cropping leaves {left} of {stack.sizes[axis]} pixels along {axis}, what every "
                f"measured slice covers; {_extremes(moves, stack, axis)}"
            )
            warnings.warn(text, FibdaskWarning, stacklevel=3)
    return without_filled_share(stack.isel(window))


def _with_filled(moves: np.ndarray, stack: xr.Dataset, window: dict[str, slice]) -> xr.Dataset:
    """Return a stack with the share of pixels that no raw pixel will fall on, if there are any."""
    sizes = [stack.sizes[axis] for axis in _IN_PLANE]
    filled = np.abs(_nearest(moves))  # rows and columns at one end
    share = (1 - (1 - filled / sizes).prod(axis=-1)).max(axis=0)
    if FILLED in stack.coords:
        share = np.minimum(share + np.nan_to_num(stack[FILLED].values), 1)
    if not share.any():
        return stack.copy(deep=False)
    mean, most = share.mean(), share.max()
    text = (
        f"{100 * mean:.2g} % of the pixels are filled, {100 * most:.2g} % of slice "
        f"{share.argmax()}, since no raw pixel falls on them; outside='crop' leaves them out"
    )
    warnings.warn(text, FibdaskWarning, stacklevel=3)
    return with_filled_share(stack, share, window)


def _shares(stack: xr.Dataset, aligned: xr.Dataset) -> dict[str, Any]:
    """Return what part of the images is cropped, or filled in the mean over slices."""
    kept = [aligned.sizes[axis] / stack.sizes[axis] for axis in _IN_PLANE]
    shares = {"cropped_share": 1 - prod(kept)}
    if FILLED in aligned.coords:
        shares["filled_share"] = float(aligned[FILLED].mean())
    return shares


def _with_shifts(stack: xr.Dataset, shifts: xr.Dataset) -> xr.Dataset:
    """Record the shifts, added to those of the stack."""
    for name in ("shift_y", "shift_x"):
        values = shifts[name].values.astype(np.float64)
        if values.ndim == 2 and ("voltage" not in stack.dims or len(values) == 1):
            values = values[_reference(shifts)]
        if name in stack.variables:
            values = values + stack[name].values
        dims = ("voltage", "z")[-values.ndim :]
        stack[name] = (dims, values, attributes(name))
    return stack


def _with_marks(stack: xr.Dataset, shifts: xr.Dataset) -> xr.Dataset:
    """Mark the slices that fit no other as not measured: later they are left out, and filled."""
    bad = np.atleast_2d(shifts["flag"].values > 0).any(axis=0) if "flag" in shifts else False
    if not np.any(bad):
        return stack
    measured = ~bad & measured_slices(stack)
    return stack.assign_coords(measured=("z", measured, attributes("measured")))


def _largest(shifts: xr.Dataset) -> dict[str, Any]:
    return {a: plain_value(np.abs(shifts[f"shift_{a}"].values).max()) for a in _IN_PLANE}
