"""Stages that look at all slices before they change any: align and thickness in a run."""

import json
import re
import shutil
import tomllib
from types import SimpleNamespace

import numpy as np
import pytest
import tomli_w
import xarray as xr
from scipy import ndimage

import fibdask as fd
from fibdask import RecipeError, open_stack, run_recipe, save_stack
from fibdask.blocks.engine import resources
from fibdask.conventions import FibdaskWarning, build_stack
from fibdask.io.metadata import seal_store
from fibdask.run.folder.results import compute_once
from fibdask.run.planner import plan_recipe
from fibdask.run.recipe import read_recipe
from fibdask.run.viewing import viewed_volumes
from tests.run.helpers import kill_tree, start, stored_bytes
from tests.thickness.naive import render_ruler

# The texture of so small a stack misses the mean thickness by a tenth.
pytestmark = pytest.mark.filterwarnings("ignore:slices are estimated to be")

SIMULATE = {
    "shape": [60, 96, 96],
    "voxel_size": [2.5, 5, 5],
    "ligament_size": [40],
    "solid_fraction": [0.4],
    "mean_thickness": 10,
    "std_thickness": 2,
    "voltage": [0.5, 2],
    "model": "analytic",
    "shift_std": 5,
    "gain_std": 0.1,
    "curtaining": 0.05,
    "seed": 3,
}
REPAIR = {
    "align": {},
    "curtaining": {},
    "brightness": {},
    "thickness": {"method": "images", "lost": "interpolate"},
}
STAGES = {
    "segment": {"method": "kmeans"},
    "reposition": {"spacing": 5},
    "inpaint": {"method": "distance"},
    "statistics": {"max_lag": 12},
}
BLANK = 6


def recipe(folder, **changes):
    """Return a recipe that repairs simulated images, some tables of it replaced."""
    output = {"path": str(folder), "report": False}
    tables = {"simulate": SIMULATE, **REPAIR, **STAGES, "output": output}
    return {"title": "small", **tables, **changes}


def stages(folder):
    """Return the summaries of the stages of the last run."""
    run = json.loads((folder / "run.json").read_text())
    return {stage["name"]: stage for stage in run["stages"]}


def ran(folder):
    """Return the stages of which the last run made blocks."""
    return {name for name, stage in stages(folder).items() if stage["blocks_run"]}


def estimate(folder, name):
    return xr.open_zarr(folder / f"{name}-estimate.zarr", chunks=None).load()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    run_recipe(recipe(folder))
    return folder


def test_run__measures_a_ruler_before_stripes_are_taken_out(tmp_path):
    true = np.random.default_rng(3).gamma(10.6, 10.16 / 10.6, 30)
    slices, ruler = render_ruler(true, pixel=3.26, shape=(128, 900), half=300, seed=1)
    stack = build_stack(
        {"intensity": slices[None]},
        z=10.0 * np.arange(len(slices)),
        pixel_size=(3.26, 3.26),
        nominal_thickness=10.0,
        voltage=np.array([2.0]),
    )
    save_stack(stack, tmp_path / "raw.zarr")
    tables = {
        "input": {"path": str(tmp_path / "raw.zarr")},
        "curtaining": {},
        "thickness": {"ruler": ruler},
        "output": {"path": str(tmp_path / "out"), "report": False},
    }
    repaired = run_recipe(tables)
    np.testing.assert_allclose(np.diff(repaired["z"].values), true, atol=1.0)
    steps = [json.loads(record)["step"] for record in repaired.attrs["provenance"]]
    assert steps.index("apply_slice_thickness") < steps.index("remove_curtaining")


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    """Images of which one shows nothing, the run that they are the input of, and its folder."""
    folder = tmp_path_factory.mktemp("blank")
    stack = open_images()
    stack["intensity"][:, BLANK] = 0
    save_stack(stack, folder / "images.zarr")
    tables = recipe(folder / "out", input={"path": str(folder / "images.zarr")})
    del tables["simulate"]
    return stack, run_recipe(tables), folder / "out"


def open_images():
    return fd.simulate_stack(**SIMULATE).compute()


# Resuming


def test_run__second_time_executes_no_block(copy):
    assert {"align measurement", "thickness measurement", "brightness histogram"} <= ran(copy)
    run_recipe(recipe(copy))
    assert not ran(copy)


def test_run__changed_alignment_remakes_what_follows(copy):
    run_recipe(recipe(copy, align={"neighbours": 2}))
    assert not ran(copy) & {"structure", "simulate"}
    assert {"align measurement", "align", "curtaining", "thickness measurement"} <= ran(copy)


