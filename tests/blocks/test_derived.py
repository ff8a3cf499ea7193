"""Stages on arrays that are not read by coordinates: results of arithmetic, joined, rolled."""

import pickle
from dataclasses import dataclass

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fibdask.blocks import Grid, gather_blocks, map_blocks, origin, reduce_blocks, voxels
from tests.blocks.helpers import SHAPE, SumAlongZ, Total, naive_ramp, naive_sum_along_z, ramp

CHUNKS = st.tuples(*[st.integers(1, 9)] * 3)


@dataclass(frozen=True)
class Recorded:
    """Copy, and note each block that is asked for; a task holds `load` numbers beside it."""

    asked: list
    load: int = 0

    def needs(self, region):
        self.asked.append(region)
        return (region,)

    def compute(self, region, block):
        return block

    def working_bytes(self, region):
        return voxels(region)


def derived(array):
    return da.concatenate([array[:5] * 2, da.roll(array, 1, axis=1)[5:]])


def summed(volume, block=(3, 5, 4)):
    return map_blocks(SumAlongZ(SHAPE[0], 2), [volume], shape=SHAPE, dtype=np.int64, block=block)


@given(CHUNKS, CHUNKS)
def test_map_blocks__of_a_derived_array_is_independent_of_chunks_and_blocks(chunks, block):
    volume = derived(da.from_array(naive_ramp(), chunks=chunks))
    expected = naive_sum_along_z(volume.compute(), 2)
    np.testing.assert_array_equal(summed(volume, block).compute(), expected)


def test_map_blocks__of_a_derived_array_looks_at_no_block_when_called():
    asked = []
    shape = (400, 400, 400)
    volume = da.zeros(shape, chunks=10, dtype="u1") * 2
    lazy = map_blocks(Recorded(asked), [volume], shape=shape, dtype="u1", block=(10, 10, 10))
    assert (lazy.npartitions, asked) == (64_000, [])
    lazy[:10, :10, :20].compute()
    assert len({str(region) for region in asked}) == 2


def test_map_blocks__of_a_derived_array_adds_one_task_a_block_and_one():
    volume = derived(ramp())
    assert len(summed(volume).dask) == len(volume.dask) + Grid(SHAPE, (3, 5, 4)).size + 1


def test_map_blocks__of_a_derived_array_makes_small_tasks_of_a_large_function():
    function = Recorded([], load=np.arange(10**5))
    lazy = map_blocks(function, [derived(ramp())], shape=SHAPE, dtype=np.int64)
    key = (lazy.name, 0, 0, 0)
    assert len(pickle.dumps(lazy.dask.layers[lazy.name][key])) < 4096


@dataclass(frozen=True)
class Empty:
    """Zeros, made of no voxel."""

    place: int

    def needs(self, region):
        return (tuple(slice(self.place, self.place) for _ in region),)

    def compute(self, region, block):
        assert block.shape == (0, 0, 0)
        return np.zeros([s.stop - s.start for s in region], block.dtype)

    def working_bytes(self, region):
        return 0


@pytest.mark.parametrize("place", [0, 3, 4, 7])
def test_map_blocks__may_need_nothing_of_a_derived_array(place):
    volume = da.from_array(naive_ramp(), chunks=4) * 1.5
    lazy = map_blocks(Empty(place), [volume], shape=SHAPE, dtype=float, block=(5, 9, 7))
    assert not lazy.compute().any()


@pytest.mark.parametrize("make", [ramp, lambda: derived(ramp())])
def test_map_blocks__has_no_tasks_of_the_old_form(make):
    volume = summed(make())
    grid = Grid(SHAPE, (5, 5, 5))
    total = reduce_blocks(Total(), [volume], grid=grid, finish=np.ravel, shape=(2,))
    listed = gather_blocks(Total(), [volume], grid=grid, finish=len, shape=())
    for array in (volume, total, listed):
        assert not any(
            isinstance(task, tuple) for task in dict(array.dask.layers[array.name]).values()
        )


def test_block_array__keeps_its_origin_when_copied_and_pickled_and_loses_it_when_assigned_to():
    copy, sent = ramp().copy(), pickle.loads(pickle.dumps(ramp()))
    assert origin(copy[2:]).token == origin(sent[2:]).token == origin(ramp()[2:]).token
    copy[:] = 0
    assert origin(copy) is None
    assert not copy.compute().any()


def test_block_array__one_block_of_many_makes_one_task():
    many = ramp((4000, 4000, 4000), (40, 40, 40))
    assert len(many.dask.cull([(many.name, 3, 4, 5)])) == 1
