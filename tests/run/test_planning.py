"""What a plan says before anything is made: how much memory, and whether there is as much."""

import os
import re
from contextlib import nullcontext
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from fibdask import (
    FibdaskWarning,
    MemoryBudgetError,
    StackReadError,
    add_shifts,
    levelled_wave,
    run_recipe,
    save_stack,
    simulate_images,
)
from fibdask.blocks import Resources, check_budget, own_resources
from fibdask.run.planner import check_plan, check_recipe, format_check, format_plan, plan_recipe


@pytest.fixture
def recipe(tmp_path):
    """A recipe whose stages need 622, 592, 531 and 508 MiB."""
    path = tmp_path / "images.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (200, 600, 600)).flush()
    return {
        "input": {"path": str(path), "voltage": 2, "pixel_size": 5, "slice_thickness": 5},
        "segment": {"method": "otsu"},
        "statistics": {"max_lag": 4},
        "cluster": {"memory": "505 MiB"},
        "output": {"path": str(tmp_path / "out"), "report": False},
    }


def with_memory(recipe, **cluster):
    return recipe | {"cluster": cluster}


def asked(error):
    """Return the memory that a refusal asks for."""
    return re.search(r"Give workers at least (\d+ MiB), or use smaller blocks", str(error))[1]


@pytest.mark.parametrize("step", [0.0, 12.5])
def test_check_recipe__tells_of_slices_that_are_not_in_register(step, tmp_path):
    structure = levelled_wave(
        (60, 176, 176), voxel_size=5, ligament_size=60, solid_fraction=0.4, seed=3
    )
    stack = simulate_images(structure, voltage=1, model="analytic", seed=3)
    shifted = add_shifts(stack, step_std=step, seed=4) if step else stack
    save_stack(shifted.compute(), tmp_path / "images.zarr")
    recipe = {
        "input": {"path": str(tmp_path / "images.zarr")},
        "segment": {"method": "otsu"},
        "output": {"path": str(tmp_path / "out")},
    }
    check_recipe(recipe | {"align": {}})
    if not step:
        check_recipe(recipe)
        return
    told = r"displaced against their neighbours by [23]\.\d pixels .* has no \[align\]"
    with pytest.warns(FibdaskWarning, match=told):
        check_recipe(recipe)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"input": {"crop": {"y": [0, 52]}}}, "parts one peak of grey values in two"),
        ({"segment": {"classes": 2}}, "among the lowest 12 of 64 rows are some"),
        ({"segment": {"classes": 2, "data_bar": 12}}, None),
        ({"segment": {"data_bar": 12}}, "parts one peak of grey values in two"),
        ({"segment": {"data_bar": 12, "region_of_interest": {"y": [0, 50]}}}, None),
        ({"segment": {"classes": 2, "data_bar": 12}, "align": {}}, None),
        (
            {"segment": {"classes": 2, "data_bar": 12}, "align": {"outside": "edge"}},
            "among the lowest 12 of 64",
        ),
    ],
)
def test_check_recipe__tells_of_a_parted_peak_and_of_a_data_bar(options, told, tmp_path):
    rng = np.random.default_rng(1)
    images = np.where(rng.random((5, 64, 48)) < 0.7, 160, 70) + rng.normal(0, 12, (5, 64, 48))
    images[:, 52:] = np.where(rng.random((12, 48)) < 0.2, 255, 0)
    images[::2, 55, 10:20] = rng.integers(0, 255, (3, 10))  # time goes on
    for number, image in enumerate(images):
        tifffile.imwrite(tmp_path / f"s_{number}.tif", image.round().astype(np.uint8))
    size = {"voltage": 2, "pixel_size": 5, "slice_thickness": 5}
    recipe = {
        "input": {"path": str(tmp_path)} | size | options.get("input", {}),
        "segment": options.get("segment", {}),
        "output": {"path": str(tmp_path / "out")},
    }
    recipe |= {"align": options["align"]} if "align" in options else {}
    with pytest.warns(FibdaskWarning, match=told) if told else nullcontext():
        check_recipe(recipe)


def test_check_recipe__tells_nothing_that_is_true_of_the_middle_alone(tmp_path):
    images = np.random.default_rng(1).choice((60, 110, 160), (5, 64, 48)).astype(np.uint8)
    images[2] = 0  # it is another slice of all than of the middle
    for number, image in enumerate(images):
        tifffile.imwrite(tmp_path / f"s_{number}.tif", image)
    size = {"voltage": 2, "pixel_size": 5, "slice_thickness": 5}
    output = {"path": str(tmp_path / "out")}
    check_recipe({"input": {"path": str(tmp_path)} | size, "segment": {}, "output": output})


