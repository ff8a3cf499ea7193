"""Kernels of lines: counts by section, compared with their definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fibdask.statistics._kernels import lines as _kernels
from fibdask.statistics.lines._functions import path_segments
from tests.statistics.helpers import noise

pytestmark = pytest.mark.interpreted


@st.composite
def lines(draw):
    """Draw up to 64 lines across y of a volume (1, lines, places), and edges of sections."""
    length = draw(st.integers(1, 30))
    cuts = draw(st.sets(st.integers(1, length - 1), max_size=3)) if length > 1 else set()
    fraction = draw(st.sampled_from((0.2, 0.8, 1.0)))
    volume = noise((1, draw(st.integers(1, 64)), length), fraction, draw(st.integers(0, 99)))
    return volume, np.array([0, *sorted(cuts), length])


def packed(volume):
    (words,) = _kernels.packed_lines(volume, 2)
    return words


@given(lines())
def test_packed_lines__hold_the_voxels(drawn):
    volume, _ = drawn
    words = packed(volume)[0]
    for lane, line in enumerate(volume[0]):
        np.testing.assert_array_equal(words >> np.uint64(lane) & np.uint64(1), line)


@given(lines(), st.integers(0, 8))
def test_add_pair_counts__counts_pairs_by_the_section_of_their_first_end(drawn, max_lag):
    volume, edges = drawn
    counts = np.zeros((len(edges) - 1, max_lag + 1), np.int64)
    _kernels.add_pair_counts(packed(volume), packed(volume), edges, counts)
    expected = np.zeros_like(counts)
    for lag in range(min(max_lag + 1, volume.shape[2])):
        pairs = (volume[0, :, : volume.shape[2] - lag] & volume[0, :, lag:]).sum(axis=0)
        for i, number in enumerate(pairs):
            expected[np.searchsorted(edges, i, side="right") - 1, lag] += number
    np.testing.assert_array_equal(counts, expected)


@given(lines())
def test_add_run_counts__holds_segments_by_the_section_of_their_first_end(drawn):
    volume, edges = drawn
    length = volume.shape[2]
    counts = np.zeros((len(edges) - 1, length + 1), np.int64)
    _kernels.add_run_counts(packed(volume), None, edges, counts, np.zeros(length + 1, np.int64))
    expected = np.zeros((len(edges) - 1, length), np.int64)
    for lag in range(length):
        for i in range(length - lag):
            section = np.searchsorted(edges, i, side="right") - 1
            expected[section, lag] += volume[0, :, i : i + lag + 1].all(axis=1).sum()
    np.testing.assert_array_equal(path_segments(counts, length - 1), expected)
    assert (counts.sum(axis=0) >= 0).all()
