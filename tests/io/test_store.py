import json
import os
import warnings

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

from fibdask import (
    BlocksFailedError,
    ConventionError,
    FibdaskWarning,
    StackReadError,
    open_stack,
    save_stack,
)
from fibdask.blocks import Source, origin
from fibdask.conventions import AXES, VARIABLES, build_stack
from fibdask.io.metadata import begin_store
from fibdask.io.pyramid import coarsen


def regular(shape=(150, 140, 130), seed=3):
    rng = np.random.default_rng(seed)
    phase = (rng.random(shape) > 0.4).astype(np.uint8)
    return build_stack(
        {"intensity": rng.integers(0, 256, (2, *shape), np.uint8), "phase": phase},
        z=10.0 * np.arange(shape[0]),
        pixel_size=(5.0, 4.0),
        nominal_thickness=10.0,
        voltage=[1.0, 2.0],
    )


def described(member):
    """Tell what the metadata of an array say, and the attributes of a group."""
    return str(member.metadata) if isinstance(member, zarr.Array) else dict(member.attrs)


def unseal(path):
    """Remove the checksums of a store, as one does who edits it on purpose."""
    attrs = zarr.open_group(path, mode="r+").attrs
    attrs.put({key: value for key, value in attrs.items() if key != "checksums"})


def assert_same(one, other):
    xr.testing.assert_identical(one.drop_attrs().load(), other.drop_attrs().load())


def test_save_stack__round_trip_keeps_values_coordinates_and_attributes(stack, tmp_path):
    stack = stack.assign_coords(measured=("z", np.arange(7) != 3))
    reopened = open_stack(save_stack(stack, tmp_path / "s.zarr"))
    assert_same(stack, reopened)
    assert reopened["z"].attrs["units"] == "nm"
    assert reopened["phase"].attrs["flag_meanings"] == "pore solid"


def test_open_stack__is_lazy_and_read_by_coordinates(stack, tmp_path):
    path = save_stack(stack, tmp_path / "s.zarr")

    def refuse(*args, **kwargs):
        raise AssertionError

    with dask.config.set(scheduler=refuse):
        reopened = open_stack(path)
        assert isinstance(origin(reopened["phase"].data), Source)


def test_save_stack__is_readable_by_xarray_alone(stack, tmp_path):
    path = save_stack(stack, tmp_path / "s.zarr")
    plain = xr.open_zarr(path)
    np.testing.assert_array_equal(plain["intensity"], stack["intensity"])
    np.testing.assert_array_equal(plain["slice_thickness"], stack["slice_thickness"])


def test_save_stack__tells_in_one_place_of_all_arrays_once_it_is_finished(tmp_path):
    path = save_stack(regular(), tmp_path / "s.zarr")
    found, expected = (
        {name: described(member) for name, member in group.members(max_depth=None)}
        for group in (zarr.open_consolidated(path), zarr.open_group(path, use_consolidated=False))
    )
    assert {"intensity", "z", "scale1/intensity", "labels/phase/1"} < found.keys()
    assert found == expected
    begin_store(path)
    with pytest.raises(ValueError, match="Consolidated metadata"):
        zarr.open_consolidated(path)


def test_save_stack__stores_probability_as_scaled_bytes(stack, tmp_path):
    probability = np.random.default_rng(1).random(stack["phase"].shape, dtype=np.float32)
    probability[0, 0, 0] = np.nextafter(np.float32(1), np.float32(2))  # as means are rounded
    lazy = dask.array.from_array(probability, chunks=64)
    stack = stack.assign(solid_probability=(("z", "y", "x"), lazy))
    path = save_stack(stack, tmp_path / "s.zarr")
    assert zarr.open_array(path / "solid_probability").dtype == np.uint8
    reopened = open_stack(path)["solid_probability"]
    assert reopened.dtype == np.float32
    np.testing.assert_allclose(reopened, probability, atol=0.51 / 255)


def test_save_stack__is_sharded_zarr_v3_with_dimension_names(tmp_path):
    path = save_stack(regular(), tmp_path / "s.zarr")
    array = zarr.open_array(path / "intensity")
    assert array.metadata.zarr_format == 3
    assert array.shards == (1, 64, 64, 128)
    assert array.metadata.dimension_names == ("voltage", "z", "y", "x")


