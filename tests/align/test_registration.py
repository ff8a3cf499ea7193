"""Registration finds known shifts, keeps what it must not remove, and says what it cannot see."""

import json
import tracemalloc
from itertools import pairwise
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from fibdask import levelled_wave, simulate_images
from fibdask.align import apply_shifts, estimate_shifts, measure_pairs, solve_shifts
from fibdask.align._kernels.registration import masked_correlation
from fibdask.align.registration import shift_measurements
from fibdask.blocks import origin
from fibdask.conventions import (
    ConventionError,
    FibdaskWarning,
    build_stack,
    with_filled_share,
)
from fibdask.io import open_stack, save_stack
from tests.align.naive import correlation, moved

MARGIN = 12
FIB25 = Path(__file__).parents[3] / "shared" / "data" / "fib25"


def stack_of(images, **attrs):
    """Make a stack of images (z, y, x) or (voltage, z, y, x), pixels 4 nm by 5 nm."""
    images = images if images.ndim == 4 else images[np.newaxis]
    return build_stack(
        {"intensity": images},
        z=np.arange(images.shape[1]) * 10.0,
        pixel_size=(4.0, 5.0),
        nominal_thickness=10.0,
        voltage=np.arange(1.0, len(images) + 1),
        attrs=attrs,
    )


def pixels(shifts):
    """Return shifts in pixels (voltage, z, 2)."""
    return np.stack([shifts["shift_y"].values / 4, shifts["shift_x"].values / 5], axis=-1)


def rms(values):
    """Return the root mean square of vectors (slice, 2) about their mean."""
    return np.sqrt(((values - values.mean(0)) ** 2).sum(-1).mean())


@pytest.fixture(scope="module")
def texture():
    """Grey images (z, y, x) of 24 slices whose structures change with depth."""
    rng = np.random.default_rng(11)
    noise = ndimage.gaussian_filter(rng.normal(size=(24, 160, 152)), (3, 2, 2))
    grain = rng.normal(size=noise.shape)
    return np.clip(128 + 30 * noise / noise.std() + 3 * grain, 0, 255)


@pytest.fixture(scope="module")
def drift():
    """Known drift in pixels (z, 2): a random walk, from 0."""
    walk = np.cumsum(np.random.default_rng(4).normal(0, 1.5, (24, 2)), axis=0)
    return walk - walk[0]


@pytest.fixture(scope="module")
def still(texture):
    return stack_of(np.stack([moved(image, (0, 0), MARGIN) for image in texture]))


@pytest.fixture(scope="module")
def shaken(texture, drift):
    images = [moved(image, s, MARGIN) for image, s in zip(texture, drift, strict=True)]
    return stack_of(np.stack(images))


# ── what is found ────────────────────────────────────────────────────────────────────────────


def test_estimate_shifts__finds_known_drift(still, shaken, drift):
    found, without = pixels(estimate_shifts(shaken))[0], pixels(estimate_shifts(still))[0]
    assert rms(found - without + drift) < 0.1
    assert (found[0] == 0).all()


def test_estimate_shifts__has_the_sign_that_apply_shifts_takes(shaken):
    aligned = apply_shifts(shaken, estimate_shifts(shaken), outside="crop")
    again = estimate_shifts(aligned)
    assert np.abs(pixels(again)).max() < 0.5
    before, after = (
        np.mean(
            [correlation(a[20:50, 20:50], b[20:50, 20:50], (0, 0)) for a, b in pairwise(images)]
        )
        for images in (shaken["intensity"].values[0], aligned["intensity"].values[0])
    )
    assert after > before + 0.1


def test_estimate_shifts__says_how_well_pairs_correlate(shaken):
    found = estimate_shifts(shaken).sel(neighbour=1).isel(z=slice(0, -1))
    assert (found["correlation_after"] > 0.9).all()
    assert (found["correlation_after"] >= found["correlation_before"] - 0.01).all()
    assert float(found["residual"].max()) < 4.0


def test_estimate_shifts__describes_its_variables(shaken):
    found = estimate_shifts(shaken)
    assert found["shift_y"].dims == ("voltage", "z")
    assert found["residual"].attrs["units"] == "nm"
    assert all(variable.attrs["long_name"] for variable in found.data_vars.values())
    record = json.loads(found.attrs["provenance"][0])
    assert record["parameters"]["detrend"] == "none"
    assert record["input_fingerprint"]


