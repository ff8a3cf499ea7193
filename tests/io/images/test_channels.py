"""Files of several channels: one is chosen, or all are voltages; never the first in silence."""

import json

import h5py
import numpy as np
import pytest
from ome_types.model import OME, Channel, Image, Pixels, TiffData, UnitsLength
from PIL import Image as Pillow

from fibdask import (
    ConventionError,
    FibdaskWarning,
    RecipeError,
    StackReadError,
    open_stack,
    read_images,
)
from fibdask.io.images.channels import find_channel, named_voltages
from fibdask.run.cli import main
from fibdask.run.importing import import_images
from fibdask.run.proposing import propose_recipe
from tests.io.images import test_imaris
from tests.io.images.test_ome_zarr import write
from tests.io.naive import grey_volume

CHANNELS = grey_volume((2, 4, 5, 6))  # c, z, y, x
VOLTAGES = ["1.5 kV", "800V"]


def ome_tiff(path, names, volume=CHANNELS, *, order="XYCZT"):
    """Write pages by Pillow and their description by ome-types, with steps of 10, 5 and 4 nm."""
    count, depth, height, width = volume.shape
    pixels = Pixels(
        dimension_order=order,
        type="uint8",
        size_c=count,
        size_z=depth,
        size_t=1,
        size_y=height,
        size_x=width,
        physical_size_z=10.0,
        physical_size_z_unit=UnitsLength.NANOMETER,
        physical_size_y=0.005,  # in µm, where nothing else is said
        physical_size_x=40.0,
        physical_size_x_unit=UnitsLength.ANGSTROM,
        channels=[Channel(name=name, samples_per_pixel=1) for name in names],
        tiff_data_blocks=[TiffData(plane_count=count * depth)],
    )
    description = OME(images=[Image(pixels=pixels)]).to_xml().encode()
    planes = volume if order == "XYZCT" else volume.swapaxes(0, 1)
    first, *others = map(Pillow.fromarray, planes.reshape(-1, height, width))
    first.save(path, save_all=True, append_images=others, tiffinfo={270: description})
    return path


def ome_zarr(path, names):
    write(path, CHANNELS, axes="czyx")
    file = path / "zarr.json"
    told = json.loads(file.read_text())
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    told["attributes"]["ome"]["omero"] = {
        "channels": [{"label": name, "color": "FFFFFF", "window": window} for name in names]
    }
    file.write_text(json.dumps(told))
    return path


def imaris(path, names):
    return test_imaris.write(path, CHANNELS, names)


WRITERS = {"a.ome.tif": ome_tiff, "a.zarr": ome_zarr, "a.ims": imaris}


@pytest.fixture(params=WRITERS)
def written(request, tmp_path_factory):
    """Write a file with channels of these names, in a folder of its own."""
    name = request.param
    return lambda names: WRITERS[name](tmp_path_factory.mktemp("channels") / name, names)


@pytest.mark.parametrize(("wanted", "place"), [("BSE", 1), (0, 0), (1, 1)])
def test_read_images__a_channel_is_chosen_by_name_or_number(written, wanted, place):
    stack = read_images(written(["SE", "BSE"]), voltage=2, channel=wanted)
    np.testing.assert_array_equal(stack["intensity"], CHANNELS[[place]])
    assert json.loads(stack.attrs["header"])["detector"]["value"] == ["SE", "BSE"][place]
    for axis, spacing in {"z": 10, "y": 5, "x": 4}.items():
        assert np.diff(stack[axis]) == pytest.approx(spacing)


@pytest.mark.parametrize("order", ["XYCZT", "XYZCT"])
def test_ome_tiff__channels_are_told_apart_in_either_order(tmp_path, order):
    path = ome_tiff(tmp_path / "a.ome.tif", ["SE", "BSE"], order=order)
    stack = read_images(path, voltage=2, channel=1)
    np.testing.assert_array_equal(stack["intensity"][0, 1:3, 2:], CHANNELS[1, 1:3, 2:])


def test_read_images__several_channels_are_asked_for(written):
    path = written(["SE", "BSE"])
    with pytest.raises(StackReadError, match="it holds 2 channels, 0 'SE', 1 'BSE': choose one"):
        read_images(path, voltage=2)
    with pytest.raises(StackReadError, match="channel must be one of 0 'SE', 1 'BSE'; got 2"):
        read_images(path, voltage=2, channel=2)


def test_read_images__channels_that_are_voltages_are_all_read(written):
    stack = read_images(written(VOLTAGES))
    assert stack["voltage"].values.tolist() == [0.8, 1.5]
    np.testing.assert_array_equal(stack["intensity"], CHANNELS[::-1])


