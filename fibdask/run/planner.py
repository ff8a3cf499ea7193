"""Forecast a recipe: blocks, tasks, memory and disk, from metadata alone."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import (
    PROCESS_BYTES,
    Part,
    Reduction,
    Resources,
    Source,
    check_budget,
    fingerprint,
    forecast,
    format_bytes,
    from_source,
    least_memory,
    origin,
    reduction_forecast,
    values_target,
)
from ..conventions import FibdaskWarning, RecipeError, is_regular, plain_attributes
from ..io.labels import label_names
from ..io.pyramid import coarsen, needs_level
from ..io.targets import planned, volume_targets
from ..pieces.models import AUTO
from .cluster import (
    Profile,
    certificates_folder,
    named_security,
    part_resources,
    planned_worker,
)
from .estimates import Estimate, options_of
from .folder.ownership import check_owner, outdated_input
from .folder.run_folder import JOBS, RunFolder
from .looking import look_at_input
from .recipe import Recipe, read_profile, read_recipe
from .shown import one_line, table
from .stages import ERRORS, MEASUREMENT, SIMULATE, STATISTICS, Stage
from .walk import Visitor, first_stack, not_kept, stack_fingerprint, walk


def check_recipe(recipe: str | Path, **paths: Any) -> dict[str, Any]:
    """Check a recipe and build every stage lazily; return the size and memory that it needs.

    A network is asked for a small part of the input: whether it knows such images is warned of.

    Raises
    ------
    FibdaskError
        What a run would raise before its first block.

    Warns
    -----
    FibdaskWarning
        If results of another recipe lie in the output folder, which a run refuses to replace, or
        if it reads a store that the last run beside it did not make.
    """
    read = read_recipe(recipe, **paths)
    folder = RunFolder(Path(read.tables["output"]["path"]))
    folder.check()
    try:
        check_owner(folder, read)
    except RecipeError as error:  # a run with --fresh removes what lies there
        warnings.warn(str(error), FibdaskWarning, stacklevel=2)
    if outdated := outdated_input(read):
        warnings.warn(outdated, FibdaskWarning, stacklevel=2)
    plan = plan_recipe(read)
    if plan["worker_bytes"] is not None:
        check_plan(plan["stages"], Resources(plan["threads"], plan["worker_bytes"]))
    look_at_input(read)
    told = {key: plan[key] for key in ("size", "threads", "least_bytes", "worker_bytes", "fits")}
    return {"recipe": str(recipe), "stages": len(plan["stages"]), **told}


def format_check(found: Mapping[str, Any]) -> str:
    """Say that a recipe is fine, and whether it fits the workers."""
    return f"{found['recipe']} is fine: {found['size']}; {_verdict(found)}"


def plan_recipe(
    recipe: str | Path | Mapping[str, Any] | Recipe, *, part: Part | None = None, **paths: Any
) -> dict[str, Any]:
    """Return blocks, tasks, bytes per task and disk of every stage, and what a part makes of it."""
    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(recipe, **paths)
    source = first_stack(recipe)
    planner = planned_stages(recipe, source)
    rows = planner.rows
    images = planner.stacks.get(SIMULATE, source)
    size = " × ".join(f"{n} {dim}" for dim, n in images.sizes.items())
    profile = read_profile(recipe.tables["cluster"])
    out = Path(recipe.tables["output"]["path"]).absolute()
    certificates = certificates_folder(recipe.tables["cluster"], out)
    if profile is not None and "gpu" in profile.jobs:
        warn_of_idle_gpus(recipe, planner)
    threads, limit = planned_worker(recipe.tables["cluster"], profile)
    if part:
        own = part_resources(recipe.tables["cluster"], Path())
        threads, limit = own.threads, own.host_bytes
        rows = [{**row, "part_blocks": len(part.blocks(row["blocks"]))} for row in rows]
    least = least_memory(max((row["task_bytes"] for row in rows), default=0), threads)
    return {
        "title": recipe.title,
        "size": size,
        "part": str(part) if part else None,
        "stages": rows,
        "threads": threads,
        "least_bytes": least,
        "worker_bytes": limit,
        "fits": None if limit is None else least <= limit,
        "disk_bytes": sum(row["disk_bytes"] for row in rows),
        "job_scripts": {} if profile is None else _scripts(profile, out, certificates),
    }


def _scripts(profile: Profile, out: Path, certificates: Path | None) -> dict[str, str]:
    """Return what will be submitted, with the certificates that the run will make."""
    security = None if certificates is None else named_security(certificates.absolute())
    return profile.scripts(out / JOBS, security)


def check_plan(rows: Sequence[Mapping[str, Any]], resources: Resources) -> None:
    """Refuse a plan of which a stage does not fit a worker; the largest need is told.

    Raises
    ------
    MemoryBudgetError
        With the forecast, the limit and what to change.
    """
    if rows:
        largest = max(rows, key=lambda row: row["task_bytes"])
        remedy = ", or use smaller blocks ([output] block_mib)"
        # A chunk of a foreign file is read whole, however little of it a block takes.
        least = largest.get("held_bytes", 0)
        if 2 * least > largest["task_bytes"] - PROCESS_BYTES:
            remedy = f"; smaller blocks do not help: each needs {format_bytes(least)} to be read"
        check_budget(largest["name"], largest["task_bytes"], resources, remedy)


def warn_of_idle_gpus(recipe: Recipe, planner: "Planner") -> None:
    """Tell of stages that could use the GPUs that workers have, and do not.

    Parameters
    ----------
    planner
        That has been led through the recipe.

    Warns
    -----
    FibdaskWarning
        Naming them.
    """
    found = [
        f"[{name}]"
        for name, devices in planner.devices.items()
        if "cpu" in devices and recipe.tables[name].get("device") == AUTO
    ]
    if found:
        msg = (
            f"{', '.join(found)}: device = 'auto' is the processor, since the machine that starts "
            "the run has no GPU; those of workers are used where device = 'gpu'"
        )
        warnings.warn(msg, FibdaskWarning, stacklevel=3)


def planned_stages(recipe: Recipe, stack: xr.Dataset) -> "Planner":
    """Return what has been led through the stages of a recipe, which begins with a stack."""
    planner = Planner(recipe)
    planner.made_of.append(stack_fingerprint(stack))
    walk(recipe, stack, planner)
    return planner


class Planner(Visitor):
    """Walks through a recipe as if its stages were stored, and notes what that will take.

    Attributes
    ----------
    rows
        Of each array: its blocks, tasks, bytes per task and bytes on disk.
    made_of
        Fingerprints of the stack that the recipe begins with, and of those after its stages: of
        depths, pixels and voltages, and of what determines the values of volumes, such as images,
        labels and weights of networks, as they are now. Of what is stored, attributes are among it.
    devices
        Where each stage makes what may be made on a GPU.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self.made_of: list[str] = []
        self.devices: dict[str, frozenset[str]] = {}
        self._block_bytes = recipe.tables["output"]["block_mib"] * 2**20
        self._pyramid = recipe.tables["output"]["pyramid"]
        self._depths_are_known = True

    def call(self, stage: Stage, stack: xr.Dataset, table: Mapping[str, Any]) -> xr.Dataset:
        """Return the stack after a stage; it is the largest where depths are not known yet."""
        # Measured slices may lie deeper than was thought, and then fill more planes.
        if stage.foreseen and not self._depths_are_known:
            stack = stage.foreseen(stack, table)
        return super().call(stage, stack, table)

    def estimate(
        self, stage: Stage, estimate: Estimate, stack: xr.Dataset, table: Mapping[str, Any]
    ) -> xr.Dataset:
        """Return the stack as far as it is known before anything is measured."""
        options = options_of(estimate.solve, table)
        measured = [array.data for array in estimate.measure(stack, **options)]
        targets = [values_target(array, Path()) for array in measured]
        blocks = sum(target.grid.size for target in targets)
        self.rows.append(
            {
                "name": f"{stage.name} {MEASUREMENT}",
                "variable": "values",
                "blocks": blocks,
                "tasks": blocks,
                "task_bytes": max(map(forecast, measured, targets)),
                "disk_bytes": sum(array.nbytes for array in measured),
            }
        )
        if estimate.moves_depths:
            self._depths_are_known = False
        return estimate.expected(stack, **options_of(stage.function, table))

    def keep(self, name: str, stack: xr.Dataset, kept: list[str], *, last: bool) -> xr.Dataset:
        """Return the stack as if the volumes were stored."""
        names = [plain_attributes(stack[variable].attrs) for variable in kept]
        self.made_of.append(fingerprint(stack_fingerprint(stack), names))
        sources = (origin(stack[variable].data) for variable in kept)
        own = (source.devices for source in sources if isinstance(source, Source))
        self.devices[name] = frozenset().union(*own)
        stack, rows = _stored_rows(name, stack, kept, self._block_bytes)
        self.rows += rows
        if last and self._pyramid and is_regular(stack):
            self.rows += _level_rows(name, stack, kept, self._block_bytes)
        return stack

    def judge(self, stage: Stage, lazy: xr.Dataset) -> None:
        """Note what is counted beside a stage."""
        self.rows += reduction_rows(f"{stage.name} {ERRORS}", reductions_of(lazy))

    def measure(self, lazy: xr.Dataset) -> None:
        """Note what is counted."""
        self.rows += reduction_rows(STATISTICS, reductions_of(lazy))


