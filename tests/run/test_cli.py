"""Every command: what it prints, what it writes, and how it exits."""

import contextlib
import csv
import io
import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import click
import distributed
import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from fibdask import open_stack, run_recipe, save_stack
from fibdask.__main__ import main as load_and_run
from fibdask.blocks import locked
from fibdask.conventions import FibdaskWarning, record_step
from fibdask.learn.models import shipped_models
from fibdask.run import telling
from fibdask.run.cli import cli, main
from fibdask.run.folder.figures import MEASURED
from fibdask.run.recipe import read_recipe
from fibdask.run.runner import Pipeline
from tests.holding import PATIENCE
from tests.io.naive import write_dat
from tests.pieces.models import CARD, MixModel, offer

RECIPE = """
title = "small"
[simulate]
model = "analytic"
shape = [40, 72, 68]
voxel_size = [5, 4, 3]
ligament_size = [60]
solid_fraction = [0.4]
mean_thickness = 15
std_thickness = 4
voltage = [1, 2]
seed = 3
[segment]
[reposition]
spacing = 5
[inpaint]
[statistics]
max_lag = 12
[output]
path = "out"
"""
STRUCTURE_KEYS = {"shape", "voxel_size", "ligament_size", "solid_fraction"}
STAGE_KEYS = {
    "name",
    "blocks",
    "blocks_run",
    "blocks_skipped",
    "blocks_failed",
    "seconds",
    "forecast_bytes",
    "peak_bytes",
    "failures",
}
SPEED_KEYS = {*MEASURED, "blocks_retried", "waiting_seconds", "blocks_elsewhere"}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def finished(recipe):
    """The folder of a run."""
    run_recipe(recipe)
    return recipe.parent / "out"


@pytest.fixture(scope="module")
def scheduler():
    """Address of a scheduler with one worker, both in this process."""
    options = {"processes": False, "protocol": "tcp", "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster:
        yield cluster.scheduler_address


def write_images(folder, *, count=5, shift=0):
    folder.mkdir()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, (count, 20, 24), dtype=np.uint8) + np.uint8(shift)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"slice_{number:03}.png")
    return images


# import


def test_import__folder_of_slices(call, tmp_path):
    images = write_images(tmp_path / "images")
    options = ["--voltage", 2, "--pixel-size", "4,3", "--slice-thickness", 10]
    out, _ = call("import", tmp_path / "images", tmp_path / "a.zarr", *options)
    assert out.splitlines()[-1] == f"stack: {tmp_path / 'a.zarr'}"
    stack = open_stack(tmp_path / "a.zarr")
    assert np.array_equal(stack["intensity"][0], images)
    assert stack["voltage"].values.tolist() == [2]
    assert np.diff(stack["y"])[0] == 4
    assert np.diff(stack["x"])[0] == 3
    assert stack["z"].values.tolist() == [0, 10, 20, 30, 40]


def test_import__several_voltages(call, tmp_path):
    low = write_images(tmp_path / "low")
    high = write_images(tmp_path / "high", shift=50)
    options = ["--voltage", 2, "--voltage", 1, "--pixel-size", 3, "--slice-thickness", 10]
    call("import", tmp_path / "high", tmp_path / "low", tmp_path / "a.zarr", *options)
    stack = open_stack(tmp_path / "a.zarr")
    assert stack["voltage"].values.tolist() == [1, 2]
    assert np.array_equal(stack["intensity"], np.stack([low, high]))


def test_import__depths_from_a_table(call, tmp_path):
    write_images(tmp_path / "images")
    (tmp_path / "z.csv").write_text("slice,z_um\n0,0\n1,0.009\n2,0.021\n3,0.03\n4,0.042\n")
    options = ["--voltage", 2, "--pixel-size", 3, "--z-file", tmp_path / "z.csv", "--quiet"]
    assert call("import", tmp_path / "images", tmp_path / "a.zarr", *options) == ("", "")
    assert open_stack(tmp_path / "a.zarr")["z"].values == pytest.approx([0, 9, 21, 30, 42])


def test_import__detector_may_be_a_position(call, tmp_path):
    frames = np.arange(40, dtype=np.int16).reshape(2, 4, 5)
    write_dat(tmp_path / "a.dat", frames)
    options = ["--voltage", 0.9, "--pixel-size", 4, "--slice-thickness", 10, "--detector", 1]
    call("import", tmp_path / "a.dat", tmp_path / "a.zarr", *options)
    read = open_stack(tmp_path / "a.zarr")["intensity"][0, 0]
    assert np.array_equal(read, frames[1].astype(int) + 32768)


