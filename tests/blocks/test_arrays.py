import pickle
from dataclasses import dataclass

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fibdask import ConventionError
from fibdask.blocks import Grid, Source, map_blocks, origin, reduce_blocks, volume_chunks
from tests.blocks.helpers import (
    SHAPE,
    Add,
    Layers,
    Ramp,
    SumAlongZ,
    Total,
    naive_ramp,
    naive_sum_along_z,
    ramp,
)

BLOCKS = st.tuples(*[st.integers(1, 9)] * 3)


@dataclass(frozen=True)
class Noted(Ramp):
    """Ramp that notes each block it makes."""

    calls: list

    def compute(self, region):
        self.calls.append(region)
        return super().compute(region)


def mean(counts):
    return counts[:1] / counts[1]


def sums(counts):
    return counts[:, 0]


@given(BLOCKS, BLOCKS, st.integers(0, 5))
def test_map_blocks__is_independent_of_blocks_and_halo_is_exact(first, second, reach):
    volume = ramp(block=first)
    summed = map_blocks(
        SumAlongZ(SHAPE[0], reach), [volume], shape=SHAPE, dtype=np.int64, block=second
    )
    np.testing.assert_array_equal(summed.compute(), naive_sum_along_z(naive_ramp(), reach))


@pytest.mark.parametrize(
    "kind", [np.asarray, lambda x: da.from_array(np.asarray(x), chunks=(5, 2, 3)), lambda x: x + 0]
)
def test_map_blocks__takes_numpy_and_derived_dask_arrays(kind):
    summed = map_blocks(
        SumAlongZ(SHAPE[0], 2), [kind(ramp())], shape=SHAPE, dtype=np.int64, block=(3, 5, 4)
    )
    np.testing.assert_array_equal(summed.compute(), naive_sum_along_z(naive_ramp(), 2))


def test_map_blocks__one_task_a_block_also_when_stages_are_chained():
    once = map_blocks(SumAlongZ(SHAPE[0], 1), [ramp()], shape=SHAPE, dtype=np.int64)
    twice = map_blocks(SumAlongZ(SHAPE[0], 1), [once], shape=SHAPE, dtype=np.int64)
    assert len(twice.__dask_graph__()) == twice.npartitions
    expected = naive_sum_along_z(naive_sum_along_z(naive_ramp(), 1), 1)
    np.testing.assert_array_equal(twice.compute(), expected)


def test_map_blocks__computes_nothing_when_called():
    def refuse(*args, **kwargs):
        raise AssertionError

    with dask.config.set(scheduler=refuse):
        summed = map_blocks(SumAlongZ(SHAPE[0], 1), [ramp()], shape=SHAPE, dtype=np.int64)
        assert summed.shape == SHAPE


@pytest.mark.parametrize(
    "index",
    [
        (slice(2, 9), slice(None), 3),
        (-1,),
        (Ellipsis, slice(1, 4)),
        (slice(5, 5),),
        (slice(None, None, 2), [0, 3]),
        (slice(-4, None), 0, 0),
    ],
)
def test_block_array__slices_like_numpy(index):
    volume, expected = ramp(), naive_ramp()
    if index == (slice(None, None, 2), [0, 3]):
        assert origin(volume[index]) is None
    np.testing.assert_array_equal(volume[index].compute(), expected[index])


def test_block_array__keeps_its_origin_when_sliced_and_pickled():
    part = pickle.loads(pickle.dumps(ramp()[1:12, 2]))[3:, 1:]
    assert isinstance(origin(part), Source)
    np.testing.assert_array_equal(part.compute(), naive_ramp()[4:12, 2, 1:])


@given(BLOCKS)
def test_reduce_blocks__is_bit_identical_under_any_grid(block):
    result = reduce_blocks(Total(), [ramp()], grid=Grid(SHAPE, block), finish=mean, shape=(1,))
    assert result.compute()[0] == naive_ramp().sum() / naive_ramp().size


@pytest.mark.parametrize("kind", [lambda x: x, np.asarray])
@pytest.mark.parametrize("block", [(4, 9, 7), (4, 1, 1), (13, 2, 2)])
def test_reduce_blocks__sums_grouped_blocks_by_group(block, kind):
    layers = Layers(Grid(SHAPE, block))
    result = reduce_blocks(
        Total(), [kind(ramp())], grid=layers, finish=sums, shape=(layers.groups,)
    )
    starts = range(0, SHAPE[0], block[0])
    expected = [naive_ramp()[start : start + block[0]].sum() for start in starts]
    np.testing.assert_array_equal(result.compute(), expected)


