import numpy as np
import pytest
from scipy.stats import norm, poisson

from fibdask.conventions import ConventionError, build_stack
from fibdask.simulate import (
    add_brightness_drift,
    add_curtaining,
    add_noise,
    blur_edges,
    levelled_wave,
    simulate_images,
)
from fibdask.simulate._kernels import poisson_expansion, poisson_inverse
from fibdask.simulate.images._kernels import add_image_noise
from tests.simulate.naive import normal_deviate

SHAPE = (2, 3, 40, 50)


def flat_stack(value=0.6, shape=SHAPE, dtype=np.float32, chunks=None):
    intensity = np.full(shape, value, dtype)
    truth = np.zeros(shape[1:], np.uint8)
    truth[:, :, shape[-1] // 2 :] = 1
    stack = build_stack(
        {"intensity": intensity, "true_phase": truth},
        z=np.arange(shape[1]) * 10.0,
        pixel_size=(4.0, 2.0),
        nominal_thickness=10.0,
        voltage=np.arange(1.0, shape[0] + 1),
    )
    return stack.chunk(chunks) if chunks else stack


def edge_stack(chunks=None):
    stack = flat_stack()
    stack.intensity.values *= np.where(stack.true_phase, np.float32(1), np.float32(0.2))
    return stack.chunk(chunks) if chunks else stack


@pytest.mark.parametrize(("electrons", "std"), [(10, 0.0), (40, 0.03), (500, 0.03), (None, 0.05)])
def test_add_noise__has_the_mean_and_variance_of_both_sources(electrons, std):
    stack = flat_stack(0.6, (1, 4, 200, 250))
    noisy = add_noise(stack, electrons_per_pixel=electrons, gaussian_std=std, seed=1)
    values = noisy.intensity.values.astype(float)
    variance = (0.6 / electrons if electrons else 0) + std**2
    assert abs(values.mean() - 0.6) < 4 * np.sqrt(variance / values.size)
    assert values.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / values.size))


@pytest.mark.interpreted
@pytest.mark.parametrize("mean", [0.3, 5.0, 9.99, 10.0, 37.5, 200.0])
def test_poisson__has_the_cumulative_probabilities(mean):
    quantiles = (np.arange(20_000) + 0.5) / 20_000
    if mean < 10:
        counts = [poisson_inverse(mean, q) for q in quantiles]
    else:
        counts = [poisson_expansion(mean, g) for g in norm.ppf(quantiles)]
    k = np.arange(int(3 * mean) + 5)
    found = np.searchsorted(counts, k, side="right") / len(counts)
    np.testing.assert_allclose(found, poisson.cdf(k, mean), atol=4e-4)


@pytest.mark.interpreted
def test_add_image_noise__equals_the_naive_hash():
    signal = np.zeros((4, 5), np.float32)
    key = 0xFEDCBA9876543210
    add_image_noise(signal, np.uint64(key), 100, 2000, 0.0, 1.0)
    naive = [[normal_deviate(key, 100 + y, 2000 + x) for x in range(5)] for y in range(4)]
    np.testing.assert_allclose(signal, naive, rtol=1e-6)


@pytest.mark.parametrize("electrons", [None, 5.0, 500.0])
def test_add_noise__what_has_no_data_has_none_afterwards(electrons):
    stack = flat_stack()
    stack["intensity"].values[:, 1, 5:9] = np.nan
    noisy = add_noise(stack, electrons_per_pixel=electrons, gaussian_std=0.05, seed=1)
    np.testing.assert_array_equal(np.isnan(noisy["intensity"]), np.isnan(stack["intensity"]))


def test_add_noise__refuses_grey_values_that_are_no_signals():
    with pytest.raises(ConventionError, match=r"white at 1, .*; slice 0 has .* up to 200: divide"):
        add_noise(flat_stack(200.0), seed=1)["intensity"].compute()
    with pytest.raises(ConventionError, match=r"values below black, 0; slice 0 has -2: add"):
        add_noise(flat_stack(-2.0), seed=1)["intensity"].compute()
    gaussian = add_noise(flat_stack(-0.2), electrons_per_pixel=None, seed=1)["intensity"]
    assert float(gaussian.mean()) == pytest.approx(-0.2, abs=1e-3)


@pytest.mark.parametrize("seed", [2**64, 2**130])
def test_add_noise__refuses_seeds_that_are_no_others(seed):
    with pytest.raises(ConventionError, match=rf"seed must be less than 2\^64, .* got {seed}"):
        add_noise(flat_stack(), seed=seed)
    add_noise(flat_stack(), seed=2**64 - 1)["intensity"].compute()


