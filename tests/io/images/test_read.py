"""read_images: what becomes a stack, from where its values come, and what is refused."""

import pickle
import shutil
import warnings

import h5py
import numpy as np
import pytest
import tifffile
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fibdask.blocks import origin, whole
from fibdask.conventions import (
    ConventionError,
    FibdaskWarning,
    StackReadError,
    recorded_steps,
    validate_stack,
)
from fibdask.io.images.read import read_images
from tests.io.naive import grey_volume, naive_gap_positions, taken, write_dat, write_slices

GIVEN = {"voltage": 2.0, "pixel_size": (4.0, 5.0), "slice_thickness": 10.0}


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_read_images__folder_equals_what_was_written(tmp_path, suffix):
    volume = grey_volume((12, 7, 9))
    stack = read_images(write_slices(tmp_path, volume, suffix=suffix), **GIVEN)
    validate_stack(stack)
    np.testing.assert_array_equal(stack["intensity"].values[0], volume)
    np.testing.assert_allclose(stack["z"], np.arange(12) * 10.0)
    np.testing.assert_allclose(stack["y"], np.arange(7) * 4.0)
    np.testing.assert_allclose(stack["x"], np.arange(9) * 5.0)


def test_read_images__hidden_and_other_files_are_ignored(tmp_path):
    write_slices(tmp_path, grey_volume((2, 3, 3)))
    (tmp_path / ".slice_7.png").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    assert read_images(tmp_path, **GIVEN).sizes["z"] == 2
    assert read_images(tmp_path / "*", **GIVEN | {"slice_thickness": 1.0}).sizes["z"] == 2


def test_read_images__is_lazy_and_opens_only_needed_slices(tmp_path):
    volume = grey_volume((5, 4, 4))
    stack = read_images(write_slices(tmp_path, volume), **GIVEN)
    (tmp_path / "slice_4.png").unlink()
    np.testing.assert_array_equal(stack["intensity"][0, 1:3, 2:], volume[1:3, 2:])


def test_read_images__tasks_can_be_sent_to_other_processes(tmp_path):
    volume = grey_volume((3, 4, 4))
    source = origin(read_images(write_slices(tmp_path, volume), **GIVEN)["intensity"].data)
    sent = pickle.loads(pickle.dumps(source))
    region = (slice(0, 1), slice(1, 3), slice(0, 4), slice(2, 4))
    np.testing.assert_array_equal(sent.read(region, {})[0], volume[1:3, :, 2:])
    assert sent.token == source.token


def test_read_images__header_names_the_number_that_gave_the_order(tmp_path):
    write_slices(tmp_path, grey_volume((3, 3, 3)))
    record = taken(read_images(tmp_path, **GIVEN))
    assert record["files"]["from"] == "the number in slice_[0]"


def test_read_images__header_names_the_numbers_that_are_missing(tmp_path):
    write_slices(tmp_path, grey_volume((6, 3, 3)))
    for number in (1, 3, 4):
        (tmp_path / f"slice_{number}.png").unlink()
    with pytest.warns(FibdaskWarning, match="missing"):
        record = taken(read_images(tmp_path, **GIVEN))
    assert record["files"]["missing"] == "1, 3-4"


def test_read_images__doubtful_order_is_told(tmp_path):
    for second in (1, 11, 30):
        image = Image.fromarray(np.full((3, 3), second, np.uint8))
        image.save(tmp_path / f"a_1200{second:02}.png")
    with pytest.warns(FibdaskWarning, match="is taken for a time, which counts no slices"):
        stack = read_images(tmp_path, **GIVEN)
    np.testing.assert_array_equal(stack["intensity"][0, :, 0, 0], [1, 11, 30])
    np.testing.assert_allclose(stack["z"], [0.0, 10.0, 20.0])


@pytest.mark.parametrize("given", [{"slice_thickness": 20.0}, {"z": [0.0, 20.0, 45.0]}])
def test_read_images__depths_in_names_against_those_given_are_told(tmp_path, given):
    for depth in (0.02, 0.04, 0.0505):
        Image.fromarray(grey_volume((3, 3))).save(tmp_path / f"a_z={depth}um.png")
    with pytest.warns(FibdaskWarning, match="file names span 30.5 nm, argument .* spans 4"):
        read_images(tmp_path, voltage=2.0, pixel_size=4.0, **given)


def test_read_images__missing_slice_is_a_gap(tmp_path):
    numbers = [3, 4, 7, 8, 10, 12]
    write_slices(tmp_path, grey_volume((6, 3, 3)), numbers=numbers)
    with pytest.warns(FibdaskWarning, match=r"slices 5-6, 9, 11 are missing"):
        stack = read_images(tmp_path, **GIVEN)
    np.testing.assert_allclose(stack["z"], naive_gap_positions(numbers, 10.0))


