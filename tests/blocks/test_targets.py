from dataclasses import replace

import numpy as np
import pytest
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from fibdask import StackReadError
from fibdask.blocks import Execution, Grid, Target, array_token, open_stored, rename, write_array
from fibdask.blocks.engine.shards import encoded_shard
from tests.blocks.helpers import SHAPE, naive_ramp, ramp


def target(tmp_path):
    grid = Grid(SHAPE, (4, 4, 4))
    return Target(tmp_path / "a", grid, (4, 4, 4), "int64", ("z", "y", "x"), {})


def written(tmp_path):
    array, place = ramp(), target(tmp_path)
    write_array(array, place, Execution(), name="ramp", values={})
    return array, place


def block(place, position):
    return naive_ramp()[place.grid.region(position)]


def written_by_zarr(place, region, data):
    """Return the shard that Zarr writes of a block; nothing if it leaves it out."""
    files = {"zarr.json": default_buffer_prototype().buffer.from_bytes(place.metadata())}
    config = {"write_empty_chunks": True}
    zarr.open_array(store=MemoryStore(files), mode="r+", config=config)[region] = data
    shards = [files[name].to_bytes() for name in files if name != "zarr.json"]
    return shards[0] if shards else None


@pytest.mark.parametrize(
    ("shape", "side", "inner", "dtype"),
    [
        ((10, 9, 7), (4, 4, 4), (2, 2, 2), "uint8"),
        ((10, 9, 7), (8, 8, 7), (4, 2, 7), "float32"),
        ((2, 10, 9, 7), (1, 8, 8, 7), (1, 4, 2, 7), "uint16"),
        ((7, 20), (3, 20), (3, 20), "int64"),
        ((5, 6, 7), (5, 6, 7), (3, 4, 4), "float64"),
    ],
)
def test_encoded_shard__has_the_bytes_that_zarr_writes(tmp_path, shape, side, inner, dtype):
    place = Target(tmp_path, Grid(shape, side), inner, dtype, tuple("czyx"[-len(shape) :]), {})
    data = (200 * np.random.default_rng(0).random(shape)).astype(dtype)
    data[: len(data) // 2 + 1] = 0
    data.flat[-1] = -0.0
    for number in range(place.grid.size):
        region = place.grid.numbered(number)
        found = encoded_shard(data[region], place.shard, inner, dtype)
        expected = written_by_zarr(place, region, data[region])
        assert found == expected or expected is None
        assert (expected is None) == (len(found) == 16 * place.chunks + 4)


def test_write__a_late_writer_does_not_touch_a_shard_that_is_there(tmp_path):
    array, place = written(tmp_path)
    file = place.shard_file((1, 0, 0))
    before = file.stat()
    found = place.write((1, 0, 0), block(place, (1, 0, 0)), array_token(array))
    assert found[:2] == (before.st_size, before.st_mtime_ns)
    assert file.stat().st_ino == before.st_ino
    assert not list(place.path.rglob("*.partial"))


def test_write__appears_whole_on_file_systems_without_links(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError

    monkeypatch.setattr("os.link", refuse)
    _, place = written(tmp_path)
    np.testing.assert_array_equal(open_stored(place.path).read(place_whole(), {}), naive_ramp())
    assert not list(place.path.rglob("*.partial"))


def place_whole():
    return tuple(slice(0, n) for n in SHAPE)


def test_write_array__makes_anew_what_lies_there_unrecorded(tmp_path):
    array, place = written(tmp_path)
    journal = place.path / "journal" / "1-of-1.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join(lines[:-1]) + "\n")
    number = int(lines[-1].split(":")[1].split(",")[0])
    file = place.shard_file(place.grid.position(number))
    file.write_bytes(b"torn")
    report = write_array(array, place, Execution(), name="ramp", values={})
    assert report.blocks_run == 1
    np.testing.assert_array_equal(open_stored(place.path).read(place_whole(), {}), naive_ramp())


def test_target__every_inner_chunk_has_a_checksum(tmp_path):
    _, place = written(tmp_path)
    (sharding,) = place.open().metadata.codecs
    assert [type(codec).__name__ for codec in sharding.codecs][-1] == "Crc32cCodec"


def test_check_there__names_a_shard_that_was_lost(tmp_path):
    _, place = written(tmp_path)
    place.check_there()
    place.shard_file((0, 1, 0)).unlink()
    with pytest.raises(StackReadError, match="c/0/1/0 was written and is gone"):
        place.check_there()


def test_rename__goes_on_where_it_was_interrupted_and_leaves_what_is_damaged(tmp_path):
    array, place = written(tmp_path)
    assert place.renamed() is None
    named = replace(place, attrs={"names": "pore solid"})
    (place.path / "zarr.json").write_bytes(named.metadata())  # and its checksum is the former one
    rename(named)
    assert named.finished(array_token(array)) is not None
    assert named.renamed() is None
    damaged = named.metadata().replace(b'"shape"', b'"shapes"', 1)
    (place.path / "zarr.json").write_bytes(damaged)
    assert named.renamed() is None


def test_read__refuses_an_array_that_was_written_anew_since_it_was_opened(tmp_path):
    _, place = written(tmp_path)
    stored = open_stored(place.path)
    write_array(naive_ramp() + 1, place, Execution(), name="other", values={})
    with pytest.raises(StackReadError, match="written anew since it was opened: open it again"):
        stored.read(place_whole(), {})
    np.testing.assert_array_equal(open_stored(place.path).read(place_whole(), {}), naive_ramp() + 1)
