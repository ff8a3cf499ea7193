"""Whose results lie in an output folder: those of another recipe are neither lost nor ours."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tomli_w

from fibdask import FibdaskWarning, RecipeError, StackReadError, open_stack, run_recipe
from fibdask.run.exporting import find_phase
from fibdask.run.folder import RunFolder
from fibdask.run.folder.ownership import remove_earlier
from fibdask.run.folder.results import done_stores, final_stack, reopen
from fibdask.run.planner import check_recipe
from fibdask.run.recipe import read_recipe
from fibdask.run.runner import Pipeline
from tests.run.helpers import stored_bytes


def write_sample(folder, name, share):
    rng = np.random.default_rng(0)
    image = np.where(rng.random((6, 40, 44)) < share, 200, 50).astype(np.uint8)
    np.save(folder / f"{name}.npy", image)
    return folder / f"{name}.npy"


def recipe(path, out, *stages, title="first", **tables):
    """Return a recipe of images, their segmentation, and more stages."""
    known = {
        "segment": {"method": "threshold", "threshold": 100},
        "reposition": {"spacing": 5},
        "inpaint": {"method": "nearest"},
        "statistics": {"max_lag": 4},
    }
    content = {name: known[name] for name in ("segment", *stages)} | tables
    table = {"path": str(path), "voltage": 2, "pixel_size": 5, "slice_thickness": 10}
    output = {"path": str(out), "report": False}
    return {"title": title, "input": table, **content, "output": output}


def of_stored(path, out, **tables):
    return {"input": {"path": str(path)}, **tables, "output": {"path": str(out), "report": False}}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of samples, and the run `out` of one of them with all stages."""
    folder = tmp_path_factory.mktemp("first")
    write_sample(folder, "A", 0.3)
    write_sample(folder, "B", 0.7)
    run_recipe(recipe(folder / "A.npy", folder / "out", "reposition", "inpaint", "statistics"))
    return folder


@pytest.fixture
def folder(first, tmp_path):
    """A copy of the samples and of the run that may be changed."""
    return shutil.copytree(first, tmp_path / "copy", copy_function=shutil.copy2)


def share(stack):
    return round(float(stack["phase"].mean()), 2)


# Another recipe


@pytest.mark.parametrize(
    ("content", "difference"),
    [
        ({"stages": ["reposition", "inpaint", "statistics"], "title": "2nd"}, "its title is '2nd'"),
        ({"stages": ["statistics"]}, "it makes no reposition, inpaint"),
        ({"stages": ["reposition", "inpaint"]}, "it makes no statistics"),
    ],
)
def test_run_recipe__another_recipe_is_refused_with_what_lies_there(folder, content, difference):
    before, title = stored_bytes(folder / "out"), content.get("title", "first")
    other = recipe(folder / "A.npy", folder / "out", *content["stages"], title=title)
    held = "import, segment, reposition, inpaint, statistics of the recipe 'first' of the input"
    with pytest.raises(RecipeError, match=f"{held} .*; this is another recipe: {difference}"):
        run_recipe(other)
    assert stored_bytes(folder / "out") == before


def test_check_recipe__warns_of_the_folder_of_another_recipe(folder):
    other = folder / "other.toml"
    other.write_text(tomli_w.dumps(recipe(folder / "A.npy", folder / "out", "statistics")))
    with pytest.warns(FibdaskWarning, match="this is another recipe: it makes no reposition"):
        check_recipe(other)


@pytest.mark.parametrize("replaced", ["images", "pixels"])
def test_run_recipe__removes_the_pages_of_what_it_replaces(tmp_path, replaced):
    content = recipe(write_sample(tmp_path, "A", 0.3), tmp_path / "out", "statistics")
    run_recipe(content)
    pages = [tmp_path / "out" / name for name in ("report.html", "profile.html")]
    for page in pages:
        page.write_text("of the first run")
    run_recipe(content)
    assert all(page.exists() for page in pages)  # they show what lies there
    if replaced == "images":
        write_sample(tmp_path, "A", 0.6)
    else:
        content["input"]["pixel_size"] = 7  # of the same blocks
    run_recipe(content)
    assert not any(page.exists() for page in pages)


def test_run_recipe__recipe_that_begins_otherwise_is_refused(folder):
    other = recipe(folder / "A.npy", folder / "out", "reposition", "inpaint", "statistics")
    del other["input"]
    other["simulate"] = {"shape": [16, 32, 32], "model": "analytic"}
    for name in ("import", "segment"):
        shutil.rmtree(folder / "out" / f"{name}.zarr")
    with pytest.raises(RecipeError, match="it begins with structure, not import"):
        run_recipe(other)


def test_run_recipe__fresh_says_what_it_removes(folder, capsys):
    out = folder / "out"
    stack = run_recipe(recipe(folder / "B.npy", out, title="second"), resume=False)
    assert share(stack) == 0.7
    assert sorted(p.name for p in out.glob("*.zarr")) == ["import.zarr", "segment.zarr"]
    log = (out / "fibdask.log").read_text()
    assert "of the recipe 'first' of the input" in log
    removed = "import.zarr, segment.zarr, reposition.zarr, inpaint.zarr, statistics.zarr, counts"
    assert f"removed: {removed}\n" in log
    assert capsys.readouterr().out == ""