def _level_rows(
    name: str, stack: xr.Dataset, kept: list[str], block_bytes: int
) -> list[dict[str, Any]]:
    """Return a row for each level of the pyramid of the last stage, and of its labels."""
    rows: list[dict[str, Any]] = []
    levels = [stack.drop_vars(not_kept(stack, kept))]
    while needs_level(levels[-1]):
        level, more = _stored_rows(f"{name} pyramid", coarsen(levels[-1]), kept, block_bytes)
        levels.append(level)
        rows += more
    labels = label_names(levels[0])
    for level in levels if labels else []:
        rows += _stored_rows(f"{name} pyramid", level[labels], kept, block_bytes)[1]
    return rows


def _stored_rows(
    name: str, stack: xr.Dataset, kept: list[str], block_bytes: int
) -> tuple[xr.Dataset, list[dict[str, Any]]]:
    """Return the stack as if the stage's variables were stored, and a row for each of them."""
    rows: list[dict[str, Any]] = []
    counted: set[str] = set()
    stored_part = stack.drop_vars(not_kept(stack, kept))
    for volume in planned(volume_targets(stored_part, Path(name), block_bytes)):
        stack = stack.assign({volume.name: (volume.target.dims, from_source(volume.planned()))})
        source = origin(volume.array)
        reductions = source.reductions if isinstance(source, Source) else ()
        needed = {reduction.partials.token: reduction for reduction in reductions}
        new = [reduction for token, reduction in needed.items() if token not in counted]
        rows += reduction_rows(f"{name} histogram", new)  # of several volumes, kept once
        counted |= needed.keys()
        blocks = volume.target.grid.size
        itemsize = np.dtype(volume.target.stored_dtype).itemsize
        rows.append(
            {
                "name": name,
                "variable": volume.name,
                "blocks": blocks,
                "tasks": blocks,
                "task_bytes": forecast(volume.array, volume.target),
                "held_bytes": source.held_bytes if isinstance(source, Source) else 0,
                "disk_bytes": int(np.prod(volume.target.grid.shape)) * itemsize,
            }
        )
    return stack, rows


