"""Stacks in Zarr stores: open, save, resume, and the pyramid for viewers."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from ..blocks import (
    Execution,
    Source,
    StageReport,
    Target,
    check_budget,
    count_blocks,
    current_client,
    default_block,
    fit_block,
    forecast,
    from_source,
    inner_chunks,
    is_complete,
    locked,
    open_stored,
    origin,
    reduction_forecast,
    skip_array,
    storage_grid,
    worker_limits,
    write_array,
)
from ..conventions import (
    AXES,
    VARIABLES,
    VERSION,
    VOLUMES,
    BlocksFailedError,
    ConventionError,
    attributes,
    finish_stack,
    is_regular,
    plain_value,
)
from .guards import check_inputs, check_path
from .labels import describe_labels, drop_labels, label_names, label_path
from .opening import PROBABILITY_ATTRS, UNFINISHED, WRITER, open_dataset, with_volumes
from .paths import make_parent, new_path
from .pyramid import LEVEL_NAME, coarsen, multiscales, needs_level


def save_stack(
    stack: xr.Dataset, path: str | Path, *, resume: bool = True, pyramid: bool | None = None
) -> Path:
    """Save a stack as a sharded Zarr v3 store, block by block.

    Parameters
    ----------
    stack
        Any stack; lazy volumes are computed one block at a time, on the workers of the current
        Dask client if there is one.
    path
        Folder to be made; one that holds a stack is brought up to date.
    resume
        Keep the finished blocks of an earlier run with the same inputs, parameters and version;
        of volumes derived by other means than fibdask's stages, nothing is kept.
    pyramid
        Add coarser levels for viewers, and phases beside images once more, as their labels; by
        default where z is regular. OME-Zarr 0.5 metadata are written wherever it is, because
        uneven depths cannot be expressed there.

    Returns
    -------
    Path
        The store.

    Raises
    ------
    BlocksFailedError
        If blocks failed; the finished ones are kept for the next run.
    ConventionError
        If the stack breaks a rule, the path is none, or what the stack is computed from would be
        overwritten.
    MemoryBudgetError
        If a block does not fit a worker; nothing is touched.
    StackReadError
        If the path is something else than a stack, cannot be made, or is being written by
        another process.
    """
    path = new_path(path)
    counts = path.with_name(f".{path.name}.counts")
    client = current_client()
    threads, memory = worker_limits(client)
    execution = Execution(client, threads, memory, resume=resume, counts=counts)
    reports = write_stack(stack, path, execution, pyramid=pyramid)
    raise_failures(reports)
    shutil.rmtree(counts, ignore_errors=True)
    return path


@dataclass(frozen=True)
class StoredVolume:
    """One volume of a stack and the array that it is written to."""

    name: str
    array: Any
    target: Target


def volume_targets(stack: xr.Dataset, path: Path, block_bytes: int) -> list[StoredVolume]:
    """Return where each volume of a stack is written below a path, and in which blocks."""
    volumes = []
    for name in VOLUMES:
        if name not in stack.variables:
            continue
        variable = stack[name].variable
        probability = name == "solid_probability"
        array = variable._data if isinstance(variable._data, np.ndarray) else variable.data
        grid = storage_grid(variable.shape, _block(array, block_bytes))
        attrs = attributes(name) | variable.attrs | (PROBABILITY_ATTRS if probability else {})
        dtype = "uint8" if probability else variable.dtype.name
        target = Target(
            path / name,
            grid,
            inner_chunks(grid.block, flat=name == "intensity"),
            dtype,
            tuple(str(dim) for dim in variable.dims),
            attrs,
        )
        volumes.append(StoredVolume(name, array, target))
    return volumes


def _block(array: Any, block_bytes: int) -> tuple[int, ...]:
    source = origin(array)
    itemsize = array.dtype.itemsize
    if isinstance(source, Source):
        return fit_block(source.block, block_bytes // itemsize)
    return default_block(array.shape, itemsize, block_bytes)


def write_stack(
    stack: xr.Dataset,
    path: Path,
    execution: Execution,
    *,
    pyramid: bool | None = None,
    name: str = "",
) -> list[StageReport]:
    """Write a stack with a given execution and return a report for each array and reduction."""
    stack = finish_stack(stack)
    pyramid = _check_pyramid(stack, pyramid)
    check_path(path)
    make_parent(path)
    with locked(path.with_name(f".{path.name}.lock")):
        volumes = volume_targets(stack, path, execution.block_bytes)
        _check_budgets(volumes, execution)
        check_inputs([(v.target, v.array) for v in volumes], path, resume=execution.resume)
        reports = _write_level(stack, path, execution, name)
        levels, folder = [stack], path
        while pyramid and needs_level(levels[-1]) and not _failed(reports):
            level = coarsen(with_volumes(open_dataset(folder), folder))
            folder = path / LEVEL_NAME.format(len(levels))
            label = f"{name or 'pyramid'} level {len(levels)}"
            reports += _write_level(level, folder, execution, label)
            _finish(folder, level, None)
            levels.append(level)
        labels = label_names(stack) if pyramid and not _failed(reports) else []
        reports += _write_labels(path, levels, labels, execution)
        if not _failed(reports):
            _drop(path, stack, len(levels))
            drop_labels(path, labels, len(levels))
            _finish(path, stack, multiscales(levels, labels) if is_regular(stack) else None)
    return reports


def _write_labels(
    path: Path, levels: Sequence[xr.Dataset], names: Sequence[str], execution: Execution
) -> list[StageReport]:
    """Write phases that are stored at all levels once more, as labels of images."""
    reports: list[StageReport] = []
    if names:
        describe_labels(path, levels)
    for name, (number, level) in product(names, enumerate(levels)):
        folder = path / LEVEL_NAME.format(number) if number else path
        stored = from_source(open_stored(folder / name, phase=True))
        phase = level[[name]].assign({name: (AXES, stored, level[name].attrs)})
        [volume] = volume_targets(phase, folder, execution.block_bytes)
        target = replace(volume.target, path=label_path(path, name, number))
        reports += _write_volume(replace(volume, target=target), execution, f"{name} label")
    return reports


def _failed(reports: Iterable[StageReport]) -> bool:
    return any(report.failures for report in reports)


def _check_budgets(volumes: Iterable[StoredVolume], execution: Execution) -> None:
    """Refuse what does not fit a worker before anything is touched."""
    for volume in volumes:
        source = origin(volume.array)
        reductions = source.reductions if isinstance(source, Source) else ()
        needs = [reduction_forecast(reduction) for reduction in reductions]
        needed = max(forecast(volume.array, volume.target), *needs, 0)
        check_budget(volume.name, needed, execution.threads, execution.memory_limit)


def _finish(path: Path, stack: xr.Dataset, ome: Mapping[str, Any] | None) -> None:
    """Give a store its final attributes."""
    group = zarr.open_group(path, mode="r+")
    attrs = json.loads(json.dumps(stack.attrs, default=plain_value))
    if "coordinates" in group.attrs:
        attrs["coordinates"] = group.attrs["coordinates"]
    if ome:
        attrs["ome"] = ome
    attrs["z_sampling"] = "regular" if is_regular(stack) else "variable"
    group.attrs.put(attrs | {WRITER: VERSION})


def _drop(path: Path, stack: xr.Dataset, levels: int) -> None:
    """Remove variables and levels that an earlier stack had and this one has not."""
    kept = {str(name) for name in stack.variables} | {
        LEVEL_NAME.format(n) for n in range(1, levels)
    }
    for child in path.iterdir():
        known = child.name in VARIABLES or child.name.startswith(LEVEL_NAME.format(""))
        if child.is_dir() and known and child.name not in kept:
            shutil.rmtree(child)


def _write_level(
    stack: xr.Dataset, path: Path, execution: Execution, name: str
) -> list[StageReport]:
    """Write coordinates and volumes of one resolution."""
    _write_small_variables(stack, path)
    reports: list[StageReport] = []
    for volume in volume_targets(stack, path, execution.block_bytes):
        reports += _write_volume(volume, execution, name)
    return reports


def _check_pyramid(stack: xr.Dataset, pyramid: bool | None) -> bool:
    regular = is_regular(stack)
    if pyramid and not regular:
        msg = "a pyramid needs a regular z; this stack's is uneven: reposition the slices first"
        raise ConventionError(msg)
    return regular if pyramid is None else pyramid


def _write_volume(volume: StoredVolume, execution: Execution, name: str) -> list[StageReport]:
    """Write one volume; the reductions it depends on are stages of their own."""
    label = name or volume.name
    source = origin(volume.array)
    reductions = source.reductions if isinstance(source, Source) else ()
    reports: list[StageReport] = []
    if execution.resume and is_complete(volume.array, volume.target):
        for reduction in reductions:
            blocks = reduction.partials.grid.size
            reports.append(skip_array(f"{label} histogram", blocks, execution))
        return [*reports, skip_array(label, volume.target.grid.size, execution)]
    values: dict[str, np.ndarray] = {}
    for reduction in reductions:
        counts, report = count_blocks(
            reduction, execution, name=f"{label} histogram", values=values
        )
        reports.append(report)
        if report.failures:
            return reports
        values[reduction.token] = reduction.result(counts)
    reports.append(write_array(volume.array, volume.target, execution, name=label, values=values))
    return reports


def _write_small_variables(stack: xr.Dataset, path: Path) -> None:
    """Write coordinates and per-slice variables anew."""
    small = stack.drop_vars([name for name in VOLUMES if name in stack.variables])
    small = small.load().drop_encoding()
    small.attrs = {UNFINISHED: True, WRITER: VERSION}
    for name in small.variables:
        shutil.rmtree(path / str(name), ignore_errors=True)
    for leftover in path.glob("zarr.*.partial"):  # of a write that was killed
        leftover.unlink()
    small.to_zarr(path, mode="a", zarr_format=3, consolidated=False)


def raise_failures(reports: Iterable[StageReport]) -> None:
    """Raise if blocks failed, naming their places and causes.

    Raises
    ------
    BlocksFailedError
        Naming up to ten blocks.
    """
    failures = [(r.name, failure) for r in reports for failure in r.failures]
    if not failures:
        return
    lines = [f"{name}: block {f.block} ({f.place}): {f.cause}" for name, f in failures[:10]]
    more = f"\n… and {len(failures) - 10} more" if len(failures) > 10 else ""
    msg = f"{len(failures)} block(s) failed; finished blocks are kept\n" + "\n".join(lines) + more
    raise BlocksFailedError(msg)