def test_save_stack__again_changes_no_file(stack, tmp_path):
    path = save_stack(regular(), tmp_path / "s.zarr")
    shards = [f for f in path.rglob("c/**/*") if f.is_file() and "phase" in str(f)]
    times = [f.stat().st_mtime_ns for f in shards]
    save_stack(regular(), path)
    assert len(shards) > 8
    assert [f.stat().st_mtime_ns for f in shards] == times


@pytest.mark.parametrize("interrupted", [False, True])
def test_save_stack__gives_stored_blocks_the_attributes_of_now(
    stack, tmp_path, monkeypatch, interrupted
):
    source = open_stack(save_stack(stack, tmp_path / "source.zarr"))
    name = tmp_path / "a.zarr"
    save_stack(source, name, pyramid=False)
    shards = {file: file.stat().st_ino for file in name.glob("phase/c/**/*") if file.is_file()}
    source["phase"].attrs["flag_colors"] = "black gold"
    if interrupted:
        with monkeypatch.context() as patch:
            patch.delattr("fibdask.blocks.engine.making.note_metadata")
            with pytest.raises(NameError):
                save_stack(source, name, pyramid=False)
        with pytest.raises(StackReadError, match="incomplete"):
            open_stack(name)
    save_stack(source, name, pyramid=False)
    assert open_stack(name)["phase"].attrs["flag_colors"] == "black gold"
    fresh = save_stack(source, tmp_path / "b.zarr", pyramid=False)
    for file in ("zarr.json", "phase/zarr.json", "phase/array.json"):
        assert (name / file).read_bytes() == (fresh / file).read_bytes()
    assert interrupted or {file: file.stat().st_ino for file in shards} == shards


def test_save_stack__adds_a_variable_to_the_store_it_was_read_from(stack, tmp_path):
    path = save_stack(stack.drop_vars("phase"), tmp_path / "s.zarr")
    opened = open_stack(path)
    save_stack(opened.assign(phase=stack["phase"]), path)
    assert_same(stack, open_stack(path))


def test_save_stack__refuses_to_overwrite_its_own_input(stack, tmp_path):
    path = save_stack(stack, tmp_path / "s.zarr")
    part = open_stack(path).isel(z=slice(1, 5))
    with pytest.raises(ConventionError, match=r"which saving to .* would overwrite"):
        save_stack(part, path)
    derived = open_stack(path).assign(phase=1 - open_stack(path)["phase"])
    with pytest.raises(ConventionError, match="phase is computed from"):
        save_stack(derived, path)
    assert_same(stack, open_stack(path))


def test_save_stack__slices_selected_in_memory_get_their_own_thickness(stack, tmp_path):
    chosen = stack.isel(z=[0, 2, 5])
    reopened = open_stack(save_stack(chosen, tmp_path / "s.zarr"))
    np.testing.assert_allclose(reopened["slice_thickness"], [21, 31, 10])


def test_save_stack__refuses_a_path_that_is_something_else(stack, tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("text")
    for name in ("file", "folder"):
        with pytest.raises(StackReadError, match="exists and is not a Zarr v3 store"):
            save_stack(stack, tmp_path / name)
    assert (tmp_path / "folder" / "notes.txt").read_text() == "text"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (".", r"must end in the name of the store, such as 'gold.zarr'; got '\.'"),
        ("/", "must end in the name of the store, .* got '/'"),
        ("folder/..", "must end in the name of the store"),
        ("", "path must be that of a folder, .* got ''"),
        (None, "path must be that of a folder, .* got None"),
        ("s3://bucket/a.zarr", "must be that of a folder on this machine, not an address"),
    ],
)
def test_save_stack__refuses_what_is_no_name_of_a_store(
    stack, tmp_path, monkeypatch, path, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConventionError, match=message):
        save_stack(stack, path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("file/a.zarr", "file/a.zarr cannot be made: .*file is not a folder"),
        ("file/b/a.zarr", "cannot be made: .*file is not a folder"),
        ("link", "link is a link to what does not exist"),
        ("a" * 300, "is no path of a folder: File name too long"),
        ("a\0b", "is no path of a folder: .*embedded null"),
    ],
)
def test_save_stack__says_why_a_store_cannot_be_made(stack, tmp_path, path, message):
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(StackReadError, match=message):
        save_stack(stack, tmp_path / path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "link"]


