"""Recipes: what is read, what is resolved, and what is refused before anything runs."""

import tomllib

import pytest

from fibdask import RecipeError, save_stack
from fibdask.run.planner import plan_recipe
from fibdask.run.recipe import read_input, read_recipe
from fibdask.run.recipe.tables import tables

SIMULATE = {"shape": [16, 24, 24]}


def write(folder, text):
    path = folder / "gold.toml"
    path.write_text(text)
    return path


# Paths


def test_read_recipe__paths_are_relative_to_the_recipe(tmp_path):
    recipe = read_recipe(
        write(tmp_path, '[input]\npath = "images"\nz = "z.csv"\n[output]\npath = "out"\n')
    )
    assert recipe.tables["input"]["path"] == str(tmp_path / "images")
    assert recipe.tables["input"]["z"] == str(tmp_path / "z.csv")
    assert recipe.tables["output"]["path"] == str(tmp_path / "out")


def test_read_recipe__what_lies_beside_it_is_found_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "net").mkdir()
    content = '[simulate]\nshape = [9, 9, 9]\nnetwork = "net"\n[layers]\ntable = "films.zarr"\n'
    path = write(tmp_path, content)
    monkeypatch.chdir(tmp_path.parent)
    recipe = read_recipe(path.relative_to(tmp_path.parent))
    stored = read_recipe(tomllib.loads(recipe.text()))
    assert stored.tables["layers"]["table"] == str(tmp_path / "films.zarr")
    assert stored.tables["simulate"]["network"] == str(tmp_path / "net")


def test_read_recipe__absolute_paths_stay(tmp_path):
    recipe = read_recipe(write(tmp_path, '[input]\npath = "/data/images"\n'))
    assert recipe.tables["input"]["path"] == "/data/images"


def test_read_recipe__knows_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/you")
    content = '[input]\npath = "~/images"\nz = "~nobody-here/z.csv"\n[output]\npath = "~/out"\n'
    recipe = read_recipe(write(tmp_path, content))
    assert recipe.tables["input"]["path"] == "/home/you/images"
    assert recipe.tables["input"]["z"] == str(tmp_path / "~nobody-here" / "z.csv")
    assert recipe.tables["output"]["path"] == "/home/you/out"


def test_read_recipe__voltages_are_relative_to_the_recipe(tmp_path):
    recipe = read_recipe(write(tmp_path, '[input.voltages]\n1 = "low"\n"2.5" = "/high"\n'))
    assert recipe.tables["input"]["voltages"] == {"1": str(tmp_path / "low"), "2.5": "/high"}


def test_read_recipe__voltage_with_a_point_must_be_quoted(tmp_path):
    path = write(tmp_path, '[input.voltages]\n2.5 = "high"\n')
    with pytest.raises(RecipeError, match=r'must be quoted: "2\.5" = '):
        read_recipe(path)


def test_read_recipe__arguments_replace_input_and_output(tmp_path):
    path = write(tmp_path, '[input]\npath = "images"\n[output]\npath = "out"\n')
    recipe = read_recipe(path, input_path="other", output_path="elsewhere")
    assert recipe.tables["input"]["path"] == "other"
    assert recipe.tables["output"]["path"] == "elsewhere"


def test_read_recipe__input_argument_replaces_several_voltages(tmp_path):
    path = write(tmp_path, '[input.voltages]\n1 = "low"\n')
    recipe = read_recipe(path, input_path="other")
    assert recipe.tables["input"]["voltages"] is None
    assert recipe.tables["input"]["path"] == "other"


def test_read_recipe__input_argument_is_enough():
    assert read_recipe({}, input_path="images").tables["input"]["path"] == "images"


def test_read_recipe__output_is_named_after_the_recipe(tmp_path):
    recipe = read_recipe(write(tmp_path, '[input]\npath = "images"\n'))
    assert recipe.title == "gold"
    assert recipe.tables["output"]["path"] == str(tmp_path / "gold-out")


# What is resolved


def test_read_recipe__resolved_recipe_reads_as_itself(tmp_path):
    first = read_recipe({"title": "α", "simulate": SIMULATE, "segment": {"method": "otsu"}})
    again = read_recipe(write(tmp_path, first.text()), output_path="fibdask-out")
    assert again == first


def test_read_recipe__resolved_recipe_states_every_default():
    stages = {name: {} for name in ("segment", "inpaint")}
    stages |= {"reposition": {"spacing": 5}, "statistics": {"max_lag": 8}}
    text = read_recipe({"simulate": SIMULATE, **stages}).text()
    stated = tomllib.loads(text)
    expected = {"method": "kmeans", "classes": 3, "model": "auto", "device": "auto", "data_bar": 0}
    shown = {"tilt": 0.0, "mirrored": False, "disagreement": False}
    assert stated["segment"] == expected | shown
    assert stated["inpaint"] == {"method": "distance", "model": "auto", "device": "auto"}
    assert stated["simulate"]["voltage"] == [1.0, 2.0, 4.0]
    assert stated["cluster"] == {"kind": "local", "threads": 1, "memory": "auto"}
    assert stated["output"]["block_mib"] == 64


def test_read_recipe__tables_come_in_the_order_of_the_data():
    stages = {"statistics": {"max_lag": 8}, "inpaint": {}, "segment": {}, "simulate": SIMULATE}
    found = list(read_recipe(stages).tables)
    assert found == [name for name in tables() if name in found]


