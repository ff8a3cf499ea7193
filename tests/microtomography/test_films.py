"""Tables of films: beside direct simulation, taken up again, refused where they do not fit."""

import json

import numpy as np
import pytest

from fibdask.conventions import ConventionError, FibdaskWarning, StackReadError
from fibdask.microtomography import estimate_layers, layer_signals, simulate_films
from fibdask.microtomography.between import fitting_lengths
from fibdask.microtomography.films import read_films, shipped_films, write_films
from fibdask.microtomography.grids import FilmGrid
from fibdask.simulate import backscatter_coefficient
from fibdask.simulate.electrons.films import send_through_films
from fibdask.simulate.electrons.materials import find_material
from fibdask.simulate.electrons.transport import Illumination
from tests.microtomography.helpers import thickness

SILICON, GOLD, ALUMINIUM = (find_material(name) for name in ("Si", "Au", "Al"))
MANY = 40_000


def share(layers, energy, seed=1):
    illumination = Illumination(energy * 1e3)
    return send_through_films(layers, SILICON, illumination, electrons=MANY, seed=seed) / MANY


def error(share):
    return np.sqrt(share * (1 - share) / MANY)


def test_send_through_films__a_layer_of_the_substrate_changes_nothing():
    bulk = backscatter_coefficient("Si", beam_energy_kev=5, electrons=MANY, seed=3)
    found = share([(SILICON, 40.0), (SILICON, 100.0)], 5.0)
    assert abs(found - bulk) < 4 * np.hypot(error(found), error(bulk))


def test_send_through_films__a_thick_layer_is_a_bulk_of_it():
    bulk = backscatter_coefficient("Au", beam_energy_kev=5, electrons=MANY, seed=3)
    found = share([(GOLD, 0.0), (GOLD, 900.0)], 5.0)
    assert abs(found - bulk) < 4 * np.hypot(error(found), error(bulk))


@pytest.mark.parametrize(("energy", "film"), [(6.0, (33.0, 3.0)), (20.0, (110.0, 11.0))])
def test_shipped_films__agree_with_direct_simulation(energy, film):
    table = shipped_films()
    direct = share([(ALUMINIUM, film[0]), (GOLD, film[1])], energy)
    read = table.backscatter(np.array(film)[:, np.newaxis], np.array([energy]))[0, 0]
    assert abs(read / direct - 1) < 4 * np.hypot(error(direct) / direct, table.fit.error)


def test_fitting_lengths__stay_finite_along_a_layer_that_changes_nothing():
    grid = FilmGrid((("Si", 60.0),), "Si", (5.0, 35.0), 5, electrons=2000, seed=0)
    shares = np.linspace(0.3, 0.2, grid.shape[0])[:, np.newaxis] * np.ones(grid.shape)
    lengths = fitting_lengths(grid, np.random.default_rng(0).binomial(2000, shares))
    assert np.isfinite(np.exp(lengths)).all()
    assert lengths[2] > np.log(60)


def test_simulate_films__goes_on_where_it_was_and_serves_other_materials(tmp_path):
    path, options = tmp_path / "copper.npz", {"substrate": "C", "beam_energy_kev": (4.0, 9.0)}
    layers = [("Cu", 30.0)]
    simulate_films(path, layers=layers, electrons=500, **options)
    written = path.read_bytes()
    simulate_films(path, layers=layers, electrons=500, **options)
    assert path.read_bytes() == written
    maps = thickness(np.array([[[0.0, 10.0, 30.0]]]), ["Cu"])
    signals = layer_signals(maps, beam_energy_kev=[4.0, 6.0, 9.0], substrate="C", table=str(path))
    known = {"layers": layers, "substrate": "C", "table": str(path), "noise": 0.01}
    found = estimate_layers(signals, **known)
    assert np.abs(found["thickness"].values - maps.values).max() < 3
    with pytest.warns(FibdaskWarning, match="how far off they are on Cu is not known"):
        estimate_layers(signals, method="network", **known)
    with pytest.raises(ConventionError, match="table of other films"):
        simulate_films(path, layers=[("Cu", 20.0)], electrons=500, **options)


@pytest.mark.parametrize("damage", ["other", "empty", "half", "turned"])
def test_read_films__refuses_what_is_no_table(tmp_path, damage):
    path = tmp_path / "films.npz"
    np.savez_compressed(path, grid="{}", counts=np.arange(2000.0), lengths=np.arange(9.0))
    whole = path.read_bytes()
    middle = len(whole) // 2
    turned = bytes([whole[middle] ^ 255])
    damaged = {
        "other": b"nothing",
        "empty": b"",
        "half": whole[:middle],
        "turned": whole[:middle] + turned + whole[middle + 1 :],
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(StackReadError, match="is no table of films"):
        read_films(path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"layers": []}, "1 to 3 layers; got 0"),
        ({"layers": [("Cu", -1.0)]}, "largest thickness of Cu must be finite and > 0 nm"),
        ({"layers": [("Cu", 1.0, 2.0)]}, r"must be a pair \(material, .*got \('Cu', 1.0, 2.0\)"),
        ({"layers": [("Kryptonite", 1.0)]}, "material must be one of"),
        ({"layers": [("Cu", 1.0)], "beam_energy_kev": (9.0, 4.0)}, "least and the most"),
        ({"layers": [("Cu", 1.0)], "beam_energy_kev": (4.0, 9.0, 12.0)}, "must be two, the least"),
        ({"layers": [("Cu", 1.0)], "beam_energy_kev": 4.0}, "must be two, .*; got 4.0"),
        ({"layers": [("Cu", 1.0)], "electrons": 0}, "electrons must be at least 1; got 0"),
        ({"layers": [("Cu", 1.0)], "electrons": "9"}, "electrons must be at least 1; got '9'"),
    ],
)
def test_simulate_films__refuses_what_cannot_be_simulated(tmp_path, options, told):
    with pytest.raises(ConventionError, match=told):
        simulate_films(tmp_path / "films.npz", substrate="Si", **options)


def test_estimate_layers__tells_whose_table_it_has_read(tmp_path):
    table = tmp_path / "films.npz"
    write_films(shipped_films(), table)
    signals = layer_signals(thickness(np.ones((2, 1, 1))), table=str(table))
    history = estimate_layers(signals, table=str(table)).attrs["provenance"]
    assert [json.loads(step)["parameters"]["table"] for step in history] == [str(table)] * 2
