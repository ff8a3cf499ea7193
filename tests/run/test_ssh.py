"""Runs on workers that a real `sshd` starts, which listens on the loopback interface alone."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import fibdask as package

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
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def port(tmp_path):
    """The port of a server that knows one key."""
    if not Path(SSHD).exists() or not shutil.which("ssh"):
        pytest.skip("no openssh-server: deploy/ssh/install-sshd.sh installs it")
    folder, port = tmp_path / "sshd", free_port()
    folder.mkdir()
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True, timeout=60)
    key = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {key}")
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it leaves its rights
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=log)
    while "listening on 127.0.0.1" not in (folder / "log").read_text():
        assert server.poll() is None, (folder / "log").read_text()
        time.sleep(0.05)
    yield port
    server.terminate()
    server.wait(timeout=30)


@pytest.fixture
def folder(tmp_path, port):
    write_profile(tmp_path, port)
    return write_slices(tmp_path)


def write_profile(folder, port, key="user"):
    options = ["-F", "none", "-p", str(port), "-i", str(folder / "sshd" / key)]
    options += ["-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={folder}/sshd/known"]
    # The second is how long workers look for a scheduler that is gone.
    prologue = [
        f"export PYTHONPATH={Path(package.__file__).parents[1]}",
        "export DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT=10s",
    ]
    (folder / "ssh.toml").write_text(
        'hosts = ["127.0.0.1"]\nworkers = 2\nmemory = "2 GiB"\ninterface = "lo"\n'
        f"options = {json.dumps(options)}\nprologue = {json.dumps(prologue)}\n"
    )


def workers_of(folder):
    """Return the processes that were started for a run, by the Python that they run."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "distributed.cli.dask_worker" in words and "127.0.0.1/0-0" in words:
            found.append(process.pid)
    return found


def test_run__by_ssh_makes_the_bytes_of_one_machine_and_leaves_no_process(folder):
    out, _ = fibdask("run", "recipe.toml", "--cluster", "ssh", "--out", "out", cwd=folder)
    assert "2 of 2 workers\n" in out
    assert (folder / "out" / "certificates" / "key.pem").is_file()
    fibdask("run", "recipe.toml", "--quiet", cwd=folder)
    found = stored_bytes(folder / "out")
    assert len(found) > 4
    assert found == stored_bytes(folder / "local")
    assert not workers_of(folder)


def test_run__a_client_that_is_killed_leaves_no_process_on_the_hosts(folder):
    run = start("run", "recipe.toml", "--cluster", "ssh", "--out", "out", cwd=folder)
    while not workers_of(folder):
        assert run.poll() is None
        time.sleep(0.1)
    run.kill()
    run.wait()
    end = time.monotonic() + 90
    while workers_of(folder):
        assert time.monotonic() < end
        time.sleep(0.2)
    run.stdout.close()
    run.stderr.close()


def test_run__a_host_that_lets_nobody_in_is_told(folder, port):
    write_profile(folder, port, key="host")
    _, err = fibdask("run", "recipe.toml", "--cluster", "ssh", cwd=folder, code=1)
    assert "3 jobs ended before a worker of theirs joined; " in err
    assert "Permission denied (publickey)" in err


def test_plan__shows_the_command_of_a_host(folder, port):
    out, _ = fibdask("plan", "recipe.toml", "--cluster", "ssh", cwd=folder)
    command = out.splitlines()[-1] if "exec" in out.splitlines()[-1] else out
    assert f"ssh -tt -o BatchMode=yes -F none -p {port}" in out
    assert f"{sys.executable} -m distributed.cli.dask_worker SCHEDULER" in command
