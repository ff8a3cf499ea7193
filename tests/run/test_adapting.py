"""Models adapted to a stack: chosen, written, refused, and taken up again."""

import json
from shutil import copytree

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from fibdask import (
    ConventionError,
    FibdaskWarning,
    RecipeError,
    adapt_model,
    load_model,
    save_stack,
    segment_phases,
    train,
)
from fibdask.conventions import build_stack
from fibdask.learn.adaptation import candidates, seen, simulation
from fibdask.learn.adaptation.target import Target
from fibdask.learn.networks import Architecture
from fibdask.learn.validation import Condition, Windows
from fibdask.learn.weights import write_model
from fibdask.run.cli import main
from fibdask.run.training import adapting
from tests.learn.helpers import small_stack
from tests.learn.test_weights import NEEDED

TINY = Architecture(2, above=2, below=2, widths=(4, 4, 4), detail=6)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(0)
    sample = Windows(small_stack(), TINY, Condition((1.0, 2.0), 50.0), 0)[3]
    write_model(folder, TINY.build(), NEEDED, sample)
    return folder


def images(slices=9, pixel=2.5, voltages=(1.0, 2.0), size=64):
    rng = np.random.default_rng(3)
    intensity = rng.integers(0, 256, (len(voltages), slices, size, size), dtype=np.uint8)
    return build_stack(
        {"intensity": intensity},
        z=10.0 * np.arange(slices),
        pixel_size=(pixel, pixel),
        nominal_thickness=10.0,
        voltage=np.array(voltages),
    )


@pytest.fixture
def clearly(monkeypatch):
    """Let a candidate score clearly better than the parent, whatever it says."""
    plain = candidates.Fitting.candidates

    def better(self):
        found = list(plain(self))
        object.__setattr__(found[-1].score, "total", 0.1 * found[0].score.total)
        return found

    monkeypatch.setattr(candidates.Fitting, "candidates", better)


def test_adapt_model__writes_a_model_with_its_parent(model, tmp_path, clearly):
    path = adapt_model(model, images(), path=tmp_path / "fitted")
    adapted = load_model(path)
    told = adapted.card["adapted"]
    assert told["parent"] == {"name": "tiny", "fingerprint": load_model(model).fingerprint}
    assert told["chosen"].startswith("contrast 1.7")
    assert len(adapted.card["grey_map"]) == 2
    assert adapted.fingerprint != load_model(model).fingerprint
    page = (path / "report.html").read_text()
    assert "(chosen)" in page
    stack = segment_phases(images(), method="network", model=str(path)).compute()
    assert "adapted" in stack.attrs["provenance"][-1]


def test_info__tells_what_a_model_was_adapted_from(model, tmp_path, clearly, capsys):
    path = adapt_model(model, images(), path=tmp_path / "fitted")
    main(["info", str(path)])
    assert "adapted from tiny without labels (contrast 1.7" in capsys.readouterr().out


def test_adapt_model__returns_the_parent_where_nothing_is_better(model, tmp_path, monkeypatch):
    monkeypatch.setattr(adapting, "_CLEAR", 0.99)
    assert adapt_model(model, images(), path=tmp_path / "fitted") == model
    assert "the given model stays" in (tmp_path / "fitted/report.html").read_text()
    assert json.loads((tmp_path / "fitted/adaptation.json").read_text())["chosen"] == "parent"
    with pytest.raises(ConventionError, match="but no model of it: the given one stays"):
        load_model(tmp_path / "fitted")


def test_adapt_model__is_done_once(model, tmp_path, clearly, monkeypatch):
    path = adapt_model(model, images(), path=tmp_path / "fitted")
    monkeypatch.setattr(candidates.Fitting, "candidates", None)
    assert adapt_model(model, images(), path=tmp_path / "fitted") == path
    with pytest.raises(ConventionError, match="holds another adaptation"):
        adapt_model(model, images(slices=10), path=tmp_path / "fitted")


