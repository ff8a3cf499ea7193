"""Thicknesses from signals: right without noise, honest with it, whatever the blocks."""

import numpy as np
import pytest
import xarray as xr

from fibdask.conventions import ConventionError, FibdaskWarning
from fibdask.microtomography import estimate_layers, layer_signals
from fibdask.microtomography.films import shipped_films, write_films
from tests.microtomography.helpers import LAYERS, patches, thickness


def estimated(maps, forward, noise=0.0, seed=2, **options):
    signals = layer_signals(maps, forward=forward, noise=noise, seed=seed)
    given = {"forward": forward, "layers": LAYERS, "noise": noise} | options
    return estimate_layers(signals, **given).compute(scheduler="sync")


@pytest.mark.parametrize(("forward", "off"), [("analytic", 0.5), ("report2022", 0.5)])
def test_estimate_layers__finds_what_is_there_without_noise(forward, off):
    maps = patches(3)
    found = estimated(maps, forward)["thickness"]
    apart = np.abs(found - maps).values
    assert apart[0].max() < off
    assert apart[1].max() < off / 10


def test_estimate_layers__is_unbiased_by_the_table_s_own_signals():
    maps = patches(3)
    apart = (estimated(maps, "monte_carlo")["thickness"] - maps).values
    assert np.abs(apart.mean(axis=(1, 2))).max() < 0.5
    assert np.median(np.abs(apart), axis=(1, 2)).max() < 0.2


def shares_inside(maps, found):
    """Return the share of the pixels with a layer that lie within their errors (layer)."""
    inside = (np.abs(found["thickness"] - maps) <= found["thickness_error"]).values
    return [inside[k][maps.values[k] > 0].mean() for k in (0, 1)]


@pytest.mark.parametrize("noise", [0.005, 0.02])
@pytest.mark.parametrize("forward", ["analytic", "report2022"])
def test_estimate_layers__two_thirds_of_layers_lie_within_their_errors(forward, noise):
    maps = patches(5, shape=(60, 60))
    found = estimated(maps, forward, noise)
    np.testing.assert_allclose(shares_inside(maps, found), 0.68, atol=0.05)
    assert float(found["misfit"].mean()) == pytest.approx(1, abs=0.1)


def test_estimate_layers__errors_hold_those_of_the_table(tmp_path):
    maps, shares = patches(5, shape=(40, 40)), []
    for seed in range(3):  # the table as other electrons might have made it
        other = tmp_path / f"{seed}.npz"
        write_films(shipped_films().redrawn(np.random.default_rng(seed)), other)
        signals = layer_signals(maps, table=str(other), noise=0.02, seed=1)
        found = estimate_layers(signals).compute(scheduler="sync")
        shares.append(shares_inside(maps, found))
    np.testing.assert_allclose(np.mean(shares, axis=0), 0.68, atol=0.05)


def test_estimate_layers__says_that_it_cannot_see_below_a_thick_layer():
    maps = thickness(np.array([[[150.0]], [[12.0]]]))
    signals = layer_signals(maps, beam_energy_kev=[2.0, 2.5], forward="analytic")
    found = estimate_layers(signals, forward="analytic", absent=0.0)["thickness_error"].values
    assert 0.9 * 0.6827 * 15 / 2 < found[1, 0, 0] <= 0.7 * 15


def test_estimate_layers__smooths_within_patches_and_not_across_them():
    maps = patches(7, patch=16, shape=(48, 48))
    alone, together = (
        np.abs(estimated(maps, "analytic", 0.02, smoothing=radius)["thickness"] - maps).mean()
        for radius in (0, 9)
    )
    assert float(together) < float(alone) / 4


def test_estimate_layers__says_how_unsure_averages_of_slopes_are():
    slope = np.linspace(0.2, 0.9, 48)[:, np.newaxis] * np.ones(48)
    maps = thickness(np.array([150 * slope, 15 * slope.T]))
    found = estimated(maps, "analytic", 0.02, smoothing=9)
    assert min(shares_inside(maps, found)) > 0.6
    even = patches(7, patch=24, shape=(48, 48))
    assert max(shares_inside(even, estimated(even, "analytic", 0.02, smoothing=9))) < 0.9


@pytest.mark.parametrize(
    ("method", "smoothing"), [("likelihood", 0), ("likelihood", 3), ("tikhonov", 0)]
)
def test_estimate_layers__does_not_depend_on_chunks(method, smoothing):
    signals = layer_signals(patches(9, 5, (30, 35)), forward="analytic", noise=0.02, seed=1)
    options = {"method": method, "forward": "analytic", "smoothing": smoothing}
    whole, cut = (
        estimate_layers(s.compute().chunk(chunks), **options).compute(scheduler="sync")
        for s, chunks in ((signals, {}), (signals, {"y": 11, "x": 8}))
    )
    xr.testing.assert_equal(whole, cut)


