"""What a worker process finds when it starts: settings of Dask, and limits of threads."""

from typing import Any

WORKER_CONFIG: dict[str, Any] = {
    # Blocks are sized beforehand, so spilling to disk would only hide a wrong forecast.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.95,
    "distributed.worker.memory.terminate": 0.98,
    "distributed.comm.timeouts.connect": "60s",
}
"""Settings of Dask, of workers and of the process that starts them."""

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
        f"DASK_{key.replace('.', '__').upper()}": str(value) for key, value in WORKER_CONFIG.items()
    }
    return {
        **dict.fromkeys(_THREADS, str(threads)),
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait must not keep cores from the others
        "HDF5_USE_FILE_LOCKING": "FALSE",  # which many shared file systems do not know
        **settings,
    }
