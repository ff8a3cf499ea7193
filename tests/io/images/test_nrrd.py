"""NRRD files that another library has written; lengths without a unit are no lengths."""

import nrrd
import numpy as np
import pytest

from fibdask.conventions import ConventionError, FibdaskWarning, StackReadError
from fibdask.io.images.read import read_images
from tests.io.naive import grey_volume

VOLUME = grey_volume((4, 5, 6))
GIVEN = {"voltage": 2.0, "pixel_size": 4.0, "slice_thickness": 10.0}
SPACINGS = {"spacings": [4.0, 5.0, 10.0], "units": ["nm", "nm", "nm"]}
DIRECTIONS = {
    "space dimension": 3,
    "space directions": np.diag([0.004, 0.005, 0.010]),
    "space units": ["um", "um", "micron"],
}


def write(path, volume=VOLUME, **header):
    """Write a volume (z, y, x) as another library does."""
    nrrd.write(str(path), volume, header, index_order="C")
    return path


def test_nrrd__words_of_other_programs_are_passed_over(tmp_path):
    path = write(tmp_path / "a.nrrd", **SPACINGS, encoding="raw", note="made: by hand")
    np.testing.assert_array_equal(read_images(path, voltage=1.0)["intensity"][0], VOLUME)


def altered(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    return path


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "float32", "float64"])
def test_nrrd__values_and_axes_are_those_that_pynrrd_wrote(tmp_path, dtype, endian, encoding):
    volume = VOLUME.astype(dtype)
    stored = volume.astype(volume.dtype.newbyteorder("<" if endian == "little" else ">"))
    path = write(tmp_path / "a.nrrd", stored, encoding=encoding, endian=endian, **SPACINGS)
    stack = read_images(path, voltage=1.0)
    added = {"int8": 128, "int16": 32768}.get(dtype, 0)
    np.testing.assert_array_equal(stack["intensity"][0], volume.astype(float) + added)
    part = stack["intensity"][0, 1:3, 2:4, 3:]
    np.testing.assert_array_equal(part, volume[1:3, 2:4, 3:].astype(float) + added)


@pytest.mark.parametrize("header", [SPACINGS, DIRECTIONS])
def test_nrrd__lengths_with_a_unit_are_taken(tmp_path, header):
    stack = read_images(write(tmp_path / "a.nrrd", **header), voltage=1.0)
    for axis, spacing in {"z": 10, "y": 5, "x": 4}.items():
        assert np.diff(stack[axis]) == pytest.approx(spacing)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"spacings": SPACINGS["spacings"]}, "NRRD spacings is not taken, for no unit is told"),
        (SPACINGS | {"units": ["nm", "nm", "s"]}, "its unit 's' is no known length"),
        ({}, "pixel_size is needed: .*tell"),
    ],
)
def test_nrrd__lengths_without_a_unit_are_asked_for(tmp_path, header, message):
    path = write(tmp_path / "a.nrrd", **header)
    with pytest.raises(ConventionError, match=message):
        read_images(path, voltage=1.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"NRRD000", b"NURD000", "it is no NRRD file"),
        (b"type: uint16", b"type: int64", "of the type int64; readable are int8"),
        (b"endian: little\n", b"", "2 bytes, but their order .endian. is not told"),
        (b"encoding: raw", b"encoding: hex", "its encoding is hex; readable are raw and gzip"),
        (b"sizes: 6 5 4", b"sizes: 6 5", "it tells dimension 3 and sizes 6 5"),
        (b"sizes: 6 5 4", b"sizes: 6 5 -4", "it tells dimension 3 and sizes 6 5 -4"),
        (b"sizes: 6 5 4", b"sizes: 6 5 999999999", "damaged|cut off"),
        (b"encoding: raw", b"encoding: raw\ndata file: a.raw", "a.raw, which is absent"),
        (b"encoding: raw", b"encoding: raw\ndata file: ../a.raw", "outside its folder"),
        (b"encoding: raw", b"encoding: raw\ndata file: LIST", "lie in several files, LIST"),
        (b"encoding: raw", b"encoding: raw\nbyteskip: -2", "its byte skip is -2"),
        (b"encoding: raw", b"encoding: raw\nlineskip: 8", "its line skip is 8"),
        (b"encoding: raw", b"encoding: raw\nkinds: vector domain domain", "of the kind vector"),
        (b"encoding: raw", b'encoding: raw\nlabels: "z" "y" "x"', "in the order z, y, x; expected"),
        (b"encoding: raw\n", b"", "its header lacks encoding"),
        (b"\n\n", b"\n#", "its header has no end"),
    ],
)
def test_nrrd__what_would_be_misread_is_refused(tmp_path, old, new, message):
    path = altered(write(tmp_path / "a.nrrd", VOLUME.astype("<u2"), encoding="raw"), old, new)
    with pytest.raises(StackReadError, match=rf"a\.nrrd cannot be read: .*({message})"):
        read_images(path, **GIVEN)


