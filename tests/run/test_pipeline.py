"""Runs from Python, and the promises of a run that its summary lets one check."""

import errno
import json
import os
import re
from collections import Counter

import distributed
import numpy as np
import pytest
import xarray as xr

from fibdask import (
    BlocksFailedError,
    RecipeError,
    StackReadError,
    ligament_diameter,
    open_stack,
    run_recipe,
    save_stack,
    simulate_stack,
)
from fibdask.blocks import BlockFailure, StageReport
from fibdask.run import runner
from fibdask.run.folder import RunFolder
from fibdask.run.folder.results import reopen
from fibdask.run.planner import plan_recipe
from fibdask.run.recipe import read_recipe
from tests.run.helpers import fibdask, status, stored_bytes, write_recipe

STAGES = ("structure", "simulate", "segment", "reposition", "inpaint")


def small(folder, **output):
    """Return a recipe that runs in a second or two."""
    return {
        "simulate": {
            "shape": [40, 72, 68],
            "voxel_size": 5,
            "ligament_size": [60],
            "solid_fraction": [0.4],
            "mean_thickness": 15,
            "std_thickness": 4,
            "voltage": [1, 2],
            "model": "analytic",
            "seed": 3,
        },
        "segment": {"method": "kmeans"},
        "reposition": {"spacing": 5},
        "inpaint": {"method": "distance"},
        "statistics": {"max_lag": 12},
        "output": {"path": str(folder), "report": False, **output},
    }


def summary(folder):
    stages = json.loads((folder / "run.json").read_text())["stages"]
    return {stage["name"]: stage for stage in stages}


