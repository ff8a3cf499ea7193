"""Decoders: files of every format equal the arrays that were written."""

import struct
import zlib

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
from PIL import Image

from fibdask.conventions import ConventionError, FibdaskWarning, StackReadError
from fibdask.io.images.formats import to_grey
from fibdask.io.images.read import read_images
from fibdask.io.images.tiff import Tiff
from tests.io.naive import grey_volume, taken, write_dat

GIVEN = {"voltage": 2.0, "pixel_size": 4.0, "slice_thickness": 10.0}


def read_volume(path, **options):
    return read_images(path, **GIVEN, **options)["intensity"].values[0]


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"photometric": "minisblack"}])
def test_tiff__multipage_equals_what_was_written(tmp_path, byteorder, options):
    volume = grey_volume((5, 6, 7), np.uint16)
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, byteorder=byteorder) as tif:
        for page in volume:
            tif.write(page, contiguous=False, **options)
    np.testing.assert_array_equal(read_volume(path), volume)


def test_tiff__imagej_spacing_and_unit_are_taken(tmp_path):
    path = tmp_path / "a.tif"
    volume = grey_volume((4, 5, 6))
    metadata = {"spacing": 0.05, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(path, volume, imagej=True, resolution=(50, 25), metadata=metadata)
    stack = read_images(path, voltage=1.0)
    np.testing.assert_array_equal(stack["intensity"][0], volume)
    np.testing.assert_allclose(stack["z"], np.arange(4) * 50.0)
    np.testing.assert_allclose([stack["y"][1], stack["x"][1]], [40.0, 20.0])
    assert taken(stack)["z"]["from"] == "ImageJ spacing in um"


def test_tiff__truncated_stack_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, grey_volume((4, 50, 60)), imagej=True)
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(StackReadError, match=r"a\.tif cannot be read"):
        read_images(path, **GIVEN)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_tiff__broken_list_of_pages_is_not_a_shorter_stack(tmp_path, share):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for page in grey_volume((8, 20, 20)):
            tif.write(page, contiguous=False)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(StackReadError, match=r"a\.tif cannot be read: .*cut off|corrupted"):
        read_images(path, **GIVEN)


@pytest.mark.filterwarnings("ignore:.*are stored as RGB:DeprecationWarning")
@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_tiff__few_slices_are_not_taken_for_colours(tmp_path, count):
    path = tmp_path / "a.tif"
    volume = grey_volume((count, 6, 7))
    tifffile.imwrite(path, volume.astype(np.float32), metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(read_volume(path), volume)


@pytest.mark.parametrize("axes", ["CYX", "TYX"])
def test_tiff__channels_and_times_are_no_slices(tmp_path, axes):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, grey_volume((6, 7, 8)), imagej=True, metadata={"axes": axes})
    told = (
        "it holds 6 channels, 0, .*axis Z" if axes == "CYX" else "its axes are T 6.*name the axis Z"
    )
    with pytest.raises(StackReadError, match=told):
        read_volume(path)


@pytest.mark.parametrize("axes", ["YXZ", "XYZ", "ZXY", "YZX"])
def test_tiff__axes_in_another_order_are_refused(tmp_path, axes):
    path = tmp_path / "a.tif"
    volume = grey_volume((6, 6, 6))
    tifffile.imwrite(path, volume, metadata={"axes": axes}, photometric="minisblack")
    with pytest.raises(StackReadError, match=f"its axes are {axes[0]} 6, {axes[1]} 6"):
        read_volume(path)


def test_tiff__pages_that_are_volumes_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    volume = grey_volume((16, 16, 16))
    tifffile.imwrite(path, volume, tile=(16, 16, 16), photometric="minisblack")
    with pytest.raises(StackReadError, match="its pages are volumes of 16 slices"):
        read_volume(path)


