"""Columns cover the volume once for each axis, and fit into memory."""

import numpy as np
import pytest

from fibdask.blocks import lengths, voxels
from fibdask.statistics.columns import COLUMN_BYTES, Columns, LineCounts, column_grid

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


def test_columns__end():
    with pytest.raises(IndexError, match="there are 2 columns; number 2 was asked for"):
        Columns((4, 4, 4), (0, 1)).numbered(2)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(2048, 2048, 2048), (500, 2048, 2048), (1, 40000, 40000)])
def test_column_grid__cuts_words_and_fits(shape, axis):
    block = column_grid(shape, axis).block
    assert np.prod(block) <= COLUMN_BYTES
    assert block[axis] == shape[axis]
    for other in {0, 1, 2} - {axis}:
        assert block[other] % 64 == 0 or block[other] == shape[other]
    assert LineCounts(shape, (axis,), 128).working_bytes(()) <= COLUMN_BYTES
