"""Shifts are applied: whole ones copy, fractions interpolate, and blocks do not show."""

import json

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from fibdask.align import apply_shifts
from fibdask.conventions import (
    ConventionError,
    FibdaskWarning,
    attributes,
    build_stack,
    covered_region,
    recognise_filled_share,
    require,
)
from fibdask.io import open_stack, save_stack
from fibdask.statistics import solid_fraction
from fibdask.thickness import reposition_slices
from tests.align.naive import lanczos

pytestmark = pytest.mark.filterwarnings("ignore:.* of the pixels are filled")


def shifts_of(stack, pixels):
    """Return shifts of pixels (voltage, z, 2) or (z, 2)."""
    pixels = np.asarray(pixels, float)
    dims = ("voltage", "z")[-(pixels.ndim - 1) :]
    found = {}
    for i, axis in enumerate(("y", "x")):
        step = float(stack[axis][1] - stack[axis][0])
        found[f"shift_{axis}"] = (dims, pixels[..., i] * step, attributes(f"shift_{axis}"))
    return xr.Dataset(found, coords={name: stack[name] for name in dims})


def random_shifts(stack, seed=0, most=6.0, voltages=None):
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(-most, most, (voltages or stack.sizes["voltage"], stack.sizes["z"], 2))
    return shifts_of(stack, pixels if voltages is None else np.repeat(pixels, 2, axis=0))


@given(st.integers(-9, 9), st.integers(-9, 9))
def test_apply_shifts__whole_shifts_copy(dy, dx):
    raw = np.random.default_rng(0).integers(0, 65536, (1, 1, 20, 24), dtype=np.uint16)
    stack = build_stack(
        {"intensity": raw},
        z=np.zeros(1),
        pixel_size=(3.3, 0.7),
        nominal_thickness=5.0,
        voltage=np.ones(1),
    )
    shifts = shifts_of(stack, [[[dy, dx]]])
    aligned = apply_shifts(stack, shifts, outside="edge")["intensity"].values[0, 0]
    y, x = np.clip(np.arange(20) - dy, 0, 19), np.clip(np.arange(24) - dx, 0, 23)
    assert (aligned == raw[0, 0][np.ix_(y, x)]).all()


@pytest.mark.interpreted
def test_apply_shifts__interpolates_as_defined(stack):
    stack = stack.drop_vars("phase")
    shifts = random_shifts(stack)
    aligned = apply_shifts(stack, shifts, outside="edge")["intensity"].values
    for v, k in np.ndindex(2, 7):
        pixels = [shifts["shift_y"].values[v, k] / 3.0, shifts["shift_x"].values[v, k] / 4.0]
        naive = np.clip(lanczos(stack["intensity"].values[v, k], pixels), 0, 255)
        assert np.abs(aligned[v, k] - naive).max() <= 0.501


def test_apply_shifts__there_and_back_is_near(stack):
    y, x = np.mgrid[:70, :66]
    smooth = (128 + 60 * np.sin(y / 4) * np.cos(x / 5)).astype(np.float32)
    stack = stack.drop_vars("phase").assign(
        intensity=(stack["intensity"].dims, np.broadcast_to(smooth, stack["intensity"].shape))
    )
    shifts = random_shifts(stack, most=3)
    there = apply_shifts(stack, shifts, outside="edge")
    back = apply_shifts(there, -shifts.drop_attrs(deep=False), outside="edge")
    assert np.abs(back["intensity"].values - smooth)[..., 12:-12, 12:-12].max() < 1.0
    assert np.abs(back["shift_y"].values).max() < 1e-12


def test_apply_shifts__phases_take_the_nearest(stack):
    pixels = np.random.default_rng(1).uniform(-4, 4, (7, 2))
    aligned = apply_shifts(stack, shifts_of(stack, pixels), outside="edge")
    raw = stack["phase"].values
    for k, (dy, dx) in enumerate(np.floor(pixels + 0.5).astype(int)):
        y, x = np.clip(np.arange(70) - dy, 0, 69), np.clip(np.arange(66) - dx, 0, 65)
        assert (aligned["phase"].values[k] == raw[k][np.ix_(y, x)]).all()
    assert aligned["phase"].dtype == np.uint8