def test_adapt_model__goes_on_where_its_page_was_interrupted(model, tmp_path, clearly, monkeypatch):
    def stop(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(adapting, "write_adaptation_report", stop)
        with pytest.raises(KeyboardInterrupt):
            adapt_model(model, images(), path=tmp_path / "fitted")
    with pytest.raises(ConventionError, match="holds another adaptation"):
        adapt_model(model, images(slices=10), path=tmp_path / "fitted")
    path = adapt_model(model, images(), path=tmp_path / "fitted")
    assert json.loads((path / "adaptation.json").read_text())["chosen"] != "parent"
    assert (path / "report.html").is_file()
    (tmp_path / "file").touch()
    with pytest.raises(ConventionError, match="file exists and is not the folder of"):
        adapt_model(model, images(), path=tmp_path / "file")


def test_adapt_model__trains_itself_and_goes_on_where_it_was(model, tmp_path, clearly):
    options = {"method": "self_training", "steps": 3, "seed": 1}
    path = adapt_model(model, images(), path=tmp_path / "fitted", **options)
    assert load_model(path).card["adapted"]["chosen"].endswith("self-trained")
    (path / "adaptation.json").unlink()
    for name in ("card.json", "weights.safetensors", "test_pair.safetensors", "report.html"):
        (path / name).unlink()
    again = adapt_model(model, images(), path=path, **options)
    assert load_model(again).card["adapted"]["chosen"].endswith("self-trained")


@pytest.fixture
def imaged(tmp_path, model, monkeypatch):
    """Return a model whose images are simulated, of which few candidates are made."""
    monkeypatch.setattr(seen, "SIMULATORS", seen.SIMULATORS[1:2])
    monkeypatch.setattr(simulation, "_TESTED", 2)
    monkeypatch.setattr(candidates, "SHARES", ())
    monkeypatch.setattr(candidates, "EXPONENTS", ())
    monkeypatch.setattr(simulation, "_VOLUMES", 1)
    copy = tmp_path / "imaged"
    copytree(model, copy)
    card = json.loads((copy / "card.json").read_text())
    card |= {"materials": {"pore": "epoxy", "solid": "Au"}}
    (copy / "card.json").write_text(json.dumps(card))
    return copy


def test_adapt_model__learns_from_simulated_images_and_goes_on(imaged, tmp_path, clearly):
    options = {"method": "simulation", "steps": 4, "seed": 1}
    path = adapt_model(imaged, images(), path=tmp_path / "fitted", **options)
    told = load_model(path).card
    assert told["adapted"]["chosen"].endswith("simulated 2")
    assert 0 < told["adapted"]["candidates"]["parent"]["tested"] < 100
    assert told["adapted"]["images"]["model"] == "analytic"
    (path / "adaptation.json").unlink()
    for name in ("card.json", "weights.safetensors", "test_pair.safetensors", "report.html"):
        (path / name).unlink()
    again = adapt_model(imaged, images(), path=path, **options)
    assert load_model(again).card["sha256"] == told["sha256"]


def test_adapt_model__learns_from_translated_images(imaged, tmp_path, clearly, monkeypatch):
    apart = iter([0.2, 0.1])
    monkeypatch.setattr(candidates, "_apart", lambda *_: next(apart))
    options = {"method": "translation", "steps": 3, "seed": 1}
    path = adapt_model(imaged, images(), path=tmp_path / "fitted", **options)
    told = load_model(path).card["adapted"]
    assert told["chosen"] == "translation"
    assert told["parent"]["fingerprint"] == load_model(imaged).fingerprint


def test_adapt_model__warns_of_a_translation_that_is_none(imaged, tmp_path, monkeypatch):
    apart = iter([0.1, 0.2])
    monkeypatch.setattr(candidates, "_apart", lambda *_: next(apart))
    with pytest.warns(FibdaskWarning, match="by 0.2 instead of 0.1 of their range"):
        adapt_model(imaged, images(), method="translation", steps=1, path=tmp_path / "fitted")
    record = json.loads((tmp_path / "fitted/adaptation.json").read_text())
    assert "translation" not in record["candidates"]


def test_adapt_model__refuses_to_learn_from_what_is_not_simulated(model, tmp_path):
    with pytest.raises(ConventionError, match=r"tiny is for cannot be simulated: .* got C"):
        adapt_model(model, images(), method="simulation", steps=1, path=tmp_path / "fitted")


def test_adapt_model__refuses_to_translate_what_is_not_simulated(model, tmp_path):
    with pytest.raises(ConventionError, match=r"learnt from cannot be simulated: .* got C"):
        adapt_model(model, images(), method="translation", steps=1, path=tmp_path / "fitted")


@pytest.mark.parametrize(
    ("stack", "rule"),
    [
        (lambda: images(pixel=8.0), r"was trained on pixels of 2 to 3 nm; .* 8 nm along y"),
        (lambda: images(voltages=(1.0,)), "by what its voltages agree on, 1, 2 kV; .* has 1"),
        (lambda: images(slices=3), "is shown 4 slices at once, .* the stack has 3"),
        (
            lambda: images(size=40),
            "at least 64 pixels along y that every slice covers; images have 40",
        ),
        (lambda: images() * 0 + 7, "must differ in brightness"),
    ],
)
def test_adapt_model__refuses_what_it_cannot_be_fitted_to(model, tmp_path, stack, rule):
    with pytest.raises(ConventionError, match=rule):
        adapt_model(model, stack(), path=tmp_path / "fitted")
    assert not (tmp_path / "fitted").exists()


def test_target__of_a_tilted_beam_is_that_of_slices_moved_by_hand(model):
    steep = float(np.rad2deg(np.arctan(0.5)))  # two pixels of 2.5 nm for each slice of 10 nm
    stack, loaded = images(size=96), load_model(model)
    made = Target.of(loaded, stack, steep)
    moved = stack.isel(y=slice(8, 88)).copy(deep=True)
    for k, rows in enumerate(range(0, 18, 2)):
        moved["intensity"][:, k] = stack["intensity"].values[:, k, rows : rows + 80]
    expected = Target.of(loaded, moved)
    ends = np.ptp(made.images), np.ptp(expected.images)  # grey values are those of whole images
    np.testing.assert_allclose(made.images / ends[0], expected.images / ends[1], atol=0.02)
    np.testing.assert_allclose(made.z, expected.z * np.sqrt(1.25))
    with pytest.raises(ConventionError, match=r"64 pixels along y .* of that tilt; images have 48"):
        Target.of(loaded, images(size=64), steep)


def test_adapt_model__tells_by_which_tilt(model, tmp_path, clearly):
    made = adapt_model(model, images(size=96), path=tmp_path / "a", tilt=np.float32(20))
    assert load_model(made).card["adapted"]["tilt"] == 20.0
    with pytest.raises(ConventionError, match="holds another adaptation"):
        adapt_model(model, images(size=96), path=tmp_path / "a")
    with pytest.raises(ConventionError, match=r"tilt must be in -70 … 70 degrees; got 80"):
        adapt_model(model, images(size=96), path=tmp_path / "b", tilt=80)


def test_adapt_model__refuses_images_that_are_not_finite(model, tmp_path):
    stack = images()
    grey = stack["intensity"].values.astype(np.float32)
    grey[1, 4, 5, 6] = np.nan
    stack = stack.assign(intensity=(stack["intensity"].dims, grey, stack["intensity"].attrs))
    with pytest.raises(ConventionError, match="intensity must be finite; slice 4"):
        adapt_model(model, stack, path=tmp_path / "fitted")


def test_adapt_model__refuses_a_method_and_a_folder_of_something_else(model, tmp_path):
    with pytest.raises(ConventionError, match="method must be"):
        adapt_model(model, images(), method="translate")
    with pytest.raises(ConventionError, match=r"steps must be a whole number >= 1; got 2\.5"):
        adapt_model(model, images(), method="self_training", steps=2.5)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConventionError, match="is not the folder of an adaptation"):
        adapt_model(model, images(), path=tmp_path)


