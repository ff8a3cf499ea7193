"""Statistics of a stored phase, made on workers: forecast first, then counted block by block."""

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import xarray as xr

from ..blocks import Execution, StageReport, check_budget, current_client, worker_resources
from ..conventions import known_planes
from ..statistics import (
    connected_fraction,
    percolates,
    phase_statistics,
    specific_surface_area,
    statistics_warnings,
)
from ..statistics.connectivity import connectivity_forecast
from .progress import RunMonitor
from .results import compute_results

_CONNECTIVITY = ("connected_fraction", "percolates")


def measure_phase(
    phase: xr.DataArray,
    *,
    max_lag: int,
    connect: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
    quiet: bool = True,
) -> xr.Dataset:
    """Compute the statistics of a phase, with its surface and connectivity.

    Where planes are not measured, connectivity is left out, and `warnings` says so.

    Parameters
    ----------
    connect
        Gives a client, or None for the current one or this process; called when all arguments
        are known to be good.
    quiet
        Show no progress.

    Raises
    ------
    ConventionError
        If the phase cannot be measured.
    MemoryBudgetError
        Before anything is read, if a block does not fit a worker.
    """
    lazy = _lazy_statistics(phase, max_lag)
    with connect() as client, TemporaryDirectory(prefix="fibdask-counts-") as counts:
        client = client or current_client()
        resources = worker_resources(client, folder=Path(counts))
        monitor = RunMonitor(_nobody, quiet=quiet)
        execution = Execution(client, resources, monitor=monitor)
        found = {}
        if _CONNECTIVITY[0] in lazy:
            found = _connectivity(phase, lazy[list(_CONNECTIVITY)], execution)
        results = compute_results(lazy.drop_vars(found), execution).assign(found)
    return results.assign_attrs(warnings=statistics_warnings(results))


def _lazy_statistics(phase: xr.DataArray, max_lag: int) -> xr.Dataset:
    lazy = phase_statistics(phase, max_lag=max_lag)
    lazy = lazy.assign(specific_surface_area=specific_surface_area(phase))
    if known_planes(phase).all():
        whole = connected_fraction(phase), percolates(phase)
        return lazy.assign(dict(zip(_CONNECTIVITY, whole, strict=True)))
    text = "connectivity is not told, because nothing is known of it across planes without data"
    return lazy.assign_attrs(warnings=[*lazy.attrs["warnings"], f"{text}: inpaint first"])


def _connectivity(
    phase: xr.DataArray, lazy: xr.Dataset, execution: Execution
) -> dict[str, xr.DataArray]:
    """Compute what is gathered of every block; Dask makes it, so only its memory is forecast."""
    blocks, needed = connectivity_forecast(phase)
    check_budget("connectivity", needed, execution.resources)
    peak = execution.resources.process_peak(needed)
    report = StageReport("connectivity", blocks, forecast_bytes=peak)
    execution.monitor.started(report)
    started = time.monotonic()
    found = lazy.compute()
    report.blocks_run, report.seconds = blocks, time.monotonic() - started
    execution.monitor.finished(report)
    return {str(name): found[name] for name in found.data_vars}


def _nobody(report: StageReport, *, now: bool) -> None:
    """Take figures that nobody asked for."""