def stored(folder, stage):
    return sorted(open_stack(folder / f"{stage}.zarr").data_vars)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small run in this process."""
    folder = tmp_path_factory.mktemp("run") / "out"
    run_recipe(small(folder))
    return folder


@pytest.fixture
def images(tmp_path):
    """A recipe that reads more than a MiB of images."""
    rng = np.random.default_rng(0)
    path = tmp_path / "images.npy"
    np.save(path, rng.integers(0, 256, (64, 320, 640), dtype=np.uint8))
    table = {"path": str(path), "voltage": 2, "pixel_size": 5, "slice_thickness": 10}
    return {"input": table, "output": {"path": str(tmp_path / "out"), "report": False}}


# From Python


def test_run_recipe__returns_the_last_stack_lazily(finished):
    stack = run_recipe(small(finished))
    assert stack["phase"].chunks is not None
    assert stack["phase"].identical(open_stack(finished / "inpaint.zarr")["phase"])
    steps = [json.loads(record)["step"] for record in stack.attrs["provenance"]]
    assert steps[-3:] == ["segment_phases", "reposition_slices", "inpaint_gaps"]


def test_run_recipe__file_gives_the_same_as_mapping(finished, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(read_recipe(small(tmp_path / "out")).text())
    run_recipe(path)
    assert stored_bytes(tmp_path / "out") == stored_bytes(finished)


def test_run_recipe__workers_give_the_same_as_this_process(finished, tmp_path):
    options = {"processes": False, "dashboard_address": "127.0.0.1:0", "n_workers": 1}
    with distributed.Client(**options) as client:
        run_recipe(small(tmp_path / "given"), client=client)
        run_recipe(small(tmp_path / "current"))
    assert stored_bytes(tmp_path / "given") == stored_bytes(finished)
    assert stored_bytes(tmp_path / "current") == stored_bytes(finished)


def test_run_recipe__second_time_makes_no_block_and_fresh_all(finished):
    run_recipe(small(finished))
    assert not any(stage["blocks_run"] for stage in summary(finished).values())
    run_recipe(small(finished), resume=False)
    assert not any(stage["blocks_skipped"] for stage in summary(finished).values())


def test_run_recipe__simulates_electrons_as_python_does(tmp_path):
    table = small(tmp_path)["simulate"] | {"shape": [12, 24, 28], "electrons_per_pixel": 20}
    table |= {"model": "monte_carlo"}
    run_recipe({"simulate": table, "output": {"path": str(tmp_path / "out"), "report": False}})
    expected = simulate_stack(**table)
    images = open_stack(tmp_path / "out" / "simulate.zarr")["intensity"]
    np.testing.assert_array_equal(images, expected["intensity"])


def test_run_recipe__prints_nothing(tmp_path, capsys):
    run_recipe(small(tmp_path / "out"))
    assert capsys.readouterr() == ("", "")


def test_run_recipe__stored_input_is_not_copied(stack, tmp_path):
    path = save_stack(stack, tmp_path / "stack.zarr")
    recipe = {
        "input": {"path": str(path)},
        "reposition": {"spacing": 5},
        "output": {"path": str(tmp_path / "out"), "report": False},
    }
    result = run_recipe(recipe)
    assert list(summary(tmp_path / "out")) == ["reposition"]
    measured = result.isel(z=result["measured"].values)
    assert np.array_equal(measured["phase"], stack["phase"])


def test_run_recipe__statistics_need_a_phase(stack, tmp_path):
    path = save_stack(stack.drop_vars("phase"), tmp_path / "stack.zarr")
    recipe = {"input": {"path": str(path)}, "statistics": {"max_lag": 2}}
    recipe["output"] = {"path": str(tmp_path / "out")}
    with pytest.raises(RecipeError, match=r"\[statistics\] needs a phase; add \[segment\]"):
        run_recipe(recipe)
    assert not (tmp_path / "out").exists()


def test_run_recipe__log_names_every_stage(finished):
    log = (finished / "fibdask.log").read_text()
    for name in (*STAGES, "statistics"):
        assert re.search(rf"INFO {name}: \d+ run, \d+ skipped, 0 failed", log)


# Statistics


def test_run_recipe__statistics_are_those_of_the_stored_phase(finished):
    phase = open_stack(finished / "inpaint.zarr")["phase"]
    statistics = reopen(RunFolder(finished))[1]
    assert float(statistics["solid_fraction"]) == float(phase.mean())
    assert statistics["two_point_correlation"].sizes == {"axis": 3, "lag": 13}


def test_run_recipe__accuracy_is_that_of_the_slices(finished):
    stack = open_stack(finished / "segment.zarr")
    truth = open_stack(finished / "simulate.zarr")["true_phase"].values
    misplaced = 100 * np.mean(stack["phase"].values != truth)
    assert float(reopen(RunFolder(finished))[1]["misplaced"]) == pytest.approx(misplaced)


def test_run_recipe__tells_nothing_of_the_phase_that_its_input_had(stack, tmp_path):
    truth = stack["phase"]
    other = stack.assign(true_phase=truth, phase=1 - truth)
    other["solid_probability"] = other["phase"].astype(np.float32)
    recipe = {
        "input": {"path": str(save_stack(other, tmp_path / "stack.zarr"))},
        "segment": {"method": "threshold", "threshold": 120, "voltage": 1},
        "reposition": {"spacing": 5},
        "inpaint": {"method": "nearest"},
        "statistics": {"max_lag": 2},
        "output": {"path": str(tmp_path / "out"), "report": False},
    }
    run_recipe(recipe)
    statistics = reopen(RunFolder(tmp_path / "out"))[1]
    assert float(statistics["misplaced"]) == 0
    assert "expected_misplaced" not in statistics


def test_run_recipe__compares_the_volume_with_the_structure_that_was_simulated(finished):
    statistics = reopen(RunFolder(finished))[1]
    truth = open_stack(finished / "structure.zarr")["phase"]
    phase = open_stack(finished / "inpaint.zarr")["phase"]
    assert float(statistics["true_solid_fraction"]) == float(truth.mean())
    expected = ligament_diameter(truth).compute()
    np.testing.assert_array_equal(statistics["true_ligament_diameter"], expected)
    misplaced = 100 * np.mean(truth[: phase.sizes["z"]].values != phase.values)
    assert float(statistics["volume_misplaced"]) == pytest.approx(misplaced)


def test_run_recipe__warnings_stand_beside_the_statistics_and_in_the_log(finished):
    found = reopen(RunFolder(finished))[1].attrs["warnings"]
    coarse = [text for text in found if text.startswith("voxels as imaged have sides of")]
    assert len(coarse) == 1
    assert f"WARNING {coarse[0]}" in (finished / "fibdask.log").read_text()


# Options of [output]


def test_output__stores_results_only_by_default(finished):
    assert [stored(finished, stage) for stage in STAGES] == [
        ["phase"],
        ["intensity", "true_phase"],
        ["phase"],
        ["phase"],
        ["phase"],
    ]


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (["intensity", "phase"], ["intensity", "phase"]),
        (["phase", "true_phase"], ["phase", "true_phase"]),
    ],
)
def test_output__variables_are_stored_after_every_stage(finished, tmp_path, wanted, kept):
    run_recipe(small(tmp_path / "out", variables=wanted))
    for stage in STAGES[2:]:
        assert stored(tmp_path / "out", stage) == kept
        phase = open_stack(tmp_path / "out" / f"{stage}.zarr")["phase"]
        assert phase.equals(open_stack(finished / f"{stage}.zarr")["phase"])


def test_output__variables_that_are_not_there_yet_leave_the_images(tmp_path):
    np.save(tmp_path / "images.npy", np.arange(4 * 16 * 16, dtype=np.uint16).reshape(4, 16, 16))
    table = {"path": str(tmp_path / "images.npy"), "voltage": 2, "pixel_size": 5}
    recipe = {
        "input": table | {"slice_thickness": 10},
        "reposition": {"spacing": 10},
        "output": {"path": str(tmp_path / "out"), "report": False, "variables": ["phase"]},
    }
    run_recipe(recipe)
    assert stored(tmp_path / "out", "reposition") == ["intensity"]


@pytest.mark.parametrize(("mib", "block"), [(1, (64, 128, 128)), (64, (64, 128, 192))])
def test_output__block_mib_bounds_the_blocks_but_not_the_values(images, mib, block):
    images["output"]["block_mib"] = mib
    phase = run_recipe(images | {"segment": {"method": "threshold", "threshold": 99}})["phase"]
    assert phase.data.chunksize == block
    assert np.array_equal(phase, np.load(images["input"]["path"]) > 99)


def attributes(folder, stage):
    return xr.open_zarr(folder / f"{stage}.zarr").attrs


@pytest.mark.parametrize("wanted", [True, False])
def test_output__pyramid_can_be_left_out(tmp_path, wanted):
    recipe = small(tmp_path / "out", pyramid=wanted)
    recipe["simulate"]["shape"] = [40, 72, 136]  # large enough for one
    run_recipe(recipe)
    levels = attributes(tmp_path / "out", "inpaint")["ome"]["multiscales"][0]["datasets"]
    assert len(levels) == 1 + wanted


def test_run_recipe__describes_every_store_of_even_z_to_viewers(finished):
    found = {stage: attributes(finished, stage) for stage in STAGES}
    even = {stage for stage in STAGES if found[stage]["z_sampling"] == "regular"}
    assert even == {"structure", "reposition", "inpaint"}
    assert even == {stage for stage in STAGES if "ome" in found[stage]}


@pytest.mark.parametrize("wanted", [True, False])
def test_output__report_can_be_left_out(tmp_path, wanted):
    recipe = small(tmp_path / "out", report=wanted)
    del recipe["statistics"], recipe["inpaint"]
    run_recipe(recipe)
    assert (tmp_path / "out" / "report.html").exists() is wanted


# What a plan and a run promise


@pytest.mark.parametrize("kept", [["phase"], ["intensity", "phase"]])
def test_plan_recipe__names_the_blocks_that_are_run(images, tmp_path, kept):
    recipe = images | {
        "output": images["output"] | {"variables": kept},
        "segment": {"method": "otsu"},
        "reposition": {"spacing": 5},
        "inpaint": {"method": "nearest"},
        "statistics": {"max_lag": 4},
    }
    planned: Counter[str] = Counter()
    for row in plan_recipe(recipe)["stages"]:
        assert row["tasks"] <= 2 * row["blocks"]
        planned[row["name"].removesuffix(" pyramid")] += row["blocks"]
    run_recipe(recipe)
    ran = summary(tmp_path / "out")
    assert planned == {name: stage["blocks"] for name, stage in ran.items()}


@pytest.mark.memory
@pytest.mark.cluster
def test_run__peak_stays_below_forecast_and_forecast_below_limit(call, tmp_path):
    recipe = write_recipe(tmp_path, size=144)
    text = recipe.read_text().replace("[144, 144, 144]", "[80, 80, 144]")  # enough for a pyramid
    recipe.write_text(text.replace("2 GiB", "1 GiB"))
    planned, _ = call("plan", recipe, "--json")
    promised = max(row["task_bytes"] for row in json.loads(planned)["stages"])
    fibdask("run", recipe, "--quiet")
    for name, stage in status(tmp_path / "out").items():
        assert 0 < stage["peak_bytes"] <= stage["forecast_bytes"] <= promised, name
    assert promised <= 2**30


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_run_recipe__reads_stores_of_both_formats_that_others_wrote(
    finished, tmp_path, zarr_format
):
    phase = open_stack(finished / "inpaint.zarr")[["phase"]].load().drop_encoding()
    path = tmp_path / "s.zarr"
    phase.drop_attrs(deep=False).to_zarr(path, zarr_format=zarr_format, consolidated=False)
    output = {"path": str(tmp_path / "out"), "report": False}
    stack = run_recipe(
        {"input": {"path": str(path)}, "statistics": {"max_lag": 4}, "output": output}
    )
    assert (stack["phase"].values == phase["phase"].values).all()


# What a full disk says


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_run_recipe__full_disk_is_told_with_its_folder(tmp_path, monkeypatch, code):
    def full(*given, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(runner, "write_stack", full)
    with pytest.raises(StackReadError, match=rf"^the disk of {tmp_path}/out is full; make room"):
        run_recipe(small(tmp_path / "out"))
    told = json.loads((tmp_path / "out" / "run.json").read_text())["error"]
    assert told.startswith(f"the disk of {tmp_path}/out is full")


def test_run_recipe__blocks_that_failed_for_a_full_disk_tell_its_folder(tmp_path, monkeypatch):
    cause = f"OSError: [Errno {errno.ENOSPC}] {os.strerror(errno.ENOSPC)}"
    report = StageReport("structure", 1, failures=[BlockFailure((0, 0, 0), "z 0:40", cause)])
    monkeypatch.setattr(runner, "write_stack", lambda *given, **options: [report])
    with pytest.raises(BlocksFailedError) as failed:
        run_recipe(small(tmp_path / "out"))
    first, block, last = str(failed.value).split("\n")
    assert first == "1 block failed; finished blocks are kept"
    assert block.endswith(cause)
    assert last.startswith(f"the disk of {tmp_path}/out is full")


def test_run_recipe__other_failures_do_not_speak_of_the_disk(tmp_path, monkeypatch):
    report = StageReport("structure", 1, failures=[BlockFailure((0, 0, 0), "z 0:40", "why")])
    monkeypatch.setattr(runner, "write_stack", lambda *given, **options: [report])
    with pytest.raises(BlocksFailedError, match=r"why$"):
        run_recipe(small(tmp_path / "out"))
