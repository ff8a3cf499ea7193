"""Arrays that several processes make, which know of each other by the journal alone."""

import errno
import json
import os
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fibdask import ConventionError, StackReadError
from fibdask.blocks import (
    Execution,
    Grid,
    Monitor,
    Part,
    count_blocks,
    map_blocks,
    open_stored,
    origin,
    own_resources,
    reduce_blocks,
    whole,
)
from fibdask.blocks.engine import sharing, writing
from fibdask.blocks.engine.journal import share_writer
from fibdask.blocks.engine.sharing import SHARES, TRIES, ordered_shares
from tests.blocks import parts
from tests.blocks.helpers import SHAPE, Ramp, SumAlongZ, Total, naive_ramp, ramp
from tests.blocks.test_journal import GRID, forget, target_in, write
from tests.holding import PATIENCE

LAST = Part(2 * SHARES, 2 * SHARES)  # share of part 2 of 2


class Impatient(Monitor):
    """Ends where others would be waited for."""

    def waiting(self, report):
        msg = f"waits for others, {report.blocks_run} made"
        raise TimeoutError(msg)


@dataclass(frozen=True)
class Fails:
    """Ramp that fails in one block a few times, of which files are left behind."""

    folder: str
    plane: int = 5
    number: int = 0
    times: int = 99

    def needs(self, region):
        return ()

    def compute(self, region):
        tries = len(list(Path(self.folder).iterdir()))
        if region[0].start <= self.plane < region[0].stop and tries < self.times:
            (Path(self.folder) / str(tries)).touch()
            raise OSError(self.number, "no such luck") if self.number else ValueError("bad plane")
        return Ramp().compute(region)

    def working_bytes(self, region):
        return 0


def failing(folder, **options):
    """Return an array of one column of blocks, of which the second fails."""
    folder.mkdir()
    shape = (SHAPE[0], 4, 4)
    return map_blocks(Fails(str(folder), **options), shape=shape, dtype=np.int64, block=(4, 4, 4))


def column(folder):
    return target_in(folder, Grid((SHAPE[0], 4, 4), (4, 4, 4)))


