import numpy as np
import pytest

from fibdask.conventions import ConventionError
from fibdask.simulate.electrons._kernels import elastic as kernels
from fibdask.simulate.electrons.elastic import (
    BINS,
    ENERGIES_EV,
    SHIPPED,
    compute_elastic_table,
    elastic_table,
    incoherent_factor,
    mean_free_paths,
)
from fibdask.simulate.electrons.elements import ELEMENTS
from fibdask.simulate.electrons.materials import MATERIALS
from fibdask.simulate.electrons.mott import BOHR_NM, HARTREE_EV, partial_waves
from tests.simulate.naive_elastic import dirac_phase_shift

CASES = [("H", 100.0), ("C", 20e3), ("Ar", 1e3), ("Au", 50.0), ("Au", 2e3), ("U", 50e3)]
WEIGHTS = np.diff(np.linspace(0, 1, BINS + 1) ** 2)  # probabilities of the bins


def _integral(waves, low=-1.0):
    """Return ∫ dΩ dσ/dΩ over cosines from `low` to 1, in steps that resolve the forward peak."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    scale = 0.1 / waves.wave_number**2
    edges, step = np.linspace(0, np.log1p((1 - low) / scale), 60, retstep=True)
    x = scale * np.expm1(edges[:-1, np.newaxis] + step / 2 * (1 + nodes)).ravel()
    measure = np.pi * step * np.tile(weights, 59) * (x + scale)
    return measure @ waves.differential_cross_section(1 - x)


@pytest.mark.parametrize(("symbol", "energy"), CASES)
def test_partial_waves__conserve_electrons(symbol, energy):
    """The optical theorem: what is missing ahead is what is scattered."""
    waves = partial_waves(ELEMENTS[symbol], energy)
    forward = waves.amplitudes(np.ones(1))[0, 0]
    expected = 4 * np.pi * BOHR_NM / waves.wave_number * forward.imag
    assert _integral(waves) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("symbol", "energy"), [("C", 300.0), ("Au", 1e3), ("Ag", 20e3)])
@pytest.mark.parametrize("kappa", [-1, 1, -3, 10, -31])
def test_partial_waves__equal_a_general_integrator(symbol, energy, kappa):
    element = ELEMENTS[symbol]
    waves = partial_waves(element, energy, exchange=False)
    found = waves.shifts[1, kappa] if kappa > 0 else waves.shifts[0, -kappa - 1]
    expected = dirac_phase_shift(element, energy, kappa, 18 / waves.decays.min())
    assert (found - expected + np.pi / 2) % np.pi == pytest.approx(np.pi / 2, abs=3e-6)


@pytest.mark.interpreted
@pytest.mark.parametrize(("wave", "shift"), [(0.5, 1.0447), (1.0, 0.9057)])
def test_partial_waves__of_hydrogen_without_exchange_are_as_published(wave, shift):
    energy = wave**2 / 2 * HARTREE_EV
    found = partial_waves(ELEMENTS["H"], energy, exchange=False).shifts[0, 0]
    assert found == pytest.approx(shift, abs=2e-3)


@pytest.mark.parametrize("degrees", [0, 10, 60, 120, 180])
def test_partial_waves__approach_born_when_fast(degrees):
    """The second Born approximation of a spinning electron, by McKinley and Feshbach."""
    carbon, energy = ELEMENTS["C"], 500e3
    waves = partial_waves(carbon, energy, exchange=False)
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees / 2))
    momentum = 2 * waves.wave_number * sine
    born = BOHR_NM * (waves.strengths / (momentum**2 + waves.decays**2)).sum()
    speed = np.sqrt(1 - kernels.relativistic_mass(energy / HARTREE_EV) ** -2)
    coupling = np.pi * carbon.number / kernels.SPEED_OF_LIGHT * speed
    factor = 1 - (speed * sine) ** 2 + coupling * sine * (1 - sine)
    found = waves.differential_cross_section(np.array([cosine]))[0]
    assert found == pytest.approx(born**2 * factor, rel=0.006)


def test_partial_waves__exchange_attracts():
    shifts = [partial_waves(ELEMENTS["Si"], 1e3, exchange=on).shifts for on in (True, False)]
    count = min(each.shape[1] for each in shifts)
    assert (shifts[0][:, 5:count] > shifts[1][:, 5:count]).all()


def test_partial_waves__need_a_screening_function():
    with pytest.raises(ConventionError, match="no screening function is known of Nb"):
        partial_waves(ELEMENTS["Nb"], 1e3)


@pytest.mark.parametrize("model", ["mott", "browning"])
@pytest.mark.parametrize("symbol", SHIPPED)
def test_elastic_table__is_consistent(symbol, model):
    table = elastic_table(symbol, model=model)
    cosines = table.cosines.astype(np.float64)
    assert cosines.shape == (len(ENERGIES_EV), BINS)
    assert (np.diff(cosines) >= 0).all()
    assert np.abs(cosines).max() <= 1
    assert (table.transport_nm2 <= 2 * table.total_nm2).all()
    mean = table.total_nm2 * ((1 - cosines) @ WEIGHTS)
    np.testing.assert_allclose(mean, table.transport_nm2, rtol=2e-4)


@pytest.mark.parametrize("symbol", ["C", "Au"])
def test_elastic_table__sampled_gives_the_transport_cross_section(symbol):
    table = elastic_table(symbol)
    count = 100_000
    u = (np.arange(count) + np.random.default_rng(1).random(count)) / count
    drawn = table.cosines[:, (np.sqrt(1 - u) * BINS).astype(int)]
    found = table.total_nm2 * (1 - drawn.mean(axis=1, dtype=np.float64))
    np.testing.assert_allclose(found, table.transport_nm2, rtol=0.01)


@pytest.mark.parametrize(("symbol", "energy"), [("C", 20e3), ("Au", 2e3)])
def test_elastic_table__resolves_the_way_back(symbol, energy):
    node = np.abs(np.log(ENERGIES_EV / energy)).argmin()
    waves = partial_waves(ELEMENTS[symbol], ENERGIES_EV[node])
    back = 1 - _integral(waves, low=0.0) / _integral(waves)
    cosines = elastic_table(symbol).cosines[node]
    sideways = np.interp(0, cosines, (np.arange(BINS) + 0.5) / BINS)
    assert sideways**2 == pytest.approx(back, rel=0.02)


def test_elastic_table__as_shipped_can_be_computed_again():
    nodes = [6, 40]
    computed, shipped = compute_elastic_table("Cu", ENERGIES_EV[nodes]), elastic_table("Cu")
    factor = incoherent_factor("Cu")
    np.testing.assert_allclose(factor * computed.total_nm2, shipped.total_nm2[nodes], rtol=1e-6)
    np.testing.assert_allclose(computed.cosines, shipped.cosines[nodes], atol=2e-3)
    away = [(1 - table) @ WEIGHTS for table in (computed.cosines, shipped.cosines[nodes])]
    np.testing.assert_allclose(*away, rtol=1e-4)


def test_elastic_table__of_another_element_is_between_its_neighbours():
    light, table, heavy = (elastic_table(s, incoherent=False) for s in ("Ti", "Fe", "Cu"))
    at = ENERGIES_EV > 2000
    assert (light.transport_nm2 < table.transport_nm2)[at].all()
    assert (table.transport_nm2 < heavy.transport_nm2)[at].all()


def test_elastic_table__electrons_of_the_atom_add_to_mott_only():
    with_them, without = elastic_table("C"), elastic_table("C", incoherent=False)
    np.testing.assert_allclose(with_them.total_nm2 / without.total_nm2, 7 / 6)
    np.testing.assert_allclose(with_them.transport_nm2 / without.transport_nm2, 7 / 6)
    as_published = elastic_table("C", model="browning", incoherent=False)
    assert (as_published.total_nm2 == elastic_table("C", model="browning").total_nm2).all()


def test_elastic_table__cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        elastic_table("Au").total_nm2[0] = 1


def test_elastic_table__refuses_unknown_models_and_elements():
    with pytest.raises(ConventionError, match="one of mott, browning; got 'rutherford'"):
        elastic_table("Au", model="rutherford")
    with pytest.raises(ConventionError, match="got 'Ax'"):
        elastic_table("Ax", model="browning")


@pytest.mark.parametrize("energy", [49.9, 51_201.0, np.nan])
def test_cross_sections__refuse_energies_outside(energy):
    with pytest.raises(ConventionError, match=f"must be in 50 … 51200 eV; got {energy:g} eV"):
        elastic_table("Au").cross_sections(np.array([1000.0, energy]))


def test_cross_sections__are_exact_at_the_nodes():
    table = elastic_table("Ag")
    found = table.cross_sections(ENERGIES_EV)
    np.testing.assert_allclose(found, [table.total_nm2, table.transport_nm2], rtol=1e-12)


# By an independent program, in nm at 1, 4 and 20 keV.
BROWNING = {
    "Au": ((0.463, 0.773, 1.967), (2.284, 9.545, 101.463)),
    "Si": ((1.188, 3.724, 16.542), (12.104, 123.331, 2284.877)),
    "epoxy": ((2.977, 11.058, 53.462), (39.600, 463.406, 9030.428)),
}


@pytest.mark.parametrize("name", BROWNING)
def test_mean_free_paths__of_browning_equal_those_of_another_program(name):
    found = mean_free_paths(MATERIALS[name], np.array([1e3, 4e3, 20e3]), model="browning")
    np.testing.assert_allclose(found, BROWNING[name], rtol=2e-3)


# Transport, in nm at 1, 2 and 4 keV: of NIST SRD 64, and of Czyżewski's tables.
PUBLISHED = {
    "Au": ((2.442, 4.703, 10.748), (2.346, 4.605, 10.554)),
    "Ag": ((3.246, 7.589, 19.607), (3.434, 7.924, 20.345)),
    "Cu": ((3.615, 9.308, 25.948), (3.709, 9.474, 26.343)),
    "Si": ((14.938, 43.158, 132.002), (15.351, 44.091, 135.751)),
    "C": ((22.671, 74.651, 248.502), (23.476, 76.906, 261.051)),
    "epoxy": ((42.732, 139.775, 464.585), (44.175, 143.785, 486.214)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_mean_free_paths__agree_with_published_ones(name):
    energies = np.array([1e3, 2e3, 4e3])
    found = mean_free_paths(MATERIALS[name], energies, incoherent=False)[1]
    assert np.abs(found / np.array(PUBLISHED[name]) - 1).min(axis=0).max() < 0.03


def test_mean_free_paths__are_infinite_in_a_vacuum():
    assert np.isinf(mean_free_paths(MATERIALS["vacuum"], np.array([1e3]))).all()