@pytest.mark.parametrize("part", [{"energy": [30]}, {"y": [3], "x": [4]}])
def test_estimate_layers__leaves_signals_as_they_are(part):
    # Of one energy or one pixel, blocks are laid out in memory as what is compared with tables.
    signals = layer_signals(patches(4), forward="analytic").isel(part).compute().chunk()
    found = estimate_layers(signals, forward="analytic").compute(scheduler="sync")
    assert float(found["misfit"].max()) < 0.1


def test_estimate_layers__knows_nothing_where_there_are_no_data():
    signals = layer_signals(patches(1, shape=(4, 4)), forward="analytic").compute()
    signals[:, 0, 0], signals[:, 1, 1] = np.nan, 0
    found = estimate_layers(signals, forward="analytic").compute()
    for name in ("thickness", "thickness_error", "misfit"):
        known = np.isfinite(found[name].values.reshape(-1, 4, 4))
        assert not known[:, [0, 1], [0, 1]].any()
        assert known.sum() == known.size - 2 * len(known)
    assert (found["label"].values[:, 0, 0] == 255).all()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"method": "guess"}, "method must be one of likelihood, tikhonov, network"),
        ({"absent": 1.0}, "from 0 to less than 1; got 1.0"),
        ({"smoothing": 100}, "at most 32 pixels; got 100"),
        ({"smoothing": 1}, r"smoothing must be 0, or at least 1\.5"),
        (
            {"method": "tikhonov", "smoothing": 9},
            "smoothing goes with method 'likelihood' only; got 9",
        ),
        (
            {"method": "tikhonov", "absent": 0},
            "absent goes with method 'likelihood' and 'network' only",
        ),
        ({"regularisation": 1}, "regularisation goes with method 'tikhonov' only; got 1.0 with"),
        ({"layers": [("Al", 500.0), ("Au", 15.0)]}, "knows Al up to 200 nm; got 500"),
        ({"layers": [("Cu", 20.0)]}, "simulate_films"),
        ({"layers": []}, "at least one"),
        ({"layers": [("Al", "thick")]}, r"must be a pair \(material, .*got \('Al', 'thick'\)"),
        ({"layers": [("Al", 9.0), ("Au", 9.0)] * 2, "forward": "analytic"}, "up to 3 .*; got 4"),
        ({"table": "films.npz", "forward": "analytic"}, "monte_carlo"),
    ],
)
def test_estimate_layers__refuses_what_it_does_not_know(options, told):
    signals = layer_signals(patches(1, shape=(2, 2)))
    with pytest.raises(ConventionError, match=told):
        estimate_layers(signals, **options)


def test_estimate_layers__refuses_negative_signals_by_their_place():
    signals = layer_signals(patches(1, shape=(2, 3))).compute()
    signals[3, 1, 2] = -0.5
    with pytest.raises(ConventionError, match=r"\(energy, y, x\) = \(3, 1, 2\) has -0.5"):
        estimate_layers(signals)


def test_estimate_layers__tells_of_signals_of_another_model():
    signals = layer_signals(patches(1, shape=(2, 2)), forward="analytic")
    with pytest.warns(FibdaskWarning, match="made with forward 'analytic', and are read with 'mon"):
        estimate_layers(signals)


@pytest.mark.parametrize("method", ["likelihood", "tikhonov"])
def test_estimate_layers__tells_of_signals_that_no_layers_explain(method):
    signals = layer_signals(patches(3), forward="analytic", noise=0.02, seed=1)
    options = {"method": method, "forward": "analytic"}
    estimate_layers(signals, **options).compute()  # in silence
    found = estimate_layers(1.2 * signals, **options)
    told = r"of 576 pixels that were looked at, \d+% have signals that no thicknesses explain"
    with pytest.warns(FibdaskWarning, match=told):
        found["thickness"].compute()


def test_estimate_layers__is_silent_of_a_film_that_is_as_thick_as_was_said():
    film = thickness(np.array([150.0, 15.0])[:, None, None] * np.ones((2, 8, 8)))
    signals = layer_signals(film, forward="analytic", noise=0.02, seed=1)
    found = estimate_layers(signals, forward="analytic").compute()
    assert float(found["thickness"][0].max()) == 150


def test_estimate_layers__tells_of_layers_thicker_than_may_be():
    signals = layer_signals(patches(3), forward="analytic")
    found = estimate_layers(signals, forward="analytic", layers=[("Al", 30.0), ("Au", 15.0)])
    with pytest.warns(FibdaskWarning, match=r"and \d+% have a layer that is as thick as it may"):
        found.compute()
