"""Volumes in one file: signs, axes, units, and headers that cannot be true."""

import json
import struct
from contextlib import nullcontext

import h5py
import numpy as np
import pytest
from mrcfile.dtypes import HEADER_DTYPE, get_ext_header_dtype

from fibdask.conventions import ConventionError, FibdaskWarning, StackReadError
from fibdask.io.images.formats import narrowed
from fibdask.io.images.read import read_images
from tests.io.naive import grey_volume

GIVEN = {"voltage": 2.0, "pixel_size": 4.0, "slice_thickness": 10.0}
VOLUME = grey_volume((4, 5, 6))
IMOD = 1146047817
SIGNED = (VOLUME.astype(int) - 128).astype(np.int8)


def write_mrc(path, volume=VOLUME, *, order="<", stamp=IMOD, flags=0, extended=None, **fields):
    """Write an MRC header field by field, with bytes of either sign."""
    depth, height, width = volume.shape
    told = dict(nx=width, ny=height, nz=depth, mode=0, mx=width, my=height, mz=depth, ispg=1)
    told |= dict(mapc=1, mapr=2, maps=3, dmin=0, dmax=255) | fields
    header = np.zeros(1, np.dtype(HEADER_DTYPE).newbyteorder(order))
    for name, value in told.items():
        header[name] = value
    header["cella"] = (width * 40.0, height * 50.0, depth * 100.0)
    header["map"] = b"MAP "
    header["machst"] = (0x44, 0x44, 0, 0) if order == "<" else (0x11, 0x11, 0, 0)
    extended = b"" if extended is None else extended.tobytes()
    header["nsymbt"] = fields.get("nsymbt", len(extended))
    content = bytearray(header.tobytes())
    struct.pack_into(f"{order}2i", content, 152, stamp, flags)
    path.write_bytes(bytes(content) + extended + volume.tobytes())
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("stored", "header"),
    [
        (VOLUME, {"flags": 0}),
        (VOLUME, {"flags": 4}),
        (SIGNED, {"flags": 1, "dmin": -128, "dmax": 127}),
        (VOLUME, {"stamp": 0}),
        (SIGNED, {"stamp": 0, "dmin": -128, "dmax": 127}),
    ],
)
def test_mrc__bytes_have_the_sign_that_the_header_tells(tmp_path, order, stored, header):
    path = write_mrc(tmp_path / "a.mrc", stored, order=order, **header)
    np.testing.assert_array_equal(read_images(path, voltage=1.0)["intensity"][0], VOLUME)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"stamp": 0, "dmin": 0, "dmax": 0}, "does not tell whether its bytes are signed"),
        ({"stamp": 0, "dmin": 0, "dmax": -1}, "minimum 0 and maximum -1; they are taken as signed"),
        ({"stamp": 0, "dmin": -3, "dmax": 200}, "does not tell whether"),
        ({"flags": 0, "dmin": -128, "dmax": 127}, "unsigned, yet minimum -128"),
        ({"flags": 1, "dmin": 0, "dmax": 255}, "signed, yet minimum 0 and maximum 255"),
    ],
)
def test_mrc__a_sign_that_is_not_told_or_contradicted_is_doubted(tmp_path, header, message):
    path = write_mrc(tmp_path / "a.mrc", **header)
    with pytest.warns(FibdaskWarning, match=message):
        read_images(path, voltage=1.0)


@pytest.mark.parametrize("mode", [3, 16, 101])
def test_mrc__modes_that_would_be_reinterpreted_are_refused(tmp_path, mode):
    with pytest.raises(StackReadError, match=rf"a\.mrc cannot be read: .*mode '{mode}'"):
        read_images(write_mrc(tmp_path / "a.mrc", mode=mode), **GIVEN)


@pytest.mark.parametrize(
    "fields", [{"nx": -6}, {"nx": -6, "ny": -5}, {"nz": 0}, {"nsymbt": -8}, {"nx": 2**30}]
)
def test_mrc__damaged_sizes_are_one_sentence_with_the_file(tmp_path, fields):
    with pytest.raises(StackReadError, match=r"a\.mrc cannot be read: .*(damaged|cut off|count)"):
        read_images(write_mrc(tmp_path / "a.mrc", **fields), **GIVEN)


def test_mrc__other_orders_of_axes_and_stacks_of_volumes_are_refused(tmp_path):
    with pytest.raises(StackReadError, match=r"in the order \[3, 2, 1\]"):
        read_images(write_mrc(tmp_path / "a.mrc", mapc=3, maps=1), **GIVEN)
    with pytest.raises(StackReadError, match=r"its shape is \(2, 2, 5, 6\)"):
        read_images(write_mrc(tmp_path / "b.mrc", ispg=401, mz=2), **GIVEN)