def test_read_images__thickness_of_each_slice_counts_missing_ones(tmp_path):
    write_slices(tmp_path, grey_volume((3, 3, 3)), numbers=[0, 1, 3])
    thickness = [10.0, 11.0, 12.0, 13.0]
    with pytest.warns(FibdaskWarning, match="slices 2 are missing"):
        stack = read_images(tmp_path, **GIVEN | {"slice_thickness": thickness})
    np.testing.assert_allclose(stack["z"], [0.0, 10.0, 33.0 - 12.0 + 12.0])
    np.testing.assert_allclose(stack["slice_thickness"], [10.0, 23.0, 13.0])
    with pytest.raises(ConventionError, match=r"each of 4 slices, of which 2 are missing"):
        read_images(tmp_path, **GIVEN | {"slice_thickness": thickness[:3]})


@pytest.mark.parametrize("wrong", [-0.8, 0.0, np.nan, [1.0, -0.8]])
def test_read_images__wrong_thickness_is_refused(tmp_path, wrong):
    write_slices(tmp_path, grey_volume((2, 3, 3)))
    with pytest.raises(ConventionError, match=r"slice_thickness must be .* slice \d has"):
        read_images(tmp_path, **GIVEN | {"slice_thickness": wrong})


def test_read_images__z_is_taken_and_must_increase(tmp_path):
    write_slices(tmp_path, grey_volume((3, 3, 3)))
    given = {"voltage": 2.0, "pixel_size": 4.0}
    np.testing.assert_allclose(read_images(tmp_path, z=[1, 3, 4.5], **given)["z"], [1, 3, 4.5])
    with pytest.raises(ConventionError, match="slice 2 has 3 nm after 3 nm"):
        read_images(tmp_path, z=[1, 3, 3], **given)
    with pytest.raises(ConventionError, match=r"each of 3 slices; got shape \(2,\)"):
        read_images(tmp_path, z=[1, 3], **given)
    with pytest.raises(ConventionError, match="not both"):
        read_images(tmp_path, z=[1, 3, 4], slice_thickness=1.0, **given)


def test_read_images__values_of_slices_are_refused_beside_a_list_in_another_order(tmp_path):
    files = sorted(write_slices(tmp_path / "s", grey_volume((3, 3, 3))).iterdir())
    given = {"voltage": 2.0, "pixel_size": 4.0}
    (tmp_path / "z.csv").write_text("z_nm\n0\n3\n20\n")
    (tmp_path / "numbered.csv").write_text("slice,z_nm\n0,0\n1,3\n2,20\n")
    upside_down = files[::-1]
    for values in ({"z": [0, 3, 20]}, {"slice_thickness": [3, 17, 9]}, {"z": tmp_path / "z.csv"}):
        assert read_images(files, **given, **values)["z"].values.tolist() == [0, 3, 20]
        with pytest.raises(ConventionError, match="a value for each slice, and in the list of"):
            read_images(upside_down, **given, **values)
    with pytest.warns(FibdaskWarning, match="puts them upside down, and is taken"):
        stack = read_images(upside_down, **given, z=tmp_path / "numbered.csv")
    np.testing.assert_array_equal(stack["intensity"][0], grey_volume((3, 3, 3)))


@pytest.mark.parametrize("name", ["voltage", "pixel_size", "slice_thickness"])
def test_read_images__says_which_argument_to_give(tmp_path, name):
    write_slices(tmp_path, grey_volume((2, 3, 3)))
    given = {key: value for key, value in GIVEN.items() if key != name}
    with pytest.raises(ConventionError, match=f"{name} is needed.*give {name}"):
        read_images(tmp_path, **given)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("voltage", -1, "-1 kV"),
        ("voltage", "high", "'high'"),
        ("voltage", True, "number of kV; got True"),
        ("pixel_size", True, "got True"),
        ("pixel_size", (True, 2), r"got \(True, 2\)"),
        ("slice_thickness", True, "numbers of nm; got True"),
        ("slice_thickness", [True, 2.0], r"numbers of nm; got \[True, 2.0\]"),
        ("crop", {"y": (True, 2)}, r"two whole numbers \(start, stop\); got \(True, 2\)"),
        ("pixel_size", 0, "got 0"),
        ("pixel_size", (1, 2, 3), r"got \(1, 2, 3\)"),
        ("crop", {"y": (2, 9)}, r"<= 3; got \(2, 9\)"),
        ("crop", {"z": (0, 1)}, "got z"),
        ("slice_thickness", "ten", "got 'ten'"),
        ("dataset", "a", "'a' with PNG"),
        ("detector", 1, "got 1"),
    ],
)
def test_read_images__wrong_values_are_refused(tmp_path, name, value, message):
    write_slices(tmp_path, grey_volume((2, 3, 3)))
    with pytest.raises(ConventionError, match=message):
        read_images(tmp_path, **GIVEN | {name: value})


