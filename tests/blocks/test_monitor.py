"""What is told of blocks: how long, how much, which was slowest, and what workers did."""

from math import prod

import numpy as np
import pytest

from fibdask.blocks import (
    Execution,
    Grid,
    StageReport,
    Target,
    Work,
    count_blocks,
    from_source,
    map_blocks,
    open_stored,
    origin,
    reduce_blocks,
    write_array,
)
from fibdask.blocks.engine.monitor import Spent
from fibdask.blocks.engine.resources import own_resources
from fibdask.blocks.engine.workers import _Watch
from tests.blocks.helpers import SHAPE, Paced, SumAlongZ, Total, ramp

GRID = Grid(SHAPE, (4, 4, 4))


def write(array, folder, name="volume"):
    target = Target(folder / name, GRID, (2, 2, 2), "int64", ("z", "y", "x"), {})
    return write_array(array, target, Execution(), name=name, values={})


def of(durations):
    work = Work()
    for seconds in durations:
        work.add(Spent(seconds, 8, 4, 2), 1)
    return work


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_work__median_is_right_to_one_per_cent(seed):
    durations = np.random.default_rng(seed).lognormal(0, 2, 1001)
    assert of(durations).median_seconds == pytest.approx(np.median(durations), rel=0.01)


def test_work__of_two_arrays_is_that_of_all_their_blocks():
    both, whole = of([0.5, 2.0]) + of([1.0]), of([0.5, 2.0, 1.0])
    assert (both.voxels, both.read_bytes, both.written_bytes, both.stored_bytes) == (24, 12, 6, 3)
    assert (both.seconds, both.durations) == (whole.seconds, whole.durations)


def test_work__of_no_blocks_has_no_median():
    assert (Work() + Work()).median_seconds is None


def test_write_array__tells_voxels_bytes_and_time(tmp_path):
    report = write(map_blocks(Paced(0.01), shape=SHAPE, dtype=np.int64, block=(4, 4, 4)), tmp_path)
    work = report.work
    assert (work.voxels, work.written_bytes, work.read_bytes) == (prod(SHAPE), 8 * prod(SHAPE), 0)
    assert work.durations.total() == GRID.size
    assert work.median_seconds * 1.01 >= 0.01
    assert work.median_seconds <= work.slowest.seconds * 1.01
    shards = [file for file in (tmp_path / "volume" / "c").rglob("*") if file.is_file()]
    assert work.stored_bytes == sum(file.stat().st_size for file in shards)


def test_write_array__tells_what_was_read_with_its_halo(tmp_path):
    write(ramp(), tmp_path, "below")
    stored = from_source(open_stored(tmp_path / "below"))
    summed = map_blocks(SumAlongZ(SHAPE[0], 1), [stored], shape=SHAPE, dtype=np.int64)
    work = write(summed, tmp_path).work
    layers = len(range(0, SHAPE[0], 4))
    halos = 2 * (layers - 1) * SHAPE[1] * SHAPE[2]
    assert work.voxels == prod(SHAPE)
    assert work.read_bytes == 8 * (prod(SHAPE) + halos)


def test_write_array__names_the_place_of_the_slowest_block(tmp_path):
    slow = write(ramp(), tmp_path).work.slowest
    region = GRID.region(slow.block)
    parts = zip("zyx", region, strict=True)
    assert slow.place == ", ".join(f"{axis} {part.start}:{part.stop}" for axis, part in parts)


def test_count_blocks__tells_the_voxels_that_are_counted(tmp_path):
    write(ramp(), tmp_path, "below")
    stored = from_source(open_stored(tmp_path / "below"))
    lazy = reduce_blocks(Total(), [stored], grid=GRID, finish=lambda sums: sums[:1], shape=(1,))
    execution = Execution(resources=own_resources(tmp_path / "counts"))
    _, report = count_blocks(origin(lazy), execution, name="total", values={})
    assert report.work.voxels == prod(SHAPE)
    number = report.work.slowest.block[0]
    start = GRID.numbered(number)[0].start
    assert report.work.slowest.place.startswith(f"z {start}:")


def test_watch__counts_the_blocks_of_ended_workers_and_times_without_any(monkeypatch):
    report = StageReport("copy", 3)
    times = iter([10.0, 17.5])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    watch = _Watch({"a"}, "copy-1", report)
    lost = {"processing-tasks": {"copy-1-7", ("copy-1", 3), "of another"}}
    lost |= {"lost-computed-tasks": {"copy-1-8"}}
    watch.told((0.0, {"action": "remove-worker", "worker": "a"} | lost))
    watch.told((1.0, "something else"))
    watch.told((2.0, {"action": "add-worker", "worker": "b"}))
    assert (report.blocks_retried, report.waiting_seconds) == (3, 7.5)
