"""Two parts of a run, and two workers, against one: wall time, on a machine that is quiet.

python -m tests.benchmarks.parts [--size N]

Beside it stands what the machine itself gives: a loop that needs no memory, in two processes. Cores
that share their units, or their clock, do less than twice as much.
"""

import argparse
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.run.helpers import fibdask, start, status, write_recipe

LOOPS = 20_000_000


def run_parts(folder: Path, size: int, of: int) -> float:
    """Make a recipe in parts, and return the seconds from the first start to the last end."""
    return timed(prepared(folder, size), [("--part", f"{n}/{of}") for n in range(1, of + 1)])


def run_workers(folder: Path, size: int, of: int) -> float:
    """Make a recipe by workers, and return the seconds from start to end."""
    recipe = prepared(folder, size)
    recipe.write_text(recipe.read_text().replace("workers = 2", f"workers = {of}"))
    return timed(recipe, [()])


def prepared(folder: Path, size: int) -> Path:
    """Return a recipe in a new folder."""
    folder.mkdir()
    return write_recipe(folder, size=size, extra="block_mib = 2\n")


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


def main() -> None:
    """Print the seconds of one and of two, in all and by stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=448, help="Side of the structure, in voxels.")
    size = parser.parse_args().size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "warm").mkdir()
        fibdask("run", write_recipe(folder / "warm", size=64), "--part", "1/1", "--quiet")
        for kind, run in (("parts", run_parts), ("workers", run_workers)):
            one, two = (run(folder / f"{kind}-{of}", size, of) for of in (1, 2))
            stages = [status(folder / f"{kind}-{of}" / "out") for of in (1, 2)]
            for stage in stages[0]:
                seconds = [found[stage]["seconds"] for found in stages]
                told = "  ".join(f"{s:8.1f} s" for s in seconds)
                print(f"{stage:<20} {told}  {seconds[0] / max(seconds[1], 0.1):5.2f}")
            print(f"{size}³ by {kind}: one {one:.1f} s, two {two:.1f} s: {one / two:.2f} times")
    load = os.getloadavg()[0]
    print(f"what the machine gives: {2 * most(1) / most(2):.2f} times; load {load:.1f}")


if __name__ == "__main__":
    main()
