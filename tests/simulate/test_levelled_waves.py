import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from fibdask.blocks import lengths
from fibdask.conventions import ConventionError, require_phase
from fibdask.simulate import (
    hierarchical_levelled_wave,
    levelled_wave,
    levelled_wave_covariance,
    levelled_wave_two_point_correlation,
)
from fibdask.simulate.structures.levelled_waves import _joint_exceedance
from tests.simulate.naive import levelled_field, mean_ligament_diameter, two_point_correlation

WAVE = {"ligament_size": 20.0, "solid_fraction": 0.35}
SHAPE = (21, 38, 45)


def function_of(phase):
    return phase.data.origin.function


@pytest.mark.filterwarnings("ignore:ligaments of 20 nm at a solid fraction of 0.8")
@pytest.mark.parametrize("fraction", [0.12, 0.5, 0.8])
def test_levelled_wave__has_the_solid_fraction_asked_for(fraction):
    found = [
        float(
            levelled_wave(
                (96, 96, 96), voxel_size=5, ligament_size=20, solid_fraction=fraction, seed=seed
            ).mean()
        )
        for seed in range(8)
    ]
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - fraction) < 4 * error
    assert error < 0.01


@pytest.mark.parametrize("fraction", [0.12, 0.35, 0.6])
def test_levelled_wave__has_the_ligament_size_asked_for(fraction):
    found = []
    for seed in range(3):
        phase = levelled_wave(
            (40, 400, 400), voxel_size=2, ligament_size=25, solid_fraction=fraction, seed=seed
        )
        found += [mean_ligament_diameter(phase.values, axis, 2) for axis in (1, 2)]
    assert np.mean(found) == pytest.approx(25, rel=0.03)


@pytest.mark.parametrize("seed", [0, 1])
def test_levelled_wave_two_point_correlation__is_that_of_the_volume(seed):
    lags = np.array([0, 1, 2, 4, 8, 16])
    phase = levelled_wave((160, 160, 160), voxel_size=5, seed=seed, **WAVE).values
    expected = levelled_wave_two_point_correlation(lags * 5.0, seed=seed, **WAVE)
    found = [[two_point_correlation(phase, axis, lag) for lag in lags] for axis in range(3)]
    np.testing.assert_allclose(found, expected, atol=0.006)


@pytest.mark.parametrize("covariance", [-0.9, -0.3, 0.0, 0.5, 0.99])
def test_joint_exceedance__is_the_bivariate_normal_probability(covariance):
    t = ndtri(0.65)
    matrix = [[1, covariance], [covariance, 1]]
    expected = multivariate_normal(cov=matrix).cdf([-t, -t])
    assert _joint_exceedance(np.array(covariance), 0.35) == pytest.approx(expected, abs=1e-7)


def test_levelled_wave_two_point_correlation__begins_with_the_solid_fraction():
    s2 = levelled_wave_two_point_correlation([0.0, 5.0], seed=3, **WAVE)
    np.testing.assert_allclose(s2[:, 0], WAVE["solid_fraction"], atol=1e-9)
    assert (s2[:, 1] < s2[:, 0]).all()


def test_levelled_wave_covariance__tends_to_sinc_with_many_waves():
    r = np.linspace(0, 100, 50)
    covariance = levelled_wave_covariance(r, seed=0, waves=100_000, **WAVE)
    function = function_of(levelled_wave(SHAPE, voxel_size=1, seed=0, **WAVE))
    wave_number = np.linalg.norm(function.wave_vectors[0, 0])
    np.testing.assert_allclose(covariance[0], np.sinc(wave_number * r / np.pi), atol=0.01)


def test_levelled_wave_covariance__has_the_same_curvature_along_all_axes():
    covariance = levelled_wave_covariance([0.01], seed=5, waves=99, **WAVE)
    np.testing.assert_allclose(1 - covariance[1:, 0], 1 - covariance[0, 0], rtol=1e-4)


@pytest.mark.interpreted
def test_levelled_wave__equals_the_naive_sum():
    phase = levelled_wave(SHAPE, voxel_size=(7, 3, 2), seed=4, **WAVE)
    function = function_of(phase)
    positions = np.stack(np.meshgrid(phase.z, phase.y, phase.x, indexing="ij"), axis=-1)
    field = levelled_field(function.wave_vectors[0], function.phases[0], positions)
    far = np.abs(field - function.levels[0]) > 1e-5
    assert far.mean() > 0.99
    np.testing.assert_array_equal(phase.values[far], (field > function.levels[0])[far])


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_levelled_wave__any_block_equals_the_same_part_of_the_whole(data):
    phase = hierarchical_levelled_wave((9, 300, 290), voxel_size=2.5, seed=1, waves=20)
    function = function_of(phase)
    region = []
    for n in phase.shape:
        start = data.draw(st.integers(0, n - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, n))))
    whole = function.compute(tuple(slice(0, n) for n in phase.shape))
    part = function.compute(tuple(region))
    assert part.shape == lengths(tuple(region))
    np.testing.assert_array_equal(part, whole[tuple(region)])