def test_read_images__a_voltage_given_twice_is_refused(tmp_path):
    write_slices(tmp_path, grey_volume((2, 4, 4)))
    with pytest.raises(ConventionError, match="1 kV after 1 kV"):
        read_images({1: tmp_path, "1.0": tmp_path}, pixel_size=4.0, slice_thickness=1.0)


def test_read_images__voltages_are_sorted(tmp_path):
    low, high = grey_volume((3, 4, 4), seed=1), grey_volume((3, 4, 4), seed=2)
    sources = {5.0: write_slices(tmp_path / "b", high), "1.5": write_slices(tmp_path / "a", low)}
    stack = read_images(sources, pixel_size=4.0, slice_thickness=10.0)
    np.testing.assert_allclose(stack["voltage"], [1.5, 5.0])
    np.testing.assert_array_equal(stack["intensity"], [low, high])


@pytest.mark.parametrize(
    ("shape", "numbers", "message"),
    [
        ((3, 4, 4), None, "number of slices.*1 kV.*has 2.*5 kV.*has 3"),
        ((2, 4, 5), None, "shape and type.*4 x 4 uint8.*4 x 5 uint8"),
        ((2, 4, 4), [0, 2], "slice numbers.*0 to 1.*0 to 2 without 1"),
    ],
)
def test_read_images__voltages_must_match(tmp_path, shape, numbers, message):
    first = write_slices(tmp_path / "a", grey_volume((2, 4, 4)))
    other = write_slices(tmp_path / "b", grey_volume(shape), numbers=numbers)
    with pytest.raises(StackReadError, match=message):
        read_images({5: other, 1: first}, pixel_size=4.0, slice_thickness=10.0)


def test_read_images__voltage_beside_a_mapping_is_refused(tmp_path):
    with pytest.raises(ConventionError, match="keys of source"):
        read_images({1: tmp_path}, voltage=2.0)


def test_read_images__crop_cuts_pixels(tmp_path):
    volume = grey_volume((2, 6, 8))
    write_slices(tmp_path, volume)
    stack = read_images(tmp_path, crop={"y": (1, 5), "x": (2, 8)}, **GIVEN)
    np.testing.assert_array_equal(stack["intensity"][0], volume[:, 1:5, 2:8])
    assert float(stack["y"][0]) == 0.0


def test_read_images__differing_shape_or_type_names_both(tmp_path):
    write_slices(tmp_path, grey_volume((2, 4, 4)))
    write_slices(tmp_path, grey_volume((1, 4, 5)), numbers=[2])
    with pytest.raises(StackReadError, match=r"slice 2 .*slice_2.png.* is 4 x 5 .*slice 0"):
        read_images(tmp_path, **GIVEN)
    write_slices(tmp_path, grey_volume((1, 4, 4), np.uint16), numbers=[2])
    with pytest.raises(StackReadError, match=r"4 x 4 uint16.* 4 x 4 uint8"):
        read_images(tmp_path, **GIVEN)


def test_read_images__unreadable_header_names_the_slice(tmp_path):
    write_slices(tmp_path, grey_volume((3, 4, 4)))
    (tmp_path / "slice_1.png").write_bytes(b"not an image at all")
    with pytest.raises(StackReadError, match=r"slice 1 .*slice_1\.png\) cannot be read"):
        read_images(tmp_path, **GIVEN)


def test_read_images__truncated_tiff_is_refused_before_it_is_read(tmp_path):
    write_slices(tmp_path, grey_volume((3, 40, 40)), suffix=".tif")
    file = tmp_path / "slice_1.tif"
    file.write_bytes(file.read_bytes()[:-700])
    with pytest.raises(StackReadError, match=r"slice_1\.tif.*cannot be read"):
        read_images(tmp_path, **GIVEN)


def test_read_images__corrupt_pixels_name_the_slice_when_read(tmp_path):
    write_slices(tmp_path, grey_volume((3, 40, 40)))
    file = tmp_path / "slice_1.png"
    file.write_bytes(file.read_bytes()[:700])
    stack = read_images(tmp_path, **GIVEN)
    with pytest.raises(StackReadError, match=r"slice 1 .*slice_1\.png\) cannot be read"):
        stack["intensity"].compute()


