"""Thickness from the images: similarity by definition, known distances, and poor slices."""

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

from fibdask.align import apply_shifts
from fibdask.conventions import ConventionError, FibdaskWarning, build_stack
from fibdask.io import open_stack, save_stack
from fibdask.thickness._kernels.similarity import slice_similarities
from fibdask.thickness.similarity import Similarities, measure_similarity, solve_similarity
from tests.thickness.naive import (
    gamma_planes,
    scaled_error,
    similarities,
    smooth_texture,
)

FIB25 = Path(__file__).parents[2] / ".." / "shared" / "data" / "fib25"
VOXEL = 5.0


def stack_of(slices, pixel=(VOXEL, VOXEL), step=15.0):
    return build_stack(
        {"intensity": slices[None]},
        z=step * np.arange(len(slices)),
        pixel_size=pixel,
        nominal_thickness=step,
        voltage=np.array([2.0]),
    )


def estimate(slices, isotropic=True, **options):
    measurement = measure_similarity(stack_of(slices, **options)).compute(scheduler="synchronous")
    return solve_similarity(measurement, isotropic=isotropic)


@pytest.fixture(scope="module")
def texture():
    """An isotropic volume whose structures are about ten voxels large."""
    return smooth_texture((150, 160, 160), 3.0, seed=5)


@pytest.fixture(scope="module")
def milled(texture):
    """Slices of the texture, and their true thickness in nm."""
    planes = gamma_planes(len(texture), 3.0, 1.0, seed=2)
    return texture[planes], VOXEL * np.diff(planes)


# ── similarities ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.interpreted
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_slice_similarities__are_those_of_the_definition(dtype):
    slices = smooth_texture((6, 21, 17), 1.5, seed=1).astype(dtype)
    found = slice_similarities(slices, 4, 3, (5, 4), 6)
    expected = similarities(slices, 3, (5, 4), 6)[:4]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_measure_similarity__reads_each_slice_with_its_neighbours_from_a_store(tmp_path):
    slices = smooth_texture((40, 48, 44), 1.5, seed=2)
    stack = stack_of(slices)
    expected = measure_similarity(stack).compute()
    for chunks in ((7, 48, 44), (40, 20, 13), (1, 48, 44)):
        chunked = stack.assign(
            intensity=(stack["intensity"].dims, da.from_array(slices[None], (1, *chunks)))
        )
        assert measure_similarity(chunked).compute().equals(expected), chunks
    save_stack(stack, tmp_path / "s.zarr")
    stored = measure_similarity(open_stack(tmp_path / "s.zarr"))
    assert stored.data.npartitions == 3  # one task for 16 slices
    assert len(stored.data.dask) == 3
    assert stored.compute().equals(expected)


def test_measure_similarity__looks_at_the_region_only():
    slices = smooth_texture((8, 60, 70), 1.5, seed=3)
    region = {"y": (5, 55), "x": (20, 68)}
    inner = measure_similarity(stack_of(np.ascontiguousarray(slices[:, 5:55, 20:68])))
    found = measure_similarity(stack_of(slices), region=region)
    np.testing.assert_array_equal(found.values, inner.values)


def test_measure_similarity__leaves_out_what_alignment_filled():
    slices = smooth_texture((8, 90, 100), 1.5, seed=3)
    shifts = xr.Dataset({axis: ("z", VOXEL * np.arange(8.0)) for axis in ("shift_y", "shift_x")})
    cropped = apply_shifts(stack_of(slices), shifts)
    with pytest.warns(FibdaskWarning, match="of the pixels are filled"):
        filled = apply_shifts(stack_of(slices), shifts, outside="edge")
    expected = measure_similarity(cropped, max_distance=100)
    np.testing.assert_array_equal(measure_similarity(filled, max_distance=100), expected)
    whole = {"y": (0, 90), "x": (0, 100)}
    found = measure_similarity(filled, max_distance=100, region=whole)
    np.testing.assert_array_equal(found, expected)


