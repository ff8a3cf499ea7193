"""Stages that estimate a few numbers of all slices first, and apply them then."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from ..align import apply_shifts, estimate_shifts
from ..conventions import attributes, require
from ..thickness import apply_slice_thickness, estimate_slice_thickness

Compute = Callable[[xr.DataArray], xr.DataArray]
"""Makes the values of a small lazy measurement."""


@dataclass(frozen=True)
class Estimate:
    """An estimate and its use; the keys of a recipe's table are the options of both.

    Attributes
    ----------
    estimate
        Function (stack, *, compute, …) that computes small measurements and solves for numbers.
    apply
        Function (stack, numbers, *, …) that corrects a stack, lazily.
    expected
        Function (stack) that returns the corrected stack as far as it is known before.
    moves_voxels
        Whether volumes change; if not, they are not stored anew.
    """

    estimate: Callable[..., Any]
    apply: Callable[..., xr.Dataset]
    expected: Callable[[xr.Dataset], xr.Dataset]
    moves_voxels: bool

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """Those whose options are the keys of the table."""
        return self.estimate, self.apply

    def solve(self, stack: xr.Dataset, compute: Compute, given: Mapping[str, Any]) -> xr.Dataset:
        """Estimate, and return all numbers as a dataset."""
        found = self.estimate(stack, compute=compute, **_options(self.estimate, given))
        return found.to_dataset(name=THICKNESS) if isinstance(found, xr.DataArray) else found

    def use(self, stack: xr.Dataset, numbers: xr.Dataset, given: Mapping[str, Any]) -> xr.Dataset:
        """Correct a stack by estimated numbers."""
        first = numbers.get(THICKNESS, numbers)
        return self.apply(stack, first, **_options(self.apply, given))

    def measurement(self, stack: xr.Dataset, given: Mapping[str, Any]) -> xr.DataArray:
        """Return the first measurement that the estimate asks for, lazily."""
        try:
            self.solve(stack, _stop, given)
        except _MeasurementError as asked:
            return asked.array
        msg = f"{self.estimate.__name__} measured nothing"
        raise AssertionError(msg)


def _options(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    own = inspect.signature(function).parameters
    return {key: value for key, value in given.items() if key in own}


class _MeasurementError(Exception):
    """A measurement that planning wants to see, not to compute."""

    def __init__(self, array: xr.DataArray) -> None:
        super().__init__()
        self.array = array


def _stop(array: xr.DataArray) -> xr.DataArray:
    raise _MeasurementError(array)


def _align(stack: xr.Dataset, shifts: xr.Dataset, *, outside: str = "edge") -> xr.Dataset:
    """Translate slices; those that fit no neighbour count as not measured, and get filled."""
    aligned = apply_shifts(stack, shifts, outside=outside)
    bad = (shifts["flag"] > 0).any("voltage").values
    if "measured" in stack.coords:
        bad = bad | ~stack["measured"].values
    if not bad.any():
        return aligned
    return aligned.assign_coords(measured=("z", ~bad, attributes("measured")))


def _unmoved(stack: xr.Dataset) -> xr.Dataset:
    """Return the stack translated by nothing."""
    zero = xr.zeros_like(stack["voltage"] * stack["z"]).drop_vars(
        ["slice_thickness"], errors="ignore"
    )
    return apply_shifts(stack, xr.Dataset({"shift_y": zero, "shift_x": zero}))


THICKNESS = "thickness"
ESTIMATES = {
    "align": Estimate(estimate_shifts, _align, _unmoved, moves_voxels=True),
    THICKNESS: Estimate(estimate_slice_thickness, apply_slice_thickness, require, False),
}