@pytest.mark.parametrize("ome", [False, True])
def test_tiff__two_images_of_several_slices_are_told(tmp_path, ome):
    volume = grey_volume((4, 5, 6))
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=ome) as tif:
        for part in (volume[:1], volume[1:]):
            tif.write(part, photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.warns(FibdaskWarning, match="holds 2 images, of 1 and 3 slices, which are taken"):
        np.testing.assert_array_equal(read_volume(tmp_path / "a.tif"), volume)


def write_ome_series(folder, volume):
    """Write one file a slice, each of which tells of all, as Micro-Manager does."""
    depth, height, width = volume.shape
    planes = "".join(
        f'<TiffData FirstZ="{k}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="a{k}.ome.tif">urn:uuid:{k}</UUID></TiffData>'
        for k in range(depth)
    )
    for k, image in enumerate(volume):
        text = (
            f'<OME UUID="urn:uuid:{k}"><Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint8" '
            f'DimensionOrder="XYZCT" SizeX="{width}" SizeY="{height}" SizeZ="{depth}" SizeC="1" '
            f'SizeT="1">{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(folder / f"a{k}.ome.tif", image, description=text, metadata=None)


def test_tiff__files_that_tell_of_one_another_are_slices(tmp_path):
    volume = grey_volume((3, 5, 6))
    write_ome_series(tmp_path, volume)
    np.testing.assert_array_equal(read_volume(tmp_path), volume)
    with pytest.warns(FibdaskWarning, match="tells of 3 files, of which one is read"):
        np.testing.assert_array_equal(read_volume(tmp_path / "a1.ome.tif"), volume[1:2])


@pytest.mark.parametrize(("value", "doubted"), [("0", True), ("-9999", False), ("nan", False)])
def test_tiff__a_declared_value_without_data_is_told(tmp_path, value, doubted):
    path = tmp_path / "a.tif"
    tags = [(42113, "s", 0, value, True)]
    tifffile.imwrite(path, grey_volume((5, 6)), extratags=tags)
    layout = Tiff().inspect(path)
    told = [found.text for header in layout.headers for found in header.conflicts]
    assert any("0 stands for no data" in text for text in told) == doubted


def test_tiff__colours_in_planes_are_grey_if_equal(tmp_path):
    image = grey_volume((6, 7))
    planes = np.stack([image] * 3)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_volume(path)[0], image)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16])
def test_pillow__grey_values_of_every_depth(tmp_path, dtype):
    image = grey_volume((6, 7), np.uint16).astype(dtype)
    Image.fromarray(image).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.png")[0], image)


def test_tiff__pages_of_two_shapes_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for width in (6, 7):
            tif.write(grey_volume((5, width)), contiguous=False)
    with pytest.raises(StackReadError, match=r"\(5, 6\) uint8 and \(5, 7\) uint8"):
        read_images(path, **GIVEN)


def test_tiff__two_axes_beside_the_image_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, grey_volume((2, 3, 4, 5)), imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(StackReadError, match="its axes are T 2, Z 3"):
        read_images(path, **GIVEN)


def test_tiff__white_as_zero_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, grey_volume((5, 6)), photometric="miniswhite")
    with pytest.raises(StackReadError, match="white as zero"):
        read_images(path, **GIVEN)