@pytest.mark.parametrize("of", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("count", [0, 1, 24, 1000])
def test_ordered_shares__of_any_part_cover_all_blocks_once_its_own_first(count, of):
    for part in (Part(number, of) for number in range(1, of + 1)):
        shares = [list(share.blocks(count)) for share in ordered_shares(part)]
        assert sorted(n for share in shares for n in share) == list(range(count))
        own = [n for share in shares[:SHARES] for n in share]
        assert own == list(part.blocks(count))


@pytest.mark.parametrize("of", [2, 3, 7, 40])
def test_write_array__one_part_of_any_number_makes_what_the_others_leave(tmp_path, of):
    target, one = target_in(tmp_path), target_in(tmp_path / "one")
    write(one)
    assert write(target, Part(2, of)).blocks_run == GRID.size
    report = write(target, Part(1, of))
    assert (report.blocks_run, report.blocks_skipped) == (0, GRID.size)
    assert open_stored(target.path).token == open_stored(one.path).token
    np.testing.assert_array_equal(open_stored(target.path).read(whole(SHAPE), {}), naive_ramp())


def test_write_array__parts_in_processes_at_once_make_what_one_makes(tmp_path):
    parts.make(tmp_path / "one", Part())
    running = [parts.start(tmp_path, Part(number, 3)) for number in (1, 2, 3)]
    made = [process.communicate(timeout=PATIENCE) for process in running]
    assert sum(int(out) for out, _ in made) == parts.GRID.size, made
    assert parts.shards(tmp_path) == parts.shards(tmp_path / "one")


def test_write_array__a_killed_part_is_made_up_for_by_the_others(tmp_path, hold):
    parts.make(tmp_path / "one", Part())
    held = hold("volume/c/", after=3)
    running = [parts.start(tmp_path, Part(1, 2)), parts.start(tmp_path, Part(2, 2), held)]
    os.kill(*held.wait(), signal.SIGKILL)
    for process in running:
        process.communicate(timeout=PATIENCE)
    assert [process.returncode for process in running] == [0, -signal.SIGKILL]
    assert parts.make(tmp_path, Part()).blocks_run == 0
    assert parts.shards(tmp_path) == parts.shards(tmp_path / "one")


def test_write_array__a_part_leaves_alone_what_others_are_at_and_says_that_it_waits(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sharing, "_SILENCE", 0)
    target = target_in(tmp_path)
    write(target)
    theirs = LAST.blocks(GRID.size)
    mine, other = (target.shard_file(GRID.position(number)) for number in (0, theirs[-1]))
    left = [file.with_name(f"{file.name}.0123abcd.partial") for file in (mine, other)]
    for file in (mine, *left):  # a shard that nobody recorded, and what was being written
        file.write_bytes(b"torn")
    for number in (0, theirs[-1]):
        forget(target, "1-of-1.jsonl", number)
    before = other.stat()
    with ExitStack() as stack:
        stack.enter_context(share_writer(target.path, LAST, "run"))
        with pytest.raises(TimeoutError, match="waits for others, 1 made"):
            write(target, Part(1, 2), monitor=Impatient())
    assert [file.exists() for file in left] == [False, True]
    assert other.stat() == before
    assert write(target, Part(1, 2)).blocks_run == 1
    assert not left[1].exists()
    np.testing.assert_array_equal(open_stored(target.path).read(whole(SHAPE), {}), naive_ramp())


def test_write_array__a_block_that_failed_is_tried_by_no_other_part_of_the_run(tmp_path):
    array, target = failing(tmp_path / "tries"), column(tmp_path)
    reports = [write(target, Part(number, 2), array) for number in (1, 2)]
    assert [report.blocks_run for report in reports] == [3, 0]
    for report in reports:
        assert [(f.block, f.cause) for f in report.failures] == [
            ((1, 0, 0), "ValueError: bad plane")
        ]
    assert len(list((tmp_path / "tries").iterdir())) == 1
    assert write(target, Part(1, 2), array, run="next").failures
    assert len(list((tmp_path / "tries").iterdir())) == 2


def test_write_array__a_block_whose_processes_were_killed_is_given_up_after_a_few(tmp_path):
    array, target = failing(tmp_path / "tries", times=0), column(tmp_path)
    write(target, Part(1, 2), array)
    share = next(s for s in ordered_shares(Part(1, 2)) if 1 in s.blocks(4))
    name = f"{share.number}-of-{share.of}.jsonl"
    forget(target, name, 1)
    with (target.path / "journal" / name).open("a") as file:
        file.writelines(json.dumps({"block": 1, "run": "run"}) + "\n" for _ in range(TRIES))
    report = write(target, Part(2, 2), array)
    assert (report.blocks_run, report.blocks_skipped) == (0, 3)
    assert report.failures[0].cause == f"the {TRIES} processes that made it were killed"
    assert write(target, Part(2, 2), array, run="next").blocks_run == 1


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_write_array__errors_that_pass_are_tried_again_and_no_more_than_twice(
    tmp_path, monkeypatch, number
):
    monkeypatch.setattr(writing, "_PAUSES", (0.0, 0.0))
    array = failing(tmp_path / "twice", number=number, times=2)
    assert write(column(tmp_path / "passing"), array=array).blocks_run == 4
    array = failing(tmp_path / "always", number=number)
    report = write(column(tmp_path / "lasting"), array=array)
    assert report.blocks_run == 3
    assert report.failures[0].cause.endswith("no such luck (tried 3 times)")
    assert len(list((tmp_path / "always").iterdir())) == 3


def test_write_array__a_full_disk_ends_a_part_and_is_no_verdict_on_the_block(tmp_path):
    array, target = failing(tmp_path / "tries", number=errno.ENOSPC, times=1), column(tmp_path)
    assert "no such luck" in write(target, Part(1, 2), array).failures[0].cause
    assert not write(target, Part(2, 2), array).failures


def test_write_array__parts_of_a_run_make_the_same(tmp_path):
    target = target_in(tmp_path)
    write(target, Part(1, 2))
    other = map_blocks(SumAlongZ(SHAPE[0], 1), [ramp()], shape=SHAPE, dtype=np.int64)
    with pytest.raises(StackReadError, match="another part of this run, of something else"):
        write(target, Part(2, 2), other)
    assert write(target, Part(2, 2), other, run="next").blocks_run == GRID.size


def test_write_array__parts_do_not_make_anew_what_others_have_made():
    with pytest.raises(ConventionError, match="part 1/2 cannot make everything anew"):
        Execution(resume=False, part=Part(1, 2))


def test_write_array__derived_arrays_have_no_parts(tmp_path):
    with pytest.raises(ConventionError, match=r"ramp is derived .* has no parts"):
        write(target_in(tmp_path), Part(1, 2), array=ramp() + 1)


def test_count_blocks__each_part_has_the_counts_of_all(tmp_path):
    lazy = reduce_blocks(Total(), [ramp()], grid=GRID, finish=np.ravel, shape=(2,))
    for number, ran in ((2, GRID.size), (1, 0)):
        execution = Execution(resources=own_resources(tmp_path), part=Part(number, 2))
        counts, report = count_blocks(origin(lazy), execution, name="sum", values={})
        assert report.blocks_run == ran
        assert counts[0] == naive_ramp().sum()
