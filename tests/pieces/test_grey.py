"""Grey values in bins, of floats of either sign and of integers."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fibdask.conventions import ConventionError
from fibdask.pieces._kernels import grey as kernels
from fibdask.pieces.grey import (
    CountedGrey,
    FloatCounts,
    FloatRange,
    GreyCodes,
    grey_ranges,
    grey_steps,
    outer_bins,
    range_values,
    require_finite,
)

pytestmark = pytest.mark.interpreted

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def bins_of(values):
    """The bin of each float32 value."""
    bins = []
    for value in np.asarray(values, np.float32).ravel():
        counts = np.zeros(kernels.FLOAT_BINS, np.int64)
        kernels.float_counts(np.array([[value]]).view(np.uint32), counts)
        bins.append(int(np.flatnonzero(counts)[0]))
    return np.array(bins)


def counted(image, measured=None, start=(0, 0, 0, 0)):
    measured = np.ones(image.shape[1], bool) if measured is None else measured
    region = tuple(slice(0, n) for n in image.shape)
    return FloatCounts(measured, start).compute(region, image)


@given(arrays.arrays(np.float32, 20, elements=FINITE))
def test_float_counts__order_bins_as_the_numbers(values):
    values = np.sort(values + np.float32(0))  # −0 is 0
    assert (np.diff(bins_of(values)) >= 0).all()


@given(FINITE)
def test_float_bin_ends__are_the_least_and_the_largest_value_of_either_sign(value):
    least, largest = kernels.float_bin_ends(bins_of([value]))
    assert least[0] <= value <= largest[0]
    assert largest[0] - least[0] <= 2.0**-8 * abs(value) + 1e-35


@pytest.mark.parametrize(("value", "low", "high"), [(1.0, 1.0, 1.002), (-1.0, -1.002, -1.0)])
def test_float_bin_ends__rise_below_zero_as_above_it(value, low, high):
    least, largest = kernels.float_bin_ends(bins_of([value]))
    assert (round(least[0], 3), round(largest[0], 3)) == (low, high)


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_float_counts__are_those_of_measured_slices(dtype):
    image = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(dtype)
    measured = np.array([True, False, True])
    expected = np.bincount(bins_of(image[:, measured]), minlength=kernels.FLOAT_BINS)
    np.testing.assert_array_equal(counted(image, measured), expected)


def test_float_counts__name_the_place_of_what_is_no_number():
    image = np.zeros((1, 3, 4, 5), np.float32)
    image[0, 1, 2, 3] = np.nan
    with pytest.raises(ConventionError, match=r"slice 11 of voltage .* first at z 11, y 2, x 43"):
        counted(image, start=(0, 10, 0, 40))


def test_require_finite__leaves_slices_alone_that_are_not_measured():
    image = np.full((1, 2, 3, 3), np.inf, np.float32)
    region = tuple(slice(0, n) for n in image.shape)
    require_finite(image, np.zeros(2, bool), region)
    with pytest.raises(ConventionError, match="9 of 18 grey values"):
        require_finite(image, np.array([False, True]), region)


def test_float_range__of_negative_values_holds_them():
    image = np.linspace(-3, -1, 1000, dtype=np.float32).reshape(1, 1, 20, 50)
    ((low, high),) = FloatRange()(counted(image)[np.newaxis])
    assert -3.02 < low <= -2.99
    assert -1.01 <= high < -0.98


def test_float_range__has_margins_as_long_as_asked_for():
    counts = counted(np.linspace(1, 3, 1000, dtype=np.float32).reshape(1, 1, 20, 50))[np.newaxis]
    ((low, high),), ((least, most),) = FloatRange()(counts), FloatRange(margin=1.0)(counts)
    assert (least, most) == (low - (high - low), high + (high - low))


def test_outer_bins__leave_out_a_share_at_either_end():
    counts = np.ones((1, 10_000), int)
    np.testing.assert_array_equal(outer_bins(counts), [[4, 9994]])


@pytest.mark.parametrize(("common", "lengths"), [(True, [4, 4]), (False, [2, 4])])
def test_grey_steps__are_as_long_as_the_longest_where_they_are_common(common, lengths):
    low, step = grey_steps(np.array([[1.0, 3.0], [5.0, 9.0]]), 2, common)
    np.testing.assert_array_equal(low, [1, 5])
    np.testing.assert_array_equal(4 * step, lengths)


@pytest.mark.parametrize("common", [True, False])
def test_grey_codes__number_the_steps_of_their_voltage(common):
    ranges = np.array([[0.0, 2.0], [1.0, 5.0]])
    image = np.array([-1, 0.9, 1.1, 9], np.float32).reshape(1, 1, 1, 4)
    region = (slice(1, 2), slice(0, 1), slice(0, 1), slice(0, 4))
    codes = GreyCodes(2, common).compute(region, image, ranges)
    np.testing.assert_array_equal(codes.ravel(), [0, 0, 0, 3])
    region = (slice(0, 1), *region[1:])
    codes = GreyCodes(2, common).compute(region, image, ranges)
    np.testing.assert_array_equal(codes.ravel(), [0, 0, 1, 3] if common else [0, 1, 2, 3])


def ranges_of(image, measured=None, shares=(0.1, 0.9)):
    measured = np.ones(image.shape[1], bool) if measured is None else measured
    grey = CountedGrey(image, measured, (0, 0, 0, 0))
    return range_values(*(array.compute() for array in grey_ranges(grey, shares)))


@pytest.mark.parametrize("chunks", [None, (1, 2, 3, 4), (2, 1, 5, 7)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_grey_ranges__are_quantiles_of_each_voltage_of_measured_slices(dtype, chunks):
    image = np.random.default_rng(1).gamma(2, 20, (2, 4, 6, 8)).clip(0, 255).astype(dtype)
    measured = np.array([True, False, True, True])
    counted = image[:, measured].reshape(2, -1)
    expected = np.quantile(counted, (0.1, 0.9), axis=1, method="inverted_cdf").T
    lazy = image if chunks is None else da.from_array(image, chunks=chunks)
    found = ranges_of(lazy, measured)
    np.testing.assert_allclose(found, expected, atol=2e-3 if dtype == "float32" else 0)


def test_grey_ranges__of_a_voltage_depend_on_no_other():
    image = np.random.default_rng(1).gamma(2, 0.2, (2, 3, 6, 8)).astype(np.float32)
    alone = ranges_of(image[:1])
    image[1] *= 1e5
    np.testing.assert_allclose(ranges_of(image)[:1], alone, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_grey_ranges__refuse_images_of_one_brightness(dtype):
    image = np.random.default_rng(1).integers(0, 9, (2, 3, 6, 8)).astype(dtype)
    image[1] = 7
    with pytest.raises(ConventionError, match=r"voltage number 1, 10% to 90% .* are the same"):
        ranges_of(image)