def test_reduce_blocks__needs_at_most_two_tasks_a_block():
    grid = Grid((40, 40, 40), (4, 4, 4))
    result = reduce_blocks(Total(), [ramp((40,) * 3)], grid=grid, finish=mean, shape=(1,))
    assert len(result.__dask_graph__()) <= 1.1 * grid.size


@pytest.mark.parametrize("kind", [lambda x: x, np.asarray, lambda x: x + 0])
def test_map_blocks__waits_for_the_result_of_a_reduction(kind):
    volume = kind(ramp())
    total = reduce_blocks(Total(), [volume], grid=Grid(SHAPE, (5, 5, 5)), finish=mean, shape=(1,))
    added = map_blocks(Add(), [volume], parameters=[total], shape=SHAPE, dtype=np.int64)
    expected = naive_ramp() + int(naive_ramp().mean())
    np.testing.assert_array_equal(added.compute(), expected)


@pytest.mark.parametrize("reach", [0, 1])
def test_map_blocks__takes_blocks_of_a_shared_input_where_they_are_all_that_it_needs(reach):
    calls = []
    first = map_blocks(Noted(calls), shape=SHAPE, dtype=np.int64, block=(4, 4, 4))
    function = SumAlongZ(SHAPE[0], reach)
    total = map_blocks(function, [first], shape=SHAPE, dtype=np.int64, shared=True)
    alone = map_blocks(function, [first], shape=SHAPE, dtype=np.int64)
    calls.clear()
    made, values = dask.compute(first, total)
    np.testing.assert_array_equal(made, naive_ramp())
    np.testing.assert_array_equal(values, naive_sum_along_z(naive_ramp(), reach))
    assert len(calls) == (1 if reach == 0 else 2) * Grid(SHAPE, (4, 4, 4)).size
    assert origin(total).token == origin(alone).token
    np.testing.assert_array_equal(total[3:7, 2], values[3:7, 2])


def test_map_blocks__of_a_shared_input_takes_results_of_reductions():
    count = reduce_blocks(Total(), [ramp()], grid=Grid(SHAPE, (5, 5, 5)), finish=mean, shape=(1,))
    first = map_blocks(Add(), [ramp()], parameters=[count], shape=SHAPE, dtype=np.int64)
    total = reduce_blocks(Total(), [first], grid=Grid(SHAPE, (5, 5, 5)), finish=mean, shape=(1,))
    added = map_blocks(Add(), [first], parameters=[total], shape=SHAPE, dtype=np.int64, shared=True)
    expected = naive_ramp() + int(naive_ramp().mean())
    np.testing.assert_array_equal(added.compute(), expected + int(expected.mean()))


def test_token__depends_on_function_and_input_only():
    one = map_blocks(SumAlongZ(13, 1), [ramp()], shape=SHAPE, dtype=np.int64)
    same = map_blocks(SumAlongZ(13, 1), [ramp()], shape=SHAPE, dtype=np.int64)
    other = map_blocks(SumAlongZ(13, 2), [ramp()], shape=SHAPE, dtype=np.int64)
    assert origin(one).token == origin(same).token != origin(other).token


def test_task_bytes__counts_inputs_temporaries_and_result():
    summed = map_blocks(SumAlongZ(13, 2), [ramp()], shape=SHAPE, dtype=np.int64)
    region = (slice(4, 8), slice(0, 4), slice(0, 4))
    read, made = 8 * 8 * 16, 8 * 4 * 16
    assert origin(summed).task_bytes(region) == max(2 * read, read + 2 * made)


def test_block_array__loads_beside_derived_arrays():
    import xarray as xr

    dims = ("z", "y", "x")
    dataset = xr.Dataset({"block": (dims, ramp()), "derived": (dims, ramp() + 1)})
    loaded = dataset.load()
    np.testing.assert_array_equal(loaded["derived"], loaded["block"] + 1)


def test_block_array__assignment_is_not_lost():
    volume = ramp()
    copy = volume.copy()
    volume[2:4] = 7
    assert origin(volume) is None
    assert (volume[2:4].compute() == 7).all()
    np.testing.assert_array_equal(copy.compute(), naive_ramp())


@pytest.mark.parametrize("chunks", [0, -2, "foo", (5, 5), 1.5])
def test_volume_chunks__refuses_what_are_no_chunks(chunks):
    with pytest.raises(ConventionError, match="chunks must be 'auto', a number of voxels, or one"):
        volume_chunks((20, 24, 28), 1, chunks)