def test_estimate_shifts__keeps_a_tilt_unless_asked(texture, still):
    tilt = np.stack([0.3 * np.arange(24), -0.2 * np.arange(24)], axis=-1)
    tilted = stack_of(
        np.stack([moved(image, s, MARGIN) for image, s in zip(texture, tilt, strict=True)])
    )
    kept = pixels(estimate_shifts(tilted))[0] - pixels(estimate_shifts(still))[0]
    slope = np.polyfit(np.arange(24), kept, 1)[0]
    np.testing.assert_allclose(slope, (-0.3, 0.2), atol=0.01)
    straight = estimate_shifts(tilted, detrend="linear")
    assert np.abs(np.polyfit(np.arange(24), pixels(straight)[0], 1)[0]).max() < 1e-9
    assert straight.attrs["detrend"] == "linear"


def test_estimate_shifts__bridges_bad_slices(still, shaken, drift):
    images = shaken["intensity"].values.copy()
    images[0, 5] = 0
    images[0, 12] = ndimage.gaussian_filter(images[0, 12], 4)
    images[0, 17] = np.random.default_rng(0).integers(0, 256, images[0, 17].shape)
    found = estimate_shifts(stack_of(images))
    assert found["flag"].values[0].nonzero()[0].tolist() == [5, 12, 17]
    assert found["flag"].values[0, [5, 12, 17]].tolist() == [1, 2, 3]
    good = found["flag"].values[0] == 0
    shift = pixels(found)[0]
    assert rms((shift - pixels(estimate_shifts(still))[0] + drift)[good]) < 0.2
    np.testing.assert_allclose(shift[5], (shift[4] + shift[6]) / 2)


def test_estimate_shifts__leaves_out_what_is_nan(shaken):
    images = shaken["intensity"].values.astype(np.float32)
    whole = pixels(estimate_shifts(stack_of(images)))
    images[0, 9] = np.nan
    images[0, 3, 60:75, 60:80] = np.nan
    found = estimate_shifts(stack_of(images))
    assert found["flag"].values[0].nonzero()[0].tolist() == [9]
    good = found["flag"].values[0] == 0
    assert rms((pixels(found) - whole)[0][good]) < 0.1


def test_estimate_shifts__bridges_runs_of_bad_slices(shaken):
    images = shaken["intensity"].values.copy()
    images[0, 10:15] = 0
    found = estimate_shifts(stack_of(images))
    assert found.sizes["neighbour"] == 6
    error = pixels(found)[0] - pixels(estimate_shifts(shaken))[0]
    assert rms(error[found["flag"].values[0] == 0]) < 0.3


def test_estimate_shifts__warns_where_nothing_links(shaken):
    images = shaken["intensity"].values.copy()
    images[0, 8:17] = 0
    text = r"7 slices are not linked.*slices 7 and 17 at 1 kV are too far apart.*neighbours"
    with pytest.warns(FibdaskWarning, match=text):
        found = estimate_shifts(stack_of(images))
    shift = pixels(found)[0]
    assert np.abs(shift[17] - shift[7]).max() < 1e-3


def test_estimate_shifts__warns_where_moving_gains_nothing(texture):
    slow = np.stack([0.1 * np.arange(24), 0 * np.arange(24)], axis=-1)
    images = np.stack([moved(image, s, MARGIN) for image, s in zip(texture, slow, strict=True)])
    text = r"slices at 1 kV by up to .* nm gains nothing.* by 0.8\d* before and 0.8.*detrend='lin"
    with pytest.warns(FibdaskWarning, match=text):
        estimate_shifts(stack_of(images))
    estimate_shifts(stack_of(images), detrend="linear")


