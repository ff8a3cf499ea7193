"""Structures whose statistics are known in closed form."""

import numpy as np
import pytest

from fibdask.simulate import (
    anisotropy_phantom,
    levelled_wave,
    levelled_wave_two_point_correlation,
)
from fibdask.statistics import (
    chord_length_distribution,
    isotropy_errors,
    ligament_diameter,
    lineal_path,
    two_point_correlation,
)
from tests.statistics.helpers import noise, phase_of

SIDE, RADIUS = 112, 6.0
DENSITY = np.log(2) / (4 / 3 * np.pi * RADIUS**3)  # half of the volume is left to the pores


@pytest.fixture(scope="module")
def spheres():
    """Overlapping spheres of solid, centred anywhere in and around the volume."""
    rng = np.random.default_rng(5)
    reach = int(np.ceil(RADIUS))
    count = rng.poisson(DENSITY * (SIDE + 2 * reach) ** 3)
    solid = np.zeros((SIDE + 4 * reach + 1,) * 3, np.uint8)
    for centre in rng.uniform(reach, SIDE + 3 * reach, (count, 3)):
        first = np.ceil(centre - RADIUS).astype(int)
        steps = np.arange(2 * reach + 1)
        z, y, x = np.ix_(*(steps + offset for offset in first - centre))
        part = tuple(slice(i, i + 2 * reach + 1) for i in first)
        solid[part] |= z**2 + y**2 + x**2 <= RADIUS**2
    inside = slice(2 * reach, 2 * reach + SIDE)
    return phase_of(solid[inside, inside, inside])


def test_two_point_correlation__of_overlapping_spheres(spheres):
    found = two_point_correlation(spheres, max_lag=20, of="pore", confidence=0.99).compute()
    r = np.minimum(found.lag.values, 2 * RADIUS) / RADIUS
    union = 4 / 3 * np.pi * RADIUS**3 * (1 + 3 * r / 4 - r**3 / 16)
    expected = np.exp(-DENSITY * union)
    assert (abs(found - expected) < 0.02).all()
    assert ((found.lower < expected) & (expected < found.upper)).mean() > 0.95


def test_lineal_path__of_overlapping_spheres(spheres):
    found = lineal_path(spheres, max_lag=20, of="pore", confidence=0.99).compute()
    swept = np.pi * RADIUS**2 * (4 / 3 * RADIUS + found.lag.values)
    expected = np.exp(-DENSITY * swept)
    assert (abs(found - expected) < 0.02).all()
    assert ((found.lower < expected) & (expected < found.upper)).mean() > 0.95


def test_ligament_diameter__of_overlapping_spheres_leaves_exponential_pores(spheres):
    # L / L(0) = exp(-r / mean) for the pores, whose chords are exponential.
    mean = 1 / (DENSITY * np.pi * RADIUS**2)
    np.testing.assert_allclose(ligament_diameter(spheres, of="pore"), mean, rtol=0.06)


def test_chord_length_distribution__of_overlapping_spheres_is_exponential(spheres):
    chords = chord_length_distribution(spheres, of="pore").sum("axis")
    # The window holds a chord of l voxels and the voxels beside it at SIDE - l - 1 places.
    chords = chords.sel(length=slice(1, 16))
    frequency = (chords.chords / (SIDE - 1 - chords.length)).values
    decay = np.log(frequency[:8].sum() / frequency[8:16].sum()) / 8
    assert decay == pytest.approx(DENSITY * np.pi * RADIUS**2, rel=0.1)


def test_two_point_correlation__of_a_levelled_wave():
    wave = {"ligament_size": 40.0, "solid_fraction": 0.4, "seed": 3}
    phase = levelled_wave((112, 112, 112), voxel_size=5.0, **wave).compute()
    found = two_point_correlation(phase, max_lag=20, confidence=0.99).compute()
    expected = levelled_wave_two_point_correlation(5.0 * found.lag.values, **wave).values
    assert (abs(found - expected) < 0.02).all()
    assert ((found.lower < expected) & (expected < found.upper)).mean() > 0.9


def test_curves__of_a_cube():
    volume = np.zeros((20, 24, 30), np.uint8)
    volume[5:15, 6:16, 7:17] = 1
    phase = phase_of(volume)
    for axis, n in enumerate(volume.shape):
        k = np.arange(12)
        expected = np.maximum(10 - k, 0) * 100 / ((n - k) * volume.size // n)
        for curve in (two_point_correlation, lineal_path):
            np.testing.assert_array_equal(curve(phase, max_lag=11)[axis], expected)
    chords = chord_length_distribution(phase)
    assert (chords.chords.sel(length=10) == 100).all()
    assert (chords.chords.sum("length") == 100).all()
    assert (chords.cut_chords == 0).all()


def test_chord_length_distribution__of_noise_is_geometric():
    chords = chord_length_distribution(phase_of(noise((96, 96, 96), 0.5)))
    lengths = np.arange(1, 6)
    shares = chords.number_weighted.sel(length=lengths)
    np.testing.assert_allclose(shares, [0.5**lengths] * 3, atol=0.006)
    by_length = chords.length_weighted.sel(length=lengths)
    np.testing.assert_allclose(by_length, [lengths * 0.5**lengths / 2] * 3, atol=0.006)


def test_isotropy_errors__of_stretched_spheres_differ_along_z_only():
    phase = anisotropy_phantom((96, 128, 128), voxel_size=4.0, growth=0.5)
    z, y, x = lineal_path(phase, max_lag=12).values
    np.testing.assert_array_equal(y, x)
    assert (z[2:] > 1.05 * x[2:]).all()
    errors = isotropy_errors(phase, max_lag=12).compute()
    assert errors.lineal_path_xy == 0
    assert errors.lineal_path > 0.05
