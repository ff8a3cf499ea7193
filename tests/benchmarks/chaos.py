"""Kill runs, workers and parts at random moments, and compare with undisturbed ones.

python -m tests.benchmarks.chaos [--rounds N] [--parts N] [--arrays N] [--slurm N] [--seed N]

The rounds on SLURM need the one of deploy/slurm/test-cluster.sh.
"""

import argparse
import os
import random
import signal
import tempfile
import time
import traceback
from collections.abc import Collection
from pathlib import Path

import psutil

from fibdask.blocks import Part
from fibdask.blocks.engine.journal import read_record
from fibdask.run.runner import run_recipe
from tests.blocks import parts
from tests.holding import PATIENCE, wait_until
from tests.run import slurm
from tests.run.crash_points import SMALL, files_of, write_images
from tests.run.helpers import (
    fibdask,
    has_blocks,
    kill_tree,
    start,
    status,
    stored_bytes,
    write_recipe,
    write_slices,
)

LARGE = (24, 900, 1200)  # long enough for a run to be disturbed


def disturb(folder: Path, chance: random.Random) -> str:
    """Start a run, kill it or one of its processes, and say what was done."""
    process = start("run", folder / "recipe.toml", "--quiet")
    time.sleep(chance.uniform(1, 12))
    if process.poll() is not None:
        process.communicate()
        return "finished before it was disturbed"
    children = psutil.Process(process.pid).children(recursive=True)
    if children and chance.random() < 0.5:
        victim = chance.choice(children)
        if victim.is_running():
            victim.kill()
        process.communicate()
        return f"killed a child process; the run exited with {process.returncode}"
    kill_tree(process)
    return "killed the run and its workers"


