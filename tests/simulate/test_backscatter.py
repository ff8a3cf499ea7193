import numpy as np
import pytest

from fibdask.conventions import ConventionError
from fibdask.simulate import backscatter_coefficient, backscattered_electrons
from fibdask.simulate.electrons.materials import Material

# On clean surfaces by two laboratories below 10 keV, and how far laboratories differ.
MEASURED = {
    "Au": {1: ((0.395, 0.419), 0.05), 4: ((0.459, 0.461), 0.05), 20: ((0.485,), 0.08)},
    "Cu": {1: ((0.310, 0.381), 0.15), 4: ((0.321, 0.340), 0.15), 20: ((0.306,), 0.08)},
    "Si": {1: ((0.228, 0.235), 0.12), 4: ((0.189, 0.204), 0.12), 20: ((0.164,), 0.12)},
    "C": {1: ((0.076, 0.133), 0.35), 4: ((0.058, 0.089), 0.35), 20: ((0.060,), 0.33)},
}


@pytest.mark.parametrize(
    ("material", "energy"), [(m, energy) for m in MEASURED for energy in MEASURED[m]]
)
def test_backscatter_coefficient__is_as_measured(material, energy):
    values, spread = MEASURED[material][energy]
    eta = backscatter_coefficient(material, beam_energy_kev=energy, electrons=40_000, seed=1)
    assert min(values) * (1 - spread) < eta < max(values) * (1 + spread)


# Of an independent program with the same physics; its statistical error is 0.0015 at most.
@pytest.mark.parametrize(
    ("material", "energy", "eta"), [("Au", 2, 0.470), ("Cu", 4, 0.336), ("Si", 2, 0.220)]
)
def test_backscatter_coefficient__of_browning_is_that_of_the_published_tool(material, energy, eta):
    options = {"electrons": 100_000, "elastic": "browning", "seed": 1}
    found = backscatter_coefficient(material, beam_energy_kev=energy, **options)
    assert found == pytest.approx(eta, rel=0.03)


@pytest.mark.parametrize(
    ("material", "energy", "mean", "depth", "radius"),
    [
        ("Au", 1, 0.69, (1.3, 3.6), (1.3, 5.3)),
        ("Au", 4, 0.75, (7.1, 18.4), (7.8, 28)),
        ("epoxy", 2, 0.58, (21, 43), (36, 79)),
        ("Au", 2, 0.73, (2.9, 7.8), (2.8, 11.5)),
        ("epoxy", 1, 0.58, (6.5, 13.7), (10, 25)),
        ("epoxy", 4, 0.58, (70, 138), (124, 262)),
    ],
)
def test_backscattered_electrons__come_from_the_published_depths(
    material, energy, mean, depth, radius
):
    exits = backscattered_electrons(material, beam_energy_kev=energy, electrons=100_000, seed=2)
    assert float(exits.energy.mean()) == pytest.approx(1000 * energy * mean, rel=0.03)
    np.testing.assert_allclose(np.quantile(exits.depth, [0.5, 0.95]), depth, rtol=0.08)
    found = np.quantile(np.hypot(exits.y, exits.x), [0.5, 0.95])
    np.testing.assert_allclose(found, radius, rtol=0.08)


# Shares of the electrons that come out above 0.99, 0.95, 0.9, 0.8 and 0.5 of the energy, by two
# independent programs: with the same losses as here, and with those of a dielectric function.
@pytest.mark.parametrize(
    ("material", "energy", "same", "dielectric"),
    [
        ("Au", 1, (0.157, 0.243, 0.342, 0.494, 0.786), (0.206, 0.295, 0.401, 0.551, 0.808)),
        ("Au", 2, (0.117, 0.238, 0.355, 0.528, 0.825), (0.169, 0.313, 0.435, 0.594, 0.847)),
        ("Au", 4, (0.085, 0.217, 0.346, 0.542, 0.856), (0.138, 0.308, 0.438, 0.609, 0.872)),
        ("epoxy", 1, (0.041, 0.088, 0.144, 0.266, 0.642), (0.041, 0.097, 0.162, 0.293, 0.673)),
    ],
)
def test_backscattered_electrons__with_discrete_losses_have_the_published_energies(
    material, energy, same, dielectric
):
    options = {"beam_energy_kev": energy, "electrons": 200_000, "seed": 1}
    exits = backscattered_electrons(material, losses="discrete", **options)
    parts = 1000 * energy * np.array([0.99, 0.95, 0.9, 0.8, 0.5])
    found = (exits.energy.values > parts[:, np.newaxis]).mean(axis=1)
    assert (np.array(same) - 0.005 < found).all()
    assert (found < np.array(dielectric) + 0.005).all()


