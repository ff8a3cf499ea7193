"""Stacks in Zarr stores: open, save, resume, and the pyramid for viewers."""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from ..blocks import (
    Execution,
    Reduction,
    Source,
    StageReport,
    StoredArray,
    Target,
    count_blocks,
    default_block,
    fit_block,
    from_source,
    inner_chunks,
    is_complete,
    open_stored,
    origin,
    storage_grid,
    write_array,
)
from ..conventions import (
    VOLUMES,
    BlocksFailedError,
    ConventionError,
    StackReadError,
    attributes,
    check_thickness,
    check_z,
    finish_stack,
    is_regular,
)
from .pyramid import LEVEL_NAME, coarsen, multiscales, needs_level

_PROBABILITY_ATTRS = {"scale_factor": 1 / 255}
_STORE_ATTRS = ("ome", "z_sampling")  # say something of the store, not of the stack


def open_stack(path: str | Path) -> xr.Dataset:
    """Open a stored stack lazily.

    Parameters
    ----------
    path
        Folder of a Zarr store that holds a stack.

    Returns
    -------
    Dataset
        With volumes as Dask arrays that tasks read by coordinates, straight from the store.

    Raises
    ------
    StackReadError
        If there is no readable Zarr store, or its writing was not finished.
    ConventionError
        If what it holds is not a stack.
    """
    path = Path(path)
    if not path.exists():
        msg = f"{path} does not exist"
        raise StackReadError(msg)
    stack = _open_dataset(path)
    for name in VOLUMES:
        if name in stack.variables:
            stored = open_stored(path / name)
            variable = stack[name].variable
            attrs = {k: v for k, v in variable.attrs.items() if k not in _PROBABILITY_ATTRS}
            stack[name] = xr.Variable(variable.dims, from_source(stored), attrs)
    thickness = stack.variables.get("slice_thickness")
    if thickness is not None and "z" in stack.coords:
        check_z(stack["z"].values)
        check_thickness(thickness.values, stack["z"].values)
    stack.attrs = {key: value for key, value in stack.attrs.items() if key not in _STORE_ATTRS}
    return finish_stack(stack)


