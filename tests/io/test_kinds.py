"""Variables beyond the table, ruled by their kind: volumes, labels, maps, values of slices."""

import numpy as np
import pytest
import xarray as xr
import zarr

import fibdask
from fibdask import ConventionError, open_stack, save_stack
from fibdask.blocks import origin
from fibdask.conventions import NO_INPUT, array_names, build_stack, record_step, volume_names

SHAPE = (12, 140, 130)
RNG = np.random.default_rng(5)
VOLUME, MAP = ("z", "y", "x"), ("y", "x")
SIZES = dict(zip(("voltage", *VOLUME, "layer", "energy"), (2, *SHAPE, 3, 4), strict=True))


def made(dims, dtype):
    values = 50 * RNG.random([SIZES[dim] for dim in dims])
    values = values > 25 if dtype == "bool" else values.astype(dtype)
    return xr.Variable(dims, values, {"note": "mine", "levels": [1, 2]})


IMAGES = {
    "density": made(VOLUME, "float32"),
    "potential": made(VOLUME, "float64"),
    "second_detector": made(("voltage", *VOLUME), "uint16"),
    "second_mean": made(("voltage", *VOLUME), "float32"),
}
LABELS = {
    "grain": made(VOLUME, "int32"),
    "grain_number": made(VOLUME, "uint64"),
    "mask": made(VOLUME, "bool"),
    "scale_map": made(VOLUME, "uint8"),
}
MAPS = {
    "height": made(MAP, "float64"),
    "region": made(MAP, "int16"),
    "gain": made(("voltage", *MAP), "float32"),
    "layer_thickness": made(("layer", *MAP), "float32"),
    "signal": made(("energy", *MAP), "float64"),
    "column_mean": made(("z", "x"), "float32"),
}
SMALL = {
    "current": made(("z",), "float64"),
    "operator": xr.Variable("z", [f"person {k}" for k in range(SHAPE[0])], {"note": "mine"}),
    "counted": made(("z",), "int32"),
    "focus": made(("voltage", "z"), "float64"),
    "dose": made(("voltage",), "float32"),
    "temperature": xr.Variable((), 3.5, {"units": "K"}),
}
BLOCKS = IMAGES | LABELS | MAPS
EVERY = BLOCKS | SMALL


@pytest.fixture
def plain():
    made_by_hand = build_stack(
        {"intensity": RNG.integers(0, 256, (2, *SHAPE), np.uint8)},
        z=10.0 * np.arange(SHAPE[0]),
        pixel_size=(5.0, 5.0),
        nominal_thickness=10.0,
        voltage=np.array([1.0, 2.0]),
    )
    return record_step(made_by_hand, "made_by_hand", {}, NO_INPUT)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("coordinate", [False, True], ids=["data", "coordinate"])
def test_save_stack__keeps_values_type_and_attributes_of_every_kind(
    plain, tmp_path, name, coordinate
):
    stack = plain.assign({name: EVERY[name]})
    stack = stack.set_coords(name) if coordinate else stack
    opened = open_stack(save_stack(stack, tmp_path / "s.zarr", pyramid=False))
    xr.testing.assert_identical(opened[name].variable.load(), EVERY[name])
    assert opened[name].dtype == EVERY[name].dtype
    assert (name in opened.coords) is coordinate
    again = open_stack(save_stack(opened, tmp_path / "t.zarr", pyramid=False))
    xr.testing.assert_identical(opened.drop_encoding().load(), again.drop_encoding().load())


@pytest.mark.parametrize("name", BLOCKS)
def test_save_stack__stores_volumes_and_maps_sharded_and_resumes_them(plain, tmp_path, name):
    stack = plain.assign({name: BLOCKS[name]})
    path = save_stack(stack, tmp_path / "s.zarr", pyramid=False)
    assert zarr.open_array(path / name).shards is not None
    assert origin(open_stack(path)[name].data) is not None  # read by coordinates
    shards = sorted(file for file in (path / name / "c").rglob("*") if file.is_file())
    times = [file.stat().st_mtime_ns for file in shards]
    shards[0].unlink()
    save_stack(stack, path, pyramid=False)
    assert [file.stat().st_mtime_ns for file in shards[1:]] == times[1:]
    np.testing.assert_array_equal(open_stack(path)[name], BLOCKS[name])


def test_array_names__are_volumes_then_what_lies_along_two_axes(plain):
    stack = plain.assign(EVERY)
    assert volume_names(stack) == ["intensity", *sorted(IMAGES | LABELS)]
    assert array_names(stack) == [*volume_names(stack), *sorted(MAPS)]


