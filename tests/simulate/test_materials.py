import itertools
import pickle

import pytest

from fibdask.conventions import ConventionError
from fibdask.simulate.electrons.attenuation import ATOMIC_NUMBERS
from fibdask.simulate.electrons.elements import ELEMENTS
from fibdask.simulate.electrons.materials import MATERIALS, Material, find_element, find_material


@pytest.mark.parametrize("name", [name for name in MATERIALS if name != "vacuum"])
def test_material__mass_of_its_atoms_is_its_density(name):
    material = MATERIALS[name]
    atoms = material.atom_densities
    mass = sum(n * ELEMENTS[symbol].weight for symbol, n in atoms.items()) / 602.214076
    assert mass == pytest.approx(material.density)
    assert sum(material.mass_fractions.values()) == pytest.approx(1)


def test_material__gold_has_four_atoms_in_its_cell():
    assert MATERIALS["Au"].atom_densities["Au"] * 0.40786**3 == pytest.approx(4, rel=2e-3)


@pytest.mark.parametrize("name", ATOMIC_NUMBERS)
def test_material__mean_atomic_number(name):
    assert MATERIALS[name].atomic_number == pytest.approx(ATOMIC_NUMBERS[name], abs=0.01)


def test_material__vacuum_is_empty():
    vacuum = find_material("vacuum")
    assert vacuum.atom_densities == {}
    assert vacuum.atomic_number == 0


def test_from_mass_fractions__gives_them_back():
    shares = {"Au": 75, "Ag": 15, "Cu": 10}
    alloy = Material.from_mass_fractions("18 carat", shares, density=15.5)
    assert alloy.mass_fractions == pytest.approx({"Au": 0.75, "Ag": 0.15, "Cu": 0.10})


def test_material__can_be_sent_to_workers_and_be_a_key():
    epoxy = MATERIALS["epoxy"]
    assert {pickle.loads(pickle.dumps(epoxy)): 1}[epoxy] == 1


@pytest.mark.parametrize(
    ("composition", "density", "message"),
    [
        ({"Au": 1}, 0.0, "density of film must be finite and > 0 g/cm³; got 0.0"),
        ({"Au": 1}, float("nan"), "density of film .* got nan"),
        ({"Au": -2}, 19.3, "atoms of Au in film must be finite and > 0; got -2"),
        ({"au": 1}, 19.3, "a symbol from H to U; got 'au'; did you mean 'Au'"),
        ({}, 1.2, "film of density 1.2 g/cm³ must have a composition"),
    ],
)
def test_material__refuses(composition, density, message):
    with pytest.raises(ConventionError, match=message):
        Material("film", composition, density)


@pytest.mark.parametrize(
    ("name", "nearest"), [("Epoxi", "epoxy"), ("au", "Au"), ("vacum", "vacuum")]
)
def test_find_material__names_the_nearest(name, nearest):
    with pytest.raises(ConventionError, match=f"got '{name}'; did you mean '{nearest}'"):
        find_material(name)


def test_find_element__says_when_nothing_is_near():
    with pytest.raises(ConventionError, match=r"got 'unobtainium'$"):
        find_element("unobtainium")


def test_elements__are_numbered_by_charge():
    numbers = {symbol: ELEMENTS[symbol].number for symbol in ("H", "C", "Cu", "Ag", "Au", "U")}
    assert numbers == {"H": 1, "C": 6, "Cu": 29, "Ag": 47, "Au": 79, "U": 92}


def test_elements__weights_grow_but_for_the_known_exceptions():
    pairs = itertools.pairwise(ELEMENTS.values())
    falling = {(a.symbol, b.symbol) for a, b in pairs if b.weight <= a.weight}
    assert falling == {("Ar", "K"), ("Co", "Ni"), ("Te", "I"), ("Th", "Pa")}


def test_elements__mean_ionisation_potentials_grow():
    values = [element.mean_ionisation_potential for element in ELEMENTS.values()]
    assert values == sorted(values)
    assert values[78] == pytest.approx(797, abs=1)


def test_elements__all_charge_is_screened():
    sums = [sum(a for a, _ in element.screening) for element in ELEMENTS.values()]
    assert [round(total, 12) for total in sums if total] == [1] * 91


def test_elements__potential_of_the_electrons_at_the_nucleus():
    """It follows Thomas and Fermi, corrected by Scott and Schwinger, smoothly from Z to Z."""
    ratios = {}
    for z, element in enumerate(ELEMENTS.values(), 1):
        found = z * sum(a * decay for a, decay in element.screening)
        ratios[z] = found / (1.794 * z ** (4 / 3) - z + 0.45 * z ** (2 / 3))
    known = [ratios[z] for z in range(11, 93) if z != 41]
    assert max(abs(b - a) for a, b in itertools.pairwise(known)) < 0.008
    assert ratios[6] == pytest.approx(1, abs=0.01)


def test_elements__hydrogen_is_that_of_schrodinger():
    (a, decay), (b, other) = ELEMENTS["H"].screening
    assert a * decay + b * other == pytest.approx(1, abs=0.005)  # ⟨1/r⟩
    assert 6 * (a / decay**2 + b / other**2) == pytest.approx(3, abs=0.01)  # ⟨r²⟩