def _open_dataset(path: Path) -> xr.Dataset:
    try:
        stack: xr.Dataset = xr.open_zarr(
            path, consolidated=False, chunks=None, mask_and_scale=False
        )
        return stack.drop_encoding()
    except Exception as error:  # zarr and xarray raise many kinds for a damaged store
        msg = f"{path} cannot be read as a Zarr store: {error}"
        raise StackReadError(msg) from error


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
        Keep the finished blocks of an earlier run with the same inputs, parameters and version.
    pyramid
        Add OME-Zarr 0.5 metadata and coarser levels; by default where z is regular, because
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
        If the stack breaks a rule, or would overwrite what it is computed from.
    StackReadError
        If the path is something else than a stack.
    """
    path = Path(path)
    counts = path.with_name(f".{path.name}.counts")
    execution = Execution(client=_current_client(), resume=resume, counts=counts)
    reports = write_stack(stack, path, execution, pyramid=pyramid)
    raise_failures(reports)
    shutil.rmtree(counts, ignore_errors=True)
    return path


def _current_client() -> Any:
    import distributed

    try:
        return distributed.get_client()
    except ValueError:
        return None


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
        attrs = attributes(name) | variable.attrs | (_PROBABILITY_ATTRS if probability else {})
        dtype = "uint8" if probability else variable.dtype.name
        target = Target(
            path / name,
            grid,
            inner_chunks(grid.block),
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
    volumes = volume_targets(stack, path, execution.block_bytes)
    _check_path(path)
    _check_inputs(volumes, path, execution.resume)
    _write_small_variables(stack, path, pyramid=pyramid)
    reports: list[StageReport] = []
    for volume in volumes:
        reports += _write_volume(volume, execution, name)
    if pyramid and not any(report.failures for report in reports):
        reports += _write_levels(stack, path, execution, name)
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
    reports: list[StageReport] = []
    values: dict[str, np.ndarray] = {}
    done = execution.resume and is_complete(volume.array, volume.target)
    for reduction in source.reductions if isinstance(source, Source) else ():
        if done:
            blocks = reduction.partials.grid.size
            reports.append(StageReport(f"{label} histogram", blocks, blocks_skipped=blocks))
            continue
        counts, report = count_blocks(
            reduction, execution, name=f"{label} histogram", values=values
        )
        reports.append(report)
        if report.failures:
            return reports
        values[reduction.token] = reduction.result(counts)
    if done:
        values = {}
    reports.append(write_array(volume.array, volume.target, execution, name=label, values=values))
    return reports


def _check_path(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_dir() or (any(path.iterdir()) and not (path / "zarr.json").is_file()):
        msg = f"{path} exists and is not a Zarr v3 store; choose another output path or remove it"
        raise StackReadError(msg)


def _check_inputs(volumes: Sequence[StoredVolume], path: Path, resume: bool) -> None:
    """Refuse to overwrite or drop arrays that the new values are computed from."""
    complete = [v for v in volumes if resume and is_complete(v.array, v.target)]
    kept = {volume.target.path.resolve() for volume in complete}
    for volume in volumes:
        if volume.target.path.resolve() in kept:
            continue
        for stored in stored_inputs(volume.array):
            read = Path(stored.path).resolve()
            if read.is_relative_to(path.resolve()) and read not in kept:
                msg = (
                    f"{volume.name} is computed from {stored.path}, which saving to {path} "
                    "would overwrite; save to another path"
                )
                raise ConventionError(msg)


def stored_inputs(array: Any) -> list[StoredArray]:
    """Return the stored arrays that an array reads from."""
    source = origin(array)
    if source is not None:
        return _stored_leaves(source)
    found: list[StoredArray] = []
    for task in getattr(array, "dask", {}).values():
        parts = task.args if hasattr(task, "args") else task if isinstance(task, tuple) else ()
        for part in parts:
            if isinstance(part, Source):
                found += _stored_leaves(part)
    return found


def _stored_leaves(source: Any) -> list[StoredArray]:
    if isinstance(source, StoredArray):
        return [source]
    if isinstance(source, Reduction):
        return _stored_leaves(source.partials)
    below = [*getattr(source, "inputs", ()), *getattr(source, "parameters", ())]
    below += [source.source] if hasattr(source, "source") else []
    return [leaf for part in below for leaf in _stored_leaves(part)]


def _write_small_variables(stack: xr.Dataset, path: Path, *, pyramid: bool) -> None:
    """Write coordinates and per-slice variables anew, and drop arrays that no longer belong."""
    volumes = [name for name in VOLUMES if name in stack.variables]
    small = stack.drop_vars(volumes).load().drop_encoding()
    small = small.assign_attrs(z_sampling="regular" if is_regular(stack) else "variable")
    if path.exists():
        for child in path.iterdir():
            level = pyramid and child.name.startswith(LEVEL_NAME.format(""))
            if child.is_dir() and child.name not in volumes and not level:
                shutil.rmtree(child)
    small.to_zarr(path, mode="a", zarr_format=3, consolidated=False)
    group = zarr.open_group(path, mode="r+")
    old = dict(group.attrs)
    kept = ("coordinates", "ome") if pyramid else ("coordinates",)
    keep = {key: old[key] for key in kept if key in old}
    group.attrs.put(json.loads(json.dumps(small.attrs)) | keep)


def _write_levels(
    stack: xr.Dataset, path: Path, execution: Execution, name: str
) -> list[StageReport]:
    """Write coarser levels, each from the one before, and the OME-Zarr metadata."""
    reports: list[StageReport] = []
    levels = [stack]
    current = open_stack(path)
    while needs_level(current):
        folder = path / LEVEL_NAME.format(len(levels))
        current = coarsen(current)
        label = f"{name or 'pyramid'} level {len(levels)}"
        reports += write_stack(current, folder, execution, pyramid=False, name=label)
        if any(report.failures for report in reports):
            return reports
        current = open_stack(folder)
        levels.append(current)
    zarr.open_group(path, mode="r+").attrs["ome"] = multiscales(levels)
    return reports


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