def test_import__part_of_a_dataset(call, tmp_path):
    volumes = {name: np.full((4, 20, 24), grey, np.uint8) for name, grey in (("a", 3), ("b", 7))}
    with h5py.File(tmp_path / "v.h5", "w") as file:
        for name, volume in volumes.items():
            file[name] = volume
    options = ["--voltage", 2, "--pixel-size", 3, "--slice-thickness", 9, "--dataset", "b"]
    options += ["--crop", "y", 5, 15, "--crop", "x", 0, 7]
    call("import", tmp_path / "v.h5", tmp_path / "a.zarr", *options)
    assert np.array_equal(
        open_stack(tmp_path / "a.zarr")["intensity"][0], volumes["b"][:, 5:15, :7]
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a", "b"], 2, "2 sources need as many --voltage; got 1"),
        (["a", "--voltage", 2], 2, "one source needs one --voltage; got 2"),
        (["a", "--pixel-size", "wide"], 2, "must be one number or 'y,x' in nm; got 'wide'"),
        (["a", "--pixel-size", "-3"], 1, "must be (y, x) or one number, finite and > 0 nm"),
        (["a"], 1, "pixel_size is needed"),
        (["a", *["--crop", "y", 0, 4] * 2], 2, "--crop is given once for each axis; got y and y"),
        (["nothing"], 1, "nothing"),
    ],
)
def test_import__says_what_is_wrong(call, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "a")
    _, err = call("import", *arguments, "out.zarr", "--voltage", 1, code=code)
    assert message in err
    assert not (tmp_path / "out.zarr").exists()


# info, check, plan


def test_info__says_what_a_stack_holds(call, stack, tmp_path):
    path = save_stack(stack, tmp_path / "a.zarr")
    found = json.loads(call("info", path, "--json")[0])
    assert found["sizes"] == {"voltage": 2, "z": 7, "y": 70, "x": 66}
    assert found["variables"]["intensity"]["dtype"] == "uint8"
    assert found["variables"]["phase"]["bytes"] == 7 * 70 * 66
    assert found["voltage_kv"] == [1, 2]
    assert found["pixel_size_nm"] == [3, 4]
    assert found["z_regular"] is False
    assert found["slice_thickness_nm"]["max"] == 12


def test_info__reads_well(call, finished):
    out, _ = call("info", finished / "inpaint.zarr")
    for shown in ("72 y × 68 x", "pixel: 4 × 3 nm", "slices: 5 nm, evenly spaced", "phase: uint8"):
        assert shown in out
    assert "step: reposition_slices: spacing = 5.0\n" in out


def test_info__of_a_model_says_what_it_knows_in_lines(call):
    model = shipped_models()[0]
    for given in (model.name, model.folder):
        out, _ = call("info", given)
        assert out.startswith(f"{model.name}, a model of ")
        assert f"  licence: {model.card['licence']}\n" in out
        assert all(len(line) < 120 for line in out.splitlines())
    assert json.loads(call("info", model.name, "--json")[0]) == dict(model.card)


def test_info__of_what_a_network_made_names_the_model_in_a_line(call, stack, tmp_path):
    card = CARD | {"errors": {"misplaced": 1.25}, "conditions": [{"voltages": [1.0]}]}
    record = {"spacing": 2.5, "model": "mix", "model_fingerprint": "abc", "model_card": card}
    path = save_stack(record_step(stack, "reconstruct_volume", record, ""), tmp_path / "a.zarr")
    out, _ = call("info", path)
    told = "    by model mix, 1.25 % of voxels wrong on data that it had not seen\n"
    assert f"  step: reconstruct_volume: spacing = 2.5\n{told}" in out
    assert "abc" not in out


def test_info__describes_a_run(call, finished):
    out, _ = call("info", finished)
    assert out.splitlines()[1].startswith("  run: small: done (")
    assert "  store simulate: intensity, true_phase; " in out
    assert "  store statistics\n" in out
    assert "[reposition]\nspacing = 5.0\n" in out
    found = json.loads(call("info", finished, "--json")[0])
    assert found["stores"]["inpaint"]["sizes"]["x"] == 68
    assert found["stores_of_earlier_runs"] == []