def test_read_images__channels_are_voltages_where_that_is_said(written):
    path = written(["Channel 1", "C:2/2"])
    stack = read_images({1: path, 3: path}, channel={1: "C:2/2", 3: "Channel 1"})
    np.testing.assert_array_equal(stack["intensity"], CHANNELS[::-1])
    with pytest.raises(ConventionError, match="channel is told for 1 kV; 3 kV needs one too"):
        read_images({1: path, 3: path}, channel={1: "C:2/2"})
    with pytest.raises(StackReadError, match="must have their own files or channels"):
        read_images({1: path, 3: path}, channel=0)


def test_read_images__channels_named_after_voltages_are_of_one_detector(written):
    for names in (["1kV SE", "3 kV SE"], ["1 keV", "3000 eV"], ["low", "high"], ["E1", "E2"]):
        path = written(names)
        stack = read_images({1: path, 3: path}, channel={1: 0, 3: 1})  # without a warning
        np.testing.assert_array_equal(stack["intensity"], CHANNELS)


def test_read_images__channels_of_two_detectors_are_told_and_none_recorded(written):
    path = written(["SE", "BSE"])
    with pytest.warns(FibdaskWarning, match="the voltages mix images: detector of .* says BSE"):
        stack = read_images({1: path, 3: path}, channel={1: 1, 3: 0})
    assert "detector" not in json.loads(stack.attrs["header"])


def test_import_images__takes_a_channel_for_each_voltage(written, tmp_path):
    path, out = str(written(["Channel 1", ""])), tmp_path / "out.zarr"
    import_images((path,), out, voltages=(1.0, 3.0), channels=("1", "Channel 1"))
    np.testing.assert_array_equal(open_stack(out)["intensity"], CHANNELS[::-1])
    with pytest.raises(RecipeError, match="2 --channel need as many --voltage; got 1"):
        import_images((path,), out, voltages=(1.0,), channels=("1", "Channel 1"))


def test_import__says_how_far_it_is_unless_it_is_to_be_quiet(written, tmp_path, capsys):
    path = str(written(["SE", "BSE"]))
    given = ["--voltage", "2", "--channel", "BSE"]
    main(["import", path, str(tmp_path / "a.zarr"), *given])
    assert capsys.readouterr().out.startswith("intensity: 1 run, 0 skipped, 0 failed in ")
    main(["import", path, str(tmp_path / "b.zarr"), *given, "--quiet"])
    assert capsys.readouterr().out == ""
    np.testing.assert_array_equal(open_stack(tmp_path / "b.zarr")["intensity"], CHANNELS[1:])


def test_propose_recipe__takes_channels(written, tmp_path):
    text, needed = propose_recipe([str(written(VOLTAGES))], tmp_path / "recipe.toml")
    assert "# its channels are those of 0.8, 1.5 kV" in text
    assert not needed
    text, needed = propose_recipe([str(written(["SE", "BSE"]))], tmp_path / "r.toml", channel="1")
    assert "channel = 1" in text
    assert needed == ["voltage"]


def test_hdf5__channels_that_ilastik_declares_are_chosen(tmp_path):
    tags = {"axes": [{"key": axis} for axis in "zyxc"]}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("raw", data=np.moveaxis(CHANNELS, 0, -1), chunks=(2, 5, 6, 2))
        data.attrs["axistags"] = json.dumps(tags)
    given = {"voltage": 2, "pixel_size": 5, "slice_thickness": 10}
    with pytest.raises(StackReadError, match="it holds 2 channels, 0, 1: choose one"):
        read_images(tmp_path / "a.h5", **given)
    stack = read_images(tmp_path / "a.h5", channel=1, **given)
    np.testing.assert_array_equal(stack["intensity"][0], CHANNELS[1])


def test_read_images__formats_without_channels_take_none(tmp_path):
    np.save(tmp_path / "a.npy", CHANNELS[0])
    with pytest.raises(ConventionError, match=r"channel is for files of .*; got 1 with \.npy"):
        read_images(tmp_path / "a.npy", voltage=2, pixel_size=5, slice_thickness=10, channel=1)


@pytest.mark.parametrize("names", [["1 kV"], ["1 kV", "1.0 kV"], ["1 kV", "BSE"], ["", ""]])
def test_named_voltages__are_none_unless_all_channels_tell_another(names):
    assert named_voltages(names) == {}


def test_find_channel__a_name_that_two_have_is_refused():
    with pytest.raises(ValueError, match="channel must be one of 0 'A', 1 'A'; got 'A'"):
        find_channel(["A", "A"], "A")