def test_add_noise__of_neighbours_slices_and_voltages_is_independent():
    noise = add_noise(flat_stack(), gaussian_std=0.1, seed=0).intensity.values - 0.6
    for axis in range(4):
        first, second = (np.take(noise, range(i, noise.shape[axis] - 1 + i), axis) for i in (0, 1))
        correlation = np.corrcoef(first.ravel(), second.ravel())[0, 1]
        assert abs(correlation) < 5 / np.sqrt(first.size)


@pytest.mark.parametrize("stage", [add_noise, blur_edges])
@pytest.mark.parametrize("chunks", [{"y": 7, "x": 50}, {"z": 1, "x": 13}, {"voltage": 1, "y": 1}])
def test_artefacts__do_not_depend_on_chunks(stage, chunks):
    options = {"seed": 3} if stage is add_noise else {"width": 6.0}
    expected = stage(edge_stack(), **options).intensity.values
    np.testing.assert_array_equal(stage(edge_stack(chunks), **options).intensity, expected)


def test_add_noise__keeps_the_type_and_clips():
    noisy = add_noise(flat_stack(250, dtype=np.uint8), gaussian_std=0.2, seed=0).intensity
    assert noisy.dtype == np.uint8
    assert int(noisy.max()) == 255


@pytest.mark.parametrize(
    ("stage", "option"),
    [
        (add_noise, "gaussian_std"),
        (add_curtaining, "strength"),
        (add_brightness_drift, "gain_std"),
        (add_brightness_drift, "offset_std"),
    ],
)
def test_artefacts__refuse_grey_values_and_percent(stage, option):
    with pytest.raises(ConventionError, match=f"{option} must be a share of .*; got 8"):
        stage(flat_stack(), seed=0, **{option: 8})


def test_add_noise__repeats_with_the_seed_only():
    first, again, other = (
        add_noise(flat_stack(), seed=seed).intensity.values for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.99


def test_add_noise__is_other_noise_than_that_of_simulated_images():
    phase = levelled_wave((4, 80, 80), voxel_size=5, ligament_size=50, solid_fraction=0.4, seed=1)
    options = {"model": "analytic", "voltage": 2.0, "electrons_per_pixel": None, "seed": 1}
    clean, noisy = (
        simulate_images(phase, **options, gaussian_std=std, dtype="float32") for std in (0, 0.05)
    )
    added = add_noise(clean, electrons_per_pixel=None, gaussian_std=0.05, seed=1)
    first, second = ((s.intensity - clean.intensity).values.ravel() for s in (noisy, added))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


def test_blur_edges__smooths_the_edge_and_leaves_the_rest():
    sharp, blurred = edge_stack(), blur_edges(edge_stack(), width=6.0)
    change = (blurred.intensity - sharp.intensity).values[0, 0, 20]
    distance = np.abs(np.arange(50) - 24.5)
    assert (change[distance > 3 * 3 + 1] == 0).all()
    assert change[24] > 0.05
    assert change[25] < -0.05
    assert (np.diff(blurred.intensity.values[0, 0, 20]) > -1e-6).all()


def test_blur_edges__without_edges_changes_nothing():
    stack = edge_stack()
    stack["true_phase"] = stack.true_phase * np.uint8(0)
    np.testing.assert_array_equal(blur_edges(stack, width=5.0).intensity, stack.intensity)


def test_blur_edges__leaves_pixels_without_data_out():
    sharp = edge_stack().compute()
    gone = sharp.copy(deep=True)
    gone["intensity"][..., :3, :] = np.nan
    blurred, whole = (blur_edges(stack, width=6.0)["intensity"] for stack in (gone, sharp))
    np.testing.assert_array_equal(np.isnan(blurred), np.isnan(gone["intensity"]))
    # Along an edge that is straight, as much is blurred beside them as elsewhere.
    np.testing.assert_allclose(blurred[..., 3:, :], whole[..., 3:, :], atol=1e-5)


def test_blur_edges__refuses_a_width_that_is_not_positive():
    with pytest.raises(ConventionError, match="width must be finite and > 0 nm; got 0"):
        blur_edges(edge_stack(), width=0)


def test_add_noise__refuses_a_stack_without_intensity():
    with pytest.raises(ConventionError, match="needs the variable intensity"):
        add_noise(flat_stack().drop_vars(["intensity", "voltage"]), seed=0)
