"""Correlations along axes: the laws, the definition, and independence of chunking."""

import dask
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fibdask.blocks import origin
from fibdask.conventions import ConventionError
from fibdask.statistics import ligament_diameter, lineal_path, solid_fraction, two_point_correlation
from tests.statistics import naive
from tests.statistics.helpers import (
    AXES,
    in_blocks,
    laminate,
    noise,
    phase_of,
    ragged,
    random_volumes,
)

SHAPE = (12, 70, 66)
CURVES = (two_point_correlation, lineal_path)
NAIVE = {
    two_point_correlation: naive.two_point_correlation,
    lineal_path: naive.lineal_path,
}


@pytest.mark.parametrize("curve", CURVES)
def test_curves__equal_solid_fraction_at_zero(curve):
    phase = phase_of(noise(SHAPE, 0.3))
    at_zero = curve(phase, max_lag=3).sel(lag=0)
    assert (at_zero == solid_fraction(phase).compute()).all()


@given(random_volumes(), st.integers(0, 12))
def test_lineal_path__is_at_most_two_point_correlation(data, max_lag):
    phase = phase_of(data)
    path = lineal_path(phase, max_lag=max_lag).values
    pairs = two_point_correlation(phase, max_lag=max_lag).values
    inside = np.isfinite(path)
    assert (inside == np.isfinite(pairs)).all()
    assert (path[inside] >= 0).all()
    assert (path[inside] <= pairs[inside]).all()
    assert (pairs[inside] <= 1).all()


@given(random_volumes())
def test_lineal_path__never_increases(data):
    path = lineal_path(phase_of(data), max_lag=3)
    steps = path.diff("lag").values
    assert (steps[np.isfinite(steps)] <= 1e-15).all()


@pytest.mark.parametrize("curve", CURVES)
@given(data=st.data(), volume=random_volumes(), max_lag=st.integers(0, 12))
def test_curves__equal_the_definition_under_any_chunking(curve, data, volume, max_lag):
    expected = np.stack([NAIVE[curve](volume, axis, max_lag) for axis in AXES])
    block = data.draw(st.tuples(*(st.integers(1, 9),) * 3))
    for array in (volume, data.draw(ragged(volume)), in_blocks(volume, block)):
        found = curve(phase_of(array), max_lag=max_lag)
        np.testing.assert_array_equal(found.values, expected)


@pytest.mark.filterwarnings("ignore:the ligament diameter along")
@given(data=st.data(), volume=random_volumes())
def test_ligament_diameter__equals_the_definition_under_any_chunking(data, volume):
    spacing = (3.0, 2.0, 0.5)
    expected = [naive.ligament_diameter(volume, a, h) for a, h in zip(AXES, spacing, strict=True)]
    found = ligament_diameter(phase_of(volume, spacing)).values
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    for array in (data.draw(ragged(volume)), in_blocks(volume, (2, 3, 4))):
        np.testing.assert_array_equal(ligament_diameter(phase_of(array, spacing)).values, found)


@pytest.mark.parametrize("shape", [(130, 70, 200), (1, 300, 129), (65, 1, 300), (260, 64, 1)])
@pytest.mark.parametrize("curve", CURVES)
def test_curves__equal_the_definition_over_many_columns(curve, shape):
    volume = noise(shape, 0.8)
    found = curve(phase_of(in_blocks(volume, (64, 37, 128))), max_lag=70)
    expected = [NAIVE[curve](volume, axis, 70) for axis in AXES]
    np.testing.assert_array_equal(found.values, expected)


@pytest.mark.parametrize("curve", CURVES)
def test_curves__are_equal_for_numpy_and_ragged_chunks_of_any_axis(curve):
    volume = noise(SHAPE, 0.7)
    whole = curve(phase_of(volume), max_lag=20).values
    for block in ((1, 70, 66), (12, 7, 1), (5, 64, 3)):
        found = curve(phase_of(in_blocks(volume, block)), max_lag=20)
        np.testing.assert_array_equal(found.values, whole)


def test_two_point_correlation__may_exceed_solid_fraction_in_a_finite_window():
    row = np.array([1, 0, 1], np.uint8).reshape(1, 1, 3)
    found = two_point_correlation(phase_of(row), max_lag=2, axes=("x",)).values
    np.testing.assert_array_equal(found, [[2 / 3, 0, 1]])


def test_curves__of_a_checkerboard():
    board = (np.indices((6, 6, 6)).sum(axis=0) % 2).astype(np.uint8)
    pairs = two_point_correlation(phase_of(board), max_lag=4).values
    path = lineal_path(phase_of(board), max_lag=4).values
    np.testing.assert_array_equal(pairs, [[0.5, 0, 0.5, 0, 0.5]] * 3)
    np.testing.assert_array_equal(path, [[0.5, 0, 0, 0, 0]] * 3)


def test_curves__of_a_laminate():
    phase = phase_of(laminate())
    pairs = two_point_correlation(phase, max_lag=4)
    path = lineal_path(phase, max_lag=4)
    for curve in (pairs, path):
        assert (curve.sel(axis=["y", "x"]) == 0.5).all()
    np.testing.assert_array_equal(pairs.sel(axis="z"), [6 / 12, 3 / 11, 0, 2 / 9, 4 / 8])
    np.testing.assert_array_equal(path.sel(axis="z"), [6 / 12, 3 / 11, 0, 0, 0])


