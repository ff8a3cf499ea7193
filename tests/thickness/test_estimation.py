"""Thickness as a whole: the method is chosen, and slices are put at their depth."""

import json

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from fibdask.conventions import ConventionError, FibdaskWarning, build_stack, validate_stack
from fibdask.io import open_stack, save_stack
from fibdask.statistics import isotropy_errors
from fibdask.thickness.application import apply_slice_thickness
from fibdask.thickness.estimation import estimate_slice_thickness
from fibdask.thickness.repositioning import reposition_slices
from fibdask.thickness.values import thickness_array
from tests.thickness.naive import render_ruler, smooth_texture


def stack_of(slices, step=10.0, pixel=5.0):
    return build_stack(
        {"intensity": slices[None], "phase": (slices > 120).astype(np.uint8)},
        z=100.0 + step * np.arange(len(slices)),
        pixel_size=(pixel, pixel),
        nominal_thickness=step,
        voltage=np.array([2.0]),
    )


@pytest.fixture
def stack():
    """Six slices, 10 nm apart from 100 nm; slice k holds k."""
    return stack_of(np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 9), np.uint8))


def estimate(stack, steps, lost=()):
    """Return an estimate as a method makes it."""
    flags = np.isin(np.arange(stack.sizes["z"]), lost)
    steps = np.append(np.asarray(steps, float), np.nan)
    return thickness_array(stack["intensity"][0], steps, 0.1 * steps, flags, "images", {})


def trace(stack):
    return stack["intensity"].values[0, :, 0, 0].tolist()


# ── estimate ─────────────────────────────────────────────────────────────────────────────────


def test_estimate_slice_thickness__by_images_and_by_ruler():
    slices = smooth_texture((60, 100, 100), 3.0, seed=1)[:12:2]
    stack = stack_of(np.ascontiguousarray(slices))
    found = estimate_slice_thickness(stack, method="images", voltage=2.0)
    assert found.dims == ("z",)
    assert found["z"].variable.identical(stack["z"].variable)
    assert (found.attrs["units"], found.attrs["method"]) == ("nm", "images")
    assert json.loads(found.attrs["parameters"])["isotropic"] is True
    np.testing.assert_allclose(found, 10.0, rtol=0.3)
    derived = estimate_slice_thickness(stack.drop_vars("slice_thickness"), method="images")
    np.testing.assert_array_equal(derived, found)

    true = np.full(20, 12.0)
    slices, ruler = render_ruler(true, pixel=5.0, shape=(40, 500), half=150)
    found = estimate_slice_thickness(stack_of(slices), ruler=ruler)
    assert found.attrs["method"] == "ruler"
    assert json.loads(found.attrs["parameters"])["ruler"] == ruler
    np.testing.assert_allclose(found[:-1], true, atol=1.5)


def test_estimate_slice_thickness__names_what_does_not_fit(stack):
    with pytest.raises(ConventionError, match="one of ruler, images; got 'guess'"):
        estimate_slice_thickness(stack, method="guess")
    with pytest.raises(ConventionError, match="method 'ruler' needs the table ruler"):
        estimate_slice_thickness(stack)
    with pytest.raises(ConventionError, match=r"method 'ruler' only; got .* with 'images'"):
        estimate_slice_thickness(stack, method="images", ruler={"inclined": 4})
    with pytest.raises(ConventionError, match="needs the variable intensity"):
        estimate_slice_thickness(stack.drop_vars("intensity"), method="images")


@pytest.mark.parametrize(
    "option", [{"region": {"y": (0, 4)}}, {"max_distance": 20.0}, {"isotropic": False}]
)
def test_estimate_slice_thickness__ruler_refuses_the_options_of_images(stack, option):
    name = next(iter(option))
    with pytest.raises(ConventionError, match=f"{name} goes with method 'images' only; got"):
        estimate_slice_thickness(stack, ruler={"inclined": 4, "angle": 30}, **option)


