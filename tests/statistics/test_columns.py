"""Columns cover the volume once for each axis, follow the sections, and fit into memory."""

from math import prod

import numpy as np
import pytest

from fibdask.blocks import lengths, voxels
from fibdask.statistics.lines._functions import LineCounts
from fibdask.statistics.lines.columns import COLUMN_BYTES, AxisColumns, Columns
from fibdask.statistics.lines.sections import section_edges, section_lengths

SHAPES = [(1, 1, 1), (12, 200, 130), (300, 70, 64), (1, 500, 300)]


@pytest.mark.parametrize("shape", SHAPES)
def test_columns__cover_the_volume_once_for_each_axis(shape):
    columns = Columns(shape, (0, 2))
    seen = np.zeros((3, *shape), int)
    for number in range(columns.size):
        seen[columns.numbered(number)] += 1
    assert (seen[[0, 2]] == 1).all()
    assert (seen[1] == 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_columns__have_full_length_and_the_largest_first(shape):
    columns = Columns(shape, (0, 1, 2))
    regions = [columns.numbered(number) for number in range(columns.size)]
    for axis, *region in regions:
        assert lengths(tuple(region))[axis.start] == shape[axis.start]
    assert max(voxels(region) for region in regions) == voxels(regions[0])


@pytest.mark.parametrize("shape", [*SHAPES, (2048, 1000, 515)])
def test_columns__of_a_group_fill_a_cell_of_sections(shape):
    columns = Columns(shape, (2, 0))
    filled = np.zeros(columns.groups, int)
    for number in range(columns.size):
        filled[columns.group(number)] += voxels(columns.numbered(number)[1:])
    for axis in (0, 2):
        first, second = (section_lengths(shape[a]) for a in AxisColumns(shape, axis).across)
        expected = np.multiply.outer(first, second).ravel() * shape[axis]
        np.testing.assert_array_equal(filled[columns.groups_along(axis)], expected)


def test_columns__end():
    with pytest.raises(IndexError, match="there are 4 columns; number 4 was asked for"):
        Columns((1, 1, 4), (0,)).numbered(4)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(2048, 2048, 2048), (500, 2048, 2048), (1, 40000, 40000)])
def test_axis_columns__are_words_and_fit(shape, axis):
    column = lengths(AxisColumns(shape, axis).region(0))
    assert prod(column) <= COLUMN_BYTES
    assert column[axis] == shape[axis]
    for other in {0, 1, 2} - {axis}:
        assert column[other] % 64 == 0 or column[other] == shape[other]
    assert LineCounts(shape, (axis,), 128).working_bytes(()) <= COLUMN_BYTES


@pytest.mark.parametrize(
    ("length", "edges"),
    [
        (1, (0, 1)),
        (3, (0, 1, 2, 3)),
        (100, (0, 25, 50, 75, 100)),
        (500, (0, 128, 256, 384, 500)),
        (2048, (0, 512, 1024, 1536, 2048)),
    ],
)
def test_section_edges__are_even_and_long_ones_whole_words(length, edges):
    assert section_edges(length) == edges
