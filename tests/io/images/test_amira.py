"""Amira files, written as their format is published: raw, by runs, by zlib."""

import zlib

import numpy as np
import pytest

from fibdask.conventions import ConventionError, StackReadError
from fibdask.io.images.read import read_images
from tests.io.naive import grey_volume

VOLUME = grey_volume((4, 5, 6))
RUNS = np.repeat(np.arange(30, dtype=np.uint8) // 2, 40).reshape(4, 15, 20)
TYPES = {"uint8": "byte", "int16": "short", "uint16": "ushort", "float32": "float"}
HEADER = """# {program} BINARY{order} 2.1

define Lattice {x} {y} {z}

Parameters {{
    {units}
    Content "{x}x{y}x{z} {kind}, uniform coordinates",
    BoundingBox 1 {right} 0 {low} 0 {deep},
    CoordType "uniform"
}}

Lattice {{ {kind} Data }} @1{method}

# Data section follows
@1
"""
NANOMETRES = 'Units { Coordinates "nm" }'


def write(path, volume=VOLUME, *, order="<", units=NANOMETRES, method="", encode=bytes, **altered):
    """Write a volume (z, y, x) with steps of 10, 5 and 4 nm."""
    z, y, x = volume.shape
    content = encode(volume.astype(volume.dtype.newbyteorder(order)).tobytes())
    told = {
        "program": "AmiraMesh" if order == ">" else "Avizo",
        "order": "-LITTLE-ENDIAN" if order == "<" else "",
        "kind": TYPES[volume.dtype.name],
        "right": 1 + 4 * (x - 1),
        "low": 5 * (y - 1),
        "deep": 10 * (z - 1),
        "method": method.format(len(content)),
    }
    header = HEADER.format(z=z, y=y, x=x, units=units, **(told | altered))
    path.write_bytes(header.encode() + content + b"\n")
    return path


def runs(content):
    """Encode bytes as Amira does: runs of three and more, and bytes as such."""
    found, k = bytearray(), 0
    while k < len(content):
        same = 1
        while same < 127 and content[k : k + 1] == content[k + same : k + same + 1]:
            same += 1
        if same > 2:
            found += bytes([same, content[k]])
        else:
            same = min(2, len(content) - k)
            found += bytes([128 + same]) + content[k : k + same]
        k += same
    return bytes(found)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("method", ["", "(HxZip,{})"])
def test_amira__values_and_lengths_are_read(tmp_path, order, dtype, method):
    encode = zlib.compress if method else bytes
    path = write(tmp_path / "a.am", VOLUME.astype(dtype), order=order, method=method, encode=encode)
    stack = read_images(path, voltage=1.0)
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME)
    np.testing.assert_array_equal(stack["intensity"][0, 1:3, 2:4, 3:], VOLUME[1:3, 2:4, 3:])
    for axis, spacing in {"z": 10, "y": 5, "x": 4}.items():
        assert float(stack[axis][1]) == pytest.approx(spacing)


@pytest.mark.parametrize("volume", [VOLUME, RUNS, np.zeros_like(RUNS)])
@pytest.mark.parametrize("piece", [1, 7, 2**18])
def test_amira__runs_are_filled_in(tmp_path, monkeypatch, volume, piece):
    monkeypatch.setattr("fibdask.io.images.amira._PIECE", piece)
    path = write(tmp_path / "a.am", volume, method="(HxByteRLE,{})", encode=runs)
    stack = read_images(path, voltage=1.0)
    np.testing.assert_array_equal(stack["intensity"][0], volume)
    np.testing.assert_array_equal(stack["intensity"][0, 2:], volume[2:])


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ("", "BoundingBox is not taken, for no unit"),
        ('Units { Coordinates "px" }', "its unit 'px' is no known length"),
    ],
)
def test_amira__lengths_without_a_unit_are_asked_for(tmp_path, units, message):
    with pytest.raises(ConventionError, match=message):
        read_images(write(tmp_path / "a.am", units=units), voltage=1.0)


