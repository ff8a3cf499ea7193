"""Records of finished blocks: of several writers, of copies, of old versions."""

import fcntl
import json
import os
import shutil
import signal
import socket
import time
from contextlib import ExitStack

import numpy as np
import pytest
import zarr

from fibdask import ConventionError, FibdaskWarning, StackReadError
from fibdask.blocks import (
    Execution,
    Grid,
    Part,
    Target,
    count_blocks,
    is_complete,
    map_blocks,
    open_stored,
    origin,
    reduce_blocks,
    whole,
    write_array,
)
from fibdask.blocks.engine import journal
from fibdask.blocks.engine.journal import alone, journal_writer, read_record
from fibdask.blocks.engine.resources import own_resources
from tests.blocks import parts
from tests.blocks.helpers import SHAPE, SumAlongZ, Total, naive_ramp, ramp

GRID = Grid(SHAPE, (4, 4, 4))


def target_in(folder):
    return Target(folder / "volume", GRID, (2, 2, 2), "int64", ("z", "y", "x"), {})


def write(target, part=None, array=None, **options):
    execution = Execution(part=part or Part(), **options)
    array = ramp() if array is None else array
    return write_array(array, target, execution, name="ramp", values={})


def living(stack, target, part):
    """Enter a stack as a writer that is at work."""
    with alone(target.path):
        stack.enter_context(journal_writer(target.path, part))


def token(target):
    return open_stored(target.path).token


