"""Counts along lines of voxels, 64 lines to a word, and counts of voxels.

A word holds one voxel each of 64 neighbouring lines. A lag along the lines is then a shift by
whole words: pairs of voxels are an AND and a count of ones for 64 lines at once, and runs begin
and end where a word differs from the one before, whatever lies between.
"""

from collections.abc import Iterator

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from ...compiling import compiled

LANES = 64
"""Lines to a word."""

_TILE = 512  # words of a packed row that stay in the first-level cache
_ONE = np.uint64(1)
_ALL = ~np.uint64(0)


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


@compiled(nogil=True)
def _packed_rows(block, start):
    """Pack up to 64 rows of the middle dimension (a, rows, c) from `start` on: words (a, c)."""
    planes, rows, width = block.shape
    words = np.zeros((planes, width), np.uint64)
    octet = np.empty(_TILE, np.uint8)  # eight rows: bytes go through a vector unit eightfold
    for plane in range(planes):
        for left in range(0, width, _TILE):
            right = min(left + _TILE, width)
            row = words[plane, left:right]
            for first in range(start, min(start + LANES, rows), 8):
                octet[:] = 0
                for lane in range(min(8, rows - first)):
                    _add_bits(block[plane, first + lane, left:right], lane, octet)
                shift = np.uint64(first - start)
                for i in range(len(row)):
                    row[i] |= np.uint64(octet[i]) << shift
    return words


@compiled(nogil=True)
def _add_bits(voxels, lane, octet):
    """Set a bit of bytes where voxels are one."""
    for i in range(len(voxels)):
        octet[i] |= np.uint8(voxels[i] << np.uint8(lane))


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


@compiled(nogil=True)
def add_pair_counts(first, second, starts, counts):
    """Add the pairs of a voxel of `first` and, a lag further on, one of `second`.

    Both are lines (bundle, place). Pairs are counted by the section in which they begin:
    `starts` has the first place of each and the end, `counts` is (section, lag).
    """
    bundles, length = first.shape
    sections, lags = counts.shape
    for bundle in range(bundles):
        for lag in range(min(lags, length)):
            for section in range(sections):
                start, stop = starts[section], min(starts[section + 1], length - lag)
                if start < stop:
                    ends = second[bundle, start + lag : stop + lag]
                    counts[section, lag] += _common_ones(first[bundle, start:stop], ends)


@compiled(nogil=True)
def _common_ones(first, second):
    """Return the number of ones that two rows of words share."""
    ones = 0
    for i in range(len(first)):
        ones += _ones(first[i] & second[i])
    return ones


@compiled(nogil=True)
def add_run_counts(lines, inside, starts, counts, cut_counts):
    """Add the runs of ones on lines (bundle, place) by length.

    Each section (from `starts`, as for pairs) counts in `counts` (section, length) the part of a
    run from where it enters the section to its end, and takes away the part from where the run
    leaves the section. So the sections add up to the runs, and within each the segments that
    begin there are Σ counts[l] max(l - k, 0) for segments of k + 1 places.

    Runs that touch an end of the line, or a place that is not `inside` (bundle, place) if that is
    given, are counted in `cut_counts` (length) too.
    """
    bundles, length = lines.shape
    begin = np.zeros(LANES, np.int64)
    for bundle in range(bundles):
        before = cut = np.uint64(0)
        outside = _ALL
        section = 0
        for i in range(length + 1):
            word = lines[bundle, i] if i < length else np.uint64(0)
            opened, closed = word & ~before, before & ~word
            beyond = _ALL if i == length else np.uint64(0)
            if inside is not None and i < length:
                beyond = ~inside[bundle, i]
            cut = (cut & ~opened) | (opened & outside)
            ended = closed & (cut | beyond)
            while opened != 0:
                bit = opened & (~opened + _ONE)
                begin[_ones(bit - _ONE)] = i
                opened ^= bit
            while closed != 0:
                bit = closed & (~closed + _ONE)
                start = begin[_ones(bit - _ONE)]
                if start >= starts[section]:
                    counts[section, i - start] += 1
                else:
                    _add_long_run(start, i, section, starts, counts)
                if ended & bit != 0:
                    cut_counts[i - start] += 1
                closed ^= bit
            if i == starts[section + 1]:  # only now: a run that ends here lies before it
                section += 1
            before, outside = word, beyond


@compiled(nogil=True)
def _add_long_run(start, end, section, starts, counts):
    """Add a run that begins before a section: to each one a part, less what goes on."""
    counts[section, end - starts[section]] += 1
    while start < starts[section]:
        counts[section - 1, end - max(start, starts[section - 1])] += 1
        counts[section - 1, end - starts[section]] -= 1
        section -= 1