def test_run_recipe__fresh_keeps_what_it_reads(folder, tmp_path):
    out = folder / "out"
    (tmp_path / "link").symlink_to(out)
    inside = of_stored(tmp_path / "link" / "segment.zarr", out, reposition={"spacing": 10})
    assert share(run_recipe(inside, resume=False)) == 0.3
    assert sorted(p.name for p in out.glob("*.zarr")) == ["reposition.zarr", "segment.zarr"]
    assert "kept, because they are read: segment" in (out / "fibdask.log").read_text()
    assert share(run_recipe(inside)) == 0.3


def test_remove_earlier__keeps_what_a_recipe_is_measured_of(folder):
    run, read = RunFolder(folder / "out"), read_recipe(recipe(folder / "A.npy", folder / "out"))
    remove_earlier(run, replace(read, measured=(str(run.store("import")),)))
    assert [path.name for path in run.path.glob("*.zarr")] == ["import.zarr"]


def test_run_recipe__fresh_takes_away_links_not_what_they_point_to(folder):
    (folder / "out" / "inpaint.zarr").rename(folder / "mine.zarr")
    (folder / "out" / "inpaint.zarr").symlink_to(folder / "mine.zarr")
    run_recipe(recipe(folder / "A.npy", folder / "out"), resume=False)
    assert not os.path.lexists(folder / "out" / "inpaint.zarr")
    assert open_stack(folder / "mine.zarr")["phase"].any()


def test_run_recipe__what_no_run_has_made_stays(folder):
    (folder / "out" / "thesis.tex").write_text("precious")
    (folder / "out" / "mine.zarr").mkdir()
    run_recipe(recipe(folder / "A.npy", folder / "out"), resume=False)
    assert (folder / "out" / "thesis.tex").read_text() == "precious"
    assert (folder / "out" / "mine.zarr").is_dir()


def test_run_recipe__stores_of_an_unknown_run_are_refused(folder):
    (folder / "out" / "run.json").unlink()
    same = recipe(folder / "A.npy", folder / "out", "reposition", "inpaint", "statistics")
    with pytest.raises(RecipeError, match="statistics of an unknown run"):
        run_recipe(same)
    assert share(run_recipe(same, resume=False)) == 0.3


# The same recipe


def test_run_recipe__more_stages_are_added(first, tmp_path):
    out = tmp_path / "out"
    run_recipe(recipe(first / "A.npy", out))
    run_recipe(recipe(first / "A.npy", out, "reposition", "statistics"))
    stages = json.loads((out / "run.json").read_text())["stages"]
    ran = {stage["name"]: stage["blocks_run"] for stage in stages}
    assert ran["import"] == ran["segment"] == 0
    assert ran["reposition"] > 0


def test_run_recipe__another_input_is_told_and_made_anew(folder):
    other = recipe(folder / "B.npy", folder / "out", "reposition", "inpaint", "statistics")
    with pytest.warns(FibdaskWarning, match=r"A\.npy, .*; results of .*B\.npy replace them"):
        stack = run_recipe(other)
    assert share(stack.isel(z=stack["measured"].values)) == 0.7
    assert float(reopen(RunFolder(folder / "out"))[1]["solid_fraction"]) > 0.6


def test_run_recipe__input_beside_the_output_is_not_inside_it(folder):
    (folder / "out" / "segment.zarr").rename(folder / "out.zarr")
    with pytest.raises(RecipeError, match="it makes no inpaint, statistics"):
        run_recipe(of_stored(folder / "out.zarr", folder / "out", reposition={"spacing": 10}))


def test_run_recipe__tells_of_a_store_that_the_last_run_beside_it_did_not_make(folder, tmp_path):
    note_stores(folder / "out", "import", state="interrupted")
    inside = of_stored(folder / "out" / "segment.zarr", tmp_path / "b", reposition={"spacing": 5})
    rule = "segment.zarr is of an earlier run: the last one .* is interrupted and has not made it"
    with pytest.warns(FibdaskWarning, match=rule):
        run_recipe(inside)
    run_recipe(
        of_stored(folder / "out" / "import.zarr", tmp_path / "c", segment={"method": "otsu"})
    )


def note_stores(out, *names, state="done"):
    """Let only some stores be those of the last run."""
    summary = json.loads((out / "run.json").read_text())
    told = {"stores": dict.fromkeys(names, "done"), "state": state}
    (out / "run.json").write_text(json.dumps(summary | told))


def test_run_recipe__refuses_what_is_made_of_images_that_change_meanwhile(tmp_path):
    content = recipe(write_sample(tmp_path, "A", 0.3), tmp_path / "out")
    run = Pipeline(read_recipe(content), resume=True, quiet=True)
    write_sample(tmp_path, "A", 0.7)
    with pytest.raises(StackReadError, match=r"A\.npy has changed while this run read it: run ag"):
        run.run(None)
    assert done_stores(run.folder.read()) == []
    assert share(run_recipe(content)) == 0.7


