"""Pixels of aligned slices that no raw pixel falls on: their share, and where there are none."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from .errors import ConventionError
from .variables import attributes

FILLED = "filled_share"
_IN_PLANE = ("y", "x")


def measured_slices(stack: xr.Dataset | xr.DataArray) -> np.ndarray:
    """Return which planes (z) are measured, bool: all, if nothing says otherwise."""
    if "measured" not in stack.coords:
        return np.ones(stack.sizes["z"], bool)
    measured: np.ndarray = stack["measured"].values
    return measured


def with_filled_share(
    stack: xr.Dataset, share: np.ndarray, covered: Mapping[str, slice]
) -> xr.Dataset:
    """Note the share of filled pixels (z) of slices, and what all measured slices cover.

    That is kept as the first and last place in nm along y and x, which holds whatever is cut
    off the stack later. `covered` are rows and columns of the stack.
    """
    attrs = attributes(FILLED)
    for axis, part in covered.items():
        places = stack[axis].values[part]
        attrs[f"covered_{axis}"] = [float(places[0]), float(places[-1])] if len(places) else []
    return stack.assign_coords({FILLED: ("z", share, attrs)})


def covered_region(stack: xr.Dataset | xr.DataArray) -> dict[str, slice]:
    """Return the rows and columns (y, x) of a stack that no measured slice has filled pixels in.

    Raises
    ------
    ConventionError
        If slices have filled pixels, and where these are is not known, or leaves nothing.
    """
    region = {axis: slice(0, stack.sizes[axis]) for axis in _IN_PLANE}
    if FILLED not in stack.coords:
        return region
    share = np.where(measured_slices(stack), stack[FILLED].values, 0)
    if not (share > 0).any():
        return region
    k = int(np.argmax(share))
    for axis in _IN_PLANE:
        region[axis] = _between(stack[axis].values, stack[FILLED].attrs.get(f"covered_{axis}"))
        if region[axis].start >= region[axis].stop:
            msg = (
                f"pixels that no raw pixel falls on must not be counted; slice {k} has "
                f"{100 * share[k]:.3g} % of them, and no part of the images along {axis} is known "
                "to be covered by every slice; align with outside='crop'"
            )
            raise ConventionError(msg)
    return region


def _between(places: np.ndarray, ends: Sequence[float] | None) -> slice:
    """Return the part of increasing places from a first to a last; nothing without these."""
    if ends is None or len(ends) != 2:
        return slice(0, 0)
    start = np.searchsorted(places, ends[0])
    return slice(int(start), int(np.searchsorted(places, ends[1], side="right")))