def test_mrc__a_cell_of_other_sections_is_told(tmp_path):
    with pytest.warns(FibdaskWarning, match=r"1 sections deep \(mz\), it holds 4: .* or 10 nm"):
        stack = read_images(write_mrc(tmp_path / "a.mrc", mz=1), voltage=1.0)
    assert float(stack["z"][1]) == 40.0
    read_images(write_mrc(tmp_path / "b.mrc", mz=1, ispg=0), voltage=1.0)
    with pytest.raises(ConventionError, match="pixel_size is needed"):
        read_images(write_mrc(tmp_path / "c.mrc", mx=0), voltage=1.0)


@pytest.mark.parametrize(
    ("tilts", "metres", "message"),
    [
        ([-60, -20, 20, 60], 4e-9, r"tilts from -60 to 60 degrees .*no stack of slices"),
        ([0, 0, 0, 0], 8e-9, r"MRC cell / sampling in Å says 4, FEI extended header says 8"),
    ],
)
def test_mrc__sections_of_the_extended_header_are_read(tmp_path, tilts, metres, message):
    sections = np.zeros(4, get_ext_header_dtype(b"FEI1", "<"))
    sections["Metadata size"] = sections.dtype.itemsize
    sections["Alpha tilt"], sections["Pixel size X"] = tilts, metres
    path = write_mrc(tmp_path / "a.mrc", extended=sections, exttyp=b"FEI1")
    with pytest.warns(FibdaskWarning, match=message):
        np.testing.assert_array_equal(read_images(path, voltage=1.0)["intensity"][0], VOLUME)


def write_hdf5(path, volume=VOLUME, *, axes=None, labels=None, **attributes):
    with h5py.File(path, "w") as file:
        data = file.create_dataset("raw", data=volume)
        data.attrs["element_size_nm"] = (10.0, 5.0, 4.0)
        if axes:
            data.attrs["axistags"] = json.dumps({"axes": [{"key": axis} for axis in axes]})
        for k, label in enumerate(labels or ""):
            data.dims[k].label = label
        data.attrs.update(attributes)
    return path


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((1, 4, 5, 6), {}),
        ((4, 5, 6, 1), {}),
        ((1, 4, 5, 6, 1), {"axes": "tzyxc"}),
        ((4, 1, 5, 6), {"labels": "zcyx"}),
        ((4, 5, 6), {"labels": "zyx"}),
        ((4, 5, 6), {"axislabels": "z, y, x"}),
        ((4, 5, 6), {"dims": (4, 5, 6)}),
        ((4, 5, 6), {"axis_order": 3}),
        ((4, 5, 6), {"_FillValue": np.array([], "u1"), "nodata": "none"}),
        ((4, 5, 6), {"_FillValue": np.nan, "IMAGE_WHITE_IS_ZERO": 0}),
    ],
)
def test_hdf5__axes_of_length_one_are_left_out(tmp_path, shape, told):
    path = write_hdf5(tmp_path / "a.h5", VOLUME.reshape(shape), **told)
    stack = read_images(path, voltage=1.0)
    np.testing.assert_array_equal(stack["intensity"][0, 1:, 2:4, 3:], VOLUME[1:, 2:4, 3:])
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME)


def test_hdf5__a_single_slice_behind_singletons_stays_one(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", VOLUME[:1].reshape(1, 1, 5, 6), axes="czyx")
    np.testing.assert_array_equal(read_images(path, voltage=1.0)["intensity"][0], VOLUME[:1])


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((6, 5, 4), {"axes": "xyz"}),
        ((4, 5, 6), {"axes": "tyx"}),
        ((4, 5, 6), {"labels": "yzx"}),
        ((2, 2, 5, 6), {"axes": "tzyx"}),
        ((2, 2, 5, 6), {}),
        ((6, 5, 4), {"labels": ["width", "height", "depth"]}),
        ((6, 5, 4), {"labels": ["x_nm", "y_nm", "z_nm"]}),
        ((6, 5, 4), {"axis_order": "xyz"}),
        ((6, 5, 4), {"dims": '["x", "y", "z"]'}),
    ],
)
def test_hdf5__axes_that_are_no_stack_are_refused(tmp_path, shape, told):
    path = write_hdf5(tmp_path / "a.h5", VOLUME.reshape(shape), **told)
    with pytest.raises(StackReadError, match=r"a\.h5 cannot be read: its (axes are|shape is)"):
        read_images(path, voltage=1.0)