def test_similarities__hold_little_of_large_images():
    function = Similarities((slice(0, 4096), slice(0, 4096)), (16, 16), 2000)
    assert function.depth == 1
    assert function.needs((slice(1998, 1999),))[0][0] == slice(1998, 2000)
    assert function.working_bytes((slice(0, 1),)) <= 400 * 2**20
    default = measure_similarity(stack_of(np.zeros((4, 1100, 1200), np.uint8)))
    assert '"y": [38, 1062], "x": [88, 1112]' in default.attrs["parameters"]


# ── distances ────────────────────────────────────────────────────────────────────────────────


def test_solve_similarity__finds_thickness_and_scale_of_isotropic_texture(milled):
    slices, true = milled
    found = estimate(slices)
    error, scale = scaled_error(found.values[:-1], true)
    assert error < 0.08
    assert scale == pytest.approx(1.0, abs=0.1)
    assert found.values[-1] == pytest.approx(found.values[:-1].mean())
    relative = (found["standard_error"] / found)[:-1]
    assert 0.01 < float(relative.mean()) < 0.15
    assert not found["lost"].any()
    assert (found["quality"] == 1).all()


def test_solve_similarity__counts_in_nm_of_pixels_that_are_not_square(texture, milled):
    slices, true = milled
    found = estimate(np.ascontiguousarray(slices[:, ::2]), pixel=(2 * VOXEL, VOXEL))
    error, scale = scaled_error(found.values[:-1], true)
    assert error < 0.1
    assert scale == pytest.approx(1.0, abs=0.1)


def test_solve_similarity__without_isotropy_keeps_the_mean(milled):
    slices, true = milled
    found = estimate(slices, isotropic=False, step=40.0)
    assert found.values[:-1].mean() == pytest.approx(40.0)
    assert scaled_error(found.values[:-1], true)[0] < 0.08


def test_solve_similarity__noise_brightness_and_contrast_do_not_matter(milled):
    slices, true = milled
    rng = np.random.default_rng(4)
    gain = rng.uniform(0.5, 1.0, (len(slices), 1, 1))
    noisy = gain * slices + rng.uniform(0, 20, gain.shape) + rng.normal(0, 20, slices.shape)
    noisy += np.linspace(0, 40, slices.shape[1])[:, None]
    error, scale = scaled_error(estimate(noisy.astype(np.float32)).values[:-1], true)
    assert error < 0.12
    assert scale == pytest.approx(1.0, abs=0.1)


def test_solve_similarity__lost_slices_are_flagged_and_bridged(milled):
    slices, true = milled
    slices = slices.copy()
    rng = np.random.default_rng(6)
    slices[10] = 0
    slices[20] = rng.normal(100, 10, slices[20].shape)
    slices[30:32] = 255
    found = estimate(slices)
    lost = np.array([10, 20, 30, 31])
    assert np.flatnonzero(found["lost"]).tolist() == lost.tolist()
    unknown = np.union1d(lost, lost - 1)
    assert np.flatnonzero(np.isnan(found)).tolist() == unknown.tolist()
    for before, after in ((9, 11), (19, 21)):
        bridged = float(found["step"][before])
        assert bridged == pytest.approx(true[before:after].sum(), rel=0.3)
    assert not found["outlier"][unknown].any()


def test_solve_similarity__defocused_slices_do_not_grow_thick(milled):
    slices, true = milled
    blurred = slices.copy()
    poor = np.arange(5, len(slices) - 2, 8)
    for k in poor:
        blurred[k] = gaussian_filter(blurred[k].astype(float), 3.0)
    found = estimate(blurred)
    beside = np.union1d(poor, poor - 1)
    error = found.values[beside] - true[beside]
    assert np.sqrt(np.mean(error**2)) < 0.25 * true.mean()
    assert (found["quality"].values[poor] < 1).mean() > 0.5
    assert (np.delete(found["quality"].values, poor) == 1).all()


