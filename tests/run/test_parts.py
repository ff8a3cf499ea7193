"""Recipes that several processes make without a scheduler, as jobs of an array do."""

import re
import signal
import subprocess
import sys
from contextlib import ExitStack

import numpy as np
import pytest
import tomli_w
import xarray as xr

from fibdask import BlocksFailedError, ConventionError, RecipeError, StackReadError, run_recipe
from fibdask.blocks import Part, Target
from fibdask.conventions import VERSION
from fibdask.run.cli import main
from fibdask.run.folder import RunFolder, part_folder
from fibdask.run.folder.part_folder import PartFolder
from fibdask.run.planner import format_plan, plan_recipe, planned_stages
from fibdask.run.recipe import read_recipe
from fibdask.run.walk import first_stack
from tests.holding import PATIENCE, wait_until
from tests.run.helpers import start
from tests.run.test_ownership import recipe, write_sample

RECIPE = """
title = "first"
[input]
path = "{images}"
voltage = 2
pixel_size = 5
slice_thickness = 10
[brightness]
[segment]
method = "kmeans"
[reposition]
spacing = 5
[inpaint]
method = "distance"
[statistics]
max_lag = 4
[cluster]
memory = "2 GiB"
[output]
path = "out"
block_mib = 1
"""


def write_recipe(folder):
    """Write the recipe into a folder; its images lie beside that."""
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE.format(images=folder.parent / "images.npy"))
    return folder / "recipe.toml"


def files(out):
    """Return the content of all files of a run, but what tells times, memory and processes."""
    varying = re.compile(r"run\.json|recipe\.toml|report\.html|fibdask.*\.log|run\.lock|.*\.jsonl")
    return {
        str(file.relative_to(out)): file.read_bytes()
        for file in sorted(out.rglob("*"))
        if file.is_file() and not varying.fullmatch(file.name)
    }


def sample(folder, **tables):
    """Return a recipe of several stages that runs in a moment."""
    image = write_sample(folder, "A", 0.3)
    stages = ("reposition", "inpaint", "statistics")
    return recipe(image, folder / "out", *stages, **tables)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a recipe that one process has made."""
    folder = tmp_path_factory.mktemp("whole")
    rng = np.random.default_rng(0)
    np.save(folder / "images.npy", rng.integers(0, 256, (24, 260, 300), np.uint8))
    main(["run", str(write_recipe(folder / "one")), "--part", "1/1", "--quiet"])
    return folder


@pytest.mark.cluster
def test_run__parts_at_different_times_of_which_one_is_killed_make_the_bytes_of_one(whole, hold):
    path = write_recipe(whole / "parts")
    out = path.parent / "out"
    held = hold("segment.zarr/phase/c/")
    running = [start("run", path, "--part", "3/3", hold=held)]
    held.wait()
    running += [start("run", path, "--part", f"{number}/3") for number in (1, 2)]
    wait_until((out / "parts" / "1-of-3.json").exists)
    running[0].kill()
    ended = [process.communicate(timeout=PATIENCE) for process in running]
    assert [process.returncode for process in running] == [-signal.SIGKILL, 0, 0], ended
    assert files(out) == files(whole / "one" / "out")
    assert sum("report:" in text for text, _ in ended) == 1
    run_recipe(path)
    assert not any(stage["blocks_run"] for stage in RunFolder(out).read()["stages"])


@pytest.mark.parametrize("of", [2, 7, 50])
def test_run_recipe__any_number_of_parts_makes_the_bytes_of_one(tmp_path, of):
    one = sample(tmp_path)
    run_recipe(one, part=(1, 1))
    (tmp_path / "out").rename(tmp_path / "one")
    stack = run_recipe(one, part=(of // 2, of))
    assert files(tmp_path / "out") == files(tmp_path / "one")
    assert not (tmp_path / "out" / "parts").exists()
    summary = RunFolder(tmp_path / "out").read()
    assert summary["state"] == "done"
    assert summary["parts"] == {"of": of, "came": [of // 2]}
    assert all(s["blocks"] == s["blocks_run"] for s in summary["stages"])
    late = run_recipe(one, part=(of, of))
    assert late["phase"].identical(stack["phase"])
    assert RunFolder(tmp_path / "out").read()["stages"] == summary["stages"]


def test_run_recipe__parts_resume_what_a_run_left_and_a_run_what_parts_left(tmp_path):
    content = sample(tmp_path)
    run_recipe(content)
    for shard in (tmp_path / "out").glob("inpaint.zarr/phase/c/*/*/*"):
        shard.unlink()
    run_recipe(content, part=(2, 3))
    ran = {s["name"] for s in RunFolder(tmp_path / "out").read()["stages"] if s["blocks_run"]}
    assert ran == {"inpaint"}
    run_recipe(content)
    assert not any(s["blocks_run"] for s in RunFolder(tmp_path / "out").read()["stages"])


def test_run_recipe__a_block_that_fails_for_a_part_is_named_and_the_rest_done(
    tmp_path, monkeypatch
):
    write = Target.write

    def refuse(self, position, data, token):
        if "reposition" in str(self.path):
            msg = "no such luck"
            raise ValueError(msg)
        return write(self, position, data, token)

    content = sample(tmp_path)
    monkeypatch.setattr(Target, "write", refuse)
    with pytest.raises(BlocksFailedError, match=r"reposition: block .* no such luck"):
        run_recipe(content, part=(1, 2))
    summary = RunFolder(tmp_path / "out").read()
    assert (summary["state"], summary["stores"]["segment"]) == ("failed", "done")
    assert [s["blocks_failed"] for s in summary["stages"] if s["name"] == "reposition"] == [1]
    monkeypatch.setattr(Target, "write", write)
    run_recipe(content, part=(2, 2))
    assert RunFolder(tmp_path / "out").read()["state"] == "done"


MAPPED = """
import sys
import numpy as np
from fibdask.run.cli import main