@pytest.mark.parametrize("depth", [1.5, 4.0])
def test_estimate_shifts__errors_are_those_that_structures_make(depth):
    errors, told = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        noise = ndimage.gaussian_filter(rng.normal(size=(40, 160, 160)), (depth, 2, 2))
        grey = 128 + 40 * np.sign(noise) + 10 * rng.normal(size=noise.shape)
        walk = np.cumsum(rng.normal(0, 0.5, (40, 2)), axis=0)
        images = [moved(image, s, MARGIN) for image, s in zip(grey, walk - walk[0], strict=True)]
        found = estimate_shifts(stack_of(np.stack(images)))
        errors.append(pixels(found)[0] + walk - walk[0])
        told.append([found["shift_error_y"].values[0] / 4, found["shift_error_x"].values[0] / 5])
    actual = np.sqrt((np.array(errors)[:, 20:] ** 2).mean())
    expected = np.sqrt((np.array(told)[..., 20:] ** 2).mean())
    assert 0.5 < actual / expected < 2
    assert (np.array(told)[..., 0] == 0).all()


def test_measure_pairs__compares_what_alignment_did_not_fill(shaken):
    share = np.full(24, 56 / 136)
    filled = with_filled_share(shaken, share, {"y": slice(56, 136), "x": slice(0, 128)})
    region = measure_pairs(filled).attrs["region"]
    assert region == {"y": [66, 126], "x": [16, 112]}
    chosen = measure_pairs(filled, region={"y": (0, 100), "x": (10, 60)}).attrs["region"]
    assert chosen == {"y": [56, 100], "x": [10, 60]}
    told = r"region along y must hold .* 32 pixels that .* covers, \(56, 136\); got \(0, 80\)"
    with pytest.raises(ConventionError, match=told):
        measure_pairs(filled, region={"y": (0, 80)})


def jumping(texture, jumps):
    """Cut images of which those from some slices on show the specimen as many pixels further."""
    place = np.zeros(len(texture), int)
    for k, step in jumps.items():
        place[k:] += step
    cut = [image[20:, p : p + 100] for image, p in zip(texture, place, strict=True)]
    return np.stack(cut).astype(np.float32)


def test_estimate_shifts__finds_a_jump_within_reach_and_tells_of_one_beyond(texture):
    stack = stack_of(jumping(texture, {8: 15, 16: 30}))
    text = r"8 slices are not linked.*slices 15 and 16 at 1 kV do not resemble each other \(corr"
    with pytest.warns(FibdaskWarning, match=text):
        found = estimate_shifts(stack)
    step = pixels(found)[0, 8] - pixels(found)[0, 7]
    np.testing.assert_allclose(step, (0, 15), atol=0.5)
    further = estimate_shifts(stack, max_shift=35 * 5.0)
    np.testing.assert_allclose(np.diff(pixels(further)[0, 15:17, 1]), 30, atol=0.5)


def test_estimate_shifts__tells_of_every_jump(texture):
    images = jumping(texture, {4: 50, 9: -45, 15: 40, 20: -42})
    text = r"slices 3 and 4 at 1 kV .*; slices 8 and 9 .*; slices 14 and 15 .*; slices 19 and 20 "
    with pytest.warns(FibdaskWarning, match=text):
        estimate_shifts(stack_of(images))


@pytest.mark.parametrize("other", ["inverted", "elsewhere"])
def test_estimate_shifts__does_not_link_what_is_not_alike(texture, other):
    images = texture.astype(np.float32)
    images[12:] = 255 - texture[12:] if other == "inverted" else texture[12:, ::-1, ::-1]
    text = r"12 slices .*slices 11 and 12 at 1 kV do not resemble .* \(correlation .*, usually 0.9"
    with pytest.warns(FibdaskWarning, match=text):
        found = estimate_shifts(stack_of(images))
    assert np.abs(pixels(found)[0, 12] - pixels(found)[0, 11]).max() < 1e-3


def test_estimate_shifts__refuses_slices_none_of_which_resembles_another():
    noise = np.random.default_rng(0).integers(0, 255, (5, 100, 100), dtype=np.uint8)
    with pytest.raises(ConventionError, match="at 1 kV there are 5 slices, 5 mismatched"):
        estimate_shifts(stack_of(noise))


@pytest.mark.parametrize("pattern", [0.0, 6.0])
def test_estimate_shifts__does_not_link_voltages_that_are_not_alike(texture, pattern):
    images = np.stack([texture, texture[:, ::-1, ::-1]])
    images += pattern * np.random.default_rng(2).normal(size=texture.shape)  # of the detector
    text = "24 slices .*images at 2 kV do not resemble those at 1 kV .correlation"
    with pytest.warns(FibdaskWarning, match=text):
        found = estimate_shifts(stack_of(images.astype(np.float32)))
    assert not found["flag"].any()


