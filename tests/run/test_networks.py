"""Recipes with networks: planned, run, resumed, measured and reported as any other."""

import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest

import fibdask
from fibdask import FibdaskWarning, RecipeError, local_cluster, run_recipe
from fibdask.run import runner
from fibdask.run.exporting import write_statistics
from fibdask.run.folder import RunFolder
from fibdask.run.folder.results import reopen
from fibdask.run.looking import warn_of_inverted, warn_of_surer_model, warn_of_voltage
from fibdask.run.planner import check_recipe, plan_recipe
from fibdask.run.recipe import read_recipe
from fibdask.run.stages import asks_network
from fibdask.statistics.certainty import certainty
from tests.pieces.models import CARD, MixModel, offer

pytestmark = pytest.mark.filterwarnings("ignore:.*planes lie between slices")


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Simulated images, and a model for their voltages; no report."""
    offer(monkeypatch, MixModel(CARD | {"pixel_size": [2.0, 6.0]}))
    return {
        "simulate": {
            "model": "analytic",
            "shape": [40, 48, 52],
            "voxel_size": 5,
            "ligament_size": [40],
            "solid_fraction": [0.4],
            "voltage": [1, 2],
        },
        "reconstruct": {"spacing": 5},
        "statistics": {"max_lag": 4},
        "output": {"path": str(tmp_path / "out"), "report": False},
    }


@pytest.fixture
def reported(recipe):
    """The recipe, with a report."""
    return recipe | {"output": recipe["output"] | {"report": True}}


def ran(folder):
    stages = json.loads((folder / "out" / "run.json").read_text())["stages"]
    return {stage["name"]: stage["blocks_run"] for stage in stages}


def test_reconstruct__is_planned_run_measured_reported_and_resumed(reported, tmp_path):
    planned = [row["name"] for row in plan_recipe(reported)["stages"]]
    volume = run_recipe(reported)
    images = fibdask.open_stack(tmp_path / "out" / "simulate.zarr")
    expected = fibdask.reconstruct_volume(images, spacing=5)
    for name in ("phase", "solid_probability"):
        np.testing.assert_array_equal(volume[name], expected[name])
    found = reopen(RunFolder(tmp_path / "out"))[1]
    assert found["solid_fraction"] == pytest.approx(float(volume["phase"].mean()))
    truth = fibdask.open_stack(tmp_path / "out" / "structure.zarr")["phase"].values
    wrong = 100 * (volume["phase"].values != truth[: volume.sizes["z"]]).mean(axis=(1, 2))
    measured = volume["measured"].values
    parts = {"": measured | True, "_on_slices": measured, "_between": ~measured}
    for part, planes in parts.items():  # the truth of every plane is known
        assert float(found[f"volume_misplaced{part}"]) == pytest.approx(wrong[planes].mean())
    report = (tmp_path / "out" / "report.html").read_text()
    assert "<h3>Volume between the slices</h3>" in report
    assert "misplaced in planes between slices" in report
    assert "Model mix" in report.split('<section id="network">')[1]
    assert list(ran(tmp_path)) == list(dict.fromkeys(planned))
    run_recipe(reported)
    assert not any(ran(tmp_path).values())


def test_reconstruct__is_made_anew_by_another_model(recipe, tmp_path, monkeypatch):
    run_recipe(recipe)
    offer(monkeypatch, MixModel(CARD | {"pixel_size": [2.0, 6.0], "name": "other"}, (2, 2)))
    run_recipe(recipe)
    blocks = ran(tmp_path)
    assert blocks["reconstruct"]
    assert not blocks["simulate"]
    assert blocks["reconstruct histogram"] == 3  # planes that are looked at; nothing is counted


def test_reconstruct__tells_how_sure_the_network_was(recipe, tmp_path):
    volume = run_recipe(recipe)
    found = reopen(RunFolder(tmp_path / "out"))[1]
    expected = certainty(volume)["unsure_share"]
    np.testing.assert_array_equal(found["unsure_share"], expected)
    rows = pd.read_csv(write_statistics(found, tmp_path / "s.csv"))
    rows = rows[rows["quantity"] == "expected_misplaced"]
    np.testing.assert_array_equal(rows["z"], volume["z"])
    assert set(rows["length_unit"]) == {"nm"}


def test_plan__counts_what_the_predictor_takes_for_the_probability_alone(recipe, monkeypatch):
    def needed():
        rows = plan_recipe(recipe)["stages"]
        return {r["variable"]: r["task_bytes"] for r in rows if r["name"] == "reconstruct"}

    before = needed()
    taken = MixModel().predictor().bytes((48, 52), 1)[0]
    monkeypatch.setattr("tests.pieces.predictors.CoarseMix.bytes", lambda *_: (taken + 2**30, 0))
    after = needed()
    assert after["solid_probability"] > before["solid_probability"] + 2**30 - 2**24
    assert after["phase"] == before["phase"]  # made of the stored probability


def test_plan_recipe__lists_what_is_counted_for_several_volumes_once(recipe):
    del recipe["reconstruct"], recipe["statistics"]

    def counted(**options):
        segment = {"method": "network", **options}
        planned = plan_recipe(recipe | {"segment": segment})["stages"]
        return [row for row in planned if row["name"] == "segment histogram"]

    assert counted()
    assert counted(disagreement=True) == counted()


def test_segment__by_a_network_in_a_recipe(reported, tmp_path):
    del reported["reconstruct"]
    segment = {"method": "network", "disagreement": True}
    reported |= {"segment": segment, "reposition": {"spacing": 5}, "inpaint": {}}
    volume = run_recipe(reported)
    images = fibdask.open_stack(tmp_path / "out" / "simulate.zarr")
    slices = fibdask.open_stack(tmp_path / "out" / "segment.zarr")
    expected = fibdask.segment_phases(images, **segment)
    for name in ("phase", "solid_probability", "voltage_disagreement"):
        np.testing.assert_array_equal(slices[name], expected[name])
    assert volume["phase"].shape == (40, 48, 52)
    sure = reopen(RunFolder(tmp_path / "out"))[1]["unsure_share"]
    np.testing.assert_array_equal(sure["depth"], slices["z"])
    apart = reopen(RunFolder(tmp_path / "out"))[1]["mean_disagreement"]
    mean = expected["voltage_disagreement"].mean(("y", "x"))
    np.testing.assert_allclose(apart, mean, rtol=1e-5)
    report = (tmp_path / "out" / "report.html").read_text()
    assert '<section id="network">' in report
    assert "How far apart voltages are." in report
    assert "Disagreement of voltages." in report


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"segment": {}, "inpaint": {}}, r"\[reconstruct\] .* without \[segment\] and \[inpaint\]"),
        ({"reposition": {"spacing": 5}}, r"goes without \[reposition\]: remove one or the other"),
        ({"reconstruct": {}}, r"\[reconstruct\] needs the key spacing"),
        ({"output": {"variables": ["solid_probability"]}}, r"hold 'phase', which \[reconstruct\]"),
    ],
)
def test_reconstruct__goes_without_what_it_does_itself(recipe, more, words):
    with pytest.raises(RecipeError, match=words):
        read_recipe(recipe | more)


def test_check__says_that_no_model_fits(recipe, monkeypatch):
    offer(monkeypatch, MixModel(CARD | {"pixel_size": [1.0, 2.0]}))
    with pytest.raises(RecipeError, match=r"^\[reconstruct\] no model .* pixels of 1 to 2 nm"):
        check_recipe(recipe)


def test_read_recipe__models_are_relative_to_the_recipe(tmp_path):
    (tmp_path / "mine").mkdir()
    text = '[input]\npath = "a"\n[segment]\nmethod = "network"\nmodel = "{}"\n'
    models = {}
    for name in ("mine", "other"):
        (tmp_path / "recipe.toml").write_text(text.format(name))
        models[name] = read_recipe(tmp_path / "recipe.toml").tables["segment"]["model"]
    assert models == {"mine": str(tmp_path / "mine"), "other": "other"}


DOUBTFUL = {
    "pixel_size": [2.0, 6.0],
    "errors": {
        "misplaced": 1.0,
        "conditions": [{"voltages": [1.0, 2.0], "on_slices": 0.1, "misplaced": 0.2}],
    },
}


def test_reconstruct__says_in_log_and_report_that_the_network_does_not_know_such_images(
    reported, tmp_path, monkeypatch
):
    offer(monkeypatch, MixModel(CARD | DOUBTFUL))
    with pytest.warns(FibdaskWarning, match="model mix expects"):
        run_recipe(reported)
    log = (tmp_path / "out" / "fibdask.log").read_text()
    assert log.count("WARNING model mix expects") == 1
    assert "The model expects" in (tmp_path / "out" / "report.html").read_text()


def test_check__shows_the_network_a_part_of_the_input(recipe, tmp_path, monkeypatch):
    images = run_recipe({k: v for k, v in recipe.items() if k in ("simulate", "output")})
    fibdask.save_stack(images, tmp_path / "images.zarr")
    recipe = {
        "input": {"path": str(tmp_path / "images.zarr")},
        "segment": {"method": "network", "region_of_interest": {"z": [1, 3]}},
        "output": {"path": str(tmp_path / "other")},
    }
    check_recipe(recipe)
    offer(monkeypatch, MixModel(CARD | DOUBTFUL))
    with pytest.warns(FibdaskWarning, match=r"model mix expects .* at most 0.1 %"):
        check_recipe(recipe)


def test_run__shows_the_network_images_that_replace_others(recipe, tmp_path, monkeypatch):
    images = run_recipe({k: v for k, v in recipe.items() if k in ("simulate", "output")})
    looked = []
    monkeypatch.setattr(runner, "look_at_images", lambda *_: looked.append(len(told)))
    tables = {
        "input": {"path": str(tmp_path / "images.zarr")},
        "segment": {"method": "network"},
        "output": {"path": str(tmp_path / "other"), "report": False},
    }
    for told in ([], ["same"], ["other", "images"]):
        shown = images if len(told) < 2 else images.isel(y=slice(None, None, -1))
        shown = shown.assign_coords(y=images["y"])
        fibdask.save_stack(shown, tmp_path / "images.zarr", resume=len(told) == 1)
        run_recipe(tables)
    assert looked == [0, 2]


@pytest.mark.cluster
def test_reconstruct__by_workers_gives_the_same(recipe, tmp_path):
    volume = run_recipe(recipe)["solid_probability"].values
    with local_cluster(workers=2, threads=2) as client:
        output = {"path": str(tmp_path / "other"), "report": False}
        again = run_recipe(recipe | {"output": output}, client=client)
    np.testing.assert_array_equal(again["solid_probability"], volume)
    summary = json.loads((tmp_path / "other" / "run.json").read_text())
    for stage in summary["stages"]:
        assert stage["peak_bytes"] <= stage["forecast_bytes"], stage["name"]


def test_asks_network__of_simulations_by_one_too():
    asked = [asks_network("simulate", {"model": model}) for model in ("learned", "monte_carlo")]
    assert asked == [True, False]


@pytest.mark.parametrize("detector", ["tld", "icd"])
def test_check_recipe__tells_of_images_of_another_detector(detector, tmp_path):
    pytest.importorskip("torch")
    structure = fibdask.hierarchical_levelled_wave(
        (80, 96, 96), voxel_size=2.5, ligament_size=(110, 15), solid_fraction=(0.4, 0.4), seed=7
    )
    images = fibdask.simulate_images(
        structure,
        slices=2.5 * np.arange(0, 50, 4),
        voltage=[1, 2, 4],
        model="analytic",
        detector=detector,
        electrons_per_pixel=50,
        seed=5,
    )
    stored = images.compute().assign_attrs(provenance=[])  # nobody is told how they were made
    fibdask.save_stack(stored, tmp_path / "images.zarr")
    recipe = {
        "input": {"path": str(tmp_path / "images.zarr")},
        "segment": {"method": "network"},
        "output": {"path": str(tmp_path / "out")},
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_recipe(recipe)
    told = [str(one.message) for one in caught]
    assert len([text for text in told if "detector 'icd' shows" in text]) == (detector == "icd")
    assert not [text for text in told if "tilt is" in text]


def test_run__names_a_model_that_is_much_surer(tmp_path):
    pytest.importorskip("torch")
    striped = _learned_images(0.4)
    fibdask.save_stack(striped.drop_vars("true_phase"), tmp_path / "images.zarr")
    tables = {
        "input": {"path": str(tmp_path / "images.zarr")},
        "segment": {"method": "network"},
        "output": {"path": str(tmp_path / "out"), "report": False},
    }
    with pytest.warns(FibdaskWarning) as caught:
        run_recipe(tables)
    told = [str(one.message) for one in caught]
    assert sum(text.startswith("model porous-windows expects") for text in told) == 1
    log = tmp_path / "out" / "fibdask.log"
    assert "model porous-windows expects" in log.read_text()
    log.unlink()
    run_recipe(tables)
    assert "model porous-windows expects" not in log.read_text()  # it has told already


def _learned_images(strength):
    """Return images with stripes of a strength."""
    structure = fibdask.hierarchical_levelled_wave(
        (70, 64, 64), voxel_size=2.5, ligament_size=(110, 15), solid_fraction=(0.4, 0.4), seed=7
    )
    images = fibdask.simulate_images(
        structure, slices=2.5 * np.arange(0, 48, 4), voltage=[1, 2, 4], model="learned", seed=5
    )
    return fibdask.add_curtaining(images, strength=strength, seed=4).compute()


@pytest.mark.parametrize(
    ("strength", "model"), [(0.0, "auto"), (0.4, "auto"), (0.4, "porous-windows")]
)
def test_warn_of_surer_model__names_a_model_that_is_much_surer(strength, model):
    pytest.importorskip("torch")
    striped = _learned_images(strength)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_surer_model(striped, model, voltage=None, tilt=0.0)
    told = [str(one.message) for one in caught]
    if strength and model == "auto":
        (text,) = told
        assert re.match(r"model porous-windows expects [\d.]+ % .*, and gold-windows, which", text)
    else:
        assert not told


@pytest.mark.parametrize("voltage", [None, 1.0])
def test_warn_of_inverted__tells_of_bright_pores_alone(voltage):
    pytest.importorskip("torch")
    images = _learned_images(0.0)
    warn_of_inverted(images, model="gold-windows", voltage=voltage)  # warnings are errors
    bright = images.assign(intensity=images["intensity"].copy(data=255 - images["intensity"]))
    with pytest.warns(FibdaskWarning, match=r"finds a solid fraction of 0\.[6-9].* are inverted"):
        warn_of_inverted(bright, model="gold-windows", voltage=voltage)


def test_warn_of_voltage__tells_of_images_of_another_one():
    pytest.importorskip("torch")
    images = _learned_images(0.0)
    asked = {"model": "gold-windows", "voltage": None}
    warn_of_voltage(images, **asked)  # warnings are errors
    said = images["voltage"].copy(data=[4.0, 2.0, 1.0])
    turned = images.assign_coords(voltage=said).isel(voltage=[2, 1, 0])
    with pytest.warns(FibdaskWarning, match=r"of 4 kV than of 1 kV, and of 1 kV than of 4 kV, by"):
        warn_of_voltage(turned, **asked)
    with pytest.warns(FibdaskWarning, match=r"look more like those of [24] kV than of 1 kV, by"):
        warn_of_voltage(turned.isel(voltage=[0]), **asked)
