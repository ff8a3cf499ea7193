from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fibdask.blocks import (
    Grid,
    default_block,
    fit_block,
    grow,
    inner_chunks,
    lengths,
    storage_grid,
)

SIZES = st.integers(1, 40)


@given(st.tuples(SIZES, SIZES, SIZES), st.tuples(SIZES, SIZES, SIZES))
def test_grid__covers_every_voxel_once(shape, block):
    grid = Grid(shape, block)
    hits = np.zeros(shape, int)
    for number in range(grid.size):
        hits[grid.region(grid.position(number))] += 1
    assert (hits == 1).all()
    assert prod(len(c) for c in grid.chunks) == grid.size


@given(st.tuples(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 3000)))
def test_default_block__is_whole_inner_chunks_within_the_limit(shape):
    block = default_block(shape, 1)
    assert prod(block) <= 64 * 2**20
    assert all(b == n or b % 64 == 0 for b, n in zip(block, shape, strict=True))


@given(st.tuples(*[st.integers(1, 900)] * 3), st.tuples(*[st.integers(1, 900)] * 3))
def test_storage_grid__blocks_are_whole_inner_chunks_or_the_axis(shape, block):
    grid = storage_grid(shape, block)
    for b, n in zip(grid.block, shape, strict=True):
        assert b == n or b <= 64 or b % 64 == 0


@given(st.tuples(*[st.integers(1, 40)] * 3), st.booleans())
def test_inner_chunks__divide_blocks_and_are_small(multiples, flat):
    block = tuple(64 * n for n in multiples)
    chunks = inner_chunks((1, *block), flat=flat)[1:]
    assert all(b % c == 0 for b, c in zip(block, chunks, strict=True))
    assert all(
        c <= most for c, most in zip(chunks, (32, 256, 256) if flat else (128,) * 3, strict=True)
    )


@given(st.integers(1, 3000))
def test_inner_chunks__waste_little_of_a_block_that_spans_an_axis(length):
    (chunk, *_) = inner_chunks((length, 1, 1), flat=True)
    assert chunk <= 32
    assert -(-length // chunk) <= 2 * -(-length // 32)


def test_fit_block__halves_the_longest_axis():
    assert fit_block((256, 512, 512), 32 * 2**20) == (256, 256, 512)


def test_default_block__cuts_small_volumes_for_several_workers():
    assert Grid((250, 250, 250), default_block((250, 250, 250), 1)).size == 8


@pytest.mark.parametrize(
    ("interval", "expected"), [(slice(0, 4), slice(0, 7)), (slice(4, 8), slice(2, 10))]
)
def test_grow__is_clipped_to_the_axis(interval, expected):
    assert grow(interval, 2, 3, 10) == expected


def test_lengths__of_a_region():
    assert lengths((slice(2, 5), slice(0, 7))) == (3, 7)


def test_grid__gives_the_same_lengths_for_the_same_axis():
    one, other = Grid((100_000, 3), (1, 2)).chunks, Grid((7, 100_000), (2, 1)).chunks
    assert one[0] is other[1]
    assert one == ((1,) * 100_000, (2, 1))
