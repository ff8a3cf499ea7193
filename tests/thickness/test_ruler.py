"""Thickness from rulers: rendered trenches, lost marks, and geometries that do not fit."""

import json

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from fibdask.align import apply_shifts, remove_curtaining
from fibdask.conventions import ConventionError, FibdaskWarning, build_stack
from fibdask.io import open_stack, save_stack
from fibdask.thickness import estimate_slice_thickness
from fibdask.thickness._kernels.ruler import track_mark
from fibdask.thickness.ruler import StripMeans, measure_marks, solve_marks
from tests.thickness.naive import render_ruler

PIXEL = 3.26
COUNT = 120
SHIFTS = ("shift_y", "shift_x")


@pytest.fixture(scope="module")
def thickness():
    """Gamma-distributed, 10.16 ± 3.12 nm, as in a published stack."""
    return np.maximum(np.random.default_rng(3).gamma(10.6, 10.16 / 10.6, COUNT - 1), 1.0)


@pytest.fixture(scope="module")
def rendered(thickness):
    return render_ruler(thickness, pixel=PIXEL, shape=(60, 900), half=300, drift=0.4, seed=1)


def stack_of(slices, pixel=PIXEL):
    return build_stack(
        {"intensity": slices[None]},
        z=10.0 * np.arange(len(slices)),
        pixel_size=(pixel, pixel),
        nominal_thickness=10.0,
        voltage=np.array([2.0]),
    )


def estimate(slices, ruler):
    return solve_marks(measure_marks(stack_of(slices), ruler).compute(scheduler="synchronous"))


def rms(found, true):
    return np.sqrt(np.nanmean((found.values[:-1] - true) ** 2))


def without(slices, k, place, seed=0):
    """Cover a mark in slice k with what is around it."""
    slices = slices.copy()
    columns = slice(round(place) - 14, round(place) + 15)
    ground = slices[k, :, round(place) + 20 : round(place) + 30].mean()
    noise = np.random.default_rng(seed).normal(0, 10, slices[k, :, columns].shape)
    slices[k, :, columns] = np.clip(ground + noise, 0, 255)
    return slices


# ── the public function ──────────────────────────────────────────────────────────────────────


def test_estimate_slice_thickness__warns_where_marks_were_taken_for_stripes(rendered):
    slices, ruler = rendered
    stack = remove_curtaining(stack_of(slices))
    with pytest.warns(FibdaskWarning, match="measure the ruler before"):
        estimate_slice_thickness(stack, ruler=ruler)


def test_estimate_slice_thickness__warns_of_an_angle_in_radians(rendered):
    slices, ruler = rendered
    with pytest.warns(FibdaskWarning, match=r"\d+ nm thick in the mean, .* 10 nm; an angle"):
        estimate_slice_thickness(stack_of(slices), ruler=ruler | {"angle": np.radians(30)})


# ── marks ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.interpreted
def test_track_mark__finds_places_between_pixels():
    x = np.arange(200.0)
    places = 60.0 + 1.37 * np.arange(40)
    profiles = 50 + 0.1 * x + 80 * np.exp(-0.5 * ((x - places[:, None]) / 4.3) ** 2)
    found, errors = track_mark(profiles, 66.0, 16.0)
    np.testing.assert_allclose(found, places, atol=1e-4)
    assert (errors < 1e-3).all()


def test_track_mark__passes_slices_that_do_not_show_it():
    x = np.arange(300.0)
    places = 60.0 + 3.0 * np.arange(40)
    profiles = 80 * np.exp(-0.5 * ((x - places[:, None]) / 4.0) ** 2)
    profiles += np.random.default_rng(0).normal(0, 1.0, profiles.shape)
    profiles[10:15] = 7.0
    profiles[20] *= 0.1
    found, _ = track_mark(profiles, 60.0, 16.0)
    lost = np.isnan(found)
    assert np.flatnonzero(lost).tolist() == [10, 11, 12, 13, 14, 20]
    np.testing.assert_allclose(found[~lost], places[~lost], atol=0.3)


# ── thickness ────────────────────────────────────────────────────────────────────────────────


