"""What a worker process finds when it starts: settings of Dask, and limits of threads."""

import contextlib
import ctypes
import os
from typing import Any

_MALLOC = {
    "MALLOC_ARENA_MAX": (-8, 1),
    "MALLOC_MMAP_THRESHOLD_": (-3, 4 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": (-1, 16 * 2**20),
}
"""What the C library keeps of freed memory: arrays below 4 MiB are made in the same place again.

By what Dask sets, all of them are mapped and filled with zeros again and again, which takes a third
of a worker's time. Larger ones have huge pages, which are quick. Every thread would keep its own.
Each variable comes with its number of mallopt(3).
"""
_MEMORY = {name: str(value) for name, (_, value) in _MALLOC.items()}

_SETTINGS: dict[str, Any] = {
    # Blocks are sized beforehand, so spilling to disk would only hide a wrong forecast.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.95,
    "distributed.worker.memory.terminate": 0.98,
    # What every thread was doing, a tree for each second: 100 MiB while kernels are compiled.
    "distributed.worker.profile.enabled": False,
    "distributed.comm.timeouts.connect": "60s",
}

WORKER_CONFIG = _SETTINGS | {
    f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in _MEMORY.items()
}
"""Settings of Dask, of workers and of the process that starts them."""


def keep_as_workers() -> None:
    """Let this process keep as much freed memory as workers, which find it in their environment.

    Of what the user has set nothing is changed.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library than glibc
        mallopt = ctypes.CDLL(None).mallopt
        for name, (number, value) in _MALLOC.items():
            if name not in os.environ:
                mallopt(number, value)


_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def worker_environment(threads: int) -> dict[str, str]:
    """Return what must be in the environment before a worker is started elsewhere.

    Parameters
    ----------
    threads
        Threads that the libraries in one task may use: numba, torch and linear algebra read it
        when they are loaded.
    """
    settings = {
        f"DASK_{key.replace('.', '__').upper()}": str(value) for key, value in _SETTINGS.items()
    }
    return {
        **dict.fromkeys(_THREADS, str(threads)),
        **_MEMORY,
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait must not keep cores from the others
        "HDF5_USE_FILE_LOCKING": "FALSE",  # which many shared file systems do not know
        **settings,
    }
