"""A SLURM of one node on this machine: what tests do to it."""

import contextlib
import fcntl
import os
import re
import subprocess
import tempfile
from pathlib import Path

import psutil

from tests.holding import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]
_CONF = Path("/etc/slurm/slurm.conf")

PROFILE = """
partition = "{partition}"
interface = "lo"
jobs = {jobs}
memory = "1 GiB"
walltime = "00:10:00"
patience = "{patience}"
"""


def write_profile(folder, *, jobs=2, patience="00:03:00", partition="test", extra=""):
    text = PROFILE.format(jobs=jobs, patience=patience, partition=partition) + extra
    (folder / "slurm.toml").write_text(text)


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return done.stdout.strip()


def why_not():
    """Return why there is no SLURM to test with, or nothing."""
    if not _CONF.is_file() or "test-cluster.sh of fibdask" not in _CONF.read_text():
        return "no SLURM for tests runs here: deploy/slurm/test-cluster.sh starts one"
    try:
        call("sinfo")
    except (OSError, subprocess.SubprocessError) as error:
        return f"the SLURM for tests does not answer: {error}"
    return ""


@contextlib.contextmanager
def alone():
    """Keep the node from other tests, and leave it as it was."""
    with (Path(tempfile.gettempdir()) / "fibdask-slurm.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            call("scancel", f"--user={os.getuid()}")
            set_node("resume")
            wait_until(lambda: not jobs())


def node():
    return call("sinfo", "--noheader", "--format=%n")


def set_node(state):
    with contextlib.suppress(subprocess.CalledProcessError):  # it is so already
        call("scontrol", "update", f"nodename={node()}", f"state={state}", "reason=test")


def jobs(name=None):
    """Return the numbers of the jobs in the queue, of a name or all."""
    lines = call("squeue", "--noheader", "--format=%i %j").splitlines()
    return [number for number, found in map(str.split, lines) if name in (None, found)]


def signal_processes(number, sent):
    """Stop the processes of a job, or let them go on."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("SLURM_JOB_ID") == number:
                os.kill(process.pid, sent)


def state_of(number):
    return re.search(r"JobState=(\w+)", call("scontrol", "show", "job", number))[1]