def test_apply_shifts__clips_and_keeps_constants(stack):
    values = np.where(np.arange(66) < 33, 0, 255).astype(np.uint8)
    full = np.broadcast_to(values, stack["intensity"].shape).copy()
    stack = stack.drop_vars("phase").assign(intensity=(stack["intensity"].dims, full))
    aligned = apply_shifts(stack, random_shifts(stack, most=0.9))["intensity"].values
    assert (aligned[..., :28] == 0).all()
    assert (aligned[..., 40:] == 255).all()


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def test_apply_shifts__clips_what_overshoots_integers_that_floats_do_not_hold(stack, dtype):
    top = np.iinfo(dtype).max
    values = np.where(np.arange(66) < 33, top // 2, top).astype(dtype)
    full = np.broadcast_to(values, stack["intensity"].shape)
    stack = stack.assign(counts=(stack["intensity"].dims, full))
    shifts = shifts_of(stack, np.full((7, 2), [0.0, 0.5]))
    counts = apply_shifts(stack, shifts)["counts"].values
    assert counts.min() > top // 3
    assert counts.max() >= top - top // 2**23


def test_apply_shifts__zero_outside(stack):
    aligned = apply_shifts(stack, shifts_of(stack, np.full((7, 2), [4.0, -3.25])), outside="zero")
    image = aligned["intensity"].values
    assert (image[..., :4, :] == 0).all()
    assert (image[..., 63:] == 0).all()
    assert image[..., 4:, :62].mean() > 100


def test_apply_shifts__crops_to_what_all_slices_show(stack):
    pixels = np.zeros((7, 2))
    pixels[2], pixels[5] = (3.5, -2), (-1.25, 6)
    whole = apply_shifts(stack, shifts_of(stack, pixels), outside="edge")
    cropped = apply_shifts(stack, shifts_of(stack, pixels))
    assert cropped["y"].values.tolist() == stack["y"].values[4:68].tolist()
    assert cropped["x"].values.tolist() == stack["x"].values[6:64].tolist()
    same = whole.isel(y=slice(4, 68), x=slice(6, 64))
    told = ["filled_share", "filled_share_record", "aligned_y", "aligned_x"]
    same = same.drop_vars(told)
    xr.testing.assert_identical(cropped["intensity"], same["intensity"])
    xr.testing.assert_identical(cropped["phase"], same["phase"])


@pytest.mark.parametrize(("outside", "rows"), [("edge", slice(70)), ("crop", slice(2, 70))])
def test_apply_shifts__leaves_the_truth_where_it_is(stack, outside, rows):
    stack = stack.rename(phase="true_phase")
    aligned = apply_shifts(stack, shifts_of(stack, np.tile((2, 0), (7, 1))), outside=outside)
    kept = stack["true_phase"].isel(y=rows)
    np.testing.assert_array_equal(aligned["true_phase"], kept)


@pytest.mark.parametrize("chunks", [(1, 1, 16, 16), (2, 3, 70, 9), (1, 7, 33, 66)])
@pytest.mark.parametrize("outside", ["edge", "crop", "zero"])
def test_apply_shifts__is_independent_of_chunks(stack, chunks, outside):
    stack = stack.drop_vars("phase")
    shifts = random_shifts(stack, seed=3)
    expected = apply_shifts(stack, shifts, outside=outside)["intensity"].values
    lazy = da.from_array(stack["intensity"].values, chunks=chunks)
    chunked = stack.assign(intensity=(stack["intensity"].dims, lazy))
    found = apply_shifts(chunked, shifts, outside=outside)["intensity"]
    assert (found.values == expected).all()
    part = found.isel(z=slice(2, 5), y=slice(11, 40)).values
    assert (part == expected[:, 2:5, 11:40]).all()


def test_apply_shifts__of_a_store_is_one_task_a_block(stack, tmp_path):
    shifts = random_shifts(stack, voltages=1)
    expected = apply_shifts(stack, shifts)
    stored = open_stack(save_stack(stack, tmp_path / "raw.zarr"))
    with dask.config.set(scheduler="synchronous"):
        found = apply_shifts(stored, shifts)
        assert len(found["intensity"].data.dask) == found["intensity"].data.npartitions
        xr.testing.assert_equal(found["intensity"], expected["intensity"])
        xr.testing.assert_equal(found["phase"], expected["phase"])


def test_apply_shifts__adds_to_earlier_shifts(stack):
    first, second = (random_shifts(stack, seed, voltages=1) for seed in (1, 2))
    once = apply_shifts(stack, first)
    twice = apply_shifts(once, second)
    np.testing.assert_allclose(twice["shift_y"], first["shift_y"] + second["shift_y"])
    assert twice["shift_x"].attrs["units"] == "nm"
    assert len(twice.attrs["provenance"]) == 2


def test_apply_shifts__of_a_phase_alone(stack):
    phase = stack[["phase"]].drop_dims("voltage", errors="ignore")
    aligned = apply_shifts(phase, shifts_of(stack, np.ones((7, 2))))
    assert aligned["shift_y"].dims == ("z",)
    assert (aligned["phase"].values == stack["phase"].values[:, :-1, :-1]).all()


# ── what is filled, or cropped ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("outside", ["edge", "zero"])
def test_apply_shifts__tells_the_share_that_is_filled(stack, outside):
    pixels = np.zeros((2, 7, 2))
    pixels[0, 3], pixels[1, 3], pixels[1, 5] = (7, 0), (7.4, -0.4), (-14, 33)
    stack = stack.drop_vars("phase")
    with pytest.warns(FibdaskWarning, match="60 % of slice 5, since no raw pixel falls on them"):
        aligned = apply_shifts(stack, shifts_of(stack, pixels), outside=outside)
    share = aligned["intensity"].coords["filled_share"]
    np.testing.assert_allclose(share, [0, 0, 0, 0.1, 0, 0.6, 0])
    filled = apply_shifts(xr.ones_like(stack, "uint8"), shifts_of(stack, pixels), outside="zero")
    zeros = (filled["intensity"].values == 0).mean(axis=(2, 3)).max(axis=0)
    np.testing.assert_allclose(share, zeros)
    assert json.loads(aligned.attrs["provenance"][-1])["parameters"]["filled_share"] == (
        pytest.approx(0.1)
    )


@pytest.mark.filterwarnings("error")
def test_apply_shifts__of_half_a_pixel_fill_none(stack):
    aligned = apply_shifts(stack, shifts_of(stack, np.full((7, 2), 0.5)), outside="edge")
    assert "filled_share" not in aligned.coords


@pytest.mark.parametrize("half", [0.5, -0.5, 2.5, -2.5])
def test_apply_shifts__of_half_pixels_fill_as_many_of_labels_as_of_images(stack, half):
    solid = xr.ones_like(stack, "uint8")
    aligned = apply_shifts(solid, shifts_of(stack, np.full((7, 2), half)), outside="zero")
    images, phase = aligned["intensity"].values, aligned["phase"].values
    assert ((images > 0) == phase).all()
    share = aligned["filled_share"].values if "filled_share" in aligned else 0
    np.testing.assert_allclose((phase == 0).mean(axis=(1, 2)), share)


def test_apply_shifts__crops_what_was_filled_before(stack):
    pixels = np.zeros((7, 2))
    pixels[2], pixels[5] = (3, -2), (-1, 6)
    filled = apply_shifts(stack, shifts_of(stack, pixels), outside="edge")
    again = apply_shifts(filled, shifts_of(stack, 0 * pixels))
    expected = apply_shifts(stack, shifts_of(stack, pixels))
    assert "filled_share" not in again.coords
    xr.testing.assert_equal(again, expected)
    part = filled.isel(y=slice(20, None), x=slice(6, 64), z=slice(1, 6))
    assert covered_region(part) == {"y": slice(0, 49), "x": slice(0, 58)}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (lambda y: 0.8 * y, "2.4 nm each: set pixel sizes and origins, or"),
        (lambda y: y + 40, "to 247 nm, 3 nm each: set pixel sizes"),
    ],
    ids=["size", "origin"],
)
def test_covered_region__is_of_pixels_as_they_were_when_slices_were_aligned(stack, changed, told):
    pixels = np.zeros((7, 2))
    pixels[2] = (3, -2)
    filled = apply_shifts(stack, shifts_of(stack, pixels), outside="zero")
    moved = filled.assign_coords(y=("y", changed(filled["y"].values), filled["y"].attrs))
    assert covered_region(moved) == covered_region(filled)
    with pytest.raises(ConventionError, match=told):  # as earlier versions have stored it
        covered_region(moved.drop_vars(["aligned_y", "aligned_x"]))