@pytest.mark.parametrize(
    ("names", "refused"), [("zyx", False), ("xyz", True), (["any", "other", "word"], False)]
)
def test_hdf5__scales_name_the_axes(tmp_path, names, refused):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("raw", data=VOLUME)
        for k, name in enumerate(names):
            file[name] = np.arange(data.shape[k])
            file[name].make_scale()
            data.dims[k].attach_scale(file[name])
    with pytest.raises(StackReadError, match="its axes are x 4") if refused else nullcontext():
        stack = read_images(tmp_path / "a.h5", **GIVEN)
        np.testing.assert_array_equal(stack["intensity"][0], VOLUME)


def write_scales(path, *, units="nm", **scales):
    """Write a volume with the scales 0, 10, 40, 45 nm of z, 7 nm of y, 3 nm of x, or others."""
    scales = {"z": (0, 10, 40, 45), "y": 7.0 * np.arange(5), "x": 3.0 * np.arange(6)} | scales
    with h5py.File(path, "w") as file:
        data = file.create_dataset("raw", data=VOLUME)
        for k, (name, scale) in enumerate(scales.items()):
            file[name] = scale
            file[name].attrs["units"] = units
            file[name].make_scale()
            data.dims[k].attach_scale(file[name])
    return path


def test_hdf5__scales_with_a_unit_tell_depths_and_pixels(tmp_path):
    path = write_scales(tmp_path / "a.h5")
    stack = read_images(path, voltage=1.0)
    np.testing.assert_allclose(stack["z"], [0.0, 10.0, 40.0, 45.0])
    assert [float(stack[axis][1]) for axis in "yx"] == [7.0, 3.0]
    with pytest.warns(FibdaskWarning) as caught:
        read_images(path, **GIVEN)
    texts = " ".join(str(warning.message) for warning in caught)
    assert "HDF5 scale of y, x of" in texts
    assert "the depths in the headers span 45 nm" in texts
    even = write_scales(tmp_path / "b.h5", units="um", z=np.float32([3.0, 3.02, 3.04, 3.06]))
    assert read_images(even, voltage=1.0)["slice_thickness"].values[3] == 20.0
    read_images(write_scales(tmp_path / "c.h5", units="pixel"), **GIVEN)  # silent
    unwritten = write_scales(tmp_path / "d.h5", z=(0, 0, 0, 0))
    read_images(unwritten, voltage=1.0, pixel_size=(7, 3), slice_thickness=10)
    with h5py.File(even, "a") as packed:
        packed["z"].attrs["scale_factor"] = 10
    with pytest.raises(ConventionError, match="slice_thickness is needed"):
        read_images(even, voltage=1.0, pixel_size=(7, 3))


@pytest.mark.parametrize(
    ("scales", "error", "message"),
    [
        ({"z": (45, 40, 10, 0)}, StackReadError, "scale of z goes from 45 to 0 nm without rising"),
        ({"z": (0, np.nan, 10, 20)}, StackReadError, "without rising from slice to slice"),
        ({"y": (0, 1, 2, 3, 5)}, ConventionError, "the HDF5 scale of y is not taken, for its step"),
        ({"x": (5, 4, 3, 2, 1, 0)}, FibdaskWarning, "the HDF5 scale of x falls; the image is not"),
    ],
)
def test_hdf5__scales_that_no_stack_has_are_told(tmp_path, scales, error, message):
    with pytest.raises(error, match=message):
        read_images(write_scales(tmp_path / "a.h5", **scales), voltage=1.0)


@pytest.mark.parametrize(
    ("name", "attributes", "stored", "kept"),
    [
        ("raw", {}, "<i2", np.array([32768, 65535, 0, 32767])),
        ("raw", {"_Unsigned": "true"}, "<i2", np.array([0, 32767, 32768, 65535])),
        ("raw", {"_Unsigned": "true"}, ">i2", np.array([0, 32767, 32768, 65535])),
        ("t00000/s00/0/cells", {}, "<i2", np.array([0, 32767, 32768, 65535])),
    ],
)
def test_hdf5__numbers_have_the_sign_that_is_told(tmp_path, name, attributes, stored, kept):
    values = np.array([0, 32767, -32768, -1]).astype(stored).reshape(1, 2, 2)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset(name, data=values).attrs.update(attributes)
    stack = read_images(tmp_path / "a.h5", **GIVEN)
    np.testing.assert_array_equal(stack["intensity"].values.ravel(), kept)


