"""Workers on other machines, by `ssh`."""

import asyncio
import contextlib
import shlex
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import distributed
from distributed.deploy.spec import ProcessInterface
from pydantic import PositiveInt

from ...conventions import RecipeError
from .environment import worker_environment
from .jobs import LOOPBACK_HTTP, Launcher, Pool, memory_bytes, worker_share
from .security import tls_options

_PATIENCE = 10.0  # seconds in which `ssh` ends when it is told to
_running: dict[str, asyncio.subprocess.Process] = {}


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """Machines that ssh reaches without a password, and that share a file system with this one.

    Attributes
    ----------
    hosts
        Names or addresses, as `ssh` takes them; ~/.ssh/config applies.
    memory
        Memory of each host, such as "64 GiB"; its workers share 90 % of it.
    workers
        Worker processes of each host, which make one block at a time each.
    threads
        Threads that the libraries in one worker may use.
    scratch
        Folder on a local disk of the host for what workers write besides results; its shell expands
        it.
    options
        Options of `ssh`, such as ["-p", "2222"].
    prologue
        Lines of shell to run before the workers start, such as ["module load python"].
    python
        Interpreter with fibdask on the hosts; by default the path of the one that runs this.
    """

    hosts: tuple[str, ...]
    memory: str
    workers: PositiveInt = 1
    threads: PositiveInt = 1
    scratch: str = "${TMPDIR:-/tmp}"
    options: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    python: str | None = None

    def __post_init__(self) -> None:
        """Check the hosts.

        Raises
        ------
        RecipeError
            If there are none, or one begins as an option of ssh does.
        """
        _ = self.worker_bytes
        wrong = [host for host in self.hosts if not host or host.startswith("-")]
        if wrong or not self.hosts:
            msg = f"hosts must be names of machines; got {list(self.hosts)}"
            raise RecipeError(msg)

    @property
    def worker_bytes(self) -> int:
        """Memory of each worker."""
        return worker_share(memory_bytes(self.memory), self.workers)


class Ssh(Launcher):
    """The machines' own processes, each started by an `ssh` that lives as long."""

    asks, submits = "ssh", "ssh"

    def job_class(self) -> Any:
        """Return the class of what runs on a host."""
        return HostWorkers

    async def look(self, ids: Iterable[str]) -> dict[str, str] | None:
        """Return those whose `ssh` is still there."""
        alive = (id_ for id_ in ids if id_ in _running and _running[id_].returncode is None)
        return dict.fromkeys(alive, "started")

    def pools(self, hosts: Hosts, logs: Path, shared: Mapping[str, Any]) -> list[Pool]:
        """Return a pool for each host, of the one job that there is on it."""
        return [
            Pool(
                f"{host}/{number}",
                jobs=1,
                least=1,
                processes=hosts.workers,
                gpu=False,
                options={"host": host, "hosts": hosts, "logs": logs, **shared},
            )
            for number, host in enumerate(hosts.hosts)
        ]

    def script(self, pool: Pool) -> str:
        """Return the command."""
        return shlex.join(HostWorkers("SCHEDULER", name=pool.name, **pool.options).command)


class HostWorkers(ProcessInterface):  # type: ignore[misc]
    """The workers of a host, which end with their `ssh`."""

    def __init__(
        self,
        scheduler: str,
        *,
        name: str,
        host: str,
        hosts: Hosts,
        logs: Path,
        interface: str | None,
        security: distributed.Security | None = None,
        protocol: str | None = None,
    ) -> None:
        super().__init__(scheduler=scheduler, name=name)
        self.job_id = ""
        self._log = logs / f"{name.replace('/', '-')}.log"
        arguments = worker_arguments(scheduler, name, hosts, interface, protocol, security)
        # A terminal, because the workers are told when it goes, however `ssh` ends.
        command = ["ssh", "-tt", "-o", "BatchMode=yes", *hosts.options, host]
        self.command = [*command, remote_script(hosts, arguments)]

    async def start(self) -> None:
        """Start `ssh`."""
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self.command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.job_id = self._log.stem
        _running[self.job_id] = process
        await super().start()

    async def close(self) -> None:
        """End `ssh`, and with it what it has started."""
        process = _running.pop(self.job_id, None)
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _PATIENCE)
        await super().close()


def worker_arguments(
    scheduler: str,
    name: str,
    hosts: Hosts,
    interface: str | None,
    protocol: str | None,
    security: distributed.Security | None,
) -> Sequence[str]:
    """Return the command of Dask that starts the workers of a host, but for the scratch folder."""
    options: dict[str, Any] = {
        "name": name,
        "nworkers": hosts.workers,
        "nthreads": 1,
        "memory-limit": hosts.worker_bytes,
        "death-timeout": 60,
        "interface": interface,
        "protocol": protocol,
        **tls_options(security),
    }
    pairs = [(f"--{key}", str(value)) for key, value in options.items() if value is not None]
    command = [hosts.python or sys.executable, "-m", "distributed.cli.dask_worker", scheduler]
    return [*command, *LOOPBACK_HTTP, *(word for pair in pairs for word in pair)]


def remote_script(hosts: Hosts, arguments: Sequence[str]) -> str:
    """Return the command for the host's shell, whichever that is."""
    exports = [f"export {k}={v}" for k, v in worker_environment(hosts.threads).items()]
    run = f'exec {shlex.join(arguments)} --local-directory "{hosts.scratch}"'
    return f"exec sh -c {shlex.quote(chr(10).join([*exports, *hosts.prologue, run]))}"