def test_info__tells_stores_of_earlier_runs_apart(call, finished):
    (finished / "align.zarr").mkdir()
    try:
        assert "  of earlier runs: align\n" in call("info", finished)[0]
    finally:
        (finished / "align.zarr").rmdir()


def test_info__is_quiet(call, finished):
    assert call("info", finished / "inpaint.zarr", "--quiet") == ("", "")


def test_check__says_that_a_recipe_is_fine(call, recipe):
    out, _ = call("check", recipe)
    assert out.startswith(f"{recipe} is fine: 2 voltage × ")
    found = json.loads(call("check", recipe, "--json")[0])
    assert found["least_bytes"] <= found["worker_bytes"]
    assert "a worker of 1 thread needs" in out
    assert out.endswith(": it fits\n")


def test_check__computes_and_writes_nothing(call, recipe, tmp_path):
    call("check", recipe, "--out", tmp_path / "elsewhere")
    call("plan", recipe, "--out", tmp_path / "elsewhere", "--quiet")
    assert not (tmp_path / "elsewhere").exists()


def test_check__finds_what_a_stage_refuses(call, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace("[inpaint]", '[inpaint]\nmethod = "magic"'))
    _, err = call("check", path, code=2)
    assert "[inpaint] method must be" in err
    assert "'magic'" in err


def test_plan__forecasts_every_stage(call, recipe):
    plan = json.loads(call("plan", recipe, "--json")[0])
    names = list(dict.fromkeys(row["name"] for row in plan["stages"]))
    stages = [
        "structure",
        "simulate",
        "segment histogram",
        "segment",
        "reposition",
        "inpaint",
        "statistics",
    ]
    assert names == stages
    for row in plan["stages"]:
        assert 0 < row["blocks"] <= row["tasks"] <= 2 * row["blocks"]
        assert 0 < row["disk_bytes"] < row["task_bytes"]
    assert plan["disk_bytes"] == sum(row["disk_bytes"] for row in plan["stages"])


def test_plan__reads_well(call, recipe):
    out, _ = call("plan", recipe)
    assert out.splitlines()[1].split()[:4] == ["stage", "variable", "blocks", "tasks"]
    assert out.splitlines()[-2].endswith(": it fits")


# simulate


@pytest.fixture(scope="module")
def simulated(recipe, tmp_path_factory):
    """A folder in which the structure and the images of the recipe were made."""
    folder = tmp_path_factory.mktemp("simulated") / "out"
    Pipeline(
        read_recipe(recipe, output_path=folder), resume=True, quiet=True, until="simulate"
    ).run(None)
    return folder


def test_simulate__stores_structure_truth_thickness_and_images(call, recipe, scheduler, tmp_path):
    out, _ = call("simulate", recipe, "--out", tmp_path / "out", "--scheduler", scheduler)
    assert out.splitlines()[-1] == f"stack: {tmp_path / 'out' / 'simulate.zarr'}"
    structure = open_stack(tmp_path / "out" / "structure.zarr")
    stack = open_stack(tmp_path / "out" / "simulate.zarr")
    assert stack["intensity"].dims == ("voltage", "z", "y", "x")
    assert len(np.unique(stack["slice_thickness"])) > 2
    truth = structure["phase"].sel(z=stack["z"].values)
    assert np.array_equal(stack["true_phase"], truth)
    assert not (tmp_path / "out" / "segment.zarr").exists()


def test_simulate__is_what_run_begins_with(call, simulated, finished):
    stack, expected = (open_stack(out / "simulate.zarr") for out in (simulated, finished))
    assert stack.drop_attrs().identical(expected.drop_attrs())


def test_simulate__keeps_what_a_run_made_after_it(call, recipe, scheduler, finished):
    call("simulate", recipe, "--scheduler", scheduler, "--quiet")
    assert open_stack(finished / "inpaint.zarr")["phase"].any()
    stages = {s["name"]: s for s in json.loads((finished / "run.json").read_text())["stages"]}
    assert {s["blocks_run"] for s in stages.values()} == {0}


def test_simulate__images_the_structure_of_an_input(call, scheduler, simulated, tmp_path):
    recipe = tmp_path / "again.toml"
    text = RECIPE[RECIPE.index("[simulate]") : RECIPE.index("[segment]")]
    own = [line for line in text.splitlines() if line.split(" ")[0] not in STRUCTURE_KEYS]
    recipe.write_text("\n".join(own))
    structure = simulated / "structure.zarr"
    out = tmp_path / "out"
    call("simulate", recipe, "--input", structure, "--out", out, "--scheduler", scheduler)
    stack, expected = (open_stack(folder / "simulate.zarr") for folder in (out, simulated))
    assert stack["intensity"].equals(expected["intensity"])


