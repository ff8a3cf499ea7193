"""A process that makes a part of an array: python -m tests.blocks.parts FOLDER NUMBER OF."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from fibdask.blocks import Execution, Grid, Part, StageReport, Target, map_blocks, write_array
from tests.blocks.helpers import Paced
from tests.holding import Hold

GRID = Grid((39, 30, 21), (4, 5, 7))  # 180 blocks, those at the end cut short


def target(folder: Path) -> Target:
    """Return the array that the parts make in a folder."""
    return Target(folder / "volume", GRID, (2, 5, 7), "int64", ("z", "y", "x"), {})


def make(folder: Path, part: Part) -> StageReport:
    """Make a part in this process."""
    array = map_blocks(Paced(0.01), shape=GRID.shape, dtype=np.int64, block=GRID.block)
    execution = Execution(part=part)
    return write_array(array, target(folder), execution, name=f"part {part}", values={})


def start(folder: Path, part: Part, hold: Hold | None = None) -> subprocess.Popen[str]:
    """Make a part in a process of its own; it prints how many blocks it made."""
    environment = os.environ | ({"PYTHONPATH": hold.path} if hold else {})
    module = [sys.executable, "-W", "error", "-m", "tests.blocks.parts"]
    command = [*module, str(folder), str(part.number), str(part.of)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def shards(folder: Path) -> dict[str, bytes]:
    """Return every file beside the chunks' own array, but those of the record, by its place."""
    path = target(folder).path
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.parent.name != "journal"
    }


if __name__ == "__main__":
    print(make(Path(sys.argv[1]), Part(int(sys.argv[2]), int(sys.argv[3]))).blocks_run)
