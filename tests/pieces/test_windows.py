"""Planes told of by windows of slices: the same values in whatever region, wherever slices lie."""

import tracemalloc
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fibdask.blocks import (
    Execution,
    Grid,
    Target,
    fingerprint,
    from_source,
    map_blocks,
    open_stored,
    origin,
    write_array,
)
from fibdask.conventions import ConventionError
from fibdask.pieces.mirrored import Mirrored
from fibdask.pieces.slant import UPRIGHT, Slant
from fibdask.pieces.windows import (
    NO_SLICE,
    LikelySolid,
    PlacedPlanes,
    PlanePredictions,
    SliceWindow,
    predict_planes,
    window_predictions,
)
from tests.blocks.helpers import SumAlongZ, naive_sum_along_z
from tests.pieces.predictors import ALL, CoarseMix

SHAPE = (2, 9, 31, 19)  # neither 31 nor 19 are whole strides
IMAGE = np.random.default_rng(1).integers(5, 250, SHAPE, np.uint8)
RANGES = np.array([[5.0, 249.0], [20.0, 240.0]])
Z = np.cumsum(np.random.default_rng(2).gamma(9, 1, SHAPE[1]))
MEASURED = np.arange(SHAPE[1]) != 4
DEPTHS = np.arange(np.floor(Z[0] / 2.5), np.ceil(Z[-1] / 2.5)) * 2.5
BETWEEN = PlacedPlanes.between(Z, MEASURED, DEPTHS)
SLICES = PlacedPlanes.of_slices(Z, MEASURED)
TILE = (8, 6)
MIX = CoarseMix()


def naive(planes, image=IMAGE, channels=(0, 1), predictor=MIX, ranges=RANGES, slant=UPRIGHT):
    """Show whole images, and round to what is stored."""
    return in_steps(likely(planes, image, channels, predictor, ranges, slant))


def in_steps(probability):
    return np.rint(probability * np.float32(255)) * np.float32(1 / 255)


def likely(planes, image, channels, predictor, ranges, slant=UPRIGHT):
    """Show whole images, window by window and plane by plane."""
    y, x = image.shape[2:]
    pad = [(0, -n % s) for n, s in zip((y, x), predictor.stride, strict=True)]
    made = np.zeros((len(planes.above), y, x), np.float32)
    window = predictor.window
    for plane, (i, offset) in enumerate(zip(planes.above, planes.offsets, strict=True)):
        if i == NO_SLICE:
            continue
        shown = np.zeros((predictor.voltages, window.size, y + pad[0][1], x + pad[1][1]), "f4")
        distances = np.full(window.size, np.nan)
        for slot in range(window.size):
            number = i + planes.every * (slot - window.above + 1)
            if 0 <= number < len(planes.slices):
                distances[slot] = planes.z[number] - planes.z[i]
                for v, channel in enumerate(channels):
                    grey = (image[v, planes.slices[number]] - ranges[v, 0]).astype(np.float32)
                    grey /= np.float32(ranges[v, 1] - ranges[v, 0])
                    rows = np.arange(y) + round(slant.step * distances[slot])
                    grey = grey[rows.clip(0, y - 1)]
                    shown[channel, slot] = np.pad(grey, pad, mode="edge")
        present = np.isin(np.arange(predictor.voltages), channels)
        along = slant.stretch * np.array([offset])
        told = predictor(shown, present, slant.stretch * distances, along)[0, :y, :x]
        begun = (np.arange(y) - slant.step * offset).clip(0, y - 1)
        made[plane] = [[np.interp(r, np.arange(y), told[:, c]) for c in range(x)] for r in begun]
    return made


def function(planes, predictor=MIX, channels=(0, 1), tile=TILE, shape=SHAPE, slant=UPRIGHT):
    return PlanePredictions(predictor, planes, shape, channels, tile, slant=slant)


def in_region(made_by, region, image=IMAGE, ranges=RANGES):
    (read,) = made_by.needs(region)
    return made_by.compute(region, image[read], ranges)


def whole(planes, *lengths):
    return tuple(slice(0, n) for n in (len(planes.above), *(lengths or SHAPE[2:])))


def intervals(n):
    pairs = st.tuples(st.integers(0, n - 1), st.integers(1, n)).map(sorted)
    return pairs.filter(lambda pair: pair[0] < pair[1]).map(lambda pair: slice(*pair))


# ── windows ──────────────────────────────────────────────────────────────────────────────────


def test_slice_window__holds_slices_above_itself_and_below():
    window = SliceWindow(2, 3)
    assert window.size == 5
    assert window.slices(4, 10).tolist() == [3, 4, 5, 6, 7]
    assert window.slices(0, 2).tolist() == [NO_SLICE, 0, 1, NO_SLICE, NO_SLICE]
    assert SliceWindow(2, 3, every=3).slices(4, 10).tolist() == [1, 4, 7, NO_SLICE, NO_SLICE]


