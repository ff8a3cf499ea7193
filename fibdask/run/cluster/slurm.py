"""Workers as jobs of SLURM."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .calling import answer, import_jobs
from .jobs import Batch, Jobs, clock


def slurm_options(*, partition: str | None = None, account: str | None = None) -> dict[str, Any]:
    """Jobs of SLURM.

    Parameters
    ----------
    partition
        Partition of the jobs; by default that of the cluster.
    account
        Account to charge; by default the user's.
    """
    return {"queue": partition, "account": account}


class Slurm(Batch):
    """SLURM, by `sbatch`, `squeue` and `scancel`."""

    asks, submits = "squeue", "sbatch"

    def job_class(self) -> Any:
        """Return dask-jobqueue's."""
        return import_jobs("slurm").SLURMJob

    def job_options(self, jobs: Jobs, logs: Path, *, gpu: bool) -> dict[str, Any]:
        """Return cores, memory, time and the log, as SLURM wants them."""
        log = shlex.quote(f"{str(logs).replace('%', '%%')}/%j.log")
        return {
            "job_cpu": jobs.cores,
            "job_mem": f"{jobs.job_bytes // 2**20}M",
            "walltime": clock(jobs.seconds),
            "job_extra_directives": [f"-o {log}", *(["--gres=gpu:1"] if gpu else [])],
        }

    async def look(self, ids: Iterable[str]) -> dict[str, str] | None:
        """Ask `squeue` for the jobs of this user."""
        # Of all, because it fails where it is asked for one that has ended.
        told = await answer("squeue", "--me", "--noheader", "--format=%i|%T|%r")
        if told is None:
            return None
        found = {}
        for line in told.splitlines():
            number, state, reason = line.split("|", 2)
            found[number] = state if reason in ("None", "") else f"{state} ({reason})"
        return {number: found[number] for number in ids if number in found}
