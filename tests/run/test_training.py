"""Trainings by recipe: from simulated stacks to a model, in Python and on the command line."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import fibdask
from fibdask import RecipeError, StackReadError, load_model, run_recipe, train
from fibdask.learn.folder import CARD, WEIGHTS
from fibdask.learn.predicting import TORCH_IS_MISSING
from fibdask.learn.weights import read_network
from fibdask.run.cli import main
from fibdask.run.recipe import read_recipe
from fibdask.run.recipe.reference import training_reference
from fibdask.run.training import prepared, read_training, training_tables
from fibdask.run.training.adapting import adaptation_tables, read_adaptation
from tests.learn.helpers import without_torch

SIMULATION = {
    "shape": [28, 40, 40],
    "voxel_size": 5,
    "solid_fraction": [0.4],
    "voltage": [2],
    "electrons_per_pixel": 25,
    "gaussian_std": 0,
    "dtype": "float32",
}
RECIPE = """
[data]
train = ["first"]
validation = ["second"]
[network]
above = 2
below = 2
widths = [8, 8, 8]
detail = 6
[samples]
crop = 32
[training]
steps = 4
batch = 2
[output]
path = "model"
name = "tiny"
licence = "CC0-1.0"
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with two simulated stacks, and the recipe of a training."""
    folder = tmp_path_factory.mktemp("training")
    for seed, (name, size) in enumerate({"first": 40, "second": 30}.items()):
        simulation = SIMULATION | {"ligament_size": [size], "seed": seed}
        output = {"path": str(folder / name), "report": False}
        run_recipe({"simulate": simulation, "output": output})
    (folder / "tiny.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def model(data):
    torch.set_num_threads(1)
    return load_model(train(data / "tiny.toml"))


def _content(place, /, **changed):
    content = {
        "data": {"train": [str(place / "first")], "validation": [str(place / "second")]},
        "network": {"above": 2, "below": 2, "widths": [8, 8, 8], "detail": 6},
        "samples": {"crop": 32},
        "training": {"steps": 2, "batch": 1},
        "output": {"path": str(place / "other")},
    }
    return {name: table | changed.get(name, {}) for name, table in content.items()}


def test_train__leaves_a_model_where_the_recipe_says(data, model):
    assert model.folder == data / "model"
    assert model.name == "tiny"
    predict = model.predictor()
    images = np.zeros((1, 4, 16, 16), np.float32)
    found = predict(images, np.ones(1), np.array([-9.0, 0, 9, 18]), np.array([0.0, 5.0]))
    assert found.shape == (2, 16, 16)


def test_train__the_card_tells_data_ranges_and_errors(model):
    card = model.card
    assert card["voltages"] == [2.0]
    assert card["pixel_size"] == pytest.approx([4.5, 5.5])
    assert card["materials"] == {"pore": "epoxy", "solid": "Au"}
    assert card["electrons_per_pixel"] == [10.0, 25.0]
    assert card["ligament_size"] == [40.0, 40.0]
    assert card["licence"] == "CC0-1.0"
    rows = card["errors"]["conditions"]
    assert [row["electrons_per_pixel"] for row in rows] == [25.0, 20.0]
    assert all(0 < row["misplaced"] < 100 for row in rows)
    assert 0.5 <= card["temperature"] <= 3
    assert card["seconds_per_megavoxel"] > 0
    told = card["training"]
    assert (told["steps"], told["samples"]["crop"], told["schedule"]["batch"]) == (4, 32, 2)
    assert [stack["folder"] for stack in told["data"] + told["validation"]] == ["first", "second"]
    assert told["data"][0]["steps"][0]["step"] == "hierarchical_levelled_wave"
    assert told["versions"]["torch"] == str(torch.__version__)
    assert "/" not in json.dumps(card)


def test_train__reports_errors_an_example_and_learning(model):
    page = (model.folder / "report.html").read_text()
    assert "Network tiny" in page
    for row in model.card["errors"]["conditions"]:
        told = f"2 kV, {row['electrons_per_pixel']:g} electrons a pixel"
        assert f'<td>{told}</td><td class="number">{row["misplaced"]:.3g} %</td>' in page
    assert "4 steps in " in page
    assert "<td>Pixel in nm</td><td>4.5 to 5.5</td>" in page
    assert page.count("<img ") == 2


def test_train__does_not_do_again_what_is_done(data, model):
    before = (model.folder / CARD).stat().st_mtime_ns
    assert train(data / "tiny.toml") == model.folder
    assert (model.folder / CARD).stat().st_mtime_ns == before


def test_train__makes_a_damaged_model_anew_from_its_state(data, tmp_path):
    content = _content(data, output={"path": str(tmp_path / "model")})
    folder = train(content)
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[:-1])
    train(content)
    assert (folder / WEIGHTS).read_bytes() == weights


def test_train__other_parameters_are_refused_where_a_training_lies(data, model):
    content = _content(data, output={"path": str(data / "model")})
    with pytest.raises(ValueError, match="state of another training"):
        train(content)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"samples": {"crop": 48}}, r"\[data\] images must not be smaller than crop, 48"),
        ({"samples": {"crop": 20}}, r"\[samples\] crop must be a multiple of 8; got 20"),
        ({"samples": {"blur": -1}}, r"\[samples\] blur must be finite and >= 0; got -1"),
        ({"samples": {"plane": 4}}, r"unknown key 'plane' in \[samples\]; did you mean 'planes'"),
        ({"training": {"step": 4}}, r"unknown key 'step' in \[training\]; did you mean 'steps'"),
        ({"training": {"batch": 0}}, r"\[training\] batch must be a whole number >= 1; got 0"),
        ({"network": {"voltages": 3}}, r"unknown key 'voltages' in \[network\]"),
        ({"network": {"below": 0}}, r"\[network\] below must be at least 1; got 0"),
        ({"network": {"widths": [8, 8]}}, r"\[network\] widths = \[8, 8\]"),
        ({"data": {"validation": []}}, r"\[data\] validation = \[\]"),
        ({"output": {"name": "a/b"}}, r"\[output\] a name of a model .* got 'a/b'"),
    ],
)
def test_train__refuses_wrong_recipes(data, changed, told):
    with pytest.raises(RecipeError, match=told):
        train(_content(data, **changed))


def test_train__refuses_to_judge_by_what_was_learnt(data):
    same = {"validation": [str(data / "first")]}
    with pytest.raises(RecipeError, match=r"\[data\] .* have the same seed of hierarchical"):
        train(_content(data, data=same))


def test_train__refuses_a_folder_of_something_else(data, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StackReadError, match="exists and is not the folder of a model"):
        train(_content(data), output_path=tmp_path)


def test_train__names_data_that_are_not_there(data):
    with pytest.raises(StackReadError, match="nowhere"):
        train(_content(data, data={"train": [str(data / "nowhere")]}))


def test_train__begins_with_a_model_and_says_what_that_has_learnt_from(data, model):
    begun = _content(data, data={"begin": str(model.folder)}, output={"path": str(data / "longer")})
    card = load_model(train(begun | {"training": {"steps": 1, "batch": 1}})).card
    assert card["architecture"] == model.card["architecture"]
    assert card["training"]["begun"] == {
        "name": "tiny",
        "sha256": model.card["sha256"],
        "training": model.card["training"],
    }


def test_train__the_first_step_after_a_beginning_is_made_with_its_weights(data, model):
    content = _content(data, data={"begin": str(model.folder)})
    training, _ = prepared(read_training(content))
    kept = read_network(model.folder, model.card).state_dict()
    assert all(
        torch.equal(value, kept[name]) for name, value in training.network.state_dict().items()
    )


def test_train__keeps_a_share_of_the_weights_that_it_begins_with(data, model):
    weights = []
    for name, kept in (("learnt", 0.0), ("mixed", 0.25)):
        content = _content(
            data,
            data={"begin": str(model.folder), "kept": kept},
            output={"path": str(data / name)},
        )
        made = load_model(train(content | {"training": {"steps": 2, "batch": 1}}))
        weights.append(read_network(made.folder, made.card).state_dict())
    begun = read_network(model.folder, model.card).state_dict()
    assert made.card["training"]["begun"]["kept"] == 0.25
    learnt, mixed = weights
    assert any(not torch.equal(learnt[name], begun[name]) for name in begun)
    for name, value in begun.items():
        if value.is_floating_point():
            torch.testing.assert_close(mixed[name], 0.75 * learnt[name] + 0.25 * value)


def test_train__refuses_a_share_of_no_weights(data):
    with pytest.raises(RecipeError, match="kept is a share of the weights of begin, which is not"):
        train(_content(data, data={"kept": 0.5}))


def test_train__a_recipe_names_the_model_that_it_begins_with_beside_it(data, model):
    recipe = RECIPE.replace("[network]", 'begin = "model"\n[network]')
    (data / "longer.toml").write_text(recipe)
    assert read_training(data / "longer.toml").tables["data"]["begin"] == str(model.folder)


def test_train__refuses_to_judge_by_what_the_model_has_learnt_that_it_begins_with(data, model):
    other = {
        "train": [str(data / "second")],
        "validation": [str(data / "first")],
        "begin": str(model.folder),
    }
    with pytest.raises(RecipeError, match=r"model tiny, which has learnt .* as first for valid"):
        train(_content(data, data=other))


PHASES = {
    "structures": {
        "shape": [40, 32, 32],
        "ligament_size": [[30.0], [40.0, 15.0]],
        "solid_fraction": [[0.4], [0.6, 0.5]],
        "seed": 1,
        "unseen_seed": 9,
    },
    "network": {"above": 2, "below": 2, "widths": [8, 8, 8], "detail": 6},
    "samples": {"crop": 32, "thickness": [2, 4]},
    "training": {"steps": 2, "batch": 1},
}


def test_train__makes_networks_that_fill_gaps_between_phases(tmp_path):
    card = load_model(train(PHASES, output_path=tmp_path / "gaps")).card
    assert card["task"] == "phases"
    assert card["thickness"] == [5.0, 10.0]
    assert 0 < card["errors"]["misplaced"] < card["errors"]["between"] < 100
    assert [one["seed"] for one in card["training"]["data"]] == [1, 2]
    assert card["training"]["validation"]["seed"] == 9
    assert card["training"]["samples"]["crop"] == 32
    assert "phases of the measured planes" in (tmp_path / "gaps" / "report.html").read_text()


@pytest.mark.parametrize(
    ("table", "changed", "told"),
    [
        ("samples", {"crop": 40}, r"\[structures\] .* as large as a crop of 40 voxels"),
        ("samples", {"thickness": [4, 2]}, r"\[samples\] thickness must be the least and the most"),
        ("samples", {"rough": 1}, r"unknown key 'rough' in \[samples\]; did you mean 'roughness'"),
        ("structures", {"unseen_seed": 2}, r"\[structures\] .* both have seed 2"),
        ("structures", {"ligament_size": [[30.0]]}, "each ligament_size needs a solid_fraction"),
        ("data", {"train": ["a"]}, r"unknown table \[data\]"),
    ],
)
def test_train__refuses_wrong_recipes_of_phases(tmp_path, table, changed, told):
    content = PHASES | {table: PHASES.get(table, {}) | changed}
    with pytest.raises(RecipeError, match=told):
        train(content, output_path=tmp_path / "gaps")


def test_read_training__knows_what_the_functions_know(data):
    tables = read_training(data / "tiny.toml").tables
    assert {name: set(table) for name, table in tables.items()} == {
        name: set(keys) for name, keys in training_tables().items()
    }
    assert tables["network"]["widths"] == (8, 8, 8)
    assert tables["training"]["learning_rate"] == 2e-3


def test_read_training__minutes_replace_the_recipes_steps(data):
    given = read_training(data / "tiny.toml", minutes=3).tables["training"]
    assert (given["minutes"], given["steps"]) == (3, None)


def test_read_training__names_the_model_after_the_recipe(tmp_path):
    path = tmp_path / "gold.toml"
    path.write_text('[data]\ntrain = ["a"]\nvalidation = ["b"]\n')
    output = read_training(path).tables["output"]
    assert output["path"] == str(tmp_path / "gold-model")
    assert output["name"] == "gold"


def test_recipes_of_what_ships__name_data_that_have_recipes():
    models = Path(fibdask.__file__).parents[1] / "models"
    paths = sorted(models.glob("windows*.toml"), key=lambda path: path.stem)
    recipes = [read_training(path).tables for path in paths]
    data = recipes[-1]["data"]
    simulated = {}
    for path in models.glob("gold-*.toml"):
        tables = read_recipe(path).tables
        simulated[tables["output"]["path"]] = tables["simulate"]
    assert {*data["train"], *data["validation"]} == {*simulated}
    # Each but the first begins with what the one before makes.
    begun = [tables["data"]["begin"] for tables in recipes[1:]]
    assert begun == [Path(tables["output"]["path"]).name for tables in recipes[:-1]]
    assert len({table["seed"] for table in simulated.values()}) == len(simulated)
    assert all(table["gaussian_std"] == 0 for table in simulated.values())


def shown_recipes(page):
    text = (Path(fibdask.__file__).parents[1] / "docs" / f"{page}.md").read_text()
    return [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]


def test_pages_of_networks__show_recipes_that_are_read():
    images, *trainings = shown_recipes("making_networks")
    assert read_recipe(images).tables["simulate"]["unmilled"] == 100
    first = [next(iter(read_training(content).tables)) for content in trainings]
    assert first == ["data", "structures", "pairs", "films"]
    (adaptation,) = shown_recipes("adapting")
    assert read_adaptation(adaptation)["adapt"]["method"] == "simulation"


def test_training_reference__is_what_the_page_says():
    page = (Path(fibdask.__file__).parents[1] / "docs" / "training.md").read_text()
    assert page == training_reference(), "write it: make docs"
    assert "| `unlabelled` | `0` or `255` |" in page  # which a text is not
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    tasks = ("windows", "phases", "labels", "simulation", "layers")
    images, phases, labels, pairs, films = map(training_tables, tasks)
    keys = [*images.values(), phases["structures"], phases["samples"]]
    keys += [labels[name] for name in ("labels", "samples", "network")]
    keys += [pairs["pairs"], pairs["network"]]
    keys += [films["films"], films["network"]]
    keys += adaptation_tables().values()
    assert len(rows) == sum(map(len, keys))
    assert all(len(meaning) > 4 and kind[0] != "<" for _, kind, _, meaning in rows)


def _call(capsys, *arguments, code=None):
    if code is None:
        main([str(argument) for argument in arguments])
    else:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        assert end.value.code == code
    return capsys.readouterr()


def test_command_train__tells_steps_errors_and_the_model(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fibdask.run.telling._LINE_EVERY", 0.0)
    out, _ = _call(capsys, "train", data / "tiny.toml", "--out", tmp_path / "model")
    lines = out.splitlines()
    assert lines[0].startswith("training: 1 of 4, loss ")
    assert any(line.startswith("training: 4 of 4, loss ") for line in lines)
    assert "2 kV, 25 electrons a pixel: " in out
    assert lines[-1] == f"model: {tmp_path / 'model'}"


def test_command_train__prints_the_card(data, model, capsys):
    out, _ = _call(capsys, "train", data / "tiny.toml", "--json")
    assert json.loads(out) == {"path": str(model.folder), **model.card}
    assert _call(capsys, "train", data / "tiny.toml", "--quiet").out == ""


def test_command_train__wrong_recipes_are_wrong_usage(tmp_path, capsys):
    path = tmp_path / "wrong.toml"
    path.write_text("[dat]\n")
    _, err = _call(capsys, "train", path, code=2)
    assert "unknown table [dat]; did you mean 'data'?" in err


def test_command_train__says_what_to_install_where_there_is_no_torch(data):
    code = f"""
        from fibdask.run.cli import main
        main(["train", {str(data / "tiny.toml")!r}])
    """
    _, err = without_torch(code, returned=2)
    assert err.startswith(f"error: {TORCH_IS_MISSING} (docs/")


def test_command_models__lists_what_ships(capsys):
    out, _ = _call(capsys, "models", "--json")
    names = [row["name"] for row in json.loads(out)["models"]]
    out, _ = _call(capsys, "models")
    assert all(name in out for name in names)
    assert out.strip()
