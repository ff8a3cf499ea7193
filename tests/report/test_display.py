"""What notebooks show of a stack, and how little of it is read for that."""

import base64
import io
import re

import numpy as np
import pytest
import tifffile
import xarray as xr
from PIL import Image

import fibdask
from fibdask.blocks import StoredArray
from fibdask.conventions import build_stack, record_step
from fibdask.io.images.source import ImageSource
from fibdask.report.figures.slices import PORE, SOLID


def shown(stack):
    return stack.fib._repr_html_()


def pictures(html):
    """Return the glimpses as arrays."""
    found = re.findall(r"data:image/png;base64,([^\"]+)", html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in found]


def count_read(monkeypatch, kind):
    """Return a list that grows by the voxels of each region that is read."""
    read, whole = [], kind.read

    def counted(self, region, values):
        read.append(int(np.prod([s.stop - s.start for s in region])))
        return whole(self, region, values)

    monkeypatch.setattr(kind, "read", counted)
    return read


@pytest.fixture
def large():
    """Slices that are larger than a glimpse, each of one grey value."""
    values = np.broadcast_to(np.arange(30, dtype=np.uint8)[:, None, None], (30, 400, 500))
    given = {"pixel_size": (5, 5), "nominal_thickness": 10.0, "voltage": np.array([2.0])}
    return build_stack({"intensity": values[None].copy()}, z=10.0 * np.arange(30), **given)


def test_stack_html__tells_size_depth_voltages_and_provenance(stack):
    told = record_step(stack, "segment_phases", {"method": "otsu"}, "")
    html = shown(told)
    assert "66 × 70 × 7 voxels" in html
    assert "0 to 70 nm, 7 slices" in html
    assert "1 kV, 2 kV" in html
    assert "segment_phases: method = otsu" in html
    assert html.count("in memory") == 2


def test_stack_html__shows_a_phase_in_the_colours_of_reports(stack):
    text = re.findall(r"base64,([^\"]+)", shown(stack[["phase"]]))[1]
    part = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))
    is_solid = stack["phase"].values[3] == 1
    assert np.array_equal((part == np.rint(255 * np.array(SOLID))).all(axis=-1), is_solid)
    assert np.array_equal((part == np.rint(255 * np.array(PORE))).all(axis=-1), ~is_solid)


def test_stack_html__says_how_much_is_on_disk(large, tmp_path):
    path = fibdask.save_stack(large, tmp_path / "a.zarr")
    files = [f.stat().st_size for f in (path / "intensity").rglob("*") if f.is_file()]
    size = f"{sum(files) / 2**10:.1f} KiB" if sum(files) >= 2**10 else f"{sum(files)} B"
    assert f"{size} on disk" in shown(fibdask.open_stack(path))


def test_stack_html__reads_parts_of_three_slices(large, tmp_path, monkeypatch):
    opened = fibdask.open_stack(fibdask.save_stack(large, tmp_path / "a.zarr"))
    read = count_read(monkeypatch, StoredArray)
    first, middle, last = pictures(shown(opened))
    assert sum(read) == 3 * 256 * 256
    assert first.shape == (256, 256)
    assert first.max() == 0
    assert last.min() == 255
    assert 0 < middle.min() == middle.max() < 255


def test_stack_html__of_images_reads_three_slices(tmp_path, monkeypatch):
    for number in range(9):
        tifffile.imwrite(tmp_path / f"slice_{number}.tif", np.full((20, 24), number, np.uint8))
    given = {"voltage": 2.0, "pixel_size": 5, "slice_thickness": 10}
    stack = fibdask.read_images(str(tmp_path / "slice_*.tif"), **given)
    read = count_read(monkeypatch, ImageSource)
    html = shown(stack)
    assert read == [20 * 24] * 3
    assert "on disk" in html
    assert "z = 80 nm" in html


def test_stack_html__computes_nothing(large, tmp_path, monkeypatch):
    opened = fibdask.open_stack(fibdask.save_stack(large, tmp_path / "a.zarr"))
    lazy = fibdask.segment_phases(opened, method="threshold", threshold=9)[["phase"]]
    read = count_read(monkeypatch, StoredArray)
    html = shown(lazy)
    assert "not computed yet" in html
    assert read == pictures(html) == []


def test_stack_html__shows_measured_slices(large):
    measured = np.arange(30) % 2 == 1
    html = shown(large.assign_coords(measured=("z", measured)))
    assert "30 slices, 15 of them measured" in html
    assert "intensity at 2 kV, parts of 3 slices" in html
    assert re.findall(r"<figcaption>slice (\d+)", html) == ["1", "15", "29"]


def test_stack_html__trusts_no_text_and_shows_what_is_no_stack(stack, tmp_path):
    forged = record_step(stack, "<script>", {"path": "<b>"}, "")
    assert not re.search("<script|<b>", shown(forged))
    assert "No stack of fibdask" in shown(xr.Dataset({"temperature": ("time", [1.0])}))


def test_stack_html__of_a_lost_shard_says_so(large, tmp_path):
    path = fibdask.save_stack(large, tmp_path / "a.zarr")
    opened = fibdask.open_stack(path)
    for file in (path / "intensity" / "c").rglob("*"):
        if file.is_file():
            file.unlink()
    assert "was written and is gone" in shown(opened)
