"""How images came from what is seen in them, and samples that are simulated like them."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from scipy.ndimage import gaussian_filter

from fibdask import ConventionError, levelled_wave
from fibdask.learn.adaptation import simulation
from fibdask.learn.adaptation.explaining import Explanation, left_by_detector
from fibdask.learn.adaptation.seen import SIMULATORS, Simulator, Structure, simulators
from fibdask.learn.adaptation.simulation import SimulatedSamples
from fibdask.learn.adaptation.target import Target
from fibdask.learn.models import Model
from fibdask.learn.networks import Architecture
from fibdask.pieces.windows import SliceWindow
from tests.learn.test_weights import NEEDED

WINDOW = SliceWindow(2, 2)
CARD = NEEDED | {"materials": {"pore": "epoxy", "solid": "Au"}, "voltages": [1.0, 2.0]}
MODEL = Model("", CARD)
FAST = Simulator("analytic", "tld")
DARK, RISE, NOISE = 0.1, 0.8, 0.05


def as_seen(shift=0):
    """Return a wave in eight slices of four planes."""
    phase = levelled_wave(
        (32, 80, 80), voxel_size=2.5, ligament_size=35, solid_fraction=0.4, seed=1
    ).values.astype(bool)
    return Structure(np.roll(phase, shift, 0), 2.5 * np.arange(32), np.arange(0, 32, 4), 2.5)


def target(seen, simulator=FAST, *, blur=0.0):
    """Return images of a structure, of a known line, blur and noise."""
    signal = gaussian_filter(seen.images(MODEL, simulator), (0, 0, blur, blur))
    noise = NOISE * np.random.default_rng(0).standard_normal(signal.shape)
    images = (DARK + RISE * signal + noise).astype(np.float32)
    return Target(images, seen.z[seen.faces], WINDOW, seen.pixel)


@pytest.fixture(scope="module")
def seen():
    return as_seen()


@pytest.fixture(scope="module")
def explained(seen):
    signals = {one: seen.images(MODEL, one) for one in SIMULATORS[1:]}
    return Explanation.of(MODEL, target(seen), seen, signals)


def test_structure__is_seen_between_slices():
    torch.manual_seed(0)
    folded = Architecture(2, above=2, below=2, widths=(8, 8, 8), detail=6).build().fold()
    images = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)
    shown = Target(images, np.array([0.0, 10.0, 15.0]), WINDOW, 2.5)
    found = Structure.seen(folded, shown, 1.0)
    np.testing.assert_allclose(found.z, [0, 2.5, 5, 7.5, 10, 12.5, 15])
    np.testing.assert_array_equal(found.faces, [0, 4, 6])
    assert found.phase.shape == (7, 32, 32)


def test_structure__tells_how_deep_solid_lies():
    phase = np.zeros((6, 1, 2), bool)
    phase[3, 0, 0] = True
    found = Structure(phase, 2.5 * np.arange(6), np.array([0, 2, 4]), 2.5)
    np.testing.assert_array_equal(found.depth(100.0)[:, 0, 0], [7.5, 2.5, np.nan])
    # Nothing within reach is known where the structure goes on for as long.
    np.testing.assert_array_equal(found.depth(6.0)[:, 0, 1], [np.inf, np.inf, np.nan])


def test_explanation__finds_the_line_of_grey_values(explained):
    for look in explained.looks:
        assert look.rise == pytest.approx(RISE, rel=0.02)
        assert look.dark == pytest.approx(DARK, abs=0.01)
        assert look.blur == 0
        np.testing.assert_allclose(look.variance, NOISE**2, rtol=0.1)
        assert abs(look.across).max() < NOISE / 4


def test_explanation__finds_blur(seen):
    found = Explanation.of(MODEL, target(seen, blur=1.2), seen, {FAST: seen.images(MODEL, FAST)})
    assert all(abs(look.blur - 1.2) <= 0.3 for look in found.looks)


def test_explanation__finds_the_detector(seen, explained):
    assert explained.simulator == FAST
    low_loss = Simulator("analytic", "icd")
    signals = {one: seen.images(MODEL, one) for one in (FAST, low_loss)}
    found = Explanation.of(MODEL, target(seen, low_loss), seen, signals)
    assert found.simulator == low_loss


def test_left_by_detector__is_least_for_that_of_the_images(seen):
    signals = {one: seen.images(MODEL, one) for one in SIMULATORS[1:]}
    for simulator in SIMULATORS[1:]:
        left = left_by_detector(MODEL, target(seen, simulator), seen, signals)
        assert min(left, key=left.get) == simulator.detector
        assert set(left) == {"tld", "icd"}


def test_explanation__leaves_more_of_what_is_seen_wrongly(explained, seen):
    wrong = as_seen(shift=1)
    found = Explanation.of(MODEL, target(seen), wrong, {FAST: wrong.images(MODEL, FAST)})
    assert (found.unexplained > 1.1 * explained.unexplained).all()


def test_explanation__leaves_more_of_grey_values_that_are_bent(seen, explained):
    straight = target(seen)
    for power in (0.6, 1.7):
        bent = replace(straight, images=straight.images.clip(0) ** power)
        found = Explanation.of(MODEL, bent, seen, {FAST: seen.images(MODEL, FAST)})
        assert found.rest > 1.02 * explained.rest


def test_explanation__finds_profiles_of_brightness(seen):
    striped = target(seen)
    stripes = 0.1 * np.random.default_rng(1).standard_normal((8, 80)).astype(np.float32)
    striped = replace(striped, images=striped.images + stripes[:, None])
    found = Explanation.of(MODEL, striped, seen, {FAST: seen.images(MODEL, FAST)})
    across = found.looks[0].across
    known = across != 0
    assert np.corrcoef(across[known], stripes[known])[0, 1] > 0.97
    assert across[known].std() < stripes.std()  # noise is taken off


@pytest.mark.parametrize("solid", [False, True])
def test_explanation__of_one_phase_alone_explains_nothing(seen, solid):
    blank = replace(seen, phase=np.full_like(seen.phase, solid))
    shown = target(seen)
    found = Explanation.of(MODEL, shown, blank, {FAST: blank.images(MODEL, FAST)})
    np.testing.assert_allclose(found.unexplained, 1, rtol=0.05)


def test_look__noise_is_that_of_the_images(explained):
    look = explained.looks[0]
    rng = np.random.default_rng(0)
    grey = look.noisy(np.full((200, 200), 0.5, np.float32), 1.0, rng)
    assert grey.mean() == pytest.approx(0.5, abs=0.002)
    assert grey.std() == pytest.approx(NOISE, rel=0.1)


def test_simulators__refuses_materials_that_none_knows(seen):
    with pytest.raises(ConventionError, match="cannot be simulated"):
        simulators(Model("", NEEDED), seen)


def test_simulators__of_a_model_of_several_materials_are_of_each(seen):
    several = Model("", CARD | {"other_materials": [{"pore": "epoxy", "solid": "Ag"}]})
    found = simulators(several, seen)
    assert {one.materials for one in found} == {("epoxy", "Au"), ("epoxy", "Ag")}
    silver = Simulator("learned", "tld", ("epoxy", "Ag"))
    assert Explanation.of(several, target(seen, silver), seen, found).simulator == silver
    assert {one.materials for one in simulators(MODEL, seen)} == {None}


def test_wrong_voxels__are_none_of_who_knows_the_truth(seen, explained, monkeypatch):
    samples = SimulatedSamples.like(
        MODEL, seen, explained, whole=1.0, window=WINDOW, crop=32, planes=2, seed=2
    )
    for said, wrong in ((lambda face: face.truth, 0), (lambda face: 1 - face.truth, 100)):
        monkeypatch.setattr(simulation, "probability", lambda _, face, *__, said=said: said(face))
        assert simulation.wrong_voxels(None, samples, 1.0) == wrong


def test_simulated_samples__show_their_truth(seen, explained):
    samples = SimulatedSamples.like(
        MODEL, seen, explained, window=WINDOW, crop=32, planes=2, seed=2
    )
    for number in range(4):
        sample, again = samples[number], samples[number]
        np.testing.assert_array_equal(sample.images, again.images)
        solid = sample.truth[0] > 0
        here = sample.images[0, WINDOW.above - 1]
        if sample.present[0]:
            assert here[solid].mean() > here[~solid].mean() + 0.2
    assert sample.images.shape == (2, 4, 32, 32)
    assert 0 <= sample.offsets[1] < 10