def test_of_slices__tells_nothing_of_what_is_not_measured():
    measured = np.array([True, False, True])
    planes = PlacedPlanes.of_slices(np.array([0.0, 5.0, 12.0]), measured)
    assert planes.slices.tolist() == [0, 2]
    assert planes.above.tolist() == [0, NO_SLICE, 1]
    assert not planes.offsets.any()


def test_between__planes_hang_below_the_last_slice_that_is_not_deeper():
    z = np.array([1.0, 5.0, 7.0, 12.0])
    measured = np.array([True, True, False, True])
    depths = np.array([0.0, 2.5, 5.0 + 5e-7, 7.5, 12.0 - 5e-7, 13.0])
    planes = PlacedPlanes.between(z, measured, depths)
    assert planes.above.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_allclose(planes.offsets, [0, 1.5, 0, 2.5, 0, 0], atol=0)
    assert planes.gaps.tolist() == [0, 4, 0, 7, 0, 0]


# ── predictions ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("planes", [SLICES, BETWEEN], ids=["slices", "between"])
@pytest.mark.parametrize("tile", [TILE, (64, 64)])
def test_predictions__equal_whole_images_shown_one_by_one(planes, tile):
    made = in_region(function(planes, tile=tile), whole(planes))
    np.testing.assert_array_equal(made, naive(planes))
    assert 0.1 < made.mean() < 0.9


ALL_BETWEEN, ALL_SLICES = naive(BETWEEN), naive(SLICES)
ALL_MIRRORED = in_region(function(BETWEEN, Mirrored(MIX), tile=(64, 64)), whole(BETWEEN))


@given(
    st.tuples(intervals(len(BETWEEN.above)), intervals(31), intervals(19)),
    st.sampled_from([(4, 2), (8, 6), (12, 20), (32, 4)]),
)
@settings(deadline=None)
def test_predictions__give_the_same_values_in_any_region(region, tile):
    made = in_region(function(BETWEEN, tile=tile), region)
    np.testing.assert_array_equal(made, ALL_BETWEEN[region])


@given(st.tuples(intervals(9), intervals(31), intervals(19)))
@settings(deadline=None, max_examples=30)
def test_predictions__of_slices_skip_those_that_are_not_measured(region):
    made = in_region(function(SLICES), region)
    np.testing.assert_array_equal(made, ALL_SLICES[region])
    assert not ALL_SLICES[4].any()


@given(st.tuples(intervals(len(BETWEEN.above)), intervals(31), intervals(19)))
@settings(deadline=None, max_examples=30)
def test_predictions__of_thin_slices_show_every_second_or_third(region):
    for every in (2, 3):
        planes = replace(BETWEEN, every=every)
        made = in_region(function(planes), region)
        np.testing.assert_array_equal(made, naive(planes)[region])


class Sided(CoarseMix):
    """Tells each pixel half of what it tells the one before along y and along x."""

    def __call__(self, *shown):
        said = super().__call__(*shown[:4])
        before = np.pad(said, [(0, 0), (1, 0), (1, 0)], mode="edge")[:, :-1, :-1]
        return (said + before)[:, *(shown[4:] or (ALL,))[0]] / 2


@pytest.mark.parametrize("along_x", [False, True])
def test_mirrored__is_the_mean_of_what_is_said_of_mirror_images(along_x):
    sided = Sided()
    whole_image = IMAGE[..., :28, :18]  # whole strides, of which mirror images begin with one, too
    seen = {"shape": whole_image.shape, "tile": (32, 32)}
    made = in_region(
        function(BETWEEN, Mirrored(sided, along_x), **seen), whole(BETWEEN, 28, 18), whole_image
    )
    each = []
    for axes in ((), (3,)) if along_x else ((), (3,), (2,), (2, 3)):
        said = likely(BETWEEN, np.flip(whole_image, axes), (0, 1), sided, RANGES)
        each.append(np.flip(said, [axis - 1 for axis in axes]))
    np.testing.assert_allclose(made, in_steps(np.mean(each, axis=0)), atol=1.01 / 255)
    assert np.abs(made - in_steps(each[0])).max() > 0.01


@given(
    st.tuples(intervals(len(BETWEEN.above)), intervals(31), intervals(19)),
    st.sampled_from([(4, 2), (8, 6), (32, 32)]),
)
@settings(deadline=None, max_examples=30)
def test_mirrored__gives_the_same_values_in_any_region(region, tile):
    made = in_region(function(BETWEEN, Mirrored(MIX), tile=tile), region)
    np.testing.assert_array_equal(made, ALL_MIRRORED[region])