@pytest.mark.parametrize("of", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("count", [0, 1, 5, 7, 100])
def test_part__parts_cover_all_blocks_once(count, of):
    shares = [Part(number, of).blocks(count) for number in range(1, of + 1)]
    assert sorted(n for share in shares for n in share) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(("number", "of"), [(0, 2), (3, 2), (1, 0)])
def test_part__refuses_what_is_none(number, of):
    with pytest.raises(ConventionError, match=f"part must be .* got {number}/{of}"):
        Part(number, of)


def test_write_array__parts_one_after_the_other_make_what_one_makes(tmp_path):
    target, one = target_in(tmp_path), target_in(tmp_path / "one")
    write(one)
    for number in (3, 1, 2):
        assert not is_complete(ramp(), target)
        report = write(target, Part(number, 3))
        assert report.blocks_run == report.blocks == len(Part(number, 3).blocks(GRID.size))
    assert is_complete(ramp(), target)
    assert token(target) == token(one)
    np.testing.assert_array_equal(open_stored(target.path).read(whole(SHAPE), {}), naive_ramp())


def test_open_stored__of_which_a_part_is_missing_is_refused(tmp_path):
    target = target_in(tmp_path)
    write(target, Part(1, 2))
    with pytest.raises(StackReadError, match=f"of {GRID.size} blocks are written"):
        open_stored(target.path)


def test_write_array__parts_in_processes_at_once_make_what_one_makes(tmp_path):
    parts.make(tmp_path / "one", Part())
    running = [parts.start(tmp_path, Part(number, 2)) for number in (1, 2)]
    made = [process.communicate(timeout=120) for process in running]
    assert [out.strip() for out, _ in made] == ["90", "90"], made
    assert list(parts.shards(tmp_path)) == list(parts.shards(tmp_path / "one"))
    assert parts.shards(tmp_path) == parts.shards(tmp_path / "one")


def test_write_array__a_killed_part_is_made_up_for_by_all(tmp_path):
    parts.make(tmp_path / "one", Part())
    lines = parts.target(tmp_path).path / "journal" / "2-of-2.jsonl"
    running = [parts.start(tmp_path, Part(number, 2)) for number in (1, 2)]
    while running[1].poll() is None and not (lines.exists() and lines.stat().st_size > 999):
        time.sleep(0.01)
    os.kill(running[1].pid, signal.SIGKILL)
    for process in running:
        process.communicate(timeout=120)
    assert [process.returncode for process in running] == [0, -signal.SIGKILL]
    report = parts.make(tmp_path, Part())
    assert 0 < report.blocks_run < 90
    assert parts.shards(tmp_path) == parts.shards(tmp_path / "one")


@pytest.mark.parametrize(
    ("part", "by"),
    [(Part(1, 2), "another process;"), (Part(1, 3), "another process, as part 1/2;")],
    ids=["same part", "other shares"],
)
def test_write_array__what_is_being_written_is_refused_with_its_folder(tmp_path, part, by):
    target = target_in(tmp_path)
    with ExitStack() as stack:
        living(stack, target, Part(1, 2))
        with pytest.raises(StackReadError, match=f"{target.path} is being written by {by}"):
            write(target, part)
    assert write(target, part).blocks_run


@pytest.mark.filterwarnings("ignore:the file system of")
def test_write_array__parts_are_kept_apart_on_file_systems_without_locks(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    target = target_in(tmp_path)
    ended = {"host": socket.gethostname(), "process": 2**22 + 1, "since": time.time()}
    (target.path / "journal").mkdir(parents=True)
    for name in ("lock", "1-of-2.jsonl"):
        (target.path / "journal" / f"{name}.owner").write_text(json.dumps(ended))
    with ExitStack() as stack:
        living(stack, target, Part(1, 2))
        for part in (Part(1, 2), Part(1, 3)):
            with pytest.raises(StackReadError, match=f"{target.path} is being written by"):
                write(target, part)
    assert write(target, Part(1, 2)).blocks_run == write(target, Part(2, 2)).blocks_run
    assert not list(target.path.rglob("*.owner"))


def test_read_record__of_an_array_that_is_begun_anew_meanwhile_is_of_one_of_both(
    tmp_path, monkeypatch
):
    target = target_in(tmp_path)
    write(target)
    read = journal._lines

    def anew(path):
        monkeypatch.setattr(journal, "_lines", read)
        write(target, array=map_blocks(SumAlongZ(SHAPE[0], 1), [ramp()], shape=SHAPE, dtype=int))
        return read(path)

    before = read_record(target.path).fingerprint
    monkeypatch.setattr(journal, "_lines", anew)
    record = read_record(target.path)
    assert record.complete
    assert record.fingerprint != before


def test_write_array__nothing_else_is_made_of_an_array_that_another_part_writes(tmp_path):
    target = target_in(tmp_path)
    write(target, Part(1, 2))
    with ExitStack() as stack:
        living(stack, target, Part(1, 2))
        other = map_blocks(SumAlongZ(SHAPE[0], 1), [ramp()], shape=SHAPE, dtype=np.int64)
        with pytest.raises(StackReadError, match=f"{target.path} is being written by"):
            write(target, Part(2, 2), array=other)


def test_write_array__a_part_sweeps_its_own_blocks_only(tmp_path):
    target = target_in(tmp_path)
    write(target, Part(2, 2))
    mine, others = (target.shard_file(GRID.position(number)) for number in (0, GRID.size - 1))
    left = [file.with_name(f"{file.name}.0123abcd.partial") for file in (mine, others)]
    for file in (mine, *left):  # a shard that nobody recorded, and what was being written
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"torn")
    file = target.path / "journal" / "2-of-2.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    last = f'"block": {GRID.size - 1},'
    file.write_text("".join(line for line in lines if last not in line))
    before = others.stat()
    with ExitStack() as stack:
        living(stack, target, Part(2, 2))
        write(target, Part(1, 2))
    assert [file.exists() for file in left] == [False, True]
    assert others.stat() == before
    assert write(target).blocks_run == 1
    assert not left[1].exists()
    assert others.stat().st_mtime_ns > before.st_mtime_ns
    np.testing.assert_array_equal(open_stored(target.path).read(whole(SHAPE), {}), naive_ramp())


def test_write_array__parts_do_not_make_anew_what_others_have_made():
    with pytest.raises(ConventionError, match="part 1/2 cannot make everything anew"):
        Execution(resume=False, part=Part(1, 2))


def test_write_array__derived_arrays_have_no_parts(tmp_path):
    with pytest.raises(ConventionError, match=r"ramp is derived .* has no parts"):
        write(target_in(tmp_path), Part(1, 2), array=ramp() + 1)


def test_count_blocks__sums_when_all_parts_have_counted(tmp_path):
    lazy = reduce_blocks(Total(), [ramp()], grid=GRID, finish=np.ravel, shape=(2,))

    def count(part):
        execution = Execution(resources=own_resources(tmp_path), part=part)
        return count_blocks(origin(lazy), execution, name="sum", values={})

    with pytest.raises(
        StackReadError, match=r"incomplete: 12 of 24 blocks are .* let all parts finish"
    ):
        count(Part(1, 2))
    counts, report = count(Part(2, 2))
    assert report.blocks_run == 12
    assert counts[0] == naive_ramp().sum()


def test_read_record__ignores_torn_lines_and_takes_what_came_last(tmp_path):
    header = {"fingerprint": "f", "shape": [3, 4], "block": [1, 4], "dtype": "uint8"}
    (tmp_path / "array.json").write_text(json.dumps(header))
    (tmp_path / "journal").mkdir()
    lines = {
        "1-of-2.jsonl": '{"block": 1, "bytes": 5, "changed": 9, "seal": 3}\n{"block": 2, "by',
        "2-of-2.jsonl": '{"block": 1, "bytes": 5, "changed": 7}\n\n{"block": 0, "bytes": 4, '
        '"changed": 1}\n',
        "lock": '{"block": 2, "bytes": 5, "changed": 7}\n',
    }
    for name, text in lines.items():
        (tmp_path / "journal" / name).write_text(text)
    record = read_record(tmp_path)
    assert record.finished == {0: (4, 1, None), 1: (5, 9, 3)}
    assert (record.blocks, record.complete) == (3, False)


def test_write_array__a_file_in_place_of_the_journal_is_a_sentence(tmp_path):
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "journal").write_text("in the way")
    with pytest.raises(StackReadError, match="volume cannot be written: journal: File exists"):
        write(target_in(tmp_path))


