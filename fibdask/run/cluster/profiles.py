"""Profiles: what is known of a cluster, once for all recipes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import distributed

from ...blocks import format_bytes
from ...conventions import RecipeError
from .jobs import Batch, Jobs, Launcher, Pool, clock_seconds
from .lsf import Lsf, lsf_options
from .pbs import Pbs, pbs_options
from .slurm import Slurm, slurm_options
from .ssh import Hosts, Ssh

Kind = Literal["local", "slurm", "pbs", "lsf", "cuda", "ssh"]

BATCH: Mapping[str, tuple[Batch, Any]] = {
    "slurm": (Slurm(), slurm_options),
    "pbs": (Pbs(), pbs_options),
    "lsf": (Lsf(), lsf_options),
}
"""Batch systems, each with the function of what it names in its own way."""
PROFILED = (*BATCH, "ssh")
"""Kinds of clusters that need a profile."""


def cluster_keys(
    *, interface: str | None = None, patience: str = "12:00:00", gpu: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Jobs of a profile share their network; some may have a GPU.

    Parameters
    ----------
    interface
        Interface of the network on which scheduler and workers talk, such as "ib0"; by default the
        scheduler listens at the address of its machine, and workers on all their networks. With
        "lo" nobody else can reach them.
    patience
        Longest wait, as a walltime, while there is no worker; then the run ends, and resumes when
        it is started again.
    gpu
        Table of the same keys for jobs of one worker and one GPU each, which make what needs a GPU.
        Keys that it lacks are those above, except `jobs` and `minimum_jobs`: by default one job,
        started when needed.
    """
    return {"interface": interface, "patience": clock_seconds("patience", patience), "gpu": gpu}


def host_keys(*, interface: str | None = None, patience: str = "00:05:00") -> dict[str, Any]:
    """Hosts of a profile share their network.

    Parameters
    ----------
    interface
        Interface of the network on which scheduler and workers talk, such as "eth1"; by default the
        scheduler listens at the address of its machine, and workers on all their networks. With
        "lo" nobody else can reach them.
    patience
        Longest wait, as "HH:MM:SS", while there is no worker.
    """
    return {"interface": interface, "patience": clock_seconds("patience", patience)}


@dataclass(frozen=True)
class Profile:
    """What a profile says.

    Attributes
    ----------
    interface
        Of the network.
    patience
        Longest wait for a worker in seconds.
    jobs
        By pool: what each job is given, and what the batch system names in its own way.
    hosts
        Machines, of ssh.
    """

    kind: str
    interface: str | None
    patience: int
    jobs: Mapping[str, tuple[Jobs, Mapping[str, Any]]]
    hosts: Hosts | None = None

    def __post_init__(self) -> None:
        """Check that what fits a worker fits those with a GPU, which are given it too.

        Raises
        ------
        RecipeError
            With the numbers.
        """
        if "gpu" in self.jobs:
            plain, gpu = (self.jobs[pool][0].worker_bytes for pool in ("cpu", "gpu"))
            if gpu < plain:
                msg = (
                    f"a worker with a GPU must have as much memory as the others: "
                    f"{format_bytes(plain)}; got {format_bytes(gpu)}"
                )
                raise RecipeError(msg)

    @property
    def worker_bytes(self) -> int:
        """Memory of each worker, the least of all."""
        if self.hosts is not None:
            return self.hosts.worker_bytes
        return min(jobs.worker_bytes for jobs, _ in self.jobs.values())

    @property
    def launcher(self) -> Launcher:
        """What starts the workers."""
        return Ssh() if self.hosts is not None else BATCH[self.kind][0]

    def pools(self, logs: Path, security: distributed.Security | None = None) -> list[Pool]:
        """Return what is started, of which the logs go to a folder.

        Parameters
        ----------
        security
            Certificates of workers, which read them from the files that it names.
        """
        shared: dict[str, Any] = {"interface": self.interface}
        if security is not None:
            shared |= {"security": security, "protocol": "tls://"}
        if self.hosts is not None:
            return Ssh().pools(self.hosts, logs, shared)
        batch = BATCH[self.kind][0]
        return [
            batch.pool(name, jobs, named, logs, shared) for name, (jobs, named) in self.jobs.items()
        ]

    def scripts(self, logs: Path, security: distributed.Security | None = None) -> dict[str, str]:
        """Return what is run for each pool, with SCHEDULER for the scheduler's address."""
        return {pool.name: self.launcher.script(pool) for pool in self.pools(logs, security)}