def test_measure_pairs__evidence_of_unrelated_slices_is_chance():
    rng = np.random.default_rng(6)
    grain = [ndimage.gaussian_filter(rng.normal(size=(20, 96, 96)), (0, s, s)) for s in (0, 1, 4)]
    images = np.stack([128 + 30 * g / g.std() for g in grain]).astype(np.float32)
    pairs = measure_pairs(stack_of(images), neighbours=8).compute()
    evidence = pairs.sel(quantity="evidence").isel(neighbour=slice(1, None)).values
    assert np.nanmedian(evidence) < 0.6
    assert np.nanmean(evidence >= 1) < 0.005


def test_estimate_shifts__lays_voltages_onto_the_reference():
    phase = levelled_wave(
        (12, 150, 150), voxel_size=(5.0,) * 3, ligament_size=50.0, solid_fraction=0.35, seed=2
    )
    images = simulate_images(
        phase.compute(), voltage=[1, 2, 4], electrons_per_pixel=100, seed=5, model="analytic"
    )["intensity"].values
    drift = np.cumsum(np.random.default_rng(1).normal(0, 1, (3, 12, 2)), axis=1)
    drift += [[[0, 0]], [[3.3, -2.2]], [[-4.1, 1.7]]]
    shaken = stack_of(
        np.stack(
            [
                [moved(image, s, MARGIN) for image, s in zip(*pair, strict=True)]
                for pair in zip(images, drift, strict=True)
            ]
        )
    )
    found = pixels(estimate_shifts(shaken, reference_voltage=2.0))
    apart = (found + drift) - (found + drift)[1]
    assert np.sqrt((apart**2).sum(-1).mean()) < 0.2
    assert (found[1, 0] == 0).all()


def test_estimate_shifts__compares_voltages_in_a_fiducial(texture):
    rng = np.random.default_rng(3)
    other = np.clip(128 + 40 * ndimage.gaussian_filter(rng.normal(size=texture.shape), 2), 0, 255)
    other = 128 + (other - 128) * texture.std() / other.std()
    other[:, 90:] = texture[:, 90:]
    first = np.stack([moved(image, (0, 0), MARGIN) for image in texture[:6]])
    second = np.stack([moved(image, (2.0, -3.0), MARGIN) for image in other[:6]])
    stack = stack_of(np.stack([first, second]))
    found = pixels(estimate_shifts(stack, fiducial_region={"y": (90, 132)}))
    np.testing.assert_allclose((found[1] - found[0]).mean(0), (-2, 3), atol=0.1)


def test_estimate_shifts__of_one_slice_at_two_voltages(texture):
    images = np.stack([[moved(texture[0], s, MARGIN)] for s in [(0, 0), (1.5, -2.5)]])
    found = pixels(estimate_shifts(stack_of(images)))
    np.testing.assert_allclose(found[1, 0], (-1.5, 2.5), atol=0.02)


def test_estimate_shifts__averages_large_images(texture, drift, monkeypatch):
    monkeypatch.setattr("fibdask.align.registration._MOST_TRANSFORMED", 60)
    images = [moved(image, s, MARGIN) for image, s in zip(texture[:8], drift[:8], strict=True)]
    found = pixels(estimate_shifts(stack_of(np.stack(images))))[0]
    assert rms(found + drift[:8]) < 0.4


# ── blocks ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def both(shaken):
    """Two voltages, and shifts that windows follow."""
    images = shaken["intensity"].values
    stack = stack_of(np.concatenate([images, np.roll(images, (2, -1), (2, 3))]))
    return stack, solve_shifts(measure_pairs(stack).compute())


@pytest.mark.parametrize("chunks", [(1, 1, 136, 128), (2, 5, 30, 50), (1, 24, 64, 64)])
def test_measure_pairs__is_independent_of_chunks(both, chunks):
    stack, follow = both
    expected = measure_pairs(stack, follow=follow).values
    lazy = da.from_array(stack["intensity"].values, chunks=chunks)
    chunked = stack.assign(intensity=(stack["intensity"].dims, lazy))
    np.testing.assert_array_equal(measure_pairs(chunked, follow=follow).values, expected)


