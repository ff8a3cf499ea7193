"""What networks are shown of films, and what that says of them."""

import numpy as np
import pytest

import fibdask
from fibdask.microtomography.dictionary import Dictionary, Observed
from fibdask.microtomography.forward import find_forward
from fibdask.microtomography.guesses import guessed
from fibdask.microtomography.likelihood import most_likely
from fibdask.microtomography.signals import BEAM_ENERGIES
from fibdask.microtomography.smoothing import smoothing_halo
from tests.microtomography.helpers import LAYERS, patches, thickness

NOISE = 0.01


@pytest.fixture(scope="module")
def dictionary():
    return Dictionary(find_forward("analytic", LAYERS, "Si"), BEAM_ENERGIES)


def signals_of(film, noise=NOISE):
    return fibdask.layer_signals(film, forward="analytic", noise=noise, seed=4).values


def test_guessed__a_part_is_that_of_the_whole(dictionary):
    signals = signals_of(patches(7, 5, (30, 30)))
    whole = guessed(dictionary, signals, NOISE, 0.5, 2.0)
    halo = smoothing_halo(2.0)
    rows, columns = slice(halo + 2, 20), slice(halo, 19)
    read = signals[:, 2:, :]
    inside = slice(rows.start - 2, rows.stop - 2), columns
    part = guessed(dictionary, read, NOISE, 0.5, 2.0, inside)
    np.testing.assert_array_equal(part, whole[:, :, rows, columns])


def test_most_likely__its_curvature_is_the_error_where_likelihoods_are_gaussian(dictionary):
    film = thickness(np.full((2, 12, 12), 1.0) * np.array([70.0, 8.0])[:, None, None])
    seen = Observed.of(dictionary, signals_of(film, 0.004), 0.004)
    curved, walked = (
        most_likely(dictionary, seen, 0.0, errors=errors) for errors in ("curvature", "likelihood")
    )
    np.testing.assert_array_equal(curved.thickness, walked.thickness)
    np.testing.assert_allclose(curved.errors, walked.errors, rtol=0.1)


def test_most_likely__its_curvature_knows_that_nothing_is_seen_below_a_thick_layer(dictionary):
    few = Dictionary(dictionary.forward, (2.0, 2.5))
    film = thickness(np.array([[[150.0]], [[12.0]]]))
    signals = fibdask.layer_signals(film, beam_energy_kev=[2.0, 2.5], forward="analytic").values
    found = most_likely(few, Observed.of(few, signals, NOISE), 0.0, errors="curvature")
    assert found.errors[1, 0] > 15