def test_read_images__equal_channels_are_grey_unequal_are_refused(tmp_path):
    volume = grey_volume((2, 4, 4))
    write_slices(tmp_path, np.repeat(volume[..., np.newaxis], 3, axis=-1))
    np.testing.assert_array_equal(read_images(tmp_path, **GIVEN)["intensity"][0], volume)
    coloured = np.zeros((4, 4, 3), np.uint8)
    coloured[2, 1] = 5, 5, 6
    Image.fromarray(coloured).save(tmp_path / "slice_1.png")
    with pytest.raises(StackReadError, match=r"slice 1 .*pixel \(2, 1\) .* 5, 5, 6"):
        read_images(tmp_path, **GIVEN)["intensity"].compute()


@pytest.mark.parametrize(
    "wrap", [lambda array: array, xr.DataArray, lambda array: {2.0: array}, list]
)
def test_read_images__says_what_to_do_with_an_array(wrap):
    with pytest.raises(ConventionError, match=r"got numbers, .*written as \.npy"):
        read_images(wrap(grey_volume((3, 4, 4))), pixel_size=4, slice_thickness=4)


@pytest.mark.parametrize("dtype", [str, object])
def test_read_images__takes_an_array_of_names(tmp_path, dtype):
    write_slices(tmp_path, grey_volume((3, 4, 4)))
    files = np.array([str(file) for file in sorted(tmp_path.iterdir())], dtype)
    assert read_images(files, **GIVEN)["intensity"].sizes["z"] == 3


def test_read_images__refuses_depths_in_another_unit(tmp_path):
    np.save(tmp_path / "a.npy", grey_volume((3, 4, 4)))
    depths = xr.DataArray(np.arange(3) * 9.0, dims="z", attrs={"units": "um"})
    with pytest.raises(ConventionError, match="z must be in nm; its attribute units is 'um'"):
        read_images(tmp_path / "a.npy", voltage=2, pixel_size=4, z=depths)


def test_read_images__signed_integers_are_shifted(tmp_path):
    volume = grey_volume((3, 4, 4), np.int16)
    np.save(tmp_path / "a.npy", volume)
    stack = read_images(tmp_path / "a.npy", **GIVEN)
    assert stack["intensity"].dtype == np.uint16
    np.testing.assert_array_equal(stack["intensity"][0].astype(int), volume.astype(int) + 32768)
    assert taken(stack)["intensity"]["from"] == "int16 + 32768"


@pytest.mark.parametrize(("stored", "read"), [("f8", "float32"), ("?", "uint8"), (">u2", "uint16")])
def test_read_images__types_become_those_of_a_stack(tmp_path, stored, read):
    volume = grey_volume((3, 4, 4)).astype(stored)
    np.save(tmp_path / "a.npy", volume)
    stack = read_images(tmp_path / "a.npy", **GIVEN)
    assert stack["intensity"].dtype == read
    np.testing.assert_array_equal(stack["intensity"][0], volume)


@pytest.mark.parametrize("dtype", ["u4", "c8", "i8"])
def test_read_images__other_types_are_refused(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 4), dtype))
    with pytest.raises(StackReadError, match=f"a.npy must .* found {np.dtype(dtype).name}"):
        read_images(tmp_path / "a.npy", **GIVEN)


def test_read_images__header_says_what_was_given_and_what_was_found(tmp_path):
    path = tmp_path / "a.dat"
    write_dat(path, grey_volume((2, 4, 5), np.int16))
    record = taken(read_images(path, voltage=0.9, slice_thickness=10.0, detector="esb"))
    assert record["voltage"] == [{"value": 0.9, "units": "kV", "from": "argument voltage"}]
    assert record["pixel_size"]["from"] == "Janelia PixelSize"
    assert record["detector"]["value"] == "ESB"


def test_read_images__headers_that_change_between_slices_ask_for_the_argument(tmp_path):
    for k, unit in enumerate(["nm", "um"]):
        description = f"ImageJ=1.53\nunit={unit}\n"
        tifffile.imwrite(
            tmp_path / f"s{k}.tif",
            grey_volume((4, 4)),
            description=description,
            metadata=None,
            resolution=(0.5, 0.5),
            resolutionunit=1,
        )
    with pytest.raises(StackReadError, match=r"s0.tif says 2 x 2, s1.tif says 2000 x 2000 nm"):
        read_images(tmp_path, voltage=1.0, slice_thickness=5.0)
    with pytest.warns(FibdaskWarning) as caught:
        assert read_images(tmp_path, **GIVEN).sizes["z"] == 2
    texts = [str(warning.message) for warning in caught]
    assert texts[0].startswith("pixel_size 4 x 5 nm was given, s0.tif says 2 x 2 nm")
    assert "s1.tif says 2000 x 2000 nm" in texts[1]


