"""What a worker has, and what of it its process takes: asked for before anything is planned."""

import gc
import os
import platform
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import dask.system
import distributed
import distributed.system
import psutil

from ...conventions import BlocksFailedError, ConventionError, FibdaskWarning
from .schedule import is_inherited
from .writing import give_back_memory

PROCESS_BYTES = 480 * 2**20
"""A worker process with all libraries loaded and its kernels compiled, between blocks.

Measured: up to 350 MiB in short runs, 444 MiB after 1,500 blocks of all stages.
"""

FOLDER = Path("counts")
GPU = {"GPU": 1.0}
"""What a worker with a GPU offers, and a block that is made on one takes."""

# What comes to a process until it is at 444 MiB: it begins at 130, or with a script that names
# fibdask's functions at 250; then the compiler is loaded, which is 60 of the difference.
_KERNELS = 208 * 2**20
_COMPILER = 64 * 2**20
_PATIENCE = 3600.0  # seconds in which a cluster may start its first worker


@dataclass(frozen=True)
class Resources:
    """What each worker has; of workers that differ, the least that any of them has.

    Attributes
    ----------
    threads
        Tasks that one process makes at a time.
    host_bytes
        Memory that the process may take in all.
    process_bytes
        Memory of it that the process takes between tasks, whatever these are.
    device_bytes
        Memory of the GPU that is the process's own; 0 without one.
    gpu_workers
        Whether workers that offer a GPU are told from others: they are given what needs one.
    folder
        Where a run keeps what is no result, such as the counts of reductions.
    """

    threads: int
    host_bytes: int
    process_bytes: int = PROCESS_BYTES
    device_bytes: int = 0
    gpu_workers: bool = False
    folder: Path = FOLDER

    def __post_init__(self) -> None:
        """Check the numbers; workers have other working folders than this process."""
        for name, least in (("threads", 1), ("host_bytes", 1), ("process_bytes", 0)):
            if getattr(self, name) < least:
                msg = f"{name} of a worker must be at least {least}; got {getattr(self, name)}"
                raise ConventionError(msg)
        object.__setattr__(self, "folder", self.folder.absolute())

    def process_peak(self, forecast: int) -> int:
        """Return the peak of this process that a forecast for a plain one becomes."""
        return forecast - PROCESS_BYTES + self.process_bytes


def own_resources(folder: Path = FOLDER) -> Resources:
    """Return what this process has, of which `folder` is where counts are to be kept."""
    return _least([measure_process()], folder)


def worker_resources(
    client: distributed.Client | None, *, folder: Path, patience: float = _PATIENCE
) -> Resources:
    """Ask the workers of a client, or this process, what they have.

    Parameters
    ----------
    client
        Connection to a cluster, or None for this process.
    folder
        Where counts are to be kept.
    patience
        Seconds to wait for a first worker where there is none yet.

    Raises
    ------
    BlocksFailedError
        If no worker has come by then.
    ConventionError
        If the client's threads are in a process of which this one is a fork.

    Warns
    -----
    FibdaskWarning
        That it waits.
    """
    if client is None:
        return own_resources(folder)
    if is_inherited(client):
        msg = "client must be one of this process, which is a fork; got that of its parent"
        raise ConventionError(msg)
    told: list[Process] = []
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if workers:
        told = list(client.run(measure_process, on_error="ignore").values())
    # A cluster that starts such workers when they are needed says so.
    offered = any(worker["resources"].keys() & GPU.keys() for worker in workers.values())
    offered = offered or getattr(client.cluster, "has_gpus", False)
    found = _least(told or [_first_worker(client, patience)], folder)
    return replace(found, gpu_workers=offered)


def _first_worker(client: distributed.Client, patience: float) -> "Process":
    """Wait for a worker, and ask it."""
    text = f"the cluster has no worker yet: waiting up to {patience:.0f} s for the first one"
    warnings.warn(text, FibdaskWarning, stacklevel=4)
    # A task, because clusters that adapt start workers for tasks only, and end them soon after.
    future = client.submit(_measure_worker, pure=False)
    try:
        told: Process = future.result(timeout=patience)
    except TimeoutError as error:
        msg = (
            f"no worker has joined the cluster within {patience:.0f} s, so nothing was made; "
            "run again when there are workers"
        )
        raise BlocksFailedError(msg) from error
    finally:
        future.cancel()
    return told


def _least(told: Sequence["Process"], folder: Path) -> Resources:
    """Return what every process has, of what several share a part each."""
    hosts = Counter(process.host for process in told)
    devices = Counter((process.host, process.device) for process in told)
    shares = [p.device_bytes // devices[p.host, p.device] for p in told if p.device_bytes]
    return Resources(
        threads=max(process.threads for process in told),
        host_bytes=min(p.limit or p.host_bytes // hosts[p.host] for p in told),
        process_bytes=max(process.process_bytes for process in told),
        device_bytes=min(shares, default=0),
        folder=folder,
    )


class Process(NamedTuple):
    """What a process says of itself, of its limit as a worker, and of what it may share."""

    threads: int
    limit: int | None
    process_bytes: int
    host: str
    host_bytes: int
    device: str
    device_bytes: int


_foreseen: list[int] = []  # the least that this process was thought to grow to


def measure_process(dask_worker: distributed.Worker | None = None) -> Process:
    """Measure this process, between blocks; Dask gives the worker where it is one.

    What it had at first, before any block, grows by its kernels, of which it keeps some later:
    the least that it was thought to grow to holds. What it has now counts where that is more, as
    with libraries and data that others brought.
    """
    now, room = _own_bytes(), _KERNELS if "numba" in sys.modules else _KERNELS + _COMPILER
    if (now if _foreseen else now + room) > max([PROCESS_BYTES, *_foreseen]):
        # Only where it could matter, because it takes a tenth of a second of every run and save.
        gc.collect()
        now = _own_bytes()
    _foreseen[:] = [min([now + room, *_foreseen])]
    free = psutil.virtual_memory().available
    host_bytes = min(distributed.system.MEMORY_LIMIT, now + free)
    process_bytes = max(PROCESS_BYTES, _foreseen[0], now)
    threads, limit = dask.system.CPU_COUNT, None
    if dask_worker is not None:
        threads, limit = dask_worker.state.nthreads, dask_worker.memory_manager.memory_limit
    return Process(threads, limit, process_bytes, platform.node(), host_bytes, *_device())


def _measure_worker() -> Process:
    return measure_process(distributed.get_worker())


def _own_bytes() -> int:
    """Return the memory of this process without what is free in it."""
    give_back_memory()
    return int(psutil.Process().memory_info().rss)


@lru_cache(maxsize=1)
def _device() -> tuple[str, int]:
    """Return name and bytes of the GPU that this process uses, without touching it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    program = shutil.which("nvidia-smi")
    if not program or visible in ("", "-1"):
        return "", 0
    query = ["--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits", f"--id={visible}"]
    try:
        told = subprocess.check_output(
            [program, *query], stderr=subprocess.DEVNULL, text=True, timeout=60
        )
        name, mebibytes = told.splitlines()[0].split(",")
        return name, int(mebibytes) * 2**20
    except (OSError, subprocess.SubprocessError, LookupError, ValueError):
        return "", 0  # no driver, or no such GPU
