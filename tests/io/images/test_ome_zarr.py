"""Images in OME-Zarr, of which another library knows that they are valid."""

import json

import numpy as np
import pytest
import zarr
from ome_zarr_models.v04 import Image as Image04
from ome_zarr_models.v05 import Image as Image05

from fibdask import open_stack, save_stack
from fibdask.conventions import ConventionError, FibdaskWarning, StackReadError
from fibdask.io.images.read import read_images
from fibdask.run.importing import import_images
from tests.io.naive import grey_volume

VOLUME = grey_volume((4, 5, 6))
VALIDATED = {"0.4": Image04, "0.5": Image05}
UNITS = {"z": "micrometer", "y": "nanometer", "x": "angstrom"}


def write(path, volume=VOLUME, *, version="0.5", axes="zyx", units=UNITS, whole=None, **options):
    """Write two levels of an image with steps of 10, 5 and 4 nm along z, y and x."""
    form = 2 if version == "0.4" else 3
    group = zarr.create_group(path, zarr_format=form)
    steps = {"z": 0.010, "y": 5.0, "x": 40.0}
    scale = [steps.get(axis, 1.0) for axis in axes]
    datasets = []
    for level, values in (("0", volume), ("1", volume[..., ::2, ::2])):
        chunks = options.get("chunks", values.shape)
        names = {} if form == 2 else {"dimension_names": list(axes)}
        kind = {"shape": values.shape, "dtype": values.dtype, "chunks": chunks}
        group.create_array(level, **kind, **names)[...] = values
        finer = np.array([2 if level == "1" and axis in "yx" else 1 for axis in axes])
        transformations = [{"type": "scale", "scale": list(map(float, scale * finer))}]
        datasets.append({"path": level, "coordinateTransformations": transformations})
    types = {"c": "channel", "t": "time"}
    listed = [{"name": axis, "type": types.get(axis, "space")} for axis in axes]
    for axis in listed:
        axis |= {"unit": units[axis["name"]]} if axis["name"] in units else {}
    image = {"axes": listed, "datasets": datasets}
    if whole is not None:
        image["coordinateTransformations"] = [{"type": "scale", "scale": whole}]
    if version == "0.4":
        group.attrs["multiscales"] = [image | {"version": "0.4"}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    VALIDATED[version].from_zarr(zarr.open_group(path, mode="r"))
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(("axes", "chunks"), [("zyx", (2, 3, 6)), ("tczyx", (1, 1, 3, 5, 4))])
def test_ome_zarr__values_axes_and_lengths_are_read(tmp_path, version, axes, chunks):
    volume = VOLUME.reshape((1,) * (len(axes) - 3) + VOLUME.shape)
    path = write(tmp_path / "a.zarr", volume, version=version, axes=axes, chunks=chunks)
    stack = read_images(path, voltage=1.0)
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME)
    np.testing.assert_array_equal(stack["intensity"][0, 1:4, 2:, 1:3], VOLUME[1:4, 2:, 1:3])
    for axis, spacing in {"z": 10, "y": 5, "x": 4}.items():
        assert np.diff(stack[axis]) == pytest.approx(spacing)


def test_ome_zarr__scales_of_a_level_and_of_all_multiply(tmp_path):
    stack = read_images(write(tmp_path / "a.zarr", whole=[2.0, 1.0, 3.0]), voltage=1.0)
    assert [float(stack[axis][1]) for axis in "zyx"] == pytest.approx([20, 5, 12])


def test_ome_zarr__is_imported(tmp_path):
    path = str(write(tmp_path / "a.zarr"))
    import_images((path,), tmp_path / "b.zarr", voltages=(2.0,))
    np.testing.assert_array_equal(open_stack(tmp_path / "b.zarr")["intensity"][0], VOLUME)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({}, "OME-Zarr scale of y is not taken: it has no unit"),
        (UNITS | {"x": "parsec"}, "its unit 'parsec' is no known length"),
    ],
)
def test_ome_zarr__scales_without_a_length_are_asked_for(tmp_path, units, message):
    with pytest.raises(ConventionError, match=message):
        read_images(write(tmp_path / "a.zarr", units=units), voltage=1.0)


def rewrite(path, change):
    """Change what an image of version 0.5 tells of itself."""
    attrs = json.loads((path / "zarr.json").read_text())
    change(attrs["attributes"]["ome"]["multiscales"][0])
    (path / "zarr.json").write_text(json.dumps(attrs))
    return path


