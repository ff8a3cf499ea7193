"""Rules for slice thicknesses: wrong units, slices not milled, outliers."""

import numpy as np

from fibdask.conventions import other_unit, thickness_outliers, thin_share


def test_other_unit__is_a_factor_of_300_either_way():
    found = other_unit(np.array([10.0, 2999.0, 3000.0, 0.034, 0.033, np.nan]), 10.0)
    assert found.tolist() == [False, False, True, False, True, False]
    assert not other_unit(12.0, 10.0)


def test_thin_share__is_that_of_known_slices():
    assert thin_share(np.array([1.0, 1.1, np.nan, 0.0])) == 2 / 3
    assert thin_share(np.array([np.nan])) == 0


def test_thickness_outliers__are_those_beyond_a_z_score_of_1_5():
    values = np.random.default_rng(0).gamma(10, 1, 100)
    score = np.abs(values - values.mean()) / values.std()
    np.testing.assert_array_equal(thickness_outliers(values), score > 1.5)
    assert thickness_outliers(np.append(values, np.nan))[:-1].tolist() == (score > 1.5).tolist()


def test_thickness_outliers__even_slices_and_unknown_ones_have_none():
    assert not thickness_outliers(np.diff(np.arange(51) * 3.26)).any()
    assert not thickness_outliers(np.full(4, np.nan)).any()
    assert not thickness_outliers(np.array([])).any()
