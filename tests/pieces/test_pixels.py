"""Images in other pixels, and back: means over squares, the same in any part of an image."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fibdask
from fibdask import reconstruct_volume, segment_phases
from fibdask.conventions import ConventionError, build_stack, recorded_steps
from fibdask.pieces._kernels.pixels import square_means, square_taps
from fibdask.pieces.pixels import OtherPixels, ResampledPredictions
from tests.pieces.models import CARD, MixModel, offer
from tests.pieces.predictors import CoarseMix
from tests.pieces.test_windows import BETWEEN, IMAGE, RANGES, SHAPE, in_steps, intervals, likely

STEPS = [(2.0, 2.0), (1.6, 0.7), (0.5, 1.0), (1.0, 2.6)]


def dense(count, step, length):
    """Weights (other, pixel) of every pixel of an axis, one by one."""
    width = max(step, 1)
    weights = np.zeros((count, length))
    for k in range(count):
        low = (k + 0.5) * step - width / 2
        for i in range(-4, length + 4):
            share = min(i + 1, low + width) - max(i, low)
            weights[k, min(max(i, 0), length - 1)] += max(share, 0) / width
    return weights


def resampled(image, pixels):
    """All other pixels of images (…, y, x)."""
    pairs = zip(pixels.count, pixels.step, pixels.shape, strict=True)
    along_y, along_x = (dense(*of_axis) for of_axis in pairs)
    return along_y @ image @ along_x.T


@pytest.mark.interpreted
@pytest.mark.parametrize("step", [0.3, 0.5, 1.0, 1.3, 2.0, 3.7])
def test_square_taps__sum_to_one_and_interpolate_what_is_finer(step):
    first, weights = square_taps(slice(2, 9), step)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    centres = (np.arange(2, 9) + 0.5) * step - 0.5
    places = first[:, np.newaxis] + np.arange(weights.shape[1])
    # A part of a pixel is as bright as all of it.
    tolerance = 1e-5 if step <= 1 or step % 1 == 0 else 0.1
    np.testing.assert_allclose((weights * places).sum(1), centres, atol=tolerance)


@pytest.mark.interpreted
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_square_means__of_whole_pixels_are_their_means(dtype):
    image = np.arange(48).reshape(6, 8).astype(dtype)
    result = np.empty((3, 4), np.float32)
    square_means(image, *square_taps(slice(0, 3), 2.0), *square_taps(slice(0, 4), 2.0), result)
    np.testing.assert_allclose(result, image.reshape(3, 2, 4, 2).mean((1, 3)))


@pytest.mark.parametrize("step", STEPS)
def test_other_pixels__equal_sums_over_all_of_an_image(step):
    pixels = OtherPixels(SHAPE[2:], step)
    assert pixels.count == tuple(int(np.ceil(n / s)) for n, s in zip(SHAPE[2:], step, strict=True))
    everything = tuple(slice(0, n) for n in pixels.count)
    (read,) = [pixels.seen(everything)]
    made = pixels.resampled(IMAGE[0, 0][read], everything)
    np.testing.assert_allclose(made, resampled(IMAGE[0, 0], pixels), rtol=1e-5)


@given(st.sampled_from(STEPS), st.data())
@settings(deadline=None)
def test_other_pixels__have_the_same_bits_in_any_part(step, data):
    pixels = OtherPixels(SHAPE[2:], step)
    everything = tuple(slice(0, n) for n in pixels.count)
    whole = pixels.resampled(IMAGE[0, 0], everything)
    part = tuple(data.draw(intervals(n)) for n in pixels.count)
    np.testing.assert_array_equal(
        pixels.resampled(IMAGE[0, 0][pixels.seen(part)], part), whole[part]
    )
    back = pixels.brought_back(whole, everything, tuple(slice(0, n) for n in SHAPE[2:]))
    part = tuple(data.draw(intervals(n)) for n in SHAPE[2:])
    place = pixels.needed(part)
    np.testing.assert_array_equal(pixels.brought_back(whole[place], place, part), back[part])


def test_other_pixels__know_no_pixel_more_for_what_rounding_leaves():
    assert OtherPixels((512, 512), (2.0 - 1e-9, 2.0 + 1e-9)).count == (256, 256)


def predicted(step, region, tile=(9, 7)):
    """Predictions of a region, and what whole images give."""
    pixels = OtherPixels(SHAPE[2:], step)
    shown = resampled(IMAGE.astype(float), pixels).astype(np.float32)
    made_by = ResampledPredictions(CoarseMix(), BETWEEN, shown.shape, (0, 1), tile, pixels)
    (read,) = made_by.needs(region)
    return made_by.compute(region, shown[read], RANGES), pixels, shown


@pytest.mark.parametrize("step", STEPS)
def test_resampled_predictions__are_brought_back_from_whole_images(step):
    region = tuple(slice(0, n) for n in (len(BETWEEN.above), *SHAPE[2:]))
    made, pixels, shown = predicted(step, region)
    probability = likely(BETWEEN, shown, (0, 1), CoarseMix(), RANGES)
    back = OtherPixels(pixels.count, (1 / step[0], 1 / step[1]))
    expected = in_steps(resampled(probability, back)[:, : SHAPE[2], : SHAPE[3]])
    np.testing.assert_allclose(made, expected, atol=1.01 / 255)
    assert (made == expected.astype(np.float32)).mean() > 0.99


@given(st.tuples(intervals(len(BETWEEN.above)), intervals(31), intervals(19)))
@settings(deadline=None, max_examples=30)
def test_resampled_predictions__give_the_same_values_in_any_region(region):
    everything = tuple(slice(0, n) for n in (len(BETWEEN.above), *SHAPE[2:]))
    for step in STEPS[:2]:
        whole = predicted(step, everything)[0]
        np.testing.assert_array_equal(predicted(step, region)[0], whole[region])


# ── stages ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def _resampling(monkeypatch):
    allowed = {"resampled": {"pixel_size": [1.0, 8.0], "thickness": [2.0, 20.0]}}
    offer(monkeypatch, MixModel(CARD | allowed))


def stack_of(image=IMAGE, pixel=(1.0, 6.4), step=9.0):
    return build_stack(
        {"intensity": image},
        z=step * np.arange(image.shape[1]),
        pixel_size=pixel,
        nominal_thickness=9.0,
        voltage=np.array([1.0, 2.0]),
    )


pytestmark = pytest.mark.filterwarnings("ignore:model mix was trained on")


@pytest.mark.usefixtures("_resampling")
@pytest.mark.parametrize("chunks", [(1, 3, 8, 8), (2, 9, 5, 19)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_segment_phases__in_other_pixels_is_lazy_and_independent_of_chunks(chunks, dtype, tmp_path):
    image = IMAGE.astype(dtype)
    expected = segment_phases(stack_of(image), method="network")["solid_probability"].values
    assert expected.shape == SHAPE[1:]
    assert 0.05 < expected.mean() < 0.95
    lazy = segment_phases(stack_of(da.from_array(image, chunks=chunks)), method="network")
    np.testing.assert_array_equal(lazy["solid_probability"].compute(), expected)
    fibdask.save_stack(stack_of(image), tmp_path / "images.zarr")
    stored = segment_phases(fibdask.open_stack(tmp_path / "images.zarr"), method="network")
    fibdask.save_stack(stored, tmp_path / "made.zarr")
    made = fibdask.open_stack(tmp_path / "made.zarr")
    np.testing.assert_array_equal(made["solid_probability"], expected)
    np.testing.assert_array_equal(made["phase"], expected > 0.5)


@pytest.mark.usefixtures("_resampling")
def test_reconstruct_volume__records_what_the_network_was_shown():
    made = reconstruct_volume(stack_of(step=4.0), spacing=2.0)
    told = recorded_steps(made)[-1]["parameters"]
    assert told["shown_pixel_size"] == [2.0, 2.0]
    assert told["shown_every"] == 2
    assert made["phase"].shape == (17, *SHAPE[2:])
    as_known = reconstruct_volume(stack_of(pixel=(2.0, 5.0)), spacing=2.0)
    assert (
        not {"shown_pixel_size", "shown_every"} & recorded_steps(as_known)[-1]["parameters"].keys()
    )


@pytest.mark.usefixtures("_resampling")
def test_segment_phases__in_other_pixels_tells_where_images_are_not_finite():
    image = IMAGE.astype("float32")
    image[1, 3, 20, 5] = np.nan
    lazy = segment_phases(stack_of(image), method="network")
    with pytest.raises(ConventionError, match="the first at z 3, y 20, x 5"):
        lazy["phase"].compute()
