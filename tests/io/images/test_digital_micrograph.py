"""Digital Micrograph files, written as their format is published."""

import struct
from contextlib import suppress

import numpy as np
import pytest

from fibdask.conventions import ConventionError, StackReadError
from fibdask.io.images.digital_micrograph import DigitalMicrograph
from fibdask.io.images.read import read_images
from tests.io.naive import grey_volume

VOLUME = grey_volume((4, 5, 6))
CODES = {"uint8": 6, "int16": 1, "uint16": 10, "float32": 2, "float64": 12}
ELEMENTS = {"uint8": 10, "int16": 2, "uint16": 4, "float32": 6, "float64": 7}


class Writer:
    """Writes a tree of tags: groups are dictionaries, or lists, whose tags have no name."""

    def __init__(self, version, order):
        self.long, self.order = {3: ">I", 4: ">Q"}[version], order

    def file(self, tree):
        version, body = {">I": 3, ">Q": 4}[self.long], self.group(tree)
        little = int(self.order == "<")
        head = struct.pack(">I", version) + struct.pack(self.long, len(body))
        return head + struct.pack(">I", little) + body + bytes(8)

    def group(self, tree):
        pairs = tree.items() if isinstance(tree, dict) else [("", value) for value in tree]
        tags = [self.tag(name, value) for name, value in pairs]
        return b"\0\0" + struct.pack(self.long, len(tags)) + b"".join(tags)

    def tag(self, name, value):
        inner = isinstance(value, dict | list)
        content = self.group(value) if inner else self.data(value)
        head = struct.pack(">BH", 20 if inner else 21, len(name)) + name.encode()
        return head + (struct.pack(">Q", len(content)) if self.long == ">Q" else b"") + content

    def data(self, value):
        if isinstance(value, tuple):  # a structure of two numbers
            told, content = [15, 0, 2, 0, 6, 0, 6], struct.pack(f"{self.order}2f", *value)
        elif isinstance(value, str):
            told = [20, 4, len(value)]
            content = np.array([ord(letter) for letter in value], f"{self.order}u2").tobytes()
        elif isinstance(value, np.ndarray):
            told = [20, ELEMENTS[value.dtype.name], value.size]
            content = value.astype(value.dtype.newbyteorder(self.order)).tobytes()
        else:
            form, code = ("f", 6) if isinstance(value, float) else ("I", 5)
            told, content = [code], struct.pack(self.order + form, value)
        numbers = struct.pack(f">{len(told)}{self.long[1]}", *told)
        return b"%%%%" + struct.pack(self.long, len(told)) + numbers + content


def image(volume, *, units=("nm", "nm", "nm"), dimensions=None, code=None):
    """Return the tags of an image with steps of 10, 5 and 4 nm at 2 kV."""
    calibrations = [
        {"Origin": 0.0, "Scale": scale, "Units": unit}
        for scale, unit in zip((4.0, 5.0, 10.0), units, strict=True)
    ]
    return {
        "ImageData": {
            "Calibrations": {"Dimension": calibrations[: volume.ndim]},
            "Data": volume.ravel(),
            "DataType": code or CODES[volume.dtype.name],
            "Dimensions": dimensions or list(volume.shape[::-1]),
        },
        "ImageTags": {"Microscope Info": {"Voltage": 2000.0, "Name": "Gemini"}},
    }


def write(path, *images, version=3, order="<"):
    thumbnail = {"ImageData": {"Data": np.zeros(6, np.uint8), "DataType": 23, "Dimensions": [2, 3]}}
    tree = {"Image Behavior": {"Shift": (1.0, 2.0)}, "ImageList": [thumbnail, *images]}
    path.write_bytes(Writer(version, order).file(tree))
    return path


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_digital_micrograph__values_lengths_and_voltage_are_read(tmp_path, version, order, dtype):
    path = tmp_path / f"a.dm{version}"
    stack = read_images(write(path, image(VOLUME.astype(dtype)), version=version, order=order))
    assert stack["voltage"].values.tolist() == [2]
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME)
    np.testing.assert_array_equal(stack["intensity"][0, 1:3, 2:4, 3:], VOLUME[1:3, 2:4, 3:])
    for axis, spacing in {"z": 10, "y": 5, "x": 4}.items():
        assert float(stack[axis][1]) == pytest.approx(spacing)


def test_digital_micrograph__a_folder_of_slices_is_a_stack(tmp_path):
    for k, plane in enumerate(VOLUME):
        write(tmp_path / f"slice_{k:03}.dm3", image(plane))
    stack = read_images(tmp_path, slice_thickness=10)
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME)


def test_digital_micrograph__lengths_without_a_unit_are_asked_for(tmp_path):
    path = write(tmp_path / "a.dm3", image(VOLUME, units=("nm", "nm", "")))
    with pytest.raises(ConventionError, match="slice_thickness is needed"):
        read_images(path)
    path = write(tmp_path / "b.dm3", image(VOLUME, units=("1/nm", "1/nm", "nm")))
    with pytest.raises(ConventionError, match="scale of x is not taken, for its unit '1/nm'"):
        read_images(path)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "it holds 0 images beside its thumbnail"),
        ([image(VOLUME), image(VOLUME)], "it holds 2 images"),
        ([image(VOLUME, dimensions=[6, 5, 4, 1])], r"has the lengths \[6, 5, 4, 1\]"),
        ([image(VOLUME, dimensions=[600, 500, 400])], "it tells 120 pixels of an image of"),
        ([image(VOLUME, code=3)], "the type 3; a stack has"),
    ],
)
def test_digital_micrograph__what_would_be_misread_is_refused(tmp_path, images, message):
    with pytest.raises(StackReadError, match=message):
        read_images(write(tmp_path / "a.dm3", *images))


@pytest.mark.parametrize("version", [3, 4])
def test_digital_micrograph__files_that_are_cut_or_altered_are_refused(tmp_path, version):
    path = write(tmp_path / "a.dm3", image(VOLUME), version=version)
    content = path.read_bytes()
    for end in range(0, len(content) - 40, 7):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"cut off|holds 0 images|tells no pixels"):
            DigitalMicrograph().inspect(path)
    for place in range(version, len(content), 5):
        path.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        with suppress(ValueError):
            assert DigitalMicrograph().inspect(path).count in (1, 4)
