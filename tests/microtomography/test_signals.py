"""Signals of films: what models must say of the simplest ones, and what they refuse."""

import numpy as np
import pytest
import xarray as xr

from fibdask.conventions import ConventionError, FibdaskWarning
from fibdask.microtomography import layer_labels, layer_signals
from fibdask.microtomography.forward import FORWARDS, slowed
from fibdask.simulate import layered_film
from tests.microtomography.helpers import patches, thickness

ENERGIES = [5.0, 12.0, 35.0]
BARE = {"report2022": 0.49, "analytic": 0.49, "monte_carlo": 1.0}


def one(aluminium, gold, **options):
    """Return the signals (energy) of one pixel."""
    signals = layer_signals(thickness([[[aluminium]], [[gold]]]), **options)
    return signals.values[:, 0, 0]


@pytest.mark.parametrize(("forward", "signal"), [("report2022", 0.844), ("analytic", 0.473)])
def test_layer_signals__of_aluminium_alone_are_gold_s_in_the_report_only(forward, signal):
    assert one(150, 0, beam_energy_kev=[5.0], forward=forward)[0] == pytest.approx(signal, abs=5e-4)


@pytest.mark.parametrize("forward", FORWARDS)
def test_layer_signals__of_no_layers_are_the_substrate_s(forward):
    found = one(0, 0, beam_energy_kev=ENERGIES, forward=forward)
    np.testing.assert_allclose(found, BARE[forward], rtol=1e-6)


@pytest.mark.parametrize("forward", ["analytic", "report2022", "monte_carlo"])
def test_layer_signals__rise_with_gold(forward):
    gold = np.linspace(1, 15, 8)
    maps = thickness(np.stack([np.zeros((1, 8)), gold[np.newaxis]]))
    found = layer_signals(maps, beam_energy_kev=ENERGIES, forward=forward).values[:, 0]
    assert (np.diff(found, axis=1) > 0).all()


@pytest.mark.parametrize("forward", ["analytic", "monte_carlo"])
def test_layer_signals__of_hidden_gold_fall_with_aluminium(forward):
    aluminium = np.linspace(20, 150, 6)
    maps = thickness(np.stack([aluminium[np.newaxis], np.full((1, 6), 8.0)]))
    found = layer_signals(maps, beam_energy_kev=[5.0], forward=forward).values[:, 0]
    assert (np.diff(found, axis=1) < 0).all()


def test_slowed__leaves_what_bethe_s_formula_does():
    left = slowed("Al", np.array([5.0]), np.array([150.0]))
    assert 5 - left[0] == pytest.approx(1.1, abs=0.2)


def test_layer_signals__have_the_noise_asked_for_whatever_the_chunks():
    maps = patches(0, shape=(40, 40))
    clean = layer_signals(maps, forward="analytic")
    noisy = layer_signals(maps, forward="analytic", noise=0.03, seed=5)
    cut = layer_signals(maps.chunk(y=13, x=17), forward="analytic", noise=0.03, seed=5)
    xr.testing.assert_equal(noisy.compute(), cut.compute())
    assert float((noisy / clean - 1).std()) == pytest.approx(0.03, rel=0.02)


def test_layer_signals__of_the_table_do_not_depend_on_chunks():
    maps = patches(1, shape=(30, 31))
    whole, cut = (layer_signals(m, forward="monte_carlo") for m in (maps, maps.chunk(y=7, x=11)))
    xr.testing.assert_equal(whole.compute(), cut.compute())


