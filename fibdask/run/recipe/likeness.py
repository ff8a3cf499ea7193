"""`[simulate] like`: keys that are measured of the images of a stack, instead of being given."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...conventions import FibdaskError, RecipeError, axis_spacing
from ...io import open_stack
from .sources import read_input

_IN_STRUCTURE = "voxel_size"  # key of what [input] holds instead
_SAME_PIXEL = 0.01  # relative


@dataclass(frozen=True, kw_only=True)
class LikeOptions:
    """With `like`, simulate images like those of a stack.

    Attributes
    ----------
    like
        Store with images as recorded. `simulation_options` measures their `voltage`, `voxel_size`,
        thickness, noise, blur, grey levels, drift and stripes; do not set these as well.
    """

    like: str | None = None


def with_likeness(
    table: Mapping[str, Any], given: Mapping[str, Any], source: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return [simulate] with what is measured of the stack that `like` names, and without that key.

    Parameters
    ----------
    table
        With all defaults.
    given
        Keys that the recipe holds.
    source
        The table [input] that holds the structure, if there is one.

    Raises
    ------
    RecipeError
        If the stack cannot be measured, a key says what it is measured for, or the structure has
        other pixels.
    """
    kept = {key: value for key, value in table.items() if key != "like"}
    if (path := table.get("like")) is None:
        return kept
    from ...imaging import simulation_options

    try:
        stack = open_stack(path)
        options = {key: table[key] for key in ("model", "materials", "detector", "elastic")}
        found = simulation_options(stack, **options)
    except FibdaskError as error:
        msg = f"[simulate] like = {path}: {error}"
        raise RecipeError(msg) from error
    if both := [key for key in given if key in found]:
        msg = f"[simulate] {', '.join(both)}: measured of the stack that like names; remove"
        raise RecipeError(msg)
    if source is not None:
        _check_pixels(stack, read_input(**source))
        del found[_IN_STRUCTURE]
    return kept | found


def _check_pixels(stack: Any, structure: Any) -> None:
    for axis in ("y", "x"):
        size, own = axis_spacing(stack, axis), axis_spacing(structure, axis)
        if not np.isclose(size, own, rtol=_SAME_PIXEL):
            msg = (
                f"[simulate] like: pixels of the stack are {size:g} nm along {axis}, those of the "
                f"structure that [input] holds {own:g} nm; they must be the same"
            )
            raise RecipeError(msg)