def test_read_recipe__leaves_the_given_mapping_alone():
    given = {"input": {"path": "a", "voltages": None}}
    read_recipe(given, input_path="b", output_path="c")
    assert given == {"input": {"path": "a", "voltages": None}}


# What is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"segmnt": {}}, r"unknown table \[segmnt\]; did you mean 'segment'\?"),
        ({"segment": {"metod": "otsu"}}, r"'metod' in \[segment\]; did you mean 'method'\?"),
        ({"reposition": {"spcing": 5}}, r"'spcing' in \[reposition\]; did you mean 'spacing'\?"),
        ({"cluster": {"wrkers": 5}}, r"'wrkers' in \[cluster\]; did you mean 'workers'\?"),
        ({"output": {"zzz": 5}}, "'zzz' in .output.; valid are path, variables, block_mib"),
        ({"reposition": {}}, r"\[reposition\] needs the key spacing"),
        ({"statistics": {"max_lag": "far"}}, r"\[statistics\] max_lag = 'far'"),
        ({"output": {"variables": ["phases"]}}, r"\[output\] variables = \['phases'\]"),
        ({"output": {"variables": []}}, r"\[output\] variables = \[\]: .* at least 1 item"),
        (
            {"segment": {}, "output": {"variables": ["intensity"]}},
            r"variables must hold 'phase', which \[segment\] makes; got \['intensity'\]",
        ),
        ({"output": {"block_mib": 0}}, r"\[output\] block_mib = 0: .* greater than 0"),
        ({"cluster": {"workers": -1}}, r"\[cluster\] workers = -1: .* greater than 0"),
        ({"segment": "otsu"}, "segment must be a table; got 'otsu'"),
        ({"input": {"path": "images"}}, r"\[simulate\] shape: not used where \[input\]"),
        ({"simulate": {"voltage": [1]}}, r"\[simulate\] needs the key shape, or an \[input\]"),
    ],
)
def test_read_recipe__names_key_value_and_rule(content, message):
    with pytest.raises(RecipeError, match=message):
        read_recipe({"simulate": SIMULATE, **content})


def test_read_recipe__needs_a_source():
    with pytest.raises(RecipeError, match=r"a recipe needs \[input\], or \[simulate\]"):
        read_recipe({"segment": {}})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, r"\[input\] needs either path or voltages"),
        ({"path": "a", "voltages": {"1": "b"}}, r"\[input\] needs either path or voltages"),
        ({"path": "a", "assumed": ["voltage"]}, "assumed names 'voltage', which is not set"),
        ({"voltages": {"low": "a"}}, "in kV; got 'low'"),
    ],
)
def test_input__names_what_is_wrong(table, message):
    recipe = read_recipe({"input": table})
    with pytest.raises(RecipeError, match=message):
        read_input(**recipe.tables["input"])


@pytest.mark.parametrize("memory", ["plenty", "0", "-1 GiB", "", "GiB"])
def test_plan_recipe__memory_is_an_amount(memory):
    with pytest.raises(RecipeError, match=f"memory must be an amount .* got '{memory}'"):
        plan_recipe({"simulate": SIMULATE, "cluster": {"memory": memory}})


def test_plan_recipe__refuses_certificates_for_plain_text_as_a_run_does():
    cluster = {"certificates": "keys", "secure": False}
    with pytest.raises(RecipeError, match="certificates in keys are given, and --insecure"):
        plan_recipe({"simulate": SIMULATE, "cluster": cluster})


def test_read_recipe__folder_is_no_recipe(tmp_path):
    with pytest.raises(RecipeError, match="is a folder, not a recipe: `fibdask init"):
        read_recipe(tmp_path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"shape": [16, 16, 0]}, r"\[simulate\] shape must be three positive numbers"),
        ({"shape": [16, 16, 16], "seed": -1}, r"\[simulate\] seed must be a whole number"),
    ],
)
def test_plan_recipe__blames_the_table_for_a_bad_structure(table, message):
    with pytest.raises(RecipeError, match=message):
        plan_recipe({"simulate": table})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("voltage", "true"),
        ("slice_thickness", "true"),
        ("pixel_size", "true"),
        ("pixel_size", "[5, true]"),
        ("crop", "{ x = [true, 30] }"),
        ("channel", '{ "2" = true }'),
    ],
)
def test_read_recipe__a_switch_is_no_number(tmp_path, key, value):
    path = write(tmp_path, f'[input]\npath = "images"\n{key} = {value}\n')
    with pytest.raises(RecipeError, match=rf"\[input\] {key} = .*True.*: true and false are no"):
        read_recipe(path)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"ligament_size": 80}, r"\[simulate\] ligament_size = 80: it must be a list, in square"),
        ({"materials": "Au"}, r"\[simulate\] materials = 'Au': it must be a table, in braces"),
    ],
)
def test_plan_recipe__tells_of_kinds_in_the_words_of_recipes(table, told):
    with pytest.raises(RecipeError, match=told):
        plan_recipe({"simulate": table})


def test_read_recipe__output_inside_a_store_is_refused(stack, tmp_path):
    store = save_stack(stack, tmp_path / "gold.zarr")
    for inside in ("out", "deep/er/out"):
        text = rf"^output path .*/{inside} lies inside the store {store}, .*; choose a"
        with pytest.raises(RecipeError, match=text):
            read_recipe({}, input_path=store, output_path=store / inside)
    beside = read_recipe({}, input_path=store, output_path=tmp_path / "out")
    assert beside.tables["output"]["path"] == str(tmp_path / "out")
