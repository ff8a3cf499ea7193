import errno
import json
import os
import signal

import distributed
import numpy as np
import psutil
import pytest

from fibdask import local_cluster
from fibdask.blocks import (
    Execution,
    Grid,
    Monitor,
    Resources,
    Target,
    count_blocks,
    forecast,
    is_complete,
    keep_values,
    map_blocks,
    open_stored,
    origin,
    reduce_blocks,
    whole,
    write_array,
)
from fibdask.blocks.engine.forecast import PROCESS_BYTES, task_bytes
from fibdask.blocks.engine.resources import own_resources
from fibdask.conventions import MemoryBudgetError, StackReadError
from tests.blocks.helpers import (
    SHAPE,
    Add,
    FailsAt,
    Layers,
    LosesDevice,
    StandsStill,
    SumAlongZ,
    Total,
    naive_ramp,
    ramp,
)
from tests.holding import wait_until

GRID = Grid(SHAPE, (4, 4, 4))


def target_in(folder, grid=GRID):
    return Target(folder / "volume", grid, (2, 2, 2), "int64", ("z", "y", "x"), {})


def write(array, target, **options):
    return write_array(array, target, Execution(**options), name="copy", values={})


def summed(reach):
    return map_blocks(SumAlongZ(SHAPE[0], reach), [ramp()], shape=SHAPE, dtype=np.int64)


def total(counts):
    return counts[:1]


@pytest.mark.parametrize("kind", [lambda x: x, np.asarray, lambda x: x + 0])
def test_write_array__stores_what_the_array_holds(tmp_path, kind):
    report = write(kind(ramp()), target_in(tmp_path))
    assert (report.blocks, report.blocks_run, report.failures) == (GRID.size, GRID.size, [])
    stored = open_stored(tmp_path / "volume")
    values = stored.read(whole(SHAPE), {})
    np.testing.assert_array_equal(values, naive_ramp())


def test_write_array__second_run_executes_nothing(tmp_path):
    write(ramp(), target_in(tmp_path))
    report = write(ramp(), target_in(tmp_path))
    assert (report.blocks_run, report.blocks_skipped) == (0, GRID.size)


def test_write_array__changed_parameter_makes_all_blocks_anew(tmp_path):
    write(summed(1), target_in(tmp_path))
    report = write(summed(2), target_in(tmp_path))
    assert (report.blocks_run, report.blocks_skipped) == (GRID.size, 0)


def test_write_array__without_resume_makes_all_blocks_anew(tmp_path):
    write(ramp(), target_in(tmp_path))
    assert write(ramp(), target_in(tmp_path), resume=False).blocks_run == GRID.size


@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_write_array__repairs_a_torn_shard(tmp_path, damage):
    target = target_in(tmp_path)
    write(ramp(), target)
    shard = target.shard_file((1, 0, 1))
    before = shard.read_bytes()
    if damage == "truncate":
        shard.write_bytes(before[:20])
    else:
        shard.unlink()
    report = write(ramp(), target)
    assert report.blocks_run == 1
    assert shard.read_bytes() == before


def test_write_array__repairs_a_shard_torn_before_it_was_recorded(tmp_path):
    target = target_in(tmp_path)
    write(ramp(), target)
    record = target.path / "journal" / "1-of-1.jsonl"
    lines = record.read_text().splitlines(keepends=True)
    record.write_text("".join(lines[:-1]) + lines[-1][:5])  # killed while recording
    last = target.shard_file(GRID.position(json.loads(lines[-1])["block"]))
    last.write_bytes(b"torn")
    assert write(ramp(), target).blocks_run == 1
    assert (target.open()[:] == naive_ramp()).all()


def test_write_array__names_the_failed_block_and_keeps_the_others(tmp_path):
    grid = Grid(SHAPE, (4, 9, 7))
    array = map_blocks(FailsAt(5), [ramp()], shape=SHAPE, dtype=np.int64)
    report = write(array, target_in(tmp_path, grid))
    assert [failure.block for failure in report.failures] == [(1, 0, 0)]
    assert "z 4:8" in report.failures[0].place
    assert "plane 5 is bad" in report.failures[0].cause
    assert report.blocks_run == grid.size - 1
    with pytest.raises(StackReadError, match="3 of 4 blocks are written"):
        open_stored(tmp_path / "volume")


