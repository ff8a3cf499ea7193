"""The registry: every variable of a stack, with dimensions, types, units and meaning."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

DIMENSIONS = ("voltage", "z", "y", "x")
AXES = ("z", "y", "x")
MAP_DIMENSIONS = ("layer", "energy")  # of several maps (y, x) in one variable
PHASE_ATTRS = {"flag_values": [0, 1], "flag_meanings": "pore solid"}


@dataclass(frozen=True)
class Variable:
    """What one variable of a stack is.

    Attributes
    ----------
    dims
        Admitted dimension tuples, each in the order of `DIMENSIONS`.
    dtypes
        Admitted numpy dtype names in memory.
    units
        The only unit admitted, or None where a unit has no meaning.
    long_name
        What it means, in a few words; written to the attributes.
    """

    dims: tuple[tuple[str, ...], ...]
    dtypes: tuple[str, ...]
    units: str | None
    long_name: str


_VOLUME = (("z", "y", "x"),)
_SLICE = (("z",),)
_LINE = (("y",), ("x",))

VARIABLES: dict[str, Variable] = {
    "voltage": Variable((("voltage",),), ("float64",), "kV", "accelerating voltage"),
    "z": Variable(_SLICE, ("float64",), "nm", "depth of the imaged face"),
    "slice_thickness": Variable(_SLICE, ("float64",), "nm", "distance from this face to the next"),
    "y": Variable((("y",),), ("float64",), "nm", "pixel centre along the slow image axis"),
    "x": Variable((("x",),), ("float64",), "nm", "pixel centre along the fast image axis"),
    "intensity": Variable((DIMENSIONS,), ("uint8", "uint16", "float32"), None, "grey value"),
    "phase": Variable(_VOLUME, ("uint8",), None, "segmented phase"),
    "solid_probability": Variable(_VOLUME, ("float32",), None, "probability of the solid phase"),
    "voltage_disagreement": Variable(
        _VOLUME, ("float32",), None, "largest less smallest solid probability of single voltages"
    ),
    "true_phase": Variable(_VOLUME, ("uint8",), None, "true phase of a simulated stack"),
    "measured": Variable(_SLICE, ("bool",), None, "plane holds a measured slice"),
    "filled_share": Variable(
        _SLICE, ("float64",), None, "share of the slice's pixels that no raw pixel falls on"
    ),
    "filled_share_record": Variable(
        _SLICE, ("float64",), None, "checksum of what filled_share tells of the slice"
    ),
    "aligned_y": Variable(_LINE, ("float64",), "nm", "y of the pixel when slices were aligned"),
    "aligned_x": Variable(_LINE, ("float64",), "nm", "x of the pixel when slices were aligned"),
    "inpainted": Variable(_SLICE, ("bool",), None, "plane is filled from measured ones"),
    "inpainted_record": Variable(
        _SLICE, ("float64",), None, "checksum of what inpainted tells of the plane"
    ),
    "shift_y": Variable((("voltage", "z"), ("z",)), ("float64",), "nm", "translation along y"),
    "shift_x": Variable((("voltage", "z"), ("z",)), ("float64",), "nm", "translation along x"),
}
COORDINATES = ("voltage", "z", "y", "x")
PHASES = ("phase", "true_phase")
LABELS = ("label", "label_probability")
"""Of more classes than two: the likeliest, with names and colours as its attributes, and how likely
it is."""
PROBABILITIES = ("solid_probability", "voltage_disagreement")
"""From 0 to 1; stored as multiples of 1/255."""
VOLUMES = ("intensity", "phase", *PROBABILITIES, "true_phase")
VOLUME_DIMS = (DIMENSIONS, AXES)
_NUMBERS = "biuf"


def volume_names(stack: xr.Dataset) -> list[str]:
    """Return the names of a stack's volumes: those of the table in its order, then others."""
    known = [name for name in VOLUMES if name in stack.variables]
    others = [
        str(name)
        for name, variable in stack.variables.items()
        if name not in VARIABLES and variable.dims in VOLUME_DIMS
    ]
    return [*known, *sorted(others)]


def array_names(stack: xr.Dataset) -> list[str]:
    """Return the names of what is read and stored by blocks: volumes, then maps and sections.

    Those are numbers along two of z, y and x. All else is small.
    """
    flat = [
        str(name)
        for name, variable in stack.variables.items()
        if len(set(AXES).intersection(variable.dims)) == 2 and variable.dtype.kind in _NUMBERS
    ]
    return [*volume_names(stack), *sorted(flat)]


def is_truth(name: object) -> bool:
    """Tell whether a variable is the truth of a simulated stack (`true_…`), made of no image."""
    return str(name).startswith("true_")


def is_label(name: str, volume: xr.DataArray | xr.Variable) -> bool:
    """Tell whether the voxels of a volume are labels, that cannot be averaged.

    Phases are, and under a name that the table does not know what is true or false, and whole
    numbers (z, y, x).
    """
    if name in VARIABLES:
        return name in PHASES
    return volume.dtype.kind == "b" or (volume.dims == AXES and volume.dtype.kind in "iu")


def attributes(name: str) -> dict[str, object]:
    """Return the attributes that a variable of this name carries; none of one beyond the table."""
    if name not in VARIABLES:
        return {}
    variable = VARIABLES[name]
    attrs: dict[str, object] = {"long_name": variable.long_name}
    if variable.units is not None:
        attrs["units"] = variable.units
    if name in PHASES:
        attrs |= PHASE_ATTRS
    return attrs


def value_range(
    name: str, dtype: np.dtype[Any], *, floats: type[np.floating[Any]] = np.float64
) -> tuple[float, float]:
    """Return the least and the largest value that a volume of this name and type may hold.

    Where `floats`, the type computed in, cannot hold an end of integers, it is the next value
    inside.
    """
    if name in PROBABILITIES:
        return 0.0, 1.0
    if dtype.kind in "iu":
        ends = np.iinfo(dtype)
        return _held(ends.min, floats), _held(ends.max, floats)
    return -np.inf, np.inf


def _held(end: int, floats: type[np.floating[Any]]) -> float:
    """Return the float that is nearest to an end of integers, but not beyond it."""
    nearest = floats(end)
    beyond = abs(int(nearest)) > abs(end)
    return float(np.nextafter(nearest, floats(0)) if beyond else nearest)
