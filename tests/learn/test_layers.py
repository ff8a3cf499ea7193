"""The network of layered samples: films to learn from, training, and thicknesses by it."""

import json

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("torch")

import torch

import fibdask
from fibdask.conventions import ConventionError, RecipeError
from fibdask.learn.folder import CARD, TEST_PAIR, USED_WITH
from fibdask.learn.layers.making import JudgedFilm
from fibdask.learn.layers.networks import LayerArchitecture
from fibdask.learn.layers.samples import ONE_SIGMA, FilmBatch, Films, FilmSample
from fibdask.learn.layers.weights import LoadedLayers
from fibdask.microtomography.films import shipped_films
from tests.microtomography.helpers import patches

FILMS = Films(30, 16, (0.01, 0.03), 2.0, seed=3)
RECIPE = {
    "films": {"count": 4, "side": 16, "unseen_seed": 5},
    "network": {"width": 2, "levels": 2, "smoothing": 2.0},
    "training": {"steps": 3, "batch": 2},
    "output": {"name": "tiny"},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny"
    return fibdask.load_model(fibdask.train(RECIPE, output_path=path))


def network(**fields):
    torch.manual_seed(1)
    made = LayerArchitecture(width=2, levels=2, **fields).build()
    torch.nn.init.normal_(made.last.weight, std=0.5)
    return made.eval()


def test_films__are_made_of_their_number_alone():
    first, again, other = FILMS[4], FILMS[4], FILMS[5]
    np.testing.assert_array_equal(first.guesses, again.guesses)
    assert first.truth.shape == (2, 16, 16)
    assert not np.array_equal(first.truth, other.truth)


def test_films__are_kept_and_turned():
    few = Films(1, 16, (0.01, 0.03), 2.0, seed=3)
    only = few.made(0)
    seen = [few[number] for number in range(12)]
    assert {float(film.truth.sum()) for film in seen} == {float(only.truth.sum())}
    assert len({film.truth.tobytes() for film in seen}) > 4
    for film in seen:  # what is shown is turned with the truth
        apart = np.abs(film.guesses[:, 2] - film.truth).sum()
        assert apart == pytest.approx(np.abs(only.guesses[:, 2] - only.truth).sum(), rel=1e-4)


def test_films__cover_reliefs_and_models():
    drawn = [(film.relief, film.forward) for film in map(FILMS.made, range(24))]
    assert {relief for relief, _ in drawn} == {"smooth", "terraced", "sharp"}
    assert {forward for _, forward in drawn} == {"report2022", "analytic", "monte_carlo"}


def test_redrawn__differs_by_the_error_that_a_table_states():
    table, rng = shipped_films(), np.random.default_rng(0)
    films = np.array([[30.0, 90, 140], [3, 8, 1]])
    energies = np.array([6.0, 17, 30])
    own = table.backscatter(films, energies)
    others = [table.redrawn(rng).backscatter(films, energies) / own - 1 for _ in range(12)]
    assert np.std(others) == pytest.approx(table.fit.error, rel=0.5)


def test_network__says_at_first_what_the_smoothed_likelihood_does():
    guesses = torch.from_numpy(FILMS[1].guesses)
    found, _ = LayerArchitecture(width=2).build().eval()(guesses)
    torch.testing.assert_close(found, guesses[:, 2])


def test_network__sees_no_farther_than_its_halo():
    own = network()
    halo = own.architecture.halo
    guesses = torch.rand(1, 4, 8 * halo, 8 * halo) + 0.1
    changed = guesses.clone()
    changed[..., 4 * halo, 4 * halo] += 1
    apart = (own(changed)[0] != own(guesses)[0])[0].nonzero() - 4 * halo
    assert 1 < apart.abs().max() <= halo


def test_predict__leaves_pixels_without_data_unknown():
    guesses = FILMS[1].guesses.copy()[..., :13]
    guesses[:, :, 3, 4] = np.nan
    found = LoadedLayers(network(), 1.0).predict(guesses)
    assert found.shape == (2, 2, 16, 13)
    assert np.isnan(found).sum() == np.isnan(found[:, :, 3, 4]).sum() == 4


def test_loss__draws_errors_to_where_two_thirds_of_pixels_with_a_layer_lie_within():
    rng = np.random.default_rng(2)
    truth = rng.random((1, 4, 200, 200)).astype(np.float32)
    truth[..., :100] = 0  # no layer, of which nothing is off
    sample = FilmSample(np.zeros((1, 4, 4, 4), np.float32), truth[0], "smooth", "analytic", 0.02)
    batch = FilmBatch.of([sample], torch.device("cpu"))
    off = 0.01 * rng.standard_t(3, size=truth[0].shape).astype(np.float32) * (truth[0] > 0)
    right = float(np.quantile(np.abs(off[truth[0] > 0]), ONE_SIGMA))
    slopes = []
    for scale in (0.9, 1.0, 1.1):
        error = torch.full((1,), scale * right, requires_grad=True)
        batch.loss(lambda _, e=error: (batch.truth + torch.from_numpy(off), e)).backward()
        slopes.append(float(error.grad))
    assert slopes[0] < -5 * abs(slopes[1]) < 0 < 5 * abs(slopes[1]) < slopes[2]


def test_loss__draws_thicknesses_to_where_they_are_right():
    truth = torch.rand(1, 8, 8)
    batch, error = FilmBatch(torch.zeros(1, 4, 8, 8), truth), torch.full((1,), 0.1)
    slopes = []
    for off in (-0.01, 0.0, 0.01):
        found = (truth + off).requires_grad_()
        batch.loss(lambda _, f=found: (f, error)).backward()
        slopes.append(float(found.grad.sum()))
    assert slopes[0] < -1 < 0 == slopes[1] < 1 < slopes[2]


def test_judged__counts_pixels_with_a_layer():
    sample = FILMS[2]
    said = JudgedFilm(sample, sample.truth + np.float32(0.02), np.full_like(sample.truth, 0.01))
    np.testing.assert_allclose(said.ratios(), 2, rtol=1e-4)
    assert len(said.ratios()) == (sample.truth > 0).sum()
    np.testing.assert_allclose(said.errors()["network"], [3.0, 0.3], rtol=1e-4)


def test_train__makes_a_model_whose_card_tells_its_errors(model):
    card = model.card
    assert (card["task"], card["noise"]) == ("layers", [0.004, 0.06])
    rows = card["errors"]["conditions"]
    assert len(rows) == 12
    assert all(row["smoothed"][0] > 0 for row in rows)
    assert card["temperature"] > 0
    assert "Mean errors in nm" in (model.folder / "report.html").read_text()


def test_estimate_layers__by_a_network_does_not_depend_on_chunks(model):
    signals = fibdask.layer_signals(patches(9, 5, (30, 35)), noise=0.02, seed=1)
    whole, cut = (
        fibdask.estimate_layers(
            s.compute().chunk(chunks), method="network", model=str(model.folder)
        ).compute(scheduler="sync")
        for s, chunks in ((signals, {}), (signals, {"y": 11, "x": 8}))
    )
    xr.testing.assert_equal(whole, cut)
    assert float(whole["misfit"].mean()) == pytest.approx(1, abs=0.3)
    assert (whole["thickness_error"] > 0).all()
    step = json.loads(whole.attrs["provenance"][-1])["parameters"]
    assert (step["model"], step["device"]) == ("tiny", "cpu")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"noise": 0.2}, "trained for noise of 0.004 to 0.06; got 0.2"),
        ({"smoothing": 5}, "smoothing goes with method 'likelihood'"),
        ({"model": "gold-windows"}, "is for windows, not for layered samples"),
        ({"method": "likelihood"}, "model goes with method 'network' only"),
    ],
)
def test_estimate_layers__refuses_what_a_network_does_not_know(model, options, told):
    signals = fibdask.layer_signals(patches(1, shape=(2, 2)))
    given = {"method": "network", "model": str(model.folder)} | options
    with pytest.raises(ConventionError, match=told):
        fibdask.estimate_layers(signals, **given)


def test_load_model__refuses_a_network_of_layers_that_says_something_else(model, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in model.folder.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    pair = load_file(tmp_path / TEST_PAIR)
    save_file(pair | {"thickness": pair["thickness"] + 0.01}, tmp_path / TEST_PAIR)
    card = json.loads((tmp_path / CARD).read_text())
    card |= {"temperature": 2.0, USED_WITH: None}  # of no model that was loaded before
    (tmp_path / CARD).write_text(json.dumps(card))
    with pytest.raises(ConventionError, match="does not predict what it should"):
        fibdask.load_model(tmp_path)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"unseen_seed": 0}, "seed and unseen_seed must differ"),
        ({"side": 17}, "side must be a multiple of the network's stride, 2"),
        ({"noise": [0.05, 0.01]}, "noise must be the least and the most"),
    ],
)
def test_train__refuses_films_that_cannot_teach(changed, told, tmp_path):
    recipe = RECIPE | {"films": RECIPE["films"] | changed}
    with pytest.raises(RecipeError, match=told):
        fibdask.train(recipe, output_path=tmp_path / "tiny")
