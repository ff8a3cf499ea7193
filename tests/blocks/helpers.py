"""Small block functions whose results are easy to say."""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fibdask import DeviceLostError
from fibdask.blocks import Grid, grow, map_blocks, shift, voxels

SHAPE = (13, 9, 7)


@dataclass(frozen=True)
class Ramp:
    """Voxel (z, y, x) holds 100 z + 10 y + x."""

    def needs(self, region):
        return ()

    def compute(self, region):
        z, y, x = (np.arange(s.start, s.stop) for s in region)
        return 100 * z[:, None, None] + 10 * y[:, None] + x

    def working_bytes(self, region):
        return 8 * voxels(region)


@dataclass(frozen=True)
class SumAlongZ:
    """Sum over the planes within `reach`; zero beyond the volume."""

    length: int
    reach: int

    def needs(self, region):
        return ((grow(region[0], self.reach, self.reach, self.length), *region[1:]),)

    def compute(self, region, block):
        first = grow(region[0], self.reach, self.reach, self.length).start
        planes = []
        for z in range(region[0].start, region[0].stop):
            inside = grow(slice(z, z + 1), self.reach, self.reach, self.length)
            planes.append(block[shift(inside, -first)].sum(axis=0))
        return np.stack(planes)

    def working_bytes(self, region):
        return 8 * voxels(region)


@dataclass(frozen=True)
class LosesDevice:
    """Ramp whose GPU is lost at each of the first calls, of which files are left behind."""

    folder: str
    times: int

    def needs(self, region):
        return ()

    def compute(self, region):
        calls = len(list(Path(self.folder).iterdir()))
        if calls < self.times:
            (Path(self.folder) / str(calls)).touch()
            msg = "the GPU has failed"
            raise DeviceLostError(msg)
        return Ramp().compute(region)

    def working_bytes(self, region):
        return 0


@dataclass(frozen=True)
class StandsStill:
    """Ramp whose first process waits in the middle to be let go, its number noted in a file."""

    file: str

    def needs(self, region):
        return ()

    def compute(self, region):
        with contextlib.suppress(FileExistsError):
            with Path(self.file).open("x") as told:
                told.write(str(os.getpid()))
            while Path(self.file).exists():
                time.sleep(0.02)
        return Ramp().compute(region)

    def working_bytes(self, region):
        return 0


@dataclass(frozen=True)
class Paced:
    """Ramp that takes its time for each block."""

    seconds: float

    def needs(self, region):
        return ()

    def compute(self, region):
        time.sleep(self.seconds)
        return Ramp().compute(region)

    def working_bytes(self, region):
        return 0


@dataclass(frozen=True)
class Add:
    """Add the result of a reduction."""

    def needs(self, region):
        return (region,)

    def compute(self, region, block, value):
        return block + int(value[0])

    def working_bytes(self, region):
        return 0


@dataclass(frozen=True)
class Total:
    """Count the sum and the number of voxels."""

    size = 2

    def needs(self, region):
        return (region,)

    def compute(self, region, block):
        return np.array([block.sum(), block.size])

    def working_bytes(self, region):
        return 0


@dataclass(frozen=True)
class FailsAt:
    """Copy, but raise in the block that holds plane z."""

    z: int

    def needs(self, region):
        return (region,)

    def compute(self, region, block):
        if region[0].start <= self.z < region[0].stop:
            msg = f"plane {self.z} is bad"
            raise ValueError(msg)
        return block

    def working_bytes(self, region):
        return 0


@dataclass(frozen=True)
class Layers:
    """Blocks of a grid, grouped by their place along z."""

    grid: Grid

    @property
    def size(self):
        return self.grid.size

    @property
    def parts(self):
        return self.grid.parts

    @property
    def groups(self):
        return self.grid.counts[0]

    def numbered(self, number):
        return self.grid.numbered(number)

    def group(self, number):
        return self.grid.position(number)[0]


def ramp(shape=SHAPE, block=(4, 4, 4)):
    return map_blocks(Ramp(), shape=shape, dtype=np.int64, block=block)


def naive_ramp(shape=SHAPE):
    z, y, x = np.ogrid[tuple(slice(n) for n in shape)]
    return 100 * z + 10 * y + x


def naive_sum_along_z(volume, reach):
    padded = np.pad(volume, ((reach, reach), (0, 0), (0, 0)))
    return sum(padded[k : k + len(volume)] for k in range(2 * reach + 1))
