"""What makes the models that ship keeps to its minutes, and goes on where it was."""

import json
import tomllib
from contextlib import nullcontext
from pathlib import Path

import pytest

from models import make
from models.make import STEPS, Journal, Step, cut_pairs, cut_stack

ROOT = Path(__file__).parents[1]
STACK = """
[simulate]
shape = [28, 40, 40]
voxel_size = 5
ligament_size = [30]
solid_fraction = [0.4]
unmilled = 20
voltage = [2]
electrons_per_pixel = 25
gaussian_std = 0
dtype = "float32"
seed = {seed}
[output]
report = false
"""
NETWORK = """
[data]
train = ["learnt-out"]
validation = ["unseen-out"]
[network]
above = 2
below = 2
widths = [8, 8, 8]
detail = 6
[samples]
crop = 32
[training]
batch = 1
[output]
name = "tiny"
"""


def test_steps__are_the_recipes():
    names = {path.stem for path in (ROOT / "models").glob("*.toml")}
    assert {step.name for step in STEPS} == names


def test_share__of_all_steps_is_the_minutes_where_they_take_what_they_get(tmp_path):
    journal = Journal(tmp_path / "made.json", minutes=90)
    for step in STEPS:
        journal.taken[step.name] = journal.share(step, STEPS)
        journal.done.append(step.name)
    assert sum(journal.taken.values()) == pytest.approx(90)
    assert journal.taken["windows"] == pytest.approx(7 * journal.taken["gold-1"])


def test_share__what_is_fast_leaves_its_time_to_the_others(tmp_path):
    journal = Journal(tmp_path / "made.json", minutes=30)
    slow, fast, last = (Step(name, 10) for name in ("slow", "fast", "last"))
    steps = (fast, slow, last)
    assert journal.share(fast, steps) == pytest.approx(10)
    journal.taken["fast"], journal.done = 2.0, ["fast"]
    assert journal.share(slow, steps) == pytest.approx(14)
    journal.taken["slow"], journal.done = 40.0, ["fast", "slow"]
    assert journal.share(last, steps) == 0


def test_cut_stack__leaves_the_slices_that_electrons_suffice_for():
    recipe = Step("gold-1", 10).read(ROOT / "models")
    a_slice = 256 * 256 * 3 * 60
    cut_stack(recipe, 20 * a_slice, least=60)
    assert recipe["simulate"]["shape"] == [(20 * 10 + 100) / 2.5, 256, 256]
    cut_stack(recipe, 1000 * a_slice, least=60)
    assert recipe["simulate"]["shape"][0] == 120
    cut_stack(recipe, 0, least=60)
    assert recipe["simulate"]["shape"][0] == 60


def test_cut_pairs__counts_those_that_judge():
    recipe = Step("simulation", 110).read(ROOT / "models")
    image = 4 * 128**2
    cut_pairs(recipe, image * (24 * 500 + 64 * 60), least=60)
    assert recipe["pairs"]["count"] == 500
    assert recipe["pairs"]["unseen_count"] == 60


@pytest.mark.slow
def test_make__in_few_minutes_trains_ships_and_goes_on(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    for seed, name in enumerate(("unseen", "learnt")):
        (tmp_path / f"{name}.toml").write_text(STACK.format(seed=seed))
    (tmp_path / "tiny.toml").write_text(NETWORK)
    monkeypatch.setattr(make, "electrons_per_minute", lambda: 1e5)
    monkeypatch.setattr(make.fibdask, "local_cluster", nullcontext)  # this process does it
    steps = (Step("unseen", 1), Step("learnt", 1, least=20), Step("tiny", 1))
    make.make(tmp_path, tmp_path / "shipped", 0.3, steps)
    learnt = tomllib.loads((tmp_path / "learnt-out" / "recipe.toml").read_text())
    assert learnt["simulate"]["shape"] == [20, 40, 40]
    card = tmp_path / "shipped" / "tiny" / "card.json"
    assert json.loads(card.read_text())["training"]["schedule"]["minutes"] == make.LEAST
    made = card.read_bytes()
    taken = make.make(tmp_path, tmp_path / "shipped", 0.3, steps)
    assert card.read_bytes() == made
    assert set(taken) == {"unseen", "learnt", "tiny"}
    monkeypatch.setattr(make, "LEAST", 0.005)  # another training, where one has been
    assert make.make(tmp_path, tmp_path / "shipped", 0.4, steps)["tiny"] > 0
    assert json.loads(card.read_text())["training"]["schedule"]["minutes"] != make_minutes(made)


def make_minutes(card):
    return json.loads(card)["training"]["schedule"]["minutes"]


def test_least_minutes__are_those_of_what_cannot_be_cut():
    stack, pairs = Step("gold-1", 10, least=100), Step("simulation", 110, least=60)
    electrons = 15 * 256 * 256 * 3 * 60
    assert make.least_minutes(ROOT / "models", (stack,), 1e6) == pytest.approx(electrons / 1e6)
    electrons = 4 * 128**2 * 60 * (24 + 64)
    least = make.LEAST + electrons / 1e6
    assert make.least_minutes(ROOT / "models", (pairs,), 1e6) == pytest.approx(least)
