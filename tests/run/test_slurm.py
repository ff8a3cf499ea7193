"""Runs on a real SLURM, and what clusters do to them."""

import os
import re
import sys
from pathlib import Path

import pytest

from fibdask import run_recipe
from tests.holding import PATIENCE, wait_until

from . import slurm
from .helpers import fibdask, start, stored_bytes, write_slices

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(autouse=True, scope="module")
def _there_is_one():
    if reason := slurm.why_not():
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def _alone():
    with slurm.alone():
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    return write_slices(tmp_path)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The bytes that one machine makes."""
    folder = write_slices(tmp_path_factory.mktemp("local"))
    run_recipe(folder / "recipe.toml")
    found = stored_bytes(folder / "local")
    assert len(found) > 20
    return found


@pytest.fixture
def held(hold, monkeypatch):
    """What holds workers, which find what `sbatch` is called with: each after its first block."""
    made = hold("import.zarr/intensity/c/", after=1)
    monkeypatch.setenv("PYTHONPATH", made.path)
    return made


def test_run__on_a_node_that_fails_makes_the_bytes_of_one_machine(folder, expected, held):
    slurm.write_profile(folder)
    run = start("run", "recipe.toml", "--cluster", "slurm", "--out", "out", cwd=folder)
    held.wait()
    slurm.set_node("down")
    held.let_go()
    told = []
    for line in run.stdout:
        told.append(line)
        if re.match(r"0 of 2 workers; squeue says .*PENDING \(", line):
            break
    slurm.set_node("resume")
    out, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, (told, out, err)
    assert "0 of 2 workers\n" in told
    assert stored_bytes(folder / "out") == expected
    assert not slurm.jobs()


def record(out):
    """Return what is written of the blocks that a run has read."""
    file = out / "import.zarr" / "intensity" / "journal" / "1-of-1.jsonl"
    return file.read_text() if file.exists() else ""


def test_run_sbatch__killed_at_its_walltime_is_taken_up(folder, expected, held):
    slurm.write_profile(folder, jobs=1)
    script = slurm.ROOT / "deploy" / "slurm" / "run.sbatch"
    arguments = ["recipe.toml", "--out", "out"]
    command = ["sbatch", "--parsable", f"--chdir={folder}", "--mem=1G", script, *arguments]
    client = slurm.call(*map(str, command))
    held.wait()
    wait_until(lambda: record(folder / "out"))
    assert slurm.state_of(client) == "RUNNING"
    slurm.call("scontrol", "update", f"jobid={client}", "endtime=now")
    wait_until(lambda: client not in slurm.jobs())
    assert slurm.state_of(client) == "TIMEOUT"
    held.let_go()  # to workers, which now see that nobody is there any more
    assert stored_bytes(folder / "out") != expected
    again = slurm.call(*map(str, command))
    wait_until(lambda: again not in slurm.jobs())
    log = (folder / f"fibdask-run-{again}.log").read_text()
    assert slurm.state_of(again) == "COMPLETED", log
    assert stored_bytes(folder / "out") == expected
    assert "0 already done" not in log.split("segment")[0]


def test_run__a_job_that_never_starts_ends_it_with_what_the_queue_says(folder):
    slurm.write_profile(folder, patience="00:00:04")
    slurm.set_node("drain")
    out, err = fibdask("run", "recipe.toml", "--cluster", "slurm", cwd=folder, code=1)
    assert re.search(r"0 of 2 workers; squeue says .*PENDING \(", out)
    assert re.search("no worker has started within 4 s: 0 of 2 workers; squeue says .*PENDING", err)
    assert not slurm.jobs()


def test_run__jobs_that_end_at_once_are_not_tried_for_ever(folder):
    slurm.write_profile(folder, extra="prologue = ['echo no such module >&2', 'exit 1']")
    _, err = fibdask("run", "recipe.toml", "--cluster", "slurm", cwd=folder, code=1)
    assert "3 jobs ended before a worker of theirs joined; " in err
    assert "ends: no such module" in err


def test_run__what_sbatch_refuses_is_told(folder):
    slurm.write_profile(folder, partition="nowhere")
    _, err = fibdask("run", "recipe.toml", "--cluster", "slurm", cwd=folder, code=2)
    assert "error: sbatch starts no job: sbatch: error: invalid partition specified: nowhere" in err
    assert not slurm.jobs()
