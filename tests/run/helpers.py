"""Run the command line in processes of their own, as a user does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil

from fibdask.run.folder import RunFolder
from tests.holding import PATIENCE

RECIPE = """
title = "small"
[simulate]
model = "analytic"
shape = [{size}, {size}, {size}]
voxel_size = 2.5
ligament_size = [60, 15]
solid_fraction = [0.5, 0.5]
voltage = [1, 2]
seed = 3
[segment]
method = "kmeans"
[reposition]
spacing = 2.5
[inpaint]
method = "{inpaint}"
[statistics]
max_lag = 16
[cluster]
workers = 2
memory = "2 GiB"
[output]
path = "out"
report = false
"""
SLICES = """
[input]
path = "slices.npy"
voltage = 2
pixel_size = 5
slice_thickness = 10
[segment]
method = "otsu"
[reposition]
spacing = 5
[inpaint]
method = "nearest"
[output]
path = "local"
block_mib = 1
pyramid = false
report = false
"""


def write_recipe(folder, *, size=96, inpaint="distance", extra=""):
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(size=size, inpaint=inpaint) + extra)
    return path


def write_slices(folder, shape=(12, 500, 600)):
    """Write noisy images, and the recipe of a run on them, which a cluster is to make."""
    values = np.random.default_rng(5).integers(0, 255, shape, dtype=np.uint8)
    np.save(folder / "slices.npy", values)
    (folder / "recipe.toml").write_text(SLICES)
    return folder


def start(*arguments, cwd=None, hold=None):
    """Start a command, of which what it starts too stands still where it is held."""
    command = [sys.executable, "-W", "error", "-m", "fibdask", *map(str, arguments)]
    environment = os.environ | ({"PYTHONPATH": hold.path} if hold else {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=cwd, env=environment, **pipes)


def fibdask(*arguments, cwd=None, code=0):
    """Run a command, check its exit code, and return what it printed and its errors."""
    process = start(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, out + err
    assert "Traceback" not in err, err
    return out, err


def status(out):
    """Return the stages of the last run by name."""
    return {stage["name"]: stage for stage in RunFolder(Path(out)).read()["stages"]}


def stored_bytes(out):
    """Return the content of every shard of every stage."""
    files = [f for f in Path(out).glob("*.zarr/**/c/**/*") if f.is_file()]
    return {str(f.relative_to(out)): f.read_bytes() for f in files if "scale" not in f.parts}


def has_blocks(out):
    """Tell whether a run has made some blocks."""
    path = out / "run.json"
    return path.is_file() and any(
        stage["blocks_run"] for stage in json.loads(path.read_text())["stages"]
    )


def kill_tree(process):
    """Kill a process and all that it started, as a power cut would."""
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    for child in children:
        child.kill()
    process.communicate()
    assert not psutil.wait_procs(children, timeout=PATIENCE)[1]
