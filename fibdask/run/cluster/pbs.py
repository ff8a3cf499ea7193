"""Workers as jobs of PBS: OpenPBS or PBS Pro."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .calling import answer, import_jobs
from .jobs import Batch, Jobs, clock

_UNKNOWN, _FINISHED = 153, 35  # exit codes of `qstat`: some of the jobs are no more
_ENDED = ("C", "F", "X")
_STATES = {
    "Q": "queued",
    "H": "held",
    "W": "waiting",
    "S": "suspended",
    "R": "running",
    "E": "exiting",
}


def pbs_options(*, queue: str | None = None, account: str | None = None) -> dict[str, Any]:
    """Jobs of PBS.

    Parameters
    ----------
    queue
        Queue of the jobs; by default that of the cluster.
    account
        Account to charge; by default the user's.
    """
    return {"queue": queue, "account": account}


class Pbs(Batch):
    """PBS, by `qsub`, `qstat` and `qdel`."""

    asks, submits = "qstat", "qsub"

    def job_class(self) -> Any:
        """Return dask-jobqueue's."""
        return import_jobs("pbs").PBSJob

    def job_options(self, jobs: Jobs, logs: Path, *, gpu: bool) -> dict[str, Any]:
        """Return cores, memory, time and the log, as PBS wants them."""
        log = shlex.quote(f"{logs}/")
        select = f"select=1:ncpus={jobs.cores}:mem={jobs.job_bytes // 2**20}mb"
        return {
            "resource_spec": f"{select}:ngpus=1" if gpu else select,
            "walltime": clock(jobs.seconds, days=False),
            "job_extra_directives": ["-j oe", f"-o {log}"],
        }

    async def look(self, ids: Iterable[str]) -> dict[str, str] | None:
        """Ask `qstat` for the jobs."""
        told = await answer("qstat", "-f", *ids, fine=(0, _UNKNOWN, _FINISHED))
        return (
            None
            if told is None
            else {number: job for number, job in parse_qstat(told).items() if number in set(ids)}
        )


def parse_qstat(text: str) -> dict[str, str]:
    """Return the jobs that `qstat -f` tells of, by number, without those that have ended."""
    found = {}
    for part in re.split(r"^Job Id: *", text, flags=re.MULTILINE)[1:]:
        number = re.match(r"\d+", part)
        state = re.search(r"^\s*job_state = (\w)", part, re.MULTILINE)
        comment = re.search(r"^\s*comment = (.*(?:\n\t.*)*)", part, re.MULTILINE)
        if number and state and state[1] not in _ENDED:
            words = _STATES.get(state[1], state[1])
            reason = f" ({comment[1].replace(chr(10) + chr(9), '')})" if comment else ""
            found[number[0]] = words + reason
    return found