@pytest.mark.parametrize(
    ("matrix", "spacings"),
    [
        ("1 0 0 0 0 1 0 0 0 0 1 0 7 8 9 1", (10, 5, 4)),
        ("2 0 0 0 0 2 0 0 0 0 3 0 0 0 0 1,", (30, 10, 8)),
        ("1 0 0 0 0 1 1e-9 0 0 0 1 0 0 0 0 1", (10, 5, 4)),
        ("1 0 0 0 0 1 0 0 0 0.78 1 0 0 0 0 1", None),
        ("1 0 0 0 0 1 0 0 0 0 -1 0 0 0 0 1", None),
        ("0 1 0 0 1 0 0 0 0 0 1 0 0 0 0 1", None),
        ("1 0 0 0 0 1 0 0 0 0 1", None),
    ],
)
def test_amira__a_transformation_may_scale_and_move(tmp_path, matrix, spacings):
    path = write(tmp_path / "a.am", units=f"{NANOMETRES}\n    TransformationMatrix {matrix}")
    if spacings is None:
        with pytest.raises(StackReadError, match=r"its TransformationMatrix is .*: only such as"):
            read_images(path, voltage=1.0)
    else:
        stack = read_images(path, voltage=1.0)
        assert tuple(float(stack[axis][1]) for axis in "zyx") == spacings


def test_amira__lengths_in_commands_of_the_history_are_none(tmp_path):
    words = "x BoundingBox 0 1 0 1 0 1; y TransformationMatrix 2"
    path = write(tmp_path / "a.am", units=f'{NANOMETRES} History {{ 0 {{ Cmd "{words}" }} }}')
    stack = read_images(path, voltage=1.0)
    assert [float(stack[axis][1]) for axis in "zyx"] == [10.0, 5.0, 4.0]


def test_amira__micrometres_are_taken_as_latin_text_too(tmp_path):
    path = write(tmp_path / "a.am", units='Units { Coordinates "µm" }')
    for content in (path.read_bytes(), path.read_bytes().replace("µ".encode(), b"\xb5")):
        path.write_bytes(content)
        with pytest.warns(match="are not milled|beyond"):
            stack = read_images(path, voltage=1.0)
        assert float(stack["z"][1]) == 10_000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# Avizo", "# HyperMesh", "it is no Amira mesh"),
        ("BINARY-LITTLE-ENDIAN", "ASCII", "written as text"),
        ("define Lattice 6 5 4", "define Lattice 6 5", "a stack has x, y, z"),
        ("define Lattice 6 5 4", "define Lattice 60 50 40", "it is cut off"),
        ('CoordType "uniform"', 'CoordType "rectilinear"', "with rectilinear coordinates"),
        ("{ byte Data }", "{ byte[3] Data }", r"its fields are byte\[3\] Data"),
        ("{ byte Data }", "{ complex Data }", "its fields are complex Data"),
        ("{ byte Data } @1", "{ byte Data } @1(HxLZ4,7)", "compressed by HxLZ4"),
        ("\n@1\n", "\n@2\n", "@1 does not follow"),
    ],
)
def test_amira__what_would_be_misread_is_refused(tmp_path, old, new, message):
    path = write(tmp_path / "a.am")
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode(), 1))
    with pytest.raises(StackReadError, match=message):
        read_images(path, voltage=1.0)


@pytest.mark.parametrize(
    ("method", "encode"), [("(HxByteRLE,{})", runs), ("(HxZip,{})", zlib.compress)]
)
def test_amira__small_files_that_claim_much_or_end_early_are_refused(tmp_path, method, encode):
    path = write(tmp_path / "a.am", method=method, encode=encode)
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    with pytest.raises(StackReadError, match="cut off"):
        read_images(path, voltage=1.0).compute()
    path.write_bytes(content.replace(b"Lattice 6 5 4", b"Lattice 9999 9999 9999"))
    with pytest.raises(StackReadError, match="bytes cannot hold"):
        read_images(path, voltage=1.0)