def made_old(target):
    """Give an array the record of an earlier version."""
    header = {"fingerprint": read_record(target.path).fingerprint, "blocks": GRID.size}
    metadata = json.loads((target.path / "array.json").read_text())["metadata"]
    text = (target.path / "journal" / "1-of-1.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        del line["seal"]
    text = "\n".join(json.dumps(line) for line in [header, {"metadata": metadata}, *lines])
    (target.path / "blocks.jsonl").write_text(text + "\n")
    (target.path / "array.json").unlink()
    shutil.rmtree(target.path / "journal")
    return header["fingerprint"]


def test_open_stored__arrays_of_an_earlier_version_are_read_as_they_are(tmp_path):
    target = target_in(tmp_path)
    write(target)
    recorded = made_old(target)
    stored = open_stored(target.path)
    assert stored.token == recorded
    assert is_complete(ramp(), target)
    np.testing.assert_array_equal(stored.read(whole(SHAPE), {}), naive_ramp())
    assert [path.name for path in sorted(target.path.iterdir())] == [
        "blocks.jsonl",
        "c",
        "zarr.json",
    ]
    (target.path / "zarr.json").write_text("{}")
    with pytest.raises(StackReadError):
        open_stored(target.path)


def test_write_array__into_an_array_of_an_earlier_version_makes_all_anew_and_says_why(tmp_path):
    target = target_in(tmp_path)
    write(target)
    made_old(target)
    with pytest.warns(FibdaskWarning, match=f"{target.path} was written by an earlier version"):
        report = write(target)
    assert (report.blocks_run, report.blocks_skipped) == (GRID.size, 0)
    assert not (target.path / "blocks.jsonl").exists()
    assert write(target).blocks_run == 0


def copied(target, place):
    """Copy an array as `cp -r` does, with new times."""
    time.sleep(0.01)
    shutil.copytree(target.path, place / "volume", copy_function=shutil.copy)
    return target_in(place)


def test_open_stored__a_copy_has_the_token_of_what_it_is_a_copy_of(tmp_path):
    target = target_in(tmp_path)
    write(target)
    copy = copied(target, tmp_path / "copy")
    assert copy.shard_file((0, 0, 0)).stat().st_mtime_ns not in {
        shard.changed for shard in read_record(copy.path).finished.values()
    }
    assert token(copy) == token(target)
    assert is_complete(ramp(), copy)


def test_open_stored__a_copy_of_an_earlier_version_cannot_be_told_from_an_edited_one(tmp_path):
    target = target_in(tmp_path)
    write(target)
    recorded = made_old(target)
    assert token(copied(target, tmp_path / "copy")) != recorded


def test_open_stored__edited_voxels_have_another_token_also_where_no_length_changes(tmp_path):
    grid, noise = Grid((8, 8, 8), (8, 8, 8)), np.random.default_rng(1).integers(0, 256, (8, 8, 8))
    target = Target(tmp_path / "a", grid, (4, 4, 4), "uint8", ("z", "y", "x"), {})
    write(target, array=noise.astype(np.uint8))
    before, size = token(target), target.shard_file((0, 0, 0)).stat().st_size
    array = zarr.open_array(target.path, mode="r+")
    array[3, 3, 3] ^= 1
    assert target.shard_file((0, 0, 0)).stat().st_size == size
    edited = token(target)
    assert edited != before
    array[3, 3, 3] ^= 1
    assert token(target) == before


def test_open_stored__a_copy_of_edited_voxels_has_their_token(tmp_path):
    target = target_in(tmp_path)
    write(target)
    zarr.open_array(target.path, mode="r+")[0, 0, 0] = 7
    edited = token(target)
    assert edited != read_record(target.path).fingerprint
    assert token(copied(target, tmp_path / "copy")) == edited
