"""Two parts of a run against one: wall time, on a machine that is quiet.

python -m tests.benchmarks.parts [--size N]
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from tests.run.helpers import fibdask, start, status, write_recipe


def run_parts(folder: Path, size: int, of: int) -> float:
    """Make a recipe in parts, and return the seconds from the first start to the last end."""
    folder.mkdir()
    recipe = write_recipe(folder, size=size, extra="block_mib = 2\n")
    started = time.monotonic()
    parts = [start("run", recipe, "--quiet", "--part", f"{n}/{of}") for n in range(1, of + 1)]
    for part in parts:
        _, error = part.communicate()
        assert part.returncode == 0, error
    return time.monotonic() - started


def main() -> None:
    """Print the seconds of one process and of two, in all and by stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=448, help="Side of the structure, in voxels.")
    size = parser.parse_args().size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "warm").mkdir()
        fibdask("run", write_recipe(folder / "warm", size=64), "--part", "1/1", "--quiet")
        one, two = (run_parts(folder / str(of), size, of) for of in (1, 2))
        stages = [status(folder / str(of) / "out") for of in (1, 2)]
    for stage in stages[0]:
        seconds = [found[stage]["seconds"] for found in stages]
        print(f"{stage:<20} {seconds[0]:8.1f} s  {seconds[1]:8.1f} s")
    load = os.getloadavg()[0]
    print(f"{size}³: one {one:.1f} s, two {two:.1f} s: {one / two:.2f} times; load {load:.1f}")


if __name__ == "__main__":
    main()
