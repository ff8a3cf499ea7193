"""NIfTI files that nibabel has written: values, types, units, and what is refused."""

import gzip

import nibabel
import numpy as np
import pytest

from fibdask.conventions import ConventionError, StackReadError
from fibdask.io.images.read import read_images
from tests.io.naive import grey_volume

VOLUME = grey_volume((4, 5, 6))
KINDS = {1: nibabel.Nifti1Image, 2: nibabel.Nifti2Image}


def write(path, volume=VOLUME, *, version=1, unit="micron", order="<", slope=None):
    """Write a volume (z, y, x) with steps of 10, 5 and 4 nm."""
    header = KINDS[version].header_class(endianness=order)
    header.set_data_dtype(volume.dtype)
    image = KINDS[version](volume.transpose(), np.diag([0.004, 0.005, 0.010, 1]), header)
    if unit:
        image.header.set_xyzt_units(unit)
    if slope:
        image.header.set_slope_inter(*slope)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_nifti__values_and_lengths_are_those_that_nibabel_wrote(
    tmp_path, version, order, name, dtype
):
    path = write(tmp_path / name, VOLUME.astype(dtype), version=version, order=order)
    stack = read_images(path, voltage=1.0)
    values = VOLUME.astype(float) + (32768 if dtype == "int16" else 0)
    np.testing.assert_array_equal(stack["intensity"][0], values)
    np.testing.assert_array_equal(stack["intensity"][0, 1:3, 2:4, 3:], values[1:3, 2:4, 3:])
    for axis, spacing in {"z": 10, "y": 5, "x": 4}.items():
        assert float(stack[axis][1]) == pytest.approx(spacing, rel=1e-9)


def test_nifti__the_scale_of_values_is_applied(tmp_path):
    stored = write(tmp_path / "a.nii", VOLUME.astype(np.float32))
    image = nibabel.Nifti1Image(VOLUME.astype(np.int16).transpose(), nibabel.load(stored).affine)
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "b.nii")
    content = bytearray((tmp_path / "b.nii").read_bytes())
    content[112:120] = np.array([0.5, 3], "<f4").tobytes()
    (tmp_path / "b.nii").write_bytes(content)
    expected = nibabel.load(tmp_path / "b.nii").get_fdata().transpose()
    found = read_images(tmp_path / "b.nii", voltage=1.0)["intensity"][0]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_nifti__lengths_without_a_unit_are_asked_for(tmp_path):
    with pytest.raises(ConventionError, match="pixdim is not taken, for no unit is told"):
        read_images(write(tmp_path / "a.nii", unit=None), voltage=1.0)


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        (0, np.array([7], "<i4"), "it is no NIfTI file"),
        (344, b"ni1", "lie in another file"),
        (40, np.array([4, 6, 5, 4, 2], "<i2"), "lengths 6, 5, 4, 2; a stack has x, y and z"),
        (40, np.array([3, 6, -5, 4], "<i2"), "damaged: it tells 3 axes of lengths"),
        (40, np.array([3, 32767, 32767, 32767], "<i2"), "cut off|bytes cannot hold"),
        (70, np.array([128], "<i2"), "of the type 128"),
        (108, np.array([4], "<f4"), "at byte 4"),
    ],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti__what_would_be_misread_is_refused(tmp_path, name, place, content, message):
    path = write(tmp_path / name)
    opened = gzip.open if name.endswith("gz") else open
    with opened(path, "rb") as file:
        raw = bytearray(file.read())
    patch = bytes(content)
    raw[place : place + len(patch)] = patch
    path.write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    with pytest.raises(StackReadError, match=message):
        read_images(path, voltage=1.0)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti__files_that_end_early_are_refused(tmp_path, name):
    path = write(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StackReadError, match="cut off"):
        read_images(path, voltage=1.0).compute()
