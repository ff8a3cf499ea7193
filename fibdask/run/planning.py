"""Forecast a recipe: blocks, tasks, memory and disk, from metadata alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import (
    PROCESS_BYTES,
    Reduction,
    Resources,
    Source,
    StoredArray,
    array_token,
    check_budget,
    forecast,
    format_bytes,
    from_source,
    least_memory,
    origin,
    reduction_forecast,
    values_target,
)
from ..conventions import finish_stack, is_regular, volume_names
from ..io.labels import label_names
from ..io.pyramid import coarsen, needs_level
from ..io.store import volume_targets
from .cluster import planned_worker
from .estimates import ESTIMATES, THICKNESS
from .info import table
from .recipe import Recipe, blamed_on, call_stage, read_recipe
from .shown import one_line
from .stages import (
    MEASUREMENT,
    STATISTICS,
    accuracy,
    first_name,
    first_stack,
    is_kept,
    is_stored,
    kept_variables,
    phase_of,
    stage_names,
)


def check_recipe(recipe: str | Path, **paths: Any) -> dict[str, Any]:
    """Check a recipe and build every stage lazily; return the size and memory that it needs.

    Raises
    ------
    FibdaskError
        What a run would raise before its first block.
    """
    plan = plan_recipe(recipe, **paths)
    if plan["worker_bytes"] is not None:
        check_plan(plan["stages"], Resources(plan["threads"], plan["worker_bytes"]))
    told = {key: plan[key] for key in ("size", "threads", "least_bytes", "worker_bytes", "fits")}
    return {"recipe": str(recipe), "stages": len(plan["stages"]), **told}


def format_check(found: Mapping[str, Any]) -> str:
    """Say that a recipe is fine, and whether it fits the workers."""
    return f"{found['recipe']} is fine: {found['size']}; {_verdict(found)}"


def plan_recipe(recipe: str | Path | Mapping[str, Any] | Recipe, **paths: Any) -> dict[str, Any]:
    """Return blocks, tasks, bytes per task and disk of every stage."""
    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(recipe, **paths)
    stack = images = first_stack(recipe)
    if "simulate" in recipe.tables:
        images = call_stage("simulate", stack, recipe.tables["simulate"])
    size = " × ".join(f"{n} {dim}" for dim, n in images.sizes.items())
    rows = plan_stages(recipe, stack)
    threads, limit = planned_worker(recipe.tables["cluster"])
    least = least_memory(max((row["task_bytes"] for row in rows), default=0), threads)
    return {
        "title": recipe.title,
        "size": size,
        "stages": rows,
        "threads": threads,
        "least_bytes": least,
        "worker_bytes": limit,
        "fits": None if limit is None else least <= limit,
        "disk_bytes": sum(row["disk_bytes"] for row in rows),
    }


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
        least = largest.get("held_bytes", 0)
        if 2 * least > largest["task_bytes"] - PROCESS_BYTES:
            remedy = f"; smaller blocks do not help: each needs {format_bytes(least)} to be read"
        check_budget(largest["name"], largest["task_bytes"], resources, remedy)


def plan_stages(recipe: Recipe, stack: xr.Dataset) -> list[dict[str, Any]]:
    """Return a row for each array that the stages of a recipe make of a stack."""
    block_bytes = recipe.tables["output"]["block_mib"] * 2**20
    rows: list[dict[str, Any]] = []
    if not is_stored(stack):
        stack, rows = _stage_rows(first_name(recipe), stack, volume_names(stack), block_bytes)
    stacks = [stack]
    for stage in stage_names(recipe):
        if stage == "reposition" and THICKNESS in recipe.tables:
            stack = _with_room(stack, recipe.tables[stage]["spacing"])
        stack, more = _call(stage, stack, recipe.tables[stage])
        rows += more
        if stage == stage_names(recipe)[-1] or is_kept(stage):
            kept = kept_variables(recipe, stack, stage)
            stack, more = _stage_rows(stage, stack, kept, block_bytes)
            rows += more
        stacks.append(stack)
    if recipe.tables["output"]["pyramid"] and is_regular(stack) and rows:
        rows += _level_rows(rows[-1]["name"], stack, recipe)
    if STATISTICS in recipe.tables:
        lazy = call_stage(STATISTICS, phase_of(stack), recipe.tables[STATISTICS])
        structure = stacks[0] if "simulate" in recipe.tables else None
        lazy = lazy.assign(accuracy(stacks, structure))
        rows += _reduction_rows(STATISTICS, _reductions(lazy))
    return rows


def _call(
    stage: str, stack: xr.Dataset, table: Mapping[str, Any]
) -> tuple[xr.Dataset, list[dict[str, Any]]]:
    """Return the stack after a stage, as far as it is known, and rows for its estimate."""
    if stage not in ESTIMATES:
        return call_stage(stage, stack, table), []
    with blamed_on(stage):
        measurement = ESTIMATES[stage].measurement(stack, table).data
        expected = ESTIMATES[stage].plan(stack, table)
    target = values_target(measurement, Path())
    times = table.get("rounds", 1) + ESTIMATES[stage].more
    row = {
        "name": f"{stage} {MEASUREMENT}",
        "variable": "values",
        "blocks": target.grid.size * times,
        "tasks": target.grid.size * times,
        "task_bytes": forecast(measurement, target),
        "disk_bytes": measurement.nbytes * times,
    }
    return expected, [row]


def _with_room(stack: xr.Dataset, spacing: float) -> xr.Dataset:
    """Return a stack whose depth is not measured yet with a plane for each of its slices."""
    z = stack["z"].values
    least = spacing * (len(z) - 1)
    if z[-1] - z[0] >= least:
        return stack
    deeper = z[0] + (z - z[0]) * least / (z[-1] - z[0])
    return finish_stack(stack.assign_coords(z=("z", deeper, stack["z"].attrs)))


def _level_rows(name: str, stack: xr.Dataset, recipe: Recipe) -> list[dict[str, Any]]:
    """Return a row for each level of the pyramid of the last stage, and of its labels."""
    rows: list[dict[str, Any]] = []
    kept = kept_variables(recipe, stack, name)
    block_bytes = recipe.tables["output"]["block_mib"] * 2**20
    levels = [stack.drop_vars([v for v in volume_names(stack) if v not in kept])]
    while needs_level(levels[-1]):
        level, more = _stage_rows(f"{name} pyramid", coarsen(levels[-1]), kept, block_bytes)
        levels.append(level)
        rows += more
    labels = label_names(levels[0])
    for level in levels if labels else []:
        rows += _stage_rows(f"{name} pyramid", level[labels], kept, block_bytes)[1]
    return rows


def _stage_rows(
    name: str, stack: xr.Dataset, kept: list[str], block_bytes: int
) -> tuple[xr.Dataset, list[dict[str, Any]]]:
    """Return the stack as if the stage's variables were stored, and a row for each of them."""
    rows: list[dict[str, Any]] = []
    for volume in volume_targets(stack, Path(name), block_bytes):
        if volume.name not in kept:
            continue
        target, array = volume.target, volume.array
        stored = StoredArray(
            str(target.path),
            array.shape,
            array.dtype,
            target.grid.block,
            target.inner,
            array_token(array),
        )
        stack = stack.assign({volume.name: (target.dims, from_source(stored))})
        source = origin(volume.array)
        reductions = source.reductions if isinstance(source, Source) else ()
        rows += _reduction_rows(f"{name} histogram", {r.token: r for r in reductions})
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


