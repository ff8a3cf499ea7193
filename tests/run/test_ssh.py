"""Runs on workers that a real `sshd` starts, which listens on the loopback interface alone."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import fibdask as package
from fibdask import run_recipe
from tests.holding import PATIENCE, wait_until

from .helpers import fibdask, start, stored_bytes, write_slices

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SSHD = "/usr/sbin/sshd"

CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile {folder}/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
"""


def free_port():
    """Return a port that nobody listens at now; somebody may in a moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def serve(folder):
    """Start a server that knows one key; returns it and its port, where that is still free."""
    port, log = free_port(), folder / "log"
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
    with log.open("w") as told:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=told)
    listening = "listening on 127.0.0.1"
    wait_until(lambda: server.poll() is not None or listening in log.read_text())
    return (server, port) if server.poll() is None else None


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Folder and port of a server that knows one key."""
    if not Path(SSHD).exists() or not shutil.which("ssh"):
        pytest.skip("no openssh-server: deploy/ssh/install-sshd.sh installs it")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True, timeout=PATIENCE)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it leaves its rights
    found = next(filter(None, (serve(folder) for _ in range(5))), None)
    assert found, (folder / "log").read_text()
    process, port = found
    yield folder, port
    process.terminate()
    process.wait(timeout=PATIENCE)


@pytest.fixture
def folder(tmp_path, server):
    write_profile(tmp_path, server)
    return write_slices(tmp_path)


def write_profile(folder, server, key="user", path=""):
    keys, port = server
    options = ["-F", "none", "-p", str(port), "-i", str(keys / key)]
    options += ["-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={keys}/known"]
    # The last is how long workers look for a scheduler that is gone.
    prologue = [
        f"export PYTHONPATH={path}{os.pathsep}{Path(package.__file__).parents[1]}",
        f"export FIBDASK_TESTED={folder}",
        "export DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT=10s",
    ]
    (folder / "ssh.toml").write_text(
        'hosts = ["127.0.0.1"]\nworkers = 2\nmemory = "2 GiB"\ninterface = "lo"\n'
        f"options = {json.dumps(options)}\nprologue = {json.dumps(prologue)}\n"
    )


def workers_of(folder):
    """Return the processes that were started for a run, by what the profile sets."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("FIBDASK_TESTED") == str(folder):
                found.append(process.pid)
    return found


def test_run__by_ssh_makes_the_bytes_of_one_machine_and_leaves_no_process(folder):
    out, _ = fibdask("run", "recipe.toml", "--cluster", "ssh", "--out", "out", cwd=folder)
    assert "2 of 2 workers\n" in out
    assert (folder / "out" / "certificates" / "key.pem").is_file()
    run_recipe(folder / "recipe.toml")
    found = stored_bytes(folder / "out")
    assert len(found) > 4
    assert found == stored_bytes(folder / "local")
    wait_until(lambda: not workers_of(folder))


def test_run__a_client_that_is_killed_leaves_no_process_on_the_hosts(folder, server, hold):
    held = hold("import.zarr/intensity/c/")
    write_profile(folder, server, path=held.path)
    run = start("run", "recipe.toml", "--cluster", "ssh", "--out", "out", cwd=folder)
    held.wait()
    assert workers_of(folder)
    run.kill()
    held.let_go()
    wait_until(lambda: not workers_of(folder))
    run.communicate()


def test_run__a_host_that_lets_nobody_in_is_told(folder, server):
    write_profile(folder, server, key="host")
    _, err = fibdask("run", "recipe.toml", "--cluster", "ssh", cwd=folder, code=1)
    assert "3 jobs ended before a worker of theirs joined; " in err
    assert "Permission denied (publickey)" in err


def test_plan__shows_the_command_of_a_host(call, folder, server):
    out, _ = call("plan", folder / "recipe.toml", "--cluster", "ssh")
    command = out.splitlines()[-1] if "exec" in out.splitlines()[-1] else out
    assert f"ssh -tt -o BatchMode=yes -F none -p {server[1]}" in out
    assert f"{sys.executable} -m distributed.cli.dask_worker SCHEDULER" in command
