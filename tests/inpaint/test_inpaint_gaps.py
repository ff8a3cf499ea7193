"""Inpainting: laws, naive versions, and the same result however the volume is cut."""

import json
import tracemalloc

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from fibdask import blocks
from fibdask.conventions import ConventionError, build_stack
from fibdask.inpaint import gap_distance, inpaint_gaps
from fibdask.inpaint._functions import DistancePhase, SplineIntensity, SplinePhase
from fibdask.inpaint._kernels import fill_holes, smoothing_taps
from fibdask.inpaint.planes import MeasuredPlanes
from fibdask.simulate import hierarchical_levelled_wave, mimic_milling
from fibdask.thickness import reposition_slices
from tests.inpaint import naive

METHODS = ("distance", "nearest", "spline")
MEASURED = [0, 3, 4, 6, 11, 12, 16, 18, 21, 22, 23, 27]


def blobs(shape, seed=0, size=3.0):
    """Smoothed noise above its median: (z, y, x), uint8."""
    noise = np.random.default_rng(seed).normal(size=shape)
    for axis, n in enumerate(shape):
        frequency = np.fft.fftfreq(n).reshape([-1 if a == axis else 1 for a in range(3)])
        kernel = np.exp(-2 * (np.pi * frequency * size) ** 2)
        noise = np.fft.ifft(np.fft.fft(noise, axis=axis) * kernel, axis=axis).real
    return (noise > np.median(noise)).astype(np.uint8)


def stack_of(measured, *, spacing=4.0, pixel=(4.0, 4.0), voltage=None, **volumes):
    """Regular stack whose planes that are not measured are empty."""
    depth = next(iter(volumes.values())).shape[-3]
    flags = np.isin(np.arange(depth), measured)
    volumes = {name: _emptied(volume, flags) for name, volume in volumes.items()}
    z = spacing * np.arange(depth)
    stack = build_stack(volumes, z=z, pixel_size=pixel, nominal_thickness=spacing, voltage=voltage)
    return stack.assign_coords(measured=("z", flags))


def _emptied(volume, flags):
    if isinstance(volume, da.Array | blocks.BlockArray):
        return volume
    return volume * flags[:, None, None].astype(volume.dtype)


def filled(truth, measured, method, **options):
    stack = stack_of(measured, phase=truth, **options)
    return inpaint_gaps(stack, method=method)["phase"].values


# ── laws ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", METHODS)
def test_inpaint_gaps__leaves_measured_planes_untouched(method):
    truth = np.random.default_rng(1).integers(0, 2, (28, 9, 8)).astype(np.uint8)
    result = filled(truth, MEASURED, method)
    np.testing.assert_array_equal(result[MEASURED], truth[MEASURED])


