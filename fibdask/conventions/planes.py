"""Which planes of a volume hold data: those that were measured, and those that were filled."""

from collections.abc import Iterable

import numpy as np
import xarray as xr

from .filling import measured_slices
from .stack import recorded_steps
from .variables import VOLUMES, attributes

_FILLED = "variables"  # attribute of `inpainted`: the names of the volumes that are filled there


def known_planes(volume: xr.DataArray) -> np.ndarray:
    """Return which planes (z) of a volume hold data, as bool.

    Those that `measured` marks, and those that inpainting has filled in the volume of this name;
    without a mark, all.
    """
    known = measured_slices(volume)
    if volume.name in _filled_volumes(volume):
        known = known | volume["inpainted"].values
    return known


def _filled_volumes(stack: xr.Dataset | xr.DataArray) -> list[str]:
    """Return the names of the volumes that are filled where `inpainted` is True."""
    if "inpainted" not in stack.coords:
        return []
    return list(np.atleast_1d(stack["inpainted"].attrs.get(_FILLED, [])))


def mark_inpainted(stack: xr.Dataset, names: Iterable[str]) -> xr.Dataset:
    """Note that some volumes of a stack are filled in all planes that are not measured."""
    gaps = ~stack["measured"].values
    filled = set(names)
    if "inpainted" in stack.coords and np.array_equal(gaps, stack["inpainted"].values):
        filled |= set(_filled_volumes(stack))
    attrs = attributes("inpainted") | {_FILLED: sorted(filled)}
    return stack.assign_coords(inpainted=("z", gaps, attrs))


def inherit_inpainted(stack: xr.Dataset, name: str, source: str) -> xr.Dataset:
    """Note that a volume was made of another one, plane by plane: it is filled where that is."""
    if "inpainted" not in stack.coords:
        return stack
    filled = set(_filled_volumes(stack))
    filled = filled | {name} if source in filled else filled - {name}
    inpainted = stack["inpainted"].variable
    attrs = inpainted.attrs | {_FILLED: sorted(filled)}
    return stack.assign_coords(inpainted=("z", inpainted.values, attrs))


def recognise_inpainted(stack: xr.Dataset) -> xr.Dataset:
    """Mark the planes that were filled before such planes were marked, by the provenance."""
    if "measured" not in stack.coords or "inpainted" in stack.coords:
        return stack
    filled: set[str] = set()
    for record in recorded_steps(stack):
        if record["step"] == "reposition_slices":
            filled = set()
        elif record["step"] == "inpaint_gaps":
            method = record["parameters"].get("method")
            filled |= {"phase"} if method == "distance" else set(VOLUMES)
        elif record["step"] == "segment_phases":
            filled = filled | {"phase"} if "intensity" in filled else filled - {"phase"}
    return mark_inpainted(stack, filled & set(map(str, stack.variables))) if filled else stack
