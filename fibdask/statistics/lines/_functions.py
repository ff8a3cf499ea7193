"""Counts of a phase along its lines, and the segments that follow from them."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np

from ...blocks import Region, lengths, voxels
from ...conventions import check_phase_values
from .._functions import covering, mask_region
from .._kernels import lines as _kernels
from .columns import AxisColumns, Columns, Shape
from .sections import section_edges, section_lengths


class Table(NamedTuple):
    """Counts of columns; leading dimensions are kept.

    Attributes
    ----------
    slices
        Voxels of each slice (…, z).
    cut
        Runs that touch the edge of the volume or mask (…, length).
    pairs
        Pairs by the section in which they begin (…, section, lag).
    runs
        Runs by section (…, section, length), as `_kernels.add_run_counts` counts them.
    """

    slices: np.ndarray
    cut: np.ndarray
    pairs: np.ndarray
    runs: np.ndarray


@dataclass(frozen=True)
class LineCounts:
    """Counts along the lines of a phase (z, y, x); a block function over `Columns`.

    A row of counts has about five integers for each voxel of the longest axis: histograms of runs
    in each section, of any length, are what lets long lines be exact.

    Attributes
    ----------
    shape
        Of the volume.
    axes
        Numbers of the axes, in the order of the results.
    max_lag
        Largest lag in voxels.
    of
        What is counted: voxels, pairs and runs of "solid" or "pore"; for "cross", those of solid,
        but pairs of a solid and a pore voxel, in either order.
    mask_axes
        Axes of the mask, or None where every voxel counts.
    """

    shape: Shape
    axes: tuple[int, ...]
    max_lag: int
    of: str = "solid"
    mask_axes: tuple[int, ...] | None = None

    @cached_property
    def columns(self) -> Columns:
        """The blocks that are counted."""
        return Columns(self.shape, self.axes)

    @cached_property
    def _parts(self) -> list[tuple[int, ...]]:
        """Shapes of slices, cut, pairs and runs."""
        length = max(self.shape[axis] for axis in self.axes) + 1
        sections = max(len(section_lengths(self.shape[axis])) for axis in self.axes)
        return [(self.shape[0],), (length,), (sections, self.max_lag + 1), (sections, length)]

    @property
    def _table_size(self) -> int:
        return sum(prod(part) for part in self._parts)

    @property
    def size(self) -> int:
        """Number of counts: a table of the phase, and one of the mask if there is one."""
        return self._table_size if self.mask_axes is None else 2 * self._table_size

    def tables(self, counts: np.ndarray) -> list[Table]:
        """Return counts (…, size) as tables that share their memory."""
        lead = counts.shape[:-1]
        ends = np.cumsum([prod(part) for part in self._parts])
        tables = []
        for start in range(0, counts.shape[-1], self._table_size):
            flat = np.split(counts[..., start : start + self._table_size], ends[:-1], axis=-1)
            arrays = zip(flat, self._parts, strict=True)
            tables.append(Table(*(array.reshape(*lead, *part) for array, part in arrays)))
        return tables

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the column, and the mask's part of it."""
        if self.mask_axes is None:
            return (region[1:],)
        return (region[1:], mask_region(region[1:], self.mask_axes))

    def compute(self, region: Region, block: np.ndarray, *masks: np.ndarray) -> np.ndarray:
        """Count one column."""
        axis, place = region[0].start, region[1:]
        block = np.ascontiguousarray(block)
        check_phase_values("phase", block, tuple(s.start for s in place))
        inside = [covering(mask, place, self.mask_axes or ()) for mask in masks]
        volumes = self._counted(block, inside)
        counts = np.zeros(self.size, np.int64)
        tables = self.tables(counts)
        if axis == self.axes[0]:
            for table, volume in zip(tables, [volumes[0], *inside], strict=True):
                table.slices[place[0]] = _kernels.solid_by_slice(volume)
        starts = np.array(section_edges(self.shape[axis]))
        packed = (_kernels.packed_lines(volume, axis) for volume in [*volumes, *inside])
        for bundle in zip(*packed, strict=True):
            _add_bundle(tables, starts, bundle[: len(volumes)], bundle[len(volumes) :])
        return counts

    def _counted(self, block: np.ndarray, inside: list[np.ndarray]) -> list[np.ndarray]:
        """Return the volume whose voxels are counted; for "cross" also that of their partners."""
        volumes = [block] if self.of == "solid" else [block ^ 1]
        if self.of == "cross":
            volumes.insert(0, block)
        return [volume & mask for volume in volumes for mask in inside] or volumes

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of the worst column of all axes."""
        return self._most_bytes

    @cached_property
    def _most_bytes(self) -> int:
        """Bytes of the copies of a column, and of the packed lines held."""
        columns = [(axis, AxisColumns(self.shape, axis).region(0)) for axis in self.axes]
        packed = max(_kernels.packed_bytes(lengths(column), axis) for axis, column in columns)
        copied = max(voxels(column) for _, column in columns)
        volumes, masks = 1 + (self.of == "cross"), int(self.mask_axes is not None)
        copies = (self.of != "solid") + masks * (1 + volumes)
        return (volumes + masks) * packed + copies * copied

    def segments(self, counts: np.ndarray) -> "Segments":
        """Return the segments of summed counts (group, count)."""
        some, *every = self.tables(counts)
        return Segments(self, some, every[0] if every else self._unmasked())

    def _unmasked(self) -> Table:
        """Return the summed table of a mask of ones."""
        counts = np.zeros((self.columns.groups, self._table_size), np.int64)
        (table,) = self.tables(counts)
        table.slices[0] = prod(self.shape[1:])  # in one group, because only sums are used
        for axis in self.axes:
            groups, length = self.columns.groups_along(axis), self.shape[axis]
            across = (section_lengths(self.shape[a]) for a in AxisColumns(self.shape, axis).across)
            lines = np.multiply.outer(*across).ravel()
            for section, (start, stop) in enumerate(pairwise(section_edges(length))):
                reach = np.clip(length - np.arange(self.max_lag + 1), start, stop) - start
                table.pairs[groups, section] = np.multiply.outer(lines, reach)
                table.runs[groups, section, length - start] += lines
                table.runs[groups, section, length - stop] -= lines
        return table


def _add_bundle(
    tables: list[Table],
    starts: np.ndarray,
    lines: tuple[np.ndarray, ...],
    inside: tuple[np.ndarray, ...],
) -> None:
    """Add the counts of a bundle of lines, and of the mask on these lines if there is one."""
    sections = len(starts) - 1
    table, *of_mask = tables
    pairs = table.pairs[:sections]
    _kernels.add_pair_counts(lines[0], lines[-1], starts, pairs)
    if len(lines) > 1:
        _kernels.add_pair_counts(lines[-1], lines[0], starts, pairs)
    within = inside[0] if inside else None
    _kernels.add_run_counts(lines[0], within, starts, table.runs[:sections], table.cut)
    for whole in of_mask:
        _kernels.add_pair_counts(within, within, starts, whole.pairs[:sections])
        _kernels.add_run_counts(within, None, starts, whole.runs[:sections], whole.cut)


@dataclass(frozen=True)
class Segments:
    """Segments along the axes that are in the phase (`some`), and all of them (`every`).

    What is counted by subvolume has a leading dimension of all combinations of sections along
    z, y and x, in this order.
    """

    lines: LineCounts
    some: Table
    every: Table

    @property
    def subvolumes(self) -> int:
        """Number of subvolumes."""
        return prod(len(section_lengths(n)) for n in self.lines.shape)

    def pairs(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Return pairs by subvolume, in the phase and all: (subvolume, lag) each."""
        both = 2 if self.lines.of == "cross" else 1  # orders of the ends
        every = both * self._by_subvolume(self.every.pairs, axis)
        return self._by_subvolume(self.some.pairs, axis), every

    def paths(self, axis: int, max_lag: int) -> tuple[np.ndarray, np.ndarray]:
        """Return whole segments by subvolume, in the phase and all: (subvolume, lag) each."""
        return (
            self._by_subvolume(path_segments(self.some.runs, max_lag), axis),
            self._by_subvolume(path_segments(self.every.runs, max_lag), axis),
        )

    def _by_subvolume(self, counts: np.ndarray, axis: int) -> np.ndarray:
        """Sort counts (group, section, …) along an axis by subvolume."""
        lines = self.lines
        along = counts[lines.columns.groups_along(axis)]
        cells = AxisColumns(lines.shape, axis).cells
        used = len(section_lengths(lines.shape[axis]))
        by_section = along.reshape(*cells, *along.shape[1:])[:, :, :used]
        return np.moveaxis(by_section, 2, axis).reshape(self.subvolumes, -1)

    def runs(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the runs inside, and those that touch an edge: (length) each."""
        groups = self.lines.columns.groups_along(axis)
        cut = self.some.cut[groups].sum(axis=0)
        runs = self.some.runs[groups].sum(axis=(0, 1))
        return runs - cut, cut


def path_segments(runs: np.ndarray, max_lag: int) -> np.ndarray:
    """Return the segments (…, lag) of max_lag + 1 lags that runs (…, length) hold.

    A run of l voxels holds max(l - k, 0) segments of lag k.
    """
    # Runs at least as long as k + 1 hold a segment of lag k more than of lag k + 1.
    at_least = np.cumsum(runs[..., :0:-1], axis=-1)
    segments = np.zeros((*runs.shape[:-1], max(max_lag + 1, runs.shape[-1] - 1)), np.int64)
    segments[..., : runs.shape[-1] - 1] = np.cumsum(at_least, axis=-1)[..., ::-1]
    return segments[..., : max_lag + 1]
