"""Run a recipe: each stage is called lazily, then its result is stored, resumed and reopened."""

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import xarray as xr

from ..blocks import Execution, Reduction, StageReport, check_budget, count_blocks, origin
from ..conventions import VOLUMES, FibdaskError
from ..io.store import open_stack, raise_failures, write_stack
from ..report import write_report
from ..statistics import segmentation_errors
from .cluster import worker_limits
from .folder import COUNTS, LOG, RunFolder
from .planning import plan_stages
from .progress import LOGGER, RunMonitor
from .recipe import STAGES, TABLES, Recipe, call_stage, read_recipe
from .stages import STATISTICS, is_stored, kept_variables, phase_of, source_name


def run_recipe(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    client: distributed.Client | None = None,
    resume: bool = True,
    quiet: bool = True,
) -> xr.Dataset:
    """Run a recipe and return its resulting stack.

    Parameters
    ----------
    recipe
        Path of a TOML file, or its content.
    client
        Dask client whose workers make the blocks; by default the current one, or none: then this
        process makes them.
    resume
        Keep what an earlier run finished with the same inputs, parameters and version.
    quiet
        Print nothing.

    Returns
    -------
    Dataset
        The stack after the last stage, opened lazily. Statistics, where asked for, are its
        companion `statistics.zarr` in the output folder.

    Raises
    ------
    RecipeError, ConventionError, StackReadError, MemoryBudgetError
        Before blocks are made, if something is wrong.
    BlocksFailedError
        If blocks failed; everything finished stays, and running again makes only what is missing.
    """
    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    if client is None:
        with contextlib.suppress(ValueError):
            client = distributed.get_client()
    return Pipeline(recipe, resume=resume, quiet=quiet).run(client)


