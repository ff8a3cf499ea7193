"""Attributes by which stores and netCDF say that values are others than those that lie there.

Only probabilities of ours are stored packed. On others' variables these attributes change nothing,
or are refused: whoever reads them later would take the values for others.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ..conventions import ConventionError

PROBABILITY_ATTRS = {"scale_factor": 1 / 255}
_NEUTRAL = {"scale_factor": 1, "add_offset": 0}
_FILLS = ("_FillValue", "missing_value")


def packing(variable: xr.Variable) -> dict[str, Any]:
    """Return those attributes of a variable by which its values are others than those there."""
    found = {
        key: variable.attrs[key]
        for key, neutral in _NEUTRAL.items()
        if key in variable.attrs and not _is(variable.attrs[key], neutral)
    }
    for key in _FILLS:
        value = variable.attrs.get(key)
        if value is not None and not np.all(variable.dtype.kind == "f" and _is(value, np.nan)):
            found[key] = value
    return found


def _is(value: Any, number: float) -> bool:
    """Tell whether an attribute is a number; what is none, such as text, is not."""
    try:
        return np.array_equal(np.ravel(value).astype(float), [number], equal_nan=True)
    except (TypeError, ValueError):
        return False


def unpacked_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes without those of packing."""
    return {key: value for key, value in attrs.items() if key not in (*_NEUTRAL, *_FILLS)}


def without_packing(stack: xr.Dataset) -> xr.Dataset:
    """Return a stack without attributes of packing that change nothing.

    Raises
    ------
    ConventionError
        Naming one that changes the values of a variable.
    """
    stack = stack.copy(deep=False)
    for name, variable in stack.variables.items():
        for key, value in packing(variable).items():
            msg = (
                f"{name} has the attribute {key} = {value}, by which readers of the store would "
                "take its values for others: make of them the values that are meant, and remove "
                f"it, del stack[{name!r}].attrs[{key!r}]"
            )
            raise ConventionError(msg)
        stack[name].attrs = unpacked_attributes(variable.attrs)
    return stack