@pytest.mark.parametrize("tilt", [36.0, -52.0])
@pytest.mark.parametrize("planes", [SLICES, BETWEEN], ids=["slices", "between"])
def test_predictions__along_a_tilted_beam_equal_whole_images_moved_by_hand(planes, tilt):
    slant = Slant.of(tilt, 2.5)
    made = in_region(function(planes, slant=slant), whole(planes))
    expected = naive(planes, slant=slant)
    # Both mix rows in single precision, in another order: a step of 1/255 at most.
    assert np.abs(made - expected).max() < 1.01 / 255
    assert (made == expected).mean() > 0.99
    assert not np.array_equal(made, naive(planes))


TILTED = Slant.of(36.0, 2.5)
ALL_TILTED = in_region(function(BETWEEN, slant=TILTED), whole(BETWEEN))


@given(
    st.tuples(intervals(len(BETWEEN.above)), intervals(31), intervals(19)),
    st.sampled_from([(4, 2), (8, 6), (12, 20), (32, 4)]),
)
@settings(deadline=None)
def test_predictions__along_a_tilted_beam_give_the_same_values_in_any_region(region, tile):
    made = in_region(function(BETWEEN, tile=tile, slant=TILTED), region)
    np.testing.assert_array_equal(made, ALL_TILTED[region])


def test_predictions__of_images_narrower_than_a_beam_goes_along_y():
    steep = Slant.of(70.0, 0.25)
    made = in_region(function(BETWEEN, slant=steep), whole(BETWEEN))
    assert np.abs(made - naive(BETWEEN, slant=steep)).max() < 1.01 / 255


def test_predictions__never_look_at_slices_that_are_not_measured():
    other = IMAGE.copy()
    other[:, 4] = 0
    made = in_region(function(BETWEEN), whole(BETWEEN), other)
    np.testing.assert_array_equal(made, ALL_BETWEEN)


def test_predictions__read_the_slices_of_their_windows_and_no_others():
    made_by = function(SLICES)
    (read,) = made_by.needs((slice(2, 3), slice(9, 10), slice(0, 1)))
    assert read[1] == slice(1, 6)  # 1, 2 | 3, 5: slice 4 is not measured
    # tile 8:16 with a halo of 7, from 1 to 23; tile 0:6 with 3
    assert read[2:] == (slice(0, 24), slice(0, 10))
    (read,) = made_by.needs((slice(4, 5), slice(0, 1), slice(0, 1)))
    assert read[1] == slice(0, 1)


@pytest.mark.parametrize("channel", [0, 1])
def test_predictions__know_which_voltage_is_lacking(channel):
    one = IMAGE[:1]
    made_by = function(BETWEEN, channels=(channel,), shape=one.shape)
    made = in_region(made_by, whole(BETWEEN), one, RANGES[:1])
    np.testing.assert_array_equal(made, naive(BETWEEN, one, (channel,)))
    assert not np.array_equal(made, ALL_BETWEEN)


def test_predictions__of_a_single_slice():
    planes = PlacedPlanes.of_slices(Z[:1], MEASURED[:1])
    one = IMAGE[:, :1]
    made = in_region(function(planes, shape=one.shape), whole(planes), one)
    np.testing.assert_array_equal(made, naive(planes, one))


@pytest.mark.parametrize("stride", [(32, 32), (64, 1)])
def test_predictions__of_images_that_are_narrower_than_the_halo(stride):
    predictor = CoarseMix(stride=stride)
    assert predictor.halo[0] > SHAPE[2]
    made = in_region(function(BETWEEN, predictor, tile=(64, 32)), whole(BETWEEN))
    np.testing.assert_array_equal(made, naive(BETWEEN, predictor=predictor))


@pytest.mark.parametrize("kind", ["stored", "numpy", "dask"])
def test_predict_planes__in_a_chain_that_asks_for_odd_regions(tmp_path, kind):
    image = IMAGE
    if kind == "stored":
        target = Target(tmp_path / "a", Grid(SHAPE, SHAPE), SHAPE, "uint8", tuple("vzyx"), {})
        write_array(IMAGE, target, Execution(), name="image", values={})
        image = from_source(open_stored(tmp_path / "a"))
    elif kind == "dask":
        image = da.from_array(IMAGE, chunks=(1, 4, 10, 7))
    made = function(BETWEEN)
    shape = (len(DEPTHS), *SHAPE[2:])
    lazy = map_blocks(Fixed(made), [image], shape=shape, dtype=np.float32, block=(4, 9, 10))
    phase = map_blocks(LikelySolid(), [lazy], shape=shape, dtype=np.uint8)[3:20, 1:, 2:]
    summed = map_blocks(
        SumAlongZ(17, 2), [phase], shape=phase.shape, dtype=np.uint64, block=(3, 7, 5)
    )
    expected = (ALL_BETWEEN > 0.5).astype(np.uint64)[3:20, 1:, 2:]
    np.testing.assert_array_equal(summed.compute(), naive_sum_along_z(expected, 2))
    assert (origin(summed) is not None) is (kind == "stored")


