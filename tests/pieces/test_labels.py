"""Painted slices: read as they come, and refused where they do not fit their stack."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from fibdask.conventions import (
    ConventionError,
    FibdaskWarning,
    StackReadError,
    build_stack,
    record_step,
)
from fibdask.io import open_stack, read_images, save_stack
from fibdask.pieces.labels import UNLABELLED, CutSlice, Sheet, probed, read_painted
from fibdask.pieces.labels.painted import label_attributes
from tests.io.naive import write_slices

SHAPE = (6, 8, 10)


@pytest.fixture
def stack():
    grey = np.random.default_rng(0).integers(0, 255, (1, *SHAPE), np.uint8)
    z = 20.0 * np.arange(SHAPE[0])
    return build_stack(
        {"intensity": grey}, z=z, pixel_size=(5, 5), nominal_thickness=20, voltage=np.array([2.0])
    )


def scribbles(first=0):
    """Some pixels of two classes, the first of them painted as `first`, the others 255."""
    painted = np.full(SHAPE[1:], UNLABELLED, np.uint8)
    painted[1, :5], painted[4, 2:] = first, first + 1
    return painted


def write(path, image):
    if path.suffix == ".tif":
        tifffile.imwrite(path, image, photometric="minisblack")
    elif path.suffix == ".png":
        Image.fromarray(image).save(path)
    elif path.suffix == ".zarr":
        zarr.save_array(path, image)
    else:
        np.save(path, image)
    return path


@pytest.mark.parametrize("kind", ["tif", "png", "npy"])
def test_read_painted__takes_slices_by_the_number_in_their_name(stack, tmp_path, kind):
    write(tmp_path / f"slice_0004_2kV.{kind}", scribbles())
    write(tmp_path / f"x1_mask_2.{kind}", scribbles())
    painted = read_painted(tmp_path, stack)
    assert painted.slices.tolist() == [2, 4]
    assert painted.names == ("pore", "solid")
    np.testing.assert_array_equal(painted.classes[1], scribbles())


@pytest.mark.parametrize("kind", ["tif", "npy", "zarr"])
def test_read_painted__takes_the_slices_of_a_whole_stack_in_which_something_is(
    stack, tmp_path, kind
):
    volume = np.full(SHAPE, UNLABELLED, np.uint8)
    volume[3] = scribbles()
    painted = read_painted(write(tmp_path / f"labels.{kind}", volume), stack)
    assert painted.slices.tolist() == [3]


def test_read_painted__takes_all_pages_that_were_appended_one_by_one(stack, tmp_path):
    with tifffile.TiffWriter(tmp_path / "labels_2.tif") as writer:
        for number in range(SHAPE[0]):
            writer.write(scribbles() if number in (3, 5) else np.full_like(scribbles(), 255))
        writer.write(np.zeros((4, 5, 3), np.uint8))  # a preview, say
    assert read_painted(tmp_path, stack).slices.tolist() == [3, 5]


def test_read_painted__finds_slices_by_their_depth(stack, tmp_path):
    write(tmp_path / "mark_z60nm.tif", scribbles())
    assert read_painted(tmp_path, stack).slices.tolist() == [3]
    write(tmp_path / "mark_z47nm.tif", scribbles())
    with pytest.raises(ConventionError, match="depth of 47 nm; the nearest slice, 2, lies at 40"):
        read_painted(tmp_path, stack)


@pytest.mark.parametrize(
    "name", ["paintZ-40nm", "z_-0.04um", "3_depth=-0,04µm", "slice_1_z-40,0 nm"]
)
def test_read_painted__finds_slices_by_depths_above_zero_and_in_micrometres(stack, tmp_path, name):
    above = stack.assign_coords(z=stack["z"] - 60)
    write(tmp_path / f"{name}.tif", scribbles())
    assert read_painted(tmp_path, above).slices.tolist() == [1]


def of_files(stack, first, last, place, **more):
    """The stack, as it is read of images of such names."""
    files = {"count": SHAPE[0], "first": first, "last": last, "from": f"the number in {place}"}
    return stack.assign_attrs(header=json.dumps({"files": files | more}))


@pytest.mark.parametrize("name", ["slice_003.tif", "Slice_003_labels.tif", "slice_003_8bit_v2.png"])
def test_read_painted__takes_names_of_images_for_these(stack, tmp_path, name):
    write(tmp_path / name, scribbles())
    whole = of_files(stack, "slice_001.tif", "slice_006.tif", "slice_[001]")
    assert read_painted(tmp_path, whole).slices.tolist() == [2]
    gaps = of_files(stack, "slice_000.tif", "slice_009.tif", "slice_[000]", missing="1-2, 4, 7")
    assert read_painted(tmp_path, gaps).slices.tolist() == [1]


@pytest.mark.parametrize("name", ["labels_v2.tif", "mask 4bit.tif", "mask_2kV.tif", "y2.tif"])
def test_read_painted__refuses_names_whose_only_number_is_none_of_a_slice(stack, tmp_path, name):
    write(tmp_path / name, scribbles())
    with pytest.raises(ConventionError, match="must hold its number, such as slice_0047"):
        read_painted(tmp_path, stack)


@pytest.mark.parametrize("name", ["gold_003-1", "gold_003 labels2", "gold_003th1", "Gold_003 (1)"])
def test_read_painted__says_that_names_of_images_hold_more_numbers(stack, tmp_path, name):
    write(tmp_path / f"{name}.tif", scribbles())
    whole = of_files(stack, "gold_000.tif", "gold_005.tif", "gold_[000]")
    with pytest.warns(FibdaskWarning, match="taken for image 3, slice 3 .* name it "):
        assert read_painted(tmp_path, whole).slices.tolist() == [3]
    (tmp_path / f"{name}.tif").rename(tmp_path / "gold_2kV_slice_4_of_99.tif")
    assert read_painted(tmp_path, whole).slices.tolist() == [4]


def test_read_painted__numbers_of_images_may_lie_far_apart(stack, tmp_path):
    write(tmp_path / "i_20261130.tif", scribbles())
    names = ("i_1.tif", "i_999999999999.tif", "i_[1]")
    far = of_files(stack, *names, missing="3-20261129, 20261133-999999999998")
    assert read_painted(tmp_path, far).slices.tolist() == [2]


def test_read_painted__finds_images_as_their_stack_was_read(tmp_path):
    folder = write_slices(
        tmp_path / "images", np.zeros(SHAPE, np.uint8), numbers=[1, 2, 4, 5, 6, 7]
    )
    with pytest.warns(FibdaskWarning, match="3 .*missing"):
        told = read_images(folder, voltage=2, pixel_size=5, slice_thickness=20)
    kept = open_stack(save_stack(told, tmp_path / "stack.zarr"))
    painted = write(tmp_path / "slice_4.tif", scribbles())
    assert read_painted(painted, kept).slices.tolist() == [2]


def test_read_painted__takes_the_number_of_a_name_that_counts(stack, tmp_path):
    write(tmp_path / "Au[2]_2kV_12_of_99.tif", scribbles())
    names = ("Au[2]_2kV_8_of_99.tif", "Au[2]_2kV_13_of_99.tif", "Au[2]_2kV_[8]_of_99")
    assert read_painted(tmp_path, of_files(stack, *names)).slices.tolist() == [4]


def test_read_painted__refuses_names_of_images_that_there_are_not(stack, tmp_path):
    write(tmp_path / "slice_000.tif", scribbles())
    names = ("slice_001.tif", "slice_006.tif", "slice_[001]")
    with pytest.raises(ConventionError, match="of which none has the number 0: they begin with"):
        read_painted(tmp_path, of_files(stack, *names))


@pytest.mark.parametrize("change", ["skipped", "cut", "moved", "times"])
def test_read_painted__refuses_names_of_images_that_tell_no_slice(stack, tmp_path, change):
    write(tmp_path / "slice_002.tif", scribbles())
    last = "slice_009.tif" if change == "skipped" else "slice_006.tif"
    told = of_files(stack, "slice_001.tif", last, "slice_[001]")
    if change == "moved":
        told = record_step(told, "reposition_slices", {}, "")
    if change == "times":
        told.attrs["header"] = told.attrs["header"].replace("the number in", "the time in")
    with pytest.raises(ConventionError, match=r"it is not known .* name it by its depth"):
        read_painted(tmp_path, told.isel(z=slice(4)) if change == "cut" else told)


def test_read_painted__says_where_a_number_may_be_that_of_another_image(stack, tmp_path):
    write(tmp_path / "paint_2.tif", scribbles())
    whole = of_files(stack, "slice_0001.tif", "slice_0006.tif", "slice_[0001]")
    with pytest.warns(FibdaskWarning, match="slice 2 of the stack.*whose image has the number 3"):
        assert read_painted(tmp_path, whole).slices.tolist() == [2]
    cut = write(tmp_path / "slice_0002.tif", scribbles())
    with pytest.warns(FibdaskWarning, match=r"slice 1 of the stack.*if it is slice 2, as `fibdask"):
        assert read_painted(cut, whole).slices.tolist() == [1]


def cut_folder(stack, folder, *numbers):
    """A folder for labels of slices that were cut, as `fibdask labels` makes it."""
    cut = [
        CutSlice(k, 20.0 * k, "even", probed(stack["intensity"].values[:, k]).tolist())
        for k in numbers
    ]
    replace(Sheet.of(stack, "mine", first=0), slices=tuple(cut)).write(folder)
    (folder / "labels").mkdir()
    return folder / "labels"


def test_read_painted__finds_the_sheet_beside_what_is_painted(stack, tmp_path):
    file = write(cut_folder(stack, tmp_path, 2) / "slice_0002.tif", scribbles())
    whole = of_files(stack, "slice_0001.tif", "slice_0006.tif", "slice_[0001]")
    for path in (tmp_path, file.parent, file):
        assert read_painted(path, whole).slices.tolist() == [2]


def test_read_painted__takes_names_of_images_beside_a_sheet_for_these(stack, tmp_path):
    folder = cut_folder(stack, tmp_path, 1, 2)
    write(folder / "gold_003_labels.tif", scribbles())
    write(folder / "slice_0001.tif", scribbles())
    whole = of_files(stack, "gold_001.tif", "gold_006.tif", "gold_[001]")
    assert read_painted(tmp_path, whole).slices.tolist() == [1, 2]


def test_read_painted__refuses_names_of_images_that_may_be_of_slices_cut_before(stack, tmp_path):
    write(cut_folder(stack, tmp_path, 2) / "slice_0003.tif", scribbles())
    whole = of_files(stack, "slice_0001.tif", "slice_0006.tif", "slice_[0001]")
    with pytest.raises(ConventionError, match=r"slice 2 of the stack, or slice 3, which was not c"):
        read_painted(tmp_path, whole)


@pytest.mark.parametrize(
    "name",
    [
        "gold_xyz20nm_slice_003",
        "paint_003_v2",
        "003_labels_8bit",
        "003_8-bit",
        "p3_version 2_2.5kV",
        "3_x20_y100_wd5",
    ],
)
def test_read_painted__takes_no_other_number_for_that_of_a_slice(stack, tmp_path, name):
    write(tmp_path / f"{name}.tif", scribbles())
    assert read_painted(tmp_path, stack).slices.tolist() == [3]


@pytest.mark.parametrize("name", ["z-60nm", "z_-0.06um"])
def test_read_painted__takes_a_dash_before_depths_from_zero_on_for_no_minus(stack, tmp_path, name):
    write(tmp_path / f"{name}.tif", scribbles())
    assert read_painted(tmp_path, stack).slices.tolist() == [3]


def test_read_painted__takes_all_of_a_stack_of_one_slice_under_any_name(stack, tmp_path):
    for name, painted in (("paint.tif", scribbles()), ("volume_7.npy", scribbles()[np.newaxis])):
        file = write(tmp_path / name, painted)
        assert read_painted(file, stack.isel(z=[2])).slices.tolist() == [0]


def test_read_painted__refuses_a_slice_that_is_not_measured(stack, tmp_path):
    gap = stack.assign_coords(measured=("z", np.arange(SHAPE[0]) != 3))
    for number in (2, 3):
        write(tmp_path / f"slice_{number}.tif", scribbles())
    with pytest.raises(ConventionError, match="slice 3 is painted, but not measured"):
        read_painted(tmp_path, gap)


def test_read_painted__takes_zero_for_not_labelled_where_that_is_stated(stack, tmp_path):
    layer = scribbles(first=1)
    layer[layer == UNLABELLED] = 0
    write(tmp_path / "slice_1.tif", layer)
    with pytest.raises(ConventionError, match="values 0, 1, 2 and not 255: state what is not"):
        read_painted(tmp_path, stack)
    stated = read_painted(tmp_path, stack, unlabelled=0)
    np.testing.assert_array_equal(stated.classes[0], scribbles())


def test_read_painted__takes_zeros_and_ones_for_pore_and_solid(stack, tmp_path):
    write(tmp_path / "slice_1.tif", np.eye(*SHAPE[1:], dtype=np.uint8))
    np.testing.assert_array_equal(read_painted(tmp_path, stack).classes[0], np.eye(*SHAPE[1:]))


def test_read_painted__refuses_masks_and_says_what_makes_labels_of_them(stack, tmp_path):
    mask = 255 * np.eye(*SHAPE[1:], dtype=np.uint8)
    write(tmp_path / "slice_1.tif", mask)
    with pytest.raises(ConventionError, match=r"or, if it is a mask, divide it by 255 \(Fiji"):
        read_painted(tmp_path, stack)
    with pytest.raises(ConventionError, match="hold pore only: paint some solid"):
        read_painted(tmp_path, stack, unlabelled=255)
    write(tmp_path / "slice_1.tif", mask // 255)
    np.testing.assert_array_equal(read_painted(tmp_path, stack).classes[0], np.eye(*SHAPE[1:]))


def test_read_painted__says_where_masks_lie_among_scribbles(stack, tmp_path):
    mask = 255 * np.eye(*SHAPE[1:], dtype=np.uint8)
    write(tmp_path / "slice_1.tif", mask)
    with pytest.raises(StackReadError, match=r"slice 1 holds 0 and 255 alone.*add 1 \(Fiji"):
        read_painted(tmp_path, stack, unlabelled=0)
    write(tmp_path / "slice_4.tif", scribbles())
    with pytest.warns(FibdaskWarning, match="slice 1 of .* 255 is taken for not labelled: if it"):
        assert len(read_painted(tmp_path, stack).slices) == 2
    assert len(read_painted(tmp_path, stack, unlabelled=255).slices) == 2


def layer(kind=np.uint8):
    """What programs say that count classes from 1, and 0 is not labelled."""
    painted = scribbles(first=1)
    return np.where(painted == UNLABELLED, 0, painted).astype(kind)


def ilastik(path, image, axes, name="exported_data"):
    """Write a file as ilastik exports it."""
    tags = {"axes": [{"key": axis, "typeFlags": 2} for axis in axes]}
    with h5py.File(path, "w") as file:
        data = file.create_dataset(name, data=image, chunks=True, compression="gzip")
        data.attrs["axistags"] = json.dumps(tags)


@pytest.mark.parametrize(("axes", "order"), [("tzyxc", (0, 1, 2)), ("xyzc", (2, 1, 0))])
def test_read_painted__takes_volumes_of_ilastik_by_their_axes(stack, tmp_path, axes, order):
    volume = np.zeros(SHAPE, np.uint8)
    volume[3] = layer()
    image = volume.transpose(order)[..., np.newaxis]
    ilastik(tmp_path / "x.h5", image[np.newaxis] if axes[0] == "t" else image, axes)
    painted = read_painted(tmp_path / "x.h5", stack, unlabelled=0)
    assert painted.slices.tolist() == [3]
    np.testing.assert_array_equal(painted.classes[0], scribbles())


@pytest.mark.parametrize("kind", ["h5", "npy", "tif"])
def test_read_painted__takes_slices_of_ilastik_and_layers_of_napari(stack, tmp_path, kind):
    path, image = tmp_path / f"slice_0004_Labels.{kind}", layer(np.int64)
    if kind == "h5":
        ilastik(path, image[..., np.newaxis], "yxc")
    else:
        write(path, image[..., np.newaxis] if kind == "npy" else image)
    painted = read_painted(tmp_path, stack, unlabelled=0)
    np.testing.assert_array_equal(painted.classes[0], scribbles())
    assert painted.slices.tolist() == [4]


def volume_of(image):
    """A whole stack in which one slice is painted."""
    volume = np.zeros(SHAPE, np.uint8)
    volume[3] = image
    return volume


@pytest.mark.parametrize("way", ["axes", "labels", "words", "slice"])
def test_read_painted__takes_hdf5_by_its_axes_as_images_are(stack, tmp_path, way):
    image = layer() if way == "slice" else volume_of(layer())
    with h5py.File(tmp_path / "slice_3.h5", "w") as file:
        data = file.create_dataset("painted", data=np.swapaxes(image, -1, -2))
        if way == "axes":
            data.attrs["axes"] = "zxy"
        elif way == "words":
            data.attrs["axes"] = ["Section", "column", "row"]
        else:
            for place, name in enumerate("xy" if way == "slice" else "zxy"):
                data.dims[place].label = name
    painted = read_painted(tmp_path / "slice_3.h5", stack, unlabelled=0)
    assert painted.slices.tolist() == [3]
    np.testing.assert_array_equal(painted.classes[0], scribbles())


@pytest.mark.parametrize("way", ["0.5", "0.4", "dimensions"])
def test_read_painted__takes_zarr_by_its_axes(stack, tmp_path, way):
    image = volume_of(layer()).swapaxes(1, 2)
    path = tmp_path / "painted.zarr"
    if way == "dimensions":
        zarr.create_array(path, data=image, dimension_names=("z", "x", "y"))
    else:
        group = zarr.open_group(path, mode="w", zarr_format=3 if way == "0.5" else 2)
        group.create_array("a", data=image[:, ::2, ::2])
        group.create_array("b", data=image)
        axes = [{"name": name, "type": "space"} for name in "zxy"]
        told = {"multiscales": [{"axes": axes, "datasets": [{"path": "b"}, {"path": "a"}]}]}
        group.attrs.update({"ome": told} if way == "0.5" else told)
    painted = read_painted(path, stack, unlabelled=0)
    np.testing.assert_array_equal(painted.classes[0], scribbles())


def test_read_painted__refuses_a_store_of_several_arrays(stack, tmp_path):
    phase = volume_of(layer())
    path = save_stack(
        stack.assign(phase=(("z", "y", "x"), (phase > 1).astype(np.uint8))), tmp_path / "s.zarr"
    )
    with pytest.raises(ConventionError, match="holds 2 arrays: intensity, phase; give one"):
        read_painted(path, stack)
    assert len(read_painted(path / "phase", stack).slices) == SHAPE[0]


def test_read_painted__refuses_probabilities_of_ilastik(stack, tmp_path):
    ilastik(tmp_path / "slice_1.h5", np.zeros((*SHAPE[1:], 2), np.float32), "yxc")
    with pytest.raises(ConventionError, match="along c 2, as probabilities do: export labels"):
        read_painted(tmp_path, stack)


@pytest.mark.parametrize(
    ("name", "text"), [("RoiSet.zip", "Create Mask"), ("seg.nii.gz", "open it in Fiji")]
)
def test_read_painted__says_which_files_it_does_not_read(stack, tmp_path, name, text):
    write(tmp_path / "slice_1.tif", scribbles())
    (tmp_path / name).write_bytes(b"")
    with pytest.warns(FibdaskWarning, match=f"{name} is not read .* {text}"):
        assert len(read_painted(tmp_path, stack).slices) == 1
    with pytest.raises(StackReadError, match=f"{name} is not read .* {text}"):
        read_painted(tmp_path / name, stack)


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        (
            "slice_1.tif",
            scribbles()[:-1],
            r"shape \(7, 10\); the images of the stack have \(8, 10\)",
        ),
        ("slice_6.tif", scribbles(), "painted for slice 6; the stack has slices 0 to 5"),
        ("slice_1.tif", np.where(scribbles() == 1, 0, scribbles()), "hold pore only; paint some"),
        ("slice_1.tif", np.where(scribbles() == 1, 77, scribbles()), "the unknown value 77"),
        ("slice.tif", scribbles(), "must hold its number"),
        ("slice_1.npy", scribbles() + 0.5, "painted values must be whole numbers"),
        ("slice_1.tif", np.zeros((4, *SHAPE[1:]), np.uint8), "holds 4 slices; it must hold all 6"),
        ("slice_1.png", np.zeros((*SHAPE[1:], 3), np.uint8), "is a picture in colours"),
    ],
)
def test_read_painted__refuses_what_does_not_fit(stack, tmp_path, name, image, message):
    write(tmp_path / name, image.astype(image.dtype if name.endswith("npy") else np.uint8))
    with pytest.raises(ConventionError, match=message):
        read_painted(tmp_path, stack)


def test_read_painted__refuses_a_slice_that_is_painted_twice(stack, tmp_path):
    write(tmp_path / "slice_1.tif", scribbles())
    write(tmp_path / "slice_001.png", scribbles())
    with pytest.raises(ConventionError, match=r"slice 1 is painted twice: in slice_001\.png"):
        read_painted(tmp_path, stack)


def test_read_painted__says_that_there_is_nothing(stack, tmp_path):
    with pytest.raises(StackReadError, match="nothing is painted"):
        read_painted(tmp_path, stack)
    with pytest.raises(StackReadError, match="do not exist"):
        read_painted(tmp_path / "none", stack)
    (tmp_path / "slice_1.tif").write_bytes(b"no image")
    with pytest.raises(StackReadError, match="cannot be read"):
        read_painted(tmp_path, stack)


def test_read_painted__reads_meanings_off_a_sheet(stack, tmp_path):
    Sheet.of(stack, "mine", ("pore", "solid", "curtain")).write(tmp_path)
    (tmp_path / "labels").mkdir()
    layer = scribbles(first=1)
    layer[layer == UNLABELLED], layer[7, 7] = 0, 3
    write(tmp_path / "labels" / "slice_0.tif", layer)
    painted = read_painted(tmp_path, stack)
    assert painted.names == ("pore", "solid", "curtain")
    assert painted.classes[0, 7, 7] == 2


@pytest.mark.parametrize("classes", [("pore", "", "solid"), ("pore", "solid", " ")])
def test_sheet__refuses_classes_without_a_name(stack, tmp_path, classes):
    with pytest.raises(ConventionError, match=r"must have a name.* is there a comma"):
        Sheet.of(stack, "mine", classes).checked(tmp_path)


def test_label_attributes__hold_as_many_meanings_as_classes():
    names = ("pore", "pore\tback", "pore\u00a0below", "dark solid")
    meanings = label_attributes(names, ["#000000"] * 4)["flag_meanings"]
    assert str(meanings).split() == ["pore", "pore_back", "pore_below", "dark_solid"]


def test_read_painted__refuses_the_sheet_of_a_stack_of_another_size(stack, tmp_path):
    Sheet.of(stack, "mine").write(tmp_path)
    with pytest.raises(
        ConventionError, match=r"of another stack, mine: .* \[6, 8, 10\], .* \[5, 8"
    ):
        read_painted(tmp_path, stack.isel(z=slice(1, None)))


def test_drawn__takes_rare_classes_too_and_the_same_pixels_each_time(stack, tmp_path):
    volume = np.zeros(SHAPE, np.uint8)
    volume[:, 0, 0] = 1
    painted = read_painted(write(tmp_path / "v.npy", volume), stack)
    pixels, classes = painted.drawn(60, seed=1)
    assert classes.shape == (6, 10)
    assert (classes == 1).sum(axis=1).tolist() == [1] * 6
    np.testing.assert_array_equal(painted.drawn(60, seed=1)[0], pixels)
    np.testing.assert_array_equal(volume.reshape(6, -1)[np.arange(6)[:, None], pixels], classes)


def test_read_painted__refuses_codecs_that_run_code(stack, tmp_path):
    array = {
        "zarr_format": 2,
        "shape": SHAPE,
        "chunks": SHAPE,
        "dtype": "|O",
        "compressor": None,
        "fill_value": None,
        "order": "C",
        "filters": [{"id": "pickle"}],
    }
    (tmp_path / "labels.zarr").mkdir()
    (tmp_path / "labels.zarr" / ".zarray").write_text(json.dumps(array))
    with pytest.raises(StackReadError, match="its codec 'pickle' may run code"):
        read_painted(tmp_path / "labels.zarr", stack)


def test_read_painted__refuses_a_hostile_size_before_it_takes_memory(stack, tmp_path):
    with (tmp_path / "slice_1.npy").open("wb") as file:
        told = {"descr": "|u1", "fortran_order": False, "shape": (2**20, 2**20)}
        np.lib.format.write_array_header_1_0(file, told)
        file.truncate(file.tell() + 2**40)
    with pytest.raises(ConventionError, match="more pixels than the stack"):
        read_painted(tmp_path, stack)