def _reductions(lazy: xr.Dataset) -> dict[str, Reduction]:
    found = [origin(variable.data) for variable in lazy.data_vars.values()]
    return {r.partials.token: r for r in found if isinstance(r, Reduction)}


def _reduction_rows(name: str, reductions: Mapping[str, Reduction]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "variable": "counts",
            "blocks": reduction.partials.grid.size,
            "tasks": reduction.partials.grid.size,
            "task_bytes": reduction_forecast(reduction),
            "disk_bytes": int(np.prod(reduction.partials.shape)) * 8,
        }
        for reduction in reductions.values()
    ]


def format_plan(plan: Mapping[str, Any]) -> str:
    """Format a plan for people."""
    header = ("stage", "variable", "blocks", "tasks", "bytes per process", "disk at most")
    rows = [
        (
            row["name"],
            row["variable"],
            row["blocks"],
            row["tasks"],
            format_bytes(row["task_bytes"]),
            format_bytes(row["disk_bytes"]),
        )
        for row in plan["stages"]
    ]
    largest = max((row["task_bytes"] for row in plan["stages"]), default=0)
    return "\n".join(
        [
            f"{one_line(plan['title'])}: {plan['size']}",
            *table(header, rows),
            f"largest process: {format_bytes(largest)}; {_verdict(plan)}",
            f"disk, uncompressed: {format_bytes(plan['disk_bytes'])}",
        ]
    )


def _verdict(plan: Mapping[str, Any]) -> str:
    """Say whether a plan fits the workers that a run would have."""
    threads, limit = plan["threads"], plan["worker_bytes"]
    least = f"a worker of {threads} thread{'s' if threads > 1 else ''} needs "
    least += format_bytes(plan["least_bytes"])
    if limit is None:
        return f"{least}; what those of the scheduler have is seen when the run begins"
    fits = "it fits" if plan["fits"] else "it does not fit"
    return f"{least}, each worker has {format_bytes(limit)}: {fits}"