def test_curves__of_noise_are_powers_of_the_solid_fraction():
    phase = phase_of(noise((96, 96, 96), 0.6))
    pairs = two_point_correlation(phase, max_lag=4).values
    path = lineal_path(phase, max_lag=4).values
    np.testing.assert_allclose(pairs[:, 1:], 0.36, atol=0.003)
    np.testing.assert_allclose(path, [[0.6**k for k in range(1, 6)]] * 3, atol=0.003)


def test_ligament_diameter__of_noise_sums_a_geometric_series():
    diameter = ligament_diameter(phase_of(noise((96, 96, 96), 0.5), (4.0, 2.0, 1.0)))
    np.testing.assert_allclose(diameter, np.array([4, 2, 1]) * 1.5, rtol=0.02)


def test_ligament_diameter__is_in_nm_of_each_axis():
    volume = noise((9, 9, 9), 0.6)
    cubic = ligament_diameter(phase_of(volume))
    flat = ligament_diameter(phase_of(volume, (10.0, 2.5, 2.5)))
    np.testing.assert_allclose(flat, cubic * [10, 2.5, 2.5])
    assert flat.attrs["units"] == "nm"


def test_curves__are_nan_beyond_the_volume():
    found = two_point_correlation(phase_of(noise((3, 5, 1))), max_lag=6)
    lengths = np.isfinite(found.values).sum(axis=1)
    np.testing.assert_array_equal(lengths, [3, 5, 1])


def test_curves__know_lags_in_voxels_and_distances_in_nm():
    found = lineal_path(phase_of(noise((5, 5, 5)), (10.0, 2.5, 2.5)), max_lag=2, axes=("x", "z"))
    assert list(found.axis.values) == ["x", "z"]
    np.testing.assert_array_equal(found.lag, [0, 1, 2])
    np.testing.assert_array_equal(found.distance, [[0, 2.5, 5], [0, 10, 20]])
    assert found.distance.attrs["units"] == "nm"


def test_curves__of_pores_alone_vanish():
    phase = phase_of(np.zeros((4, 5, 6), np.uint8))
    assert (two_point_correlation(phase, max_lag=3) == 0).all()
    assert (lineal_path(phase, max_lag=3) == 0).all()
    assert np.isnan(ligament_diameter(phase)).all()


@pytest.mark.filterwarnings("ignore:the ligament diameter along")
def test_curves__of_solid_alone_are_one():
    phase = phase_of(np.ones((4, 5, 6), np.uint8))
    assert (two_point_correlation(phase, max_lag=3) == 1).all()
    assert (lineal_path(phase, max_lag=3) == 1).all()
    np.testing.assert_array_equal(ligament_diameter(phase), [3.5, 4.5, 5.5])


def test_curves__of_structures_stretched_along_z_differ_along_z_only():
    volume = noise((40, 80, 80), 0.5).repeat(4, axis=0)
    z, y, x = lineal_path(phase_of(volume), max_lag=8).values
    np.testing.assert_allclose(y, x, atol=0.01)
    assert (z[1:] > 1.5 * x[1:]).all()


def test_curves__share_their_counts():
    phase = phase_of(in_blocks(noise((9, 9, 9)), (4, 4, 4)))
    pairs, path = (origin(curve(phase, max_lag=5).data) for curve in CURVES)
    assert pairs.partials.token == path.partials.token
    assert pairs.token != path.token


def test_curves__compute_nothing_when_called():
    def refuse(_block):
        raise AssertionError

    data = dask.array.ones((8, 8, 8), chunks=4, dtype=np.uint8).map_blocks(refuse, dtype=np.uint8)
    for curve in CURVES:
        assert curve(phase_of(data), max_lag=2).chunks is not None
    assert ligament_diameter(phase_of(data)).chunks is not None


@pytest.mark.parametrize("statistic", [*CURVES, ligament_diameter])
def test_statistics__refuse_irregular_z_only_along_z(statistic):
    phase = phase_of(noise((4, 5, 6)), z=[0.0, 10.0, 20.0, 33.0])
    options = {} if statistic is ligament_diameter else {"max_lag": 2}
    with pytest.raises(
        ConventionError, match=r"from position 2 to 3 is 13 nm.*; reposition the slices"
    ):
        statistic(phase, **options)
    assert np.isfinite(statistic(phase, axes=("y", "x"), **options)).all()


@pytest.mark.parametrize("max_lag", [-1, 2.5, None, True, 10**12])
def test_curves__refuse_a_lag_that_is_no_number_of_voxels(max_lag):
    with pytest.raises(ConventionError, match=f"max_lag must be .* got {max_lag}"):
        lineal_path(phase_of(noise((4, 5, 6))), max_lag=max_lag)


@pytest.mark.parametrize("axes", [(), ("z", "z"), ("voltage",)])
def test_curves__refuse_unknown_axes(axes):
    with pytest.raises(ConventionError, match="axes must be different ones of z, y, x; got"):
        lineal_path(phase_of(noise((4, 5, 6))), max_lag=1, axes=axes)


def test_curves__refuse_values_that_are_no_phase():
    volume = noise((4, 5, 6))
    volume[3, 2, 1] = 255
    phase = phase_of(in_blocks(volume, (2, 2, 2)))
    with pytest.raises(ConventionError, match=r"voxel \(3, 2, 1\) has 255"):
        lineal_path(phase, max_lag=1).compute()
