"""A cluster whose workers come as jobs, of which as many are kept as there is work for."""

import asyncio
import contextlib
import logging
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import distributed
from distributed.core import Status
from distributed.utils import get_ip

from ...conventions import BlocksFailedError, FibdaskError, RecipeError
from .jobs import Launcher, Pool

_LOOK = 2.0  # seconds between looks at the queue
_IDLE = 120.0  # seconds that jobs are kept without work
_AGAIN = 60.0  # seconds until a job is submitted again where one was refused
_IN_VAIN = 3  # jobs that may end before a worker of theirs has joined, one after the other
_LAST_LINES = 6  # of the log of a job that has ended so


@dataclass
class _Kept:
    """A job that was started: of which pool, and whether a worker of it has ever joined."""

    pool: Pool
    has_worked: bool = False


class JobCluster(distributed.SpecCluster):  # type: ignore[misc]
    """A scheduler in this process, and jobs that start workers for it.

    Jobs that end are replaced while there is work. A job is given up when there is none.

    Parameters
    ----------
    launcher
        Starts jobs and says what has become of them.
    pools
        Jobs by kind.
    logs
        Folder of the jobs' logs.
    interface
        Of the network, on which the scheduler listens; by default that of this machine's address.
    patience
        Seconds to wait for workers where there are none.
    tell
        Told what is waited for.
    security
        Certificates of the scheduler; jobs read theirs from the files that their pools name.

    Attributes
    ----------
    failure
        Why it cannot go on.
    client
        That is closed then, if it is set.
    has_gpus
        Whether there are jobs with a GPU.
    """

    def __init__(
        self,
        launcher: Launcher,
        pools: Sequence[Pool],
        *,
        logs: Path,
        interface: str | None,
        patience: float,
        tell: Callable[[str], None],
        security: distributed.Security | None = None,
    ) -> None:
        self.failure: FibdaskError | None = None
        self.client: distributed.Client | None = None
        self.has_gpus = any(pool.gpu for pool in pools)
        self._launcher, self._pools, self._tell = launcher, pools, tell
        self._job = launcher.job_class()  # here, because dask-jobqueue is for the main thread
        self._logs, self._patience = logs, patience
        self._kept: dict[str, _Kept] = {}
        self._number = 0
        self._in_vain = 0
        self._refused_at = -math.inf
        self._needed = {pool.name: time.monotonic() for pool in pools}
        self._lonely: dict[bool, float] = {}
        self._told = ""
        self._keeping: asyncio.Task[None] | None = None
        at = {"interface": interface} if interface else {"host": get_ip()}
        options = {"dashboard_address": "127.0.0.1:0", "security": security, **at}
        if security is not None:
            options["protocol"] = "tls://"
        super().__init__(
            scheduler={"cls": distributed.Scheduler, "options": options},
            security=security,
            silence_logs=logging.CRITICAL,
            name="fibdask",
        )
        self.loop.add_callback(self._begin)

    def _begin(self) -> None:
        self._keeping = asyncio.create_task(self._keep())

    async def _close(self) -> None:
        if self._keeping not in (None, asyncio.current_task()):
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        await super()._close()

    async def _keep(self) -> None:
        """Look after the jobs until the cluster is closed or cannot go on."""
        try:
            while self.status == Status.running:
                await self._look()
                await asyncio.sleep(_LOOK)
        except FibdaskError as error:
            self.failure = error
        except Exception as error:
            msg = f"workers are not looked after any more: {type(error).__name__}: {error}"
            self.failure = BlocksFailedError(msg)
        if self.failure is not None and self.client is not None:
            self._tell(str(self.failure))
            await self.client._close(fast=True)  # so nobody waits for it any more

    async def _look(self) -> None:
        states = await self._states()
        for name, kept in [*self._kept.items()] if states is not None else []:
            here = bool(self._names(name))
            kept.has_worked |= here
            if name not in (states or {}) and not here:
                self._forget(name, states or {})
        for pool in self._pools:
            await self._fit(pool)
        self._wait_for(states)

    async def _states(self) -> dict[str, str] | None:
        """Return what is known of the jobs, by name; None where nothing answers."""
        ids = {name: job.job_id for name, job in self.workers.items() if job.job_id}
        told = await self._launcher.look(ids.values()) if ids else {}
        if told is None:
            return None
        return {name: told[number] for name, number in ids.items() if number in told}

    def _forget(self, name: str, states: Mapping[str, str]) -> None:
        """Drop a job that has ended; where several in a row never worked, others must be there."""
        job = self._drop(name)
        kept = self._kept.pop(name)
        self._in_vain = 0 if kept.has_worked else self._in_vain + 1
        if self._in_vain < _IN_VAIN:
            return
        log = last_lines(self._logs, name if job is None else job.job_id)
        msg = f"{self._in_vain} jobs ended before a worker of theirs joined; {log}"
        if not any(other in states for other in self._of_kind(gpu=kept.pool.gpu)):
            raise BlocksFailedError(msg)
        self._refused_at = time.monotonic()
        self._tell(msg)

    def _of_kind(self, *, gpu: bool) -> list[str]:
        """Return the names of the jobs whose workers have a GPU, or have none."""
        return [name for name, kept in self._kept.items() if kept.pool.gpu == gpu]

    def _drop(self, name: str) -> Any:
        """Return a job that has ended, or never began, and that nothing needs to end any more."""
        self.worker_spec.pop(name, None)
        if (job := self.workers.pop(name, None)) is not None:
            job.status = Status.closed
        return job

    async def _fit(self, pool: Pool) -> None:
        """Start as many jobs of a pool as there is work for, or give idle ones up."""
        names = [name for name, kept in self._kept.items() if kept.pool is pool]
        wanted = min(max(math.ceil(self._tasks(pool) / pool.processes), pool.least), pool.jobs)
        if wanted >= len(names):
            self._needed[pool.name] = time.monotonic()
            await self._open(pool, wanted - len(names))
        elif time.monotonic() - self._needed[pool.name] > _IDLE:
            idle = [name for name in names if not self._is_busy(name)]
            await self._give_up(idle[: len(names) - wanted])

    def _tasks(self, pool: Pool) -> int:
        """Return how many tasks are waiting for workers of a pool, or are being made by them."""
        return sum(
            task.state in ("queued", "no-worker", "processing")
            and pool.gpu == bool(task.resource_restrictions)
            for task in self.scheduler.tasks.values()
        )

    async def _open(self, pool: Pool, count: int) -> None:
        for _ in range(count if time.monotonic() - self._refused_at >= _AGAIN else 0):
            name = f"{pool.name}-{self._number}"
            self._number += 1
            self.worker_spec[name] = {"cls": self._job, "options": pool.options}
            try:
                await self._correct_state()
            except (RuntimeError, OSError) as error:
                self._drop(name)
                self._refused(error)
                return
            self._kept[name] = _Kept(pool)

    def _refused(self, error: Exception) -> None:
        """Say that no job can be started; fatal where none ever was."""
        reason = " ".join(str(error).rpartition("stderr:")[2].split())
        msg = f"{self._launcher.submits} starts no job: {reason}"
        if self._number == 1:
            raise RecipeError(msg)
        self._refused_at = time.monotonic()
        self._tell(msg)

    async def _give_up(self, names: list[str]) -> None:
        if workers := [worker for name in names for worker in self._names(name)]:
            await self.scheduler.retire_workers(names=workers, close_workers=True)
        for name in names:
            self.worker_spec.pop(name, None)
            self._kept.pop(name)
        await self._correct_state()

    def _names(self, name: str) -> list[str]:
        """Return the names of a job's workers that are here."""
        return [worker.name for worker in self._workers_of(name)]

    def _workers_of(self, name: str) -> Iterator[Any]:
        for worker in self.scheduler.workers.values():
            if str(worker.name) == name or str(worker.name).startswith(f"{name}-"):
                yield worker

    def _is_busy(self, name: str) -> bool:
        return any(worker.processing for worker in self._workers_of(name))

    def _wait_for(self, states: Mapping[str, str] | None) -> None:
        """Say what is waited for, and wait no longer than there is patience."""
        text = self._waiting(states)
        if text != self._told:
            self._told = text
            self._tell(text)
        now = time.monotonic()
        for gpu in (False, True):
            wanted = any(self._tasks(pool) or pool.least for pool in self._pools if pool.gpu == gpu)
            if not wanted or any(map(self._names, self._of_kind(gpu=gpu))):
                self._lonely.pop(gpu, None)
            elif now - self._lonely.setdefault(gpu, now) > self._patience:
                msg = (
                    f"no worker has started within {self._patience:.0f} s: {text}. What is "
                    "finished is kept; run again when there is room, or wait longer (patience)"
                )
                raise BlocksFailedError(msg)

    def _waiting(self, states: Mapping[str, str] | None) -> str:
        """Return how many workers there are, and what the queue says of the others' jobs."""
        total = sum(kept.pool.processes for kept in self._kept.values())
        text = f"{len(self.scheduler.workers)} of {total} workers"
        if states is None:
            return f"{text}; {self._launcher.asks} does not answer"
        words = Counter(
            states[name] for name in self._kept if name in states and not self._names(name)
        )
        said = ", ".join(f"{count} {word}" if count > 1 else word for word, count in words.items())
        return f"{text}; {self._launcher.asks} says {said}" if said else text


def last_lines(logs: Path, job: str) -> str:
    """Return a sentence with the last lines of a job's log."""
    named = re.compile(rf"(?<!\d){re.escape(job)}(?!\d)")
    files = sorted(path for path in logs.iterdir() if named.search(path.name))
    if not files:
        return f"{logs} holds no log of the last one"
    lines = files[-1].read_text(errors="replace").splitlines()[-_LAST_LINES:]
    return f"{files[-1]} ends: {' | '.join(lines) or 'nothing'}"