@pytest.mark.parametrize("chunks", [(21, 38, 45), (1, 38, 7), (5, 11, 45), 16])
def test_levelled_wave__does_not_depend_on_chunks(chunks):
    whole = levelled_wave(SHAPE, voxel_size=3, seed=2, **WAVE)
    chunked = levelled_wave(SHAPE, voxel_size=3, seed=2, chunks=chunks, **WAVE)
    np.testing.assert_array_equal(chunked.values, whole.values)


def test_levelled_wave__is_a_phase_on_nm_coordinates():
    phase = levelled_wave(SHAPE, voxel_size=(10, 2, 3), seed=0, **WAVE)
    require_phase(phase)
    assert phase.name == "phase"
    assert phase.dtype == np.uint8
    assert [phase[axis].attrs["spacing"] for axis in "zyx"] == [10, 2, 3]
    assert float(phase.z[3]) == 30


def test_levelled_wave__differs_with_the_seed():
    first, second = (levelled_wave(SHAPE, voxel_size=3, seed=s, **WAVE).values for s in (0, 1))
    assert (first != second).mean() > 0.2


def test_levelled_wave__is_one_task_a_block():
    phase = levelled_wave((500, 2048, 2048), voxel_size=3, seed=0, **WAVE)
    assert len(phase.data.dask) == np.prod(phase.data.numblocks)


def test_hierarchical_levelled_wave__is_within_the_first_level():
    upper = levelled_wave(SHAPE, voxel_size=3, ligament_size=60, solid_fraction=0.4, seed=7)
    both = hierarchical_levelled_wave(
        SHAPE, voxel_size=3, ligament_size=(60, 9), solid_fraction=(0.4, 0.5), seed=7
    )
    assert (both.values <= upper.values).all()
    assert both.values[upper.values == 1].mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("solid_fraction", 0.0, r"solid_fraction must be > 0 and < 1; got 0.0"),
        ("solid_fraction", 1.2, r"solid_fraction must be > 0 and < 1; got 1.2"),
        ("solid_fraction", "0.5", r"solid_fraction must be > 0 and < 1; got '0.5'"),
        ("ligament_size", -3, r"ligament_size must be finite and > 0 nm; got -3"),
        ("ligament_size", 0.03, r"ligament_size .* as large as a voxel, 2 nm; got 0.03 nm"),
        ("voxel_size", (1, 0, 1), r"voxel_size .* > 0 nm; got \(1, 0, 1\)"),
        ("shape", (4, 0, 4), r"shape must be three positive .* got \(4, 0, 4\)"),
        ("shape", (True, 4, 4), r"shape must be three positive .* got \(True, 4, 4\)"),
        ("seed", -1, r"seed must be a whole number >= 0; got -1"),
        ("waves", 0, r"waves must be a whole number >= 1; got 0"),
        ("waves", True, r"waves must be a whole number >= 1; got True"),
    ],
)
def test_levelled_wave__refuses_wrong_arguments(argument, value, message):
    arguments = {"shape": SHAPE, "voxel_size": 2, "seed": 0, **WAVE, argument: value}
    with pytest.raises(ConventionError, match=message):
        levelled_wave(arguments.pop("shape"), **arguments)


@pytest.mark.parametrize(("fraction", "voxel", "told"), [(0.8, 4, True), (0.8, 2, False)])
def test_levelled_wave__tells_of_waves_that_voxels_do_not_resolve(fraction, voxel, told):
    given = {"voxel_size": voxel, "ligament_size": 20, "solid_fraction": fraction, "seed": 3}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        phase = levelled_wave((96, 96, 96), **given).compute()
    assert [str(one.message)[:29] for one in caught] == told * ["ligaments of 20 nm at a solid"]
    size = np.mean([mean_ligament_diameter(phase.values, axis, voxel) for axis in range(3)])
    assert (size > 1.1 * 20) == told


def test_hierarchical_levelled_wave__takes_one_level_as_a_number():
    given = {"voxel_size": 2, "seed": 0}
    one = hierarchical_levelled_wave(SHAPE, ligament_size=25, solid_fraction=0.3, **given)
    assert (one.values == levelled_wave(SHAPE, ligament_size=25, solid_fraction=0.3, **given)).all()
    with pytest.raises(ConventionError, match=r"shape must be three positive .* got 20"):
        levelled_wave(20, ligament_size=25, solid_fraction=0.3, **given)


def test_hierarchical_levelled_wave__refuses_levels_that_do_not_match():
    with pytest.raises(ConventionError, match=r"one value for each level; got \(110.0, 15.0\) and"):
        hierarchical_levelled_wave(SHAPE, voxel_size=2, seed=0, solid_fraction=(0.3,))


def test_levelled_wave_covariance__refuses_an_unknown_axis():
    with pytest.raises(ConventionError, match="axes must be among z, y, x; got x, w"):
        levelled_wave_covariance([1.0], seed=0, axes=("x", "w"), **WAVE)