@pytest.mark.parametrize("bad", [200.0, np.nan])
def test_estimate_slice_thickness__slices_that_are_not_measured_are_lost(bad):
    slices = smooth_texture((60, 100, 100), 3.0, seed=1)[:24:2].astype(np.float32)
    clean = estimate_slice_thickness(stack_of(slices), method="images")
    slices[5] = smooth_texture((1, 100, 100), 3.0, seed=8)[0] if bad > 0 else bad
    measured = ("z", np.arange(12) != 5)
    stack = stack_of(slices).assign_coords(measured=measured)
    found = estimate_slice_thickness(stack, method="images")
    assert np.flatnonzero(found["lost"]).tolist() == [5]
    assert np.flatnonzero(np.isnan(found)).tolist() == [4, 5]
    assert float(found["step"][4]) == pytest.approx(20.0, rel=0.3)
    others = np.delete(np.arange(11), [4, 5])
    np.testing.assert_allclose(found[others], clean[others])

    true = np.full(20, 12.0)
    slices, ruler = render_ruler(true, pixel=5.0, shape=(40, 500), half=150)
    slices = slices.astype(np.float32)
    slices[5] = np.roll(slices[5], 6, axis=1) if bad > 0 else bad
    stack = stack_of(slices).assign_coords(measured=("z", np.arange(21) != 5))
    found = estimate_slice_thickness(stack, ruler=ruler)
    assert np.flatnonzero(found["lost"]).tolist() == [5]
    assert float(found["step"][4]) == pytest.approx(24.0, abs=1.5)


def test_estimate_slice_thickness__planes_without_slice_are_lost():
    slices = np.ascontiguousarray(smooth_texture((60, 100, 100), 3.0, seed=1)[:24:2])
    stack = reposition_slices(stack_of(slices), spacing=5.0)
    found = estimate_slice_thickness(stack, method="images")
    assert found["lost"].values.tolist() == (~stack["measured"].values).tolist()
    assert found.values[-1] == pytest.approx(5.0, rel=0.3)


def test_estimate__outliers_lost_slices_and_the_last_one(stack):
    found = estimate(stack, [10, 10, 21, np.nan, 10], lost=[3])
    np.testing.assert_array_equal(found, [10, 10, np.nan, np.nan, 10, 51 / 5])
    np.testing.assert_array_equal(found["step"], [10, 10, 21, np.nan, 10, np.nan])
    assert found["lost"].values.tolist() == [False, False, False, True, False, False]
    assert estimate(stack, [10, 10, 10, 10, 30])["outlier"].values.tolist() == [False] * 4 + [
        True,
        False,
    ]


# ── apply ────────────────────────────────────────────────────────────────────────────────────


def test_apply_slice_thickness__adds_up_from_the_first_face(stack):
    moved = apply_slice_thickness(stack, [8.0, 12, 9, 11, 10, 7])
    np.testing.assert_allclose(moved["z"], [100, 108, 120, 129, 140, 150])
    np.testing.assert_allclose(moved["slice_thickness"], [8, 12, 9, 11, 10, 7])
    assert moved["z"].attrs["units"] == "nm"
    assert trace(moved) == [0, 1, 2, 3, 4, 5]
    validate_stack(moved)
    record = json.loads(moved.attrs["provenance"][-1])
    assert record["step"] == "apply_slice_thickness"


def test_apply_slice_thickness__of_the_stack_itself_changes_nothing(stack):
    moved = apply_slice_thickness(stack, stack["slice_thickness"])
    assert moved.drop_attrs(deep=False).equals(stack)


def test_apply_slice_thickness__refuses_the_unknown_with_its_place(stack):
    thickness = estimate(stack, [10, 10, 21, np.nan, 10], lost=[3])
    with pytest.raises(ConventionError, match="2 of 6 slices have NaN, slice 2 the first"):
        apply_slice_thickness(stack, thickness)


def test_apply_slice_thickness__interpolates_between_known_faces(stack):
    thickness = estimate(stack, [10, 10, 21, np.nan, 10], lost=[3])
    moved = apply_slice_thickness(stack, thickness, lost="interpolate")
    np.testing.assert_allclose(moved["z"], [100, 110, 120, 130.5, 141, 151])
    ends = estimate(stack, [np.nan, 10, np.nan, 10, np.nan], lost=[0, 5])
    moved = apply_slice_thickness(stack, ends, lost="interpolate")
    np.testing.assert_allclose(moved["z"], 100 + 10.0 * np.arange(6))
    plain = apply_slice_thickness(stack, [8, np.nan, 12, 10, 10, np.nan], lost="interpolate")
    np.testing.assert_allclose(plain["slice_thickness"], [8, 10, 12, 10, 10, 10])


