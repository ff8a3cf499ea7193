"""Run a recipe: each stage is called lazily, then its result is stored, resumed and reopened."""

import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import distributed
import xarray as xr

from ..blocks import (
    Execution,
    Part,
    StageReport,
    current_client,
    is_begun,
    keep_values,
    worker_resources,
)
from ..conventions import ConventionError, FibdaskError, FibdaskWarning, StackReadError
from ..io import open_stack
from ..io.store import raise_failures, write_stack
from ..statistics import statistics_warnings
from .cluster import part_resources
from .disk import told_if_full
from .estimates import Estimate, options_of
from .folder.ownership import (
    check_owner,
    input_paths,
    outdated_input,
    remove_earlier,
    replaced_input,
)
from .folder.part_folder import PartFolder
from .folder.progress import LOGGER, RunMonitor, log_event, log_file, warnings_logged
from .folder.results import compute_once, compute_results, reopen, report_run, store_results
from .folder.run_folder import COUNTS, RunFolder
from .folder.summary import PARTED, phase_warnings_of
from .looking import look_at_images
from .planner import check_plan, planned_stages, warn_of_idle_gpus
from .recipe import Recipe, read_recipe
from .shown import one_line
from .stages import (
    ERRORS,
    MEASUREMENT,
    SIMULATE,
    STATISTICS,
    Stage,
    asks_network,
    estimate_store,
)
from .walk import (
    Visitor,
    first_name,
    first_stack,
    is_stored,
    kept_variables,
    not_kept,
    read_now,
    walk,
)

_LATER_KERNELS = 64 * 2**20  # bytes of a process, of stages after one whose libraries stay in it


def run_recipe(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    client: distributed.Client | None = None,
    resume: bool = True,
    quiet: bool = True,
    part: tuple[int, int] | None = None,
) -> xr.Dataset:
    """Run a recipe and return the resulting stack.

    Parameters
    ----------
    recipe
        Path of a TOML file, or its content.
    client
        Dask client whose workers make the blocks; by default the current one, or else this process.
    resume
        Keep what an earlier run finished with the same inputs, parameters and code. Otherwise,
        first remove the results of earlier runs in the output folder, whatever recipe they are
        from.
    quiet
        Print nothing.
    part
        Number of this process, from 1, and of all processes that run the recipe together, such as
        jobs of an array. They need no scheduler: each makes its share of the blocks of every stage,
        with the threads and memory of one worker of [cluster], then what others have left; the last
        writes the report. (1, 1) is a whole run in this process.

    Returns
    -------
    Dataset
        The stack after the last stage, opened lazily. Statistics, if requested, are in
        `statistics.zarr` in the output folder.

    Raises
    ------
    RecipeError, ConventionError, StackReadError, MemoryBudgetError
        Before any block is made, if something is wrong; also if results of another recipe lie in
        the output folder.
    BlocksFailedError
        If blocks failed; finished blocks stay, and running again makes only the missing ones.

    Warns
    -----
    FibdaskWarning
        If results of another input are replaced, or a store is read that the last run beside it did
        not make.
    """
    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    if part is None:
        return Pipeline(recipe, resume=resume, quiet=quiet).run(client or current_client())
    if client is not None:
        msg = "client and part exclude each other: a part makes its blocks in its own process"
        raise ConventionError(msg)
    return Pipeline(recipe, resume=resume, quiet=quiet, part=Part(*part)).run(None)