def test_hdf5__white_as_zero_is_refused_and_no_data_told(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", IMAGE_WHITE_IS_ZERO=1)
    with pytest.raises(StackReadError, match="white as zero"):
        read_images(path, voltage=1.0)
    path = write_hdf5(tmp_path / "a.h5", _FillValue=np.uint8(7))
    with pytest.warns(FibdaskWarning, match="_FillValue says that 7 stands for no data"):
        read_images(path, voltage=1.0)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"scale_factor": -1.0, "add_offset": 255.0}, "its scale_factor is -1.0, which is not"),
        ({"scale_factor": 1.0, "add_offset": [0.5]}, "its add_offset is 0.5, which is not applied"),
        ({"IMAGE_SUBCLASS": np.bytes_("IMAGE_TRUECOLOR")}, "it is a colour image"),
    ],
)
def test_hdf5__packed_values_and_colours_are_refused(tmp_path, attributes, message):
    with pytest.raises(StackReadError, match=message):
        read_images(write_hdf5(tmp_path / "a.h5", **attributes), voltage=1.0)


def test_hdf5__packing_that_changes_nothing_is_read(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", scale_factor=1.0, add_offset=np.int16([0]))
    np.testing.assert_array_equal(read_images(path, voltage=1.0)["intensity"][0], VOLUME)


def test_hdf5__every_axis_has_its_own_unit(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("raw", data=VOLUME)
        data.attrs.update(voxel_size=(0.01, 5.0, 40.0), units=["um", "nm", "angstrom"])
    stack = read_images(tmp_path / "a.h5", voltage=1.0)
    np.testing.assert_allclose([stack[axis][1] for axis in "zyx"], [10.0, 5.0, 4.0])


@pytest.mark.parametrize("units", [{}, {"units": "pixel"}, {"units": ["nm", "nm", "ell"]}])
def test_hdf5__sizes_without_a_known_unit_are_asked_for(tmp_path, units):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=VOLUME).attrs.update(voxel_size=(10, 5, 4), **units)
    with pytest.raises(ConventionError, match=r"attribute voxel_size is not taken, for its unit"):
        read_images(tmp_path / "a.h5", voltage=1.0)


def test_hdf5__two_sizes_that_differ_are_told(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", resolution=(10.0, 5.0, 8.0), units="nm")
    with pytest.warns(FibdaskWarning, match="element_size_nm in nm says 5 x 4, .* says 5 x 8"):
        read_images(path, voltage=1.0)


@pytest.mark.parametrize("chunks", [None, (1, 1024, 1024)])
def test_hdf5__volume_that_no_disk_holds_is_refused(tmp_path, chunks):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", (2**20,) * 3, "u1", chunks=chunks)
    with pytest.raises(StackReadError, match=r"a\.h5 cannot be read: .* its shape is .1048576, "):
        read_images(tmp_path / "a.h5", **GIVEN)


def test_hdf5__missing_chunks_are_counted(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("raw", (4, 5, 6), "u1", chunks=(1, 5, 6), fillvalue=7)
        data[:3] = VOLUME[:3]
    with pytest.warns(FibdaskWarning, match="which read as 7: 3 of 4 chunks were written"):
        read_images(tmp_path / "a.h5", **GIVEN)


def test_hdf5__virtual_volumes_need_their_sources(tmp_path):
    source = write_hdf5(tmp_path / "source.h5")
    layout = h5py.VirtualLayout(VOLUME.shape, "u1")
    layout[:] = h5py.VirtualSource("source.h5", "raw", VOLUME.shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)
    stack = read_images(tmp_path / "a.h5", **GIVEN)
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME)
    source.unlink()
    with pytest.raises(StackReadError, match=r"source\.h5, which is absent"):
        read_images(tmp_path / "a.h5", **GIVEN)


def test_narrowed__keeps_what_float32_holds():
    values = VOLUME * 1e-3 + 0.1
    np.testing.assert_allclose(narrowed(values), values, rtol=1e-7)
    assert narrowed(values).dtype == np.float32
    assert narrowed(np.full((2, 2), 0.1)).dtype == np.float32
    assert np.isnan(narrowed(np.array([[np.nan, 1.0], [2.0, np.inf]]))[0, 0])


@pytest.mark.parametrize(("scale", "offset"), [(1e300, 0.0), (1e-9, 1e3)])
def test_narrowed__refuses_what_float32_would_blur(tmp_path, scale, offset):
    np.save(tmp_path / "a.npy", VOLUME * scale + offset)
    with pytest.raises(StackReadError, match=r"slice 0 \(.*a\.npy\) .* float64 values"):
        read_images(tmp_path / "a.npy", **GIVEN)["intensity"].compute()