def test_apply_slice_thickness__drops_lost_slices_and_keeps_depth(stack):
    thickness = estimate(stack, [10, 10, 21, np.nan, 10], lost=[3])
    moved = apply_slice_thickness(stack, thickness, lost="drop")
    np.testing.assert_allclose(moved["z"], [100, 110, 120, 141, 151])
    assert trace(moved) == [0, 1, 2, 4, 5]
    assert json.loads(moved.attrs["provenance"][-1])["parameters"]["dropped_slices"] == [3]
    gap = estimate(stack, [10, 10, np.nan, 10, 10])
    with pytest.raises(ConventionError, match="from slice 2 to the next one is not known"):
        apply_slice_thickness(stack, gap, lost="drop")


@pytest.mark.parametrize(
    ("change", "depths"),
    [
        (lambda t: t * 2, [0, 20, 42, 62, 82, 162]),
        (lambda t: t.copy(data=[10.1, *t[1:]]), [0, 10.1, 21.1, 31.1, 41.1, 81.1]),  # edited
        (lambda t: t * 1.01, [0, 10.1, 21.21, 31.31, 41.41, 81.81]),
        (lambda t: t.clip(0, 30), [0, 10, 21, 31, 41, 71]),
        (lambda t: t.fillna(10), [0, 10, 21, 31, 41, 81]),
        (lambda t: t.interpolate_na("z"), [0, 10, 21, 41 + 2 / 3, 72, 112]),
        (lambda t: t.copy(data=[10, 11, np.nan, 10, 40, 10]), [0, 10, 21, 38.75, 48.75, 88.75]),
        (lambda t: t.where(t < 40), [0, 10, 21, 31, 41, 51.25]),
        (lambda t: t.clip(0, 30).drop_vars("step"), [0, 10, 21, 38, 55, 85]),
        (
            lambda t: t.copy(data=[np.nan, *t[1:]]).drop_vars("step"),
            [0, 25.5, 36.5, 62, 87.5, 127.5],
        ),
    ],
)
def test_apply_slice_thickness__takes_an_estimate_that_was_changed_as_it_stands(
    stack, change, depths
):
    thickness = change(estimate(stack, [10, 11, 20, np.nan, 40], lost=[3]))
    moved = apply_slice_thickness(stack, thickness, lost="interpolate")
    np.testing.assert_allclose(moved["z"] - 100, depths)
    assert moved["measured"].values.tolist() == [True, True, True, False, True, True]
    known = np.isfinite(thickness[:-1].values)
    np.testing.assert_allclose(np.diff(moved["z"])[known], thickness[:-1][known])


def test_apply_slice_thickness__refuses_a_step_across_lost_slices_that_is_stale(stack):
    thickness = estimate(stack, [10, 11, 20, np.nan, 40], lost=[3])
    smoothed = thickness.copy(data=[13, 17, *thickness[2:4], 25, 10])
    with pytest.raises(ConventionError, match="at slice 1 from 11 to 17 nm, but its coordinate"):
        apply_slice_thickness(stack, smoothed, lost="interpolate")


def test_apply_slice_thickness__takes_duplicates_out(stack):
    moved = apply_slice_thickness(stack, [10.0, 0.0, 10, 0.01, 9, 10], drop_thinner=2.0)
    np.testing.assert_allclose(moved["z"], [100, 110, 120, 129.01])
    assert trace(moved) == [0, 1, 3, 5]
    assert moved["phase"].shape == (4, 8, 9)
    with pytest.raises(ConventionError, match="> 0 nm; slice 3 has -3 nm"):
        apply_slice_thickness(stack, [10.0, 0.0, 10, -3, 9, 10], drop_thinner=2.0)


def test_apply_slice_thickness__warns_where_most_slices_are_duplicates(stack):
    with pytest.warns(FibdaskWarning, match="4 of 6 slices are left out as duplicates"):
        apply_slice_thickness(stack, [10.0, 10, 10, 10, 10, 10], drop_thinner=25.0)


def test_apply_slice_thickness__duplicates_of_an_estimate_may_be_negative_by_chance(stack):
    found = estimate(stack, [10.0, 10, -0.5, 10, 10])
    errors = found["standard_error"].copy(data=[0.3] * 5 + [np.nan])
    found = found.assign_coords(standard_error=errors)
    moved = apply_slice_thickness(stack, found, drop_thinner=2.0)
    np.testing.assert_allclose(moved["z"], [100, 110, 120, 129.5, 139.5])
    surer = found.assign_coords(standard_error=errors / 2)
    for given, options in ((found, {}), (surer, {"drop_thinner": 2.0})):
        with pytest.raises(ConventionError, match=r"> 0 nm; slice 2 has -0\.5 nm"):
            apply_slice_thickness(stack, given, **options)