def test_check_recipe__refuses_a_folder_for_results_that_a_run_does(recipe, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(StackReadError, match="out exists and is not the folder of a run"):
        check_recipe(with_memory(recipe))


def test_check_recipe__memory_that_a_refusal_asks_for_is_enough(recipe):
    with pytest.raises(MemoryBudgetError, match=r"^import needs 622\.8 MiB in a worker") as refusal:
        check_recipe(recipe)
    found = check_recipe(with_memory(recipe, memory=asked(refusal.value)))
    assert found["fits"] is True
    assert found["least_bytes"] <= found["worker_bytes"]


@pytest.mark.filterwarnings("ignore:.*(larger than a block|has parts without data)")
def test_check_plan__smaller_blocks_are_no_advice_where_a_chunk_needs_the_memory(recipe, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", (1000, 900, 900), "u1", chunks=(1000, 512, 512))
    os.truncate(tmp_path / "a.h5", 2**36)  # as if it held what it tells
    recipe["input"]["path"] = str(tmp_path / "a.h5")
    with pytest.raises(MemoryBudgetError, match=r"do not help: each needs 500\.0 MiB"):
        check_recipe(recipe)


def test_check_plan__names_the_largest_stage(recipe):
    rows = plan_recipe(recipe)["stages"]
    for order in (rows, rows[::-1]):
        with pytest.raises(MemoryBudgetError, match=r"^import needs"):
            check_plan(order, Resources(1, 505 * 2**20))


@given(st.integers(480 * 2**20, 2**34), st.integers(1, 64))
def test_check_budget__memory_that_a_refusal_asks_for_is_enough(forecast, threads):
    with pytest.raises(MemoryBudgetError) as refusal:
        check_budget("stage", forecast, Resources(threads, 2**20))
    least = int(re.search(r"at least (\d+) MiB", str(refusal.value))[1])
    check_budget("stage", forecast, Resources(threads, least * 2**20))
    with pytest.raises(MemoryBudgetError):
        check_budget("stage", forecast, Resources(threads, (least - 1) * 2**20))


def test_run_recipe__is_refused_at_once_with_the_largest_need(recipe, tmp_path):
    class Client:
        status, cluster = "running", None

        def scheduler_info(self, n_workers):
            return {"workers": {"a": {"resources": {}}}}

        def run(self, function, on_error):
            return {"a": function()._replace(threads=1, limit=505 * 2**20)}

    with pytest.raises(MemoryBudgetError, match=r"^import needs"):
        run_recipe(recipe, client=Client())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("cluster", "fits", "words"),
    [
        ({"memory": "505 MiB"}, False, "each worker has 505.0 MiB: it does not fit"),
        ({"memory": "2 GiB"}, True, "each worker has 2.00 GiB: it fits"),
        ({"memory": "2 GiB", "threads": 40}, False, "a worker of 40 threads needs"),
        ({"scheduler": "tcp://x:1"}, None, "those of the scheduler have is seen when the run"),
    ],
)
def test_plan_recipe__says_whether_it_fits(recipe, cluster, fits, words):
    plan = plan_recipe(with_memory(recipe, **cluster))
    assert plan["fits"] is fits
    assert words in format_plan(plan)
    if fits is not False:
        assert words in format_check(check_recipe(with_memory(recipe, **cluster)))


@pytest.fixture
def electrons(tmp_path, monkeypatch):
    """A recipe that a machine without GPU starts, beside a profile of jobs with one."""
    monkeypatch.setattr("fibdask.simulate.images.imaging.cuda_available", lambda: False)
    (tmp_path / "gpus.toml").write_text('memory = "2 GiB"\nwalltime = "01:00:00"\n[gpu]\n')
    table = {"shape": [2, 8, 8], "voxel_size": 5, "ligament_size": [20], "solid_fraction": [0.5]}
    table |= {"voltage": 1, "model": "monte_carlo", "electrons_per_pixel": 1}
    return {
        "simulate": table,
        "cluster": {"kind": "slurm", "profile": str(tmp_path / "gpus.toml")},
        "output": {"path": str(tmp_path / "out"), "report": False},
    }


IDLE = r"\[simulate\]: device = 'auto' is the processor"


def test_plan_recipe__tells_of_gpus_that_nothing_asks_for(electrons):
    with pytest.warns(FibdaskWarning, match=IDLE):
        plan_recipe(electrons)
    for device in ("cpu", "gpu"):
        plan_recipe(electrons | {"simulate": electrons["simulate"] | {"device": device}})


def test_run_recipe__tells_of_gpus_that_nothing_asks_for(electrons, monkeypatch):
    has = replace(own_resources(), gpu_workers=True)
    monkeypatch.setattr("fibdask.run.runner.worker_resources", lambda *_, **__: has)
    with pytest.raises(FibdaskWarning, match=IDLE):  # an error here: no block is made
        run_recipe(electrons)


def test_plan_recipe__shares_the_free_memory_among_workers(recipe):
    few, many = (plan_recipe(with_memory(recipe, workers=n))["worker_bytes"] for n in (1, 10))
    assert many == pytest.approx(few / 10, rel=0.2)
