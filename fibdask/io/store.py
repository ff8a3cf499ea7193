"""Stacks in Zarr stores: open, save, resume, and the pyramid for viewers."""

import shutil
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import (
    BLOCK_BYTES,
    NO_MONITOR,
    Execution,
    Monitor,
    Source,
    StageReport,
    check_budget,
    count_blocks,
    current_client,
    forecast,
    from_source,
    is_complete,
    is_derived,
    locked,
    open_stored,
    origin,
    reduction_forecast,
    rename,
    skip_array,
    worker_resources,
    write_array,
)
from ..conventions import (
    AXES,
    BlocksFailedError,
    ConventionError,
    FibdaskWarning,
    finish_stack,
    is_layered,
    is_regular,
)
from .guards import check_inputs, check_names, check_path, check_sample
from .labels import describe_labels, drop_labels, label_names, label_path
from .metadata import begin_store, finish_store, is_current, small_files, sweep_store, write_files
from .opening import open_dataset, with_arrays
from .packing import without_packing
from .paths import make_parent, new_path
from .pyramid import IS_LEVEL, LEVEL_NAME, coarsen, multiscales, needs_level
from .targets import StoredVolume, planned, readable, volume_targets, with_stored

_PATIENCE = 600.0  # seconds in which another part should have written what lies beside volumes


def save_stack(
    stack: xr.Dataset, path: str | Path, *, resume: bool = True, pyramid: bool | None = None
) -> Path:
    """Save a stack as a sharded Zarr v3 store, block by block.

    Parameters
    ----------
    stack
        Any stack or layered sample. Lazy volumes are computed block by block, on the workers of the
        current Dask client if there is one.
    path
        Folder to create. If it holds a stack of the same sample, that is brought up to date.
    resume
        Keep the finished blocks of an earlier run with the same inputs, parameters and code. Of
        volumes that were not derived by fibdask's stages, nothing is kept.
    pyramid
        Add coarser levels for viewers, and store phases beside images once more, as their labels;
        by default where z is regular. OME-Zarr 0.5 metadata, which cannot express uneven depths,
        are written wherever z is regular.

    Returns
    -------
    Path
        Folder of the store.

    Raises
    ------
    BlocksFailedError
        If blocks failed; the next run keeps the finished ones.
    ConventionError
        If the stack breaks a rule, the path is not valid, saving would overwrite what the stack is
        computed from, or the path holds a stack of another sample and `resume` is set.
    MemoryBudgetError
        If a block does not fit a worker; nothing is touched.
    StackReadError
        If the path is something other than a stack, cannot be created, or is being written by
        another process.
    """
    return save_watched(stack, path, NO_MONITOR, resume=resume, pyramid=pyramid)


def save_watched(
    stack: xr.Dataset,
    path: str | Path,
    monitor: Monitor,
    *,
    resume: bool = True,
    pyramid: bool | None = None,
) -> Path:
    """Save a stack as `save_stack` does, and tell a monitor of the progress."""
    path = new_path(path).absolute()
    counts = path.with_name(f".{path.name}.counts")
    client = current_client()
    resources = worker_resources(client, folder=counts)
    execution = Execution(client, resources, resume=resume, monitor=monitor)
    reports = write_stack(stack, path, execution, pyramid=pyramid, same_sample=resume)
    raise_failures(reports)
    shutil.rmtree(counts, ignore_errors=True)
    return path


def write_stack(
    stack: xr.Dataset,
    path: Path,
    execution: Execution,
    *,
    pyramid: bool | None = None,
    name: str = "",
    same_sample: bool = False,
) -> list[StageReport]:
    """Write a stack with a given execution and return a report for each array and reduction.

    Of the `same_sample` only, a finished store is brought up to date.
    """
    stack = without_packing(finish_stack(stack))
    pyramid = _check_pyramid(stack, pyramid)
    path = path.absolute()
    check_names(stack)
    check_path(path)
    make_parent(path)
    alone = _alone(path, execution)
    with nullcontext() if execution.part.of > 1 else _locked(path):
        volumes = volume_targets(stack, path, execution.block_bytes)
        _check_budgets(planned(volumes), execution)
        _say_what_cannot_resume(volumes)
        complete = _complete(volumes, execution)
        check_inputs([(v.target, v.array) for v in volumes], path, complete)
        if same_sample:
            check_sample(stack, path, [v.target for v in volumes if v.target.path not in complete])
        with alone():
            complete = _begin_level(stack, volumes, complete, path, execution)
        reports = _write_level(volumes, complete, execution, name)
        levels, folder = [stack], path
        while pyramid and needs_level(levels[-1]) and not _failed(reports):
            level = coarsen(with_arrays(open_dataset(folder), folder))
            folder = path / LEVEL_NAME.format(len(levels))
            volumes = volume_targets(level, folder, execution.block_bytes)
            label = f"{name or 'pyramid'} level {len(levels)}"
            complete = _complete(volumes, execution)
            with alone():
                complete = _begin_level(level, volumes, complete, folder, execution)
            reports += _write_level(volumes, complete, execution, label)
            if not _failed(reports):
                with alone():
                    sweep_store(folder)
                    finish_store(folder, level, small_files(level), None)
            levels.append(level)
        labels = label_names(stack) if pyramid and not _failed(reports) else []
        reports += _write_labels(path, levels, labels, execution)
        if not _failed(reports):
            with alone():
                sweep_store(path)
                _drop_levels(path, len(levels))
                drop_labels(path, labels, len(levels))
                regular = is_regular(stack) and not is_layered(stack)
                ome = multiscales(levels, labels) if regular else None
                finish_store(path, stack, small_files(stack), ome)
    return reports


