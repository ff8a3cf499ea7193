"""The walk through the stages of a recipe, which planning and running share."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import xarray as xr

from ..blocks import Source, StoredArray, array_token, fingerprint, origin
from ..conventions import (
    AXES,
    LABELS,
    PROBABILITIES,
    RecipeError,
    StackReadError,
    array_names,
    covered_region,
    volume_names,
)
from ..simulate import simulate_structure
from ..statistics import phase_statistics
from ..statistics.certainty import certainty, mean_disagreement
from .accuracy import accuracy
from .estimates import Estimate
from .recipe import Recipe, blamed_on, read_input
from .stages import IMPORT, SIMULATE, STATISTICS, STRUCTURE, Stage, in_order


class Visitor(ABC):
    """What happens along the walk: a planner foresees it, a runner does it.

    Attributes
    ----------
    stacks
        Those reached, by stage, in order.
    """

    def __init__(self) -> None:
        self.stacks: dict[str, xr.Dataset] = {}

    def call(self, stage: Stage, stack: xr.Dataset, table: Mapping[str, Any]) -> xr.Dataset:
        """Return the stack after a stage, lazily."""
        if stage.estimate is None:
            return stage.function(stack, **table)
        return self.estimate(stage, stage.estimate, stack, table)

    @abstractmethod
    def estimate(
        self, stage: Stage, estimate: Estimate, stack: xr.Dataset, table: Mapping[str, Any]
    ) -> xr.Dataset:
        """Return the stack after a stage whose numbers must be measured first."""

    @abstractmethod
    def keep(self, name: str, stack: xr.Dataset, kept: list[str], *, last: bool) -> xr.Dataset:
        """Return the stack whose `kept` volumes are read from the store `name`."""

    @abstractmethod
    def judge(self, stage: Stage, lazy: xr.Dataset) -> None:
        """Take numbers that tell how wrong a stage may be, lazily."""

    @abstractmethod
    def measure(self, lazy: xr.Dataset) -> None:
        """Take the statistics of the last stack, lazily."""


def walk(recipe: Recipe, source: xr.Dataset, visitor: Visitor) -> xr.Dataset:
    """Lead a visitor through the stages of a recipe, and return the last stack.

    Parameters
    ----------
    source
        As of `first_stack`.
    """
    first, stages = first_name(recipe), in_order(recipe.tables)
    last = stages[-1].name if stages else first
    stack = source
    if not is_stored(stack):  # of what others have stored, no copy is made
        stack = visitor.keep(first, stack, volume_names(stack), last=last == first)
    visitor.stacks[first] = stack
    for stage in stages:
        before = stack
        with blamed_on(stage.name):
            stack = visitor.call(stage, before, recipe.tables[stage.name])
        if stage.name == last or stage.keeps != "nothing":
            kept = kept_variables(recipe, stack, stage)
            stack = visitor.keep(stage.name, stack, kept, last=stage.name == last)
            if stage.judge and recipe.tables["output"]["report"]:
                lazy = stage.judge(before, stack[kept], recipe.tables[stage.name])
                if lazy is not None:
                    visitor.judge(stage, lazy)
        visitor.stacks[stage.name] = stack
    if STATISTICS in recipe.tables:
        visitor.measure(_statistics(recipe, visitor.stacks))
    return stack


def first_name(recipe: Recipe) -> str:
    """Return the name of what a recipe begins with: imported data, or a structure it makes."""
    return IMPORT if "input" in recipe.tables else STRUCTURE


def first_stack(recipe: Recipe) -> xr.Dataset:
    """Open the input of a recipe, or make its structure, lazily."""
    if "input" in recipe.tables:
        return read_input(**recipe.tables["input"])
    table = recipe.tables[SIMULATE]
    keys = inspect.signature(simulate_structure).parameters
    with blamed_on(SIMULATE):
        return simulate_structure(**{key: table[key] for key in keys})


def kept_variables(recipe: Recipe, stack: xr.Dataset, stage: Stage) -> list[str]:
    """Return the variables that are stored after a stage; the others stay lazy."""
    if stage.keeps == "everything":
        return volume_names(stack)
    results = [name for name in ("phase", *LABELS, *PROBABILITIES) if name in stack]
    wanted = recipe.tables["output"]["variables"] or []
    # A store of nothing would be no stack: before there is a phase, wanted or not, images are kept.
    return [name for name in wanted if name in stack] or results or ["intensity"]


def not_kept(stack: xr.Dataset, kept: list[str]) -> list[str]:
    """Return the volumes that are not stored after a stage; maps and sections always are."""
    return [name for name in volume_names(stack) if name not in kept]


def is_stored(stack: xr.Dataset) -> bool:
    """Tell whether every volume of a stack is read from a store as it is."""
    return all(isinstance(origin(stack[name].data), StoredArray) for name in volume_names(stack))


def read_now(stack: xr.Dataset) -> list[object]:
    """Return what differs where the files that a stack reads are others than a moment ago.

    Raises
    ------
    StackReadError
        If one cannot be read any more.
    """
    sources = (origin(stack[name].data) for name in array_names(stack))
    try:
        return [source.read_now for source in sources if isinstance(source, Source)]
    except OSError as error:
        msg = f"{error.filename} cannot be read any more: {error.strerror}"
        raise StackReadError(msg) from error


def stack_fingerprint(stack: xr.Dataset) -> str:
    """Return what determines the values of a stack, and its depths, pixels and voltages."""
    places = [stack[name].values for name in (*AXES, "voltage") if name in stack.coords]
    return fingerprint(*places, *_tokens(stack))


def earlier_fingerprint(stack: xr.Dataset) -> str:
    """Return what versions before 0.15 noted of a stack: without its pixels and voltages."""
    depths = [stack["z"].values] if "z" in stack.coords else []  # layers have none
    return fingerprint(*depths, *_tokens(stack))


def _tokens(stack: xr.Dataset) -> list[str]:
    return [array_token(stack[name].data) for name in array_names(stack)]


def phase_of(stack: xr.Dataset) -> xr.DataArray:
    """Return the phase that statistics measure: where every slice covers the images.

    Raises
    ------
    RecipeError
        If there is none.
    """
    if "phase" not in stack:
        how = (
            "of the painted classes one must be called solid (in labels.json)"
            if "label" in stack
            else "add [segment], or give an input that holds one"
        )
        msg = f"[statistics] needs a phase; {how}"
        raise RecipeError(msg)
    return stack.isel(covered_region(stack))["phase"]


def _statistics(recipe: Recipe, stacks: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Return the statistics of the last stack, and its errors where the truth is known."""
    phase = phase_of(list(stacks.values())[-1])
    with blamed_on(STATISTICS):
        lazy: xr.Dataset = phase_statistics(phase, **recipe.tables[STATISTICS])
    # What is simulated begins with its structure, which is no slice of the images.
    structure = stacks[first_name(recipe)] if SIMULATE in recipe.tables else None
    segmented = _since_segmentation(recipe, stacks)
    return lazy.assign(accuracy(segmented, structure)).assign(certainty_of(segmented))


def _since_segmentation(recipe: Recipe, stacks: Mapping[str, xr.Dataset]) -> list[xr.Dataset]:
    """Return the stacks from that on whose phase a stage makes; where the input has it, all.

    Whatever was known of another phase, before, says nothing of this one.
    """
    made = [stage.name for stage in in_order(recipe.tables) if stage.makes == "phase"]
    first = list(stacks).index(made[0]) if made else 0
    return list(stacks.values())[first:]


def certainty_of(stacks: list[xr.Dataset]) -> xr.Dataset:
    """Return how sure a network was on the planes that it told of."""
    told = next((stack for stack in stacks if "solid_probability" in stack), None)
    if told is None:
        return xr.Dataset()
    told = told.isel(covered_region(told))
    sure = certainty(told)
    if "voltage_disagreement" in told:
        sure = sure.assign(mean_disagreement=mean_disagreement(told["voltage_disagreement"]))
    return sure