@pytest.mark.parametrize("steps", [1, -1])
def test_covered_region__goes_with_pixels_that_are_numbered_anew_mirrored_or_transposed(
    stack, steps
):
    pixels = np.zeros((7, 2))
    pixels[2], pixels[5] = (3, -2), (-1, 6)
    filled = apply_shifts(stack, shifts_of(stack, pixels), outside="zero")
    known = np.zeros((70, 66), bool)
    known[tuple(covered_region(filled).values())] = True
    part = {"y": slice(60, 1, steps) if steps < 0 else slice(2, None), "x": slice(4, 64)}
    turned = filled.isel(part).rename(y="x", x="y").transpose(..., "y", "x")
    places = {axis: 3.0 * np.arange(turned.sizes[axis]) for axis in ("y", "x")}
    turned = turned.assign_coords(
        {axis: (axis, places[axis], filled[axis].attrs) for axis in places}
    )
    found = np.zeros((turned.sizes["y"], turned.sizes["x"]), bool)
    found[tuple(covered_region(require(turned)).values())] = True
    np.testing.assert_array_equal(found, known[part["y"], part["x"]].T)


@pytest.mark.parametrize("pixels", [2, 3, 4, 6, 8, 12])
def test_covered_region__holds_averaged_pixels_that_are_covered_as_a_whole(pixels):
    stack = build_stack(
        {"phase": np.ones((3, 12, 48), np.uint8)},
        z=5.0 * np.arange(3),
        pixel_size=(5, 5),
        nominal_thickness=5.0,
    )
    shifts = shifts_of(stack, [(0, 0), (0, 3), (0, -5)])
    aligned = apply_shifts(stack, shifts, outside="zero")
    assert covered_region(aligned)["x"] == slice(3, 43)
    averaged = aligned.coarsen(x=pixels).mean()
    whole = averaged["phase"].isel(covered_region(averaged))
    assert (whole == 1).all()
    assert whole.sizes["x"] == 43 // pixels - -(-3 // pixels)
    single = aligned.isel(x=slice(2, 4)).coarsen(x=2).mean()
    with pytest.raises(ConventionError, match="no part of the images along x"):
        covered_region(single)
    every_second = aligned.isel(x=slice(1, None, 2))
    assert covered_region(every_second)["x"] == slice(1, 21)
    every_third = aligned.isel(x=slice(0, None, 3))
    assert covered_region(every_third)["x"] == slice(1, 15)


