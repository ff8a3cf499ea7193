"""The table of stages: what derives from a row, shown by a row of a stage that nobody knows."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import fibdask
from fibdask import RecipeError, run_recipe
from fibdask.accessor import StackAccessor
from fibdask.blocks import origin
from fibdask.run import stages
from fibdask.run.planner import plan_recipe
from fibdask.run.recipe import read_recipe
from fibdask.run.recipe.reference import recipe_reference
from fibdask.run.recipe.tables import keys_of, tables
from fibdask.run.stages import STAGES, Stage, in_order, stack_stores
from fibdask.run.walk import Visitor, first_stack, walk

ROOT = Path(fibdask.__file__).parents[1]


def roughen(stack, *, electrons: float = 50.0):
    """Make the images noisier.

    Parameters
    ----------
    electrons
        Of each pixel.
    """
    return fibdask.add_noise(stack, electrons_per_pixel=electrons, seed=1)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe with a stage of which the package knows no more than its row."""
    row = Stage("roughening", roughen, "Roughened images")
    monkeypatch.setattr(stages, "STAGES", (STAGES[0], row, *STAGES[1:]))
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (12, 40, 48), dtype=np.uint8))
    return {
        "input": {"path": str(path), "voltage": 2, "pixel_size": 5, "slice_thickness": 5},
        "segment": {"method": "otsu"},
        "roughening": {"electrons": 12},
        "output": {"path": str(tmp_path / "out")},
    }


def test_stages__a_new_row_is_a_table_whose_keys_are_the_options(recipe):
    tables = read_recipe(recipe).tables
    assert list(tables) == ["input", "roughening", "segment", "cluster", "output"]
    assert read_recipe(recipe | {"roughening": {}}).tables["roughening"] == {"electrons": 50.0}
    with pytest.raises(RecipeError, match=r"'elektrons' in .*; did you mean 'electrons'"):
        read_recipe(recipe | {"roughening": {"elektrons": 3}})
    with pytest.raises(RecipeError, match=r"^\[roughening\] electrons_per_pixel must be"):
        plan_recipe(recipe | {"roughening": {"electrons": -1}})


def test_stages__a_new_row_is_planned_run_stored_resumed_and_reported(recipe, tmp_path):
    planned = [row["name"] for row in plan_recipe(recipe)["stages"]]
    assert planned == ["import", "roughening", "segment histogram", "segment"]
    result = run_recipe(recipe)
    images = fibdask.open_stack(tmp_path / "out" / "import.zarr")
    stored = fibdask.open_stack(tmp_path / "out" / "roughening.zarr")
    assert stored["intensity"].equals(roughen(images, electrons=12)["intensity"])
    assert result["phase"].equals(fibdask.segment_phases(stored, method="otsu")["phase"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert re.findall("<h3>([A-Z][a-z ]+)</h3>", page)[:3] == [
        "Imported images",
        "Roughened images",
        "Segmentation",
    ]
    run_recipe(recipe)
    ran = json.loads((tmp_path / "out" / "run.json").read_text())["stages"]
    assert [stage["name"] for stage in ran] == planned
    assert not any(stage["blocks_run"] for stage in ran)


def test_stages__a_new_row_whose_table_is_gone_is_another_recipe(recipe):
    run_recipe(recipe)
    del recipe["roughening"]
    with pytest.raises(RecipeError, match="this is another recipe: it makes no roughening"):
        run_recipe(recipe)


def test_recipe_reference__tells_of_a_new_row(recipe):
    page = recipe_reference()
    assert "## `[roughening]`: roughened images" in page
    assert "| `electrons` | number | `50` | Of each pixel. |" in page


def test_recipe_reference__is_what_the_page_says():
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert page == recipe_reference(), "write it: python -m fibdask.run.recipe.reference"


def test_recipe_reference__says_what_every_key_of_every_table_means():
    rows = [line for line in recipe_reference().splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(keys_of(name)) for name in tables())
    for row in rows:
        _, kind, _, meaning = row.strip("| ").split(" | ")
        assert kind[0] != "<", row  # a kind that has no words
        assert len(meaning) > 4, row


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_stages__are_public_functions_and_methods_of_a_stack(stage):
    for function in stage.functions:
        assert function.__name__ in fibdask.__all__
        assert getattr(fibdask, function.__name__) is function
        assert hasattr(StackAccessor, function.__name__)


def test_in_order__ruler_comes_before_stripes_are_taken_out():
    tables = {"curtaining": {}, "brightness": {}, "thickness": {"ruler": None}, "segment": {}}
    assert [stage.name for stage in in_order(tables)] == list(tables)
    tables["thickness"] = {"ruler": {"width": 3}}
    order = ["thickness", "curtaining", "brightness", "segment"]
    assert [stage.name for stage in in_order(tables)] == order


def test_stack_stores__are_in_the_order_of_the_data():
    assert stack_stores()[:3] == ("import", "structure", "simulate")
    assert len(set(stack_stores())) == len(STAGES) + 2


class Wanderer(Visitor):
    """Stores nothing, and notes what it is asked for."""

    def __init__(self):
        super().__init__()
        self.kept = {}
        self.measured = None

    def estimate(self, stage, estimate, stack, table):
        raise AssertionError(stage)

    def keep(self, name, stack, kept, *, last):
        self.kept[name] = (kept, last)
        return stack

    def judge(self, stage, lazy):
        raise AssertionError(stage)

    def measure(self, lazy):
        self.measured = lazy


def test_walk__leads_through_the_stages_lazily(recipe):
    read = read_recipe(recipe | {"statistics": {"max_lag": 2}})
    visitor = Wanderer()
    stack = walk(read, first_stack(read), visitor)
    assert list(visitor.stacks) == ["import", "roughening", "segment"]
    assert visitor.kept == {
        "import": (["intensity"], False),
        "roughening": (["intensity"], False),
        "segment": (["phase"], True),
    }
    assert stack is visitor.stacks["segment"]
    assert origin(stack["phase"].data) is not None
    assert origin(visitor.measured["solid_fraction"].data) is not None