def test_measure_pairs__of_a_store_is_one_task_a_block(both, tmp_path, monkeypatch):
    stack, follow = both
    monkeypatch.setattr("fibdask.align.registration._SLICES", 16)
    expected = measure_pairs(stack, follow=follow).values
    stored = open_stack(save_stack(stack, tmp_path / "raw.zarr"))
    with dask.config.set(scheduler="synchronous"):
        pairs = measure_pairs(stored, follow=follow)
        assert len(pairs.data.dask) == pairs.data.npartitions == 4
        np.testing.assert_array_equal(pairs.values, expected)
        np.testing.assert_array_equal(pairs[:, 5:12].values, expected[:, 5:12])


@pytest.mark.interpreted
def test_shift_measurements__take_the_memory_that_is_forecast(tmp_path):
    # Slices that have nothing in common are looked for everywhere: nothing takes more.
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 900, 1000), np.uint8)
    save_stack(stack_of(images), tmp_path / "stack")
    for measurement in shift_measurements(open_stack(tmp_path / "stack"), rounds=2):
        source = origin(measurement.data)
        region = source.grid.numbered(1)  # of the voltage that is compared with the other one
        source.read(region, {})  # compiles, and makes what all tasks share
        tracemalloc.start()
        source.read(region, {})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        said = source.task_bytes(region)
        assert 0.4 * said < peak <= said


def test_masked_correlation__equals_its_definition():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 14, 11)).astype(np.float32)
    valid = np.ones(a.shape, bool)
    for lag in [(0, 0), (3, -2), (-4, 1)]:
        found = masked_correlation(a, b, valid, valid, lag)
        assert found == pytest.approx(correlation(a, b, lag), abs=1e-6)
    assert np.isnan(masked_correlation(a, b, valid, valid, (13, 0)))
    assert np.isnan(masked_correlation(a, b, valid, valid, (20, -30)))


# ── the global solution ──────────────────────────────────────────────────────────────────────


def test_solve_shifts__outvotes_single_wrong_pairs(shaken):
    pairs = measure_pairs(shaken).compute()
    right = pixels(solve_shifts(pairs))[0]
    wrong = pairs.copy()
    wrong.loc[{"quantity": "shift_y"}][0, 6, 0] += 25
    wrong.loc[{"quantity": "shift_x"}][0, 15, 1] -= 40
    found = solve_shifts(wrong)
    assert np.abs(pixels(found)[0] - right).max() < 0.3
    assert float(found["residual"][0, 6, 0]) == pytest.approx(100, abs=4)


def test_solve_shifts__wrong_pairs_of_distant_slices_flag_nobody(shaken):
    pairs = measure_pairs(shaken).compute()
    for z, n in [(4, 2), (5, 3), (6, 2), (7, 3)]:
        pairs.loc[{"quantity": "shift_y"}][0, z, n - 1] += 30
    assert not solve_shifts(pairs)["flag"].any()


def test_solve_shifts__does_not_bridge_a_break_by_one_distant_pair_near_chance(shaken):
    pairs = measure_pairs(shaken).compute()
    for n in (1, 2, 3):
        pairs.loc[{"quantity": "evidence"}][0, 12 - n : 12, n - 1] = 0.3
    pairs.loc[{"quantity": "evidence"}][0, 10, 2] = 0.7
    pairs.loc[{"quantity": "shift_y"}][0, 10, 2] += 8
    with pytest.warns(FibdaskWarning, match="slices 11 and 12 at 1 kV do not resemble each other"):
        found = pixels(solve_shifts(pairs))[0]
    assert np.abs(found[12] - found[11]).max() < 1e-3


def test_solve_shifts__of_exact_measurements_is_exact(shaken):
    pairs = measure_pairs(shaken, neighbours=2).compute()
    truth = np.cumsum(np.random.default_rng(8).normal(0, 3, (24, 2)), axis=0)
    for n in (1, 2):
        pairs.values[0, :-n, n - 1, :2] = truth[n:] - truth[:-n]
    np.testing.assert_allclose(pixels(solve_shifts(pairs))[0], truth - truth[0], atol=1e-4)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────


def test_estimate_shifts__refuses_one_slice(shaken):
    with pytest.raises(ConventionError, match="the stack has one slice at one voltage"):
        estimate_shifts(shaken.isel(z=[0]))