@pytest.mark.parametrize("rows", [9, -3])
def test_covered_region__of_parts_that_were_aligned_apart_is_not_that_of_the_first(stack, rows):
    pixels = np.zeros((7, 2))
    pixels[1], pixels[5] = (3, 0), (rows, 0)
    shifts, halves = shifts_of(stack, pixels), (slice(0, 4), slice(4, 7))
    parts = [
        apply_shifts(stack.isel(z=part), shifts.isel(z=part), outside="zero") for part in halves
    ]
    joined = xr.concat(parts, "z")
    with pytest.raises(ConventionError, match=r"slice 5 has .* aligned apart from others"):
        covered_region(joined)
    assert covered_region(joined.isel(z=halves[0])) == covered_region(parts[0])
    whole = apply_shifts(stack, shifts, outside="zero")
    halved = xr.concat([whole.isel(z=part) for part in halves], "z")
    assert covered_region(halved) == covered_region(whole)


@pytest.mark.parametrize("mask", [None, {"y": (3, 70)}])
def test_covered_region__is_unknown_of_slices_that_were_not_measured_when_they_were_aligned(
    stack, mask
):
    pixels = np.zeros((7, 2))
    pixels[2], pixels[5] = (3, 0), (30, 0)
    shifts = shifts_of(stack, pixels).assign(flag=("z", np.arange(7) == 5))
    aligned = apply_shifts(stack, shifts, outside="zero")
    assert covered_region(aligned)["y"] == slice(3, 70)
    measured = aligned.assign_coords(measured=("z", np.ones(7, bool)))
    with pytest.raises(ConventionError, match=r"slice 5 has .* or was not measured then"):
        covered_region(measured)
    with pytest.raises(ConventionError, match=r"slice 5 has .* or was not measured then"):
        solid_fraction(measured["phase"], mask=mask)
    assert solid_fraction(measured["phase"], mask={"z": (0, 5), "y": (3, 70)}) > 0
    record = np.full(7, aligned["filled_share_record"].values[0])
    earlier = recognise_filled_share(aligned.assign_coords(filled_share_record=("z", record)))
    xr.testing.assert_identical(earlier, aligned)


