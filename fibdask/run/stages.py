"""The table of stages: the only place that names them all.

A stage is its package and one row here. The keys and the order of recipes, the stores of a run,
its plan, the titles of its report and the reference page (docs/recipes.md) derive from the row.
What reads the table asks the functions below, never a copy of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import xarray as xr

from ..align import apply_shifts, equalize_brightness, remove_curtaining
from ..inpaint import inpaint_gaps
from ..microtomography import estimate_layers
from ..reconstruct import reconstruct_volume
from ..segment import segment_phases
from ..simulate import simulate_stack
from ..thickness import apply_slice_thickness, reposition_slices
from .estimates import DEPTHS, SHIFTS, Estimate, room_for_slices
from .judging import judged_labels

Keeps = Literal["everything", "results", "nothing"]
Judge = Callable[[xr.Dataset, xr.Dataset, Mapping[str, Any]], xr.Dataset | None]


def _nothing(_table: Mapping[str, Any]) -> tuple[str, ...]:
    return ()


def _by_method(table: Mapping[str, Any]) -> bool:
    return table.get("method") == "network"


def _by_model(table: Mapping[str, Any]) -> bool:
    return table.get("model") == "learned"


def _always(_table: Mapping[str, Any]) -> bool:
    return True


def _stripes(table: Mapping[str, Any]) -> tuple[str, ...]:
    # The marks of a ruler look like stripes: they are followed before stripes are taken out.
    return ("curtaining",) if table.get("ruler") else ()


@dataclass(frozen=True)
class Stage:
    """A stage of recipes.

    Attributes
    ----------
    name
        Of its table in a recipe, and of its store.
    function
        Function (stack, *, …) that returns the stack after the stage, lazily; of an estimate,
        function (stack, numbers, *, …). Its options are the keys of the table.
    title
        Of the stage in the report.
    keeps
        What is stored after the stage: all volumes, the results that the recipe asks for, or,
        because no voxel changes, nothing until the last stage.
    makes
        The volume that it adds, which later stages read from its store.
    estimate
        What is measured and solved for before; its options are keys too.
    before
        Function of the table that names the stages that this one must come before, though they
        come first in the table of stages.
    instead_of
        Names of stages that it does the work of, which the recipe must not hold.
    asks_network
        Function of the table that tells whether a network is asked, whose libraries then stay in
        the workers.
    judge
        Function (stack before, what is stored of it, table) that returns lazily, for the report,
        how wrong the result may be; None if nothing tells.
    foreseen
        Function (stack, table) that returns the largest stack that the stage may be given, for
        planning where the depths of slices are not measured yet.
    """

    name: str
    function: Callable[..., xr.Dataset]
    title: str
    keeps: Keeps = "results"
    makes: str | None = None
    estimate: Estimate | None = None
    before: Callable[[Mapping[str, Any]], tuple[str, ...]] = _nothing
    instead_of: tuple[str, ...] = ()
    asks_network: Callable[[Mapping[str, Any]], bool] = _by_method
    judge: Judge | None = None
    foreseen: Callable[[xr.Dataset, Mapping[str, Any]], xr.Dataset] | None = None

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """Those whose options are the keys of the table, in that order."""
        return (self.function,) if self.estimate is None else (self.estimate.solve, self.function)


STAGES = (
    Stage(
        "simulate",
        simulate_stack,
        "Simulated images",
        keeps="everything",
        asks_network=_by_model,
    ),
    Stage("align", apply_shifts, "Aligned slices", estimate=SHIFTS),
    Stage("curtaining", remove_curtaining, "Curtaining removed"),
    Stage("brightness", equalize_brightness, "Brightness equalised"),
    Stage(
        "thickness",
        apply_slice_thickness,
        "Slices at their measured thickness",
        keeps="nothing",
        estimate=DEPTHS,
        before=_stripes,
    ),
    Stage(
        "reconstruct",
        reconstruct_volume,
        "Volume between the slices",
        makes="phase",
        instead_of=("segment", "reposition", "inpaint"),
        asks_network=_always,
    ),
    Stage("segment", segment_phases, "Segmentation", makes="phase", judge=judged_labels),
    Stage("reposition", reposition_slices, "Slices at their depth", foreseen=room_for_slices),
    Stage("inpaint", inpaint_gaps, "Gaps filled"),
    Stage("layers", estimate_layers, "Layers of the sample", keeps="everything"),
)
"""In the data's order."""

SIMULATE = "simulate"
"""The stage that makes images of the structure before it, which is their truth."""
IMPORT, STRUCTURE = "import", "structure"
"""Names of what a run begins with: imported data, or a structure that it makes."""
STATISTICS = "statistics"
MEASUREMENT = "measurement"
"""What is measured of slices for an estimate, as a part of its stage."""
ERRORS = "errors"
"""What tells how wrong a stage may be, as a part of it."""


def asks_network(name: str, table: Mapping[str, Any]) -> bool:
    """Tell whether a store is made by a network, as the stage of its name says of its table."""
    return any(stage.asks_network(table) for stage in STAGES if stage.name == name)


def in_order(tables: Mapping[str, Mapping[str, Any]]) -> list[Stage]:
    """Return the stages of a recipe's tables, in the order in which they run."""
    ordered = [stage for stage in STAGES if stage.name in tables]
    for stage in list(ordered):
        later = stage.before(tables[stage.name])
        places = [k for k, other in enumerate(ordered) if other.name in later]
        if places and places[0] < ordered.index(stage):
            ordered.remove(stage)
            ordered.insert(places[0], stage)
    return ordered


def stack_stores() -> tuple[str, ...]:
    """Return the names under which a run may store stacks, in the data's order."""
    return (IMPORT, STRUCTURE, *(stage.name for stage in STAGES))


def estimate_stores() -> dict[str, str]:
    """Return the names of the stores that hold numbers beside stacks, by stage."""
    return {stage.name: estimate_store(stage) for stage in STAGES if stage.estimate or stage.judge}


def estimate_store(stage: Stage) -> str:
    """Return the name of the store that holds what is estimated for a stage, or of its errors."""
    return f"{stage.name}-estimate"


def titles() -> dict[str, str]:
    """Return what the report calls each stage."""
    return {IMPORT: "Imported images"} | {stage.name: stage.title for stage in STAGES}
