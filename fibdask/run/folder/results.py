"""Results of a run: computed, stored, opened again, reported."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ...blocks import Execution, Reduction, array_token, count_blocks, fingerprint, origin
from ...conventions import StackReadError
from ...io import open_stack
from ...io.metadata import check_store, seal_store, with_storable_texts
from ...io.store import raise_failures
from ..stages import IMPORT, SIMULATE, STATISTICS, STRUCTURE, estimate_stores, stack_stores, titles
from ..telling import telling
from .run_folder import PARTIAL, REPORT, RunFolder

_MADE_OF = "made_of"
"""Attribute that tells what numbers were computed of."""


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


def compute_once(
    lazy: xr.Dataset, execution: Execution, folder: RunFolder, name: str
) -> xr.Dataset:
    """Compute small lazy results, or take those that an earlier run has stored of the same."""
    tokens = [array_token(variable.data) for variable in lazy.data_vars.values()]
    places = {str(axis): places.values for axis, places in lazy.coords.items()}
    made_of = fingerprint(tokens, places, lazy.attrs)
    if execution.resume and folder.store(name).is_dir():
        # What is damaged is made anew.
        with contextlib.suppress(StackReadError):
            stored = _reopened(folder, name)
            if stored.attrs.get(_MADE_OF) == made_of:
                return stored
    return compute_results(lazy, execution).assign_attrs({_MADE_OF: made_of})


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


def store_results(results: xr.Dataset, folder: RunFolder, name: str) -> xr.Dataset:
    """Store numbers of a run, and return them; an earlier store is replaced by the whole new one.

    Of several parts one stores its numbers, which the others take for theirs: they may have been
    computed on other machines.
    """
    with folder.alone():
        if folder.is_done(name):
            return _reopened(folder, name)
        path = folder.begin_store(name)
        partial = path.with_name(PARTIAL.format(path.name))
        with_storable_texts(results).to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
        seal_store(partial)
        if path.exists():
            folder.discard(path)
        partial.rename(path)
        folder.end_store(name)
    return results


def reopen(folder: RunFolder) -> tuple[dict[str, xr.Dataset], xr.Dataset | None]:
    """Open what a run has stored, as far as it came: its stacks in order, and its statistics."""
    done = done_stores(folder.read())
    stacks = {name: open_stack(folder.store(name)) for name in done if name in stack_stores()}
    return stacks, _reopened(folder, STATISTICS) if STATISTICS in done else None


def reopen_estimates(folder: RunFolder) -> dict[str, xr.Dataset]:
    """Open the numbers that a run has estimated of its slices, by stage."""
    done = done_stores(folder.read())
    stores = estimate_stores().items()
    return {stage: _reopened(folder, store) for stage, store in stores if store in done}


def _reopened(folder: RunFolder, name: str) -> xr.Dataset:
    path = folder.store(name)
    check_store(path)
    try:
        stored: xr.Dataset = xr.open_zarr(path, consolidated=False, chunks=None).load()
    except Exception as error:  # zarr and xarray raise many kinds for a damaged store
        msg = f"{path} cannot be read: {error}; run again to make it anew"
        raise StackReadError(msg) from error
    return stored


def done_stores(summary: Mapping[str, Any]) -> list[str]:
    """Return the names of the stores that a run has finished, in the order of making."""
    return [name for name, state in summary["stores"].items() if state == "done"]


def final_stack(folder: RunFolder) -> xr.Dataset:
    """Open the stack after the last stage of a run; stores of earlier runs are no part of it.

    Raises
    ------
    StackReadError
        If the run has not finished, or stored no stack.
    """
    summary = folder.read()
    if summary["state"] != "done":
        msg = f"the run in {folder.path} is {summary['state']}, not done; run it again to finish it"
        raise StackReadError(msg)
    stacks = [name for name in done_stores(summary) if name in stack_stores()]
    if not stacks:
        msg = f"the run in {folder.path} made no stack of its own; give the stack that it read"
        raise StackReadError(msg)
    return open_stack(folder.store(stacks[-1]))


def report_run(
    folder: RunFolder,
    stacks: Mapping[str, xr.Dataset],
    estimates: Mapping[str, xr.Dataset],
    statistics: xr.Dataset | None,
    *,
    quiet: bool,
) -> Path:
    """Write the report of a run, and show how far it is."""
    summary = folder.summary or folder.read()
    from ...report import write_report  # draws: half a second, which runs without a page save

    # A structure is no stage of the images that are made of it, wherever it comes from.
    hidden = (STRUCTURE, IMPORT) if SIMULATE in stacks else (STRUCTURE,)
    with telling("report", quiet=quiet) as tell:
        return write_report(
            folder.path / REPORT,
            stages={name: stack for name, stack in stacks.items() if name not in hidden},
            titles=titles(),
            estimates=estimates,
            statistics=statistics,
            summary=summary,
            tell=tell,
        )
