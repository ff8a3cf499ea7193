"""Stages that estimate a few numbers of all slices first, and apply them then."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from ..align import MOST_NEIGHBOURS, PARTS, apply_shifts, estimate_shifts
from ..conventions import FibdaskWarning, require
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
        Function (stack, options of apply) that returns the corrected stack as far as it is known
        before, and refuses what `apply` would.
    moves_voxels
        Whether volumes change; if not, they are not stored anew.
    more
        Number of measurements after those of all rounds.
    widest
        Values of options that measurements of later rounds may go up to by themselves.
    """

    estimate: Callable[..., Any]
    apply: Callable[..., xr.Dataset]
    expected: Callable[..., xr.Dataset]
    moves_voxels: bool
    more: int = 0
    widest: Mapping[str, int] = field(default_factory=dict)

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """Those whose options are the keys of the table."""
        return self.estimate, self.apply

    def solve(self, stack: xr.Dataset, compute: Compute, given: Mapping[str, Any]) -> xr.Dataset:
        """Estimate, and return all numbers as a dataset."""
        found = self.estimate(stack, compute=compute, **_options(self.estimate, given))
        if isinstance(found, xr.Dataset):
            return found
        before = stack["slice_thickness"]
        reference = ("z", before.values, {**before.attrs, "source": "as given"})
        numbers: xr.Dataset = found.to_dataset(name=THICKNESS)
        return numbers.assign(reference_thickness=reference)

    def use(self, stack: xr.Dataset, numbers: xr.Dataset, given: Mapping[str, Any]) -> xr.Dataset:
        """Correct a stack by estimated numbers."""
        first = numbers.get(THICKNESS, numbers)
        return self.apply(stack, first, **_options(self.apply, given))

    def plan(self, stack: xr.Dataset, given: Mapping[str, Any]) -> xr.Dataset:
        """Return the corrected stack as far as it is known before."""
        return self.expected(stack, **_options(self.apply, given))

    def measurement(self, stack: xr.Dataset, given: Mapping[str, Any]) -> xr.DataArray:
        """Return the largest measurement that the estimate may ask for, lazily."""
        asked = self._asked(stack, given)
        if given.get("rounds", 1) == 1:
            return asked
        widest = {key: max(given[key], least) for key, least in self.widest.items()}
        return self._asked(stack, {**given, **widest})

    def _asked(self, stack: xr.Dataset, given: Mapping[str, Any]) -> xr.DataArray:
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


def _unmoved(stack: xr.Dataset, **given: Any) -> xr.Dataset:
    zero = np.zeros((stack.sizes["voltage"], stack.sizes["z"]))
    shifts = {name: (("voltage", "z"), zero) for name in ("shift_y", "shift_x")}
    return apply_shifts(stack, xr.Dataset(shifts), **given)


def _not_measured_yet(stack: xr.Dataset, **given: Any) -> xr.Dataset:
    given_depth = stack["slice_thickness"]
    even = given_depth.copy(data=np.full(given_depth.size, float(given_depth.mean())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FibdaskWarning)
        apply_slice_thickness(stack, even, **given)
    return require(stack)


THICKNESS = "thickness"
ESTIMATES = {
    "align": Estimate(
        estimate_shifts,
        apply_shifts,
        _unmoved,
        moves_voxels=True,
        more=PARTS,
        widest={"neighbours": MOST_NEIGHBOURS},
    ),
    THICKNESS: Estimate(
        estimate_slice_thickness, apply_slice_thickness, _not_measured_yet, moves_voxels=False
    ),
}
