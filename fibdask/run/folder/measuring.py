"""Statistics of a stored phase, made on workers: forecast first, then counted block by block."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import xarray as xr

from ...blocks import (
    Execution,
    StageReport,
    check_budget,
    compute_gathered,
    current_client,
    format_bytes,
    worker_resources,
)
from ...conventions import known_planes
from ...statistics import (
    connected_fraction,
    percolates,
    phase_statistics,
    specific_surface_area,
    statistics_warnings,
)
from ...statistics.connectivity import connectivity_forecast
from ..disk import told_if_full
from ..planner import reduction_rows, reductions_of
from ..stages import STATISTICS
from .progress import command_monitor
from .results import compute_results

_ALONE = 2**22  # voxels, which are counted in the time that workers take to start
_CONNECTIVITY = ("connected_fraction", "percolates")


def measure_phase(
    phase: xr.DataArray,
    *,
    max_lag: int,
    beside: xr.Dataset | None = None,
    connect: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
    counts: Path | None = None,
    quiet: bool = True,
) -> xr.Dataset:
    """Compute the statistics of a phase, with its surface and connectivity.

    Where planes are not measured, connectivity is left out, and `warnings` says so.

    Parameters
    ----------
    beside
        What else is counted, lazily, of the probabilities of the phase.
    connect
        Gives a client, or None for the current one or this process; called when all arguments
        are known to be good, and only if there are enough blocks to share among workers.
    counts
        Folder in which the counts of blocks are kept until all is measured, so that a command
        that was interrupted goes on from them. None where the user has named no place to write
        to: then they are kept out of sight, for as long as this takes.
    quiet
        Show no progress.

    Raises
    ------
    ConventionError
        If the phase cannot be measured.
    MemoryBudgetError
        Before anything is read, if a block does not fit a worker.
    """
    lazy = _lazy_statistics(phase, max_lag).assign(xr.Dataset() if beside is None else beside)
    rows = reduction_rows(STATISTICS, reductions_of(lazy))
    connected = [name for name in _CONNECTIVITY if name in lazy]
    if connected:
        blocks, needed = connectivity_forecast(phase)
        rows.append({"name": "connectivity", "blocks": blocks, "task_bytes": needed})
    largest = max(rows, key=lambda row: row["task_bytes"])
    alone = phase.data.npartitions == 1 or phase.size <= _ALONE
    connected_to = contextlib.nullcontext() if alone else connect()
    with connected_to as client, _kept(counts) as folder, told_if_full(folder.parent):
        client = client or current_client()
        resources = worker_resources(client, folder=folder)
        check_budget(largest["name"], largest["task_bytes"], resources)
        monitor = command_monitor(quiet=quiet)
        monitor.say(
            f"forecast: {sum(row['blocks'] for row in rows)} blocks, largest process "
            f"{format_bytes(resources.process_peak(largest['task_bytes']))} ({largest['name']})"
        )
        execution = Execution(client, resources, monitor=monitor)
        # What is resumed comes first: an interruption later costs nothing of it.
        results = compute_results(lazy.drop_vars(connected), execution)
        if connected:
            results = results.assign(_connectivity(lazy[connected], rows[-1], execution))
    return results.assign_attrs(warnings=statistics_warnings(results))


@contextlib.contextmanager
def _kept(counts: Path | None) -> Iterator[Path]:
    """Give a folder for counts, and remove it when all is measured."""
    if counts is None:
        with TemporaryDirectory(prefix="fibdask-counts-") as folder:
            yield Path(folder)
        return
    yield counts
    shutil.rmtree(counts, ignore_errors=True)


def _lazy_statistics(phase: xr.DataArray, max_lag: int) -> xr.Dataset:
    lazy = phase_statistics(phase, max_lag=max_lag)
    lazy = lazy.assign(specific_surface_area=specific_surface_area(phase))
    if known_planes(phase).all():
        whole = connected_fraction(phase), percolates(phase)
        return lazy.assign(dict(zip(_CONNECTIVITY, whole, strict=True)))
    text = "connectivity is not told, because nothing is known of it across planes without data"
    return lazy.assign_attrs(warnings=[*lazy.attrs["warnings"], f"{text}: inpaint first"])


def _connectivity(
    lazy: xr.Dataset, row: Mapping[str, Any], execution: Execution
) -> dict[str, xr.DataArray]:
    """Compute what is gathered of every block; Dask makes it, so nothing of it is resumed."""
    peak = execution.resources.process_peak(row["task_bytes"])
    report = StageReport(row["name"], row["blocks"], forecast_bytes=peak)
    execution.monitor.started(report)

    def advance() -> None:
        report.blocks_run += 1
        execution.monitor.advanced(report)

    found = compute_gathered(lazy, execution.client, advance)
    report.look_at_clock()
    execution.monitor.finished(report)
    return {str(name): found[name] for name in found.data_vars}