def test_nrrd__axes_that_are_skewed_are_refused(tmp_path):
    skewed = DIRECTIONS | {"space directions": np.array([[4, 0, 0], [1, 5, 0], [0, 0, 10.0]])}
    with pytest.raises(StackReadError, match="its axes are not at right angles"):
        read_images(write(tmp_path / "a.nrrd", **skewed), **GIVEN)


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_nrrd__files_that_end_early_are_refused(tmp_path, encoding):
    path = write(tmp_path / "a.nrrd", encoding=encoding)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StackReadError, match=r"a\.nrrd.* cannot be read: .*(cut off|ended before)"):
        read_images(path, **GIVEN)["intensity"].compute()


def test_nrrd__bytes_that_no_slice_owns_are_told(tmp_path):
    path = write(tmp_path / "a.nrrd", encoding="raw")
    path.write_bytes(path.read_bytes() + bytes(30))
    with pytest.warns(FibdaskWarning, match="30 bytes after the pixels"):
        read_images(path, **GIVEN)


def test_nrrd__small_files_that_claim_much_are_refused(tmp_path):
    path = write(tmp_path / "a.nrrd", encoding="gzip")
    altered(path, b"sizes: 6 5 4", b"sizes: 6 5 999999")
    with pytest.raises(StackReadError, match=r"which .* bytes cannot hold"):
        read_images(path, **GIVEN)


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_nrrd__values_beside_a_header_are_read(tmp_path, encoding):
    path = write(tmp_path / "a.nhdr", encoding=encoding, **SPACINGS)
    assert len(list(tmp_path.iterdir())) == 2
    stack = read_images(path, voltage=1.0)
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME)
    assert float(stack["z"][1]) == 10


@pytest.mark.parametrize(("skipped", "before"), [(7, 7), (-1, 3), (0, 0)])
def test_nrrd__a_header_of_some_lines_tells_what_a_raw_file_holds(tmp_path, skipped, before):
    (tmp_path / "a.raw").write_bytes(bytes(before) + VOLUME.astype(">u2").tobytes())
    header = (
        "NRRD0004\ntype: uint16\ndimension: 3\nsizes: 6 5 4\nspacings: 4 5 10\n"
        f'units: "nm" "nm" "nm"\nendian: big\nencoding: raw\nbyte skip: {skipped}\n'
        "data file: a.raw\n"
    )
    (tmp_path / "a.nhdr").write_text(header)
    before = read_images(tmp_path / "a.nhdr", voltage=1.0)
    np.testing.assert_array_equal(before["intensity"][0], VOLUME)
    content = (tmp_path / "a.raw").read_bytes()
    (tmp_path / "a.raw").write_bytes(content[:-1] + b"?")
    after = read_images(tmp_path / "a.nhdr", voltage=1.0)
    assert after["intensity"].data.name != before["intensity"].data.name