def test_estimate_shifts__refuses_black_stacks():
    with pytest.raises(ConventionError, match="at 1 kV there are 24 slices, 24 blank"):
        estimate_shifts(stack_of(np.zeros((24, 64, 64), np.uint8)))


@pytest.mark.parametrize("region", [{"y": (0, 137)}, {"y": (-1, 90)}, {"y": (0, 31)}])
def test_estimate_shifts__refuses_regions_outside(shaken, region):
    a, b = region["y"]
    text = rf"along y must be .* at least 32 apart, with .* <= 136; got \({a}, {b}\)"
    with pytest.raises(ConventionError, match=rf"^region {text}"):
        estimate_shifts(shaken, region=region)
    with pytest.raises(ConventionError, match=rf"^fiducial_region {text}"):
        estimate_shifts(shaken, fiducial_region=region)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"region": {"z": (0, 9)}}, "region has the axes y, x; got 'z'"),
        ({"reference_voltage": 3.0}, "one of the stack, 1 kV; got 3 kV"),
        ({"neighbours": 0}, "neighbours must be a whole number >= 1; got 0"),
        ({"rounds": 0}, "rounds must be a whole number >= 1; got 0"),
        ({"neighbours": "3"}, "neighbours must be a whole number >= 1; got '3'"),
        ({"max_shift": "5"}, "half the region along y, 51 pixels; got '5' nm, nan pixels"),
        ({"max_shift": 2.0}, "half the region along y, 51 pixels; got 2.0 nm, 0.5 pixels"),
        ({"detrend": "all"}, "detrend must be one of linear, none; got 'all'"),
    ],
)
def test_estimate_shifts__refuses_wrong_options(shaken, options, text):
    with pytest.raises(ConventionError, match=text):
        estimate_shifts(shaken, **options)


def test_measure_pairs__takes_whole_numbers_of_numpy(shaken):
    given, plain = (measure_pairs(shaken, neighbours=n) for n in (np.int64(2), 2))
    assert given.identical(plain)


def test_estimate_shifts__refuses_gaps(shaken):
    measured = np.arange(24) != 7
    with pytest.raises(ConventionError, match="plane 7 is not measured"):
        estimate_shifts(shaken.assign_coords(measured=("z", measured)))


def test_measure_pairs__refuses_to_follow_other_slices(shaken):
    shifts = xr.Dataset({f"shift_{a}": (("voltage", "z"), np.zeros((1, 3))) for a in "yx"})
    with pytest.raises(ConventionError, match=r"\(voltage, z\) of \(1, 24\); got \(1, 3\)"):
        measure_pairs(shaken, follow=shifts)


# ── a real texture ───────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not FIB25.is_dir(), reason="../shared/data/fib25 is absent")
def test_estimate_shifts__on_fib25_resliced():
    from skimage.io import imread

    volume = np.stack([imread(file) for file in sorted(FIB25.glob("*.png"))])
    slices = volume.transpose(1, 0, 2)[:60]
    walk = np.cumsum(np.random.default_rng(2).normal(0, 1.0, (len(slices), 2)), axis=0)
    tilt = np.tan(np.deg2rad(2)) * np.arange(len(slices))
    drift = walk - walk[0] + np.stack([tilt, 0 * tilt], axis=-1)
    base = stack_of(np.stack([moved(image, (0, 0), 25) for image in slices]))
    images = np.stack([moved(image, s, 25) for image, s in zip(slices, drift, strict=True)])
    error = pixels(estimate_shifts(stack_of(images)))[0] - pixels(estimate_shifts(base))[0] + drift
    assert rms(error) < 0.2
    assert abs(np.polyfit(np.arange(60), error[:, 0], 1)[0]) < 0.1 * np.tan(np.deg2rad(2))
    images[[13, 41]] = 0
    images[29] = ndimage.gaussian_filter(images[29], 4)
    found = estimate_shifts(stack_of(images))
    assert found["flag"].values[0].nonzero()[0].tolist() == [13, 29, 41]
    good = found["flag"].values[0] == 0
    error = pixels(found)[0] - pixels(estimate_shifts(base))[0] + drift
    assert rms(error[good]) < 0.3