def test_solve_marks__finds_thickness_within_half_a_nanometre(rendered, thickness):
    found = estimate(*rendered)
    assert rms(found, thickness) < 0.35
    assert found.values[-1] == pytest.approx(found.values[:-1].mean())
    assert not found["lost"].any()
    assert found["parallel_distance"].attrs["units"] == "nm"
    assert np.nanmean(found["parallel_distance"]) == pytest.approx(0.8 * 900 * PIXEL, rel=1e-3)


def test_solve_marks__standard_error_is_that_of_the_result(rendered, thickness):
    found = estimate(*rendered)
    stated = float(np.sqrt(np.nanmean(found["standard_error"] ** 2)))
    assert 0.75 < stated / rms(found, thickness) < 1.35


def test_solve_marks__one_inclined_mark_is_counted_from_the_parallel_ones(rendered, thickness):
    slices, ruler = rendered
    one = estimate(slices, ruler | {"inclined": ruler["inclined"][:1]})
    assert rms(one, thickness) < 0.7
    alone = estimate(slices, {"inclined": ruler["inclined"][:1], "angle": 30.0})
    assert rms(alone, thickness) > 1.0  # drift is taken for depth
    assert "parallel_distance" not in alone.coords


def test_solve_marks__diverging_bright_marks_in_nm_are_the_same(rendered, thickness):
    slices, ruler = rendered
    inverted = 255 - slices[::-1]
    moved = np.tan(np.radians(30)) * thickness.sum() / PIXEL
    last = [ruler["inclined"][0] + moved, ruler["inclined"][1] - moved]
    table = {
        "inclined": [PIXEL * place for place in last],
        "angle": 30.0,
        "bright": True,
        "width": 16 * PIXEL,
        "units": "nm",
    }
    assert rms(estimate(inverted, table), thickness[::-1]) < 0.35


def test_measure_marks__places_in_nm_are_those_of_the_coordinates(rendered):
    slices, ruler = rendered
    in_nm = {name: [PIXEL * place for place in ruler[name]] for name in ("inclined", "parallel")}
    table = ruler | in_nm | {"units": "nm", "width": 16 * PIXEL}
    table["strip"] = {"y": [10 * PIXEL, 50 * PIXEL]}
    cut = stack_of(slices).isel(y=slice(5, None), x=slice(40, None))
    strip = {"y": [5, 45]}
    moved = {name: [place - 40 for place in ruler[name]] for name in ("inclined", "parallel")}
    expected = measure_marks(cut, ruler | moved | {"strip": strip})
    found = measure_marks(cut, table)
    np.testing.assert_array_equal(found, expected)
    marks = [json.loads(measured.attrs["marks"])["inclined"] for measured in (found, expected)]
    np.testing.assert_allclose(*marks)


def test_measure_marks__of_all_that_alignment_did_not_fill(rendered):
    slices, ruler = rendered
    shifts = xr.Dataset({axis: ("z", np.arange(COUNT) % 2 * PIXEL) for axis in SHIFTS})
    with pytest.warns(FibdaskWarning, match="of the pixels are filled"):
        filled = apply_shifts(stack_of(slices), shifts, outside="zero")
    assert measure_marks(filled, ruler)["pixel"].values[[0, -1]].tolist() == [1, 899]


def test_solve_marks__calibration_stands_for_the_angle(rendered, thickness):
    slices, ruler = rendered
    calibration = {"slices": [4, 110], "distance": float(thickness[4:110].sum())}
    table = {name: ruler[name] for name in ("parallel", "inclined")} | {"calibration": calibration}
    found = estimate(slices, table)
    assert rms(found, thickness) < 0.35
    assert found.values[4:110].sum() == pytest.approx(calibration["distance"])


def test_solve_marks__lost_mark_is_flagged_with_its_slice(rendered, thickness):
    slices, ruler = rendered
    place = ruler["inclined"][0] + np.tan(np.radians(30)) * thickness[:40].sum() / PIXEL
    slices = without(slices, 40, place)
    slices[70] = 0
    found = estimate(slices, ruler)
    assert np.flatnonzero(found["lost"]).tolist() == [40, 70]
    assert np.flatnonzero(np.isnan(found)).tolist() == [39, 40, 69, 70]
    assert np.isnan(found["standard_error"][[39, 40]]).all()
    assert float(found["step"][39]) == pytest.approx(thickness[39:41].sum(), abs=1.5)
    assert rms(found, thickness) < 0.35