def disturb_parts(folder: Path, chance: random.Random) -> str:
    """Let processes make the parts of one array, kill some or all, and say what was done."""
    of = chance.choice([2, 3])
    running = [parts.start(folder, Part(number, of)) for number in range(1, of + 1)]
    enough = recorded(folder) + chance.randrange(parts.GRID.size // 2)
    patience = time.monotonic() + chance.uniform(1, 12)
    while recorded(folder) < enough and time.monotonic() < patience:
        time.sleep(chance.uniform(0, 0.02))
    victims = chance.sample(running, chance.randint(1, of))
    for process in victims:
        process.kill()
    for process in running:
        _, error = process.communicate()
        assert process.returncode == 0 or process in victims, error
    return f"killed {len(victims)} of {of} parts, {recorded(folder)} blocks recorded"


def recorded(folder: Path) -> int:
    """Return how many blocks of the array of the parts are recorded."""
    record = read_record(parts.target(folder).path)
    return 0 if record is None else len(record.finished)


def disturb_array(folder: Path, chance: random.Random) -> str:
    """Make an array in parts that are killed, then in two to the end; it must be that of one."""
    parts.make(folder / "calm", Part())
    done = [disturb_parts(folder, chance) for _ in range(3)]
    for process in [parts.start(folder, Part(number, 2)) for number in (1, 2)]:
        _, error = process.communicate()
        assert process.returncode == 0, error
    assert parts.shards(folder) == parts.shards(folder / "calm"), done
    return "; ".join(done)


def fork_part(recipe: Path, part: Part, wait: float = 0.0) -> int:
    """Make a part of a recipe in a child process, and return its number.

    A fork, because a process that begins anew takes longer to import than the recipe does to run.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        time.sleep(wait)
        run_recipe(recipe, part=(part.number, part.of))
        code = 0
    except BaseException:
        (recipe.parent / f"{part.number}-of-{part.of}.error").write_text(traceback.format_exc())
    os._exit(code)


def ended(recipe: Path, children: list[int], victims: Collection[int] = ()) -> None:
    """Wait for parts; those that nobody killed must have come to the end."""
    for child in children:
        _, state = os.waitpid(child, 0)
        told = [file.read_text() for file in recipe.parent.glob("*.error")]
        assert state == 0 or child in victims, told


def disturb_run_in_parts(recipe: Path, seconds: float, chance: random.Random) -> str:
    """Let parts of a run come at random moments, kill some or all, and say what was done."""
    of = chance.choice([2, 3, 5])
    children = [
        fork_part(recipe, Part(number, of), chance.uniform(0, seconds / 2))
        for number in range(1, of + 1)
    ]
    victims = chance.sample(children, chance.randint(1, of))
    for child in victims:
        time.sleep(chance.uniform(0, 2 * seconds / len(victims)))
        os.kill(child, signal.SIGKILL)
    ended(recipe, children, victims)
    return f"killed {len(victims)} of {of} parts"


def disturb_runs_in_parts(rounds: int, chance: random.Random) -> None:
    """Make a recipe in parts that are disturbed three times; it must end as in one process."""
    with tempfile.TemporaryDirectory() as name:
        write_images(Path(name) / "images", 12)
        calm, started = small_recipe(Path(name), "calm"), time.monotonic()
        ended(calm, [fork_part(calm, Part())])
        seconds, expected = time.monotonic() - started, files_of(calm.parent / "out")
        for number in range(rounds):
            recipe = small_recipe(Path(name), f"round{number}")
            done = [disturb_run_in_parts(recipe, seconds, chance) for _ in range(3)]
            of = chance.choice([2, 3])
            ended(recipe, [fork_part(recipe, Part(number, of)) for number in range(1, of + 1)])
            found = files_of(recipe.parent / "out")
            names = {*found, *expected}
            wrong = sorted(file for file in names if found.get(file) != expected.get(file))
            assert not wrong, (done, wrong)
            print(f"run in parts, round {number}: identical after: {'; '.join(done)}", flush=True)


def small_recipe(folder: Path, name: str) -> Path:
    """Return a recipe in a folder of its own, of the same images as the others."""
    (folder / name).mkdir()
    recipe = folder / name / "recipe.toml"
    recipe.write_text(SMALL.format(images=folder / "images"))
    return recipe


def disturb_runs(rounds: int, chance: random.Random) -> None:
    """Make runs that are disturbed three times; each must end as one that was not."""
    with tempfile.TemporaryDirectory() as name:
        calm = Path(name) / "calm"
        calm.mkdir()
        fibdask("run", write_recipe(calm, size=192), "--quiet")
        expected = stored_bytes(calm / "out")
        for number in range(rounds):
            folder = Path(name) / f"round{number}"
            folder.mkdir()
            write_recipe(folder, size=192)
            done = [disturb(folder, chance) for _ in range(3)]
            fibdask("run", folder / "recipe.toml", "--quiet")
            assert stored_bytes(folder / "out") == expected, done
            fibdask("run", folder / "recipe.toml", "--quiet")
            assert not any(stage["blocks_run"] for stage in status(folder / "out").values())
            print(f"round {number}: identical after: {'; '.join(done)}", flush=True)


def disturb_job(job: str, chance: random.Random) -> str:
    """Do to a job of SLURM what clusters do, and say what that was."""
    done = chance.choice(["killed", "cancelled", "stopped for a while", "node lost"])
    if done == "killed":
        slurm.signal_processes(job, signal.SIGKILL)
    elif done == "cancelled":
        slurm.call("scancel", job)
    elif done == "stopped for a while":
        slurm.signal_processes(job, signal.SIGSTOP)
        time.sleep(chance.uniform(1, 8))
        slurm.signal_processes(job, signal.SIGCONT)
    else:
        slurm.set_node("down")
        time.sleep(chance.uniform(0, 5))
        slurm.set_node("resume")
    return done


def disturb_on_slurm(folder: Path, chance: random.Random) -> str:
    """Start a run on SLURM, disturb its jobs or kill its client; say what was done, if it was."""
    run = start("run", "recipe.toml", "--cluster", "slurm", "--out", "out", "--quiet", cwd=folder)
    wait_until(lambda: slurm.jobs("fibdask") or run.poll() is not None)
    if chance.random() < 0.7:
        wait_until(lambda: has_blocks(folder / "out") or run.poll() is not None)
    time.sleep(chance.uniform(0, 2))
    jobs = slurm.jobs("fibdask")
    if run.poll() is not None or not jobs:
        run.communicate()
        return ""
    if chance.random() < 0.3:
        kill_tree(run)
        wait_until(lambda: not slurm.jobs())
        return "client killed"
    done = disturb_job(chance.choice(jobs), chance)
    _, error = run.communicate(timeout=PATIENCE)
    assert "Traceback" not in error, (done, error)
    return f"job {done}; the run exited with {run.returncode}"


def disturb_runs_on_slurm(rounds: int, chance: random.Random) -> None:
    """Make runs on SLURM that are disturbed; each must end as on one machine."""
    if reason := slurm.why_not():
        print(f"on SLURM: {reason}")
        return
    with tempfile.TemporaryDirectory() as name, slurm.alone():
        calm = Path(name) / "calm"
        calm.mkdir()
        write_slices(calm, LARGE)
        fibdask("run", "recipe.toml", "--quiet", cwd=calm)
        expected = stored_bytes(calm / "local")
        for number in range(rounds):
            folder = Path(name) / f"round{number}"
            folder.mkdir()
            write_slices(folder, LARGE)
            slurm.write_profile(folder)
            done = [done for _ in range(4) if (done := disturb_on_slurm(folder, chance))]
            command = ["run", "recipe.toml", "--cluster", "slurm", "--out", "out", "--quiet"]
            fibdask(*command, cwd=folder)
            assert stored_bytes(folder / "out") == expected, done
            assert not slurm.jobs(), done
            print(f"on SLURM, round {number}: identical after: {'; '.join(done)}", flush=True)


def main() -> None:
    """Disturb runs in parts, arrays of several writers, runs; all must end byte-identical."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--parts", type=int, default=10, help="Rounds with several writers.")
    parser.add_argument("--arrays", type=int, default=20, help="Rounds of runs in parts.")
    parser.add_argument("--slurm", type=int, default=5, help="Rounds of runs on SLURM.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    if options.arrays:  # first, because a fork has not the threads that blocks may leave
        disturb_runs_in_parts(options.arrays, chance)
    for number in range(options.parts):
        with tempfile.TemporaryDirectory() as name:
            done = disturb_array(Path(name), chance)
        print(f"several writers, round {number}: identical after: {done}", flush=True)
    if options.rounds:
        disturb_runs(options.rounds, chance)
    if options.slurm:
        disturb_runs_on_slurm(options.slurm, chance)


if __name__ == "__main__":
    main()
