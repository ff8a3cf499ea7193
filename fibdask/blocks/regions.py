"""Regions of arrays and the grids that cut arrays into blocks: arithmetic on integers, no data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil, prod
from typing import Protocol, runtime_checkable

import numpy as np

Region = tuple[slice, ...]
"""One `slice(start, stop)` for each dimension, inside the array, step 1."""

INNER_CHUNK = 64  # voxels along each axis that are read together
BLOCK_BYTES = 64 * 2**20


class BlockList(Protocol):
    """Numbered blocks of an array: a `Grid`, or such as overlap or lie in several directions."""

    @property
    def size(self) -> int:
        """Number of blocks."""

    @property
    def parts(self) -> Sequence[tuple[int, ...]]:
        """Numbers of blocks along the axes of each part; parts are numbered one after another."""

    def numbered(self, number: int) -> Region:
        """Return the region of a block by its running number."""


@runtime_checkable
class GroupedBlocks(BlockList, Protocol):
    """Numbered blocks that are counted in groups, none of them empty."""

    @property
    def groups(self) -> int:
        """Number of groups."""

    def group(self, number: int) -> int:
        """Return the group of a block by its running number."""


@dataclass(frozen=True)
class Grid:
    """An array of `shape` cut into blocks of `block` voxels; edge blocks are smaller."""

    shape: tuple[int, ...]
    block: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of blocks along each dimension."""
        return tuple(ceil(n / b) for n, b in zip(self.shape, self.block, strict=True))

    @property
    def size(self) -> int:
        """Number of blocks."""
        return prod(self.counts)

    @property
    def parts(self) -> Sequence[tuple[int, ...]]:
        """One part, numbered in C order."""
        return (self.counts,)

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """Block lengths along each dimension, as Dask writes them."""
        return tuple(_cut(n, b) for n, b in zip(self.shape, self.block, strict=True))

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Iterate over block positions in C order."""
        return np.ndindex(self.counts)

    def position(self, number: int) -> tuple[int, ...]:
        """Return the block position of a running number in C order."""
        return tuple(int(i) for i in np.unravel_index(number, self.counts))

    def region(self, position: tuple[int, ...]) -> Region:
        """Return the voxels of the block at a position."""
        return tuple(
            slice(i * b, min((i + 1) * b, n))
            for i, b, n in zip(position, self.block, self.shape, strict=True)
        )

    def numbered(self, number: int) -> Region:
        """Return the voxels of a block by its running number in C order."""
        return self.region(self.position(number))


@lru_cache(maxsize=64)  # the same tuple each time: Dask knows the sums of one that it has seen
def _cut(length: int, block: int) -> tuple[int, ...]:
    return tuple(min(block, length - start) for start in range(0, length, block))


def group_numbers(blocks: BlockList) -> np.ndarray:
    """Return the group of each block; 0 where they are not grouped."""
    if not isinstance(blocks, GroupedBlocks):
        return np.zeros(blocks.size, np.int64)
    return np.array([blocks.group(number) for number in range(blocks.size)])


def sums_by_group(blocks: BlockList, sums: np.ndarray) -> np.ndarray:
    """Return summed counts (group, count) as they are, or (count) where there are no groups."""
    return sums if isinstance(blocks, GroupedBlocks) else sums[0]


def lengths(region: Region) -> tuple[int, ...]:
    """Return the shape of a region."""
    return tuple(s.stop - s.start for s in region)


def voxels(region: Region) -> int:
    """Return the number of voxels of a region."""
    return prod(lengths(region))


def whole(shape: tuple[int, ...]) -> Region:
    """Return the region that covers an array."""
    return tuple(slice(0, n) for n in shape)


def grow(interval: slice, before: int, after: int, length: int) -> slice:
    """Widen an interval by a halo, clipped to [0, length)."""
    return slice(max(interval.start - before, 0), min(interval.stop + after, length))


def shift(interval: slice, offset: int) -> slice:
    """Move an interval."""
    return slice(interval.start + offset, interval.stop + offset)


def overlap(one: Region, other: Region) -> Region:
    """Return the region that two have in common, which must not lie apart."""
    return tuple(
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )


def within(inner: Region, outer: Region) -> Region:
    """Express a region relative to the origin of one that contains it."""
    return tuple(shift(i, -o.start) for i, o in zip(inner, outer, strict=True))


def touched_tiles(region: Region, tile: Sequence[int], shape: Sequence[int]) -> list[Region]:
    """Return the tiles of an array, all of one shape but the last ones, that a region touches."""
    axes = []
    for interval, length, n in zip(region, tile, shape, strict=True):
        numbers = range(interval.start // length, -(-interval.stop // length))
        axes.append([slice(i * length, min((i + 1) * length, n)) for i in numbers])
    return list(product(*axes))


def tile_window(
    tile: Region, halo: Sequence[int], stride: Sequence[int], shape: Sequence[int]
) -> Region:
    """Return a tile with its halo, from stride to stride, inside the array."""
    return tuple(
        slice(
            max((s.start - before) // step * step, 0),
            min(ceil((s.stop + before) / step) * step, n),
        )
        for s, before, step, n in zip(tile, halo, stride, shape, strict=True)
    )


def default_block(
    shape: tuple[int, ...], itemsize: int, limit: int = BLOCK_BYTES
) -> tuple[int, ...]:
    """Choose a block: near-cubic in (z, y, x), whole inner chunks, 1 along a leading voltage.

    Blocks hold at most `limit` bytes, and small volumes are cut into at least about eight, so
    that several workers share them.
    """
    spatial = shape[-3:]
    padded = tuple(ceil(n / INNER_CHUNK) * INNER_CHUNK for n in spatial)
    budget = max(min(limit // itemsize, prod(padded) // 8), INNER_CHUNK**3)
    block = fit_block(padded, budget)
    return (1,) * (len(shape) - 3) + tuple(min(b, n) for b, n in zip(block, spatial, strict=True))


def even_part(length: int, most: int, step: int = INNER_CHUNK) -> int:
    """Return the length of even parts of an axis, of `most` voxels, in whole steps."""
    even = ceil(length / ceil(length / most))
    return ceil(even / step) * step


def fit_block(block: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Halve the longest axes of a block, in whole inner chunks, until it holds `most` voxels."""
    halved = list(block)
    while prod(halved) > most and max(halved) > INNER_CHUNK:
        axis = halved.index(max(halved))
        halved[axis] = ceil(halved[axis] / 2 / INNER_CHUNK) * INNER_CHUNK
    return tuple(halved)
