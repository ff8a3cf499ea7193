"""Files that claim what they do not hold, or ask for what is not theirs: refused, at no cost."""

import contextlib
import gzip
import json
import struct
import zlib
from pathlib import Path

import h5py
import imagecodecs
import mrcfile
import numpy as np
import pytest

from fibdask import StackReadError, read_images

MEBIBYTE = 2**20
ZEROS = 2**26


@pytest.fixture
def growth():
    """How much memory reading takes."""

    def measured(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    Path("/proc/self/clear_refs").write_text("5")
    before = measured("VmRSS")
    return lambda: measured("VmHWM") - before


def read(path, **options):
    stack = read_images(path, voltage=2, pixel_size=5, slice_thickness=10, **options)
    return stack["intensity"].values


def npy(path, shape):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.encode() + bytes(99))
    return path


def tiff(path, width, height, data, *, compression=1, description=b"", following=0):
    """Write a page of one strip."""
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression)]
    tags += [(262, 3, 1, 1), (270, 2, len(description), 0)] if description else [(262, 3, 1, 1)]
    tags += [(273, 4, 1, 0), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, len(data))]
    start = 8 + 2 + 12 * len(tags) + 4
    places = {273: start, 270: start + len(data)}
    packed = b"".join(struct.pack("<HHII", *tag[:3], places.get(tag[0], tag[3])) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    path.write_bytes(head + packed + struct.pack("<I", following) + data + description)
    return path


def png(path, width, height, data):
    def chunk(kind, content):
        checked = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checked

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


def mrc(path, **fields):
    with mrcfile.new(path) as file:
        file.set_data(np.zeros((2, 3, 4), np.int16))
    content = bytearray(path.read_bytes())
    for place, value in fields.values():
        content[place : place + 4] = struct.pack("<i", value)
    path.write_bytes(content)
    return path


def huge_mrc(folder):
    return mrc(folder / "a.mrc", x=(0, 10**4), y=(4, 10**4), z=(8, 10**4))


def huge_header(folder):
    return mrc(folder / "a.mrc", nsymbt=(92, 2**31 - 2**20))


def huge_hdf5(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        options = {"chunks": (40, 10**4, 10**4), "compression": "gzip"}
        data = file.create_dataset("v", (10**4, 10**4, 10**4), "u1", **options)
        data.id.write_direct_chunk((0, 0, 0), bytes(99))
    return folder / "a.h5"


def many_pages(folder):
    text = json.dumps({"shape": [10**9, 10, 10]}).encode() + b"\0"
    return tiff(folder / "a.tif", 10, 10, bytes(100), description=text)


def few_tiles(folder):
    path = tiff(folder / "a.tif", 10**4, 10**4, bytes(10**4), compression=8)
    content = path.read_bytes()  # rows in each strip: one
    old, new = (struct.pack("<HHII", 278, 4, 1, rows) for rows in (10**4, 1))
    path.write_bytes(content.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: npy(folder / "a.npy", (10**4,) * 3), "mmap length is greater"),
        (lambda folder: tiff(folder / "a.tif", 10**6, 10**6, bytes(99)), "bytes cannot hold"),
        (lambda folder: png(folder / "a.png", 10**6, 10**6, bytes(99)), "bytes cannot hold"),
        (huge_mrc, "it is cut off"),
        (huge_header, "tells an extended header of 2146435072 bytes"),
        (huge_hdf5, "bytes cannot hold"),
        (many_pages, "bytes cannot hold"),
        (few_tiles, r"of its 10000 parts"),
    ],
    ids=["npy", "tiff", "png", "mrc", "mrc header", "hdf5", "tiff pages", "tiff parts"],
)
def test_read_images__refuses_a_small_file_that_claims_much(tmp_path, growth, make, words):
    path = make(tmp_path)
    with pytest.raises(StackReadError, match=words):
        read(path)
    assert growth() < 32 * MEBIBYTE


@pytest.mark.parametrize("kind", ["deflate", "zstd", "lzw", "png"])
def test_read_images__what_is_decoded_is_bounded_by_the_page(tmp_path, growth, kind):
    if kind == "png":
        path = png(tmp_path / "a.png", 100, 100, zlib.compress(bytes(ZEROS)))
    else:
        encode = {"deflate": zlib.compress, "zstd": imagecodecs.zstd_encode}
        encode["lzw"] = imagecodecs.lzw_encode
        number = {"deflate": 8, "zstd": 50000, "lzw": 5}[kind]
        data = encode[kind](bytes(ZEROS))
        path = tiff(tmp_path / "a.tif", 100, 100, data, compression=number)
    growth_before = growth()
    with contextlib.suppress(StackReadError):  # some decoders leave the rest, some refuse it
        assert read(path).shape == (1, 1, 100, 100)
    assert growth() - growth_before < 16 * MEBIBYTE


