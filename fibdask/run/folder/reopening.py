"""What a run has looked at, opened again: its stores, and what none of them holds."""

import warnings
from collections.abc import Mapping
from typing import Any

import xarray as xr

from ...conventions import AXES, FibdaskError, FibdaskWarning, StackReadError, volume_names
from ..estimates import options_of
from ..recipe import Recipe, read_recipe
from ..stages import in_order
from ..walk import earlier_fingerprint, first_name, first_stack, is_stored, stack_fingerprint
from .run_folder import RunFolder


def reopen_stages(
    folder: RunFolder, stored: Mapping[str, xr.Dataset], estimates: Mapping[str, xr.Dataset]
) -> dict[str, xr.Dataset]:
    """Return the stacks of a run by stage, in order, with what none of its stores holds.

    These are the stack that was read where it is, slices at depths that were estimated, and volumes
    that were not kept after a stage that has changed neither their depths nor their pixels.

    Parameters
    ----------
    folder
        Of a run, as far as it came.
    stored, estimates
        As of `reopen` and `reopen_estimates`.

    Warns
    -----
    FibdaskWarning
        If what the run has read is not to be had, or is another now.
    """
    stacks: dict[str, xr.Dataset] = {}
    tables: Mapping[str, Mapping[str, Any]] = {}
    try:
        recipe = read_recipe(folder.path / "recipe.toml")
        tables, first = recipe.tables, first_name(recipe)
        found = stored[first] if first in stored else reopen_input(folder, recipe)
        stacks = {} if found is None else {first: found}
    except FibdaskError as error:
        msg = f"what the run has read is not told of: {error}"
        warnings.warn(msg, FibdaskWarning, stacklevel=2)
    if not tables:
        return dict(stored)
    for stage in in_order(tables):
        before = next(reversed(stacks.values()), None)
        if stage.name in stored:
            stacks[stage.name] = _with_volumes(stored[stage.name], before)
        elif stage.estimate and stage.keeps == "nothing" and stage.name in estimates and stacks:
            given = options_of(stage.function, tables[stage.name])
            numbers = stage.estimate.unpacked(estimates[stage.name])
            stacks[stage.name] = stage.function(before, numbers, **given)
    return stacks


def reopen_input(folder: RunFolder, recipe: Recipe) -> xr.Dataset | None:
    """Return the stack that a run has read where it is; None if it begins with a store of its own.

    Raises
    ------
    FibdaskError
        If it is not to be had, or is another now.
    """
    read = first_stack(recipe) if "input" in recipe.tables else None
    if read is None or not is_stored(read):
        return None
    made_of = folder.read().get("made_of")
    if made_of and made_of[0] not in (stack_fingerprint(read), earlier_fingerprint(read)):
        msg = f"{recipe.tables['input']['path']} has changed since"
        raise StackReadError(msg)
    return read


def _with_volumes(stack: xr.Dataset, before: xr.Dataset | None) -> xr.Dataset:
    """Return a stack with the volumes that it lacks of that before it, if both lie alike."""
    if before is None or not {*AXES} <= {*stack.coords} & {*before.coords}:  # maps have no slices
        return stack
    if not all(stack[axis].equals(before[axis]) for axis in AXES):
        return stack
    lacking = [name for name in volume_names(before) if name not in stack]
    return stack.assign({name: before[name] for name in lacking})
