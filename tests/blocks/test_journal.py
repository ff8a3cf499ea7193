"""Records of finished blocks: of several writers, of copies, of old versions."""

import fcntl
import json
import os
import shutil
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
    is_complete,
    map_blocks,
    open_stored,
    whole,
    write_array,
)
from fibdask.blocks.engine import journal
from fibdask.blocks.engine.journal import alone, journal_writer, read_record
from tests.blocks.helpers import SHAPE, SumAlongZ, naive_ramp, ramp

GRID = Grid(SHAPE, (4, 4, 4))


def target_in(folder, grid=GRID):
    return Target(folder / "volume", grid, (2, 2, 2), "int64", ("z", "y", "x"), {})


def write(target, part=None, array=None, **options):
    execution = Execution(part=part or Part(), **options)
    array = ramp() if array is None else array
    return write_array(array, target, execution, name="ramp", values={})


def living(stack, target, part):
    """Enter a stack as a writer that is at work."""
    with alone(target.path):
        stack.enter_context(journal_writer(target.path, part))


def forget(target, journal, block):
    """Take a block out of a journal."""
    file = target.path / "journal" / journal
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if f'"block": {block},' not in line))


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


def test_open_stored__of_which_blocks_are_missing_is_refused(tmp_path):
    target = target_in(tmp_path)
    write(target)
    forget(target, "1-of-1.jsonl", 3)
    with pytest.raises(StackReadError, match=f"of {GRID.size} blocks are written"):
        open_stored(target.path)


@pytest.mark.parametrize(
    ("part", "by"),
    [(Part(), "another process;"), (Part(1, 3), "another process, as part 1/3;")],
    ids=["all of it", "a share"],
)
def test_write_array__what_is_being_written_is_refused_with_its_folder(tmp_path, part, by):
    target = target_in(tmp_path)
    with ExitStack() as stack:
        living(stack, target, part)
        with pytest.raises(StackReadError, match=f"{target.path} is being written by {by}"):
            write(target)
    assert write(target).blocks_run == GRID.size


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
        with pytest.raises(StackReadError, match=f"{target.path} is being written by"):
            write(target)
    assert write(target, Part(1, 2)).blocks_run == GRID.size
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
    write(target)
    with ExitStack() as stack:
        living(stack, target, Part(1, 8))
        other = map_blocks(SumAlongZ(SHAPE[0], 1), [ramp()], shape=SHAPE, dtype=np.int64)
        with pytest.raises(StackReadError, match=f"{target.path} is being written by"):
            write(target, Part(2, 2), array=other)


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
    shutil.copytree(target.path, place / "volume", copy_function=shutil.copy)
    for file in (place / "volume").rglob("*"):
        os.utime(file, (1.5e9, 1.5e9))
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
