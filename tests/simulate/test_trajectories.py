"""Paths are those of the electrons that are counted elsewhere, from the surface to their end."""

import numpy as np
import pytest

from fibdask.conventions import ConventionError
from fibdask.simulate import backscattered_electrons
from fibdask.simulate.electrons.materials import find_material
from fibdask.simulate.electrons.trajectories import electron_trajectories
from fibdask.simulate.electrons.transport import stopping_power

ELECTRONS = 200


@pytest.fixture(scope="module")
def gold():
    """Paths in gold at 2 keV."""
    return electron_trajectories("Au", beam_energy_kev=2, electrons=ELECTRONS, seed=5)


def last(paths, name):
    """Return the last value of each path."""
    ends = paths[name].notnull().sum("event") - 1
    return paths[name].isel(event=ends).values


def test_electron_trajectories__are_of_the_electrons_that_are_counted(gold):
    exits = backscattered_electrons("Au", beam_energy_kev=2, electrons=ELECTRONS, seed=5)
    np.testing.assert_array_equal(np.flatnonzero(gold.backscattered), exits.electron)
    out = gold.sel(electron=gold.backscattered)
    np.testing.assert_allclose(last(out, "energy"), exits.energy, rtol=1e-5)
    for axis in ("y", "x"):
        np.testing.assert_allclose(last(out, axis), exits[axis], atol=1e-4)
    np.testing.assert_allclose(out.z.max("event"), exits.depth, rtol=1e-5)


def test_electron_trajectories__begin_at_the_origin_with_the_energy_of_the_beam(gold):
    first = gold.isel(event=0)
    assert (first.energy == 2000).all()
    for axis in ("z", "y", "x"):
        np.testing.assert_allclose(first[axis], 0, atol=1e-5)


def test_electron_trajectories__end_at_the_surface_or_without_energy(gold):
    out = gold.backscattered.values
    np.testing.assert_allclose(last(gold, "z")[out], 0, atol=1e-5)
    np.testing.assert_allclose(last(gold, "energy")[~out], 50)
    assert (last(gold, "z")[~out] > 0).all()


def test_electron_trajectories__lose_energy_by_the_stopping_power(gold):
    steps = np.sqrt(sum(gold[axis].diff("event") ** 2 for axis in ("z", "y", "x"))).values
    energy = gold.energy.values
    loss = -np.diff(energy, axis=1)
    mean = (energy[:, 1:] + energy[:, :-1]) / 2
    early = (energy[:, 1:] > 1000) & (steps > 0.2)
    expected = stopping_power(find_material("Au"), mean[early])
    np.testing.assert_allclose(loss[early] / steps[early], expected, rtol=0.02)


def test_electron_trajectories__depend_on_the_seed_alone(gold):
    fewer = electron_trajectories("Au", beam_energy_kev=2, electrons=20, seed=5)
    events = fewer.sizes["event"]
    assert fewer.equals(gold.isel(electron=slice(20), event=slice(events)))
    other = electron_trajectories("Au", beam_energy_kev=2, electrons=20, seed=6)
    assert not np.array_equal(other.z[:, 1], fewer.z[:, 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"material": "vacuum"}, "material must scatter electrons; vacuum does not"),
        ({"material": "gold"}, "material must be one of .*; got 'gold'"),
        ({"electrons": 0}, "electrons must be a whole number from 1 to 10,000; got 0"),
        ({"beam_energy_kev": 0.01}, "cut-off and beam must be in .* 10 eV"),
        ({"seed": -1}, "seed must be a whole number >= 0; got -1"),
    ],
)
def test_electron_trajectories__refuses(changes, message):
    arguments = {"material": "Au", "beam_energy_kev": 2, "electrons": 5, "seed": 0} | changes
    with pytest.raises(ConventionError, match=message):
        electron_trajectories(arguments.pop("material"), **arguments)