@pytest.mark.parametrize(
    ("kind", "message"), [(0, "white as zero"), (5, "interpretation is 5"), (8, "is 8")]
)
def test_tiff__one_page_that_is_not_grey_is_refused(tmp_path, kind, message):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for page in grey_volume((3, 5, 6)):
            tif.write(page, photometric="minisblack", contiguous=False, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[1].tags["PhotometricInterpretation"].overwrite(kind)
    with pytest.raises(StackReadError, match=message):
        read_images(path, **GIVEN)


def test_tiff__orientation_that_is_not_applied_is_told(tmp_path):
    tag = (274, "H", 1, 6, True)
    tifffile.imwrite(tmp_path / "a.tif", grey_volume((5, 6)), extratags=[tag])
    with pytest.warns(FibdaskWarning, match="TIFF Orientation says 6"):
        read_images(tmp_path / "a.tif", **GIVEN)


def test_tiff__palette_in_eight_bits_is_not_black(tmp_path):
    image = grey_volume((5, 6))
    colours = np.repeat(np.arange(256, dtype=np.uint16)[np.newaxis, ::-1], 3, axis=0)
    for name, scale in (("a.tif", 1), ("b.tif", 257)):
        colormap = colours * np.uint16(scale)
        tifffile.imwrite(tmp_path / name, image, photometric="palette", colormap=colormap)
        np.testing.assert_array_equal(read_volume(tmp_path / name)[0], 255 - image)


def write_png(path, rows, depth, kind, *chunks):
    """Write a PNG of rows of bytes: Pillow cannot write what it narrows."""
    width = 8 * len(rows[0]) // (depth * {0: 1, 2: 3, 3: 1}[kind])
    size = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in ((b"IHDR", size), *chunks, (b"IDAT", pixels), (b"IEND", b"")):
            check = zlib.crc32(name + data)
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", check))
    return path


def test_png__sixteen_bits_are_kept_or_refused(tmp_path):
    grey = grey_volume((3, 4), np.uint16)
    path = write_png(tmp_path / "a.png", [row.astype(">u2").tobytes() for row in grey], 16, 0)
    np.testing.assert_array_equal(read_volume(path)[0], grey)
    rows = [np.repeat(row, 3).astype(">u2").tobytes() for row in grey]
    with pytest.raises(StackReadError, match=r"b\.png cannot be read: it has 16 bits in each"):
        read_volume(write_png(tmp_path / "b.png", rows, 16, 2))


@pytest.mark.parametrize("clear", [None, 1, 3])
def test_png__colours_marked_as_transparent_must_not_occur(tmp_path, clear):
    greys = bytes(range(0, 256, 64))
    palette = (b"PLTE", bytes(value for value in greys for _ in range(3)))
    opacity = bytes(0 if k == clear else 255 for k in range(4))
    rows = [bytes([0, 1, 2])] * 2
    path = write_png(tmp_path / "a.png", rows, 8, 3, palette, (b"tRNS", opacity))
    if clear == 1:
        with pytest.raises(StackReadError, match="partly transparent"):
            read_volume(path)
    else:
        np.testing.assert_array_equal(read_volume(path)[0], [[0, 64, 128]] * 2)


def test_png__a_grey_value_marked_as_transparent_must_not_occur(tmp_path):
    rows = [bytes([0, 1, 2])] * 2
    path = write_png(tmp_path / "a.png", rows, 8, 0, (b"tRNS", struct.pack(">H", 7)))
    np.testing.assert_array_equal(read_volume(path)[0], [[0, 1, 2]] * 2)
    path = write_png(tmp_path / "a.png", rows, 8, 0, (b"tRNS", struct.pack(">H", 2)))
    with pytest.raises(StackReadError, match="partly transparent"):
        read_volume(path)


@pytest.mark.parametrize("width", [-6, 2**31 - 1])
def test_bmp__damaged_sizes_are_one_sentence_with_the_file(tmp_path, width):
    path = tmp_path / "a.bmp"
    Image.fromarray(grey_volume((5, 6))).save(path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<i", content, 18, width)
    path.write_bytes(content)
    with pytest.raises(StackReadError, match=r"a\.bmp cannot be read: its header is damaged"):
        read_images(path, **GIVEN)


def test_tiff__damaged_sizes_are_one_sentence_with_the_file(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, grey_volume((5, 6)), metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        for name in ("ImageWidth", "ImageLength"):
            tif.pages[0].tags[name].overwrite(2**31 - 1)
    with pytest.raises(StackReadError, match=r"a\.tif cannot be read: its header is damaged"):
        read_images(path, **GIVEN)


def test_png__animations_are_refused(tmp_path):
    first, *others = [Image.fromarray(image) for image in grey_volume((3, 5, 6))]
    first.save(tmp_path / "a.png", save_all=True, append_images=others)
    with pytest.raises(StackReadError, match="an animation of 3 images"):
        read_volume(tmp_path / "a.png")


def test_npy__what_follows_the_pixels_is_told(tmp_path):
    volume = grey_volume((3, 5, 6))
    with (tmp_path / "a.npy").open("wb") as file:
        np.save(file, volume)
        np.save(file, volume)
    with pytest.warns(FibdaskWarning, match="218 bytes after the pixels"):
        np.testing.assert_array_equal(read_volume(tmp_path / "a.npy"), volume)


def test_mrc__what_follows_the_pixels_is_told(tmp_path):
    volume = grey_volume((3, 5, 6), np.uint16)
    with mrcfile.new(tmp_path / "a.mrc", volume) as mrc:
        mrc.header.nz = mrc.header.mz = 2
    with pytest.warns(FibdaskWarning, match="60 bytes after the pixels"):
        np.testing.assert_array_equal(read_volume(tmp_path / "a.mrc"), volume[:2])


def test_npy__fortran_order_and_single_slices(tmp_path):
    volume = grey_volume((5, 6, 7))
    np.save(tmp_path / "a.npy", np.asfortranarray(volume))
    np.save(tmp_path / "b.npy", volume[0])
    np.testing.assert_array_equal(read_volume(tmp_path / "a.npy"), volume)
    np.testing.assert_array_equal(read_volume(tmp_path / "b.npy")[0], volume[0])


def test_npy__objects_and_other_shapes_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object))
    np.save(tmp_path / "b.npy", np.zeros((2, 2, 2, 2), np.uint8))
    with pytest.raises(StackReadError, match=r"a\.npy cannot be read"):
        read_volume(tmp_path / "a.npy")
    with pytest.raises(StackReadError, match=r"shape is \(2, 2, 2, 2\)"):
        read_volume(tmp_path / "b.npy")


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_mrc__equals_what_was_written(tmp_path, dtype):
    volume = grey_volume((4, 5, 6), np.int16).astype(dtype)
    with mrcfile.new(tmp_path / "a.mrc", volume) as mrc:
        mrc.voxel_size = (40.0, 50.0, 100.0)  # x, y, z in Å
    stack = read_images(tmp_path / "a.mrc", voltage=1.0)
    shift = 32768 if dtype == np.int16 else 0
    np.testing.assert_array_equal(stack["intensity"][0], volume.astype(float) + shift)
    np.testing.assert_allclose([stack["z"][1], stack["y"][1], stack["x"][1]], [10, 5, 4], rtol=1e-6)


def test_mrc__one_angstrom_means_unknown(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc", grey_volume((4, 5, 6), np.uint16)) as mrc:
        mrc.voxel_size = 1.0
    with pytest.raises(ConventionError, match="pixel_size is needed"):
        read_images(tmp_path / "a.mrc", voltage=1.0)


def test_mrc__truncated_is_refused(tmp_path):
    path = tmp_path / "a.mrc"
    mrcfile.new(path, grey_volume((4, 5, 6), np.uint16)).close()
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StackReadError, match=r"cut off: 1264 bytes are expected, 1254 are there"):
        read_images(path, **GIVEN)


@pytest.mark.parametrize("chunks", [None, (3, 2, 4)])
def test_hdf5__the_only_volume_is_found_with_its_voxel_size(tmp_path, chunks):
    volume = grey_volume((8, 5, 6))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("group/raw", data=volume, chunks=chunks)
        data.attrs["element_size_um"] = (0.01, 0.005, 0.004)
        file["profile"] = np.zeros(8)
    stack = read_images(tmp_path / "a.h5", voltage=1.0)
    np.testing.assert_array_equal(stack["intensity"][0], volume)
    np.testing.assert_array_equal(stack["intensity"][0, 2:7, 1:, 3:], volume[2:7, 1:, 3:])
    np.testing.assert_allclose([stack["z"][1], stack["y"][1], stack["x"][1]], [10, 5, 4])


def test_hdf5__size_that_no_stack_has_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", (2**60, 1, 1), "u1", chunks=(1, 1, 1))
    with pytest.raises(StackReadError, match=r"a\.h5 .* its shape is \(1152921504606846976"):
        read_volume(tmp_path / "a.h5")


def test_hdf5__chunks_that_were_never_written_read_as_the_fill_value(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        options = {"chunks": (1, 500, 1000), "compression": "gzip", "fillvalue": 7}
        data = file.create_dataset("raw", (10**4, 10**3, 10**3), "u1", **options)
        data[2, :500] = 9
    with pytest.warns(FibdaskWarning, match="read as 7: 1 of 20000 chunks were written"):
        image = read_images(tmp_path / "a.h5", **GIVEN)["intensity"]
    found = image[0, 1:3, 498:502, :2].values
    np.testing.assert_array_equal(found[:, :, 0], [[7, 7, 7, 7], [9, 9, 7, 7]])


def test_tiff__an_empty_file_is_told_by_its_name(tmp_path):
    (tmp_path / "a.tif").touch()
    with pytest.raises(StackReadError, match=r"a\.tif cannot be read: it is empty$"):
        read_images(tmp_path / "a.tif", **GIVEN)


def test_hdf5__one_of_several_is_chosen_by_name(tmp_path):
    volume = grey_volume((2, 5, 6))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"], file["labels"] = volume, volume * 0
    with pytest.raises(StackReadError, match=r"2 datasets .* labels \(2, 5, 6\), raw"):
        read_volume(tmp_path / "a.h5")
    with pytest.raises(StackReadError, match="no dataset 'row'"):
        read_volume(tmp_path / "a.h5", dataset="row")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.h5", dataset="/raw"), volume)


def test_dat__detectors_are_taken_apart(tmp_path):
    frames = grey_volume((2, 4, 5), np.int16)
    write_dat(tmp_path / "a.dat", frames)
    expected = frames.astype(int) + 32768
    for k, choice in enumerate(["InLens", "es"]):
        for detector in (k, choice):
            stack = read_images(tmp_path / "a.dat", slice_thickness=10.0, detector=detector)
            np.testing.assert_array_equal(stack["intensity"].values[0, 0], expected[k])


@pytest.mark.parametrize(
    ("detector", "words"), [(None, "choose one with detector"), ("SE2", "got 'SE2'"), (2, "got 2")]
)
def test_dat__detector_must_be_one_of_the_file(tmp_path, detector, words):
    write_dat(tmp_path / "a.dat", grey_volume((2, 4, 5), np.int16))
    with pytest.raises(ConventionError, match=f"0 InLens, 1 ESB.*{words}"):
        read_images(tmp_path / "a.dat", **GIVEN, detector=detector)


def test_dat__other_versions_and_cut_files_are_refused(tmp_path):
    path = tmp_path / "a.dat"
    write_dat(path, grey_volume((1, 4, 5), np.int16), names=("InLens",), version=1)
    with pytest.raises(StackReadError, match="version is 1; readable are 3 to 9"):
        read_images(path, **GIVEN)
    write_dat(path, grey_volume((1, 4, 5), np.int16), names=("InLens",))
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(StackReadError, match="1064 bytes are expected, 1062 are there"):
        read_images(path, **GIVEN)
    path.write_bytes(b"something else" * 100)
    with pytest.raises(StackReadError, match=r"no Janelia \.dat file"):
        read_images(path, **GIVEN)


def test_to_grey__ramp_with_annotation_colours_keeps_the_values():
    palette = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1)
    palette[9::9] = (255, 0, 0)
    frame = grey_volume((8, 8))
    np.testing.assert_array_equal(to_grey(frame, palette), frame)


def test_to_grey__grey_palette_is_applied_and_coloured_refused():
    palette = np.repeat(np.array([[255], [0]], np.uint8), 3, axis=1)
    np.testing.assert_array_equal(to_grey(np.array([[0, 1]]), palette), [[255, 0]])
    with pytest.raises(ValueError, match="palette is coloured"):
        to_grey(np.array([[0, 1]]), np.array([[255, 0, 0], [0, 0, 0]], np.uint8))


def test_to_grey__alpha_must_be_opaque():
    frame = np.stack([*[grey_volume((3, 3))] * 3, np.full((3, 3), 255, np.uint8)])
    np.testing.assert_array_equal(to_grey(frame), frame[0])
    frame[3, 0, 0] = 0
    with pytest.raises(ValueError, match="transparent"):
        to_grey(frame)
