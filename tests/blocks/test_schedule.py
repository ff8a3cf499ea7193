import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import dask.array as da
import distributed
import numpy as np
import pytest
from distributed import LocalCluster
from distributed.comm import CommClosedError
from distributed.diagnostics.plugin import SchedulerPlugin

from fibdask import BlocksFailedError
from fibdask.blocks import (
    GPU,
    Execution,
    Grid,
    Source,
    Target,
    from_source,
    lengths,
    worker_resources,
    write_array,
)
from fibdask.blocks.engine.schedule import _ahead, current_client, run_blocks
from fibdask.blocks.engine.sources import Computed, Window
from fibdask.blocks.engine.writing import BlockWork
from tests.holding import PATIENCE


def test_ahead__a_lost_scheduler_is_said_and_finished_blocks_are_kept():
    def nthreads():
        raise CommClosedError

    with pytest.raises(BlocksFailedError, match="the scheduler is gone; finished blocks are kept"):
        _ahead(SimpleNamespace(nthreads=nthreads))


def test_ahead__follows_the_threads_of_the_workers_there_are_now():
    assert _ahead(SimpleNamespace(nthreads=lambda: {"a": 2, "b": 1})) == 24


class Listed(Source):
    """Zeros of which each block is read from one of many files."""

    def __init__(self, files):
        self.files = files
        self.shape, self.block = (4, 2, 2), (1, 2, 2)
        self.dtype = np.dtype("u1")

    token = "listed"

    def read(self, region, values):
        return np.zeros(lengths(region), self.dtype)


class Sizes(SchedulerPlugin):
    """Notes the size of each task that a worker is sent."""

    def __init__(self, scheduler):
        self.scheduler, self.bytes, self.resources = scheduler, {}, {}

    def transition(self, key, start, finish, *args, **kwargs):
        if finish == "processing":
            task = self.scheduler.tasks[key]
            self.bytes[key] = len(pickle.dumps(task.run_spec))
            self.resources[key] = task.resource_restrictions


@pytest.fixture
def sizes():
    with LocalCluster(
        n_workers=1, processes=False, dashboard_address="127.0.0.1:0", resources={"GPU": 1}
    ) as cluster:
        plugin = Sizes(cluster.scheduler)
        cluster.scheduler.add_plugin(plugin, name="sizes")
        with distributed.Client(cluster) as client:
            yield client, plugin


def target_in(folder):
    grid = Grid((4, 2, 2), (1, 2, 2))
    return Target(folder / "volume", grid, (1, 2, 2), "uint8", ("z", "y", "x"), {})


def write(array, folder, client):
    execution = Execution(client=client)
    return write_array(array, target_in(folder), execution, name="read images", values={})


@pytest.mark.cluster
def test_run_blocks__tasks_are_small_also_of_many_files(tmp_path, sizes):
    client, plugin = sizes
    files = tuple(f"/a/folder/of/some/length/slice_{n:05d}.tif" for n in range(10_000))
    assert write(from_source(Listed(files)), tmp_path, client).blocks_run == 4
    (run,) = {key.removeprefix("shared-") for key in plugin.bytes if key.startswith("shared-")}
    assert run.startswith("read_images-")
    assert max(plugin.bytes.pop(f"{run}-{number}") for number in range(4)) <= 4096
    assert [*plugin.bytes] == [f"shared-{run}"]


@pytest.mark.cluster
def test_run_graph__tasks_are_small(tmp_path, sizes):
    client, plugin = sizes
    assert write(da.zeros((4, 2, 2), "u1", chunks=1) + 1, tmp_path, client).blocks_run == 4
    written = [key for key in plugin.bytes if key[0].startswith("read_images-")]
    assert len(written) == 4
    assert max(plugin.bytes[key] for key in written) <= 4096


@pytest.mark.cluster
def test_run_blocks__asks_for_resources_of_workers(tmp_path, sizes):
    client, plugin = sizes
    target = target_in(tmp_path)
    target.path.mkdir()
    work = BlockWork(target, "token", Listed(()), {})
    outcomes = run_blocks(work, range(4), client, threads=1, run="gpu", resources={"GPU": 1})
    assert sorted(outcome.number for outcome in outcomes) == [0, 1, 2, 3]
    assert plugin.resources["gpu-0"] == {"GPU": 1}
    assert not plugin.resources["shared-gpu"]


@dataclass(frozen=True)
class On:
    """What a predictor says of where it is to be."""

    device: str


@dataclass(frozen=True)
class WhetherOnGpu:
    """Block function: 1 where the worker offers a GPU."""

    predictor: On

    def needs(self, region):
        return ()

    def compute(self, region):
        offered = "GPU" in distributed.get_worker().state.total_resources
        return np.full(lengths(region), offered, np.uint8)

    def working_bytes(self, region):
        return 0


@pytest.fixture
def mixed():
    """A client of one worker that offers a GPU, and of three that do not."""
    options = {"dashboard": False, "host": "127.0.0.1"}
    workers = {name: {"cls": distributed.Worker, "options": options} for name in "abc"}
    workers["gpu"] = {"cls": distributed.Worker, "options": options | {"resources": GPU}}
    scheduler_options = {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    scheduler = {"cls": distributed.Scheduler, "options": scheduler_options}
    with (
        distributed.SpecCluster(workers=workers, scheduler=scheduler) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.cluster
@pytest.mark.parametrize("device", ["gpu", "cpu"])
def test_write_array__what_needs_a_gpu_is_made_by_workers_that_offer_one(tmp_path, mixed, device):
    grid = Grid((40, 1, 1), (1, 1, 1))
    target = Target(tmp_path / "volume", grid, grid.block, "uint8", ("z", "y", "x"), {})
    function = WhetherOnGpu(On(device))
    source = Computed(function, (), (), grid.shape, np.dtype("u1"), grid.block)
    window = Window(source, tuple(slice(0, n) for n in grid.shape), ())
    execution = Execution(mixed, worker_resources(mixed, folder=tmp_path))
    write_array(from_source(window), target, execution, name="made", values={})
    found = np.asarray(target.open()[...])
    assert found.all() == (device == "gpu")


@pytest.mark.cluster
def test_write_array__where_nobody_offers_a_gpu_all_workers_are_asked(tmp_path):
    target = target_in(tmp_path)
    source = Computed(WhetherOnGpu(On("gpu")), (), (), (4, 2, 2), np.dtype("u1"), (1, 2, 2))
    options = {"n_workers": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        execution = Execution(client, worker_resources(client, folder=tmp_path))
        write_array(from_source(source), target, execution, name="made", values={})
    assert not np.asarray(target.open()[...]).any()


def test_import__refuses_query_planning_of_arrays():
    done = subprocess.run(
        [sys.executable, "-c", "import fibdask; fibdask.open_stack"],
        env=os.environ | {"DASK_ARRAY__QUERY_PLANNING": "True"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "set array.query-planning to False before dask.array is imported" in done.stderr
    assert "ConventionError" in done.stderr


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
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr


def test_current_client__is_none_without_one():
    assert current_client() is None
