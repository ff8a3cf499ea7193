"""Two sources of thickness beside one another."""

import numpy as np
import pytest
import xarray as xr

from fibdask.conventions import ConventionError
from fibdask.thickness.comparison import compare_slice_thickness


def source(values, start=0.0):
    z = start + 10.0 * np.arange(len(values))
    return xr.DataArray(np.asarray(values, float), {"z": z}, ("z",))


def test_compare_slice_thickness__is_that_of_numpy():
    rng = np.random.default_rng(1)
    first = rng.gamma(10, 1, 200)
    second = first + rng.normal(0, 1, 200)
    found = compare_slice_thickness(source(first), source(second), names=("ruler", "images"))
    a, b = first[:-1], second[:-1]
    assert found["source"].values.tolist() == ["ruler", "images"]
    assert float(found["correlation"]) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert float(found["rms_difference"]) == pytest.approx(np.sqrt(np.mean((b - a) ** 2)))
    assert float(found["mean_difference"]) == pytest.approx(np.mean(b - a))
    np.testing.assert_allclose(found["mean"], [a.mean(), b.mean()])
    np.testing.assert_allclose(found["std"], [a.std(), b.std()])
    score = np.abs(a - a.mean()) / a.std()
    np.testing.assert_array_equal(found["outlier"][0], score > 1.5)
    assert float(found["outlier_share"][0]) == pytest.approx(np.mean(score > 1.5))
    assert found["counts"].sum("bin").values.tolist() == [199, 199]
    assert found["edges"].sizes["edge"] == found["counts"].sizes["bin"] + 1


def test_compare_slice_thickness__of_itself_differs_by_nothing():
    thickness = source([9.0, 10, 12, 10])
    found = compare_slice_thickness(thickness, thickness)
    assert float(found["correlation"]) == pytest.approx(1)
    assert float(found["rms_difference"]) == 0


def test_compare_slice_thickness__leaves_unknown_slices_out():
    first = source([9.0, np.nan, 12, 0.5, 11])
    second = source([10.0, 10, np.nan, 0.5, 99])
    found = compare_slice_thickness(first, second)
    assert found["known"].values.tolist() == [3, 3]
    assert float(found["mean_difference"]) == pytest.approx(0.5)
    np.testing.assert_allclose(found["implausible_share"], [1 / 3, 1 / 3])
    assert not found["outlier"][0, 1]


def test_compare_slice_thickness__of_one_value_has_no_correlation():
    even = source([10.0] * 5)
    found = compare_slice_thickness(even, even)
    assert np.isnan(found["correlation"])
    assert found["counts"].sum("bin").values.tolist() == [4, 4]
    assert not found["outlier"].any()
    lone = compare_slice_thickness(source([10.0, np.nan, 1]), source([10.0, 9, 1]))
    assert np.isnan(lone["rms_difference"])


def test_compare_slice_thickness__refuses_what_cannot_be_compared():
    with pytest.raises(ConventionError, match="first has 3 slices, second 4"):
        compare_slice_thickness(source([1, 2, 3]), source([1, 2, 3, 4]))
    with pytest.raises(ConventionError, match="or they lie elsewhere"):
        compare_slice_thickness(source([1, 2, 3]), source([1, 2, 3], start=5))
    with pytest.raises(ConventionError, match="known for some slices; b has none"):
        compare_slice_thickness(source([1, 2]), source([np.nan, 2]), names=("a", "b"))


def test_compare_slice_thickness__slices_of_one_thickness_have_no_outliers():
    even = source(np.diff(np.arange(52) * 3.26))
    assert not compare_slice_thickness(even, even)["outlier"].any()


@pytest.mark.parametrize(
    ("first", "names", "message"),
    [
        (np.array([1.0, 2, 3]), ("a", "b"), "thickness of a must be .*; got ndarray"),
        (source([1, np.inf, 3]), ("a", "b"), "thickness of a must be finite, .* slice 1 has inf"),
        (source([1, 2, 3]).assign_attrs(units="um"), ("a", "b"), "units 'nm'; found 'um'"),
        (source([1, 2, 3]).rename(z="slice"), ("a", "b"), "dimension z; found slice"),
        (source([1, 2, 3]), ("a", "a"), r"two that differ, .*; got \('a', 'a'\)"),
        (source([1, 2, 3]), ("a", "b", "c"), "two that differ"),
        (source([1, 2, 3]), "ab", "two that differ, .*; got 'ab'"),
    ],
)
def test_compare_slice_thickness__refuses_what_is_no_thickness_in_nm(first, names, message):
    with pytest.raises(ConventionError, match=message):
        compare_slice_thickness(first, source([1, 2, 3]), names=names)
