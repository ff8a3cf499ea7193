"""N5 that tensorstore has written: values, datasets, lengths, and blocks that lie."""

import contextlib
import gzip
import json
import struct
import tracemalloc

import numpy as np
import pytest
import tensorstore

from fibdask.conventions import ConventionError, FibdaskWarning, StackReadError
from fibdask.io.images.n5 import N5
from fibdask.io.images.read import read_images
from tests.io.naive import grey_volume

VOLUME = grey_volume((4, 5, 6))
NANOMETRES = {"resolution": [4, 5, 10], "units": ["nm", "nm", "nm"]}
OPTIONS = {"blosc": {"cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}}
GIVEN = {"voltage": 2.0, "pixel_size": 4.0, "slice_thickness": 10.0}


def write(path, volume=VOLUME, *, block=(3, 2, 2), compression="gzip", **attributes):
    """Write a volume (z, y, x), in blocks (x, y, z)."""
    spec = {
        "driver": "n5",
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "metadata": {
            "dimensions": volume.shape[::-1],
            "blockSize": block,
            "dataType": volume.dtype.name,
            "compression": {"type": compression} | OPTIONS.get(compression, {}),
        },
    }
    tensorstore.open(spec, create=True).result().write(volume.transpose()).result()
    return tell(path, **attributes)


def tell(path, **attributes):
    """Add attributes to a folder."""
    path.mkdir(exist_ok=True, parents=True)
    file = path / "attributes.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(known | attributes))
    return path


@pytest.mark.parametrize("compression", ["raw", "gzip", "bzip2", "xz", "blosc", "zstd"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_n5__values_and_lengths_are_those_that_tensorstore_wrote(tmp_path, compression, dtype):
    path = write(tmp_path / "a.n5", VOLUME.astype(dtype), compression=compression, **NANOMETRES)
    stack = read_images(path, voltage=1.0)
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME)
    np.testing.assert_array_equal(stack["intensity"][0, 1:3, 2:4, 3:], VOLUME[1:3, 2:4, 3:])
    for axis, spacing in {"z": 10, "y": 5, "x": 4}.items():
        assert float(stack[axis][1]) == pytest.approx(spacing)


@pytest.mark.parametrize(
    "told",
    [
        {"pixelResolution": {"dimensions": [0.004, 0.005, 0.010], "unit": "um"}},
        {"transform": {"axes": ["z", "y", "x"], "scale": [10, 5, 4], "units": ["nm"] * 3}},
        {"resolution": [4, 5, 10], "units": "nm"},
    ],
)
@pytest.mark.parametrize("level", [".", "s0"])
def test_n5__lengths_of_a_level_or_of_its_group_are_taken(tmp_path, told, level):
    write(tmp_path / "a.n5" / level)
    stack = read_images(tell(tmp_path / "a.n5", **told), voltage=1.0)
    assert [float(stack[axis][1]) for axis in "zyx"] == pytest.approx([10, 5, 4])


def test_n5__lengths_without_a_unit_are_asked_for(tmp_path):
    path = write(tmp_path / "a.n5", resolution=[4, 5, 10])
    with pytest.raises(ConventionError, match="resolution is not taken: no unit is told"):
        read_images(path, voltage=1.0)


def test_n5__a_dataset_is_chosen_where_there_are_several(tmp_path):
    root = tell(tmp_path / "a.n5", n5="2.0.0")
    write(root / "setup0" / "s0")
    write(root / "setup1" / "s0", VOLUME + 1)
    text = "choose one with dataset: setup0/s0, setup1/s0"
    with pytest.raises(StackReadError, match=text):
        read_images(root, **GIVEN)
    stack = read_images(root, dataset="setup1/s0", **GIVEN)
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME + 1)
    for elsewhere in ("other", "../a.n5/setup0/s0/../../../b"):
        with pytest.raises(StackReadError, match="it has no dataset"):
            read_images(root, dataset=elsewhere, **GIVEN)


def test_n5__the_finest_level_of_the_only_image_is_read(tmp_path):
    root = tell(tmp_path / "a.n5", n5="2.0.0")
    write(root / "em" / "s0")
    write(root / "em" / "s1", VOLUME[::2, ::2, ::2])
    np.testing.assert_array_equal(read_images(root, **GIVEN)["intensity"][0], VOLUME)


def test_n5__blocks_that_were_not_written_are_told(tmp_path):
    path = write(tmp_path / "a.n5")
    (path / "0" / "1" / "0").unlink()
    with pytest.warns(FibdaskWarning, match="read as 0: 11 of 12 blocks were written"):
        stack = read_images(path, **GIVEN)
    expected = VOLUME.copy()
    expected[:2, 2:4, :3] = 0
    np.testing.assert_array_equal(stack["intensity"][0], expected)


@pytest.mark.parametrize(
    ("head", "content", "message"),
    [
        ((1, 3, 3, 2, 2), bytes(12), "of mode 1"),
        ((0, 3, 3, 2, 10**6), bytes(12), r"tells the lengths \(3, 2, 1000000\)"),
        ((0, 3, 3, 2, 2), bytes(3), "cut off: 12 bytes are expected, 3 are there"),
    ],
)
def test_n5__blocks_that_are_not_what_the_attributes_tell_are_refused(
    tmp_path, head, content, message
):
    path = write(tmp_path / "a.n5")
    (path / "0" / "0" / "0").write_bytes(struct.pack(">2H3I", *head) + gzip.compress(content))
    with pytest.raises(StackReadError, match=message):
        read_images(path, **GIVEN).compute()


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "blosc", "zstd"])
def test_n5__what_a_block_grows_to_is_bounded(tmp_path, compression):
    path = write(tmp_path / "a.n5", compression=compression)
    other = np.ones((2**8, 2**8, 2**7), np.uint8)
    grown = write(tmp_path / "b.n5", other, block=other.shape[::-1], compression=compression)
    raw = (grown / "0" / "0" / "0").read_bytes()[16:]
    (path / "0" / "0" / "0").write_bytes(struct.pack(">2H3I", 0, 3, 3, 2, 2) + raw)
    tracemalloc.start()
    with contextlib.suppress(ValueError, RuntimeError):  # some leave the rest, some refuse it
        next(N5().frames(path / "attributes.json", range(1), slice(0, 2), slice(0, 3)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < other.nbytes / 2


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"dimensions": [6, 5, 4, 2], "blockSize": [3, 2, 2, 1]}, "its axes have the lengths"),
        ({"dimensions": [6, 5, -4]}, "dimensions is"),
        ({"dimensions": [2**40, 5, 4]}, "its header is damaged"),
        ({"dataType": "uint64"}, "of the type uint64"),
        ({"compression": {"type": "lz4"}}, "its compression is lz4"),
    ],
)
def test_n5__what_would_be_misread_is_refused(tmp_path, told, message):
    path = tell(write(tmp_path / "a.n5"), **told)
    with pytest.raises(StackReadError, match=message):
        read_images(path, **GIVEN)
