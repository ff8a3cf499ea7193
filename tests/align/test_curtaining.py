"""Stripes go, structure stays; the same from any chunks; what cannot be repaired is refused."""

import json
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from fibdask import open_stack, save_stack
from fibdask.align import remove_curtaining
from fibdask.align._kernels.curtaining import column_steps, first_columns, stripe_image
from fibdask.align.curtaining import WithoutStripes
from fibdask.conventions import ConventionError
from tests.align.helpers import stack_of
from tests.align.naive_repair import column_steps as naive_column_steps
from tests.align.naive_repair import lean, make_stripes, wavelet_fourier, wedge_energy

DATA = Path(__file__).parents[3] / "shared" / "data"


def repaired(images, **options):
    return remove_curtaining(stack_of(images), **options)["intensity"].values.reshape(images.shape)


def two_phases(slices=2, side=320, seed=0):
    """Return noisy images of two phases, float32 (z, y, x)."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(slices, side, side)), (0, 8, 8))
    sharp = ndimage.gaussian_filter(np.where(field > 0, 190.0, 60.0), (0, 1, 1))
    return (sharp + rng.normal(0, 10, sharp.shape)).astype(np.float32)


def striped(images, share):
    """Return stripes whose standard deviation is a share of the images'."""
    stripes = [make_stripes(image.shape, share * image.std(), k) for k, image in enumerate(images)]
    return np.array(stripes, np.float32)


def fib25():
    paths = sorted((DATA / "fib25").glob("*.png"))[::64]
    if not paths:
        pytest.skip(f"needs the real images in {DATA / 'fib25'}")
    return np.array([np.asarray(Image.open(path)) for path in paths], np.float32)


# Stripes go, structure stays


@pytest.mark.parametrize("images", [two_phases, fib25])
def test_remove_curtaining__leaves_a_tenth_of_the_stripes_energy(images):
    clean = images()
    stripes = striped(clean, 0.3)
    left = repaired(clean + stripes) - repaired(clean)
    assert sum(map(wedge_energy, left)) < 0.1 * sum(map(wedge_energy, stripes))


@pytest.mark.parametrize("angle", [-12.0, 3.0])
def test_remove_curtaining__follows_inclined_stripes(angle):
    clean, slope = two_phases(3, side=448), np.tan(np.radians(angle))
    stripes = np.float32([lean(image, slope) for image in striped(clean, 0.3)])
    left = repaired(clean + stripes, inclination=angle) - repaired(clean, inclination=angle)
    upright = repaired(clean + stripes) - repaired(clean)
    added, left, upright = (
        sum(wedge_energy(image, slope) for image in images) for images in (stripes, left, upright)
    )
    assert left < 0.1 * added
    assert left < 0.67 * upright


def test_remove_curtaining__inclination_is_an_angle_of_nanometres():
    stack = stack_of(two_phases(1, side=64))
    wide = stack.assign_coords(x=2 * stack["x"])
    result = remove_curtaining(wide, inclination=20)["intensity"].values[0, 0]
    slope = np.tan(np.radians(20)) / 2
    expected = stripe_image(stack["intensity"].values[0, 0], 64, 32, slope)
    np.testing.assert_allclose(result, stack["intensity"].values[0, 0] - expected, atol=1e-4)


@pytest.mark.parametrize("images", [two_phases, fib25])
def test_remove_curtaining__keeps_the_standard_deviation_of_clean_images(images):
    clean = images()
    for before, after in zip(clean, repaired(clean), strict=True):
        assert after.std() == pytest.approx(before.std(), rel=0.02)


def test_remove_curtaining__is_nearer_to_the_clean_image_than_wavelets():
    clean = two_phases(1)
    image = clean + striped(clean, 0.3)
    peer = min(
        wedge_energy(wavelet_fourier(image[0], levels, sigma) - clean[0])
        for levels, sigma in ((3, 1), (4, 2), (4, 4))
    )
    assert wedge_energy(repaired(image)[0] - clean[0]) < 0.5 * peer


def test_remove_curtaining__keeps_short_and_broad_stripes():
    x = np.arange(256)
    broad = np.tile(20 * np.cos(2 * np.pi * x / 128), (256, 1)).astype(np.float32)
    noise = np.random.default_rng(0).normal(100, 1, (256, 256)).astype(np.float32)
    result = repaired((noise + broad)[np.newaxis])[0]
    assert np.abs((result - noise - broad).mean(axis=0)).max() < 1
    short = noise.copy()
    short[100:108, ::8] += 30
    result = repaired(short[np.newaxis], length=640)[0]
    assert np.abs(result - short).max() < 2


def test_remove_curtaining__takes_broader_stripes_of_higher_images():
    x = np.arange(192)
    broad = np.float32(10 * np.cos(2 * np.pi * x / 64))
    noise = np.random.default_rng(0).normal(100, 5, (1, 1024, 192)).astype(np.float32)
    left = [
        np.abs((repaired(noise[:, :rows] + broad) - noise[:, :rows]).mean(axis=1)).max()
        for rows in (256, 1024)
    ]
    assert left[0] > 8
    assert left[1] < 1


def test_remove_curtaining__does_not_spread_stripes_over_other_bands():
    clean = np.random.default_rng(0).normal(100, 2, (1, 512, 256)).astype(np.float32)
    image = clean.copy()
    stripes = make_stripes((256, 256), 10, 1)
    image[0, :256] += stripes
    error = repaired(image)[0] - clean[0]
    assert error[384:].std() < 0.05 * stripes.std()
    assert wedge_energy(error[:192]) < 0.1 * wedge_energy(stripes[:192])