def test_solve_marks__lost_parallel_mark_loses_no_slice_of_two_inclined(rendered, thickness):
    slices, ruler = rendered
    found = estimate(without(slices, 40, ruler["parallel"][0]), ruler)
    assert not found["lost"].any()
    assert np.flatnonzero(np.isnan(found["parallel_distance"])).tolist() == [40]


def test_solve_marks__marks_that_meet_are_lost_from_there_on(thickness):
    slices, ruler = render_ruler(thickness, pixel=PIXEL, shape=(40, 900), half=150)
    found = estimate(slices, ruler)
    depth = np.append(0.0, np.cumsum(thickness))
    distance = 300 - 2 * depth * np.tan(np.radians(30)) / PIXEL
    assert distance[-1] < -32
    assert found["lost"].values[np.abs(distance) < 31].all()
    assert not found["lost"].values[distance > 33].any()
    apart = found.values[:-1][distance[:-1] > 33]
    known = np.isfinite(apart)
    assert np.sqrt(np.mean((apart - thickness[: len(apart)])[known] ** 2)) < 0.5


def test_solve_marks__warns_where_the_parallel_marks_change_their_distance(thickness):
    slices, ruler = render_ruler(thickness[:30], pixel=PIXEL, shape=(40, 900), half=300)
    slices[12] = np.roll(slices[12], 9, axis=1)
    slices[12, :, :200] = slices[11, :, :200]
    with pytest.warns(FibdaskWarning, match=r"same in all slices, .* slice 12 has 237\d"):
        estimate(slices, ruler)


def test_solve_marks__warns_where_another_line_is_taken_for_a_mark(rendered, thickness):
    slices, ruler = rendered
    slices = slices.copy()
    slices[60:] = np.where(np.arange(900) < 450, slices[60], slices[60:])  # the left one rests
    with pytest.warns(FibdaskWarning, match=r"in slice 119 it is .* nm off: another line"):
        estimate(slices, ruler)


def test_measure_marks__reads_the_strip_from_any_blocks(rendered, tmp_path):
    slices, ruler = rendered
    table = ruler | {"strip": {"y": [10, 50], "x": [20, 880]}}
    stack = stack_of(slices)
    expected = measure_marks(stack, table).compute()
    cropped = slices[:, 10:50, 20:880].mean(axis=1)
    np.testing.assert_allclose(expected.values, cropped)
    assert solve_marks(expected).equals(estimate(slices, table))
    chunked = da.from_array(slices[None], (1, 7, 23, 500))
    rechunked = stack.assign(intensity=(stack["intensity"].dims, chunked))
    assert measure_marks(rechunked, table).compute().equals(expected)
    save_stack(stack, tmp_path / "s.zarr")
    stored = measure_marks(open_stack(tmp_path / "s.zarr"), table)
    assert stored.compute().equals(expected)
    assert len(stored.data.dask) == 8  # tasks of 16 slices
    strip = (slice(10, 50), slice(20, 880))
    assert StripMeans(strip).needs((slice(3, 5), slice(0, 860))) == ((slice(3, 5), *strip),)