def test_layer_signals__take_films_as_they_are_made():
    film = layered_film((4, 20, 30), layers=[("Al", 0, 150), ("Au", 0, 15)], seed=1)
    signals = layer_signals(film["layer_thickness"], forward="analytic")
    assert signals.shape == (31, 20, 30)
    assert signals.attrs["substrate"] == "Si"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"beam_energy_kev": [5.0, 4.0]}, "increasing; got 4 after 5"),
        ({"beam_energy_kev": ["high"]}, r"one or more energies in keV; got \['high'\]"),
        ({"beam_energy_kev": [0.0, 4.0]}, "> 0 keV and increasing; got 0"),
        ({"beam_energy_kev": [4.0]}, "from 5 to 35 keV; got 4 keV"),
        ({"forward": "other"}, "forward must be one of"),
        ({"noise": 0.02}, "noise needs a seed"),
        ({"noise": -1.0, "seed": 1}, "from 0 to 0.3; got -1.0"),
        ({"substrate": "C"}, "Al on Au on Si; got Al on Au on C"),
        ({"substrate": "Au", "forward": "report2022"}, "on silicon only"),
        ({"substrate": "C", "forward": "analytic"}, "knows Al, Au, Si; got 'C'"),
        ({"substrate": "Unobtainium"}, "material must be one of"),
    ],
)
def test_layer_signals__refuse_what_the_model_does_not_know(options, told):
    with pytest.raises(ConventionError, match=told):
        layer_signals(thickness(np.ones((2, 1, 1))), **options)


@pytest.mark.parametrize(
    ("maps", "told"),
    [
        ([[[1.0, 300.0]], [[0.0, 0.0]]], r"Al must be at most 200 nm; \(y, x\) = \(0, 1\) has 300"),
        ([[[1.0, 2.0]], [[-3.0, 0.0]]], r"\(layer, y, x\) = \(1, 0, 0\) has -3"),
    ],
)
def test_layer_signals__refuse_thicknesses_by_their_place(maps, told):
    with pytest.raises(ConventionError, match=told):
        layer_signals(thickness(maps))


def test_layer_signals__of_thicknesses_in_micrometres_are_told_of():
    with pytest.warns(FibdaskWarning, match=r"layer is 0.15 nm thick: thicknesses are in nm"):
        one(0.15, 0.008)


def test_layer_signals__are_nan_where_a_thickness_is():
    found = layer_signals(thickness([[[np.nan, 1.0]], [[0.0, 0.0]]]), forward="analytic").values
    assert np.isnan(found[:, 0, 0]).all()
    assert np.isfinite(found[:, 0, 1]).all()


def test_layer_labels__are_of_the_material_at_the_centre():
    maps = thickness([[[0.0, 20.0, 26.0]], [[20.0, 0.0, 14.0]]])
    found = layer_labels(maps, voxel_size=10, planes=5).values[:, 0].T
    assert found.tolist() == [[1, 1, 2, 2, 2], [0, 0, 2, 2, 2], [0, 0, 0, 1, 2]]


def test_layer_labels__keep_layers_thinner_than_a_voxel_unless_told_otherwise():
    maps = thickness([[[1.0, 8.0]], [[2.0, 1.0]]])
    kept = layer_labels(maps, voxel_size=10, planes=3).values[:, 0].T
    assert kept.tolist() == [[0, 1, 2], [0, 1, 2]]
    lost = layer_labels(maps, voxel_size=10, planes=3, thin_layers=False).values[:, 0].T
    assert lost.tolist() == [[2, 2, 2], [0, 2, 2]]


def test_layer_labels__of_as_many_planes_as_by_default_lose_no_layer():
    maps = thickness([[[147.0, 1.0, 0.0]], [[3.0, 2.0, 146.0]]])
    found = layer_labels(maps, voxel_size=10).values[:, 0].T
    assert found[0].tolist() == 15 * [0] + [1]
    assert found[1].tolist() == [0, 1] + 14 * [2]
    assert layer_labels(maps.chunk(), voxel_size=10, most=154).sizes["z"] == 16
    assert layer_labels(maps, voxel_size=10, thin_layers=False).sizes["z"] == 15


@pytest.mark.parametrize("planes", [0, -1, 2.5, "3", True])
def test_layer_labels__refuse_planes_that_are_no_number_of_them(planes):
    with pytest.raises(
        ConventionError, match=f"planes must be a whole number >= 1; got {planes!r}"
    ):
        layer_labels(thickness(np.ones((2, 1, 1))), planes=planes)


def test_layer_labels__have_no_data_where_a_thickness_has_none():
    found = layer_labels(thickness([[[np.nan]], [[0.0]]]), voxel_size=10, planes=2)
    assert found.values.ravel().tolist() == [255, 255]
    assert found.attrs["flag_meanings"] == "Al Au Si no_data"