@pytest.mark.parametrize(
    ("transformations", "message"),
    [
        (None, "OME-Zarr tells no scale"),
        ([{"type": "identity"}], "OME-Zarr tells no scale"),
        ([{"type": "translation", "translation": [0, 0, 0]}], "OME-Zarr tells no scale"),
        ([{"type": "affine", "affine": np.eye(3, 4).tolist()}], "affine, which is not read"),
        ([{"type": "scale", "scale": [2.0]}], r"must have 3 numbers, .* got \[\[2.0\]\]"),
        ([{"type": "scale", "path": "scale"}], r"must have 3 numbers, .* got \[None\]"),
    ],
)
def test_ome_zarr__sizes_without_a_scale_are_asked_for(tmp_path, transformations, message):
    told = {} if transformations is None else {"coordinateTransformations": transformations}
    path = rewrite(
        write(tmp_path / "a.zarr"), lambda image: image.update(datasets=[{"path": "0"} | told])
    )
    with pytest.raises(ConventionError, match=f"pixel_size is needed: .*{message}"):
        read_images(path, voltage=1.0)
    with pytest.raises(ConventionError, match=f"slice_thickness is needed: .*{message}"):
        read_images(path, voltage=1.0, pixel_size=4.0)
    stack = read_images(path, voltage=1.0, pixel_size=4.0, slice_thickness=10.0)
    assert float(stack["z"][1]) == 10


def test_ome_zarr__finest_level_is_read_wherever_it_is_listed(tmp_path):
    path = rewrite(write(tmp_path / "a.zarr"), lambda image: image["datasets"].reverse())
    stack = read_images(path, voltage=1.0)
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME)
    assert float(stack["x"][1]) == pytest.approx(4)


def test_ome_zarr__levels_without_scales_are_told(tmp_path):
    path = rewrite(
        write(tmp_path / "a.zarr"),
        lambda image: image.update(datasets=[{"path": "1"}, {"path": "0"}]),
    )
    with pytest.warns(FibdaskWarning, match="its 2 levels tell no scales .*; 1, the first, is"):
        read_images(path, voltage=1.0, pixel_size=4.0, slice_thickness=10.0)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"version": "0.3", "axes": ["z", "y", "x"]}, "0.3, and its axes have none"),
        ({"version": "0.1", "axes": None}, "0.1, and its axes have none"),
        ({"datasets": [{}]}, "0.5, and its datasets have none"),
    ],
)
def test_ome_zarr__versions_that_name_no_axes_are_refused(tmp_path, told, message):
    path = rewrite(write(tmp_path / "a.zarr"), lambda image: image.update(told))
    with pytest.raises(StackReadError, match=f"read of versions 0.4 and 0.5, .* {message}"):
        read_images(path, voltage=1.0)


def test_ome_zarr__several_times_are_refused(tmp_path):
    path = write(tmp_path / "a.zarr", np.stack([VOLUME, VOLUME]), axes="tzyx")
    text = "its axes are t, z, y, x of lengths 2, 4, 5, 6; a stack has z, y, x"
    with pytest.raises(StackReadError, match=text):
        read_images(path, voltage=1.0)


def test_ome_zarr__chunks_that_were_not_written_are_told(tmp_path):
    path = write(tmp_path / "a.zarr", chunks=(1, 5, 6))
    (path / "0" / "c" / "2" / "0" / "0").unlink()
    with pytest.warns(FibdaskWarning, match="read as 0: 3 of 4 chunks were written"):
        read_images(path, voltage=1.0)


def test_ome_zarr__pixels_elsewhere_are_refused(tmp_path):
    write(tmp_path / "other.zarr")
    path = write(tmp_path / "a.zarr")
    attrs = json.loads((path / "zarr.json").read_text())
    attrs["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = "../other.zarr/0"
    (path / "zarr.json").write_text(json.dumps(attrs))
    with pytest.raises(StackReadError, match="outside its folder"):
        read_images(path, voltage=1.0)


def test_ome_zarr__stacks_of_ours_are_stacks(tmp_path):
    images = read_images(write(tmp_path / "a.zarr"), voltage=1.0)
    store = save_stack(images, tmp_path / "b.zarr")
    assert "ome" in zarr.open_group(store, mode="r").attrs
    assert open_stack(store).sizes == images.sizes
    with pytest.raises(StackReadError, match="is no store of a stack; images are read by"):
        open_stack(tmp_path / "a.zarr")


def test_ome_zarr__chunks_that_change_make_another_stack(tmp_path):
    path = write(tmp_path / "a.zarr")
    before = read_images(path, voltage=1.0)["intensity"].data.name
    assert read_images(path, voltage=1.0)["intensity"].data.name == before
    zarr.open_group(path)["0"][0, 0, 0] = 77
    assert read_images(path, voltage=1.0)["intensity"].data.name != before
