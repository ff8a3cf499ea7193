"""Imaris files, written by h5py as their layout is published: padded chunks, texts by letters."""

import h5py
import numpy as np
import pytest

from fibdask.conventions import ConventionError, FibdaskWarning, StackReadError
from fibdask.io.images.read import read_images
from tests.io.naive import grey_volume, taken

VOLUME = grey_volume((4, 5, 6))
FINEST = "DataSet/ResolutionLevel 0/TimePoint 0"
GIVEN = {"voltage": 2.0, "pixel_size": 4.0, "slice_thickness": 10.0}
SIZES = {"X": 6, "Y": 5, "Z": 4}
EXTENT = {"ExtMin0": 1.0, "ExtMax0": 1.024, "ExtMin1": 0.0, "ExtMax1": 0.025}
EXTENT |= {"ExtMin2": -0.02, "ExtMax2": 0.02}  # steps of 4, 5 and 10 nm


def letters(text):
    return np.array([letter.encode() for letter in str(text)], "S1")


def write(path, channels=VOLUME[np.newaxis], names=("",), *, chunks=(3, 4, 4), **told):
    """Write channels (c, z, y, x), padded to whole chunks; attributes of the image may be told."""
    _, *shape = np.shape(channels)
    padding = [(0, -n % chunk) for n, chunk in zip(shape, chunks or shape, strict=True)]
    with h5py.File(path, "w") as file:
        for k, volume in enumerate(channels):
            group = file.create_group(f"{FINEST}/Channel {k}")
            for axis, n in zip("ZYX", shape, strict=True):
                group.attrs[f"ImageSize{axis}"] = letters(n)
            padded = np.pad(volume, padding, constant_values=255)
            filters = {"chunks": chunks, "compression": "gzip"} if chunks else {}
            group.create_dataset("Data", data=padded, **filters)
        coarse = file.create_group("DataSet/ResolutionLevel 1/TimePoint 0/Channel 0")
        coarse.create_dataset("Data", data=channels[0][::2, ::2, ::2])
        image = file.create_group("DataSetInfo/Image")
        for name, value in (SIZES | EXTENT | {"Unit": "um"} | told).items():
            image.attrs[name] = letters(value)
        for k, name in enumerate(names):
            group = file.create_group(f"DataSetInfo/Channel {k}")
            if name:
                group.attrs["Name"] = letters(name)
    return path


@pytest.mark.parametrize("chunks", [None, (3, 4, 4), (4, 5, 6), (16, 8, 8)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_imaris__values_and_lengths_are_those_of_the_image_without_its_padding(
    tmp_path, dtype, chunks
):
    stack = read_images(
        write(tmp_path / "a.ims", VOLUME[np.newaxis].astype(dtype), chunks=chunks), voltage=1.0
    )
    assert stack["intensity"].dtype == dtype
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME)
    np.testing.assert_array_equal(stack["intensity"][0, 1:, 2:4, 3:], VOLUME[1:, 2:4, 3:])
    for axis, spacing in {"z": 10, "y": 5, "x": 4}.items():
        assert np.diff(stack[axis]) == pytest.approx(spacing)
    assert taken(stack)["pixel_size"]["from"] == "Imaris ExtMin, ExtMax in um"


def test_imaris__channels_that_are_named_after_voltages_are_all_read(tmp_path):
    channels = grey_volume((2, 4, 5, 6))
    path = write(tmp_path / "a.ims", channels, ["1.5 kV", "800V"])
    stack = read_images(path)
    assert stack["voltage"].values.tolist() == [0.8, 1.5]
    np.testing.assert_array_equal(stack["intensity"], channels[::-1])


@pytest.mark.parametrize("unit", ["", "pixels"])
def test_imaris__lengths_without_a_known_unit_are_not_taken(tmp_path, unit):
    path = write(tmp_path / "a.ims", Unit=unit)
    with pytest.raises(ConventionError, match=r"for their unit '.*' is no known"):
        read_images(path, voltage=1.0)


@pytest.mark.parametrize("axis", ["X", "Z"])
def test_imaris__more_pixels_than_there_are_are_refused(tmp_path, axis):
    path = write(tmp_path / "a.ims")
    with h5py.File(path, "a") as file:
        file[f"{FINEST}/Channel 0"].attrs[f"ImageSize{axis}"] = letters(10**12)
    with pytest.raises(StackReadError, match=r"damaged: it tells .* and holds \(6, 8, 8\)"):
        read_images(path, **GIVEN)


def test_imaris__sizes_that_are_absent_contradict_or_are_none_are_refused(tmp_path):
    path = write(tmp_path / "a.ims", Y=4)
    with pytest.raises(StackReadError, match=r"two sizes .*: \[4, 5, 6\] of its .*, \[4, 4, 6\]"):
        read_images(path, **GIVEN)
    with h5py.File(path, "a") as file:
        del file[f"{FINEST}/Channel 0"].attrs["ImageSizeX"], file["DataSetInfo"]
    with pytest.raises(StackReadError, match="so that its padding is not known"):
        read_images(path, **GIVEN)
    with h5py.File(path, "a") as file:
        file[f"{FINEST}/Channel 0"].attrs["ImageSizeX"] = letters("-6")
    with pytest.raises(StackReadError, match="damaged: ImageSizeX is '-6'"):
        read_images(path, **GIVEN)


def test_imaris__times_and_other_layouts_are_refused(tmp_path):
    path = write(tmp_path / "a.ims")
    with h5py.File(path, "a") as file:
        file.create_group("DataSet/ResolutionLevel 0/TimePoint 1")
    with pytest.raises(StackReadError, match="it holds 2 times; a stack has one"):
        read_images(path, **GIVEN)
    with h5py.File(path, "w") as file:
        file["volume"] = VOLUME
    with pytest.raises(StackReadError, match="it holds no DataSet/ResolutionLevel 0"):
        read_images(path, **GIVEN)


def test_imaris__a_link_to_another_file_is_not_followed(tmp_path):
    write(tmp_path / "other.ims")
    path = write(tmp_path / "a.ims")
    with h5py.File(path, "a") as file:
        del file[f"{FINEST}/Channel 0/Data"]
        link = h5py.ExternalLink("other.ims", f"{FINEST}/Channel 0/Data")
        file[f"{FINEST}/Channel 0/Data"] = link
    with pytest.raises(StackReadError, match="has no Data of its own"):
        read_images(path, **GIVEN)


def test_imaris__parts_that_were_never_written_are_told_but_those_of_the_padding(tmp_path):
    path = write(tmp_path / "a.ims")
    with h5py.File(path, "a") as file:
        group = file[f"{FINEST}/Channel 0"]
        del group["Data"]
        group.create_dataset("Data", (9, 5, 6), "u1", chunks=(3, 5, 6))[:3] = VOLUME[:3]
    with pytest.warns(FibdaskWarning, match="1 of 2 chunks were written"):
        read_images(path, voltage=1.0)
    with h5py.File(path, "a") as file:
        file[f"{FINEST}/Channel 0/Data"][3] = VOLUME[3]
    np.testing.assert_array_equal(read_images(path, voltage=1.0)["intensity"][0], VOLUME)