@pytest.mark.parametrize("name", IMAGES | LABELS)
def test_pyramid__is_the_mean_of_images_and_the_mode_of_labels(plain, tmp_path, name):
    path = save_stack(plain.assign({name: EVERY[name]}), tmp_path / "s.zarr")
    coarse = zarr.open_array(path / "scale1" / name)[:]
    cell = EVERY[name].values[..., :2, :2, :2].reshape(-1, 8)[0]
    found = coarse[(0,) * coarse.ndim]
    if name in LABELS:
        values, counts = np.unique(cell, return_counts=True)
        assert found == values[np.argmax(counts)]
    else:
        assert found == pytest.approx(cell.mean(), abs=0.5 if cell.dtype.kind == "u" else 1e-4)


@pytest.mark.parametrize("name", ["height", "column_mean", "current"])
def test_pyramid__is_of_volumes_only(plain, tmp_path, name):
    path = save_stack(plain.assign({name: EVERY[name]}), tmp_path / "s.zarr")
    assert (path / name).is_dir()
    assert not (path / "scale1" / name).exists()


@pytest.mark.parametrize("name", IMAGES | LABELS)
def test_stages__move_volumes_of_any_name(plain, tmp_path, name):
    path = save_stack(plain.assign({name: EVERY[name]}), tmp_path / "s.zarr", pyramid=False)
    stack = open_stack(path)
    shifts = xr.Dataset({f"shift_{axis}": ("z", np.full(SHAPE[0], 10.0)) for axis in "yx"})
    aligned = stack.fib.apply_shifts(shifts)
    np.testing.assert_array_equal(aligned[name], EVERY[name].values[..., :-2, :-2])
    uneven = stack.isel(z=[0, 1, 4, 5])
    on_grid = uneven.fib.reposition_slices(spacing=10.0)
    np.testing.assert_array_equal(on_grid[name].isel(z=[0, 1, 4, 5]), uneven[name])
    assert not on_grid[name].isel(z=[2, 3]).any()
    assert origin(aligned[name].data) is not None
    for moved in (aligned, on_grid):
        assert moved[name].dtype == EVERY[name].dtype
        assert moved[name].attrs == EVERY[name].attrs


@pytest.mark.filterwarnings("ignore:column_mean. sections along z are not translated")
@pytest.mark.parametrize("name", MAPS)
def test_stages__crop_maps_with_the_images(plain, tmp_path, name):
    path = save_stack(plain.assign({name: MAPS[name]}), tmp_path / "s.zarr", pyramid=False)
    stack = open_stack(path)
    shifts = xr.Dataset({f"shift_{axis}": ("z", np.full(SHAPE[0], 10.0)) for axis in "yx"})
    kept = {axis: slice(2, None) for axis in MAP if axis in MAPS[name].dims}
    assert stack.fib.apply_shifts(shifts)[name].variable.equals(MAPS[name].isel(kept))


def test_save_stack__keeps_the_true_labels_of_simulated_images(tmp_path):
    film = fibdask.layered_film((4, 32, 32), layers=[("Au", 20, 40)], substrate="Si", seed=1)
    images = fibdask.simulate_images(
        film["material"],
        voltage=1.0,
        electrons_per_pixel=1,
        materials={0: "Au", 1: "Si"},
        seed=1,
    )
    path = save_stack(images.chunk(), tmp_path / "s.zarr")
    assert zarr.open_array(path / "true_label").shards is not None
    np.testing.assert_array_equal(open_stack(path)["true_label"], film["material"])


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        (
            made(("y", "x", "z"), "float32"),
            r"odd must have dimensions \(z, y, x\) or .*; found \(y, x, z\): transpose it",
        ),
        (made(("layer", *VOLUME), "float32"), r"found \(layer, z, y, x\)"),
        (made(VOLUME, "float16"), r"found type float16: convert it with odd.astype\('float32'\)"),
        (made(VOLUME, "complex64"), "odd must hold whole numbers, float32 or float64; found type"),
        (made(MAP, "float16"), "found type float16"),
    ],
)
def test_validate_stack__refuses_volumes_that_nothing_can_read(plain, variable, message):
    with pytest.raises(ConventionError, match=message):
        fibdask.validate_stack(plain.assign(odd=variable))


def test_stages__refuse_another_byte_order(plain):
    swapped = plain.assign(intensity=plain["intensity"].astype(">u2"))
    with pytest.raises(ConventionError, match=r"found type >u2: convert it with intensity\.astype"):
        swapped.fib.segment_phases(method="otsu")


def test_save_stack__keeps_volumes_whose_names_begin_like_those_of_levels(plain, tmp_path):
    path = save_stack(plain.assign(scale_map=LABELS["scale_map"]), tmp_path / "s.zarr")
    save_stack(plain.assign(scale_map=LABELS["scale_map"]), path, pyramid=False)
    assert not (path / "scale1").exists()
    np.testing.assert_array_equal(open_stack(path)["scale_map"], LABELS["scale_map"])
