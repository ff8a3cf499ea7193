"""What a recipe's stages take and keep; planning and running share it."""

import inspect
from collections.abc import Iterable

import numpy as np
import xarray as xr

from ..blocks import StoredArray, origin
from ..conventions import AXES, ConventionError, covered_region, recorded_steps, volume_names
from ..simulate import simulate_structure
from ..statistics import segmentation_errors
from ..statistics.summary import size_statistics
from .estimates import ESTIMATES, THICKNESS
from .recipe import STAGES, Recipe, blamed_on
from .recipe.sources import read_input

STATISTICS = "statistics"
MEASUREMENT = "measurement"
"""What is measured of slices for an estimate, as a part of its stage."""
ESTIMATE = "-estimate"
"""Ends the name of the store that holds the numbers of an estimate."""

_SAME_PLACE = 1e-6  # nm


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
        return volume_names(stack)
    wanted = recipe.tables["output"]["variables"]
    if wanted is None:
        results = [name for name in ("phase", "solid_probability") if name in stack]
        return results or ["intensity"]
    return [name for name in wanted if name in stack]


def phase_of(stack: xr.Dataset) -> xr.DataArray:
    """Return the phase that statistics measure: where every slice covers the images."""
    if "phase" not in stack:
        msg = "[statistics] needs a phase; add [segment], or give an input that holds one"
        raise ConventionError(msg)
    return _covered(stack)["phase"]


def _covered(stack: xr.Dataset) -> xr.Dataset:
    """Return the part of a stack in which alignment has filled no pixel."""
    return stack.isel(covered_region(stack))


def is_stored(stack: xr.Dataset) -> bool:
    """Tell whether every volume of a stack is read from a store as it is."""
    return all(isinstance(origin(stack[name].data), StoredArray) for name in volume_names(stack))


def accuracy(
    stacks: Iterable[xr.Dataset], structure: xr.Dataset | None = None
) -> dict[str, xr.DataArray]:
    """Compare with the truth what is known of it.

    The first segmentation that has a truth, on the slices themselves; of a simulated structure
    also the sizes (`true_…`), and the last volume where it lies on the same voxels (`volume_…`).
    """
    stacks = list(stacks)
    found: dict[str, xr.DataArray] = {}
    for stack in stacks:
        if "phase" in stack and "true_phase" in stack:
            part = _covered(stack)
            found = _named("", segmentation_errors(part["phase"], part["true_phase"]))
            break
    if structure is None:
        return found
    truth = structure["phase"]
    found |= _named("true_", size_statistics(truth))
    whole = _same_voxels(truth, stacks[-1])
    if whole is not None:
        found |= _named("volume_", segmentation_errors(stacks[-1]["phase"], whole))
    return found


def _named(prefix: str, results: xr.Dataset) -> dict[str, xr.DataArray]:
    return {f"{prefix}{name}": results[name] for name in results.data_vars}


def _same_voxels(truth: xr.DataArray, stack: xr.Dataset) -> xr.DataArray | None:
    """Return the part of a truth on whose voxels a stack lies; None if it does not.

    Slices that were brought into line lie elsewhere: their drift as a whole is not known.
    """
    if any(record["step"] == "apply_shifts" for record in recorded_steps(stack)):
        return None
    first = int(np.argmin(np.abs(truth["z"].values - stack["z"].values[0])))
    part = truth.isel(z=slice(first, first + stack.sizes["z"]))
    for axis in AXES:
        there, here = part[axis].values, stack[axis].values
        if there.shape != here.shape or not np.allclose(there, here, rtol=0, atol=_SAME_PLACE):
            return None
    return part
