"""The page about a simulation says what its data say, and leaves out what is not there."""

import re

import numpy as np
import pytest
import xarray as xr

from fibdask.conventions import build_stack
from fibdask.report import write_simulation_report
from fibdask.report.figures.simulation import _apart
from fibdask.report.simulation import half_contrast_depth

DEPTH = np.array([0.0, 10, 20, 40, 80])


def trajectories():
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(3, 20, 5)).cumsum(axis=2)
    z, y, x = np.concatenate([np.zeros((3, 20, 1)), np.abs(steps)], axis=2)
    z[:8, -1] = 0
    z[12:, 4:] = x[12:, 4:] = np.nan
    variables = {name: (("electron", "event"), v) for name, v in (("z", z), ("y", y), ("x", x))}
    variables["backscattered"] = ("electron", np.arange(20) < 8)
    return xr.Dataset(variables, attrs={"material": "Au", "beam_energy_kev": 2.0})


def backscatter():
    eta = [[0.1, 0.08, 0.06], [0.4, 0.44, 0.48]]
    coords = {"material": ["C", "Au"], "energy": [1.0, 4.0, 16.0]}
    return xr.Dataset({"backscatter_coefficient": (("material", "energy"), eta)}, coords)


def measured():
    return (
        backscatter()
        .assign(measured_coefficient=("point", [0.4, 0.55, 0.3]))
        .assign_coords(
            measured_material=("point", ["Au", "Au", "Au"]), measured_energy=("point", [2.0, 4, 40])
        )
    )


def images():
    truth = np.random.default_rng(1).integers(0, 2, (3, 10, 14), np.uint8)
    volumes = {"intensity": np.stack([50 + 100 * truth] * 3), "true_phase": truth}
    geometry = {"pixel_size": (2, 2), "nominal_thickness": 10, "voltage": [1, 2, 4]}
    return build_stack(volumes, z=[0.0, 10, 20], **geometry)


def shine_through():
    falling = [np.interp(DEPTH, [0, depth], [0.7, 0.1]) for depth in (20, 80)]
    return xr.DataArray(falling, {"voltage": [1.0, 4.0], "depth": DEPTH}, ("voltage", "depth"))


ALL = {
    "trajectories": trajectories,
    "backscatter": measured,
    "images": images,
    "shine_through": shine_through,
}


def text_of(tmp_path, **given):
    path = write_simulation_report(tmp_path / "page.html", **given)
    return path.read_text(encoding="utf-8")


def test_write_simulation_report__shows_all_and_loads_nothing(tmp_path):
    text = text_of(tmp_path, **{name: make() for name, make in ALL.items()})
    assert re.findall(r'<section id="(\w+)">', text) == list(ALL)
    assert len(re.findall(r'<img src="data:image/(?:webp|svg\+xml);base64,', text)) == 4
    assert len(re.findall(r'<img [^>]*alt="[^"]{10,}"', text)) == 4
    assert "://" not in re.sub(r'"data:[^"]+"', "", text)


@pytest.mark.parametrize("name", ALL)
def test_write_simulation_report__leaves_out_what_is_not_given(tmp_path, name):
    text = text_of(tmp_path, **{name: ALL[name]()})
    assert re.findall(r'<section id="(\w+)">', text) == [name]


def test_write_simulation_report__counts_electrons_that_come_back(tmp_path):
    text = text_of(tmp_path, trajectories=trajectories())
    deepest = float(trajectories()["z"].max())
    assert "20 electrons of 2 keV in bulk Au, seen along y; 8 of them (40 %)" in text
    assert f"reaches {deepest:.3g} nm" in text


def test_write_simulation_report__compares_with_measured_points_in_range(tmp_path):
    text = text_of(tmp_path, backscatter=measured())
    row = re.search(r"<tr><td>Au</td>(.*)</tr>", text).group(1)
    excess = np.array([0.42 / 0.4, 0.44 / 0.55]) - 1
    expected = ["2", f"{100 * excess.mean():+.1f} %", f"± {100 * excess.std():.1f} %"]
    assert re.findall(r">([^<]+)</td>", row) == expected
    assert "<td>C</td>" not in text
    assert "<table" not in text_of(tmp_path, backscatter=backscatter())


def test_write_simulation_report__shows_labels_as_truth(tmp_path):
    stack = images()
    labels = stack["true_phase"].variable + np.uint8(2)
    text = text_of(tmp_path, images=stack.drop_vars("true_phase").assign(true_label=labels))
    assert "The slice at z = 10 nm" in text


def test_write_simulation_report__says_where_half_of_the_contrast_is_left(tmp_path):
    text = text_of(tmp_path, shine_through=shine_through().transpose("depth", "voltage"))
    assert "half of the contrast is left, 10 nm at 1 kV, 40 nm at 4 kV." in text


def test_write_simulation_report__takes_a_title(tmp_path):
    text = text_of(tmp_path, images=images(), summary={"title": "Gold & epoxy"})
    assert "<h1>Gold &amp; epoxy</h1>" in text


def test_half_contrast_depth__of_no_contrast_is_unknown():
    assert np.isnan(half_contrast_depth(DEPTH, np.ones(5)))


def test_apart__keeps_order_and_gap():
    moved = _apart(np.array([0.3, 0.1, 0.11]), 0.05)
    np.testing.assert_allclose(moved, [0.3, 0.1, 0.15])