@pytest.mark.parametrize("method", METHODS)
@given(measured=st.sets(st.integers(0, 27), min_size=1), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_inpaint_gaps__reproduces_what_is_constant_along_z(method, measured, seed):
    plane = np.random.default_rng(seed).random((12, 11)) < 0.4
    truth = np.repeat(fill_holes(plane.view(np.uint8), 20)[None], 28, axis=0)
    np.testing.assert_array_equal(filled(truth, sorted(measured), method), truth)


@pytest.mark.parametrize("slope", [-1.0, -0.4, 0.3, 1.0])
def test_inpaint_gaps__distance_continues_an_inclined_plane(slope):
    z, _, x = np.ogrid[:28, :6, :70]
    depth = x - 35.3 - slope * (z - 14) + 0 * np.ogrid[:28, :6, :70][1]
    result = filled((depth > 0).astype(np.uint8), MEASURED, "distance")
    sure = np.abs(depth) > 1
    np.testing.assert_array_equal(result[sure], (depth > 0)[sure])


@pytest.mark.parametrize("slope", [-0.8, 0.5])
def test_inpaint_gaps__distance_crosses_a_gap_of_many_planes(slope):
    z, _, x = np.ogrid[:28, :6, :70]
    depth = x - 35.3 - slope * (z - 14) + np.zeros((28, 6, 70))
    result = filled((depth > 0).astype(np.uint8), [0, 3, 24, 27], "distance")
    sure = np.abs(depth) > 1
    np.testing.assert_array_equal(result[sure], (depth > 0)[sure])


def test_inpaint_gaps__distance_closes_a_wedge_at_its_tip():
    z, _, x = np.ogrid[:21, :40, :60]
    inside = 0.5 * (20 - z) - np.abs(x - 30) + np.zeros((21, 40, 60))
    result = filled((inside > 0).astype(np.uint8), [0, 4, 8, 12, 16, 20], "distance")
    sure = np.abs(inside) > 1.5
    np.testing.assert_array_equal(result[sure], (inside > 0)[sure])


def test_inpaint_gaps__distance_treats_phases_alike():
    truth = blobs((28, 24, 26))
    solid, pore = (filled(part, MEASURED, "distance") for part in (truth, 1 - truth))
    assert np.count_nonzero(solid != 1 - pore) == 0


def test_smoothing_taps__keep_cubic_polynomials():
    taps, offset = smoothing_taps(8), np.arange(-8, 9)
    moments = [(taps * (offset / 8.0) ** power).sum() for power in range(4)]
    np.testing.assert_allclose(moments, [1, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0, 1])
def test_inpaint_gaps__one_phase_stays(method, value):
    truth = np.full((28, 5, 7), value, np.uint8)
    assert (filled(truth, MEASURED, method) == value).all()


@pytest.mark.parametrize("method", METHODS)
def test_inpaint_gaps__copies_beyond_the_ends(method):
    truth = blobs((28, 10, 9))
    result = filled(truth, [5, 9, 20], method)
    assert (result[:5] == truth[5]).all()
    assert (result[21:] == truth[20]).all()


def test_inpaint_gaps__spline_is_exact_on_a_grey_ramp():
    ramp = np.arange(28) * 9 + np.zeros((1, 3, 4, 28), np.uint8)
    grey = np.moveaxis(ramp, -1, 1).astype(np.uint8)
    stack = stack_of(MEASURED, intensity=grey, voltage=np.array([2.0]))
    np.testing.assert_array_equal(inpaint_gaps(stack, method="spline")["intensity"], grey)


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535)])
def test_inpaint_gaps__spline_stays_in_the_range_of_grey_values(dtype, top):
    grey = np.zeros((1, 28, 2, 2), dtype)
    grey[:, 12:] = top
    stack = stack_of([0, 4, 8, 12, 16, 20, 27], intensity=grey, voltage=np.array([2.0]))
    trace = inpaint_gaps(stack, method="spline")["intensity"].values[0, :, 0, 0].astype(int)
    assert (trace[1:8] == 0).any()
    assert (trace[13:20] == top).any()
    assert (np.diff(trace[8:13]) >= 0).all()


def test_inpaint_gaps__spline_stays_in_the_range_of_integers_that_floats_do_not_hold():
    counts = np.zeros((1, 28, 6, 6), np.int64)
    counts[:, 12:] = np.iinfo(np.int64).max
    stack = stack_of([0, 4, 8, 12, 16, 20, 27], phase=blobs((28, 6, 6)), voltage=np.array([2.0]))
    stack["counts"] = (("voltage", "z", "y", "x"), counts)
    assert (inpaint_gaps(stack, method="spline")["counts"].values[:, 12:] > 0).all()


def test_inpaint_gaps__spline_rounds_numbers_below_zero_as_those_above():
    numbers = np.random.default_rng(1).integers(-100, -90, (1, 28, 6, 6))
    stack = stack_of(MEASURED, phase=blobs((28, 6, 6)), voltage=np.array([2.0]))
    for name, dtype in {"whole": "int16", "exact": "float64"}.items():
        stack[name] = (("voltage", "z", "y", "x"), numbers.astype(dtype))
    found = inpaint_gaps(stack, method="spline")
    np.testing.assert_array_equal(found["whole"], np.floor(found["exact"] + 0.5))