def test_apply_shifts__refuses_voltages_that_were_aligned_apart(stack):
    pixels = np.zeros((2, 7, 2))
    pixels[:, 5, 0] = 9, -9
    shifts = shifts_of(stack, pixels)
    images = stack[["intensity"]]
    parts = [
        apply_shifts(images.isel(voltage=[k]), shifts.isel(voltage=[k]), outside="zero")
        for k in range(2)
    ]
    joined = xr.concat(parts, "voltage", data_vars="all", coords="different", compat="equals")
    with pytest.raises(ConventionError, match="join voltages before slices are aligned"):
        apply_shifts(joined, shifts)


def test_apply_shifts__of_one_voltage_are_those_of_all(stack):
    pixels = np.zeros((7, 2))
    pixels[2] = (3, -2)
    shifts = shifts_of(stack, pixels)
    one = shifts.assign_coords(voltage=stack["voltage"].values[0])
    xr.testing.assert_equal(apply_shifts(stack, one), apply_shifts(stack, shifts))
    row = shifts.expand_dims("voltage")
    xr.testing.assert_equal(apply_shifts(stack, row), apply_shifts(stack, shifts))
    with pytest.raises(ConventionError, match="must be on the voltage of the stack"):
        apply_shifts(stack, shifts.assign_coords(voltage=9.0))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.zeros((3, 7)), "for 2 voltages; got 3"),
        (np.full(7, "far"), "shift_y must be numbers of nm; it is of the type <U3"),
    ],
)
def test_apply_shifts__refuses_what_is_not_of_its_voltages_or_no_numbers(stack, values, told):
    dims = ("voltage", "z")[-values.ndim :]
    shifts = xr.Dataset({f"shift_{axis}": (dims, values) for axis in "yx"})
    with pytest.raises(ConventionError, match=told):
        apply_shifts(stack, shifts)


def test_apply_shifts__keeps_the_filled_share_in_stores_and_between_planes(stack, tmp_path):
    pixels = np.zeros((7, 2))
    pixels[2, 0] = 35
    filled = apply_shifts(stack, shifts_of(stack, pixels), outside="zero")
    moved = open_stack(save_stack(reposition_slices(filled, spacing=5.0), tmp_path / "a.zarr"))
    measured = moved["measured"].values
    share = moved["filled_share"].values
    np.testing.assert_array_equal(share[measured], filled["filled_share"])
    assert np.isnan(share[~measured]).all()
    assert covered_region(moved)["y"] == slice(35, 70)


def test_apply_shifts__flagged_slices_do_not_narrow_the_crop(stack):
    pixels = np.zeros((2, 7, 2))
    pixels[:, 3], pixels[:, 4] = 30, 2
    shifts = shifts_of(stack, pixels).assign(flag=(("voltage", "z"), np.zeros((2, 7), np.uint8)))
    shifts["flag"][1, 3] = 3
    aligned = apply_shifts(stack, shifts)
    assert aligned.sizes["y"] == 68
    np.testing.assert_array_equal(aligned["phase"][4], stack["phase"][4, :68, :64])
    assert json.loads(aligned.attrs["provenance"][-1])["parameters"]["cropped_share"] == (
        pytest.approx(1 - 68 * 64 / (70 * 66))
    )


def test_apply_shifts__warns_of_a_crop_to_less_than_half(stack):
    pixels = np.zeros((7, 2))
    pixels[2, 1], pixels[4, 1] = -20, 20
    text = "leaves 26 of 66 pixels along x.* from -20 at slice 2 to 20 at slice 4, of 66 pixels"
    with pytest.warns(FibdaskWarning, match=text):
        apply_shifts(stack, shifts_of(stack, pixels))