def test_simulate__needs_its_table(call, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('[input]\npath = "images"\n')
    assert "the recipe has no [simulate]; it has [input]" in call("simulate", path, code=2)[1]


# run, status, report


def test_run__of_the_resolved_recipe_on_a_running_scheduler(call, scheduler, finished, tmp_path):
    resolved = finished / "recipe.toml"
    assert "classes = 3" in resolved.read_text()
    out, _ = call("run", resolved, "--out", tmp_path / "out", "--scheduler", scheduler)
    lines = out.splitlines()
    assert lines[0].startswith("dashboard: http")
    assert lines[-1] == f"report: {tmp_path / 'out' / 'report.html'}"
    phase = open_stack(tmp_path / "out" / "inpaint.zarr")["phase"]
    assert phase.equals(open_stack(finished / "inpaint.zarr")["phase"])


def test_run__is_quiet_and_resumes(call, recipe, scheduler, finished):
    assert call("run", recipe, "--scheduler", scheduler, "--quiet") == ("", "")
    stages = json.loads(call("status", finished, "--json")[0])["stages"]
    assert not any(stage["blocks_run"] for stage in stages)


def test_run__either_scheduler_or_cluster(call, recipe):
    _, err = call("run", recipe, "--scheduler", "tcp://x", "--cluster", "local", code=2)
    assert "--scheduler and --cluster exclude each other" in err


def test_status__has_the_promised_keys(call, finished):
    stages = json.loads(call("status", finished, "--json")[0])["stages"]
    assert all(set(stage) == STAGE_KEYS | SPEED_KEYS for stage in stages)
    for stage in stages:
        done = stage["blocks_run"] + stage["blocks_skipped"] + stage["blocks_failed"]
        assert done == stage["blocks"] > 0


def test_status__reads_well(call, finished):
    out, _ = call("status", finished)
    assert out.startswith("small: done (")
    header = ["stage", "blocks", "run", "skipped", "failed", "seconds", "forecast", "peak"]
    assert out.splitlines()[1].split() == header


def test_status__names_failed_blocks(call, tmp_path):
    failure = {"block": [0, 1], "place": "z 0:4", "cause": "disk full"}
    stage = dict.fromkeys(STAGE_KEYS, 1) | {"name": "segment", "failures": [failure]}
    summary = {"title": "t", "state": "failed", "created": "today", "stages": [stage]}
    (tmp_path / "run.json").write_text(json.dumps(summary))
    out, _ = call("status", tmp_path)
    assert out.endswith("failed: segment block (0, 1) (z 0:4): disk full\n")


def test_status__tells_what_ended_a_run(call, tmp_path):
    write_images(tmp_path / "images")
    path = tmp_path / "recipe.toml"
    table = '[input]\npath = "images"\nvoltage = 2\npixel_size = 3\nslice_thickness = 9\n'
    path.write_text(f'{table}[segment]\n[output]\npath = "out"\n')
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.lock").touch()
    (tmp_path / "out" / "counts").write_text("in the way")
    with pytest.raises(OSError, match="counts"):
        run_recipe(path)
    head = call("status", tmp_path / "out")[0].splitlines()[0]
    assert head.startswith("recipe: failed (")
    assert head.count("counts") == 1
    error = json.loads(call("status", tmp_path / "out", "--json")[0])["error"]
    assert head.endswith(f"; {error}")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The run ended early:" in page


def test_report__is_written_anew_and_shows_how_far_it_is(call, finished, monkeypatch):
    monkeypatch.setattr(telling, "_LINE_EVERY", 0.0)
    page = finished / "report.html"
    page.unlink()
    first, *_, last = call("report", finished)[0].splitlines()
    assert first.startswith("report: 1 of ")
    assert last == f"report: {page}"
    text = page.read_text()
    assert "<h1>small</h1>" in text
    assert "Gaps filled" in text


@pytest.mark.parametrize("command", ["status", "report"])
def test_folder__that_is_no_run(call, tmp_path, command):
    _, err = call(command, tmp_path, code=1)
    assert f"{tmp_path} is not the folder of a run" in err


# statistics, export


def test_statistics__prints_and_writes_numbers(call, finished, tmp_path):
    table = tmp_path / "s.csv"
    out, _ = call("statistics", finished, "--max-lag", 3, "--json", "--csv", table)
    found = json.loads(out)
    phase = open_stack(finished / "inpaint.zarr")["phase"]
    assert found["solid_fraction"] == {"dims": [], "values": float(phase.mean())}
    assert np.shape(found["lineal_path"]["values"]) == (3, 4)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    path = [row for row in rows if row["quantity"] == "lineal_path" and row["axis"] == "y"]
    assert [int(row["lag"]) for row in path] == [0, 1, 2, 3]
    assert [float(row["distance"]) for row in path] == [0, 4, 8, 12]
    assert [float(row["value"]) for row in path] == found["lineal_path"]["values"][1]


@pytest.mark.cluster
def test_statistics__made_by_workers_read_well(call, finished, monkeypatch):
    monkeypatch.setattr("fibdask.run.folder.measuring._ALONE", 0)
    out, _ = call("statistics", finished / "inpaint.zarr", "--max-lag", 3)
    assert out.startswith("solid fraction: 0.")
    assert "mean ligament diameter along z: " in out
    assert "isotropy error of lineal path: " in out


def test_statistics__need_a_phase(call, finished):
    _, err = call("statistics", finished / "simulate.zarr", code=1)
    assert "simulate.zarr holds no phase; segment it first" in err


def test_export__phase_reads_back_with_its_spacing(call, finished, tmp_path):
    out, _ = call("export", finished, "--phase", tmp_path / "phase.tif")
    assert out.splitlines()[-1] == f"phase: {tmp_path / 'phase.tif'}"
    with tifffile.TiffFile(tmp_path / "phase.tif") as tif:
        values, metadata = tif.asarray(), tif.imagej_metadata
        resolution = [tif.pages[0].tags[name].value for name in ("XResolution", "YResolution")]
    phase = open_stack(finished / "inpaint.zarr")["phase"].values
    assert np.array_equal(values, 255 * phase)
    assert metadata["spacing"] == 5
    assert metadata["unit"] == "nm"
    assert [size / pixels for pixels, size in resolution] == pytest.approx([3, 4])


def test_export__phase_can_be_imported_again(call, finished, tmp_path):
    call("export", finished, "--phase", tmp_path / "phase.tif", "--quiet")
    call("import", tmp_path / "phase.tif", tmp_path / "again.zarr", "--voltage", 2)
    again, phase = open_stack(tmp_path / "again.zarr"), open_stack(finished / "inpaint.zarr")
    for axis in "zyx":
        assert np.diff(again[axis]) == pytest.approx(np.diff(phase[axis]))


def test_export__statistics_of_a_run_are_those_it_stored(call, finished, tmp_path):
    call("export", finished, "--statistics", tmp_path / "s.csv")
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    quantities = {row["quantity"] for row in rows}
    assert {"solid_fraction", "misplaced", "two_point_correlation"} <= quantities
    assert [row["quantity"] for row in rows] == sorted(row["quantity"] for row in rows)
    assert max(int(row["lag"]) for row in rows if row["lag"]) == 12


def test_export__max_lag_of_a_run_is_used(call, finished, tmp_path):
    call("export", finished, "--statistics", tmp_path / "s.csv", "--max-lag", 3)
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert max(int(row["lag"]) for row in rows if row["lag"]) == 3


def test_export__statistics_of_a_stack_are_computed(call, finished, tmp_path):
    options = ["--statistics", tmp_path / "s.csv", "--max-lag", 2, "--quiet"]
    assert call("export", finished / "inpaint.zarr", *options) == ("", "")
    assert "solid_fraction" in (tmp_path / "s.csv").read_text()


def test_export__says_what_is_wrong(call, finished, tmp_path):
    _, err = call("export", finished, code=2)
    assert "--phase OUT.tif, --image OUT.tif, --surface OUT.stl or --stat" in err
    _, err = call("export", finished, "--phase", tmp_path / "x.tif", "--voltage", 1, code=2)
    assert "--voltage is of --image OUT.tif, which is not given" in err
    for option, name in (("--phase", "x.png"), ("--statistics", "x.tif")):
        _, err = call("export", finished, option, tmp_path / name, code=2)
        assert f"{name} cannot be written as {name[1:]}; the format is " in err
    _, err = call("export", finished, "--phase", tmp_path / "x.tif", "--max-lag", 3, code=2)
    assert "--max-lag is of --statistics OUT.csv, which is not given" in err
    twice = ("--phase", tmp_path / "x.tif", "--image", tmp_path / "x.tif")
    _, err = call("export", finished, *twice, code=2)
    assert "x.tif is to hold two: give two names" in err
    assert not list(tmp_path.iterdir())
    for option in ("--phase", "--statistics"):
        path = tmp_path / "missing" / "file"
        _, err = call("export", finished, option, path, code=1)
        assert f"{path} cannot be written: " in err


def test_status__tells_a_running_run_from_a_killed_one(call, finished):
    path = finished / "run.json"
    text = path.read_text()
    path.write_text(text.replace('"state": "done"', '"state": "running"'))
    try:
        assert "small: interrupted (" in call("status", finished)[0]
        with locked(finished / "run.lock"):
            assert "small: running (" in call("status", finished)[0]
    finally:
        path.write_text(text)


# Usage


def test_fibdask__help_names_every_command(call):
    out, _ = call("--help")
    commands = "check demo export import info init plan report run simulate statistics status"
    for command in commands.split():
        assert f"\n  {command} " in out
        assert call(command, "--help")[0].startswith("Usage: ")
    assert "..." not in out.split("Commands:")[1]


def test_fibdask__version(call):
    assert call("--version")[0].startswith("fibdask, version ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["walk"], "No such command 'walk'"),
        (["run"], "Missing argument 'RECIPE'"),
        (["info", "a", "--jsn"], "Did you mean '--json'?"),
        (["statistics", "a", "--max-lag", "0"], "0 is not in the range x>=1"),
        (["check", "nothing.toml"], "nothing.toml cannot be read: No such file"),
    ],
)
def test_fibdask__wrong_usage_exits_with_two(call, arguments, message):
    assert message in call(*arguments, code=2)[1]