def _locked(path: Path, wait: float = 0) -> AbstractContextManager[Any]:
    return locked(path.with_name(f".{path.name}.lock"), what=path, passing=True, wait=wait)


def _alone(path: Path, execution: Execution) -> Callable[[], AbstractContextManager[Any]]:
    """Return what keeps other parts from what lies beside the blocks; one writer has no others."""
    return partial(_locked, path, _PATIENCE) if execution.part.of > 1 else nullcontext


def _write_labels(
    path: Path, levels: Sequence[xr.Dataset], names: Sequence[str], execution: Execution
) -> list[StageReport]:
    """Write phases that are stored at all levels once more, as labels of images."""
    reports: list[StageReport] = []
    if names:
        with _alone(path, execution)():
            describe_labels(path, levels)
    for name, (number, level) in product(names, enumerate(levels)):
        folder = path / LEVEL_NAME.format(number) if number else path
        stored = from_source(open_stored(folder / name, volume=name))
        phase = level[[name]].reset_coords(drop=True)
        phase[name] = (AXES, stored, level[name].attrs)
        [volume] = volume_targets(phase, folder, execution.block_bytes)
        target = replace(volume.target, path=label_path(path, name, number))
        volume = replace(volume, target=target)
        complete = target.path in _complete([volume], execution)
        reports += _write_volume(volume, execution, f"{name} label", complete)
    return reports


def _say_what_cannot_resume(volumes: Iterable[StoredVolume]) -> None:
    long = [v for v in volumes if is_derived(v.array) and v.array.nbytes > BLOCK_BYTES]
    if long:
        warnings.warn(
            f"{', '.join(v.name for v in long)} {'is' if len(long) == 1 else 'are'} not made of "
            "stored arrays by fibdask's stages alone, but by arithmetic or of arrays in memory: if "
            "saving is interrupted, it begins again; save what it is made of, and make it after "
            "opening that",
            FibdaskWarning,
            stacklevel=3,
        )


def _complete(volumes: Iterable[StoredVolume], execution: Execution) -> set[Path]:
    """Return where the volumes lie of which nothing is missing."""
    return {v.target.path for v in volumes if execution.resume and is_complete(v.array, v.target)}


def _failed(reports: Iterable[StageReport]) -> bool:
    return any(report.failures for report in reports)


def _check_budgets(volumes: Iterable[StoredVolume], execution: Execution) -> None:
    """Refuse what does not fit a worker before anything is touched; the largest need is told."""
    needs = []
    for volume in volumes:
        source = origin(volume.array)
        reductions = source.reductions if isinstance(source, Source) else ()
        needs.append((forecast(volume.array, volume.target), volume.name))
        needs += [(reduction_forecast(reduction), volume.name) for reduction in reductions]
    needed, name = max(needs, default=(0, ""))
    check_budget(name, needed, execution.resources)


def _drop_levels(path: Path, levels: int) -> None:
    """Remove coarser levels that an earlier stack had and this one has not."""
    kept = {LEVEL_NAME.format(n) for n in range(1, levels)}
    for child in path.iterdir():
        if child.is_dir() and IS_LEVEL.fullmatch(child.name) and child.name not in kept:
            shutil.rmtree(child)


def _begin_level(
    stack: xr.Dataset,
    volumes: list[StoredVolume],
    complete: set[Path],
    path: Path,
    execution: Execution,
) -> set[Path]:
    """Write what lies beside the volumes of one resolution; where all is there, nothing.

    Return where the volumes lie of which nothing is missing.
    """
    names, files = [volume.name for volume in volumes], small_files(stack)
    current = is_current(path, files, names)
    if current and execution.part.of > 1:  # other parts may just have finished it
        complete = _complete(volumes, execution)
    renamed = any(volume.target.renamed() for volume in volumes)
    if len(complete) < len(volumes) or renamed or not current:
        begin_store(path)
        write_files(path, files, names)
    return complete


def _write_level(
    volumes: list[StoredVolume], complete: set[Path], execution: Execution, name: str
) -> list[StageReport]:
    """Write the volumes of one resolution; of what is all there, nothing."""
    reports: list[StageReport] = []
    broken: set[str] = set()
    for volume in volumes:
        done = volume.target.path in complete
        if not done and broken.intersection(other.name for other in readable(volume, volumes)):
            continue  # the next run makes it of what is whole then, rather than this one of nothing
        made = volume if done else with_stored(volume, volumes)
        found = _write_volume(made, execution, name, done)
        if _failed(found):
            broken.add(volume.name)
        reports += found
    return reports


def _check_pyramid(stack: xr.Dataset, pyramid: bool | None) -> bool:
    if is_layered(stack):  # its maps have no levels
        return False
    regular = is_regular(stack)
    if pyramid and not regular:
        msg = "a pyramid needs a regular z; this stack's is uneven: reposition the slices first"
        raise ConventionError(msg)
    return regular if pyramid is None else pyramid


def _write_volume(
    volume: StoredVolume, execution: Execution, name: str, complete: bool
) -> list[StageReport]:
    """Write one volume; the reductions it depends on are stages of their own."""
    label = name or volume.name
    rename(volume.target)
    source = origin(volume.array)
    reductions = source.reductions if isinstance(source, Source) else ()
    reports: list[StageReport] = []
    if complete:
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
    blocks = "1 block" if len(failures) == 1 else f"{len(failures)} blocks"
    msg = f"{blocks} failed; finished blocks are kept\n" + "\n".join(lines) + more
    raise BlocksFailedError(msg)