# ── refusals ─────────────────────────────────────────────────────────────────────────────────


def test_apply_shifts__tells_of_sections_that_stay_as_they_are(stack):
    images = stack.drop_vars("phase")
    section, still = images["intensity"].isel(voltage=0, y=3, drop=True), np.zeros((2, 7, 2))
    with pytest.warns(FibdaskWarning, match=r"^cut: sections along z are not translated"):
        moved = apply_shifts(images.assign(cut=section, true_cut=section), shifts_of(images, still))
    np.testing.assert_array_equal(moved["cut"], section)


def test_apply_shifts__refuses_what_is_not_finite(stack):
    pixels = np.zeros((7, 2))
    pixels[4, 1] = np.nan
    with pytest.raises(ConventionError, match="shift_x must be finite; slice 4 at 1 kV has nan nm"):
        apply_shifts(stack, shifts_of(stack, pixels))


def test_apply_shifts__refuses_to_leave_the_image(stack):
    pixels = np.zeros((7, 2))
    pixels[3, 0] = -71
    text = "shift_y must be smaller than the image, 210 nm; slice 3 at 1 kV has -213 nm"
    with pytest.raises(ConventionError, match=text):
        apply_shifts(stack, shifts_of(stack, pixels))


def test_apply_shifts__refuses_other_units(stack):
    shifts = shifts_of(stack, np.zeros((7, 2)))
    shifts["shift_x"].attrs["units"] = "um"
    with pytest.raises(ConventionError, match="shift_x must be in nm; its attribute units is 'um'"):
        apply_shifts(stack, shifts)


def test_apply_shifts__refuses_different_dimensions(stack):
    shifts = shifts_of(stack, np.zeros((2, 7, 2)))
    shifts["shift_x"] = shifts["shift_x"].isel(voltage=0, drop=True)
    with pytest.raises(ConventionError, match=r"same dimensions; found \('voltage', 'z'\) and"):
        apply_shifts(stack, shifts)


def test_apply_shifts__flagged_slices_are_not_measured(stack):
    shifts = shifts_of(stack, np.zeros((2, 7, 2)))
    shifts["flag"] = (("voltage", "z"), np.zeros((2, 7), np.uint8))
    assert "measured" not in apply_shifts(stack, shifts).coords
    shifts["flag"][1, 3] = 2
    measured = apply_shifts(stack, shifts)["measured"]
    assert np.flatnonzero(~measured).tolist() == [3]


def test_apply_shifts__refuses_phases_between_voltages(stack):
    pixels = np.zeros((2, 7, 2))
    pixels[1, 5, 0] = 0.75
    text = "phase has no voltage.*half a pixel; at slice 5 they differ by 0.75 pixels"
    with pytest.raises(ConventionError, match=text):
        apply_shifts(stack, shifts_of(stack, pixels))


def test_apply_shifts__refuses_another_stack(stack):
    shifts = shifts_of(stack, np.zeros((7, 2)))
    with pytest.raises(ConventionError, match="the stack has 7 from 0, the shifts 6 from 0"):
        apply_shifts(stack, shifts.isel(z=slice(0, 6)))
    with pytest.raises(ConventionError, match="shift_x is missing"):
        apply_shifts(stack, shifts.drop_vars("shift_x"))
    wrong = shifts_of(stack, np.zeros((2, 7, 2))).assign_coords(voltage=[1.0, 3.0])
    with pytest.raises(ConventionError, match="on the voltage of the stack; the stack has 2"):
        apply_shifts(stack, wrong)


def test_apply_shifts__refuses_a_crop_to_nothing(stack):
    pixels = np.zeros((7, 2))
    pixels[:2, 1] = 40, -40
    text = "no pixel along x is covered.*from -40 at slice 1 to 40 at slice 0, of 66 pixels"
    with pytest.raises(ConventionError, match=text):
        apply_shifts(stack, shifts_of(stack, pixels))


def test_apply_shifts__refuses_unknown_choices(stack):
    with pytest.raises(ConventionError, match="outside must be one of crop, edge, zero; got 'no'"):
        apply_shifts(stack, shifts_of(stack, np.zeros((7, 2))), outside="no")
