"""Runs of stacks on servers."""

import json
import re

import pytest

import fibdask
from fibdask.blocks.engine import remote
from fibdask.run.copying import copy_store
from tests.run.helpers import stored_bytes
from tests.servers import BUCKET, Line, s3_server

SECRET = "a-key-that-nobody-may-see"
RECIPE = """
title = "small"
[input]
path = "{path}"
{remote}
[segment]
method = "kmeans"
[reposition]
spacing = 4
[inpaint]
method = "distance"
[output]
path = "{out}"
block_mib = 1
report = false
"""
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets that are cut


@pytest.fixture
def line(monkeypatch):
    """A line to a server of S3."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr(remote, "PAUSES", (0.01, 0.02))
    with s3_server() as endpoint:
        line = Line(endpoint)
        yield line
        line.close()


@pytest.fixture
def address(line, stack, tmp_path):
    """The address of a stack of which a copy lies in `gold.zarr`."""
    store = fibdask.save_stack(stack.drop_vars("phase"), tmp_path / "gold.zarr")
    return copy_store(str(store), f"s3://{BUCKET}/gold.zarr", remote={"endpoint": line.endpoint})


@pytest.fixture
def write(tmp_path, line):
    def written(name, path):
        options = f'remote = {{ endpoint = "{line.endpoint}" }}' if "://" in path else ""
        recipe = tmp_path / f"{name}.toml"
        recipe.write_text(RECIPE.format(path=path, remote=options, out=name))
        return recipe

    return written


def blocks_run(call, out):
    told, _ = call("status", out, "--json")
    return sum(stage["blocks_run"] for stage in json.loads(told)["stages"])


def test_run__of_s3_is_resumed_and_its_bytes_are_those_of_a_run_of_the_folder(
    call, write, line, address, tmp_path
):
    call("run", write("local", "gold.zarr"), "--part", "1/1")
    recipe = write("remote", address)
    line.breaks = lambda request: 0 if "/intensity/c/1/" in request else None
    _, told = call("run", recipe, "--part", "1/1", code=1)
    assert f"{address}/intensity/c/1/0/" in told
    assert "cannot be read (3 tries" in told
    line.breaks = lambda _request: None
    call("run", recipe, "--part", "1/1")
    assert blocks_run(call, tmp_path / "remote") > 0
    expected = stored_bytes(tmp_path / "local")
    assert stored_bytes(tmp_path / "remote") == expected
    call("run", recipe, "--part", "1/1")
    assert blocks_run(call, tmp_path / "remote") == 0
    kept = [file for file in (tmp_path / "remote").rglob("*") if file.is_file()]
    assert not [file for file in kept if SECRET.encode() in file.read_bytes()]


def test_run__into_a_server_is_refused(call, write, address):
    _, told = call("run", write("any", "gold.zarr"), "--out", "s3://bucket/out", code=2)
    assert "output path must be a folder of this machine" in told
    assert "`fibdask copy`" in told


def test_run__keys_of_a_server_that_are_none_are_refused_before_anything_is_kept(
    call, write, address, tmp_path
):
    recipe = write("any", address)
    recipe.write_text(recipe.read_text().replace("endpoint =", "secret ="))
    _, told = call("run", recipe, code=2)
    assert "[input] remote has no option 'secret'" in told
    assert not (tmp_path / "any").exists()


def test_info__of_a_server(call, address, line, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.endpoint)
    told, _ = call("info", address)
    assert f"{address}\n  size: 2 voltage" in told


def test_copy__tells_how_far_it_is(call, line, address, tmp_path):
    target, endpoint = f"s3://{BUCKET}/second.zarr", f"endpoint={line.endpoint}"
    told, _ = call("copy", tmp_path / "gold.zarr", target, "--remote", endpoint)
    assert re.search(r"files: \d+ run, 0 skipped, 0 failed", told)
    assert told.endswith(f"stack: {target}\n")


def test_init__writes_the_address(call, address, line, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.endpoint)
    call("init", address, "--out", tmp_path / "recipe.toml")
    assert f'path = "{address}"' in (tmp_path / "recipe.toml").read_text()
