from types import SimpleNamespace

import pytest
from distributed.comm import CommClosedError

from fibdask import BlocksFailedError
from fibdask.blocks.schedule import _ahead, current_client


def test_ahead__a_lost_scheduler_is_said_and_finished_blocks_are_kept():
    def nthreads():
        raise CommClosedError

    with pytest.raises(BlocksFailedError, match="the scheduler is gone; finished blocks are kept"):
        _ahead(SimpleNamespace(nthreads=nthreads))


def test_ahead__follows_the_threads_of_the_workers_there_are_now():
    assert _ahead(SimpleNamespace(nthreads=lambda: {"a": 2, "b": 1})) == 6


def test_current_client__is_none_without_one():
    assert current_client() is None
