"""Counts along whole lines: a volume cut into full-length columns along each axis.

One reduction holds everything that the statistics along lines need, so what is asked for
together is counted together: the volume is read once for each axis.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod

import numpy as np

from ..blocks import Grid, Region
from ..conventions import check_phase_values
from . import _kernels

COLUMN_BYTES = 64 * 2**20

Shape = tuple[int, int, int]


def column_grid(shape: Shape, axis: int) -> Grid:
    """Cut a volume (z, y, x) into columns of its full length along an axis.

    Cross-sections are whole words of lines and whole inner chunks, and near-square; there are at
    least about eight columns, so that several workers share a small volume.
    """
    block = [ceil(n / _kernels.LANES) * _kernels.LANES for n in shape]
    block[axis] = shape[axis]
    limit = min(COLUMN_BYTES, prod(shape) // 8)
    across = [other for other in range(len(shape)) if other != axis]
    while prod(block) > limit and max(block[other] for other in across) > _kernels.LANES:
        longest = max(across, key=lambda other: block[other])
        block[longest] = ceil(block[longest] / 2 / _kernels.LANES) * _kernels.LANES
    return Grid(shape, tuple(min(b, n) for b, n in zip(block, shape, strict=True)))


@dataclass(frozen=True)
class Columns:
    """The columns of a volume along some axes, numbered.

    A region has the number of the axis as a leading dimension: (axis, z, y, x). The axis with
    the largest columns comes first, because forecasts look at block 0.
    """

    shape: Shape
    axes: tuple[int, ...]

    @cached_property
    def _grids(self) -> list[tuple[int, Grid]]:
        grids = [(axis, column_grid(self.shape, axis)) for axis in self.axes]
        return sorted(grids, key=lambda pair: -prod(pair[1].block))

    @property
    def size(self) -> int:
        """Number of columns."""
        return sum(grid.size for _, grid in self._grids)

    def numbered(self, number: int) -> Region:
        """Return the axis and the voxels of a column."""
        for axis, grid in self._grids:
            if number < grid.size:
                return (slice(axis, axis + 1), *grid.numbered(number))
            number -= grid.size
        msg = f"there are {self.size} columns; number {number + self.size} was asked for"
        raise IndexError(msg)


@dataclass(frozen=True)
class LineCounts:
    """Counts of the solid along the lines of a phase (z, y, x); a block function over `Columns`.

    The counts are the solid voxels of each slice, then for each axis the pairs of solid voxels
    at lags 0 … max_lag, and the solid runs of lengths 0 … n.

    Attributes
    ----------
    shape
        Of the volume.
    axes
        Numbers of the axes, in the order of the results.
    max_lag
        Largest lag in voxels.
    """

    shape: Shape
    axes: tuple[int, ...]
    max_lag: int

    @cached_property
    def _ends(self) -> np.ndarray:
        parts = [(self.max_lag + 1, self.shape[axis] + 1) for axis in self.axes]
        return np.cumsum([self.shape[0], *(n for part in parts for n in part)])

    @property
    def columns(self) -> Columns:
        """The blocks that are counted."""
        return Columns(self.shape, self.axes)

    @property
    def size(self) -> int:
        """Number of counts."""
        return int(self._ends[-1])

    def slices(self, counts: np.ndarray) -> np.ndarray:
        """Return the part of the counts that holds the solid voxels of each slice."""
        return counts[: self.shape[0]]

    def along(self, counts: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the parts of the counts that hold the pairs and the runs along an axis."""
        at = 2 * self.axes.index(axis)
        start, middle, end = self._ends[at : at + 3]
        return counts[start:middle], counts[middle:end]

    def segments(self, axis: int, count: int) -> np.ndarray:
        """Return how many segments of lag 0 … count - 1 along an axis lie in the volume."""
        length = self.shape[axis]
        lines = prod(self.shape) // length
        return lines * np.maximum(length - np.arange(count), 0)

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the column."""
        return (region[1:],)

    def compute(self, region: Region, block: np.ndarray) -> np.ndarray:
        """Count one column."""
        axis, depths = region[0].start, region[1]
        block = np.ascontiguousarray(block)
        check_phase_values("phase", block, tuple(s.start for s in region[1:]))
        counts = np.zeros(self.size, np.int64)
        if axis == self.axes[0]:
            self.slices(counts)[depths] = _kernels.solid_by_slice(block)
        pairs, runs = self.along(counts, axis)
        for lines in _kernels.packed_lines(block, axis):
            _kernels.add_pair_counts(lines, pairs)
            _kernels.add_run_counts(lines, runs)
        return counts

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of packed lines held at a time, in the worst column of all axes."""
        blocks = {axis: column_grid(self.shape, axis).block for axis in self.axes}
        return max(_kernels.packed_bytes(block, axis) for axis, block in blocks.items())
