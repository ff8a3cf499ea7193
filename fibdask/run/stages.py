"""What a recipe's stages take and keep; planning and running share it."""

from collections.abc import Iterable

import xarray as xr

from ..blocks import StoredArray, origin
from ..conventions import VOLUMES, ConventionError
from ..statistics import segmentation_errors
from .recipe import Recipe

STATISTICS = "statistics"


def source_name(recipe: Recipe) -> str:
    """Return the table that a recipe's data come from."""
    return "simulate" if "simulate" in recipe.tables else "input"


def kept_variables(recipe: Recipe, stack: xr.Dataset) -> list[str]:
    """Return the variables that are stored after a stage; the others stay lazy."""
    wanted = recipe.tables["output"]["variables"]
    if wanted is None:
        results = [name for name in ("phase", "solid_probability") if name in stack]
        return results or ["intensity"]
    return [name for name in wanted if name in stack]


def phase_of(stack: xr.Dataset) -> xr.DataArray:
    """Return the phase that statistics measure."""
    if "phase" not in stack:
        msg = "[statistics] needs a phase; add [segment], or give an input that holds one"
        raise ConventionError(msg)
    return stack["phase"]


def is_stored(stack: xr.Dataset) -> bool:
    """Tell whether every volume of a stack is read from a store as it is."""
    return all(
        isinstance(origin(stack[name].data), StoredArray) for name in VOLUMES if name in stack
    )


def accuracy(stacks: Iterable[xr.Dataset]) -> dict[str, xr.DataArray]:
    """Compare the first segmentation that has a truth with it, on the slices themselves."""
    for stack in stacks:
        if "phase" in stack and "true_phase" in stack:
            errors = segmentation_errors(stack["phase"], stack["true_phase"])
            return {str(name): errors[name] for name in errors.data_vars}
    return {}
