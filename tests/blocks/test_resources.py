import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import distributed
import numpy as np
import pytest

from fibdask.blocks import Execution, Grid, Resources, Target, check_budget, worker_resources
from fibdask.blocks import write_array as write
from fibdask.blocks.engine import resources as asked
from fibdask.blocks.engine.resources import PROCESS_BYTES, Process, own_resources
from fibdask.conventions import (
    BlocksFailedError,
    ConventionError,
    FibdaskWarning,
    MemoryBudgetError,
)
from tests.blocks.helpers import ramp

MIB = 2**20
PLAIN = Process(2, None, PROCESS_BYTES, "host", 8 * MIB, "", 0)

AFFINE = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from fibdask.blocks.engine.resources import own_resources
print(own_resources().threads)
"""


def test_own_resources__has_the_threads_that_the_process_may_use():
    command = [sys.executable, "-c", AFFINE]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert told.stdout == "1\n"


def test_own_resources__has_the_memory_of_its_control_group(monkeypatch):
    monkeypatch.setattr(distributed.system, "MEMORY_LIMIT", 2**30)
    assert own_resources().host_bytes == 2**30


@pytest.mark.parametrize(
    ("compiler", "sizes", "reserved"),
    [
        (False, [130], 480),
        (True, [250], 480),
        (True, [250, 300, 444], 480),  # later it is what it was said to be before any block
        (True, [400, 500], 608),  # large libraries were there from the beginning
        (False, [400], 672),
        (True, [250, 900], 900),  # they came later
    ],
)
def test_measure_process__takes_what_was_loaded_and_room_for_kernels(
    monkeypatch, compiler, sizes, reserved
):
    monkeypatch.setattr(asked, "_foreseen", [])
    monkeypatch.setitem(sys.modules, "numba", sys)
    if not compiler:
        monkeypatch.delitem(sys.modules, "numba")
    for size in sizes:
        monkeypatch.setattr(asked, "_own_bytes", lambda size=size: size * MIB)
        found = asked.measure_process()
    assert found.process_bytes == reserved * MIB


@pytest.mark.parametrize(
    ("foreseen", "sizes", "reserved", "collected"),
    [
        ([], [250], 480, 0),
        ([], [300, 260], 480, 1),  # garbage at the beginning
        ([470], [400], 480, 0),
        ([470], [600, 400], 480, 1),  # garbage later
        ([608], [600], 608, 0),
    ],
)
def test_measure_process__collects_garbage_only_where_it_could_matter(
    monkeypatch, foreseen, sizes, reserved, collected
):
    told, calls = iter(sizes), []
    monkeypatch.setattr(asked, "_foreseen", [size * MIB for size in foreseen])
    monkeypatch.setattr(asked, "_own_bytes", lambda: next(told) * MIB)
    monkeypatch.setattr(asked.gc, "collect", lambda: calls.append(1))
    monkeypatch.setitem(sys.modules, "numba", sys)
    assert asked.measure_process().process_bytes == reserved * MIB
    assert len(calls) == collected


def test_own_resources__sees_what_the_process_holds():
    held = np.ones(600 * MIB, np.uint8)
    assert own_resources().process_bytes > held.nbytes


def test_check_budget__counts_the_process_as_it_was_measured():
    check_budget("stage", PROCESS_BYTES + MIB, Resources(1, 1000 * MIB))
    with pytest.raises(MemoryBudgetError, match=r"process 960\.0 MiB \+ 1\.0 MiB a task"):
        check_budget("stage", PROCESS_BYTES + MIB, Resources(1, 1000 * MIB, 960 * MIB))


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0), (1, 1, -1)])
def test_resources__refuses_a_worker_with_nothing(numbers):
    with pytest.raises(ConventionError, match="of a worker must be at least"):
        Resources(*numbers)


def client_of(*told, offers=(), cluster=None):
    workers = {number: {"resources": dict.fromkeys(offers, 1.0)} for number in range(len(told))}
    return SimpleNamespace(
        cluster=cluster,
        scheduler_info=lambda n_workers: {"workers": workers},
        run=lambda function, on_error: dict(enumerate(told)),
    )


def test_worker_resources__has_what_every_worker_has(tmp_path):
    other = PLAIN._replace(threads=5, limit=3 * MIB, process_bytes=PROCESS_BYTES + 1)
    found = worker_resources(client_of(PLAIN._replace(limit=9 * MIB), other), folder=tmp_path)
    assert found == Resources(5, 3 * MIB, PROCESS_BYTES + 1, folder=tmp_path)


def test_worker_resources__workers_without_a_limit_share_their_machine(tmp_path):
    client = client_of(PLAIN, PLAIN, PLAIN, PLAIN._replace(host="another"))
    assert worker_resources(client, folder=tmp_path).host_bytes == 8 * MIB // 3


def test_worker_resources__has_the_share_of_a_gpu(tmp_path):
    one, other = (PLAIN._replace(device=name, device_bytes=90 * MIB) for name in "xy")
    client = client_of(one, one, other, PLAIN)
    assert worker_resources(client, folder=tmp_path).device_bytes == 45 * MIB


def test_worker_resources__knows_whether_workers_offer_gpus(tmp_path):
    starts_them = SimpleNamespace(has_gpus=True)
    clients = (
        client_of(PLAIN),
        client_of(PLAIN, offers=["GPU"]),
        client_of(PLAIN, cluster=starts_them),
    )
    told = [worker_resources(client, folder=tmp_path).gpu_workers for client in clients]
    assert told == [False, True, True]


@pytest.mark.parametrize(
    ("script", "expected"),
    [("echo GPU-7, 81559", ("GPU-7", 81559 * MIB)), ("exit 9", ("", 0)), (None, ("", 0))],
)
def test_device__is_what_the_driver_tells(monkeypatch, tmp_path, script, expected):
    if script:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    asked._device.cache_clear()
    assert asked._device() == expected
    asked._device.cache_clear()


def huge(folder):
    grid = Grid((10**5,) * 3, (10**5,) * 3)
    return Target(folder / "huge", grid, (64,) * 3, "int64", ("z", "y", "x"), {})


@pytest.mark.cluster
def test_worker_resources__waits_for_the_first_worker_of_a_cluster_that_adapts(tmp_path):
    options = {"n_workers": 0, "threads_per_worker": 3, "memory_limit": 2**30}
    with (
        distributed.LocalCluster(dashboard_address="127.0.0.1:0", **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        cluster.adapt(minimum=0, maximum=1)
        with pytest.warns(FibdaskWarning, match="no worker yet: waiting up to 100 s"):
            found = worker_resources(client, folder=tmp_path, patience=100)
        assert (found.threads, found.host_bytes) == (3, 2**30)
        array = ramp(huge(tmp_path).grid.shape, huge(tmp_path).grid.block)
        with pytest.raises(MemoryBudgetError, match="huge needs"):
            write(array, huge(tmp_path), Execution(client, found), name="huge", values={})


@pytest.mark.cluster
def test_worker_resources__a_cluster_that_stays_empty_is_refused(tmp_path):
    with (
        distributed.LocalCluster(
            n_workers=0, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster) as client,
        pytest.warns(FibdaskWarning, match="no worker yet"),
        pytest.raises(BlocksFailedError, match="no worker has joined the cluster within 1 s"),
    ):
        worker_resources(client, folder=tmp_path, patience=1)


def test_execution__a_profile_stands_for_workers_that_are_not_there_yet(tmp_path):
    profile = Resources(64, 256 * 2**30, folder=tmp_path)
    array = ramp(huge(tmp_path).grid.shape, huge(tmp_path).grid.block)
    with pytest.raises(MemoryBudgetError, match="64 threads"):
        write(array, huge(tmp_path), Execution(resources=profile), name="huge", values={})


def test_target__its_path_is_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    relative = Target(Path("a"), Grid((1,), (1,)), (1,), "u1", ("z",), {})
    assert relative.path == tmp_path / "a"
    assert Resources(1, 1).folder == tmp_path / "counts"
