"""Interrupted runs, with real processes: killed, resumed, changed, damaged."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
import zarr

from fibdask import local_cluster, run_recipe
from fibdask.run.cli import main
from tests.holding import PATIENCE
from tests.io.naive import grey_volume, write_slices
from tests.run.helpers import kill_tree, start, status, stored_bytes, write_recipe

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def again():
    """Run a recipe by two workers, processes that serve all runs."""
    with local_cluster(workers=2, memory="2 GiB") as client:
        address = client.scheduler.address

        def run(recipe, *options):
            main(["run", str(recipe), *options, "--quiet", "--scheduler", address])

        yield run


@pytest.fixture(scope="module")
def finished(again, tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("finished")
    again(write_recipe(folder))
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def blocks_run(folder):
    return {name: stage["blocks_run"] for name, stage in status(folder / "out").items()}


def test_run__second_time_executes_no_block(again, copy):
    assert all(blocks_run(copy).values())
    again(copy / "recipe.toml")
    assert not any(blocks_run(copy).values())


def test_run__a_copy_with_new_times_executes_no_block_until_voxels_are_edited(
    again, finished, tmp_path
):
    shutil.copytree(finished, tmp_path / "copy", copy_function=shutil.copy)
    recipe = tmp_path / "copy" / "recipe.toml"
    again(recipe)
    assert not any(blocks_run(tmp_path / "copy").values())
    phase = tmp_path / "copy" / "out" / "segment.zarr" / "phase"
    before = (phase / "c" / "0" / "0" / "0").stat().st_size
    segmented = zarr.open_array(phase, mode="r+")
    segmented[0, 0, 0] = 1 - segmented[0, 0, 0]
    resized = (phase / "c" / "0" / "0" / "0").stat().st_size != before
    again(recipe)
    ran = {name for name, count in blocks_run(tmp_path / "copy").items() if count}
    # A shard of another size is taken for torn, and made anew; one that is whole is believed.
    assert ran == ({"segment"} if resized else {"reposition", "inpaint", "statistics"})


def test_run__changed_inpainting_recomputes_it_and_the_statistics_only(again, copy):
    again(write_recipe(copy, inpaint="nearest"))
    ran = {name for name, count in blocks_run(copy).items() if count}
    assert ran == {"inpaint", "statistics"}


def test_run__truncated_shard_is_repaired(again, copy, finished):
    shard = sorted(f for f in copy.glob("out/segment.zarr/phase/c/**/*") if f.is_file())[2]
    shard.write_bytes(shard.read_bytes()[:50])
    again(copy / "recipe.toml")
    ran = {name: count for name, count in blocks_run(copy).items() if count}
    assert ran["segment"] == 1
    assert stored_bytes(copy / "out") == stored_bytes(finished / "out")


def test_run__fresh_makes_everything_anew(again, copy, finished):
    again(copy / "recipe.toml", "--fresh")
    assert all(blocks_run(copy).values())
    assert stored_bytes(copy / "out") == stored_bytes(finished / "out")


@pytest.mark.filterwarnings("ignore:.*replace them")
def test_run__another_sample_of_equal_names_sizes_and_times_is_made_anew(tmp_path):
    recipe = {
        "input": {"voltage": 2.0, "pixel_size": 10, "slice_thickness": 10},
        "output": {"path": str(tmp_path / "out"), "report": False},
    }
    for content, seed, blocks in (("a", 1, 1), ("a", 1, 0), ("b", 2, 1)):
        volume = grey_volume((6, 32, 32), seed=seed)
        if not (folder := tmp_path / content).exists():
            write_slices(folder, volume, suffix=".bmp")
            for file in folder.iterdir():
                os.utime(file, (0, 0))
        stack = run_recipe(recipe | {"input": {"path": str(folder), **recipe["input"]}})
        np.testing.assert_array_equal(stack["intensity"][0], volume)
        stages = json.loads((tmp_path / "out" / "run.json").read_text())["stages"]
        assert [stage["blocks_run"] for stage in stages][:1] == [blocks]


@pytest.mark.slow
def test_run__killed_with_its_workers_ends_byte_identical(again, finished, tmp_path, hold):
    recipe = write_recipe(tmp_path)
    for place in ("simulate.zarr/intensity/c/", "inpaint.zarr/phase/c/"):
        held = hold(place, after=1)
        process = start("run", recipe, "--quiet", hold=held)
        held.wait()
        kill_tree(process)
    again(recipe)
    assert stored_bytes(tmp_path / "out") == stored_bytes(finished / "out")


@pytest.mark.slow
def test_run__survives_a_killed_worker(finished, tmp_path, hold):
    held = hold("simulate.zarr/intensity/c/", after=1)
    process = start("run", write_recipe(tmp_path), "--quiet", hold=held)
    os.kill(held.wait()[0], signal.SIGKILL)
    held.let_go()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out + err
    assert stored_bytes(tmp_path / "out") == stored_bytes(finished / "out")
