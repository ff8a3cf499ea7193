"""What a recipe's stages take and keep; planning and running share it."""

import inspect
from collections.abc import Iterable

import xarray as xr

from ..blocks import StoredArray, origin
from ..conventions import VOLUMES, ConventionError
from ..simulate import simulate_structure
from ..statistics import segmentation_errors
from .estimates import ESTIMATES, THICKNESS
from .recipe import STAGES, Recipe, blamed_on
from .sources import read_input

STATISTICS = "statistics"
MEASUREMENT = "measurement"
"""What is measured of slices for an estimate, as a part of its stage."""
ESTIMATE = "-estimate"
"""Ends the name of the store that holds the numbers of an estimate."""


IMPORT, STRUCTURE = "import", "structure"
STORES = (IMPORT, STRUCTURE, *STAGES)
"""Names under which a run may store stacks, in the data's order."""


def first_name(recipe: Recipe) -> str:
    """Return the name of what a recipe begins with: imported data, or a structure it makes."""
    return IMPORT if "input" in recipe.tables else STRUCTURE


def first_stack(recipe: Recipe) -> xr.Dataset:
    """Open the input of a recipe, or make its structure, lazily."""
    if "input" in recipe.tables:
        return read_input(**recipe.tables["input"])
    table = recipe.tables["simulate"]
    keys = inspect.signature(simulate_structure).parameters
    with blamed_on("simulate"):
        return simulate_structure(**{key: table[key] for key in keys})


def stage_names(recipe: Recipe) -> list[str]:
    """Return the stages of a recipe, in the data's order.

    The marks of a ruler look like stripes: they are followed before stripes are taken out.
    """
    names = [name for name in STAGES if name in recipe.tables]
    if recipe.tables.get(THICKNESS, {}).get("ruler") and "curtaining" in names:
        names.remove(THICKNESS)
        names.insert(names.index("curtaining"), THICKNESS)
    return names


def is_kept(stage: str) -> bool:
    """Tell whether volumes are stored after a stage that is not the last."""
    return stage not in ESTIMATES or ESTIMATES[stage].moves_voxels


def kept_variables(recipe: Recipe, stack: xr.Dataset, stage: str) -> list[str]:
    """Return the variables that are stored after a stage; the others stay lazy."""
    if stage == "simulate":
        return list(VOLUMES)
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