def test_write_array__stops_when_the_disk_is_full(tmp_path, monkeypatch):
    def full(self, position, data, token):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Target, "write", full)
    report = write(ramp(), target_in(tmp_path))
    assert 0 < report.blocks_failed < GRID.size
    assert "No space left" in report.failures[0].cause


def test_write_array__refuses_what_does_not_fit_before_touching_anything(tmp_path):
    with pytest.raises(MemoryBudgetError, match=r"copy needs .* the worker has 64\.0 MiB"):
        write(ramp(), target_in(tmp_path), resources=Resources(1, 64 * 2**20))
    assert not (tmp_path / "volume").exists()


def test_count_blocks__resumes_its_counts(tmp_path):
    lazy = reduce_blocks(Total(), [ramp()], grid=GRID, finish=total, shape=(1,))
    reports = []
    for _ in range(2):
        counts, report = count_blocks(
            origin(lazy), Execution(resources=own_resources(tmp_path)), name="sum", values={}
        )
        assert origin(lazy).result(counts) == [naive_ramp().sum()]
        reports.append((report.blocks_run, report.blocks_skipped))
    assert reports == [(GRID.size, 0), (0, GRID.size)]


def test_keep_values__resumes_them(tmp_path):
    execution = Execution(resources=own_resources(tmp_path))
    for expected in [(GRID.size, 0), (0, GRID.size)]:
        values, report = keep_values(ramp(), execution, name="ramp")
        np.testing.assert_array_equal(values, naive_ramp())
        assert (report.blocks_run, report.blocks_skipped) == expected


def test_count_blocks__sums_grouped_blocks_by_group(tmp_path):
    layers = Layers(GRID)
    lazy = reduce_blocks(Total(), [ramp()], grid=layers, finish=np.ravel, shape=(8,))
    counts, _ = count_blocks(
        origin(lazy), Execution(resources=own_resources(tmp_path)), name="sum", values={}
    )
    expected = [naive_ramp()[z : z + 4].sum() for z in range(0, SHAPE[0], 4)]
    np.testing.assert_array_equal(counts[:, 0], expected)
    np.testing.assert_array_equal(origin(lazy).result(counts), lazy.compute())


def test_write_array__passes_results_of_reductions_to_the_blocks(tmp_path):
    lazy = reduce_blocks(Total(), [ramp()], grid=GRID, finish=total, shape=(1,))
    array = map_blocks(Add(), [ramp()], parameters=[lazy], shape=SHAPE, dtype=np.int64)
    values = {origin(lazy).token: np.array([7.0])}
    write_array(array, target_in(tmp_path), Execution(), name="add", values=values)
    assert (target_in(tmp_path).open()[:] == naive_ramp() + 7).all()


def test_forecast__covers_block_and_encoding(tmp_path):
    block = 8 * 64
    assert forecast(ramp(), target_in(tmp_path)) >= 2 * block


def test_monitor__is_told_every_block(tmp_path):
    class Counter(Monitor):
        blocks = 0

        def advanced(self, report):
            self.blocks += 1

    counter = Counter()
    write(ramp(), target_in(tmp_path), monitor=counter)
    assert counter.blocks == GRID.size


@pytest.mark.cluster
def test_write_array__on_workers_equals_here_and_resumes_after_a_killed_worker(tmp_path):
    still = map_blocks(StandsStill(str(tmp_path / "still")), shape=SHAPE, dtype=np.int64)
    array = map_blocks(SumAlongZ(SHAPE[0], 1), [still], shape=SHAPE, dtype=np.int64)
    with distributed.Client(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0
    ) as client:
        killer = Killer(tmp_path / "still")
        report = write(array, target_in(tmp_path), client=client, monitor=killer)
        assert report.failures == []
        assert report.blocks_retried >= 1
        assert report.waiting_seconds == 0
    assert is_complete(array, target_in(tmp_path))
    assert (target_in(tmp_path).open()[:] == summed(1).compute()).all()


class Killer(Monitor):
    """Kills the worker that stands still after the third block."""

    def __init__(self, still):
        self._still = still

    def advanced(self, report):
        if report.blocks_run == 3:
            os.kill(int(self._still.read_text()), signal.SIGKILL)


async def forget(address, dask_scheduler):
    """Let the scheduler take a worker for lost, as where nothing is heard of it."""
    await dask_scheduler.remove_worker(address, stimulus_id="test", close=False)