def test_remove_curtaining__length_and_width_are_nanometres():
    images = two_phases(1) + striped(two_phases(1), 0.3)
    expected = repaired(images, length=400, width=100)
    stack = remove_curtaining(stack_of(images), length=400, width=100)
    parameters = json.loads(stack.attrs["provenance"][-1])["parameters"]
    assert (parameters["length_pixels"], parameters["width_pixels"]) == (80, 20)
    function = WithoutStripes(np.ones(len(images), bool), 80, 20, 0.0, images.shape[1:])
    region = tuple(slice(0, n) for n in (1, *images.shape))
    np.testing.assert_array_equal(function.compute(region, images[np.newaxis])[0], expected)


def test_remove_curtaining__leaves_uniform_images_as_they_are():
    images = np.zeros((3, 40, 48), np.uint8)
    images[1] = 77
    np.testing.assert_array_equal(repaired(images), images)


@pytest.mark.interpreted
def test_column_steps__equal_the_naive_version():
    image = np.random.default_rng(0).gamma(2, 30, (41, 35)).astype(np.float32)
    edges = np.array([0, 13, 14, 41])
    for slope in (0.0, 0.3, -0.2):
        first = first_columns(41, slope)
        steps = np.empty((3, 34 + first.max()))
        column_steps(image, edges, first, steps)
        expected = naive_column_steps(image, edges, first)
        np.testing.assert_allclose(steps, expected, rtol=1e-5, atol=1e-4)


# Types, chunks, laziness


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_remove_curtaining__keeps_the_type_and_saturated_pixels(dtype):
    images = (two_phases(1) + striped(two_phases(1), 0.5)).clip(0, 255).astype(dtype)
    result = repaired(images)
    assert result.dtype == dtype
    expected = repaired(images.astype(np.float32))
    if dtype != "float32":
        top = np.iinfo(dtype).max
        saturated = (images == 0) | (images == top)
        expected = np.where(saturated, images, np.rint(expected).clip(0, top))
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("chunks", [(1, 1, 64, 64), (2, 3, 100, 41), (1, 5, 96, 128)])
def test_remove_curtaining__does_not_depend_on_chunks(chunks, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (2, 5, 96, 128)).astype(np.uint8)
    images += (np.arange(128) % 7 * 5).astype(np.uint8)
    expected = repaired(images)
    np.testing.assert_array_equal(repaired(da.from_array(images, chunks=chunks)), expected)
    save_stack(stack_of(images).chunk(dict(zip("zyx", chunks[1:], strict=True))), tmp_path / "s")
    lazy = remove_curtaining(open_stack(tmp_path / "s"))
    np.testing.assert_array_equal(lazy["intensity"].values, expected)
    part = lazy["intensity"][1, 2:4, 10:50, 20:99].values
    np.testing.assert_array_equal(part, expected[1, 2:4, 10:50, 20:99])


def test_remove_curtaining__is_lazy_and_of_whole_images():
    lazy = da.zeros((1, 40, 4096, 4096), dtype=np.uint8, chunks=(1, 20, 2048, 2048))
    stack = remove_curtaining(stack_of(lazy))
    assert isinstance(stack["intensity"].data, da.Array)
    assert stack["intensity"].data.chunksize == (1, 4, 4096, 4096)
    assert json.loads(stack.attrs["provenance"][-1])["step"] == "remove_curtaining"


# Refusals


def test_remove_curtaining__refuses_tiny_images():
    with pytest.raises(ConventionError, match=r"at least 32 pixels along y and x; .* 31 x 40"):
        remove_curtaining(stack_of(np.zeros((2, 31, 40), np.uint8)))


@pytest.mark.parametrize(("name", "most"), [("length", 400), ("width", 50)])
@pytest.mark.parametrize("value", [0, -5.0, 19.0, 401.0, np.nan, "30"])
def test_remove_curtaining__refuses_lengths_that_do_not_fit(name, most, value):
    text = rf"{name} must be from 4 to {most // 5} pixels .* 20 to {most} nm; got {value!r} nm"
    with pytest.raises(ConventionError, match=text):
        remove_curtaining(stack_of(np.zeros((2, 80, 80), np.uint8)), **{name: value})


@pytest.mark.parametrize("angle", [-31.0, 90, np.nan])
def test_remove_curtaining__refuses_steep_inclinations(angle):
    with pytest.raises(ConventionError, match=rf"between -30 and 30 degrees from y; got {angle}"):
        remove_curtaining(stack_of(np.zeros((2, 40, 40), np.uint8)), inclination=angle)


def test_remove_curtaining__names_the_slice_that_is_not_finite():
    images = np.zeros((2, 3, 40, 40), np.float32)
    images[1, 2, 5, 5] = np.nan
    lazy = remove_curtaining(stack_of(images))
    with pytest.raises(ConventionError, match="finite; slice 2 of voltage number 1 has NaN"):
        lazy["intensity"].values  # noqa: B018


def test_remove_curtaining__slices_that_are_not_measured_may_hold_anything():
    images = two_phases(slices=2, side=64)
    images[1] = np.nan
    stack = stack_of(images).assign_coords(measured=("z", [True, False]))
    found = remove_curtaining(stack)["intensity"]
    np.testing.assert_array_equal(found[0, 0], repaired(images[:1])[0])
    assert np.isnan(found[0, 1]).all()


@pytest.mark.parametrize("inclination", [0.0, 10.0])
def test_remove_curtaining__margins_of_one_grey_value_are_no_stripes(inclination):
    images = two_phases(1, side=128) + striped(two_phases(1, side=128), 0.3)
    filled = np.pad(images, ((0, 0), (0, 0), (20, 7)))
    options = {"inclination": inclination, "length": 400, "width": 60}
    expected = np.pad(repaired(images, **options), ((0, 0), (0, 0), (20, 7)))
    np.testing.assert_array_equal(repaired(filled, **options), expected)
