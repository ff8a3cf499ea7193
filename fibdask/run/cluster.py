"""Workers: the only place that starts any."""

import logging
import os
from collections.abc import Mapping
from typing import Any

import dask
import distributed
import psutil

from ..conventions import RecipeError

_WORKER_CONFIG = {
    # Blocks are sized beforehand, so spilling to disk would only hide a wrong forecast.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.95,
    "distributed.worker.memory.terminate": 0.98,
    "distributed.comm.timeouts.connect": "60s",
}


def local_cluster(
    *, workers: int | None = None, threads: int = 1, memory: str | int | None = None
) -> distributed.Client:
    """Start worker processes on this machine and return a client that owns them.

    Call it under `if __name__ == "__main__":`, since worker processes import the calling script.

    Parameters
    ----------
    workers
        Number of processes; by default one for each core.
    threads
        Threads of each process.
    memory
        Limit of each process, such as "1.5 GiB" or bytes; by default an equal share of 90 % of
        the memory that is free now.

    Returns
    -------
    Client
        Also a context manager; closing it ends the workers.
    """
    workers = workers or os.cpu_count() or 1
    limit = _worker_memory(workers, memory)
    environment = {"distributed.nanny.pre-spawn-environ.NUMBA_NUM_THREADS": threads}
    with dask.config.set(_WORKER_CONFIG | environment):
        return distributed.Client(
            n_workers=workers,
            threads_per_worker=threads,
            memory_limit=limit,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )


def _worker_memory(workers: int, memory: str | int | None) -> int:
    """Return the memory of each worker on this machine in bytes."""
    return parse_memory(memory) or int(0.9 * psutil.virtual_memory().available / workers)


def planned_worker(options: Mapping[str, Any]) -> tuple[int, int | None]:
    """Return threads and memory in bytes of a worker that the table [cluster] of a recipe asks for.

    The memory is None where the workers are those of a running scheduler, which knows it.
    """
    if options["scheduler"]:
        return options["threads"], None
    workers = options["workers"] or os.cpu_count() or 1
    return options["threads"], _worker_memory(workers, options["memory"])


def parse_memory(text: str | int | None) -> int | None:
    """Turn "1.5 GiB" into bytes.

    Raises
    ------
    RecipeError
        If it is not an amount of memory.
    """
    if text is None or text == "auto":
        return None
    try:
        count = int(dask.utils.parse_bytes(text))
    except ValueError:
        count = 0
    if count <= 0:
        msg = f"memory must be an amount such as '1.5 GiB' or 'auto'; got {text!r}"
        raise RecipeError(msg)
    return count


def connect(address: str) -> distributed.Client:
    """Connect to a running scheduler.

    Raises
    ------
    RecipeError
        If none answers.
    """
    try:
        return distributed.Client(address, timeout="20s")
    except (OSError, ValueError) as error:
        msg = f"no Dask scheduler answers at {address!r}: {error}"
        raise RecipeError(msg) from None
