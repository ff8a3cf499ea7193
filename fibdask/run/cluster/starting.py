"""Workers of a run, of whatever kind: started, waited for, and ended after it."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dask
import dask.system
import distributed

from .cuda import cuda_cluster
from .environment import WORKER_CONFIG
from .keeping import JobCluster
from .local import local_cluster, parse_memory, worker_memory
from .profiles import Profile
from .security import make_security, security_config

_POLL = 0.2  # seconds
_JOBS_CONFIG = {
    **WORKER_CONFIG,
    # A process that is started anew takes its time; a job that is given up may wait for hours.
    "distributed.deploy.lost-worker-timeout": "300s",
}


@contextlib.contextmanager
def workers(
    options: Mapping[str, Any],
    profile: Profile | None,
    *,
    logs: Path,
    tell: Callable[[str], None],
    certificates: Path | None = None,
) -> Iterator[distributed.Client]:
    """Start the workers that the table [cluster] of a recipe asks for, and end them at last.

    Parameters
    ----------
    options
        The table.
    profile
        Of the cluster, where it is of a kind that has one.
    logs
        Folder of the logs of jobs.
    tell
        Told what is waited for.
    certificates
        Folder of those of scheduler, workers and client, made if there are none; None is plain
        text.

    Raises
    ------
    RecipeError
        If none can be started.
    BlocksFailedError
        If no worker has come within the profile's patience, now or while the run works.
    """
    names = ("workers", "threads", "memory")
    if profile is None and options["kind"] != "cuda":
        chosen = {name: options[name] for name in names}
        client = local_cluster(**chosen, certificates=certificates)
        try:
            yield client
        finally:
            try:
                client.close()
            except TimeoutError:
                # Workers that end late, as where all cores are busy, undo nothing of what is made;
                # this process ends them at its own end, which is not to wait for them again.
                client.status = "closed"
        return
    security = None if certificates is None else make_security(certificates)
    with dask.config.set(security_config(security)):
        if profile is not None:
            with _jobs(profile, logs, tell, security) as client:
                yield client
            return
        chosen = {name: options[name] for name in names if name != "threads"}
        with (
            cuda_cluster(**chosen, security=security) as cluster,
            distributed.Client(cluster, security=security) as client,
        ):
            yield client


@contextlib.contextmanager
def _jobs(
    profile: Profile,
    logs: Path,
    tell: Callable[[str], None],
    security: distributed.Security | None,
) -> Iterator[distributed.Client]:
    pools = profile.pools(logs.absolute(), security)
    logs.mkdir(parents=True, exist_ok=True)
    with (
        dask.config.set(_JOBS_CONFIG),
        JobCluster(
            profile.launcher,
            pools,
            logs=logs.absolute(),
            interface=profile.interface,
            patience=profile.patience,
            tell=tell,
            security=security,
        ) as cluster,
    ):
        while not cluster.scheduler.workers:
            _raise_failure(cluster)
            time.sleep(_POLL)
        with distributed.Client(cluster, security=security) as client:
            cluster.client = client
            try:
                yield client
            except Exception:  # whatever the end of the client has become
                _raise_failure(cluster)
                raise


def _raise_failure(cluster: JobCluster) -> None:
    if cluster.failure is not None:
        raise cluster.failure


def planned_worker(
    options: Mapping[str, Any], profile: Profile | None = None
) -> tuple[int, int | None]:
    """Return threads and memory in bytes of a worker that the table [cluster] of a recipe asks for.

    The memory is None where the workers are those of a running scheduler, which knows it.
    """
    if profile is not None:
        return 1, profile.worker_bytes
    if options["scheduler"]:
        return options["threads"], None
    if options["kind"] == "cuda":  # how many GPUs there are is seen where they are
        return 1, parse_memory(options["memory"])
    count = options["workers"] or dask.system.CPU_COUNT
    return options["threads"], worker_memory(count, options["memory"])