main(["run", sys.argv[1], "--part", "1/1", "--quiet"])
for _ in range(3):  # by the first, the C library would learn to keep the others
    place = np.ones(12 * 2**20, np.uint8).ctypes.data
maps = [line.split() for line in open("/proc/self/maps")]
((*_, end),) = (words[0].split("-") for words in maps if words[-1] == "[heap]")
print(place > int(end, 16))
"""


def test_run__a_part_keeps_as_much_freed_memory_as_workers(tmp_path):
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(sample(tmp_path)))
    command = [sys.executable, "-c", MAPPED, str(tmp_path / "recipe.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.stdout == "True\n", done.stderr


# Who else is at work


def at_work(stack, folder, part, content):
    """Enter a stack as a part that is at work on a recipe."""
    read = read_recipe(content)
    part_of = PartFolder(folder / "out", part)
    stack.enter_context(part_of.taken())
    made_of = planned_stages(read, first_stack(read)).made_of
    assert part_of.prepare(read.title, read.text(), [], made_of)
    return part_of


@pytest.mark.parametrize(
    ("part", "tables", "told"),
    [
        ((1, 3), {}, "made as part 1/2, this is part 1/3; all must be of one number"),
        ((2, 2), {"inpaint": {"method": "distance"}}, "made as part 1/2, of another recipe"),
        ((1, 2), {}, "part 1/2 of the run in .* is being made by another process"),
        (None, {}, "is being written as part 1/2; wait for it, or stop it"),
    ],
    ids=["another number", "another recipe", "the same part", "a run without parts"],
)
def test_run_recipe__beside_a_part_at_work_what_does_not_fit_is_refused(
    tmp_path, part, tables, told
):
    with ExitStack() as stack:
        at_work(stack, tmp_path, Part(1, 2), sample(tmp_path))
        with pytest.raises((RecipeError, StackReadError), match=told):
            run_recipe(sample(tmp_path, **tables), part=part)
    run_recipe(sample(tmp_path, **tables), part=part)


def test_run_recipe__beside_a_part_of_another_version_none_is_begun(tmp_path, monkeypatch):
    with ExitStack() as stack:
        at_work(stack, tmp_path, Part(1, 2), sample(tmp_path))
        monkeypatch.setattr(part_folder, "VERSION", "9.9")
        told = f"by fibdask {re.escape(VERSION)}, and this is 9.9"
        with pytest.raises(RecipeError, match=told):
            run_recipe(sample(tmp_path), part=(2, 2))


@pytest.mark.parametrize("lost", ["segment.zarr", "segment.zarr/phase/zarr.json"])
def test_run_recipe__a_late_part_makes_anew_what_is_lost(tmp_path, lost):
    content = sample(tmp_path)
    whole = run_recipe(content, part=(1, 2)).compute()
    (tmp_path / "out" / lost).rename(tmp_path / "lost")
    xr.testing.assert_identical(run_recipe(content, part=(2, 2)).compute(), whole)


def test_run_recipe__a_late_part_makes_anew_what_was_made_of_other_images(tmp_path):
    content = sample(tmp_path)
    run_recipe(content, part=(1, 2))
    write_sample(tmp_path, "A", 0.6)
    late = run_recipe(content, part=(2, 2)).compute()
    xr.testing.assert_identical(late, run_recipe(content).compute())
    assert late["phase"].mean() > 0.5


def test_run_recipe__beside_a_part_that_read_other_images_none_is_begun(tmp_path):
    with ExitStack() as stack:
        content = sample(tmp_path)
        at_work(stack, tmp_path, Part(1, 2), content)
        write_sample(tmp_path, "A", 0.6)
        with pytest.raises(RecipeError, match="part 1/2, and what it reads has changed since"):
            run_recipe(content, part=(2, 2))


def test_run_recipe__no_part_joins_a_run_without_parts(tmp_path):
    content = sample(tmp_path)
    run = RunFolder(tmp_path / "out")
    with run.taken():
        run.prepare("first", read_recipe(content).text(), [])
        with pytest.raises(StackReadError, match="being written by a run without parts"):
            run_recipe(content, part=(1, 2))


def test_read__sums_what_living_and_dead_parts_have_done(tmp_path):
    stage = {"name": "segment", "blocks": 10, "blocks_failed": 0, "seconds": 2.0, "failures": []}
    stage |= {"forecast_bytes": 5, "peak_bytes": 4}
    content = sample(tmp_path)
    with ExitStack() as stack:
        first = at_work(stack, tmp_path, Part(1, 2), content)
        first.update(stage | {"blocks_run": 3, "blocks_skipped": 2}, now=True)
        with ExitStack() as other:
            second = at_work(other, tmp_path, Part(2, 2), content)
            second.update(stage | {"blocks_run": 1, "blocks_skipped": 4, "peak_bytes": 7}, now=True)
        found = RunFolder(tmp_path / "out").read()
    assert found["state"] == "running"
    [told] = found["stages"]
    assert (told["blocks"], told["blocks_run"], told["blocks_skipped"]) == (10, 4, 2)
    assert told["peak_bytes"] == 7
    assert RunFolder(tmp_path / "out").read()["state"] == "interrupted"


# What is said


def test_plan_recipe__tells_what_a_part_makes_and_holds(tmp_path):
    content = sample(tmp_path, cluster={"threads": 3, "memory": "3 GiB"})
    plans = [plan_recipe(content, part=Part(number, 4)) for number in (1, 2, 3, 4)]
    for rows in zip(*(plan["stages"] for plan in plans), strict=True):
        assert sum(row["part_blocks"] for row in rows) == rows[0]["blocks"]
    text = format_plan(plans[1])
    assert "of part 2/4" in text
    assert "part 2/4, a process of 3 threads needs" in text
    assert "it has 3.00 GiB: it fits" in text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--part", "3/2"), "--part must be a number, from 1, .* got '3/2'"),
        (("--part", "0/2"), "got '0/2'"),
        (("--part", "2"), "got '2'"),
        (("--part", "1/2", "--cluster", "local"), "--cluster and --part exclude each other"),
        (("--part", "1/2", "--fresh"), "--fresh and --part exclude each other"),
        (("--part", "1/2", "--secure"), "--secure and --part exclude each other"),
    ],
)
def test_run__refuses_parts_that_are_none(tmp_path, capsys, options, told):
    path = tmp_path / "recipe.toml"
    path.write_text('[input]\npath = "images.npy"\nvoltage = 2\n[output]\npath = "out"\n')
    with pytest.raises(SystemExit) as ended:
        main(["run", str(path), *options])
    assert ended.value.code == 2
    assert re.search(told, capsys.readouterr().err)


def test_run_recipe__a_part_has_no_client(tmp_path):
    with pytest.raises(ConventionError, match="client and part exclude each other"):
        run_recipe(sample(tmp_path), client=object(), part=(1, 2))