def test_read_images__refuses_a_chunk_that_is_more_than_its_pixels(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        options = {"chunks": (1, 100, 100), "compression": "gzip"}
        data = file.create_dataset("v", (2, 100, 100), "u1", **options)
        data.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(ZEROS)))
        data.id.write_direct_chunk((1, 0, 0), zlib.compress(bytes(10**4)))
    with pytest.raises(StackReadError, match="a chunk of 10000 bytes has"):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize("following", [8, 50])
def test_read_images__refuses_pages_that_follow_themselves(tmp_path, following):
    path = tiff(tmp_path / "a.tif", 10, 10, bytes(100), following=following)
    with pytest.raises(StackReadError, match=r"its list of pages is broken|cannot be read"):
        read(path)


@pytest.mark.parametrize("size", [10, 20_000])
def test_read_images__entities_of_xml_are_not_grown(tmp_path, growth, size):
    namespace = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    entities = f'<!ENTITY a "{"x" * 1000}"><!ENTITY b "{"&a;" * 100}"><!ENTITY c "{"&b;" * 100}">'
    bomb = f'<?xml version="1.0"?><!DOCTYPE l [{entities}]><OME xmlns="{namespace}">'
    text = (bomb + "&c;" * size + "</OME>\0").encode()
    path = tiff(tmp_path / "a.tif", 10, 10, bytes(100), description=text)
    assert read(path).shape == (1, 1, 10, 10)
    assert growth() < 64 * MEBIBYTE


def test_read_images__objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{"a": 1}]], object), allow_pickle=True)
    with pytest.raises(StackReadError, match="Python objects"):
        read(tmp_path / "a.npy")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("v", (2, 3, 4), h5py.string_dtype())
    with pytest.raises(StackReadError, match="found object"):
        read(tmp_path / "a.h5")


def test_read_images__compressed_mrc_is_refused(tmp_path):
    path = mrc(tmp_path / "a.mrc")
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(StackReadError, match="it is compressed; decompress it first"):
        read(path)


# Files that take pixels from elsewhere


def external(path, name):
    with h5py.File(path, "w") as file:
        file.create_dataset("v", (2, 10, 10), "u1", external=[(name, 0, 200)])
    return path


def virtual(path, name, dataset="v"):
    layout = h5py.VirtualLayout((2, 10, 10), "u1")
    layout[:] = h5py.VirtualSource(name, dataset, (2, 10, 10))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("v", layout)
    return path


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(range(200)))
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["v"] = np.zeros((2, 10, 10), "u1")
    (tmp_path / "given").mkdir()
    return tmp_path


@pytest.mark.parametrize("kind", ["external", "virtual", "absolute", "nested", "linked"])
def test_read_images__pixels_are_not_taken_from_outside_the_folder(secret, kind):
    path, inner = secret / "given" / "a.h5", secret / "given" / "b.h5"
    if kind == "external":
        external(path, str(secret / "secret"))
    elif kind == "virtual":
        virtual(path, "../secret.h5")
    elif kind == "absolute":
        virtual(path, str(secret / "secret.h5"))
    elif kind == "nested":
        virtual(path, external(inner, str(secret / "secret")).name)
    else:
        virtual(path, inner.name)
        with h5py.File(inner, "w") as file:
            file["v"] = h5py.ExternalLink(str(secret / "secret.h5"), "v")
    with pytest.raises(StackReadError, match=r"its pixels lie in .*secret"):
        read(path)


def test_read_images__pixels_beside_the_file_are_taken(secret):
    values = np.arange(200, dtype=np.uint8).reshape(2, 10, 10)
    with h5py.File(secret / "given" / "b.h5", "w") as file:
        file["v"] = values
    path = virtual(secret / "given" / "a.h5", "b.h5")
    assert (read(path)[0] == values).all()


def test_read_images__texts_of_headers_and_names_command_no_terminal(tmp_path, capsys):
    from fibdask.run.cli import main

    folder = tmp_path / "a\x1b[31mred"
    folder.mkdir()
    with h5py.File(folder / "a.h5", "w") as file:
        data = file.create_dataset("v", data=np.zeros((2, 10, 10), "u1"))
        data.attrs["resolution"], data.attrs["units"] = [5, 5, 5], "\x1b[31mparsec<script>"
    out = tmp_path / "a.zarr"
    options = ["--voltage", "2", "--slice-thickness", "10"]
    with contextlib.suppress(SystemExit):  # the unit of its pixels is none
        main(["import", str(folder / "a.h5"), str(out), *options])
    main(["import", str(folder / "a.h5"), str(out), *options, "--pixel-size", "5"])
    main(["info", str(out)])
    told = capsys.readouterr()
    assert "parsec" in told.err
    assert "red" in told.out
    assert "\x1b" not in told.out + told.err