# What is taken for the run's own


def test_find_phase__names_the_phase_of_an_earlier_run(folder):
    note_stores(folder / "out", "import")
    with pytest.raises(StackReadError, match=r"holds no phase; of an earlier .*segment\.zarr"):
        find_phase(folder / "out")


def test_final_stack__is_of_the_stores_that_this_run_made(first, folder):
    fewer = recipe(first / "A.npy", folder / "out")
    for name in ("reposition", "inpaint", "statistics"):
        (folder / "out" / f"{name}.zarr").rename(folder / f"{name}.zarr")
    run_recipe(fewer)
    for name in ("reposition", "inpaint", "statistics"):  # of whatever comes to lie there
        (folder / f"{name}.zarr").rename(folder / "out" / f"{name}.zarr")
    run = RunFolder(folder / "out")
    assert final_stack(run).sizes["z"] == 6
    stacks, statistics = reopen(run)
    assert list(stacks) == ["import", "segment"]
    assert statistics is None


def test_final_stack__of_a_run_that_made_none(folder, tmp_path):
    out = tmp_path / "measured"
    stored = folder / "out" / "inpaint.zarr"
    run_recipe(of_stored(stored, out, statistics={"max_lag": 2}))
    with pytest.raises(StackReadError, match="made no stack of its own; give the stack that it"):
        final_stack(RunFolder(out))


def test_taken__removes_what_a_killed_run_left(first, folder):
    out = folder / "out"
    (out / ".statistics.zarr.partial").mkdir()
    (out / ".segment.zarr.removed").mkdir()
    (out / ".report.html.partial").write_text("half")
    run_recipe(recipe(first / "A.npy", out, "reposition", "inpaint", "statistics"))
    assert not [p.name for p in out.iterdir() if p.suffix in (".partial", ".removed", ".tmp")]


@pytest.mark.parametrize(
    "text", ["[]", "7", "[" * 9999, '{"title": 3}', '{"stages": [{}]}', "\xff"]
)
def test_read__damaged_summary_is_told_and_fresh_begins_anew(first, folder, text):
    (folder / "out" / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(StackReadError, match=r"run\.json is damaged: .*; run .* with --fresh"):
        RunFolder(folder / "out").read()
    same = recipe(first / "A.npy", folder / "out", "reposition", "inpaint", "statistics")
    with pytest.raises(StackReadError, match="is damaged"):
        run_recipe(same)
    assert share(run_recipe(same, resume=False)) == 0.3


def test_run_recipe__fresh_that_was_killed_goes_on(first, folder):
    out = folder / "out"
    (out / "import.zarr").rename(out / ".import.zarr.removed")  # as far as the killed one came
    other = recipe(first / "A.npy", out, title="second")
    with pytest.raises(StackReadError, match=r"import\.zarr does not exist"):
        reopen(RunFolder(out))
    with pytest.raises(RecipeError, match=r"segment, reposition, .* of the recipe 'first'"):
        run_recipe(other)
    run_recipe(other, resume=False)
    assert sorted(p.name for p in out.glob("*.zarr")) == ["import.zarr", "segment.zarr"]
    assert not list(out.glob(".*.removed"))


def test_run_recipe__folder_of_a_run_that_stored_nothing_is_free(first, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "counts").write_text("in the way")
    (out / "run.lock").touch()
    with pytest.raises(OSError, match="counts"):
        run_recipe(recipe(first / "A.npy", out, segment={"method": "otsu"}))
    (out / "counts").unlink()
    shutil.rmtree(out / "import.zarr")
    shutil.rmtree(out / "segment.zarr", ignore_errors=True)
    assert share(run_recipe(recipe(first / "A.npy", out, title="second"))) == 0.3


def test_final_stack__of_a_run_by_a_version_that_did_not_note_its_stores(folder):
    out = folder / "out"
    run = RunFolder(out)
    summary = json.loads((out / "run.json").read_text())
    del summary["stores"]
    (out / "run.json").write_text(json.dumps(summary))
    assert "phase" in final_stack(run)
    summary["state"] = "failed"
    (out / "run.json").write_text(json.dumps(summary))
    assert set(run.read()["stores"].values()) == {"unfinished"}


def test_run_recipe__does_not_write_through_a_link_to_the_store_of_another_run(folder):
    everything = ("reposition", "inpaint", "statistics")
    mine = recipe(folder / "A.npy", folder / "mine", *everything)
    run_recipe(mine)
    shutil.rmtree(folder / "mine" / "segment.zarr")
    (folder / "mine" / "segment.zarr").symlink_to(folder / "out" / "segment.zarr")
    before = stored_bytes(folder / "out")
    mine["segment"]["threshold"] = 49
    with pytest.raises(RecipeError, match=r"segment\.zarr is a link"):
        run_recipe(mine)
    run_recipe(mine, resume=False)
    assert not (folder / "mine" / "segment.zarr").is_symlink()
    assert stored_bytes(folder / "out") == before
