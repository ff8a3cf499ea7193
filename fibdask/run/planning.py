"""Forecast a recipe: blocks, tasks, memory and disk, from metadata alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import (
    Reduction,
    Source,
    StoredArray,
    array_token,
    forecast,
    format_bytes,
    from_source,
    origin,
    reduction_forecast,
    values_target,
)
from ..conventions import VOLUMES, finish_stack, is_regular
from ..io.pyramid import coarsen, needs_level
from ..io.store import volume_targets
from .cluster import parse_memory
from .estimates import ESTIMATES, THICKNESS
from .info import table
from .recipe import Recipe, blamed_on, call_stage, read_recipe
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
    """Check a recipe and build every stage lazily; return the size of its input.

    Raises
    ------
    FibdaskError
        What a run would raise before its first block.
    """
    forecast = plan_recipe(recipe, **paths)
    return {"recipe": str(recipe), "size": forecast["size"], "stages": len(forecast["stages"])}


def plan_recipe(recipe: str | Path | Mapping[str, Any] | Recipe, **paths: Any) -> dict[str, Any]:
    """Return blocks, tasks, bytes per task and disk of every stage."""
    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(recipe, **paths)
    stack = images = first_stack(recipe)
    if "simulate" in recipe.tables:
        images = call_stage("simulate", stack, recipe.tables["simulate"])
    size = " × ".join(f"{n} {dim}" for dim, n in images.sizes.items())
    rows = plan_stages(recipe, stack)
    return {
        "title": recipe.title,
        "size": size,
        "stages": rows,
        "worker_bytes": parse_memory(recipe.tables["cluster"]["memory"]),
        "disk_bytes": sum(row["disk_bytes"] for row in rows),
    }


def plan_stages(recipe: Recipe, stack: xr.Dataset) -> list[dict[str, Any]]:
    """Return a row for each array that the stages of a recipe make of a stack."""
    block_bytes = recipe.tables["output"]["block_mib"] * 2**20
    rows: list[dict[str, Any]] = []
    if not is_stored(stack):
        stack, rows = _stage_rows(first_name(recipe), stack, list(VOLUMES), block_bytes)
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
    target, rounds = values_target(measurement, Path()), table.get("rounds", 1)
    row = {
        "name": f"{stage} {MEASUREMENT}",
        "variable": "values",
        "blocks": target.grid.size * rounds,
        "tasks": target.grid.size * rounds,
        "task_bytes": forecast(measurement, target),
        "disk_bytes": measurement.nbytes * rounds,
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
    """Return a row for each level of the pyramid of the last stage."""
    rows: list[dict[str, Any]] = []
    kept = kept_variables(recipe, stack, name)
    stack = stack.drop_vars([v for v in VOLUMES if v in stack and v not in kept])
    while needs_level(stack):
        stack, more = _stage_rows(
            f"{name} pyramid", coarsen(stack), kept, recipe.tables["output"]["block_mib"] * 2**20
        )
        rows += more
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
    limit = plan["worker_bytes"]
    largest = max(row["task_bytes"] for row in plan["stages"])
    memory = "an equal share of free memory" if limit is None else format_bytes(limit)
    return "\n".join(
        [
            f"{plan['title']}: {plan['size']}",
            *table(header, rows),
            f"largest process: {format_bytes(largest)}; each worker has {memory}",
            f"disk, uncompressed: {format_bytes(plan['disk_bytes'])}",
        ]
    )
