"""Blocks of image files: they follow what a file stores together, in bounded memory."""

import os
from math import prod

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from fibdask.blocks import Execution, Grid, inner_chunks, origin, storage_grid
from fibdask.conventions import FibdaskWarning, StackReadError
from fibdask.io import open_stack
from fibdask.io.images.read import read_images
from fibdask.io.images.source import chunk_block, slice_block
from fibdask.io.store import write_stack
from tests.io.naive import grey_volume

GIVEN = {"voltage": 2.0, "pixel_size": 4.0, "slice_thickness": 10.0}
MIB = 2**20


def write(folder, volume, layout):
    """Write a volume as HDF5 in chunks, or contiguous, or as .npy in the order of Fortran."""
    if layout == "fortran":
        np.save(folder / "a.npy", np.asfortranarray(volume))
        return folder / "a.npy"
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("vol", data=volume, chunks=layout, compression=layout and "gzip")
    return folder / "a.h5"


def touches(block, chunk, shape):
    """Count how often chunks are decoded when blocks are read, by the number of chunks."""
    times = 1.0
    for b, c, n in zip(block, chunk, shape, strict=True):
        starts = range(0, n, b)
        touched = sum((min(start + b, n) - 1) // c - start // c + 1 for start in starts)
        times *= touched / -(-n // c)
    return times


@pytest.mark.parametrize(
    ("chunk", "shape", "itemsize", "most", "times"),
    [
        ((3000, 32, 32), (3000, 4096, 4096), 1, 16, 1.0),
        ((3000, 32, 32), (3000, 4096, 4096), 1, 64, 1.0),
        ((3000, 4096, 1), (3000, 4096, 4096), 1, 64, 1.0),
        ((32, 256, 256), (3000, 4096, 4096), 2, 64, 1.0),
        ((1, 256, 256), (3000, 4096, 4096), 1, 64, 1.0),
        ((64, 64, 64), (1000, 2048, 2048), 4, 64, 1.0),
        ((94, 128, 128), (3000, 4096, 4096), 1, 64, 1.0),  # as h5py chooses them
        ((10, 300, 400), (500, 1200, 1600), 1, 64, 1.1),
        ((3000, 512, 512), (3000, 4096, 4096), 1, 64, 16.0),  # larger than a block
    ],
)
def test_chunk_block__chunks_are_decoded_as_few_times_as_can_be(
    chunk, shape, itemsize, most, times
):
    block = chunk_block((1, *shape), itemsize, chunk, most * MIB)
    stored = storage_grid((1, *shape), block).block
    assert prod(stored) * itemsize <= most * MIB
    assert touches(stored[1:], chunk, shape) <= times


@given(
    shape=st.tuples(st.just(2), *[st.integers(1, 5000)] * 3),
    chunk=st.tuples(*[st.integers(1, 5000)] * 3),
    itemsize=st.sampled_from([1, 2, 4]),
    most=st.sampled_from([1, 16, 64]),
)
def test_chunk_block__fits_and_is_stored_in_even_chunks(shape, chunk, itemsize, most):
    block = chunk_block(shape, itemsize, chunk, most * MIB)
    assert prod(block) * itemsize <= most * MIB
    assert all(1 <= b <= n for b, n in zip(block, shape, strict=True))
    stored = storage_grid(shape, block).block
    shards = [-(-b // i) * i for b, i in zip(stored, inner_chunks(stored, flat=True), strict=True)]
    assert Grid(shape, tuple(shards)).counts == Grid(shape, stored).counts


@given(
    shape=st.tuples(st.just(2), *[st.integers(1, 5000)] * 3), itemsize=st.sampled_from([1, 2, 4])
)
def test_slice_block__is_whole_slices_within_64_mib(shape, itemsize):
    one, depth, *plane = slice_block(shape, itemsize)
    assert (one, plane) == (1, list(shape[2:]))
    assert depth == 1 or depth * plane[0] * plane[1] * itemsize <= 2**26
    assert depth <= 16 or depth % 16 == 0 or depth == shape[1]


LAYOUTS = [None, (12, 2, 3), (5, 4, 20), (12, 20, 1), (1, 7, 5), "fortran"]


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_read_images__any_region_of_any_layout_is_that_of_the_volume(
    tmp_path_factory, layout, data
):
    volume = grey_volume((12, 20, 22), np.uint16)
    stack = read_images(write(tmp_path_factory.mktemp("a"), volume, layout), **GIVEN)
    starts = [data.draw(st.integers(0, n - 1)) for n in volume.shape]
    bounds = zip(starts, volume.shape, strict=True)
    region = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in bounds)
    np.testing.assert_array_equal(stack["intensity"][0][region], volume[region])


@pytest.mark.parametrize("layout", [(120, 32, 32), (16, 64, 64), (120, 130, 1), None, "fortran"])
def test_write_stack__blocks_of_any_layout_hold_the_same_values(tmp_path, layout):
    volume = grey_volume((120, 130, 140))
    stack = read_images(
        write(tmp_path, volume, layout), **GIVEN, crop={"y": (1, 130), "x": (3, 140)}
    )
    (report, *_) = write_stack(
        stack, tmp_path / "o.zarr", Execution(block_bytes=2**18), pyramid=False
    )
    assert report.blocks_run > 4
    np.testing.assert_array_equal(
        open_stack(tmp_path / "o.zarr")["intensity"][0], volume[:, 1:, 3:]
    )


@pytest.mark.filterwarnings("ignore:.*has parts without data")
@pytest.mark.parametrize(("layout", "most"), [((3000, 32, 32), 160), ((3000, 4096, 1), 200)])
def test_task_bytes__columns_need_little_more_than_a_block(tmp_path, layout, most):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("vol", (3000, 4096, 4096), "u1", chunks=layout, compression="gzip")
    os.truncate(tmp_path / "a.h5", 2**36)  # as if it held what it tells
    source = origin(read_images(tmp_path / "a.h5", **GIVEN)["intensity"].data)
    assert source.task_bytes(source.grid.numbered(0)) <= most * MIB


@pytest.mark.filterwarnings("ignore:.*has parts without data")
def test_read_images__chunks_larger_than_a_block_are_told_with_what_helps(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("big", (3000, 512, 512), "u1", chunks=(3000, 256, 256))
    os.truncate(tmp_path / "a.h5", 2**36)  # as if it held what it tells
    with pytest.warns(FibdaskWarning, match=r"chunks of 3000 x 256 x 256 .* 375.0 MiB .* h5repack"):
        read_images(tmp_path / "a.h5", **GIVEN)


@pytest.mark.parametrize(
    "later", [np.full((6, 7), 300, "u2"), np.zeros((1, 7), "u1"), np.zeros((6, 1), "i1")]
)
def test_read__slices_that_were_replaced_are_not_cast_or_repeated(tmp_path, later):
    volume = grey_volume((3, 6, 7))
    for k, image in enumerate(volume):
        tifffile.imwrite(tmp_path / f"a{k}.tif", image)
    stack = read_images(tmp_path, **GIVEN)
    tifffile.imwrite(tmp_path / "a1.tif", later)
    with pytest.raises(StackReadError, match=r"slice 1 .*a1\.tif.* was replaced since"):
        stack["intensity"].compute()
