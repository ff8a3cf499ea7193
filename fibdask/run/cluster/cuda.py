"""Workers on the GPUs of this machine."""

import logging
from collections.abc import Callable
from typing import Any

import dask
import distributed

from ...blocks import GPU
from ...conventions import RecipeError
from .environment import WORKER_CONFIG
from .local import parse_memory


def cuda_cluster(
    *,
    workers: int | None = None,
    memory: str | int | None = None,
    security: distributed.Security | None = None,
    start: Callable[..., Any] | None = None,
) -> Any:
    """Return a cluster of a worker process of one thread on each GPU.

    Parameters
    ----------
    workers
        Number of GPUs; by default all that `CUDA_VISIBLE_DEVICES` names, or that there are.
    memory
        Limit of each process in the machine's memory, such as "16 GiB"; by default an equal share.
    security
        Certificates.
    start
        Starts the cluster; by default dask-cuda's `LocalCUDACluster`.

    Raises
    ------
    RecipeError
        If dask-cuda is not installed or there is no GPU.
    """
    start = start or _local_cuda_cluster()
    options = {} if workers is None else {"n_workers": workers}
    with dask.config.set(WORKER_CONFIG):
        try:
            return start(
                threads_per_worker=1,
                memory_limit=parse_memory(memory) or "auto",
                resources=GPU,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
                security=security,
                **options,
            )
        except Exception as error:  # of the driver's library, whose errors are its own
            msg = f"no worker can be started on a GPU of this machine: {type(error).__name__}: "
            raise RecipeError(msg + str(error)) from error


def _local_cuda_cluster() -> Callable[..., Any]:
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError as error:
        msg = f"workers on GPUs need dask-cuda ({error}); install fibdask[cuda]"
        raise RecipeError(msg) from None
    return LocalCUDACluster  # type: ignore[no-any-return]
