"""Before a run: a small part of its input is read, and networks of the recipe are asked for it."""

import contextlib
from collections.abc import Mapping
from typing import Any

import xarray as xr

from ..conventions import ConventionError
from .recipe import Recipe, blamed_on
from .stages import in_order
from .walk import first_stack

_MOST = {"z": 32, "y": 256, "x": 256}  # slices and pixels in the middle that are looked at
_OF_THE_WHOLE = {"region_of_interest": None, "data_bar": 0}  # options that say places


def look_at_input(recipe: Recipe) -> None:
    """Read a slice, and ask the network that segments or reconstructs for some, as they are.

    What it makes of them is told, where it does not fit its card. Nothing is known of images that
    the recipe simulates.

    Raises
    ------
    StackReadError
        If the slice cannot be read, such as one in colours.

    Warns
    -----
    FibdaskWarning
        See `segment_phases`.
    """
    if "input" not in recipe.tables:
        return
    source = first_stack(recipe)
    if "intensity" in source:
        _middle(source)["intensity"][:, :1].compute()
    for stage in in_order(recipe.tables):
        table = recipe.tables[stage.name]
        if stage.makes == "phase" and stage.asks_network(table):
            with blamed_on(stage.name), contextlib.suppress(ConventionError):
                # What does not fit the part alone, such as its thickness, is not told.
                made = stage.function(_middle(source), **_anywhere(table))
                made["solid_probability"][:1, :1, :1].compute()


def _middle(source: xr.Dataset) -> xr.Dataset:
    places = {}
    for axis, most in _MOST.items():
        n = source.sizes[axis]
        start = max((n - most) // 2, 0)
        places[axis] = slice(start, start + most)
    return source.isel(places)


def _anywhere(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a stage without those that say places of the whole stack."""
    return {key: _OF_THE_WHOLE.get(key, value) for key, value in table.items()}