def test_apply_slice_thickness__images_that_are_lost_are_not_measured(stack):
    marked = stack.assign_coords(measured=("z", np.arange(6) != 1))
    thickness = estimate(stack, [10, 10, 20, np.nan, 10], lost=[3])
    moved = apply_slice_thickness(marked, thickness, lost="interpolate")
    assert moved["measured"].values.tolist() == [True, False, True, False, True, True]
    assert moved["measured"].attrs["long_name"] == "plane holds a measured slice"
    planes = reposition_slices(
        apply_slice_thickness(stack, thickness, lost="interpolate"), spacing=10.0
    )
    assert planes["measured"].values.tolist() == [True, True, True, False, True, True]
    ruled = apply_slice_thickness(stack, thickness.assign_attrs(method="ruler"), lost="interpolate")
    assert "measured" not in ruled.coords


def test_apply_slice_thickness__images_that_are_lost_are_so_without_attributes(stack):
    found = estimate(stack, [10, 10, 20, np.nan, 10], lost=[3])
    found = found.assign_coords(quality=("z", np.where(found["lost"], 0.0, 1.0)))
    bare = xr.DataArray(1.02 * found.values, found.coords, found.dims)
    moved = apply_slice_thickness(stack, bare, lost="interpolate")
    assert moved["measured"].values.tolist() == [True, True, True, False, True, True]


def test_apply_slice_thickness__of_one_slice_is_its_nominal_one(stack):
    moved = apply_slice_thickness(stack.isel(z=[2]), [5.0])
    assert moved["z"].values.tolist() == [120.0]
    assert moved["slice_thickness"].values.tolist() == [5.0]


def test_apply_slice_thickness__is_lazy_and_the_same_from_any_blocks(stack, tmp_path):
    thickness = [10.0, 0.5, 10, 10, 9, 10]
    expected = apply_slice_thickness(stack, thickness, drop_thinner=2.0)["intensity"].values
    chunked = stack.assign({name: stack[name].chunk({"z": 2, "y": 5}) for name in stack.data_vars})
    chunked = chunked.assign_coords(stack.coords)
    save_stack(stack, tmp_path / "s.zarr")
    stored = open_stack(tmp_path / "s.zarr")
    with dask.config.set(scheduler=_refuse):
        lazy = [
            apply_slice_thickness(source, thickness, drop_thinner=2.0)["intensity"]
            for source in (chunked, stored)
        ]
    assert len(lazy[1].data.dask) <= 2
    for found in lazy:
        assert isinstance(found.data, da.Array)
        np.testing.assert_array_equal(found.values, expected)


def _refuse(*args, **kwargs):
    raise AssertionError("computed")


@pytest.mark.parametrize(
    ("thickness", "options", "message"),
    [
        ([10.0] * 5, {}, r"each of 6 slices; got \(5,\)"),
        ([10, 10, np.inf, 10, 10, 10], {}, "slice 2 has inf nm"),
        ([10, 10, 0, 10, 10, 10], {}, "> 0 nm; slice 2 has 0 nm"),
        ([10, -2, 10, 10, 10, 10], {}, "> 0 nm; slice 1 has -2 nm"),
        ([0.01] * 6, {}, r"median is 0.01 nm \(slice 0 .* are 10 nm thick: .* about 0.001"),
        ([10000.0] * 6, {}, "median is 10000 nm .* factor of about 1000"),
        ([10, 10, 10, 10000, 10, 10], {}, "in one unit, nm; slice 3 has 10000 nm"),
        ([10, 10, 10, 0.01, 10, 10], {}, "in one unit, nm; slice 3 has 0.01 nm, .* drop_thinner"),
        ([10.0] * 6, {"lost": "guess"}, "refuse, interpolate, drop; got 'guess'"),
        ([10.0] * 6, {"drop_thinner": 0.0}, "drop_thinner must be > 0 nm; got 0.0"),
        ([10.0] * 6, {"drop_thinner": "2"}, "drop_thinner must be > 0 nm; got '2'"),
        ([np.nan] * 6, {"lost": "interpolate"}, "at least one pair of slices"),
        (["ten"] * 6, {}, "thickness must be numbers of nm, .* got what is none, in list"),
    ],
)
def test_apply_slice_thickness__refuses_with_the_place(stack, thickness, options, message):
    with pytest.raises(ConventionError, match=message):
        apply_slice_thickness(stack, thickness, **options)


