"""Results of a run: computed, stored, opened again, reported."""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from ..blocks import Execution, Reduction, count_blocks, origin
from ..conventions import FibdaskError, StackReadError
from ..io import open_stack
from ..io.store import raise_failures
from ..report import write_report
from .estimates import ESTIMATES
from .folder import RunFolder
from .stages import ESTIMATE, STATISTICS, STORES, STRUCTURE


def compute_results(lazy: xr.Dataset, execution: Execution) -> xr.Dataset:
    """Compute small lazy results; blocks are counted once, however many results share them."""
    counts: dict[str, np.ndarray] = {}
    computed = {}
    for name, variable in lazy.data_vars.items():
        reduction = origin(variable.data)
        if isinstance(reduction, Reduction):
            result = _result(reduction, execution, counts)
            computed[name] = (variable.dims, result, variable.attrs)
    return lazy.assign(computed).compute()


def _result(
    reduction: Reduction, execution: Execution, counts: dict[str, np.ndarray]
) -> np.ndarray:
    """Return a result, counting first what it needs and nobody has counted yet."""
    token = reduction.partials.token
    if token not in counts:
        needed = reduction.partials.reductions
        values = {inner.token: _result(inner, execution, counts) for inner in needed}
        counts[token], report = count_blocks(reduction, execution, name=STATISTICS, values=values)
        raise_failures([report])
    return reduction.result(counts[token])


def store_results(results: xr.Dataset, path: Path) -> None:
    """Store statistics; an earlier store is replaced when the new one is whole."""
    # Strings of variable length, because fixed ones have no Zarr v3 specification.
    text = [name for name, c in results.coords.items() if c.dtype.kind == "U"]
    results = results.assign_coords({name: results[name].astype(object) for name in text})
    partial = path.with_name(f"{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    results.to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
    shutil.rmtree(path, ignore_errors=True)
    partial.rename(path)


def reopen(folder: RunFolder) -> tuple[dict[str, xr.Dataset], xr.Dataset | None]:
    """Open what a run has stored, as far as it came: its stacks in order, and its statistics."""
    stacks = {}
    for name in STORES:
        with contextlib.suppress(FibdaskError):
            stacks[name] = open_stack(folder.store(name))
    return stacks, _reopened(folder, STATISTICS)


def reopen_estimates(folder: RunFolder) -> dict[str, xr.Dataset]:
    """Open the numbers that a run has estimated of its slices, by stage."""
    found = {name: _reopened(folder, f"{name}{ESTIMATE}") for name in ESTIMATES}
    return {name: numbers for name, numbers in found.items() if numbers is not None}


def _reopened(folder: RunFolder, name: str) -> xr.Dataset | None:
    path = folder.store(name)
    if not path.is_dir():
        return None
    stored: xr.Dataset = xr.open_zarr(path, consolidated=False, chunks=None)
    return stored.load()


def final_stack(folder: RunFolder) -> xr.Dataset:
    """Open the stack after the last stage of a run.

    Raises
    ------
    StackReadError
        If the run has not finished.
    """
    state = folder.read()["state"]
    stores = [folder.store(name) for name in STORES]
    stores = [store for store in stores if store.exists()]
    if state != "done" or not stores:
        msg = f"the run in {folder.path} is {state}, not done; run it again to finish it"
        raise StackReadError(msg)
    return open_stack(stores[-1])


def report_run(
    folder: RunFolder,
    stacks: Mapping[str, xr.Dataset],
    estimates: Mapping[str, xr.Dataset],
    statistics: xr.Dataset | None,
) -> Path:
    """Write the report of a run."""
    summary = folder.summary or folder.read()
    return write_report(
        folder.path / "report.html",
        stages={name: stack for name, stack in stacks.items() if name != STRUCTURE},
        estimates=estimates,
        statistics=statistics,
        summary=summary,
    )
