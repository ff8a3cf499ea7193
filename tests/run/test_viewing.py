"""`fibdask view`: what there is to look at in a store or a run, and how the page ends."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from importlib.util import find_spec

import numpy as np
import pytest

import fibdask
from fibdask.blocks import array_token, fingerprint
from fibdask.run.cli import main
from fibdask.run.viewing import viewed_volumes
from tests.holding import PATIENCE

RECIPE = """
[input]
path = "uneven.zarr"
[segment]
method = "threshold"
threshold = 120
voltage = 1.0
[reposition]
spacing = 4.0
[output]
path = "out"
report = false
"""
needs_neuroglancer = pytest.mark.skipif(
    find_spec("neuroglancer") is None, reason="neuroglancer is not installed"
)


def test_viewed_volumes__of_a_store_are_all_of_it(stack, tmp_path):
    path = fibdask.save_stack(stack, tmp_path / "a.zarr")
    assert list(viewed_volumes(path)) == ["intensity", "phase"]


def test_viewed_volumes__of_a_run_are_those_of_the_last_stages(stack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fibdask.save_stack(stack.drop_vars("phase"), "uneven.zarr")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    fibdask.run_recipe(recipe)
    found = viewed_volumes(tmp_path / "out")
    assert list(found) == ["intensity", "phase"]
    last = fibdask.open_stack(tmp_path / "out" / "reposition.zarr")
    assert np.array_equal(found["phase"]["z"], last["z"])
    assert found["phase"]["phase"].identical(last["phase"])
    # No stage stored images: they are those that were read.
    assert found["intensity"]["intensity"].identical(stack["intensity"])
    (tmp_path / "uneven.zarr").rename("elsewhere.zarr")
    with pytest.warns(fibdask.FibdaskWarning, match=r"not told of: .*uneven\.zarr"):
        assert list(viewed_volumes(tmp_path / "out")) == ["phase"]
    fibdask.save_stack(stack.drop_vars("phase").isel(z=slice(1, None)), "uneven.zarr")
    with pytest.warns(fibdask.FibdaskWarning, match=r"not told of: .*has changed since"):
        assert list(viewed_volumes(tmp_path / "out")) == ["phase"]


def viewed_run(stack, folder):
    """Run a recipe on a few pixels of a stack, and return what it has read."""
    images = stack.drop_vars("phase").isel(y=slice(8), x=slice(8))
    fibdask.save_stack(images, folder / "uneven.zarr")
    (folder / "recipe.toml").write_text(RECIPE)
    fibdask.run_recipe(folder / "recipe.toml")
    return fibdask.open_stack(folder / "uneven.zarr")


@pytest.mark.parametrize("axis", ["y", "x", "voltage"])
def test_viewed_volumes__images_at_other_pixels_or_voltages_are_not_those_that_were_read(
    stack, tmp_path, axis
):
    read = viewed_run(stack, tmp_path).compute()
    moved = read.assign_coords({axis: 2 * read[axis]})
    fibdask.save_stack(moved, tmp_path / "uneven.zarr", resume=False)
    with pytest.warns(fibdask.FibdaskWarning, match=r"not told of: .*has changed since"):
        assert list(viewed_volumes(tmp_path / "out")) == ["phase"]


def test_viewed_volumes__of_a_run_that_noted_depths_alone_show_what_it_read(stack, tmp_path):
    read = viewed_run(stack, tmp_path)
    summary = tmp_path / "out" / "run.json"
    noted = fingerprint(read["z"].values, array_token(read["intensity"].data))
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"made_of": [noted]}))
    assert list(viewed_volumes(tmp_path / "out")) == ["intensity", "phase"]


def test_view__names_what_is_no_stack(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["view", str(tmp_path)])
    assert ended.value.code == 1
    assert "is no store of a stack" in capsys.readouterr().err


@needs_neuroglancer
def test_view__tells_link_and_layers(stack, tmp_path, capsys):
    path = fibdask.save_stack(stack, tmp_path / "a.zarr")
    main(["view", str(path), "--no-wait", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["layers"] == ["1 kV", "2 kV", "phase"]
    assert told["link"].startswith("http://127.0.0.1:")


@pytest.fixture
def _interrupted():
    """Let processes be interrupted also where a shell has started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@needs_neuroglancer
@pytest.mark.usefixtures("_interrupted")
def test_view__is_served_until_it_is_told_to_end(stack, tmp_path):
    path = fibdask.save_stack(stack, tmp_path / "a.zarr")
    command = [sys.executable, "-m", "fibdask", "view", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            layers, link, hint = (process.stdout.readline().strip() for _ in range(3))
            with urllib.request.urlopen(link, timeout=PATIENCE) as page:
                assert b"neuroglancer" in page.read().lower()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=PATIENCE) == 0
        finally:
            process.kill()
    assert (layers, hint) == ("layers: 1 kV, 2 kV, phase", "Ctrl-C ends the page")