class Pipeline(Visitor):
    """One run of a recipe; its input is opened at once, so that errors come before workers.

    A run `until` a stage leaves what an earlier one has stored of the stages after it. Without
    `resume`, what earlier runs have stored is removed.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        resume: bool,
        quiet: bool,
        until: str | None = None,
        log_json: bool = False,
        part: Part | None = None,
    ) -> None:
        super().__init__()
        self.recipe = recipe if until is None else recipe.until(until)
        self.whole = recipe
        self.part = part
        path = Path(recipe.tables["output"]["path"])
        self.folder = PartFolder(path, part) if part and part.of > 1 else RunFolder(path)
        self.monitor = RunMonitor(self._listen, quiet=quiet)
        self.execution = Execution(
            resume=resume,
            block_bytes=recipe.tables["output"]["block_mib"] * 2**20,
            monitor=self.monitor,
            part=part or Part(),
        )
        self.estimates: dict[str, xr.Dataset] = {}
        self.statistics: xr.Dataset | None = None
        self._quiet = quiet
        self._log_json = log_json or recipe.tables["output"]["log"] == "json"
        self.reported = False  # of several parts the last one writes the report
        self._stage = ""
        self._reports: list[StageReport] = []
        self._heard: list[str] = []
        self._source = first_stack(recipe)
        self._read = read_now(self._source)
        self.folder.check()
        if resume:
            check_owner(self.folder, recipe)

    def run(self, client: distributed.Client | None) -> xr.Dataset:
        """Run all stages, then write the report, whatever happened."""
        planned = planned_stages(self.recipe, self._source)
        # Planning has loaded what networks need, into this process.
        networks = any(asks_network(*named) for named in self.recipe.tables.items())
        room = _LATER_KERNELS if networks and client is None else 0
        began = time.monotonic()
        self._measure_workers(client, room=room)
        waited = round(time.monotonic() - began, 3)
        check_plan(planned.rows, self.execution.resources)
        log = log_file(self.folder.log, as_json=self._log_json)
        with self.folder.taken(), log, warnings_logged(self._hear):
            if self.execution.resources.gpu_workers:
                warn_of_idle_gpus(self.recipe, planned)
            with self.folder.alone():
                self._take_over()
                told = self.recipe.title, self.whole.text(), self._assumptions()
                if not self.folder.prepare(*told, planned.made_of):
                    if self._made_by_others():
                        return next(reversed(self.stacks.values()), self._source)
                    self.folder.prepare(*told, planned.made_of)  # not late: something is lost
            self.execution = replace(self.execution, run=self.folder.run)
            self.folder.summary["waited_seconds"] = waited
            self._log_begin()
            try:
                with told_if_full(self.folder.path):
                    stack = walk(self.recipe, self._source, self)
            except BaseException as error:
                state, cause = _ending(error)
                text = f"{type(error).__name__}: {error}"
                log_event(logging.ERROR, text, "run_ended", state=state, cause=cause)
                self._close(state, cause)
                raise
            with told_if_full(self.folder.path):
                self._close("done")
            log_event(logging.INFO, "done", "run_ended", state="done", cause=None)
        return stack

    def _log_begin(self) -> None:
        title, place = self.recipe.title, str(self.folder.path)
        told = {key: self.folder.summary[key] for key in ("version", "host", "process")}
        told["waited_seconds"] = self.folder.summary["waited_seconds"]
        log_event(logging.INFO, f"run of {title} in {place}", "run_started", title=title, **told)

    def _measure_workers(self, client: distributed.Client | None, *, room: int = 0) -> None:
        """Ask workers what they have; `room` is what they are thought to take beside it later."""
        folder = self.folder.path / COUNTS
        if self.part is None:
            resources = worker_resources(client, folder=folder)
        else:
            resources = part_resources(self.recipe.tables["cluster"], folder)
        resources = replace(resources, process_bytes=resources.process_bytes + room)
        self.execution = replace(self.execution, client=client, resources=resources)

    def _take_over(self) -> None:
        """Say whose results this run reads and replaces, or remove them if all is made anew."""
        if outdated := outdated_input(self.whole):
            LOGGER.warning(outdated)
            warnings.warn(outdated, FibdaskWarning, stacklevel=4)
        if not self.execution.resume:
            if removed := remove_earlier(self.folder, self.whole):
                self.monitor.say(removed)
            return
        check_owner(self.folder, self.whole)
        if replaced := replaced_input(self.folder, self.whole):
            LOGGER.warning(replaced)
            warnings.warn(replaced, FibdaskWarning, stacklevel=4)

    def _made_by_others(self) -> bool:
        """Open what the other parts have finished without this one; tell whether it is whole."""
        try:
            self.stacks, self.statistics = reopen(self.folder)
        except StackReadError:
            return False
        self.monitor.say(f"part {self.part}: the other parts have finished this run")
        return True

    def call(self, stage: Stage, stack: xr.Dataset, table: Mapping[str, Any]) -> xr.Dataset:
        """Return the stack after a stage, lazily; images that a network is asked for are looked at.

        Of images that the run simulates, it is known what they are of. An earlier run has told.
        """
        first = self.part is None or self.part.number == 1
        networks = stage.makes is not None and stage.asks_network(table)
        made = super().call(stage, stack, table)
        if first and networks and SIMULATE not in self.stacks and not self._is_begun(stage, made):
            look_at_images(stack, table)
        return made

    def _is_begun(self, stage: Stage, stack: xr.Dataset) -> bool:
        """Tell whether what an earlier run has stored of a stage is of the same."""
        path = self.folder.store(stage.name)
        kept = kept_variables(self.recipe, stack, stage)
        return all(is_begun(stack[name].data, path / name) for name in kept)

    def estimate(
        self, stage: Stage, estimate: Estimate, stack: xr.Dataset, table: Mapping[str, Any]
    ) -> xr.Dataset:
        """Measure and solve for the numbers of a stage, store them, and correct the stack."""
        self._stage, self._reports = stage.name, []
        options = options_of(estimate.solve, table)
        found = estimate.solve(stack, compute=self._compute, **options)
        numbers = estimate.packed(stack, found)
        numbers = store_results(numbers, self.folder, estimate_store(stage))
        self.estimates[stage.name] = numbers
        given = options_of(stage.function, table)
        return stage.function(stack, estimate.unpacked(numbers), **given)

    def _compute(self, measurement: xr.DataArray) -> xr.DataArray:
        """Make the values of a measurement, resumably."""
        name = f"{self._stage} {MEASUREMENT}"
        values, report = keep_values(measurement.data, self.execution, name=name)
        raise_failures([report])
        return measurement.copy(data=values)

    def keep(self, name: str, stack: xr.Dataset, kept: list[str], *, last: bool) -> xr.Dataset:
        """Store variables of a stage and return the stack that reads them from there."""
        path = self.folder.begin_store(name)
        lazy = not_kept(stack, kept)
        pyramid = None if last and self.recipe.tables["output"]["pyramid"] else False
        self._stage, self._reports = name, []
        without = stack.drop_vars(lazy)
        if "voltage" in without.dims and "intensity" in lazy:
            without = without.drop_dims("voltage")
        self._heard.clear()
        reports = write_stack(without, path, self.execution, pyramid=pyramid, name=name)
        if any(report.blocks_run for report in reports if report.name == name):
            self.folder.note_warnings(name, [*self._heard])  # those of an earlier phase are void
        raise_failures(reports)
        if asks_network(name, self.recipe.tables.get(name, {})):
            self._measure_workers(self.execution.client, room=_LATER_KERNELS)
        self._check_input(name)
        self.folder.end_store(name)
        stored = open_stack(path)
        return stored.assign({v: stack[v] for v in lazy}) if lazy else stored

    def _check_input(self, name: str) -> None:
        """Refuse what was made while images, or a store that others wrote, became others.

        Images are read by the first stage alone. A store of ours looks at that itself.
        """
        reading = name == first_name(self.recipe) or is_stored(self._source)
        if reading and read_now(self._source) != self._read:
            read = " and ".join(str(path) for path in input_paths(self.recipe))
            msg = f"{read} has changed while this run read it: run again"
            raise StackReadError(msg)

    def _hear(self, text: str) -> None:
        """Note at once what statistics are to repeat, since what is finished is not told again."""
        if PARTED in text:
            self._heard.append(text)
            self.folder.note_warnings(self._stage, [*self._heard])

    def _listen(self, report: StageReport, *, now: bool) -> None:
        if not any(report is known for known in self._reports):
            self._reports.append(report)
        part = _part(report)
        same = [known for known in self._reports if _part(known) == part]
        self.folder.update(self.folder.merge(f"{self._stage}{part}", same), now=now)

    def judge(self, stage: Stage, lazy: xr.Dataset) -> None:
        """Compute how wrong a stage may be, unless that is known, and store it."""
        self._stage, self._reports = f"{stage.name} {ERRORS}", []
        store = estimate_store(stage)
        found = compute_once(lazy, self.execution, self.folder, store)
        self.estimates[stage.name] = store_results(found, self.folder, store)

    def measure(self, lazy: xr.Dataset) -> None:
        """Compute the statistics, each reduction once, and store them."""
        self._stage, self._reports = STATISTICS, []
        results = compute_results(lazy, self.execution)
        self._check_input(STATISTICS)
        told = phase_warnings_of(self.folder.read())
        results.attrs["warnings"] = [*statistics_warnings(results), *told]
        for text in results.attrs["warnings"]:
            LOGGER.warning(text)
        self.statistics = store_results(results, self.folder, STATISTICS)

    def _assumptions(self) -> list[str]:
        table = self.recipe.tables.get("input", {})
        return [f"{key} = {table.get(key)}" for key in table.get("assumed") or []]

    def _close(self, state: str, error: str | None = None) -> None:
        with self.folder.closed(state, error) as last:
            if last and self.recipe.tables["output"]["report"]:
                stored = self.stacks, self.estimates, self.statistics
                report_run(self.folder, *stored, quiet=self._quiet)
                self.reported = True


def _ending(error: BaseException) -> tuple[str, str | None]:
    """Return the state in which an error leaves a run, and its cause in a sentence."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", None
    text = one_line(str(error).split("\n")[0])
    return "failed", text if isinstance(error, FibdaskError) else f"{type(error).__name__}: {text}"


def _part(report: StageReport) -> str:
    """Return the part of its stage that an array is counted as."""
    parts = (f" {part}" for part in ("histogram", MEASUREMENT) if part in report.name)
    return next(parts, "")
