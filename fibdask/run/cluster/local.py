"""Workers as processes of this machine, and schedulers that run already."""

import contextlib
import logging
import multiprocessing
import sys
from pathlib import Path

import dask
import dask.system
import distributed
import distributed.system
import psutil

from ...conventions import RecipeError, check_count
from .clients import PatientClient
from .environment import WORKER_CONFIG
from .security import make_security, scheduler_security, security_config

_GUARD = (
    'a script must call local_cluster under `if __name__ == "__main__":`, or workers call it too'
)


def local_cluster(
    *,
    workers: int | None = None,
    threads: int = 1,
    memory: str | int | None = None,
    certificates: str | Path | None = None,
) -> distributed.Client:
    """Start worker processes on this machine and return a client that owns them.

    In a script, call it under `if __name__ == "__main__":`: worker processes import the script and
    would otherwise call it themselves. Workers are reachable from this machine only.

    Parameters
    ----------
    workers
        Number of processes; by default one for each core that this process may use.
    threads
        Threads of each process.
    memory
        Memory limit of each process, such as "1.5 GiB" or bytes; by default an equal share of 90 %
        of the memory that is free now.
    certificates
        Folder of the certificate that clients must have; it is created if missing. Without
        certificates, any user of this machine can connect and run code as you.

    Returns
    -------
    Client
        The client, also a context manager; closing it ends the workers.

    Raises
    ------
    ConventionError
        If `workers` or `threads` is no whole number of at least 1.
    RecipeError
        If the workers cannot be started, as in a script without that line.
    """
    _end_if_worker()
    workers = dask.system.CPU_COUNT if workers is None else check_count("workers", workers)
    threads = check_count("threads", threads)
    limit = worker_memory(workers, memory)
    security = None if certificates is None else make_security(certificates)
    environment = {"distributed.nanny.pre-spawn-environ.NUMBA_NUM_THREADS": threads}
    with dask.config.set(WORKER_CONFIG | environment | security_config(security)):
        try:
            return PatientClient(
                n_workers=workers,
                threads_per_worker=threads,
                memory_limit=limit,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                security=security,
                silence_logs=logging.CRITICAL,
            )
        except RuntimeError as error:
            msg = f"{workers} workers of {limit} bytes ended while they started; {_GUARD}"
            raise RecipeError(msg) from error


def _end_if_worker() -> None:
    """End a process that is to become a worker but starts workers while it imports the script.

    It must neither wait for workers of its own nor go on, for its parent waits for it.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(1)


def worker_memory(workers: int, memory: str | int | None) -> int:
    """Return the memory of each worker on this machine in bytes."""
    free = min(psutil.virtual_memory().available, distributed.system.MEMORY_LIMIT)
    return parse_memory(memory) or int(0.9 * free / workers)


def parse_memory(text: str | int | None) -> int | None:
    """Turn "1.5 GiB" into bytes.

    Raises
    ------
    RecipeError
        If it is not an amount of memory.
    """
    if text is None or text == "auto":
        return None
    count = 0
    if any(char.isdigit() for char in str(text)):  # without a number, Dask reads 1
        with contextlib.suppress(ValueError):
            count = int(dask.utils.parse_bytes(text))
    if count <= 0:
        msg = f"memory must be an amount such as '1.5 GiB' or 'auto'; got {text!r}"
        raise RecipeError(msg)
    return count


def connect(
    address: str, *, certificates: Path | None = None, secure: bool | None = None
) -> distributed.Client:
    """Connect to a running scheduler.

    Parameters
    ----------
    address
        Of it, such as "tcp://127.0.0.1:8786".
    certificates, secure
        As of `scheduler_security`.

    Raises
    ------
    RecipeError
        If none answers, or it may not be spoken to in plain text.
    """
    security = scheduler_security(address, certificates=certificates, secure=secure)
    try:
        return PatientClient(address, timeout="20s", security=security)
    except (OSError, ValueError) as error:
        refused = ", or it refuses the certificates" if security else ""
        msg = f"no Dask scheduler answers at {address!r}{refused}: {error}"
        raise RecipeError(msg) from None
