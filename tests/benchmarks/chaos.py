"""Kill runs and workers at random moments, many times, and compare with an undisturbed run."""

import argparse
import random
import tempfile
import time
from pathlib import Path

import psutil

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


def main() -> None:
    """Disturb runs for some rounds; every round must end byte-identical."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        calm = Path(name) / "calm"
        calm.mkdir()
        fibdask("run", write_recipe(calm, size=192), "--quiet")
        expected = stored_bytes(calm / "out")
        for number in range(options.rounds):
            folder = Path(name) / f"round{number}"
            folder.mkdir()
            write_recipe(folder, size=192)
            done = [disturb(folder, chance) for _ in range(3)]
            fibdask("run", folder / "recipe.toml", "--quiet")
            assert stored_bytes(folder / "out") == expected, done
            fibdask("run", folder / "recipe.toml", "--quiet")
            assert not any(stage["blocks_run"] for stage in status(folder / "out").values())
            print(f"round {number}: identical after: {'; '.join(done)}", flush=True)


if __name__ == "__main__":
    main()