class Pipeline:
    """One run of a recipe; its input is opened at once, so that errors come before workers."""

    def __init__(self, recipe: Recipe, *, resume: bool, quiet: bool) -> None:
        self.recipe = recipe
        self.folder = RunFolder(Path(recipe.tables["output"]["path"]))
        self.execution = Execution(
            resume=resume,
            counts=self.folder.path / COUNTS,
            block_bytes=recipe.tables["output"]["block_mib"] * 2**20,
            monitor=RunMonitor(self._listen, quiet=quiet),
        )
        self.stacks: dict[str, xr.Dataset] = {}
        self.statistics: xr.Dataset | None = None
        self._stage = ""
        self._reports: list[StageReport] = []
        name = source_name(recipe)
        self._source: xr.Dataset = TABLES[name](**recipe.tables[name])

    def run(self, client: distributed.Client | None) -> xr.Dataset:
        """Run all stages, then write the report, whatever happened."""
        self.execution = replace(self.execution, client=client, **worker_limits(client))
        for row in plan_stages(self.recipe, self._source):
            name, needed = row["name"], row["task_bytes"]
            check_budget(name, needed, self.execution.threads, self.execution.memory_limit)
        self.folder.prepare(self.recipe.title, self.recipe.text(), self._assumptions())
        with _log_file(self.folder.path / LOG):
            LOGGER.info("run of %s in %s", self.recipe.title, self.folder.path)
            try:
                stack = self._run_stages(self._source)
            except BaseException as error:
                LOGGER.error("%s: %s", type(error).__name__, error)
                self._close("failed" if isinstance(error, FibdaskError) else "interrupted")
                raise
            self._close("done")
            LOGGER.info("done")
        return stack

    def _run_stages(self, stack: xr.Dataset) -> xr.Dataset:
        first = "simulate" if source_name(self.recipe) == "simulate" else "import"
        names = [name for name in STAGES if name in self.recipe.tables]
        last = ([first, *names])[-1]
        if first == "simulate" or not is_stored(stack):
            stack = self._keep(first, stack, list(VOLUMES), last=last == first)
        self.stacks[first] = stack
        for name in names:
            stack = call_stage(name, stack, self.recipe.tables[name])
            stack = self._keep(name, stack, kept_variables(self.recipe, stack), last=name == last)
            self.stacks[name] = stack
        if STATISTICS in self.recipe.tables:
            self.statistics = self._measure(stack)
        return stack

    def _keep(self, name: str, stack: xr.Dataset, kept: list[str], *, last: bool) -> xr.Dataset:
        """Store variables of a stage and return the stack that reads them from there."""
        path = self.folder.store(name)
        lazy = [v for v in VOLUMES if v in stack.variables and v not in kept]
        pyramid = None if last and self.recipe.tables["output"]["pyramid"] else False
        self._stage, self._reports = name, []
        without = stack.drop_vars(lazy)
        if "voltage" in without.dims and "intensity" in lazy:
            without = without.drop_dims("voltage")
        reports = write_stack(without, path, self.execution, pyramid=pyramid, name=name)
        raise_failures(reports)
        stored = open_stack(path)
        return stored.assign({v: stack[v] for v in lazy}) if lazy else stored

    def _listen(self, report: StageReport, *, now: bool) -> None:
        if report not in self._reports:
            self._reports.append(report)
        same = [r for r in self._reports if ("histogram" in r.name) == ("histogram" in report.name)]
        name = self._stage + (" histogram" if "histogram" in report.name else "")
        self.folder.update(self.folder.merge(name, same), now=now)

    def _measure(self, stack: xr.Dataset) -> xr.Dataset:
        """Compute the statistics, each reduction once, and store them."""
        self._stage, self._reports = STATISTICS, []
        lazy = call_stage(STATISTICS, phase_of(stack), self.recipe.tables[STATISTICS])
        lazy = lazy.assign(self._accuracy())
        results = compute_results(lazy, self.execution)
        path = self.folder.store(STATISTICS)
        shutil.rmtree(path, ignore_errors=True)
        # Strings of variable length, because fixed ones have no Zarr v3 specification.
        text = [name for name, c in results.coords.items() if c.dtype.kind == "U"]
        results = results.assign_coords({name: results[name].astype(object) for name in text})
        results.to_zarr(path, mode="w", zarr_format=3, consolidated=False)
        return results

    def _accuracy(self) -> dict[str, xr.DataArray]:
        """Compare the segmentation with the truth on the slices themselves."""
        for stack in self.stacks.values():
            if "phase" in stack and "true_phase" in stack:
                errors = segmentation_errors(stack["phase"], stack["true_phase"])
                return {str(name): errors[name] for name in errors.data_vars}
        return {}

    def _assumptions(self) -> list[str]:
        table = self.recipe.tables.get("input", {})
        return [f"{key} = {table.get(key)}" for key in table.get("assumed") or []]

    def _close(self, state: str) -> None:
        self.folder.finish(state)
        if self.recipe.tables["output"]["report"] and self.stacks:
            report_run(self.folder, self.stacks, self.statistics)


def compute_results(lazy: xr.Dataset, execution: Execution) -> xr.Dataset:
    """Compute small lazy results; blocks are counted once, however many results share them."""
    counts: dict[str, np.ndarray] = {}
    computed = {}
    for name, variable in lazy.data_vars.items():
        reduction = origin(variable.data)
        if not isinstance(reduction, Reduction):
            continue
        token = reduction.partials.token
        if token not in counts:
            counts[token], report = count_blocks(reduction, execution, name=STATISTICS, values={})
            raise_failures([report])
        computed[name] = (variable.dims, reduction.result(counts[token]), variable.attrs)
    return lazy.assign(computed).compute()


def report_run(
    folder: RunFolder, stacks: Mapping[str, xr.Dataset], statistics: xr.Dataset | None
) -> Path:
    """Write the report of a run."""
    summary = folder.summary or folder.read()
    return write_report(
        folder.path / "report.html", stages=dict(stacks), statistics=statistics, summary=summary
    )


def reopen(folder: RunFolder) -> tuple[dict[str, xr.Dataset], xr.Dataset | None]:
    """Open what a run has stored: its stacks in order, and its statistics."""
    stacks = {}
    for name in ("import", "simulate", *STAGES):
        with contextlib.suppress(FibdaskError):
            stacks[name] = open_stack(folder.store(name))
    statistics = None
    if folder.store(STATISTICS).is_dir():
        statistics = xr.open_zarr(folder.store(STATISTICS), consolidated=False, chunks=None).load()
    return stacks, statistics


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    LOGGER.addHandler(handler)
    propagate, LOGGER.propagate = LOGGER.propagate, False
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        LOGGER.propagate = propagate
        handler.close()
