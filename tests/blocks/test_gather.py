"""One object of every block, combined once."""

from dataclasses import dataclass

import dask
import dask.array as da
import distributed
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from fibdask.blocks import Grid, compute_gathered, gather_blocks
from tests.blocks.helpers import SHAPE, naive_ramp, ramp


@dataclass(frozen=True)
class OddValues:
    """The odd values of a block: of another number in each."""

    def needs(self, region):
        return (region,)

    def compute(self, region, block):
        return block[block % 2 == 1].tolist()

    def working_bytes(self, region):
        return 0


def spread(records):
    values = [value for record in records for value in record]
    return np.array([min(values), max(values), len(values)])


def gathered(array, block=(5, 4, 3), finish=spread, shape=(3,), dtype=np.int64):
    grid = Grid(SHAPE, block)
    return gather_blocks(OddValues(), [array], grid=grid, finish=finish, shape=shape, dtype=dtype)


@given(st.tuples(*[st.integers(1, 13)] * 3))
def test_gather_blocks__is_independent_of_the_grid(block):
    odd = naive_ramp()[naive_ramp() % 2 == 1]
    np.testing.assert_array_equal(gathered(ramp(), block), [odd.min(), odd.max(), odd.size])


@pytest.mark.parametrize(
    "kind", [np.asarray, lambda x: da.from_array(np.asarray(x), chunks=(5, 2, 3)), lambda x: x + 0]
)
def test_gather_blocks__takes_numpy_and_derived_dask_arrays(kind):
    np.testing.assert_array_equal(gathered(kind(ramp())), gathered(ramp()))


def test_gather_blocks__hands_over_records_in_the_order_of_blocks():
    firsts = gathered(ramp(block=(13, 9, 7)), (1, 9, 7), lambda r: [v[0] for v in r], (13,))
    np.testing.assert_array_equal(firsts, 100 * np.arange(13) + 1)


def test_gather_blocks__needs_one_task_a_block_and_one_more():
    assert len(gathered(ramp()).__dask_graph__()) == Grid(SHAPE, (5, 4, 3)).size + 1


def count(records):
    return sum(map(len, records))


def test_gather_blocks__shares_tasks_of_the_same_records():
    one, other = gathered(ramp()), gathered(ramp(), finish=count, shape=())
    assert len(dict(one.dask) | dict(other.dask)) == Grid(SHAPE, (5, 4, 3)).size + 2
    assert one.compute()[2] == other.compute()


def test_gather_blocks__computes_nothing_when_called():
    def refuse(*args, **kwargs):
        raise AssertionError

    with dask.config.set(scheduler=refuse):
        assert gathered(ramp()).shape == (3,)


@pytest.mark.cluster
def test_compute_gathered__tells_of_each_block_here_and_on_workers():
    count_all = gathered(ramp(), finish=count, shape=())
    lazy = xr.Dataset({"spread": ("value", gathered(ramp())), "count": ((), count_all)})
    told = []
    here = compute_gathered(lazy, None, lambda: told.append("here"))
    options = {"processes": False, "dashboard_address": "127.0.0.1:0"}
    with (
        distributed.LocalCluster(n_workers=1, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        there = compute_gathered(lazy, client, lambda: told.append("there"))
    blocks = Grid(SHAPE, (5, 4, 3)).size
    assert told == ["here"] * blocks + ["there"] * blocks
    assert here.equals(lazy.compute())
    assert there.equals(here)
