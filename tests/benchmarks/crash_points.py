"""Kill a small run at every change of the file system: each resumes byte-identical.

python -m tests.benchmarks.crash_points [--every N] [--first K] [--workers N]
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from tests.run.crash_points import Trial


def main() -> None:
    """Try the points that are chosen in child processes, and print those that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="Try every N-th point.")
    parser.add_argument("--first", type=int, default=0, help="Begin with this point.")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        trial = Trial(Path(name))
        points = [
            (kind, point)
            for kind, count in trial.points.items()
            for point in range(options.first, count, options.every)
        ]
        print(f"{len(points)} of {sum(trial.points.values())} points ({trial.points})", flush=True)
        children = [
            _child(trial, points[number :: options.workers]) for number in range(options.workers)
        ]
        failed = [os.waitpid(child, 0)[1] for child in children]
    print(f"{time.monotonic() - started:.0f} s")
    if any(failed):
        raise SystemExit(1)
    print("all identical, nothing left behind")


def _child(trial: Trial, points: list[tuple[str, int]]) -> int:
    """Try points in a child process; return its number."""
    child = os.fork()
    if child:
        return child
    wrong = 0
    for kind, point in points:
        try:
            differ = trial.differences(kind, point)
        except AssertionError as error:
            differ = [str(error).strip().splitlines()[-1]]
        if differ:
            wrong += 1
            print(f"{kind} {point}: {', '.join(differ[:4])}", flush=True)
    os._exit(min(wrong, 1))


if __name__ == "__main__":
    main()