@pytest.mark.skipif(not FIB25.exists(), reason="real data fib25 is not beside the repository")
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_solve_similarity__recovers_planes_dropped_from_a_real_stack(axis):
    from PIL import Image

    volume = np.stack([np.asarray(Image.open(path)) for path in sorted(FIB25.glob("*.png"))])
    volume = np.moveaxis(volume, axis, 0)
    planes = gamma_planes(len(volume), 3.0, 1.0, seed=1)
    slices = np.ascontiguousarray(volume[planes])
    found = estimate(slices, pixel=(10.0, 10.0), step=30.0)
    error, scale = scaled_error(found.values[:-1], 10.0 * np.diff(planes))
    assert error < 0.13
    assert 0.7 < scale < 1.1


# ── bad input ────────────────────────────────────────────────────────────────────────────────


def test_measure_similarity__refuses_what_does_not_fit():
    slices = smooth_texture((5, 60, 60), 1.5, seed=3)
    with pytest.raises(ConventionError, match="at least 2 slices; the stack has 1"):
        measure_similarity(stack_of(slices[:1]))
    with pytest.raises(ConventionError, match="one of the stack, 2 kV; got 3 kV"):
        measure_similarity(stack_of(slices), voltage=3.0)
    with pytest.raises(ConventionError, match=r"region along x must be .* <= 60; got \(50, 70\)"):
        measure_similarity(stack_of(slices), region={"x": (50, 70)})
    with pytest.raises(ConventionError, match="axes y, x; got 'z'"):
        measure_similarity(stack_of(slices), region={"z": (0, 3)})
    with pytest.raises(ConventionError, match="along y, 15 to 150 nm; got 500 nm"):
        measure_similarity(stack_of(slices), max_distance=500.0)


def test_solve_similarity__refuses_nan_and_blank_stacks_with_the_place():
    slices = smooth_texture((5, 60, 60), 1.5, seed=3).astype(np.float32)
    slices[3, 30, 31] = np.nan
    with pytest.raises(ConventionError, match="slice 3 holds NaN"):
        estimate(slices)
    with pytest.raises(ConventionError, match="5 of 5 slices have one grey value"):
        estimate(np.zeros((5, 60, 60), np.uint8))


def test_solve_similarity__refuses_slices_that_share_nothing():
    noise = np.random.default_rng(0).integers(0, 255, (4, 64, 64), dtype=np.uint8)
    measurement = measure_similarity(stack_of(noise)).compute()
    measurement[:, 1:4] = measurement[:, 1:4].where(measurement[:, 1:4].isnull(), -0.9)
    with pytest.raises(ConventionError, match="at least one pair of slices"):
        solve_similarity(measurement)


# ── standard errors ──────────────────────────────────────────────────────────────────────────


def beyond_two_errors(volume, planes, isotropic):
    """Return the share of slices whose thickness is off by more than two standard errors."""
    true = VOXEL * np.diff(planes)
    slices = np.ascontiguousarray(volume[planes])
    found = estimate(slices, isotropic=isotropic, step=true.mean())[:-1]
    return np.mean(np.abs(found.values - true) > 2 * found["standard_error"].values)


@pytest.mark.parametrize("isotropic", [True, False])
def test_solve_similarity__errors_hold_for_textures_fine_and_coarse_grey_and_binary(isotropic):
    shares = []
    for seed, scale in enumerate((2.0, 3.0, 3.0, 5.0)):
        grey = smooth_texture((120, 160, 160), scale, seed)
        planes = gamma_planes(len(grey), 3.0, 1.0, seed)
        binary = np.where(grey > 128, 160, 60).astype(np.uint8)
        shares += [beyond_two_errors(volume, planes, isotropic) for volume in (grey, binary)]
    assert np.mean(shares) < 0.1
    assert max(shares) < 0.3


def test_solve_similarity__errors_hold_where_noise_is_strong(milled):
    slices, true = milled
    noisy = slices + np.random.default_rng(8).normal(0, 20, slices.shape)
    found = estimate(np.clip(noisy, 0, 255).astype(np.uint8))[:-1]
    assert np.mean(np.abs(found.values - true) > 2 * found["standard_error"].values) < 0.1


def test_solve_similarity__says_where_the_scale_is_an_assumption(milled):
    assert estimate(milled[0]).attrs["scale"] == "isotropic texture"
    assert "scale" not in estimate(milled[0], isotropic=False).attrs
