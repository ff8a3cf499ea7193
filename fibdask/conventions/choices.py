"""What users choose of a stack: a voltage, a region in pixels."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

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
    matches = np.flatnonzero(np.isclose(voltages, voltage, rtol=1e-9, atol=0))
    if not len(matches):
        known = ", ".join(f"{v:g}" for v in voltages)
        msg = f"{name} must be one of the stack, {known} kV; got {voltage:g} kV"
        raise ConventionError(msg)
    return int(matches[0])


def chosen_region(
    stack: xr.Dataset, wanted: Intervals | None, default: Intervals, *, name: str, least: int = 1
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
    if unknown := sorted(set(wanted) - set(default)):
        msg = f"{name} has the axes {', '.join(default)}; got {unknown[0]!r}"
        raise ConventionError(msg)
    region = {}
    for axis, whole in default.items():
        size = stack.sizes[axis]
        pair = wanted.get(axis, whole)
        if len(pair) != 2 or any(isinstance(end, float) and end % 1 for end in pair):
            msg = f"{name} along {axis} must be two whole numbers (start, stop); got {pair}"
            raise ConventionError(msg)
        start, stop = pair
        if not (start >= 0 and start + least <= stop <= size):
            length = f", at least {least} apart," if least > 1 else ""
            msg = (
                f"{name} along {axis} must be (start, stop){length} with "
                f"0 <= start < stop <= {size}; got ({start}, {stop})"
            )
            raise ConventionError(msg)
        region[axis] = slice(int(start), int(stop))
    return region