def reductions_of(lazy: xr.Dataset) -> list[Reduction]:
    """Return what is counted for small lazy results, each once; first what others need."""
    found: dict[str, Reduction] = {}
    for variable in lazy.data_vars.values():
        reduction = origin(variable.data)
        if isinstance(reduction, Reduction):
            _add_counted(reduction, found)
    return list(found.values())


def _add_counted(reduction: Reduction, found: dict[str, Reduction]) -> None:
    for needed in reduction.partials.reductions:
        _add_counted(needed, found)
    found.setdefault(reduction.partials.token, reduction)


def reduction_rows(name: str, reductions: Iterable[Reduction]) -> list[dict[str, Any]]:
    """Return a row for the counts of each reduction."""
    return [
        {
            "name": name,
            "variable": "counts",
            "blocks": reduction.partials.grid.size,
            "tasks": reduction.partials.grid.size,
            "task_bytes": reduction_forecast(reduction),
            "disk_bytes": int(np.prod(reduction.partials.shape)) * 8,
        }
        for reduction in reductions
    ]


def format_plan(plan: Mapping[str, Any]) -> str:
    """Format a plan for people."""
    part = plan["part"]
    of_part = (f"of part {part}",) if part else ()
    sizes = ("bytes per process", "disk at most")
    header = ("stage", "variable", "blocks", *of_part, "tasks", *sizes)
    rows = [
        (
            row["name"],
            row["variable"],
            row["blocks"],
            *((row["part_blocks"],) if part else ()),
            row["tasks"],
            format_bytes(row["task_bytes"]),
            format_bytes(row["disk_bytes"]),
        )
        for row in plan["stages"]
    ]
    largest = max((row["task_bytes"] for row in plan["stages"]), default=0)
    scripts = (line for pool in plan["job_scripts"].items() for line in _script_lines(*pool))
    return "\n".join(
        [
            f"{one_line(plan['title'])}: {plan['size']}",
            *table(header, rows),
            f"largest process: {format_bytes(largest)}; {_verdict(plan)}",
            f"disk, uncompressed: {format_bytes(plan['disk_bytes'])}",
            *scripts,
        ]
    )


def _script_lines(pool: str, script: str) -> list[str]:
    """Return what starts the workers of a pool, as it would be submitted."""
    return ["", f"each job of the workers {pool!r}:", *map(one_line, script.strip().split("\n"))]


def _verdict(plan: Mapping[str, Any]) -> str:
    """Say whether a plan fits the workers that a run would have."""
    threads, limit = plan["threads"], plan["worker_bytes"]
    process = f"part {plan['part']}, a process" if plan.get("part") else "a worker"
    least = f"{process} of {threads} thread{'s' if threads > 1 else ''} needs "
    least += format_bytes(plan["least_bytes"])
    if limit is None:
        return f"{least}; what those of the scheduler have is seen when the run begins"
    fits = "it fits" if plan["fits"] else "it does not fit"
    each = "it" if plan.get("part") else "each worker"
    return f"{least}, {each} has {format_bytes(limit)}: {fits}"