def test_fibdask__title_and_values_forge_no_line(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", np.zeros((4, 40, 44), np.uint8))
    table = '[input]\npath = "images.npy"\nvoltage = 2\npixel_size = 3\nslice_thickness = 9\n'
    text = 'title = "a\\nerror: b\\u001b[2K"\n' + table + '[output]\npath = "out"\nreport = false\n'
    Path("recipe.toml").write_text(text)
    run_recipe("recipe.toml")
    for command in (["plan", "recipe.toml"], ["status", "out"], ["info", "out"]):
        out, _ = call(*command)
        assert "a\\nerror: b\\x1b[2K" in out
        assert not any(line.startswith("error") or "\x1b" in line for line in out.splitlines())
    Path("recipe.toml").write_text(text + '[segment]\nmethod = "x\\nerror: y"\n')
    _, err = call("check", "recipe.toml", code=2)
    assert len(err.splitlines()) == 1


def test_main__tells_each_warning_once(monkeypatch, capsys):
    def warned():
        for _ in range(2):  # as the look at a recipe does, and its run
            warnings.warn("too thin", FibdaskWarning, stacklevel=1)

    warned = click.Command("warned", callback=warned)
    monkeypatch.setitem(cli.commands, "warned", warned)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        main(["warned"])
    assert capsys.readouterr().err == "warning: too thin\n"


def test_fibdask__is_a_module_too(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fibdask", "--version"])
    monkeypatch.delitem(sys.modules, "fibdask.__main__")
    runpy.run_module("fibdask", run_name="__main__")
    assert "version" in capsys.readouterr().out


def make_small(monkeypatch, scheduler, *, report=True):
    """Let the demo be of a small stack, and have a model for it."""
    tables = tomllib.loads(RECIPE) | {"cluster": {"scheduler": scheduler}}
    tables["output"]["report"] = report
    monkeypatch.setattr("fibdask.run.recipe.parse_recipe", lambda _: tables)
    offer(monkeypatch, MixModel(CARD | {"pixel_size": [2.0, 6.0], "gap": [1.0, 40.0]}))


@pytest.fixture(scope="module")
def shown(scheduler, tmp_path_factory):
    """The folder of a small demo, and what it printed."""
    folder, out = tmp_path_factory.mktemp("demo") / "shown", io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        make_small(patch, scheduler)
        main(["demo", "--out", str(folder)])
    return folder, out.getvalue()


@pytest.fixture(params=[True])
def small_demo(request, scheduler, monkeypatch, tmp_path):
    """Where a demo with a small stack may go."""
    make_small(monkeypatch, scheduler, report=request.param)
    return tmp_path / "shown"


without_reports = pytest.mark.parametrize("small_demo", [False], indirect=True, ids=[""])


def blocks_run(folder):
    stages = json.loads((folder / "run.json").read_text())["stages"]
    return {stage["name"]: stage["blocks_run"] for stage in stages}


def test_demo__holds_a_network_against_thresholds_on_the_same_images(shown):
    folder, out = shown
    classical, network = (folder / name for name in ("classical", "network"))
    assert blocks_run(classical)["simulate"] > 0
    made = blocks_run(network)
    assert made["structure"] == made["simulate"] == 0 < made["reconstruct"]
    rows = [line.split("  ")[0] for line in out.splitlines() if re.search(r"(\d\.\d+ +){3}", line)]
    assert rows == ["k-means, slices", "k-means + distance, volume", "network, volume"]
    assert out.splitlines()[-1] == f"report: {network / 'report.html'}"
    for folder in (classical, network):
        assert f"report: {folder / 'report.html'}" in out
        assert "misplaced in planes between slices" in (folder / "report.html").read_text()


def test_demo__fast_asks_for_a_network_that_simulates(call, small_demo):
    _, err = call("demo", "--fast", "--out", small_demo, code=2)
    assert "no model that ships fits these images" in err


def test_demo__is_drawn_for_the_readme(shown, tmp_path):
    script = Path(__file__).parents[2] / "docs" / "picture.py"
    runpy.run_path(str(script))["main"](str(shown[0]), str(tmp_path / "demo.png"))
    picture = np.asarray(Image.open(tmp_path / "demo.png").convert("RGB"))
    for colour in ((41, 56, 84), (87, 181, 232)):  # solid, and pore that was taken for it
        assert (np.abs(picture.astype(int) - colour).max(axis=2) < 4).mean() > 0.001


@without_reports
def test_demo__is_not_made_twice_unless_it_is_to_be_fresh(call, shown, small_demo):
    shutil.copytree(shown[0], small_demo)
    out, _ = call("demo", "--out", small_demo)
    assert len(re.findall(" stored$", out, re.MULTILINE)) == 3
    assert not any(blocks_run(small_demo / "network").values())
    assert call("demo", "--out", small_demo, "--fresh", "--quiet") == ("", "")
    assert blocks_run(small_demo / "classical")["simulate"] > 0
    made = blocks_run(small_demo / "network")
    assert made["simulate"] == 0 < made["reconstruct"]


def test_demo__without_torch_says_what_is_missing(call, small_demo, monkeypatch):
    monkeypatch.setattr("fibdask.run.cli.demo.find_spec", lambda _: None)
    out, _ = call("demo", "--out", small_demo)
    assert "fibdask[learn]" in out
    assert "network, volume" not in out
    assert out.splitlines()[-1] == f"report: {small_demo / 'classical' / 'report.html'}"


@without_reports
def test_demo__refuses_the_folder_of_another_recipe(call, small_demo, finished):
    shutil.copytree(finished, small_demo / "network")
    _, err = call("demo", "--out", small_demo, "--quiet", code=2)
    assert "this is another recipe" in err
    assert (small_demo / "network" / "segment.zarr").is_dir()


SMALLER = """
from fibdask.run import recipe
from fibdask.run.cli import cli, main

parse = recipe.parse_recipe


def smaller(path):
    tables = parse(path)
    tables["simulate"]["shape"] = [64, 64, 64]
    return tables


if __name__ == "__main__":
    recipe.parse_recipe = smaller
    main(["demo", "--out", "shown"])
"""


@pytest.mark.cluster
@pytest.mark.slow
def test_demo__by_workers_and_the_models_that_ship_reports_in_the_given_folder(tmp_path):
    (tmp_path / "smaller.py").write_text(SMALLER)
    command = [sys.executable, "-W", "error", "smaller.py"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    out = done.stdout
    assert "dashboard: http" in out
    assert out.splitlines()[-1] == "report: shown/network/report.html"
    for name in ("classical", "network"):
        assert "Accuracy" in (tmp_path / "shown" / name / "report.html").read_text()


def test_main__interrupted_while_it_is_loaded_says_so(monkeypatch, capsys):
    class Interrupted:
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "fibdask.run.cli", Interrupted())
    with pytest.raises(SystemExit, match="1"):
        load_and_run()
    assert capsys.readouterr().err == "interrupted; run again to go on\n"
