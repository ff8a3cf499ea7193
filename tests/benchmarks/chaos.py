"""Kill runs, workers and parts of an array at random moments, and compare with undisturbed ones.

python -m tests.benchmarks.chaos [--rounds N] [--parts N] [--seed N]
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

import psutil

from fibdask.blocks import Part
from fibdask.blocks.engine.journal import read_record
from tests.blocks import parts
from tests.run.helpers import fibdask, kill_tree, start, status, stored_bytes, write_recipe


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
    process.communicate()
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


def main() -> None:
    """Disturb arrays of several writers, then runs; every round must end byte-identical."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--parts", type=int, default=10, help="Rounds with several writers.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    for number in range(options.parts):
        with tempfile.TemporaryDirectory() as name:
            done = disturb_array(Path(name), chance)
        print(f"several writers, round {number}: identical after: {done}", flush=True)
    if options.rounds:
        disturb_runs(options.rounds, chance)


if __name__ == "__main__":
    main()
