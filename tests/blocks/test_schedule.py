import subprocess
import sys
from types import SimpleNamespace

import pytest
from distributed.comm import CommClosedError

from fibdask import BlocksFailedError
from fibdask.blocks.engine.schedule import _ahead, current_client


def test_ahead__a_lost_scheduler_is_said_and_finished_blocks_are_kept():
    def nthreads():
        raise CommClosedError

    with pytest.raises(BlocksFailedError, match="the scheduler is gone; finished blocks are kept"):
        _ahead(SimpleNamespace(nthreads=nthreads))


def test_ahead__follows_the_threads_of_the_workers_there_are_now():
    assert _ahead(SimpleNamespace(nthreads=lambda: {"a": 2, "b": 1})) == 6


FORK = """
import os, sys, warnings
import numpy as np
import fibdask
from fibdask.conventions import build_stack

if __name__ == "__main__":
    phase = np.arange(6 * 40 * 40, dtype=np.uint8).reshape(6, 40, 40) % 2
    stack = build_stack(
        {"phase": phase}, z=np.arange(6.0), pixel_size=(1, 1), nominal_thickness=1
    )
    client = fibdask.local_cluster(workers=1) if sys.argv[1] == "client" else None
    fibdask.save_stack(stack.chunk(3), "parent.zarr")  # starts threads
    child = os.fork()
    if not child:
        code = 1
        try:
            with warnings.catch_warnings(record=True) as told:
                fibdask.save_stack(fibdask.open_stack("parent.zarr"), "child.zarr")
                fibdask.save_stack(stack.chunk(2), "other.zarr")
                assert fibdask.open_stack("other.zarr").fib.solid_fraction().compute() == 0.5
            assert any("process forked" in str(w.message) for w in told) is bool(client)
            if client:
                try:
                    fibdask.run_recipe({"input": {"path": "parent.zarr"}}, client=client)
                except fibdask.ConventionError as error:
                    assert "client must be one of this process" in str(error)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    for path in ("child.zarr", "other.zarr"):
        assert fibdask.open_stack(path)["phase"].equals(stack["phase"])
    if client:
        client.close()
"""


@pytest.mark.parametrize("started", ["threads", pytest.param("client", marks=pytest.mark.cluster)])
def test_run_blocks__a_fork_makes_its_blocks_itself(tmp_path, started):
    (tmp_path / "fork.py").write_text(FORK)
    command = [sys.executable, "fork.py", started]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_current_client__is_none_without_one():
    assert current_client() is None
