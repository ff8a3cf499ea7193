"""Brightness is levelled, porosity is not; the same from any chunks; bad slices stay."""

import json
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from fibdask import levelled_wave, open_stack, save_stack, segment_phases, simulate_images
from fibdask.align import equalize_brightness
from fibdask.align._kernels import brightness as kernels
from fibdask.conventions import ConventionError, with_filled_share
from fibdask.inpaint import inpaint_gaps
from fibdask.thickness import reposition_slices
from tests.align.helpers import stack_of

DATA = Path(__file__).parents[3] / "shared" / "data"


def equalized(images, **options):
    stack = equalize_brightness(stack_of(images), **options)
    return stack["intensity"].values.reshape(images.shape)


@pytest.fixture(scope="module")
def uneven():
    """Two phases whose porosity changes strongly from slice to slice, uint8 (z, y, x)."""
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=(24, 192, 192)), (1, 5, 5), mode="wrap")
    level = 0.7 * np.sin(0.7 * np.arange(24))[:, None, None] * field.std()
    sharp = ndimage.gaussian_filter(np.where(field > level, 170.0, 60.0), (0, 1, 1))
    return np.rint(sharp + rng.normal(0, 6, sharp.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def porous():
    """Clean images of a porous structure with shine-through, uint8 (z, y, x)."""
    phase = levelled_wave(
        (70, 192, 192), voxel_size=5, ligament_size=40, solid_fraction=0.4, seed=5
    )
    stack = simulate_images(phase, model="analytic", voltage=2.0, electrons_per_pixel=500, seed=3)
    return stack["intensity"].isel(z=slice(0, 30)).values[0]


def spoil(images, seed=0, shading=True):
    """Return images with gains of 20 %, offsets, a trend, and a gradient in the image."""
    rng = np.random.default_rng(seed)
    n_z, n_y, n_x = images.shape
    gain = rng.uniform(0.8, 1.2, (n_z, 1, 1))
    offset = rng.uniform(-10, 10, (n_z, 1, 1)) + np.linspace(-10, 10, n_z)[:, None, None]
    y, x = np.linspace(-1, 1, n_y)[:, None], np.linspace(-1, 1, n_x)
    place = (1 + 0.1 * x + 0.05 * y) if shading else 1.0
    return np.rint((gain * place * (0.7 * images + 30) + offset).clip(0, 255)).astype(np.uint8)


def remaining(result, images):
    """Return the error of images that should be those of the other, but for a common scale."""
    slope, level = np.polyfit(images.ravel()[::7], result.ravel()[::7], 1)
    return (result - level) / slope - images


def profile(images, method="otsu"):
    phase = segment_phases(stack_of(images), method=method)["phase"]
    return phase.values.mean(axis=(1, 2))


# What is no image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_equalize_brightness__of_measured_slices_is_that_without_the_others(uneven, dtype):
    images = spoil(uneven).astype(dtype)
    measured = np.arange(24) % 3 == 0
    expected = equalized(images[measured])
    images[~measured] = 0
    stack = stack_of(images).assign_coords(measured=("z", measured))
    found = equalize_brightness(stack)["intensity"].values[0]
    np.testing.assert_array_equal(found[measured], expected)


def test_equalize_brightness__does_not_count_what_alignment_filled(uneven):
    images = spoil(uneven, shading=False)
    expected = equalized(images[:, 32:], shading=False)
    stack = stack_of(images)
    images[::2, :32] = 0
    share = np.where(np.arange(24) % 2, 0, 32 / 192)
    stack = with_filled_share(stack, share, {"y": slice(32, 192), "x": slice(0, 192)})
    found = equalize_brightness(stack, shading=False)["intensity"].values[0]
    np.testing.assert_array_equal(found[:, 32:], expected)


def test_equalize_brightness__refuses_a_stack_without_a_measured_slice(uneven):
    stack = stack_of(uneven[:4]).assign_coords(measured=("z", np.zeros(4, bool)))
    with pytest.raises(ConventionError, match="none of 4 is measured"):
        equalize_brightness(stack)


def test_equalize_brightness__corrects_inpainted_planes_as_the_slices_they_are_copies_of(uneven):
    images = spoil(uneven, shading=False)[:8]
    gapped = reposition_slices(stack_of(images), spacing=5.0)
    filled = inpaint_gaps(gapped, method="nearest")
    found = equalize_brightness(filled, shading=False)["intensity"].values[0]
    copies = ~filled["measured"].values
    assert copies.any()
    before = filled["intensity"].values[0]
    assert (found[copies] != before[copies]).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(found[1:][copies[1:]], found[:-1][copies[1:]])


# Brightness is levelled, porosity is not


@pytest.mark.parametrize(
    ("offset", "dtype"), [(60000, "uint16"), (1e6, "float32"), (-1e6, "float32")]
)
def test_equalize_brightness__follows_the_range_of_grey_values(uneven, offset, dtype):
    spoiled = spoil(uneven).astype(np.float64)
    expected = equalized(spoiled.astype(np.float32))
    found = equalized((spoiled + offset).astype(dtype)) - offset
    assert np.abs(found - expected).std() < 0.05 * expected.std()


def test_equalize_brightness__removes_steps_trends_and_gradients(porous):
    before = remaining(spoil(porous), porous)
    after = remaining(equalized(spoil(porous)), porous)
    assert after.std() < 0.1 * before.std()
    assert after.mean(axis=(1, 2)).std() < 0.05 * before.mean(axis=(1, 2)).std()


def test_equalize_brightness__without_shading_leaves_gradients(porous):
    result = equalized(spoil(porous), shading=False)
    error = remaining(result, porous)
    assert error.mean(axis=(1, 2)).std() < 1
    assert np.ptp(error.mean(axis=(0, 1))[[0, -1]]) > 10


@pytest.mark.parametrize(
    ("clean", "method"), [("uneven", "otsu"), ("porous", "otsu"), ("porous", "kmeans")]
)
def test_equalize_brightness__keeps_the_phase_of_clean_stacks(clean, method, request):
    images = request.getfixturevalue(clean)
    kept = profile(equalized(images), method)
    assert kept.mean() == pytest.approx(profile(images, method).mean(), abs=0.001)
    np.testing.assert_allclose(kept, profile(images, method), atol=0.005)


def test_equalize_brightness__keeps_a_strongly_varying_porosity(uneven):
    true = profile(uneven)
    assert np.ptp(true) > 0.3
    np.testing.assert_allclose(profile(equalized(spoil(uneven))), true, atol=0.01)


def test_equalize_brightness__corrects_a_single_step_and_nothing_else(uneven):
    images = uneven.copy()
    images[7] = np.rint(images[7] * 0.8 + 10)
    result = equalized(images, shading=False)
    np.testing.assert_array_equal(np.delete(result, 7, 0), np.delete(uneven, 7, 0))
    assert abs((result[7].astype(float) - uneven[7]).mean()) < 1


def test_equalize_brightness__leaves_clean_textures_and_levels_spoilt_ones():
    paths = sorted((DATA / "fib25").glob("*.png"))
    if not paths:
        pytest.skip(f"needs the real images in {DATA / 'fib25'}")
    images = np.array([np.asarray(Image.open(path)) for path in paths])
    for axis in range(3):
        clean = np.ascontiguousarray(np.moveaxis(images, axis, 0))
        np.testing.assert_array_equal(equalized(clean), clean)
    before, after = (remaining(i, images) for i in (spoil(images), equalized(spoil(images))))
    assert after.mean(axis=(1, 2)).std() < 0.2 * before.mean(axis=(1, 2)).std()


def test_equalize_brightness__treats_voltages_apart(uneven):
    both = np.stack([uneven, spoil(uneven)])
    for result, images in zip(equalized(both), both, strict=True):
        np.testing.assert_array_equal(result, equalized(images))


def test_moved_counts__keep_their_sum_and_undo_gain_and_offset():
    counts = np.zeros((1, 1, 256), np.int64)
    counts[0, 0, 100:120] = 7
    corrections = np.array([[2.0], [40.0]])
    expected = np.zeros(256)
    expected[30:40] = 14
    np.testing.assert_allclose(kernels.moved_counts(counts, corrections)[0], expected, atol=1e-9)


# Types, chunks, laziness


@pytest.mark.parametrize(("dtype", "scale"), [("uint16", 200.0), ("float32", 1 / 255)])
def test_equalize_brightness__of_other_types_is_that_of_eight_bits(uneven, dtype, scale):
    images = (spoil(uneven) * scale).astype(dtype)
    result = equalized(images)
    assert result.dtype == dtype
    difference = remaining(result / scale, equalized(spoil(uneven)))
    assert difference.std() < 0.6
    assert np.abs(difference.mean(axis=(1, 2))).max() < 0.2


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("chunks", [(1, 1, 192, 192), (2, 5, 50, 70)])
def test_equalize_brightness__does_not_depend_on_chunks(uneven, dtype, chunks, tmp_path):
    images = np.stack([spoil(uneven), spoil(uneven, 1)])[:, :8].astype(dtype)
    expected = equalized(images)
    np.testing.assert_array_equal(equalized(da.from_array(images, chunks=chunks)), expected)
    save_stack(stack_of(images).chunk(dict(zip("zyx", chunks[1:], strict=True))), tmp_path / "s")
    lazy = equalize_brightness(open_stack(tmp_path / "s"))
    np.testing.assert_array_equal(lazy["intensity"].values, expected)
    part = lazy["intensity"][1, 2:4, 10:50, 20:99].values
    np.testing.assert_array_equal(part, expected[1, 2:4, 10:50, 20:99])


def test_equalize_brightness__is_lazy():
    lazy = da.zeros((2, 50, 100, 100), dtype=np.float32, chunks=(1, 25, 50, 50))
    stack = equalize_brightness(stack_of(lazy))
    assert isinstance(stack["intensity"].data, da.Array)
    assert json.loads(stack.attrs["provenance"][-1])["parameters"] == {"shading": True}


# Bad slices and refusals


def test_equalize_brightness__leaves_black_slices_and_corrects_the_others(uneven):
    images = spoil(uneven, shading=False)
    images[[3, 11]] = 0
    result = equalized(images, shading=False)
    assert not result[[3, 11]].any()
    error = remaining(np.delete(result, [3, 11], 0), np.delete(uneven, [3, 11], 0))
    assert error.mean(axis=(1, 2)).std() < 1


@pytest.mark.parametrize("value", [0, 9])
def test_equalize_brightness__leaves_uniform_stacks_as_they_are(value):
    images = np.full((3, 20, 20), value, np.float32)
    np.testing.assert_array_equal(equalized(images), images)


def test_equalize_brightness__leaves_one_slice_as_it_is(uneven):
    np.testing.assert_array_equal(equalized(uneven[:1], shading=False), uneven[:1])


def test_equalize_brightness__refuses_tiny_images():
    with pytest.raises(ConventionError, match=r"at least 16 pixels along y and x .* 15 x 40"):
        equalize_brightness(stack_of(np.zeros((2, 15, 40), np.uint8)))


def test_equalize_brightness__names_the_slice_that_is_not_finite():
    images = np.zeros((2, 3, 40, 40), np.float32)
    images[1, 2, 5, 5] = np.inf
    lazy = equalize_brightness(stack_of(images))
    with pytest.raises(ConventionError, match="finite; slice 2 of voltage number 1 has NaN"):
        lazy["intensity"].values  # noqa: B018
