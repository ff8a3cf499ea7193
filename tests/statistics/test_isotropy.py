"""Isotropy errors: zero for isotropic structures, the definition for others."""

import dask
import numpy as np
import pytest
import xarray as xr

from fibdask.conventions import ConventionError
from fibdask.statistics import isotropy_errors, phase_statistics, two_point_correlation
from fibdask.statistics.lines.distances import compared_distance
from tests.statistics import naive
from tests.statistics.helpers import in_blocks, laminate, noise, phase_of


def values(phase, max_lag):
    return np.array(
        [float(v) for v in dask.compute(*isotropy_errors(phase, max_lag=max_lag).values())]
    )


def symmetric(n=24):
    """A structure that all exchanges of axes leave as it is."""
    z, y, x = np.indices((n, n, n))
    return ((x * y + y * z + z * x) % 7 < 3).astype(np.uint8)


def test_isotropy_errors__are_zero_for_a_structure_equal_to_its_transposes():
    np.testing.assert_array_equal(values(phase_of(symmetric(), (2.6,) * 3), 12), 0)


@pytest.mark.parametrize("volume", [laminate(), noise((13, 14, 15), 0.7)])
def test_isotropy_errors__equal_the_definition(volume):
    expected = naive.isotropy_errors(volume, 9, 3.0)
    found = values(phase_of(volume, (3.0, 3.0, 3.0)), 9)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    chunked = values(phase_of(in_blocks(volume, (1, 9, 4)), (3.0, 3.0, 3.0)), 9)
    np.testing.assert_array_equal(chunked, found)


def test_isotropy_errors__compare_at_equal_distances():
    # Doubling planes along z while halving their distance leaves S2 at even lags almost as it was.
    volume = symmetric(40)
    doubled = volume.repeat(2, axis=0)
    fine = values(phase_of(doubled, (1.0, 2.0, 2.0)), 20)
    wrong = values(phase_of(doubled, (2.0, 2.0, 2.0)), 20)
    assert fine[0] < 0.05 < wrong[0]


def test_isotropy_errors__compare_diameters_up_to_equal_distances():
    volume, spacing = symmetric(40).repeat(3, axis=1).repeat(2, axis=2), (3.0, 1.0, 2.0)
    found = float(isotropy_errors(phase_of(volume, spacing), max_lag=9).ligament_diameter)
    z, y, x = (
        naive.part_of_diameter(volume, axis, step, 9.0)
        for axis, step in zip("zyx", spacing, strict=True)
    )
    expected = (abs(z - y) + abs(z - x)) / 2 / (x + y)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("spacing", [(15.0, 5.0, 5.0), (5.0, 15.0, 5.0), (7.0, 5.0, 3.3)])
def test_isotropy_errors__of_solid_alone_are_zero_whatever_the_sides_of_voxels(spacing):
    solid = phase_of(np.ones((20, 20, 20), np.uint8), spacing)
    np.testing.assert_allclose(values(solid, 16), 0, atol=1e-12)


def test_isotropy_errors__interpolate_finer_axes_at_multiples_of_the_coarsest_voxel():
    volume = noise((9, 16, 30), 0.6)
    spacing = (4.0, 2.5, 1.0)
    curves = two_point_correlation(phase_of(volume, spacing), max_lag=12)
    distance = np.arange(0, 13, 4.0)  # 12 lags of 1 nm along x end first
    resampled = [
        np.interp(distance, curves.distance.sel(axis=a), curves.sel(axis=a).fillna(0))
        for a in "zyx"
    ]
    found = values(phase_of(volume, spacing), 12)[0]
    assert found == pytest.approx(naive.curve_error(*resampled), rel=1e-12)


@pytest.mark.parametrize(("max_lag", "reach"), [(3, 12), (5, 20), (60, 25)])
def test_isotropy_errors__tell_the_distance_that_was_compared(max_lag, reach):
    phase = phase_of(noise((6, 20, 24)), (5.0, 4.0, 4.0))
    found = phase_statistics(phase, max_lag=max_lag).compute()
    expected = 5 * (reach // 5)  # in whole steps of the coarsest voxels
    assert found["isotropy_error"].attrs["max_distance"] == expected
    assert compared_distance(found) == expected
    box = {"y": (0, 4)}
    masked = phase_statistics(phase, max_lag=max_lag, mask=box).compute()
    assert compared_distance(masked) == masked["isotropy_noise"].attrs["max_distance"] == 10
    row = xr.DataArray(np.arange(20) < 4, dims="y")
    assert compared_distance(phase_statistics(phase, max_lag=max_lag, mask=row).compute()) == 10


@pytest.mark.parametrize(("shape", "max_lag"), [((1, 8, 8), 4), ((8, 8, 8), 0)])
def test_isotropy_errors__are_nan_where_nothing_can_be_compared(shape, max_lag):
    assert np.isnan(values(phase_of(noise(shape)), max_lag)).all()


def test_isotropy_errors__are_nan_without_solid():
    assert np.isnan(values(phase_of(np.zeros((8, 8, 8), np.uint8)), 4)).all()


def test_isotropy_errors__have_a_noise_floor_that_stretching_leaves():
    volume = noise((48, 96, 96), 0.5)
    errors = isotropy_errors(phase_of(volume.repeat(2, axis=0)), max_lag=16).compute()
    assert errors.lineal_path > 20 * errors.lineal_path_xy
    assert errors.lineal_path_xy < 0.01


def test_isotropy_errors__in_intervals_tell_a_stretched_structure_from_noise():
    volume = noise((48, 48, 48), 0.5)
    options = {"max_lag": 8, "confidence": 0.95}
    isotropic = isotropy_errors(phase_of(volume), **options).compute()
    stretched = isotropy_errors(phase_of(volume.repeat(2, axis=0)), **options).compute()
    for name in ("two_point_correlation", "lineal_path", "ligament_diameter"):
        noise_floor = isotropic[f"{name}_xy_interval"].sel(bound="upper")
        assert isotropic[name] < noise_floor
        assert stretched[f"{name}_interval"].sel(bound="lower") > noise_floor


def test_isotropy_errors__refuse_irregular_z():
    phase = phase_of(noise((3, 4, 5)), z=[0.0, 10.0, 33.0])
    with pytest.raises(ConventionError, match=r"z must be evenly spaced.* 10 nm.*; reposition"):
        isotropy_errors(phase, max_lag=2)