class Fixed:
    """Predictions with ranges that are known."""

    def __init__(self, function):
        self.function = function
        self.needs, self.working_bytes = function.needs, function.working_bytes

    def compute(self, region, image):
        return self.function.compute(region, image, RANGES)

    def __dask_tokenize__(self):
        return fingerprint(self.function)


def test_predictions__are_stored_as_they_are(tmp_path):
    shape = ALL_BETWEEN.shape
    target = Target(
        tmp_path / "p", Grid(shape, shape), shape, "uint8", tuple("zyx"), {"scale_factor": 1 / 255}
    )
    write_array(ALL_BETWEEN, target, Execution(), name="p", values={})
    stored = from_source(open_stored(tmp_path / "p")).compute()
    np.testing.assert_array_equal(stored, ALL_BETWEEN)


@pytest.mark.parametrize("predictor", [MIX, Mirrored(MIX)], ids=["once", "mirrored"])
@pytest.mark.parametrize("slant", [UPRIGHT, TILTED], ids=["upright", "tilted"])
@pytest.mark.parametrize("planes", [SLICES, BETWEEN], ids=["slices", "between"])
def test_predictions__take_no_more_than_was_said(planes, slant, predictor):
    shape = (2, 9, 310, 190)
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    made_by = function(planes, predictor, shape=shape, tile=(128, 192), slant=slant)
    region = (slice(1, 9), slice(3, 310), slice(5, 190))
    (read,) = made_by.needs(region)
    given_image = np.ascontiguousarray(image[read])
    made_by.compute(region, given_image, RANGES)
    tracemalloc.start()
    result = made_by.compute(region, given_image, RANGES)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    said = made_by.working_bytes(region) + result.nbytes
    assert 0.4 * said < peak <= said


def test_predictions__take_nothing_where_nothing_is_told():
    assert function(SLICES).working_bytes((slice(4, 5), slice(0, 9), slice(0, 9))) == 0


def test_predictions__name_the_place_of_what_is_no_number():
    image = IMAGE.astype(np.float32)
    image[1, 3, 20, 11] = np.nan
    with pytest.raises(ConventionError, match=r"slice 3 of voltage number 1 .* y 20, x 11"):
        in_region(function(BETWEEN), whole(BETWEEN), image)
    image = IMAGE.astype(np.float32)
    image[:, 4] = np.nan  # is not measured
    np.testing.assert_array_equal(in_region(function(BETWEEN), whole(BETWEEN), image), ALL_BETWEEN)


@pytest.mark.parametrize(
    ("factor", "part", "words"),
    [
        (30.0, slice(None), r"must lie in 0 … 1; the network gives .* window of slice 0"),
        (np.nan, slice(None), r"must lie in 0 … 1; the network gives nan"),
        (1.0, slice(1, None), r"must give the shape \(1, 4, 4\); got \(0, 4, 4\)"),
    ],
)
def test_predictions__refuse_what_is_no_probability(factor, part, words):
    class Wrong(CoarseMix):
        def __call__(self, *shown):
            return factor * super().__call__(*shown)[part]

    made_by = function(SLICES, Wrong(), tile=(4, 4))
    with pytest.raises(ConventionError, match=words):
        in_region(made_by, (slice(0, 1), slice(0, 3), slice(0, 3)))


def test_predict_planes__makes_blocks_of_tiles():
    image = da.zeros((2, 100, 1000, 800), chunks=(1, 50, 100, 100), dtype=np.uint8)
    planes = PlacedPlanes.of_slices(np.arange(100.0), np.ones(100, bool))
    lazy = predict_planes(image, window_predictions(MIX, planes, image.shape, (0, 1)), [])
    assert lazy.shape == (100, 1000, 800)
    assert lazy.dtype == np.float32
    assert lazy.chunksize == (50, 512, 448)
    image = image[..., :40, :50]
    small = predict_planes(image, window_predictions(MIX, planes, image.shape, (0, 1)), [])
    assert small.chunksize == (25, 40, 50)


def test_likely_solid__is_what_exceeds_one_half():
    probability = np.array([0, 127 / 255, 0.5, 128 / 255, 1], np.float32)
    phase = LikelySolid().compute((slice(0, 5),), probability)
    assert phase.dtype == np.uint8
    assert phase.tolist() == [0, 0, 0, 1, 1]