def test_save_stack__knows_the_home_folder(stack, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert save_stack(stack, "~/a.zarr") == tmp_path / "a.zarr"
    assert_same(stack, open_stack("~/a.zarr"))


def test_open_stack__refuses_what_is_missing_or_no_store(stack, tmp_path):
    with pytest.raises(StackReadError, match="does not exist"):
        open_stack(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StackReadError, match="is no store of a stack; images are read by"):
        open_stack(tmp_path / "empty")
    save_stack(stack, tmp_path / "run" / "import.zarr")
    with pytest.raises(
        StackReadError, match=r"is no store of a stack; of those in it, import\.zarr, give"
    ):
        open_stack(tmp_path / "run")
    with pytest.raises(ConventionError, match=r"an address is s3://.*; got 'ftp://a/b'"):
        open_stack("ftp://a/b")


def test_open_stack__refuses_corrupt_metadata(stack, tmp_path):
    path = save_stack(stack, tmp_path / "s.zarr")
    (path / "phase" / "zarr.json").write_text("{")
    with pytest.raises(StackReadError, match=r"phase/zarr\.json is not what was written"):
        open_stack(path)
    unseal(path)
    with pytest.raises(StackReadError, match="cannot be read"):
        open_stack(path)


@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_open_stack__refuses_a_torn_or_missing_shard(stack, tmp_path, damage):
    path = save_stack(stack, tmp_path / "s.zarr")
    shard = next(f for f in (path / "phase" / "c").rglob("*") if f.is_file())
    content = shard.read_bytes()
    shard.unlink()
    if damage == "truncate":
        shard.write_bytes(content[:30])
    with pytest.raises(StackReadError, match="phase is incomplete: 3 of 4 blocks"):
        open_stack(path)


def test_open_stack__a_corrupt_shard_is_named_when_read(stack, tmp_path):
    path = save_stack(stack, tmp_path / "s.zarr")
    shard = next(f for f in (path / "phase" / "c").rglob("*") if f.is_file())
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(StackReadError, match="phase cannot be read at"):
        open_stack(path)["phase"].compute()


def test_open_stack__refuses_thickness_that_disagrees_with_z(stack, tmp_path):
    path = save_stack(stack, tmp_path / "s.zarr")
    zarr.open_array(path / "slice_thickness", mode="r+")[2] = 5.0
    with pytest.raises(StackReadError, match=r"slice_thickness/c/0 is not what was written"):
        open_stack(path)
    unseal(path)
    with pytest.raises(ConventionError, match="slice 2 has 5 nm, but z steps by 9 nm"):
        open_stack(path)


def test_open_stack__reads_a_store_that_xarray_wrote(stack, tmp_path):
    path = tmp_path / "foreign.zarr"
    chunked = stack.chunk({"z": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chunked.to_zarr(path, zarr_format=3, consolidated=False)
    assert_same(stack, open_stack(path))


@given(st.tuples(*[st.integers(1, 9)] * 3))
def test_coarsen__is_the_mean_and_the_mode_of_whole_cells(shape):
    stack = regular(shape)
    coarse = coarsen(stack)
    cells = [[slice(2 * i, 2 * i + 2) for i in range(-(-n // 2))] for n in shape]
    for i, z in enumerate(cells[0]):
        for j, y in enumerate(cells[1]):
            for k, x in enumerate(cells[2]):
                grey = stack["intensity"].values[0, z, y, x]
                solid = stack["phase"].values[z, y, x].mean()
                assert coarse["intensity"].values[0, i, j, k] == np.floor(grey.mean() + 0.5)
                assert coarse["phase"].values[i, j, k] == (solid > 0.5)


@pytest.mark.parametrize("shape", [(4, 300, 1), (2, 1, 300)])
def test_save_stack__takes_images_of_one_pixel_whose_size_nothing_tells(tmp_path, shape):
    stack = regular(shape)
    for axis in ("y", "x"):
        del stack[axis].attrs["spacing"]
    path = save_stack(stack, tmp_path / "s.zarr")
    level = zarr.open_array(path / "scale1" / "phase")
    assert level.shape == tuple(-(-n // 2) for n in shape)


def test_coarsen__rounds_numbers_below_zero_as_those_above():
    stack = regular((2, 2, 2))
    stack["height"] = stack["intensity"].astype("int16") * 0 - 3
    stack["height"][..., 0, 0, 0] = -4
    assert (coarsen(stack)["height"] == -3).all()


def test_pyramid__has_valid_ome_zarr_metadata_with_half_voxel_shifts(tmp_path):
    from ome_zarr_models.v05.image import Image

    path = save_stack(regular(), tmp_path / "s.zarr")
    Image.from_zarr(zarr.open_group(path, mode="r"))
    ome = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]
    first = ome["multiscales"][0]
    shifts = [d["coordinateTransformations"][1]["translation"] for d in first["datasets"]]
    assert shifts == [[0, 0, 0, 0], [0, 5, 2.5, 2]]
    assert [c["label"] for c in ome["omero"]["channels"]] == ["1 kV", "2 kV"]
    level = open_stack(path / "scale1")
    np.testing.assert_allclose(level["z"].values[:2], [5, 25])


def test_pyramid__of_images_holds_phases_as_valid_labels(tmp_path):
    from ome_zarr_models.v05.image_label import ImageLabel
    from ome_zarr_models.v05.labels import Labels

    stack = regular()
    path = save_stack(stack, tmp_path / "s.zarr")
    labels = zarr.open_group(path / "labels", mode="r")
    assert Labels.from_zarr(labels).ome_attributes.labels == ["phase"]
    label = ImageLabel.from_zarr(labels["phase"])
    datasets = label.ome_attributes.multiscales[0].datasets
    finest, coarser = (labels["phase"][dataset.path] for dataset in datasets)
    np.testing.assert_array_equal(finest, stack["phase"])
    np.testing.assert_array_equal(coarser, open_stack(path / "scale1")["phase"])
    assert (path / "labels/phase" / label.ome_attributes.image_label.source.image).samefile(path)
    images = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]["multiscales"]
    assert [(i["name"], len(i["datasets"])) for i in images] == [("intensity", 2)]
    assert_same(stack, open_stack(path))


def test_pyramid__of_a_phase_alone_is_an_image(tmp_path):
    path = save_stack(regular()[["phase"]], tmp_path / "s.zarr")
    images = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]["multiscales"]
    assert [image["name"] for image in images] == ["phase"]
    assert not (path / "labels").exists()


def test_pyramid__leaves_no_stale_label(tmp_path):
    stack = regular((150, 20, 20))
    path = save_stack(stack.assign(true_phase=stack["phase"]), tmp_path / "s.zarr")
    assert sorted(f.name for f in (path / "labels").iterdir() if f.is_dir()) == [
        "phase",
        "true_phase",
    ]
    save_stack(stack.isel(z=slice(100)), path, resume=False)
    assert sorted(f.name for f in (path / "labels").iterdir() if f.is_dir()) == ["phase"]
    assert not (path / "labels/phase/1").exists()
    save_stack(stack.isel(z=[0, 1, 3]), path, resume=False)
    assert not (path / "labels").exists()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_save_stack__describes_a_regular_stack_to_viewers_without_a_pyramid(tmp_path, dtype):
    from ome_zarr_models.v05.image import Image

    stack = regular((6, 140, 5))
    stack["intensity"] = stack["intensity"].astype(dtype)
    path = save_stack(stack, tmp_path / "s.zarr", pyramid=False)
    image = Image.from_zarr(zarr.open_group(path, mode="r"))
    datasets = image.ome_attributes.multiscales[0].datasets
    assert [dataset.path for dataset in datasets] == ["intensity"]
    assert datasets[0].coordinateTransformations[0].scale == [1, 10, 5, 4]
    ome = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]
    shown = [c["window"]["end"] for c in ome.get("omero", {"channels": []})["channels"]]
    assert shown == {"uint8": [255, 255], "uint16": [65535, 65535], "float32": []}[dtype]


def test_pyramid__is_left_out_and_said_for_uneven_z(stack, tmp_path):
    path = save_stack(stack, tmp_path / "s.zarr")
    attrs = zarr.open_group(path).attrs
    assert attrs["z_sampling"] == "variable"
    assert "ome" not in attrs
    with pytest.raises(ConventionError, match="reposition the slices first"):
        save_stack(stack, path, pyramid=True)


def test_open_stack__voxels_edited_by_hand_are_read_and_give_another_fingerprint(stack, tmp_path):
    path = save_stack(stack, tmp_path / "s.zarr")
    before = origin(open_stack(path)["phase"].data).token
    zarr.open_array(path / "phase", mode="r+")[2:4] = 1
    edited = open_stack(path)["phase"]
    assert (edited.values[2:4] == 1).all()
    assert origin(edited.data).token != before


def test_open_stack__refuses_a_store_whose_writing_was_interrupted(stack, tmp_path, monkeypatch):
    from fibdask.io import store

    real = store.write_array

    def interrupted(array, target, *arguments, **options):
        if target.path.name == "phase":
            raise KeyboardInterrupt
        return real(array, target, *arguments, **options)

    monkeypatch.setattr(store, "write_array", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_stack(stack, tmp_path / "s.zarr")
    with pytest.raises(StackReadError, match="its writing was interrupted"):
        open_stack(tmp_path / "s.zarr")
    monkeypatch.undo()
    assert_same(stack, open_stack(save_stack(stack, tmp_path / "s.zarr")))


def test_save_stack__refuses_a_store_that_others_wrote(stack, tmp_path):
    group = zarr.open_group(tmp_path / "lab.zarr", mode="w")
    group.create_group("precious")["data"] = np.arange(10)
    with pytest.raises(StackReadError, match="was not written by fibdask"):
        save_stack(stack, tmp_path / "lab.zarr")
    assert (zarr.open_group(tmp_path / "lab.zarr")["precious/data"][:] == np.arange(10)).all()


def test_save_stack__says_what_to_do_about_a_damaged_store(stack, tmp_path):
    path = save_stack(stack, tmp_path / "s.zarr")
    (path / "zarr.json").write_text("{")
    with pytest.raises(StackReadError, match="remove it to have it made anew"):
        save_stack(stack, path)


def test_save_stack__refuses_to_overwrite_the_store_that_xarray_reads(stack, tmp_path):
    path = save_stack(stack, tmp_path / "s.zarr")
    plain = xr.open_zarr(path)
    changed = plain.assign(phase=1 - plain["phase"]).drop_attrs(deep=False)
    changed["phase"].attrs = {}
    with pytest.raises(ConventionError, match="would overwrite"):
        save_stack(changed, path)
    assert_same(stack, open_stack(path))


def test_save_stack__sweeps_what_a_killed_write_left(stack, tmp_path):
    path = save_stack(stack, tmp_path / "a.zarr")
    leftover = path / "zarr.0123456789abcdef.partial"
    leftover.write_text("{")
    assert open_stack(path)["phase"].equals(stack["phase"])
    save_stack(stack, path)
    assert not leftover.exists()
    assert open_stack(path)["phase"].equals(stack["phase"])


def test_save_stack__refuses_while_another_process_writes(stack, tmp_path):
    from fibdask.blocks import locked

    with (
        locked(tmp_path / ".s.zarr.lock"),
        pytest.raises(StackReadError, match="being written by another process"),
    ):
        save_stack(stack, tmp_path / "s.zarr")


def test_open_stack__needs_units_in_the_file(stack, tmp_path):
    path = save_stack(stack, tmp_path / "s.zarr")
    z = zarr.open_array(path / "z", mode="r+")
    z.attrs.put({key: value for key, value in z.attrs.items() if key != "units"})
    unseal(path)
    with pytest.raises(ConventionError, match="z must have units 'nm'; found None"):
        open_stack(path)


WRONG = [
    ("phase", 7, r"phase must be 0 \(pore\) or 1 \(solid\); voxel \(3, 4, 5\) has 7"),
    ("true_phase", 255, r"true_phase must be .* voxel \(3, 4, 5\) has 255"),
    ("solid_probability", np.nan, r"solid_probability must lie in 0 … 1; .* \(3, 4, 5\) has nan"),
    ("voltage_disagreement", 1.01, r"voltage_disagreement must lie .* \(3, 4, 5\) has 1.01"),
]
"""Values that a volume must not hold, and what is said of them."""


def wrong_volume(stack, name, value):
    """Return a volume of a stack, lazily, one of whose voxels must not have its value."""
    values = stack["phase"].values.astype(VARIABLES[name].dtypes[0])
    values[3, 4, 5] = value
    return xr.DataArray(values, stack["phase"].coords, AXES).chunk(z=2)


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_open_stack__checks_the_values_that_others_wrote(stack, tmp_path, name, value, message):
    wrong = stack.assign({name: wrong_volume(stack, name, value)}).load()
    wrong.to_zarr(tmp_path / "foreign.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(ConventionError, match=message):
        open_stack(tmp_path / "foreign.zarr")[name].compute()


def test_open_stack__checks_the_values_of_a_phase_that_was_edited(stack, tmp_path):
    path = save_stack(stack, tmp_path / "s.zarr")
    zarr.open_array(path / "phase", mode="r+")[3, 4, 5] = 7
    with pytest.raises(ConventionError, match=r"voxel \(3, 4, 5\) has 7"):
        open_stack(path)["phase"].compute()


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_save_stack__refuses_lazy_values_as_those_in_memory(stack, tmp_path, name, value, message):
    wrong = stack.assign({name: wrong_volume(stack, name, value)})
    with pytest.raises(ConventionError, match=message):
        save_stack(wrong.load(), tmp_path / "s.zarr")
    wrong = stack.assign({name: wrong_volume(stack, name, value)})
    with pytest.raises(BlocksFailedError, match=message):
        save_stack(wrong, tmp_path / "s.zarr")


def test_pyramid__of_a_smaller_stack_leaves_no_stale_level(tmp_path):
    path = save_stack(regular((300, 30, 30)), tmp_path / "s.zarr")
    assert (path / "scale2").exists()
    save_stack(regular((150, 30, 30)), path, resume=False)
    assert not (path / "scale2").exists()


@pytest.mark.parametrize("name", ["array", "core", "phase"])
def test_save_stack__a_derived_array_may_be_saved_again_under_any_name(stack, tmp_path, name):
    derived = stack.assign(phase=stack["phase"].chunk(z=3) * 1)
    save_stack(derived, tmp_path / name)
    save_stack(derived, tmp_path / name, resume=False)
    assert open_stack(tmp_path / name)["phase"].equals(stack["phase"])


def test_save_stack__says_that_a_derived_array_is_not_resumed(tmp_path):
    stack = regular((300, 500, 500)).drop_vars("intensity")
    path = save_stack(stack, tmp_path / "s.zarr", pyramid=False)
    derived = open_stack(path).assign(phase=open_stack(path)["phase"] * 1)
    with pytest.warns(FibdaskWarning, match="phase is not made of stored arrays by fibdask"):
        save_stack(derived, tmp_path / "d.zarr", pyramid=False)


def test_save_stack__says_of_all_derived_arrays_at_once_that_they_are_not_resumed(tmp_path):
    stack = regular((300, 500, 500)).drop_vars("intensity")
    phase = stack["phase"].chunk(z=100) * 1
    derived = stack.assign(phase=phase, true_phase=phase.rename("true_phase"))
    with pytest.warns(FibdaskWarning, match="phase, true_phase are not made of stored") as told:
        save_stack(derived, tmp_path / "d.zarr", pyramid=False)
    assert len(told) == 1


def test_open_stack__a_foreign_store_edited_in_place_has_another_fingerprint(stack, tmp_path):
    path = tmp_path / "foreign.zarr"
    stack.to_zarr(path, zarr_format=3, consolidated=False)
    before = origin(open_stack(path)["phase"].data).token
    assert origin(open_stack(path)["phase"].data).token == before
    chunk = next(f for f in (path / "phase" / "c").rglob("*") if f.is_file())
    state, content = chunk.stat(), chunk.read_bytes()
    chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(chunk, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert origin(open_stack(path)["phase"].data).token != before


@pytest.mark.parametrize("name", ["a/b", "../beside", ".hidden", "zarr.json", "labels", "scale1"])
def test_save_stack__refuses_names_that_are_no_folder_of_their_own(stack, tmp_path, name):
    named = stack.assign({name: stack["phase"]})
    with pytest.raises(ConventionError, match="cannot be stored as"):
        save_stack(named, tmp_path / "s.zarr")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "encoding",
    [
        {"dtype": "int16", "scale_factor": 0.1, "add_offset": 5.0, "_FillValue": -9999},
        {"dtype": "float32", "_FillValue": 7.0},
        {"dtype": "uint8", "_FillValue": 0},
    ],
)
def test_open_stack__refuses_packed_values_that_it_does_not_unpack(stack, tmp_path, encoding):
    images = stack[["intensity"]].load().astype(np.float32).drop_encoding()
    images["intensity"].attrs.pop("units", None)
    images.to_zarr(
        tmp_path / "s.zarr", zarr_format=3, consolidated=False, encoding={"intensity": encoding}
    )
    with pytest.raises(
        ConventionError, match=r"intensity has the attribute (add_offset|_FillValue)"
    ):
        open_stack(tmp_path / "s.zarr")


def test_save_stack__keeps_voxels_whose_attributes_of_packing_change_nothing(stack, tmp_path):
    neutral = stack.copy()
    neutral["intensity"] = stack["intensity"].assign_attrs(scale_factor=1.0, add_offset=[0.0])
    neutral["shift"] = ("z", np.arange(7.0), {"_FillValue": np.nan})
    reopened = open_stack(save_stack(neutral, tmp_path / "s.zarr"))
    assert_same(neutral, reopened)
    assert not {"scale_factor", "add_offset"} & set(reopened["intensity"].attrs)


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("intensity", {"scale_factor": 0.5}),
        ("phase", {"_FillValue": 255}),
        ("phase", {"add_offset": 1}),
        ("current", {"missing_value": "none"}),
        ("z", {"scale_factor": 2.0}),
    ],
)
def test_save_stack__refuses_attributes_of_packing_before_anything_is_written(
    stack, tmp_path, name, attrs
):
    packed = stack.assign(current=("z", np.arange(7.0)))
    packed[name] = packed[name].assign_attrs(attrs)
    with pytest.raises(ConventionError, match=f"^{name} has the attribute {next(iter(attrs))}"):
        save_stack(packed, tmp_path / "s.zarr")
    assert not list(tmp_path.iterdir())


def test_save_stack__makes_text_of_attributes_that_are_no_json(stack, tmp_path):
    odd = {"when": np.datetime64("2024-01-01"), "limits": [0, np.nan, np.inf]}
    for name in ("z", "intensity"):
        stack[name] = stack[name].assign_attrs(odd)
    path = save_stack(stack.assign_attrs(odd), tmp_path / "s.zarr")
    json.loads((path / "zarr.json").read_text(), parse_constant=pytest.fail)
    for found in (opened := open_stack(path), opened["z"], opened["intensity"]):
        assert found.attrs["when"] == "2024-01-01"
        assert found.attrs["limits"] == [0, "NaN", "Infinity"]


def test_save_stack__of_what_xarray_opens_keeps_nothing_of_the_store_it_lay_in(stack, tmp_path):
    save_stack(stack, tmp_path / "even.zarr")
    part = xr.open_zarr(tmp_path / "even.zarr", consolidated=False).isel(z=[0, 1, 3])
    uneven = save_stack(part, tmp_path / "uneven.zarr")
    assert "ome" not in zarr.open_group(uneven, mode="r").attrs
    part.drop_encoding().to_zarr(tmp_path / "copy.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(StackReadError, match=r"by to_zarr of xarray \(then save .* by save_stack"):
        open_stack(tmp_path / "copy.zarr")
    copied = xr.open_zarr(tmp_path / "copy.zarr", consolidated=False)
    assert_same(open_stack(save_stack(copied, tmp_path / "s.zarr")), open_stack(uneven))


def test_open_stack__refuses_packed_depths(stack, tmp_path):
    packed = stack.load().drop_encoding()
    encoding = {"z": {"dtype": "float64", "scale_factor": 10.0}}
    packed.to_zarr(tmp_path / "s.zarr", zarr_format=3, consolidated=False, encoding=encoding)
    with pytest.raises(ConventionError, match="z has the attribute scale_factor"):
        open_stack(tmp_path / "s.zarr")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_open_stack__takes_nan_and_unwritten_chunks_as_they_are(stack, tmp_path, zarr_format):
    images = stack[["intensity"]].load().astype(np.float32).drop_encoding()
    images.to_zarr(tmp_path / "s.zarr", zarr_format=zarr_format, consolidated=False)
    assert_same(open_stack(tmp_path / "s.zarr")[["intensity"]], images)
