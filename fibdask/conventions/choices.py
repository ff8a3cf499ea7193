"""What users choose of a stack: a voltage, a region in pixels."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from .arguments import plain_number
from .errors import ConventionError

Intervals = Mapping[str, Sequence[int]]
"""First pixel, and that after the last one, by axis."""


def voltage_index(stack: xr.Dataset, voltage: float | None, name: str = "voltage") -> int:
    """Return the place of a voltage in kV, the lowest if none is given.

    Raises
    ------
    ConventionError
        If the stack has no such voltage.
    """
    voltages = stack["voltage"].values
    if voltage is None:
        return 0
    wanted = plain_number(voltage)
    matches = np.flatnonzero(np.isclose(voltages, wanted, rtol=1e-9, atol=0))
    if not len(matches):
        known = ", ".join(f"{v:g}" for v in voltages)
        found = repr(voltage) if np.isnan(wanted) else f"{wanted:g} kV"
        msg = f"{name} must be one of the stack, {known} kV; got {found}"
        raise ConventionError(msg)
    return int(matches[0])


def chosen_region(
    stack: xr.Dataset | xr.DataArray,
    wanted: Intervals | None,
    default: Intervals,
    *,
    name: str,
    least: int = 1,
) -> dict[str, slice]:
    """Return a region by axis: what is wanted, along other axes the default.

    Parameters
    ----------
    wanted
        Of any of the axes of `default`.
    name
        Of the argument, for errors.
    least
        Length that it must have.

    Raises
    ------
    ConventionError
        If an axis is unknown, or an interval does not lie in the stack or is too short.
    """
    wanted = wanted or {}
    if unknown := sorted(set(map(str, wanted)) - set(default)):
        msg = f"{name} has the axes {', '.join(default)}; got {unknown[0]!r}"
        raise ConventionError(msg)
    return {
        axis: chosen_interval(
            wanted.get(axis, whole), stack.sizes[axis], name=f"{name} along {axis}", least=least
        )
        for axis, whole in default.items()
    }


def chosen_interval(pair: Sequence[int], size: int, *, name: str, least: int = 1) -> slice:
    """Return an interval of pixels, given as the first one and that after the last one.

    Parameters
    ----------
    size
        Of the axis that it must lie in.
    name
        Of the argument, for errors.
    least
        Length that it must have.

    Raises
    ------
    ConventionError
        If it is no pair of whole numbers, does not lie in the axis or is too short.
    """
    try:
        start, stop = (_whole_number(end) for end in pair)
    except (TypeError, ValueError):
        msg = f"{name} must be two whole numbers (start, stop); got {pair!r}"
        raise ConventionError(msg) from None
    if not (start >= 0 and start + least <= stop <= size):
        length = f", at least {least} apart," if least > 1 else ""
        msg = (
            f"{name} must be (start, stop){length} with "
            f"0 <= start < stop <= {size}; got ({start}, {stop})"
        )
        raise ConventionError(msg)
    return slice(start, stop)


def _whole_number(value: object) -> int:
    number = plain_number(value)
    if number % 1:  # also of NaN
        raise ValueError
    return int(number)