class Forgetful(Monitor):
    """Takes the worker that stands still for lost after the third block."""

    def __init__(self, still, client):
        self._still, self._client = still, client

    def advanced(self, report):
        if report.blocks_run == 3:
            addresses = {pid: address for address, pid in self._client.run(os.getpid).items()}
            self._client.run_on_scheduler(forget, addresses[int(self._still.read_text())])


@pytest.mark.cluster
@pytest.mark.slow
def test_write_array__a_worker_that_wakes_late_leaves_the_shard_that_was_made_elsewhere(tmp_path):
    still = tmp_path / "still"
    array = map_blocks(StandsStill(str(still)), shape=SHAPE, dtype=np.int64)
    with local_cluster(workers=2, memory="4 GiB") as client:
        monitor = Forgetful(still, client)
        report = write(array, target_in(tmp_path), client=client, monitor=monitor)
        assert (report.blocks_run, report.failures) == (GRID.size, [])
        shards = {f: f.stat() for f in (tmp_path / "volume" / "c").rglob("*") if f.is_file()}
        late = int(still.read_text())
        assert psutil.pid_exists(late)
        still.unlink()  # it goes on, and ends then
        wait_until(lambda: not psutil.pid_exists(late))
    assert len(shards) == GRID.size
    assert {f: f.stat() for f in shards} == shards
    assert not list(tmp_path.rglob("*.partial"))


def test_write_array__a_block_of_zeros_has_a_file_as_any_other(tmp_path):
    zeros = np.zeros(SHAPE, np.int64)
    report = write(zeros, target_in(tmp_path))
    assert len([f for f in (tmp_path / "volume" / "c").rglob("*") if f.is_file()]) == GRID.size
    assert (report.blocks_run, report.failures) == (GRID.size, [])
    assert write(zeros, target_in(tmp_path)).blocks_run == 0
    assert not open_stored(tmp_path / "volume").read(whole(SHAPE), {}).any()


def test_write__a_late_task_of_an_earlier_run_does_not_write(tmp_path):
    target = target_in(tmp_path)
    write(ramp(), target)
    with pytest.raises(StackReadError, match="being written anew by another run"):
        target.write((0, 0, 0), np.zeros((4, 4, 4), np.int64), "an earlier fingerprint")
    assert (target.open()[:] == naive_ramp()).all()


def test_forecast__covers_an_inner_block_with_its_halo():
    shape, block = (60, 4, 4), (10, 4, 4)
    array = map_blocks(
        SumAlongZ(60, 9), [ramp(shape, block)], shape=shape, dtype=np.int64, block=block
    )
    inner = origin(array).task_bytes((slice(20, 30), slice(0, 4), slice(0, 4)))
    first = origin(array).task_bytes((slice(0, 10), slice(0, 4), slice(0, 4)))
    assert first < inner
    assert task_bytes(array, Grid(shape, block), 0) >= PROCESS_BYTES + inner


def test_write_array__derived_arrays_record_good_blocks_and_name_bad_ones(tmp_path):
    def bad(block):
        if block[0, 0, 0] == 400:
            msg = "bad block"
            raise ValueError(msg)
        return block

    derived = (ramp() + 0).map_blocks(bad, dtype=np.int64, meta=np.empty((0, 0, 0), np.int64))
    report = write(derived, target_in(tmp_path))
    assert [failure.block for failure in report.failures] == [(1, 0, 0)]
    assert report.blocks_run == GRID.size - 1


def write_after_losses(folder, client, times):
    (folder / "calls").mkdir()
    function = LosesDevice(str(folder / "calls"), times)
    array = map_blocks(function, [], shape=SHAPE, dtype=np.int64)
    target = target_in(folder, Grid(SHAPE, SHAPE))
    return write(array, target, client=client)


@pytest.mark.cluster
def test_write_array__a_worker_that_lost_its_gpu_is_restarted(tmp_path):
    with local_cluster(workers=1) as client:
        report = write_after_losses(tmp_path, client, 2)
    assert (report.blocks_run, report.failures) == (1, [])
    np.testing.assert_array_equal(
        open_stored(tmp_path / "volume").read(whole(SHAPE), {}), naive_ramp()
    )


def test_write_array__a_lost_gpu_without_a_worker_fails_the_block(tmp_path):
    report = write_after_losses(tmp_path, None, 1)
    assert "DeviceLostError: the GPU has failed" in report.failures[0].cause