def test_run__other_border_of_aligned_slices_measures_no_pair_again(copy):
    with pytest.warns(FibdaskWarning, match="of the pixels are filled"):
        stack = run_recipe(recipe(copy, align={"outside": "zero"}))
    assert 0 < stack["filled_share"].max() < 0.2
    assert not ran(copy) & {"structure", "simulate", "align measurement"}
    assert {"align", "curtaining", "thickness measurement"} <= ran(copy)


def test_run__changed_thickness_leaves_images_as_they_are(copy):
    thickness = {**REPAIR["thickness"], "voltage": 2}
    run_recipe(recipe(copy, thickness=thickness))
    images = {"structure", "simulate", "align measurement", "align", "curtaining", "brightness"}
    assert not ran(copy) & images
    assert {"thickness measurement", "reposition", "inpaint"} <= ran(copy)


def test_run__without_the_tables_their_stores_go_when_told(copy):
    fewer = {k: v for k, v in recipe(copy).items() if k not in REPAIR}
    with pytest.raises(RecipeError, match="it makes no align, curtaining, brightness"):
        run_recipe(fewer)
    run_recipe(fewer, resume=False)
    assert not list(copy.glob("*-estimate.zarr"))
    assert not any((copy / f"{name}.zarr").exists() for name in REPAIR)


@pytest.mark.cluster
@pytest.mark.parametrize("place", ["/align-estimate.zarr", "/brightness.zarr/intensity/c/"])
def test_run__killed_ends_byte_identical(finished, tmp_path, hold, place):
    out = tmp_path / "out"
    path = tmp_path / "recipe.toml"
    path.write_text(tomli_w.dumps(recipe(out, cluster={"workers": 1, "memory": "2 GiB"})))
    held = hold(place)
    process = start("run", path, "--quiet", hold=held)
    held.wait()
    kill_tree(process)
    assert not (out / "inpaint.zarr").exists()
    run_recipe(recipe(out))
    assert not ran(out) & {"structure", "simulate", "align measurement"}
    assert stored_bytes(out) == stored_bytes(finished)


# Results


def test_run__equals_functions_called_by_hand(finished):
    raw = open_images()
    shifts = fd.estimate_shifts(raw)
    stack = fd.apply_shifts(raw, shifts)
    bad = (shifts["flag"] > 0).any("voltage").values
    assert not bad.any()
    stack = fd.equalize_brightness(fd.remove_curtaining(stack))
    thickness = fd.estimate_slice_thickness(stack, method="images")
    stack = fd.apply_slice_thickness(stack, thickness, lost="interpolate")
    stack = fd.segment_phases(stack, method="kmeans")
    filled = fd.inpaint_gaps(fd.reposition_slices(stack, spacing=5), method="distance")
    assert open_stack(finished / "inpaint.zarr")["phase"].equals(filled["phase"])
    assert estimate(finished, "align").equals(shifts)
    assert estimate(finished, "thickness")["thickness"].equals(thickness)


def test_run__records_every_step_in_order(finished):
    stack = open_stack(finished / "inpaint.zarr")
    steps = [json.loads(record)["step"] for record in stack.attrs["provenance"]]
    wanted = ["estimate_shifts", "apply_shifts", "remove_curtaining", "equalize_brightness"]
    wanted += ["apply_slice_thickness", "segment_phases", "reposition_slices", "inpaint_gaps"]
    assert [step for step in steps if step in wanted] == wanted


def test_run__slice_that_shows_nothing_is_left_out_and_filled(blank):
    stack, result, folder = blank
    assert np.flatnonzero(estimate(folder, "align")["flag"].any("voltage")).tolist() == [BLANK]
    assert np.flatnonzero(estimate(folder, "thickness")["lost"]).tolist() == [BLANK]
    slices = open_stack(folder / "segment.zarr")
    assert np.flatnonzero(~slices["measured"].values).tolist() == [BLANK]
    assert result["measured"].sum() == stack.sizes["z"] - 1
    plane = round(float(slices["z"][BLANK]) / 5)
    assert not result["measured"][plane]
    assert 0.2 < float(result["phase"][plane].mean()) < 0.6


def test_run__lost_slices_are_refused_by_default(blank, tmp_path):
    *_, folder = blank
    images = {"path": str(folder.parent / "images.zarr")}
    tables = recipe(tmp_path, input=images, thickness={"method": "images"})
    del tables["simulate"]
    message = rf"^\[thickness\] thickness must be known; 2 of .* slice {BLANK - 1} the first"
    with pytest.raises(RecipeError, match=message):
        run_recipe(tables)