def test_train__adapts_a_model_as_a_recipe_says(model, tmp_path, clearly, monkeypatch, capsys):
    monkeypatch.setattr("fibdask.run.telling._LINE_EVERY", 0.0)
    save_stack(images(), tmp_path / "slices.zarr")
    recipe = tmp_path / "fit.toml"
    recipe.write_text(f'[adapt]\nmodel = "{model}"\nstack = "slices.zarr"\n')
    assert train(recipe, quiet=False) == tmp_path / "fit-model"
    main(["train", str(recipe)])
    told = capsys.readouterr().out
    assert "adapting: 1 of 12" in told
    assert "after; errors are those of tiny" in told
    assert f"report: {tmp_path / 'fit-model' / 'report.html'}" in told


def test_train__says_that_the_given_model_stays(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(adapting, "_CLEAR", 0.99)
    save_stack(images(), tmp_path / "slices.zarr")
    recipe = tmp_path / "fit.toml"
    recipe.write_text(f'[adapt]\nmodel = "{model}"\nstack = "slices.zarr"\n')
    main(["train", str(recipe), "--quiet"])
    main(["train", str(recipe)])
    assert "no candidate scores clearly better on this stack" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ({"model": "tiny"}, r"\[adapt\] needs the key stack"),
        ({"model": "tiny", "stack": "s", "methd": "x"}, "did you mean 'method'"),
        ({"model": "tiny", "stack": "s", "method": "translate"}, r"\[adapt\] method"),
    ],
)
def test_train__refuses_a_wrong_adaptation(table, rule):
    with pytest.raises(RecipeError, match=rule):
        train({"adapt": table})