# ── bad input ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strip": {"y": [0, 61]}}, "along y within 0 and 60 pixels; got .0, 61"),
        ({"inclined": [150, 901]}, "inclined mark at 901 pixels lies outside the strip"),
        ({"parallel": [10, 500], "strip": {"x": [50, 900]}}, "parallel mark at 10 pixels lies out"),
        ({"parallel": [100]}, "0 or 2 parallel marks; got 1"),
        ({"inclined": []}, "1 or 2 inclined marks; got 0"),
        ({"inclined": [150, 170]}, "32 pixels, apart; those at 150 and 170"),
        ({"angle": 95}, "between 0 and 90 degrees; got 95"),
        ({"calibration": {}}, "either angle, in degrees, or calibration"),
        ({"width": 2}, "from 4 pixels to a third of the strip, 300 pixels; got 2"),
        ({"units": "um"}, "'pixel' or 'nm'; got 'um'"),
        ({"marks": []}, "got 'marks'"),
        ({"strip": {"y": 5}}, "first to a last place along y within 0 and 60 pixels; got 5"),
        ({"strip": {"x": ["a", 9]}}, r"along x within 0 and 900 pixels; got \['a', 9\]"),
        ({"strip": {"y": [[0, 4], 9]}}, r"pixels; got \[\[0, 4\], 9\]"),
        ({"strip": "all"}, "the strip of a ruler must be a table .* y, x; got 'all'"),
        ({"strip": {"z": [0, 4]}}, "the strip of a ruler has the keys y, x; got 'z'"),
        ({"angle": "30 deg"}, "number between 0 and 90 degrees; got '30 deg'"),
        ({"width": "wide"}, "width of a ruler's marks must be .*; got 'wide'"),
        ({"inclined": ["a", 700]}, r"inclined marks of a ruler must be numbers, .* \['a', 700\]"),
        ({"bright": "false"}, "bright of a ruler must be true or false; got 'false'"),
    ],
)
def test_measure_marks__refuses_rulers_that_do_not_fit(rendered, change, message):
    slices, ruler = rendered
    with pytest.raises(ConventionError, match=message):
        measure_marks(stack_of(slices), ruler | change)


def test_measure_marks__refuses_a_ruler_that_is_no_table(rendered):
    with pytest.raises(ConventionError, match=r"a ruler must be a table .*; got \[1, 2\]"):
        measure_marks(stack_of(rendered[0]), [1, 2])


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ({"slice": [0, 4], "distance": 9}, "has the keys slices, distance; got 'slice'"),
        ({"distance": 9}, "two of 0 to 119, .*; got slices None and distance 9"),
        ({"slices": [0, 4]}, r"got slices \[0, 4\] and distance None"),
        ({"slices": [0, 4, 5], "distance": 9}, r"got slices \[0, 4, 5\]"),
        ({"slices": [0, 4.5], "distance": 9}, r"got slices \[0, 4.5\]"),
        ([0, 4], r"calibration of a ruler must be a table .*; got \[0, 4\]"),
    ],
)
def test_measure_marks__refuses_calibrations_that_do_not_fit(rendered, calibration, message):
    slices, ruler = rendered
    table = {"inclined": ruler["inclined"], "calibration": calibration}
    with pytest.raises(ConventionError, match=message):
        measure_marks(stack_of(slices), table)


def test_measure_marks__refuses_slices_to_calibrate_that_are_not_there(rendered):
    slices, ruler = rendered
    table = {"inclined": ruler["inclined"], "calibration": {"slices": [3, 120], "distance": 9}}
    with pytest.raises(ConventionError, match=r"two of 0 to 119, .* got slices \[3, 120\]"):
        measure_marks(stack_of(slices), table)


def test_solve_marks__refuses_slices_to_calibrate_that_are_lost(rendered):
    slices, ruler = rendered
    slices = slices.copy()
    slices[5] = 0
    table = {"inclined": ruler["inclined"], "calibration": {"slices": [5, 100], "distance": 9}}
    with pytest.raises(ConventionError, match=r"calibration .* in slice 5 one is lost"):
        estimate(slices, table)


def test_solve_marks__refuses_nan_blank_stacks_and_marks_at_rest(rendered):
    slices, ruler = rendered
    with pytest.raises(ConventionError, match="at least 2 slices; the stack has 1"):
        measure_marks(stack_of(slices[:1]), ruler)
    bad = slices.astype(np.float32)
    bad[7, 3, 4] = np.nan
    with pytest.raises(ConventionError, match="slice 7 holds NaN"):
        estimate(bad, ruler)
    with pytest.raises(ConventionError, match="parallel mark at 90 pixels is found in 0 of 120"):
        estimate(np.zeros_like(slices), ruler)
    with pytest.raises(ConventionError, match="must move with depth; from slice 0 to 119"):
        estimate(np.repeat(slices[:1], 120, axis=0), ruler)


def test_solve_marks__refuses_marks_that_are_never_seen_together(rendered, thickness):
    slices, ruler = rendered
    slices = slices.copy()
    slices[:, :, :450][::2], slices[:, :, 450:][1::2] = 100, 100
    with pytest.raises(ConventionError, match="found together in 0 slices"):
        estimate(slices, {"inclined": ruler["inclined"], "angle": 30.0})