def test_report__is_written_again_with_what_was_estimated(call, copy):
    page = copy / "report.html"
    run_recipe(recipe(copy, output={"path": str(copy)}))
    sections = re.findall(r'<section id="(\w+)">', page.read_text(encoding="utf-8"))
    assert {"alignment", "depth"} <= set(sections)
    page.unlink()
    call("report", copy, "--quiet")
    assert re.findall(r'<section id="(\w+)">', page.read_text(encoding="utf-8")) == sections


@pytest.mark.parametrize("given", ["images", "stored"])
def test_report__written_again_tells_the_same_numbers(call, copy, tmp_path, given):
    folder = copy
    tables = recipe(copy, output={"path": str(copy)})
    if given == "stored":  # of which the run makes no copy
        folder = tmp_path / "again"
        images = {"path": str(copy / "simulate.zarr")}
        tables = recipe(tmp_path, input=images, output={"path": str(folder)})
        del tables["simulate"]
    run_recipe(tables)
    page = folder / "report.html"
    first = _numbers(page)
    call("report", folder, "--quiet")
    assert _numbers(page) == first
    assert len(first) > 10


def _numbers(page):
    """Return the cards of a page, and what it tells of images and depths.

    The truth of aligned slices is not kept: it is shown by a run alone.
    """
    text = page.read_text(encoding="utf-8")
    told = re.findall(r"<d[dt][^>]*>.*?</d[dt]>", text, re.DOTALL)
    for section in ("slices", "depth"):
        part = re.search(f'<section id="{section}">.*?</section>', text, re.DOTALL)[0]
        told += re.findall(r"<figcaption>.*?</figcaption>|<td.*?</td>", part, re.DOTALL)
    return [text for text in told if "against the truth" not in text]


@pytest.mark.filterwarnings("default:what the run has read")
@pytest.mark.parametrize(
    ("change", "fault"),
    [("gone", r".*images\.zarr"), ("other", r".*images\.zarr has changed since")],
)
def test_report__of_a_run_whose_input_is_no_more_says_so(call, copy, tmp_path, change, fault):
    images, folder = tmp_path / "images.zarr", tmp_path / "again"
    (copy / "simulate.zarr").rename(images)
    tables = recipe(tmp_path, input={"path": str(images)}, output={"path": str(folder)})
    del tables["simulate"]
    run_recipe(tables)
    images.rename(tmp_path / "elsewhere.zarr")
    if change == "other":
        save_stack(open_stack(tmp_path / "elsewhere.zarr").isel(z=slice(1, None)), images)
    _, told = call("report", folder, "--quiet")
    assert re.search(f"what the run has read is not told of: {fault}", told)
    assert "Slice thickness" in (folder / "report.html").read_text(encoding="utf-8")


def test_viewed_volumes__images_lie_where_their_phase_does(copy, tmp_path):
    tables = recipe(tmp_path, input={"path": str(copy / "simulate.zarr")})
    kept = {key: tables[key] for key in ("input", "thickness", "segment")}
    folder = tmp_path / "again"
    run_recipe({"title": "t", **kept, "output": {"path": str(folder), "report": False}})
    found = viewed_volumes(folder)
    assert found["intensity"]["z"].equals(found["phase"]["z"])
    assert not found["intensity"]["z"].equals(open_stack(copy / "simulate.zarr")["z"])
    shutil.rmtree(folder / "thickness-estimate.zarr")
    assert [*viewed_volumes(folder)] == ["phase"]


def test_report__of_a_regular_volume_tells_no_planes_for_slices(call, copy, tmp_path):
    output = {"path": str(tmp_path / "again")}
    volume = {"path": str(copy / "inpaint.zarr")}
    run_recipe({"title": "t", "input": volume, "statistics": {"max_lag": 12}, "output": output})
    text = (tmp_path / "again" / "report.html").read_text(encoding="utf-8")
    assert "Distance of planes" in text
    assert "Slice thickness" not in text
    assert "Depth of the slices" not in text


# Recipes


def test_plan_recipe__names_measurements_and_makes_two_tasks_a_block_at_most(tmp_path):
    rows = plan_recipe(recipe(tmp_path))["stages"]
    names = list(dict.fromkeys(row["name"] for row in rows))
    assert names[2:9] == [
        "align measurement",
        "align",
        "curtaining",
        "brightness histogram",
        "brightness",
        "thickness measurement",
        "segment histogram",
    ]
    assert all(row["tasks"] <= 2 * row["blocks"] for row in rows)


