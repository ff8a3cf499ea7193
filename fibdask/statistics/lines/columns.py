"""Counts along whole lines: a volume cut into full-length columns along each axis.

One reduction holds everything that the statistics along lines need, so what is asked for
together is counted together: the volume is read once for each axis. Counts are kept by section
along the lines and by the cell of sections that the column crosses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import ceil, prod

from ...blocks import Region
from .._kernels import lines as _kernels
from .sections import section_edges, section_slices

COLUMN_BYTES = 64 * 2**20

Shape = tuple[int, int, int]
Piece = tuple[slice, int]


@dataclass(frozen=True)
class AxisColumns:
    """The columns of a volume (z, y, x) along one axis.

    Cross-sections are whole words of lines and whole inner chunks where sections are, and
    near-square; none crosses the edge of a section.
    """

    shape: Shape
    axis: int

    @property
    def across(self) -> tuple[int, int]:
        """The two other axes."""
        first, second = (axis for axis in range(len(self.shape)) if axis != self.axis)
        return first, second

    @cached_property
    def pieces(self) -> tuple[list[Piece], list[Piece]]:
        """Parts of the axes across, each with its section, the largest first."""
        lengths = [
            max(s.stop - s.start for s in section_slices(self.shape[axis])) for axis in self.across
        ]
        block = [ceil(n / _kernels.LANES) * _kernels.LANES for n in lengths]
        while prod(block) * self.shape[self.axis] > COLUMN_BYTES and max(block) > _kernels.LANES:
            longest = block.index(max(block))
            block[longest] = ceil(block[longest] / 2 / _kernels.LANES) * _kernels.LANES
        first, second = (
            sorted(_pieces(self.shape[axis], most), key=lambda piece: -_length(piece[0]))
            for axis, most in zip(self.across, block, strict=True)
        )
        return first, second

    @property
    def size(self) -> int:
        """Number of columns."""
        return prod(len(pieces) for pieces in self.pieces)

    @property
    def cells(self) -> tuple[int, int]:
        """Numbers of sections across."""
        first, second = (len(section_edges(self.shape[axis])) - 1 for axis in self.across)
        return first, second

    @property
    def largest(self) -> int:
        """Number of voxels of column 0."""
        return self.shape[self.axis] * prod(_length(pieces[0][0]) for pieces in self.pieces)

    def region(self, number: int) -> Region:
        """Return the voxels (z, y, x) of a column."""
        region = [slice(0, n) for n in self.shape]
        for axis, (part, _) in zip(self.across, self._column(number), strict=True):
            region[axis] = part
        return tuple(region)

    def cell(self, number: int) -> int:
        """Return the cell of sections across that holds a column."""
        (_, first), (_, second) = self._column(number)
        return first * self.cells[1] + second

    def _column(self, number: int) -> tuple[Piece, Piece]:
        first, second = self.pieces
        return first[number // len(second)], second[number % len(second)]


def _pieces(length: int, most: int) -> Iterator[Piece]:
    for number, section in enumerate(section_slices(length)):
        for start in range(section.start, section.stop, most):
            yield slice(start, min(start + most, section.stop)), number


def _length(interval: slice) -> int:
    return int(interval.stop - interval.start)


@dataclass(frozen=True)
class Columns:
    """The columns of a volume along some axes, numbered, and grouped by cell of each axis.

    A region has the number of the axis as a leading dimension: (axis, z, y, x).
    """

    shape: Shape
    axes: tuple[int, ...]

    @cached_property
    def _parts(self) -> list[AxisColumns]:
        parts = [AxisColumns(self.shape, axis) for axis in self.axes]
        return sorted(parts, key=lambda part: -part.largest)

    @cached_property
    def _first_groups(self) -> dict[int, int]:
        cells = [prod(AxisColumns(self.shape, axis).cells) for axis in self.axes]
        return dict(zip(self.axes, accumulate(cells, initial=0), strict=False))

    @property
    def size(self) -> int:
        """Number of columns."""
        return sum(part.size for part in self._parts)

    @property
    def parts(self) -> list[tuple[int, ...]]:
        """Numbers of columns across each axis."""
        return [tuple(len(pieces) for pieces in part.pieces) for part in self._parts]

    @property
    def groups(self) -> int:
        """Number of cells of all axes."""
        return sum(prod(part.cells) for part in self._parts)

    def numbered(self, number: int) -> Region:
        """Return the axis and the voxels of a column."""
        part, number = self._find(number)
        return (slice(part.axis, part.axis + 1), *part.region(number))

    def group(self, number: int) -> int:
        """Return the number of a column's cell: those of the first axis come first."""
        part, number = self._find(number)
        return self._first_groups[part.axis] + part.cell(number)

    def groups_along(self, axis: int) -> slice:
        """Return the groups of the columns along an axis."""
        first = self._first_groups[axis]
        return slice(first, first + prod(AxisColumns(self.shape, axis).cells))

    def _find(self, number: int) -> tuple[AxisColumns, int]:
        left = number
        for part in self._parts:
            if left < part.size:
                return part, left
            left -= part.size
        msg = f"there are {self.size} columns; number {number} was asked for"
        raise IndexError(msg)
