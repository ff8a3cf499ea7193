"""Stages that estimate a few numbers of all slices first, and apply them then."""

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ..align import apply_shifts, estimate_shifts, shift_measurements
from ..conventions import FibdaskWarning, finish_stack, require
from ..thickness import apply_slice_thickness, estimate_slice_thickness, thickness_measurement

_THICKNESS = "thickness"


@dataclass(frozen=True)
class Estimate:
    """What is measured of all slices and solved for, before a stage can correct any of them.

    Attributes
    ----------
    measure
        Function (stack, *, …) that returns what `solve` computes, lazily and at its largest: what
        it asks for last may depend on what it has found first, which planning does not know.
    solve
        Function (stack, *, compute, …) that computes the measurements and solves for numbers.
    expected
        Function (stack, options of the stage's function) that returns the corrected stack as far
        as it is known before, and refuses what the function would.
    packed, unpacked
        Functions that make the dataset that is stored, of a stack and the numbers found in it,
        and the numbers of the dataset.
    moves_depths
        Whether it puts slices at other depths than were known before.
    """

    measure: Callable[..., Sequence[xr.DataArray]]
    solve: Callable[..., Any]
    expected: Callable[..., xr.Dataset]
    packed: Callable[[xr.Dataset, Any], xr.Dataset] = lambda _stack, numbers: numbers
    unpacked: Callable[[xr.Dataset], Any] = lambda numbers: numbers
    moves_depths: bool = False


def options_of(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those keys of a table that are options of a function."""
    own = inspect.signature(function).parameters
    return {key: value for key, value in given.items() if key in own}


def room_for_slices(stack: xr.Dataset, table: Mapping[str, Any]) -> xr.Dataset:
    """Return a stack whose depth is not measured yet with a plane for each of its slices."""
    z = stack["z"].values
    least = table["spacing"] * (len(z) - 1)
    if z[-1] - z[0] >= least:
        return stack
    deeper = z[0] + (z - z[0]) * least / (z[-1] - z[0])
    return finish_stack(stack.assign_coords(z=("z", deeper, stack["z"].attrs)))


def _unmoved(stack: xr.Dataset, **given: Any) -> xr.Dataset:
    zero = np.zeros((stack.sizes["voltage"], stack.sizes["z"]))
    shifts = {name: (("voltage", "z"), zero) for name in ("shift_y", "shift_x")}
    return apply_shifts(stack, xr.Dataset(shifts), **given)


def _measured_thickness(stack: xr.Dataset, **given: Any) -> list[xr.DataArray]:
    return [thickness_measurement(stack, **given)]


def _not_measured_yet(stack: xr.Dataset, **given: Any) -> xr.Dataset:
    given_depth = stack["slice_thickness"]
    even = given_depth.copy(data=np.full(given_depth.size, float(given_depth.mean())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FibdaskWarning)
        apply_slice_thickness(stack, even, **given)
    return require(stack)


def _beside_the_given(stack: xr.Dataset, found: xr.DataArray) -> xr.Dataset:
    """Return estimated thicknesses with those that the stack had, which the report compares."""
    before = stack["slice_thickness"]
    reference = ("z", before.values, {**before.attrs, "source": "as given"})
    return found.to_dataset(name=_THICKNESS).assign(reference_thickness=reference)


SHIFTS = Estimate(shift_measurements, estimate_shifts, _unmoved)
DEPTHS = Estimate(
    _measured_thickness,
    estimate_slice_thickness,
    _not_measured_yet,
    packed=_beside_the_given,
    unpacked=lambda numbers: numbers[_THICKNESS],
    moves_depths=True,
)
