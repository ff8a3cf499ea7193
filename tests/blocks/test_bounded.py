"""Chunks are decoded into the room that they claim, and hold the same values as ever."""

import gzip
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

from fibdask import StackReadError
from fibdask.blocks import open_stored, whole
from fibdask.blocks.engine.bounded import bounded

SHAPE = (9, 20, 24)
GROWN = 2**26
CODECS = {
    "zstd": (ZstdCodec(level=1), Crc32cCodec()),
    "gzip": (GzipCodec(level=1),),
    "blosc": (BloscCodec(),),
    "two": (BloscCodec(), ZstdCodec()),
    "none": None,
}


def stored(path, codecs, **options):
    values = np.random.default_rng(1).integers(0, 40, SHAPE, np.uint16)
    given = {"chunks": (4, 10, 12), "compressors": codecs} | options
    array = zarr.create_array(store=path, shape=SHAPE, dtype="u2", **given)
    array[:] = values
    return values


@pytest.mark.parametrize("shards", [None, (8, 20, 24)])
@pytest.mark.parametrize("codecs", CODECS.values(), ids=CODECS)
def test_bounded__values_are_the_same(tmp_path, codecs, shards):
    values = stored(tmp_path / "a", codecs, shards=shards)
    array = bounded(zarr.open_array(store=tmp_path / "a", mode="r"))
    assert (array[:] == values).all()
    assert (array[1:7, 3:19, 11:13] == values[1:7, 3:19, 11:13]).all()


def test_bounded__values_of_the_old_format_are_the_same(tmp_path):
    values = stored(tmp_path / "a", "auto", zarr_format=2)
    assert (bounded(zarr.open_array(store=tmp_path / "a", mode="r"))[:] == values).all()


@pytest.mark.parametrize("kind", ["zstd", "gzip"])
def test_read__a_chunk_that_grows_is_refused_before_memory_is_taken(tmp_path, kind):
    stored(tmp_path / "a", (ZstdCodec() if kind == "zstd" else GzipCodec(),))
    encode = {"zstd": imagecodecs.zstd_encode, "gzip": gzip.compress}[kind]
    (tmp_path / "a" / "c" / "0" / "0" / "0").write_bytes(encode(bytes(GROWN)))
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    with pytest.raises(StackReadError, match="cannot be read at"):
        open_stored(tmp_path / "a").read(whole(SHAPE), {})
    assert memory("VmHWM") - before < GROWN // 4


def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