def test_backscatter_coefficient__hardly_depends_on_the_kind_of_losses():
    options = {"beam_energy_kev": 2, "electrons": 100_000, "seed": 1}
    continuous = backscatter_coefficient("Au", **options)
    discrete = backscatter_coefficient("Au", losses="discrete", **options)
    assert discrete == pytest.approx(continuous, rel=0.02)


def test_backscattered_electrons__leave_by_a_cosine_law_with_an_excess_along_the_beam():
    exits = backscattered_electrons("Au", beam_energy_kev=1, electrons=200_000, seed=3)
    cosine = -exits.direction.sel(axis="z").values
    share, edges = np.histogram(cosine, [0.0, 0.1, 0.5, 0.9, 1.0])
    law = np.diff(edges**2) * len(cosine)
    assert share[0] / law[0] == pytest.approx(0.5, abs=0.06)
    assert 1.25 < share[-1] / law[-1] < 1.6


def test_backscattered_electrons__are_those_that_the_coefficient_counts():
    options = {"beam_energy_kev": 1, "electrons": 20_000, "seed": 4}
    exits = backscattered_electrons("Cu", **options)
    assert exits.sizes["electron"] / 20_000 == backscatter_coefficient("Cu", **options)
    assert (exits.energy > 50).all()
    assert (exits.energy <= 1000).all()
    np.testing.assert_allclose(np.linalg.norm(exits.direction, axis=1), 1, atol=1e-5)


def test_backscatter_coefficient__rises_with_tilt():
    normal, tilted = (
        backscatter_coefficient("Au", beam_energy_kev=2, electrons=40_000, seed=1, tilt=tilt)
        for tilt in (0, 60)
    )
    assert tilted > normal + 0.1


def test_backscattered_electrons__of_a_tilted_beam_go_on_in_its_direction():
    exits = backscattered_electrons("Si", beam_energy_kev=2, electrons=40_000, seed=1, tilt=60)
    y, x = exits.direction.sel(axis=["y", "x"]).mean("electron")
    assert float(y) > 0.15
    assert abs(float(x)) < 0.02


def test_backscatter_coefficient__of_vacuum_is_0():
    assert backscatter_coefficient("vacuum", beam_energy_kev=2, seed=1) == 0.0
    with pytest.raises(ConventionError, match="material must scatter electrons; vacuum does not"):
        backscattered_electrons("vacuum", beam_energy_kev=2, seed=1)


def test_backscatter_coefficient__of_an_alloy_lies_between_its_metals():
    alloy = Material("AuAg", {"Au": 1, "Ag": 1}, 14.9)
    silver, mixed, gold = (
        backscatter_coefficient(material, beam_energy_kev=4, electrons=40_000, seed=1)
        for material in ("Ag", alloy, "Au")
    )
    assert silver + 0.01 < mixed < gold - 0.01


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("material", "gold", "material must be one of Au, .*; got 'gold'"),
        ("beam_energy_kev", "2", "beam_energy_kev must be finite and > 0 keV; got '2'"),
        ("beam_energy_kev", 60, "got 50 eV and 60000 eV"),
        ("beam_energy_kev", 0.04, "the cut-off below the beam; got 50 eV and 40 eV"),
        ("cutoff_ev", 20, "cut-off and beam must be in 50 … 51200 eV.*; got 20 eV and 2000 eV"),
        ("electrons", 0, "electrons must be a whole number from 1 to 2,147,483,647; got 0"),
        ("electrons", 1.5, "electrons must be a whole number from .*; got 1.5"),
        ("electrons", True, "electrons must be a whole number from .*; got True"),
        ("elastic", "rutherford", "elastic must be one of mott, browning; got 'rutherford'"),
        ("losses", "random", "losses must be one of continuous, discrete; got 'random'"),
        ("tilt", 90, "tilt must be in 0 … 85 degrees; got 90"),
        ("seed", -1, "seed must be a whole number >= 0; got -1"),
    ],
)
def test_backscatter_coefficient__refuses_wrong_arguments(argument, value, message):
    options = {"material": "Au", "beam_energy_kev": 2, "seed": 0, argument: value}
    with pytest.raises(ConventionError, match=message):
        backscatter_coefficient(options.pop("material"), **options)