def test_inpaint_gaps__spline_copies_what_is_true_or_false():
    marks = np.random.default_rng(2).random((1, 28, 6, 6)) < 0.5
    stack = stack_of(MEASURED, phase=blobs((28, 6, 6)), voltage=np.array([2.0]))
    stack["mark"] = (("voltage", "z", "y", "x"), marks)
    spline, nearest = (inpaint_gaps(stack, method=m)["mark"] for m in ("spline", "nearest"))
    np.testing.assert_array_equal(spline, nearest)


# ── naive versions ───────────────────────────────────────────────────────────────────────────


@pytest.mark.interpreted
@pytest.mark.parametrize("pixel", [(4.0, 4.0), (3.0, 5.0)])
@given(measured=st.sets(st.integers(1, 26)), seed=st.integers(0, 99))
@settings(max_examples=8)
def test_inpaint_gaps__distance_equals_naive(pixel, measured, seed):
    truth = blobs((28, 40, 33), seed)
    measured = sorted(measured | {0, 27})
    expected = naive.interpolated_distance(truth, measured, 4.0, pixel)
    result = filled(truth, measured, "distance", pixel=pixel)
    sure = np.abs(expected) > 1e-4
    np.testing.assert_array_equal(result[sure], (expected > 0)[sure])
    assert sure.mean() > 0.999


