"""Counts along lines of voxels, 64 lines to a word, and counts of voxels.

A word holds one voxel each of 64 neighbouring lines. A lag along the lines is then a shift by
whole words: pairs of solid voxels are an AND and a count of ones for 64 lines at once, and runs
of solid begin and end where a word differs from the one before, whatever lies between.
"""

from collections.abc import Iterator

import numpy as np
from numba import njit, types
from numba.extending import intrinsic, overload

LANES = 64
"""Lines to a word."""

_TILE = 512  # words of a packed row that stay in the first-level cache
_ONE = np.uint64(1)


def solid_by_slice(block: np.ndarray) -> list[int]:
    """Return the number of solid voxels of each slice of a phase (z, y, x)."""
    return [int(np.count_nonzero(plane)) for plane in block.view(np.bool_)]


def confusion_counts(block: np.ndarray, truth: np.ndarray) -> tuple[int, int, int]:
    """Return the numbers of true solid, false solid and false pore voxels."""
    true_solid = int(np.count_nonzero(block & truth))
    false_solid = int(np.count_nonzero(block)) - true_solid
    false_pore = int(np.count_nonzero(truth)) - true_solid
    return true_solid, false_solid, false_pore


def packed_lines(block: np.ndarray, axis: int) -> Iterator[np.ndarray]:
    """Yield the lines of a phase (z, y, x), C-contiguous, along an axis: words (bundle, place).

    Lines are bundled across y, those along y across z; missing ones of the last bundle are pore.
    """
    depth, height, width = block.shape
    across = block.reshape(1, depth, height * width) if axis == 1 else block
    for start in range(0, across.shape[1], LANES):
        words = _packed_rows(across, start)
        if axis == 2:
            yield words
        else:
            yield np.ascontiguousarray(words.reshape(-1, width).T)


def packed_bytes(lengths: tuple[int, ...], axis: int) -> int:
    """Return the bytes that `packed_lines` holds at a time for a block of these lengths."""
    depth, height, width = lengths
    # The words of a bundle, their transpose, and that of the bundle before.
    return 3 * 8 * (height if axis == 1 else depth) * width


@njit(cache=True, nogil=True)
def _packed_rows(block, start):
    """Pack up to 64 rows of the middle dimension (a, rows, c) from `start` on: words (a, c)."""
    planes, rows, width = block.shape
    words = np.zeros((planes, width), np.uint64)
    for plane in range(planes):
        for left in range(0, width, _TILE):
            for lane in range(min(LANES, rows - start)):
                for i in range(left, min(left + _TILE, width)):
                    voxel = np.uint64(block[plane, start + lane, i])
                    words[plane, i] |= voxel << np.uint64(lane)
    return words


@intrinsic
def _population_count(_context, _word):
    def generate(_context, builder, _signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


def _ones(word):
    """Return the number of ones in a word."""
    return int(np.bitwise_count(word))


@overload(_ones)
def _compiled_ones(_word):  # numba has no bitwise_count
    return lambda _word: np.int64(_population_count(_word))


@njit(cache=True, nogil=True)
def add_pair_counts(lines, counts):
    """Add, for each lag, the pairs of solid voxels at that distance on lines (bundle, place)."""
    bundles, length = lines.shape
    for bundle in range(bundles):
        for lag in range(min(len(counts), length)):
            pairs = 0
            for i in range(length - lag):
                pairs += _ones(lines[bundle, i] & lines[bundle, i + lag])
            counts[lag] += pairs


@njit(cache=True, nogil=True)
def add_run_counts(lines, counts):
    """Add, for each length up to that of the lines (bundle, place), the solid runs that long."""
    bundles, length = lines.shape
    begin = np.zeros(LANES, np.int64)
    for bundle in range(bundles):
        before = np.uint64(0)
        for i in range(length + 1):
            word = lines[bundle, i] if i < length else np.uint64(0)
            changed = word ^ before
            while changed != 0:
                others = changed & (changed - _ONE)
                bit = changed ^ others
                lane = _ones(bit - _ONE)
                if word & bit != 0:
                    begin[lane] = i
                else:
                    counts[i - begin[lane]] += 1
                changed = others
            before = word
