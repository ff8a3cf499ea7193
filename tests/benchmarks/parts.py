"""Two parts of a run, and two workers, against one: wall time, on a machine that is quiet.

python -m tests.benchmarks.parts [--size N] [--block MIB]

Beside it stands what the machine itself gives: a loop that needs no memory, in two processes. Cores
that share their units, or their clock, do less than twice as much.

One worker leaves a core to its client, to the scheduler and to the threads in which it reads, so
that two have less than twice as much to work with. It is timed once more with all of these on one
core, as two of them have two.
"""

import argparse
import os
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from tests.run.helpers import fibdask, start, status, write_recipe

LOOPS = 20_000_000


def run_parts(recipe: Path, of: int) -> float:
    """Make a recipe in parts, and return the seconds from the first start to the last end."""
    return timed(recipe, [("--part", f"{n}/{of}") for n in range(1, of + 1)])


def run_workers(recipe: Path, of: int) -> float:
    """Make a recipe by workers, and return the seconds from start to end."""
    recipe.write_text(recipe.read_text().replace("workers = 2", f"workers = {of}"))
    return timed(recipe, [()])


def run_on_a_core(recipe: Path, of: int) -> float:
    """Make a recipe by workers that have as many cores as they are, with all that serves them."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:of])  # what is started inherits it
    try:
        return run_workers(recipe, of)
    finally:
        os.sched_setaffinity(0, cores)


RUNS = {"parts": run_parts, "workers": run_workers, "workers, a core each": run_on_a_core}


def prepared(folder: Path, size: int, block: int) -> Path:
    """Return a recipe in a new folder."""
    folder.mkdir()
    return write_recipe(folder, size=size, extra=f"block_mib = {block}\n")


def timed(recipe: Path, commands: list[tuple[str, ...]]) -> float:
    """Return the seconds from the start of some runs together to the last end."""
    started = time.monotonic()
    runs = [start("run", recipe, "--quiet", *options) for options in commands]
    for run in runs:
        _, error = run.communicate()
        assert run.returncode == 0, error
    return time.monotonic() - started


def count(loops: int) -> int:
    """Add numbers, which keeps a core busy and nothing else."""
    return sum(range(loops))


def most(processes: int) -> float:
    """Return the seconds that as many processes take for a loop each."""
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(count, [1000] * processes))
        started = time.monotonic()
        list(pool.map(count, [LOOPS] * processes))
        return time.monotonic() - started


def tell(title: str, seconds: list[float], stages: list[dict[str, dict[str, Any]]]) -> None:
    """Print the seconds of one and of two by stage, and in all."""
    for stage in stages[0]:
        one, two = (found[stage]["seconds"] for found in stages)
        print(f"{stage:<20} {one:8.1f} s  {two:8.1f} s  {one / max(two, 0.1):5.2f}")
    one, two = seconds
    print(f"{title}: one {one:.1f} s, two {two:.1f} s: {one / two:.2f} times", flush=True)


def main() -> None:
    """Print the seconds of one and of two, in all and by stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=448, help="Side of the structure, in voxels.")
    parser.add_argument("--block", type=int, default=2, help="Most MiB of a block.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fibdask("run", prepared(folder / "warm", 64, 2), "--part", "1/1", "--quiet")
        for number, (kind, run) in enumerate(RUNS.items()):
            seconds, stages = [], []
            for of in (1, 2):
                recipe = prepared(folder / f"{number}-{of}", options.size, options.block)
                seconds.append(run(recipe, of))
                stages.append(status(recipe.parent / "out"))
                shutil.rmtree(recipe.parent / "out")  # what lies on a disk slows it
            tell(f"{options.size}³ by {kind}", seconds, stages)
    load = os.getloadavg()[0]
    print(f"what the machine gives: {2 * most(1) / most(2):.2f} times; load {load:.1f}")


if __name__ == "__main__":
    main()
