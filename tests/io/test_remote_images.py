"""Images of other formats on servers: files by parts, blocks of N5, and what breaks."""

import h5py
import numpy as np
import pytest
import tifffile

import fibdask
from fibdask.blocks import origin
from fibdask.blocks.engine import places, remote
from fibdask.conventions import StackReadError
from tests.io.images import (
    test_amira,
    test_digital_micrograph,
    test_imaris,
    test_n5,
    test_nifti,
    test_nrrd,
)
from tests.io.naive import grey_volume
from tests.servers import BUCKET, Line, file_server

VOLUME = grey_volume((4, 5, 6))
LARGE = grey_volume((40, 256, 256))
GIVEN = {"voltage": 2, "pixel_size": (5, 4), "slice_thickness": 10}
pytestmark = [
    pytest.mark.usefixtures("credentials"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # sockets that are cut
]


@pytest.fixture
def fetched(monkeypatch):
    """The number of bytes of each range that is fetched."""
    found, read = [], places.read_range

    def counted(place, start, stop):
        found.append(stop - start)
        return read(place, start, stop)

    monkeypatch.setattr(places, "read_range", counted)
    monkeypatch.setattr(places, "_FETCHED", 2**14)
    return found


def put(endpoint, folder):
    """Put what lies in a folder on a server, and return how it is reached."""
    bucket = remote.client(f"s3://{BUCKET}", remote.Access(endpoint=endpoint))
    for file in folder.rglob("*"):
        if file.is_file():
            bucket.put(f"{folder.name}/{file.relative_to(folder)}", file.read_bytes())
    return f"s3://{BUCKET}/{folder.name}", {"endpoint": endpoint}


def hdf5(path, volume=VOLUME, chunks=(1, 5, 6)):
    with h5py.File(path, "w") as file:
        file.create_dataset("volume", data=volume, chunks=chunks, compression="gzip")


def tiff(path, volume=VOLUME, **options):
    tifffile.imwrite(path, volume, photometric="minisblack", metadata={"axes": "ZYX"}, **options)


def packed(path):
    tiff(path, compression="zlib", ome=True)


def digital_micrograph(path):
    test_digital_micrograph.write(path, test_digital_micrograph.image(VOLUME), version=4)


WRITERS = {
    "a.h5": hdf5,
    "a.ims": lambda path: test_imaris.write(path, VOLUME[np.newaxis]),
    "a.tif": tiff,
    "b.ome.tif": packed,
    "a.nrrd": lambda path: test_nrrd.write(path, VOLUME, encoding="raw"),
    "a.nii.gz": lambda path: test_nifti.write(path, VOLUME),
    "a.am": lambda path: test_amira.write(path, VOLUME),
    "a.dm4": digital_micrograph,
}


@pytest.mark.filterwarnings("ignore::fibdask.FibdaskWarning")  # of lengths that are given
@pytest.mark.parametrize("name", WRITERS)
def test_read_images__files_on_servers_are_those_of_this_machine(endpoint, tmp_path, name):
    WRITERS[name](tmp_path / name)
    expected = fibdask.read_images(tmp_path / name, **GIVEN)
    address, options = put(endpoint, tmp_path)
    with file_server(tmp_path) as files:
        for place, how in ((f"{address}/{name}", options), (f"{files}/{name}", None)):
            stack = fibdask.read_images(place, **GIVEN, remote=how)
            np.testing.assert_array_equal(stack["intensity"], expected["intensity"])
            part = {"z": slice(1, 3), "x": slice(2, 5)}
            assert stack["intensity"].isel(part).equals(expected["intensity"].isel(part))


@pytest.mark.parametrize("write", [hdf5, tiff])
def test_read_images__of_a_file_on_a_server_only_parts_are_fetched(
    endpoint, tmp_path, fetched, write
):
    name = "a.h5" if write is hdf5 else "a.tif"
    write(tmp_path / name, LARGE, **({"chunks": (1, 256, 256)} if write is hdf5 else {}))
    address, options = put(endpoint, tmp_path)
    stack = fibdask.read_images(f"{address}/{name}", **GIVEN, remote=options)
    np.testing.assert_array_equal(stack["intensity"][0, 20:22], LARGE[20:22])
    assert sum(fetched) < LARGE.nbytes / 4


@pytest.mark.parametrize("dataset", [None, "raw/s0"])
def test_read_images__n5_on_a_server_is_that_of_the_folder(endpoint, tmp_path, dataset):
    test_n5.write(tmp_path / "a.n5" / "raw" / "s0", VOLUME, **test_n5.NANOMETRES)
    for folder in ("a.n5", "a.n5/raw"):
        test_n5.tell(tmp_path / folder)
    address, options = put(endpoint, tmp_path)

    def read():
        return fibdask.read_images(f"{address}/a.n5", voltage=2, dataset=dataset, remote=options)

    stack = read()
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME)
    assert [float(stack[axis][1]) for axis in "zyx"] == [10, 5, 4]
    token = origin(stack["intensity"].data).token
    assert origin(read()["intensity"].data).token == token
    bucket = remote.client(f"s3://{BUCKET}", remote.Access(endpoint=endpoint))
    bucket.put(f"{tmp_path.name}/a.n5/raw/s0/0/0/0", b"")
    assert origin(read()["intensity"].data).token != token


def test_read_images__a_file_that_is_replaced_has_another_fingerprint(endpoint, tmp_path):
    tokens = []
    for volume in (VOLUME, VOLUME[::-1]):
        hdf5(tmp_path / "a.h5", volume)
        address, options = put(endpoint, tmp_path)
        stack = fibdask.read_images(f"{address}/a.h5", **GIVEN, remote=options)
        tokens.append(origin(stack["intensity"].data).token)
    assert tokens[0] != tokens[1]


@pytest.mark.parametrize("name", ["a.h5", "a.tif", "a.am"])
def test_read_images__a_line_to_a_file_that_stays_broken_is_named(
    endpoint, tmp_path, monkeypatch, name
):
    monkeypatch.setattr(places, "_FETCHED", 16)
    WRITERS[name](tmp_path / name)
    address, _ = put(endpoint, tmp_path)
    line = Line(endpoint)
    stack = fibdask.read_images(f"{address}/{name}", **GIVEN, remote={"endpoint": line.endpoint})
    line.breaks = lambda request: 0 if "GET" in request else None
    with pytest.raises(StackReadError, match=rf"{name}.* cannot be read"):
        stack["intensity"].compute()
    line.close()


def test_read_images__what_is_not_read_from_servers_is_refused(endpoint, tmp_path):
    np.save(tmp_path / "a.npy", VOLUME)
    (tmp_path / "a.nrrd").write_text(
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 6 5 4\nencoding: raw\ndata file: a.raw\n"
    )
    address, options = put(endpoint, tmp_path)
    for name, told in {
        "a.npy": "others are not read from servers: download them",
        "b.h5": "b.h5 does not exist",
        "a.nrrd": "a.raw beside it, which is not read from servers",
    }.items():
        with pytest.raises(StackReadError, match=told):
            fibdask.read_images(f"{address}/{name}", **GIVEN, remote=options)
