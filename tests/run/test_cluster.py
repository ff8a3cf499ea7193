"""Workers of a script."""

import asyncio
import json
import subprocess
import sys

import dask.system
import distributed.system
import numpy as np
import psutil
import pytest
import tifffile

from fibdask import ConventionError, FibdaskWarning, RecipeError, local_cluster, run_recipe
from fibdask.run.cluster import planned_worker
from fibdask.run.cluster.clients import PatientClient
from tests.holding import PATIENCE

from .helpers import start, write_recipe

pytestmark = pytest.mark.cluster

BARE = """
import fibdask
print("imported", flush=True)
client = fibdask.local_cluster(workers=1, memory="1 GiB")
print("started")
"""
GUARDED = """
import time
import fibdask
if __name__ == "__main__":
    with fibdask.local_cluster(workers=1, memory="1 GiB") as client:
        print("sum:", client.submit(sum, [1, 2]).result())
        client.submit(time.sleep, 2.5).result()
        (samples,) = client.run(lambda dask_worker: len(dask_worker.profile_history)).values()
        print("samples:", samples)
"""
SWALLOWING = """
import fibdask
try:
    fibdask.local_cluster(workers=1, memory="1 GiB")
except Exception as error:
    print("told:", error)
print("went on")
"""


def run_script(folder, text):
    path = folder / "script.py"
    path.write_text(text)
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_local_cluster__refuses_what_is_no_number_of_workers(workers):
    with pytest.raises(ConventionError, match="workers must be a whole number >= 1"):
        local_cluster(workers=workers)


def test_local_cluster__bare_script_ends_with_what_to_do(tmp_path):
    done = run_script(tmp_path, BARE)
    assert done.returncode == 1
    words = 'a script must call local_cluster under `if __name__ == "__main__":`'
    assert words in done.stderr.splitlines()[-1]
    assert "started" not in done.stdout


def test_local_cluster__worker_does_not_go_on_in_a_bare_script(tmp_path):
    done = run_script(tmp_path, SWALLOWING)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("told: ") == done.stdout.count("went on") == 1


def test_local_cluster__guarded_script_works(tmp_path):
    done = run_script(tmp_path, GUARDED)
    # Samples of what threads do would fill the memory of a worker in the minutes that it works.
    assert done.stdout == "sum: 3\nsamples: 0\n", done.stderr


@pytest.mark.parametrize("memory", ["much", "-1 GiB", "0"])
def test_planned_worker__memory_is_an_amount(memory):
    options = {"kind": "local", "scheduler": None, "workers": 1, "threads": 1, "memory": memory}
    with pytest.raises(RecipeError, match="memory must be an amount such as"):
        planned_worker(options)


SHARED = {"kind": "local", "scheduler": None, "workers": None, "threads": 1, "memory": "auto"}


def test_planned_worker__shares_what_the_control_group_leaves(monkeypatch):
    monkeypatch.setattr(dask.system, "CPU_COUNT", 3)
    monkeypatch.setattr(distributed.system, "MEMORY_LIMIT", 3 * 2**20)
    assert planned_worker(SHARED) == (1, int(0.9 * 2**20))


RELATIVE = """
[input]
path = "raw"
voltage = 2
pixel_size = 5
slice_thickness = 5
[segment]
method = "otsu"
[statistics]
max_lag = 4
[output]
path = "out"
report = false
"""


def test_run_recipe__relative_paths_hold_on_workers_in_another_folder(tmp_path, monkeypatch):
    (tmp_path / "raw").mkdir()
    values = np.random.default_rng(1).integers(0, 255, (6, 30, 40), dtype=np.uint8)
    for number, image in enumerate(values):
        tifffile.imwrite(tmp_path / "raw" / f"slice_{number}.tif", image)
    (tmp_path / "recipe.toml").write_text(RELATIVE)
    with local_cluster(workers=1, memory="1 GiB") as client:  # here, not where the recipe is
        monkeypatch.chdir(tmp_path)
        stack = run_recipe("recipe.toml", client=client)
        monkeypatch.undo()
        assert stack["phase"].mean().compute() == pytest.approx(0.5, abs=0.1)


def test_run__told_to_end_ends_its_workers_and_says_so(tmp_path):
    run = start("run", write_recipe(tmp_path))
    assert run.stdout.readline().startswith("dashboard: http://127.0.0.1:")
    workers = psutil.Process(run.pid).children(recursive=True)
    assert len(workers) >= 2
    run.terminate()
    _, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 1
    assert err.splitlines()[-1] == "interrupted; run again to go on"
    assert not psutil.wait_procs(workers, timeout=PATIENCE)[1]


@pytest.mark.memory
def test_run_recipe__a_large_slice_takes_no_more_than_was_said(tmp_path):
    side = 6000
    tile = np.random.default_rng(1).integers(0, 255, (side // 8, side), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "slice_0.tif", np.tile(tile, (8, 1)))
    tifffile.imwrite(tmp_path / "slice_1.tif", np.tile(tile[:, ::-1], (8, 1)))
    recipe = {
        "input": {
            "path": str(tmp_path / "slice_*.tif"),
            "voltage": 2,
            "pixel_size": 5,
            "slice_thickness": 5,
        },
        "curtaining": {},
        "segment": {"method": "otsu"},
        "output": {"path": str(tmp_path / "out"), "report": False, "pyramid": False},
    }
    with local_cluster(workers=1, memory="4 GiB") as client:
        run_recipe(recipe, client=client)
    stages = json.loads((tmp_path / "out" / "run.json").read_text())["stages"]
    assert max(stage["peak_bytes"] for stage in stages) > 360 * 2**20
    for stage in stages:
        assert stage["peak_bytes"] <= stage["forecast_bytes"], stage["name"]


def test_client__of_workers_that_do_not_end_warns_and_is_closed(monkeypatch):
    client = PatientClient(n_workers=0, processes=False, dashboard_address=None)
    cluster = client.cluster
    with monkeypatch.context() as held:
        held.setattr(cluster, "_close", lambda: asyncio.sleep(PATIENCE))
        with pytest.warns(FibdaskWarning, match=r"did not end within 0\.1 s"):
            client.close(timeout=0.1)
    assert client.status == "closed"
    cluster.close()