def test_plan_recipe__expects_alignment_to_bridge_runs_of_bad_slices(tmp_path):
    def needed(**align):
        rows = plan_recipe(recipe(tmp_path, align=align))["stages"]
        return next(row["task_bytes"] for row in rows if row["name"] == "align measurement")

    assert needed(rounds=1) < needed() == needed(neighbours=8) < needed(neighbours=9)


def test_plan_recipe__forecasts_rounds_that_follow_a_jump(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "_own_bytes", lambda: 0)  # what other tests left in the process
    rng = np.random.default_rng(1)
    texture = ndimage.gaussian_filter(rng.standard_normal((12, 240, 240)), (2, 3, 3))
    grey = np.rint(128 + 400 * texture).clip(0, 255).astype(np.uint8)
    jumped = np.stack([plane[20 * (k > 5) :][:200, :200] for k, plane in enumerate(grey)])
    np.save(tmp_path / "images.npy", jumped)
    images = {"voltage": 2, "pixel_size": 5, "slice_thickness": 10}
    tables = {
        "input": {"path": str(tmp_path / "images.npy"), **images},
        "align": {"neighbours": 8, "region": {"y": [60, 140], "x": [60, 140]}, "max_shift": 110},
        "output": {"path": str(tmp_path / "out"), "report": False},
    }
    planned = {row["name"]: row["task_bytes"] for row in plan_recipe(tables)["stages"]}
    run_recipe(tables)
    steps = np.diff(estimate(tmp_path / "out", "align")["shift_y"])
    assert abs(steps).max() == pytest.approx(100, abs=10)  # 20 pixels in nm
    found = stages(tmp_path / "out")["align measurement"]
    assert found["forecast_bytes"] <= planned["align measurement"]


def test_plan_recipe__names_the_blocks_that_are_run(finished):
    planned = {}
    for row in plan_recipe(recipe(finished))["stages"]:
        planned[row["name"]] = planned.get(row["name"], 0) + row["blocks"]
    found = {name: stage["blocks"] for name, stage in stages(finished).items()}
    assert {name: found[name] for name in planned if "pyramid" not in name} == {
        name: count for name, count in planned.items() if "pyramid" not in name
    }


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("align", {"neighbors": 2}, r"'neighbors' in \[align\]; did you mean 'neighbours'"),
        (
            "align",
            {"neighbours": 0},
            r"^\[align\] neighbours must be a whole number >= 1; got 0",
        ),
        ("align", {"neighbours": "x"}, r"^\[align\] neighbours = 'x': Input should be a valid int"),
        ("align", {"outside": "wrap"}, r"^\[align\] outside must be one of .*; got 'wrap'"),
        ("align", {"shifts": 1}, r"unknown key 'shifts' in \[align\]"),
        (
            "curtaining",
            {"length": 1.0},
            r"^\[curtaining\] length must be from 4 to 96 pixels along y .* 1\.0",
        ),
        (
            "brightness",
            {"shading": 7},
            r"^\[brightness\] shading = 7: Input should be a valid bool",
        ),
        ("thickness", {}, r"^\[thickness\] .*ruler.* got [nN]one"),
        ("thickness", {"method": "x"}, r"^\[thickness\] method must be one of .*; got 'x'"),
        ("thickness", {"method": "images", "lost": "x"}, r"^\[thickness\] lost must be .* got 'x'"),
    ],
)
def test_recipe__wrong_table_is_refused_by_name(tmp_path, table, content, message):
    tables = tomllib.loads(tomli_w.dumps(recipe(tmp_path, **{table: content})))
    with pytest.raises(RecipeError, match=message):
        plan_recipe(read_recipe(tables))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (xr.Dataset(coords={"z": [10.0, 60.0]}), xr.Dataset(coords={"z": [100.0, 600.0]})),
        (xr.Dataset(attrs={"reason": "too near"}), xr.Dataset(attrs={"reason": "too few"})),
    ],
)
def test_compute_once__takes_nothing_of_other_places_or_words(tmp_path, first, second):
    folder = SimpleNamespace(store=lambda name: tmp_path / name)
    execution = SimpleNamespace(resume=True)
    made = compute_once(first, execution, folder, "estimate")
    made.to_zarr(tmp_path / "estimate", zarr_format=3, consolidated=False)
    seal_store(tmp_path / "estimate")
    again = compute_once(second, execution, folder, "estimate")
    assert again.drop_attrs().identical(second.drop_attrs())
    assert again.attrs.get("reason") == second.attrs.get("reason")
    same = compute_once(first, execution, folder, "estimate")
    assert same.attrs["made_of"] == made.attrs["made_of"] != again.attrs["made_of"]
