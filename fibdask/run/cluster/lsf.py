"""Workers as jobs of LSF."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .calling import answer, import_jobs
from .jobs import Batch, Jobs

_SOME_UNKNOWN = 255  # exit code of `bjobs`: some of the jobs are no more
_ENDED = ("DONE", "EXIT", "ZOMBI")


def lsf_options(*, queue: str | None = None, project: str | None = None) -> dict[str, Any]:
    """Jobs of LSF.

    Parameters
    ----------
    queue
        Queue of the jobs; by default that of the cluster.
    project
        Project to charge; by default the user's.
    """
    return {"queue": queue, "project": project}


class Lsf(Batch):
    """LSF, by `bsub`, `bjobs` and `bkill`."""

    asks, submits = "bjobs", "bsub"

    def job_class(self) -> Any:
        """Return dask-jobqueue's."""
        return import_jobs("lsf").LSFJob

    def job_options(self, jobs: Jobs, logs: Path, *, gpu: bool) -> dict[str, Any]:
        """Return cores, memory, time and the log, as LSF wants them."""
        log = shlex.quote(f"{logs}/%J.log")
        hours, minutes = divmod(-(-jobs.seconds // 60), 60)
        return {
            "ncpus": jobs.cores,
            "mem": jobs.job_bytes,
            "walltime": f"{hours:02}:{minutes:02}",
            "use_stdin": True,
            "job_extra_directives": [f"-o {log}", *(['-gpu "num=1"'] if gpu else [])],
        }

    async def look(self, ids: Iterable[str]) -> dict[str, str] | None:
        """Ask `bjobs` for the jobs."""
        wanted = "jobid stat pend_reason delimiter='|'"
        told = await answer("bjobs", "-noheader", "-o", wanted, *ids, fine=(0, _SOME_UNKNOWN))
        return None if told is None else parse_bjobs(told)


def parse_bjobs(text: str) -> dict[str, str]:
    """Return the jobs that `bjobs` tells of, by number, without those that have ended."""
    found = {}
    for line in text.splitlines():
        number, state, reason = (part.strip() for part in (*line.split("|", 2), "", "")[:3])
        if number.isdigit() and state not in _ENDED:
            found[number] = state if reason in ("", "-") else f"{state} ({reason})"
    return found