@pytest.mark.parametrize("kept", [[0, 1, 2, 4, 5], [0, 2, 4]])
def test_apply_slice_thickness__refuses_distances_to_slices_that_were_left_out(stack, kept):
    thickness = estimate(stack, [10, 11, 12, 13, 14])
    with pytest.raises(ConventionError, match="choose or move slices once thickness is applied"):
        apply_slice_thickness(stack.isel(z=kept), thickness.isel(z=kept))
    first = slice(1, 4)  # those that follow one another stay as they were measured
    moved = apply_slice_thickness(stack.isel(z=first), thickness.isel(z=first))
    np.testing.assert_allclose(np.diff(moved["z"]), [11, 12])


def test_apply_slice_thickness__refuses_thickness_of_other_slices(stack):
    thickness = stack["slice_thickness"]
    with pytest.raises(ConventionError, match="slice 1 has 111 nm, in the stack 110 nm"):
        apply_slice_thickness(stack, thickness.assign_coords(z=100 + 11.0 * np.arange(6)))
    with pytest.raises(ConventionError, match="units 'nm'; found 'um'"):
        apply_slice_thickness(stack, thickness.assign_attrs(units="um"))
    with pytest.raises(ConventionError, match="dimension z; found slice"):
        apply_slice_thickness(stack, thickness.drop_vars("z").rename(z="slice"))


def test_apply_slice_thickness__warns_of_many_slices_of_almost_nothing(stack):
    with pytest.warns(FibdaskWarning, match="40% of the slices are at most 1 nm thick, slice 1"):
        apply_slice_thickness(stack, [10, 0.8, 10, 0.9, 10, 10])


def test_estimate_slice_thickness__warns_where_the_images_contradict_the_mean():
    texture = smooth_texture((60, 160, 160), 3.0, seed=3)[::3]
    options = {"method": "images", "compute": lambda a: a.compute(scheduler="synchronous")}
    found = estimate_slice_thickness(stack_of(texture, step=15.0), **options)
    assert float(found.mean()) == pytest.approx(15.0, rel=0.05)
    message = r"-\d\d\.\d% off the 20 nm of the stack; .* isotropy errors will prove nothing"
    with pytest.warns(FibdaskWarning, match=message):
        estimate_slice_thickness(stack_of(texture, step=20.0), **options)
    kept = estimate_slice_thickness(stack_of(texture, step=20.0), isotropic=False, **options)
    assert float(kept.mean()) == pytest.approx(20.0)


def test_apply_slice_thickness__says_where_it_closes_gaps_of_missing_files(stack):
    files = {"count": 6, "first": "s_01.tif", "last": "s_08.tif", "missing": "4-5"}
    files["from"] = "the number in s_[01]"
    told = stack.assign_attrs(header=json.dumps({"files": files}))
    with pytest.warns(FibdaskWarning, match=r"between slice 2 \(image 3\) and slice 3 \(image 6\)"):
        apply_slice_thickness(told, np.full(6, 10.0))
    for across in (18, 25):
        apply_slice_thickness(told, [10, 9, across, 10, 11, 10])
    apply_slice_thickness(told, estimate(told, [10, 9, 11, 10, 10]))


def test_apply_slice_thickness__hands_on_that_the_scale_is_an_assumption(tmp_path):
    texture = stack_of(smooth_texture((40, 64, 64), 3.0, seed=3)[::2])
    found = estimate_slice_thickness(texture, method="images")
    placed = apply_slice_thickness(texture, found)
    stack = reposition_slices(placed, spacing=5.0)
    save_stack(stack, tmp_path / "s.zarr")
    phase = open_stack(tmp_path / "s.zarr")["phase"]
    errors = isotropy_errors(phase, max_lag=2)
    assert any("isotropy errors prove nothing" in text for text in errors.attrs["warnings"])
    assert "assumed_isotropic" in stack.attrs["provenance"][0]
    smooth = placed["slice_thickness"].rolling(z=3, center=True, min_periods=1).mean()
    again = estimate_slice_thickness(placed, method="images", isotropic=False)
    for own in (smooth, again):
        assert apply_slice_thickness(placed, own)["z"].attrs["scale"] == "isotropic texture"
    given = apply_slice_thickness(stack, np.full(stack.sizes["z"], 10.0))
    assert "scale" not in given["z"].attrs