def test_read_images__conflicts_warn_unless_the_value_is_given(tmp_path):
    path = tmp_path / "a.dat"
    write_dat(path, grey_volume((2, 4, 5), np.int16), notes="4nA @ 8nm, EHT 0.9kV")
    with pytest.warns(FibdaskWarning, match="PixelSize says 4, its note says 8"):
        read_images(path, slice_thickness=10.0, detector=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack = read_images(path, slice_thickness=10.0, detector=0, pixel_size=8.0)
    assert "its note says 8" in taken(stack)["conflicts"][0]


def test_read_images__fingerprint_follows_files_and_options(tmp_path):
    write_slices(tmp_path, grey_volume((2, 4, 4)))

    def token(**options):
        return origin(read_images(tmp_path, **GIVEN, **options)["intensity"].data).token

    first = token()
    assert token() == first
    assert token(crop={"y": (0, 3)}) != first
    write_slices(tmp_path, grey_volume((1, 4, 4), seed=9), numbers=[1])
    assert token() != first


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_read_images__any_region_equals_the_slice_of_the_whole(tmp_path_factory, data):
    shape = tuple(data.draw(st.integers(1, 6)) for _ in range(3))
    volume = grey_volume(shape, np.uint16)
    folder = tmp_path_factory.mktemp("slices")
    stack = read_images(write_slices(folder, volume, suffix=".tif"), **GIVEN)
    starts = [data.draw(st.integers(0, n - 1)) for n in shape]
    bounds = zip(starts, shape, strict=True)
    region = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in bounds)
    np.testing.assert_array_equal(stack["intensity"][0][region], volume[region])


@pytest.mark.filterwarnings("ignore:in the list of files")
@pytest.mark.parametrize("source", ["*_SE2.tif", ["a_1_SE2.tif", "a_0_SE2.tif"], "a_0_SE2.tif"])
def test_read_images__provenance_tells_how_to_read_the_same_again(tmp_path, monkeypatch, source):
    tmp_path = tmp_path / "day[1]"
    tmp_path.mkdir()
    for detector, seed in (("SE2", 1), ("ESB", 2)):
        for k, image in enumerate(grey_volume((2, 5, 6), seed=seed)):
            Image.fromarray(image).save(tmp_path / f"a_{k}_{detector}.tif")
    monkeypatch.chdir(tmp_path)
    crop = {"y": (1, 4), "x": (0, 6)}
    stack = read_images(source, **GIVEN | {"detector": "SE2", "crop": crop})
    told = recorded_steps(stack)[-1]["parameters"]
    monkeypatch.chdir("/")
    names = ("source", "pixel_size", "slice_thickness", "detector", "dataset", "crop")
    again = read_images(**{name: told[name] for name in names})
    xr.testing.assert_identical(again, stack)


def test_read_images__provenance_holds_dataset_table_and_voltages(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"], file["b"] = grey_volume((2, 4, 5)), grey_volume((2, 4, 5))
    (tmp_path / "z.csv").write_text("z_nm\n0\n10\n")
    shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")
    files = {2: tmp_path / "a.h5", 0.75: tmp_path / "b.h5"}
    stack = read_images(files, pixel_size=4, z=tmp_path / "z.csv", dataset="b")
    told = recorded_steps(stack)[-1]["parameters"]
    assert told["source"] == {"0.75": str(tmp_path / "b.h5"), "2": str(tmp_path / "a.h5")}
    assert (told["dataset"], told["z_file"]) == ("b", str(tmp_path / "z.csv"))


def test_read_images__workers_with_another_folder_read_relative_paths(tmp_path, monkeypatch):
    volume = grey_volume((3, 4, 5))
    write_slices(tmp_path / "s", volume)
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(origin(read_images("s", **GIVEN)["intensity"].data))
    monkeypatch.chdir("/")
    source = pickle.loads(sent)
    np.testing.assert_array_equal(source.read(whole(source.shape), {})[0], volume)


def test_read_images__two_voltages_of_the_same_files_are_refused(tmp_path):
    folder = write_slices(tmp_path / "a", grey_volume((3, 4, 4)))
    (tmp_path / "b").symlink_to(folder)
    with pytest.raises(StackReadError, match="2 kV and 5 kV are both read from"):
        read_images({5.0: tmp_path / "b", 2.0: folder}, pixel_size=4.0, slice_thickness=10.0)