@pytest.mark.interpreted
@given(measured=st.sets(st.integers(0, 27), min_size=1), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_inpaint_gaps__spline_equals_naive(measured, seed):
    truth = blobs((28, 30, 27), seed, size=1.2)
    expected = naive.spline_phase(truth, sorted(measured))
    np.testing.assert_array_equal(filled(truth, sorted(measured), "spline"), expected)


@given(measured=st.sets(st.integers(0, 27), min_size=1), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_inpaint_gaps__nearest_equals_naive(measured, seed):
    truth = blobs((28, 6, 5), seed)
    expected = truth[[naive.nearest_plane(p, sorted(measured)) for p in range(28)]]
    np.testing.assert_array_equal(filled(truth, sorted(measured), "nearest"), expected)


@pytest.mark.interpreted
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_inpaint_gaps__spline_of_grey_values_equals_naive(dtype):
    grey = np.random.default_rng(3).integers(100, 150, (2, 28, 5, 6)).astype(dtype)
    stack = stack_of(MEASURED, intensity=grey, voltage=np.array([1.0, 2.0]))
    result = inpaint_gaps(stack, method="spline")["intensity"].values
    for values, found in zip(grey, result, strict=True):
        expected = naive.spline_grey(values, MEASURED)
        np.testing.assert_allclose(found, expected, atol=0.5 if dtype != "float32" else 1e-4)


def test_fill_holes__keeps_large_and_open_pores():
    plane = np.ones((12, 30), np.uint8)
    plane[2:6, 2:7] = 0  # 20 pixels
    plane[2:6, 10:15], plane[2, 10] = 0, 1  # 19 pixels
    plane[0:3, 20] = 0  # open
    plane[8, 8], plane[9, 9] = 0, 0  # joined by a corner only
    expected = plane.copy()
    naive.fill_holes(expected)
    np.testing.assert_array_equal(fill_holes(plane, 20), expected)
    assert expected[[3, 3, 1, 8], [3, 12, 20, 8]].tolist() == [0, 1, 0, 1]


# ── blocks ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", METHODS)
@given(cuts=st.tuples(*(st.sets(st.integers(1, n - 1), max_size=3) for n in (28, 45, 35))))
@settings(max_examples=8)
def test_inpaint_gaps__does_not_depend_on_chunks(method, cuts):
    truth = blobs((28, 45, 35), size=2)
    holed = truth * np.isin(np.arange(28), MEASURED)[:, None, None].astype(np.uint8)
    ends = [[0, *sorted(cut), n] for cut, n in zip(cuts, truth.shape, strict=True)]
    chunks = tuple(tuple(np.diff(end).tolist()) for end in ends)
    cut = stack_of(MEASURED, phase=da.from_array(holed, chunks=chunks))
    result = inpaint_gaps(cut, method=method)["phase"].values
    np.testing.assert_array_equal(result, filled(truth, MEASURED, method))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("chunks", [(1, 9, 7), (28, 1, 7), (28, 9, 1), (3, 2, 2)])
def test_inpaint_gaps__does_not_depend_on_thin_chunks(method, chunks):
    truth = blobs((28, 9, 7), size=1)
    holed = truth * np.isin(np.arange(28), MEASURED)[:, None, None].astype(np.uint8)
    cut = stack_of(MEASURED, phase=da.from_array(holed, chunks=chunks))
    result = inpaint_gaps(cut, method=method)["phase"].values
    np.testing.assert_array_equal(result, filled(truth, MEASURED, method))


@pytest.mark.parametrize("method", METHODS)
def test_inpaint_gaps__does_not_depend_on_blocks_of_fine_pixels(method):
    truth = blobs((28, 150, 140), size=9)
    pixel = (0.5, 0.4)  # windows along z reach beyond the cap of 64 pixels
    holed = truth * np.isin(np.arange(28), MEASURED)[:, None, None].astype(np.uint8)
    cut = stack_of(MEASURED, phase=da.from_array(holed, chunks=(5, 37, 31)), pixel=pixel)
    result = inpaint_gaps(cut, method=method)["phase"].values
    np.testing.assert_array_equal(result, filled(truth, MEASURED, method, pixel=pixel))


@pytest.mark.parametrize("method", METHODS)
def test_inpaint_gaps__is_the_same_from_a_store(method, tmp_path):
    truth = blobs((28, 40, 30))
    holed = truth * np.isin(np.arange(28), MEASURED)[:, None, None].astype(np.uint8)
    array = zarr.create_array(tmp_path / "phase", data=holed, chunks=(8, 16, 16))
    assert array.shape == holed.shape
    stored = blocks.from_source(blocks.open_stored(tmp_path / "phase"))
    lazy = inpaint_gaps(stack_of(MEASURED, phase=stored), method=method)["phase"]
    assert len(lazy.data.dask) == lazy.data.npartitions
    np.testing.assert_array_equal(lazy.values, filled(truth, MEASURED, method))


@pytest.mark.parametrize("method", METHODS)
def test_inpaint_gaps__fills_lines_and_points(method):
    truth = blobs((28, 30, 1))
    assert filled(truth, MEASURED, method).shape == truth.shape
    assert filled(truth[:, :1], MEASURED, method).shape == (28, 1, 1)


@pytest.mark.memory
@pytest.mark.parametrize("halves", [(1, 1), (2, 3)])
def test_working_bytes__bounds_what_is_allocated(halves):
    shape = (28, 192 * halves[0], 160 * halves[1])
    planes = MeasuredPlanes(np.array(MEASURED))
    grey = SplineIntensity(planes, 0.0, 255.0)
    region = (slice(0, 28), slice(5, 180), slice(0, 150))
    truth = np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)
    for function in (
        DistancePhase(planes, shape, 4.0, (4.0, 4.0)),
        SplinePhase(planes, shape),
        grey,
    ):
        window = truth[function.needs(region)[0]]
        function.compute(region, window)
        tracemalloc.start()
        out = function.compute(region, window)
        peak = tracemalloc.get_traced_memory()[1] - out.nbytes
        tracemalloc.stop()
        assert peak <= function.working_bytes(region) + 2**14, function


# ── stacks ───────────────────────────────────────────────────────────────────────────────────


def test_inpaint_gaps__distance_fills_phase_only():
    truth = blobs((28, 6, 7))
    stack = stack_of(MEASURED, phase=truth, true_phase=truth)
    result = inpaint_gaps(stack, method="distance")
    assert (result["phase"].values[1] != 0).any()
    assert (result["true_phase"].values[1] == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_inpaint_gaps__keeps_coordinates_and_records_itself(method):
    stack = stack_of(MEASURED, phase=blobs((28, 6, 7)))
    result = inpaint_gaps(stack, method=method)
    record = json.loads(result.attrs["provenance"][-1])
    assert (record["step"], record["parameters"]) == ("inpaint_gaps", {"method": method})
    assert result["phase"].dtype == np.uint8
    for name in stack.coords:
        assert result[name].variable.equals(stack[name].variable), name


def test_inpaint_gaps__without_gaps_changes_nothing():
    truth = blobs((28, 6, 7))
    np.testing.assert_array_equal(filled(truth, range(28), "distance"), truth)


def test_inpaint_gaps__computes_nothing():
    def refuse(*_args, **_options):
        msg = "computed"
        raise AssertionError(msg)

    lazy = da.zeros((28, 6, 7), dtype=np.uint8, chunks=5)
    with dask.config.set(scheduler=refuse):
        for method in METHODS:
            filled = inpaint_gaps(stack_of(MEASURED, phase=lazy), method=method)
            assert filled["phase"].chunks is not None


@pytest.mark.parametrize("method", ["distance", "spline", "network"])
def test_inpaint_gaps__of_a_lazy_phase_refuses_what_is_none(method):
    if method == "network":
        pytest.importorskip("torch")
    phase = 2 * blobs((9, 24, 24))
    stack = stack_of([0, 3, 4, 6, 8], phase=da.from_array(phase, chunks=(4, 24, 24)))
    with pytest.raises(
        ConventionError, match=r"must be 0 .* or 1 .*; voxel \(\d, \d+, \d+\) has 2"
    ):
        inpaint_gaps(stack, method=method)["phase"].compute()


def test_inpaint_gaps__refuses_uneven_planes():
    stack = stack_of([0, 2], phase=blobs((3, 4, 4)))
    stack = stack.assign_coords(z=("z", [0.0, 4.0, 9.0], stack["z"].attrs))
    with pytest.raises(ConventionError, match=r"from position 0 to 1 is 4 nm.*reposition"):
        inpaint_gaps(stack)


def test_inpaint_gaps__refuses_what_it_cannot_fill():
    stack = stack_of([0, 2], phase=blobs((3, 4, 4)))
    with pytest.raises(ConventionError, match="distance, nearest, network, spline; got 'cubic'"):
        inpaint_gaps(stack, method="cubic")
    with pytest.raises(ConventionError, match=r"needs the coordinate measured \(z\); reposition"):
        inpaint_gaps(stack.drop_vars("measured"))
    with pytest.raises(ConventionError, match="none of 3 is marked"):
        inpaint_gaps(stack.assign_coords(measured=("z", [False] * 3)))
    with pytest.raises(ConventionError, match="needs the variable phase; the stack holds true_"):
        inpaint_gaps(stack.rename(phase="true_phase"))


# ── uncertainty ──────────────────────────────────────────────────────────────────────────────


@given(measured=st.sets(st.integers(0, 27), min_size=1))
def test_gap_distance__is_that_to_the_nearest_measured_plane(measured):
    stack = stack_of(sorted(measured), phase=np.zeros((28, 2, 2), np.uint8))
    distance = gap_distance(stack)
    nearest = [naive.nearest_plane(plane, sorted(measured)) for plane in range(28)]
    assert distance.values.tolist() == (4.0 * np.abs(nearest - np.arange(28))).tolist()
    assert distance.attrs["units"] == "nm"
    assert distance["z"].equals(stack["z"].drop_vars(["measured", "slice_thickness"]))


def test_gap_distance__needs_measured_planes():
    stack = stack_of([0, 2], phase=np.zeros((3, 4, 4), np.uint8)).drop_vars("measured")
    with pytest.raises(ConventionError, match=r"needs the coordinate measured \(z\)"):
        gap_distance(stack)


# ── Article II ───────────────────────────────────────────────────────────────────────────────


def test_inpaint_gaps__distance_beats_the_others_on_uneven_slices():
    cube, voxel = (96, 96, 96), (2.5, 2.5, 2.5)
    truth = hierarchical_levelled_wave(cube, voxel_size=voxel, seed=3).compute()
    slices = mimic_milling(truth, mean_thickness=10.16, std_thickness=3.12, seed=3)
    stack = reposition_slices(slices, spacing=2.5)
    truth = truth.values[: stack.sizes["z"]]
    misplaced = {
        method: 100 * np.mean(inpaint_gaps(stack, method=method)["phase"].values != truth)
        for method in METHODS
    }
    assert misplaced["distance"] < 0.55 * min(misplaced["nearest"], misplaced["spline"])
