"""Jobs that start workers elsewhere: what they are given, and how many of them there are."""

import re
import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt, PositiveInt

from ...conventions import RecipeError
from .environment import worker_environment
from .local import parse_memory
from .security import tls_options

LOOPBACK_HTTP = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")
"""Options of Dask's worker, which tells its health by plain HTTP even without a dashboard."""

_MIB = 2**20
_WORKERS_SHARE = 0.9  # of a job's memory; nannies and the job's script have the rest
_MOST_MARGIN, _LEAST_MARGIN = 600, 30  # seconds
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)")


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Identical jobs of a batch system, each with one or several worker processes.

    Attributes
    ----------
    memory
        Memory of each job, such as "64 GiB"; its workers share 90 % of it.
    walltime
        Longest time of a job, as "HH:MM:SS" or "D-HH:MM:SS". Workers end some minutes earlier, one
        after the other, hand over their results, and are replaced by those of new jobs.
    jobs
        Largest number of jobs.
    minimum_jobs
        Jobs to keep while there is no work for them; by default all. Others end two minutes after
        they have fallen idle.
    cores
        Cores of each job.
    workers
        Worker processes of each job, which make one block at a time each; by default one per core.
    scratch
        Folder on a local disk of the node for what workers write besides results; the job's shell
        expands it.
    directives
        More options of the batch system, such as ["--qos=short"].
    prologue
        Lines of shell to run before the workers start, such as ["module load python"].
    python
        Interpreter with fibdask on the nodes; by default the one that runs this.
    """

    memory: str
    walltime: str
    jobs: PositiveInt = 1
    minimum_jobs: NonNegativeInt | None = None
    cores: PositiveInt = 1
    workers: PositiveInt | None = None
    scratch: str = "${TMPDIR:-/tmp}"
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    python: str | None = None

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises
        ------
        RecipeError
            With the values and the rule.
        """
        _ = self.seconds, self.worker_bytes
        if self.least > self.jobs:
            msg = f"minimum_jobs must be at most jobs; got {self.least} of {self.jobs}"
            raise RecipeError(msg)
        if self.processes > self.cores:
            msg = f"workers must be at most one a core; got {self.processes} on {self.cores} cores"
            raise RecipeError(msg)

    @property
    def least(self) -> int:
        """Jobs that are kept, whether there is work or not."""
        return self.jobs if self.minimum_jobs is None else self.minimum_jobs

    @property
    def processes(self) -> int:
        """Worker processes of each job."""
        return self.workers or self.cores

    @property
    def job_bytes(self) -> int:
        """Memory of each job."""
        return memory_bytes(self.memory)

    @property
    def worker_bytes(self) -> int:
        """Memory of each worker."""
        return worker_share(self.job_bytes, self.processes)

    @property
    def seconds(self) -> int:
        """Longest time of a job."""
        return clock_seconds("walltime", self.walltime)

    @property
    def lifetime(self) -> tuple[int, int]:
        """Seconds after which a worker ends, and by how many this varies; well below the walltime.

        A tenth of the walltime is left for the block that is being made.
        """
        margin = min(max(self.seconds // 10, _LEAST_MARGIN), _MOST_MARGIN, self.seconds // 2)
        return self.seconds - margin, margin // 3


@dataclass(frozen=True)
class Pool:
    """Jobs of a kind: how many, and how one is started.

    Attributes
    ----------
    gpu
        Whether each of its workers has a GPU.
    options
        Of the launcher's job class.
    """

    name: str
    jobs: int
    least: int
    processes: int
    gpu: bool
    options: Mapping[str, Any]


class Launcher(ABC):
    """A way of starting workers elsewhere, by jobs.

    Attributes
    ----------
    asks
        What is asked for the state of jobs, as messages name it.
    submits
        What starts a job, as messages name it.
    """

    asks: str
    submits: str

    @abstractmethod
    def job_class(self) -> Any:
        """Return the class whose instances are jobs."""

    @abstractmethod
    async def look(self, ids: Iterable[str]) -> dict[str, str] | None:
        """Return the state of jobs in its own words, by id; of those that have ended nothing.

        It is None where nothing answers.
        """

    @abstractmethod
    def script(self, pool: Pool) -> str:
        """Return what starts a job of a pool, with SCHEDULER for the scheduler's address."""


class Batch(Launcher):
    """A batch system, whose jobs are those of dask-jobqueue."""

    @abstractmethod
    def job_options(self, jobs: Jobs, logs: Path, *, gpu: bool) -> dict[str, Any]:
        """Return the options of a job that differ between batch systems."""

    def pool(
        self, name: str, jobs: Jobs, named: Mapping[str, Any], logs: Path, shared: Mapping[str, Any]
    ) -> Pool:
        """Return a pool of jobs, with what a batch system names in its own way.

        Parameters
        ----------
        shared
            Options of all jobs and hosts: how they talk.
        """
        gpu = name == "gpu"
        lifetime, stagger = jobs.lifetime
        arguments = [*LOOPBACK_HTTP, "--lifetime", f"{lifetime}s"]
        arguments += ["--lifetime-stagger", f"{stagger}s"]
        arguments += ["--resources", "GPU=1"] if gpu else []
        # dask-jobqueue would write paths as they are, with spaces.
        files = tls_options(shared.get("security"))
        arguments += [f"--{option} {shlex.quote(file)}" for option, file in files.items()]
        own = self.job_options(jobs, logs, gpu=gpu)
        options = {
            "cores": jobs.processes,  # threads of all workers: one each
            "processes": jobs.processes,
            "memory": f"{jobs.worker_bytes * jobs.processes} B",
            "local_directory": f'"{jobs.scratch}"',
            "python": shlex.quote(jobs.python or sys.executable),
            "job_name": "fibdask",
            "job_script_prologue": prologue(jobs),
            "worker_extra_args": arguments,
            **named,
            **{option: value for option, value in shared.items() if option != "security"},
            **own,
            "job_extra_directives": [*own["job_extra_directives"], *jobs.directives],
        }
        return Pool(name, jobs.jobs, jobs.least, jobs.processes, gpu, options)

    def script(self, pool: Pool) -> str:
        """Return the script that is submitted."""
        job = self.job_class()("SCHEDULER", name=f"{pool.name}-0", **pool.options)
        return str(job.job_script())


def prologue(jobs: Jobs) -> list[str]:
    """Return the lines of shell before the workers start: their environment, and the user's own."""
    environment = worker_environment(max(jobs.cores // jobs.processes, 1))
    return [*(f"export {name}={value}" for name, value in environment.items()), *jobs.prologue]


def memory_bytes(text: str) -> int:
    """Return the bytes of an amount of memory, which jobs cannot find out by themselves.

    Raises
    ------
    RecipeError
        If it is none, or less than batch systems count in.
    """
    count = parse_memory(text)
    if count is None or count < _MIB:  # SLURM takes 0M for all memory of a node
        msg = f"memory must be an amount of at least 1 MiB, such as '64 GiB'; got {text!r}"
        raise RecipeError(msg)
    return count


def worker_share(memory: int, workers: int) -> int:
    """Return the bytes of each worker of a job or host: less than its part of the memory.

    So Dask sees its limit before the batch system does, which would end all of them.
    """
    return int(_WORKERS_SHARE * memory / workers)


def clock_seconds(name: str, text: str) -> int:
    """Return the seconds of a time as SLURM writes it.

    Raises
    ------
    RecipeError
        If it is none, naming it.
    """
    if found := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        if total := ((24 * days + hours) * 60 + minutes) * 60 + seconds:
            return total
    msg = f"{name} must be 'HH:MM:SS' or 'D-HH:MM:SS', and not 0; got {text!r}"
    raise RecipeError(msg)


def clock(seconds: int, *, days: bool = True) -> str:
    """Return a time as batch systems write it, "D-HH:MM:SS" or with more than 24 hours."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24) if days else (0, hours)
    return f"{f'{day}-' if day else ''}{hour:02}:{minute:02}:{second:02}"
