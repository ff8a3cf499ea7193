"""What the report says of alignment, thickness and repositioning."""

import re

import numpy as np
import pytest
import xarray as xr

from fibdask.conventions import build_stack, record_step
from fibdask.report import write_report
from fibdask.report.depth import distance_to_slice
from fibdask.report.words import mean_and_spread

SLICES = 12


def stack_of(z, **parameters):
    images = np.random.default_rng(0).integers(0, 255, (2, len(z), 6, 8), np.uint8)
    geometry = {"pixel_size": (4, 5), "nominal_thickness": 10, "voltage": [1, 2]}
    stack = build_stack({"intensity": images}, z=z, **geometry)
    return record_step(stack, "reposition_slices", parameters) if parameters else stack


def alignment(**changes):
    rng = np.random.default_rng(1)
    pairs = rng.uniform(0.7, 0.7 + 1e-9, (2, SLICES, 3))
    pairs[:, 0] = np.nan
    variables = {
        "shift_y": (("voltage", "z"), rng.normal(size=(2, SLICES)), {"units": "nm"}),
        "shift_x": (("voltage", "z"), rng.normal(size=(2, SLICES)), {"units": "nm"}),
        "correlation_before": (("voltage", "z", "neighbour"), pairs / 2),
        "correlation_after": (("voltage", "z", "neighbour"), pairs),
        "residual": (("voltage", "z"), np.full((2, SLICES), -0.125), {"units": "px"}),
        "bad": (("voltage", "z"), np.arange(2 * SLICES).reshape(2, SLICES) == 7),
    }
    coords = {"voltage": [1.0, 2.0], "z": 10.0 * np.arange(SLICES)}
    return xr.Dataset(variables | changes, coords)


def thickness(**changes):
    values = np.tile([9.0, 11.0], SLICES // 2)
    values[3], values[5] = np.nan, 25.0
    variables = {
        "thickness": ("z", values, {"units": "nm"}),
        "standard_error": ("z", np.full(SLICES, 0.25)),
        "lost": ("z", np.isnan(values)),
    }
    return xr.Dataset(variables | changes, {"z": 10.0 * np.arange(SLICES)})


def text_of(tmp_path, stages, **estimates):
    path = tmp_path / "report.html"
    write_report(path, stages=stages, statistics=None, summary={}, estimates=estimates)
    return path.read_text(encoding="utf-8")


@pytest.fixture
def even():
    """An even stack of images."""
    return stack_of(10.0 * np.arange(SLICES))


# Alignment


def test_write_report__shows_drift_and_quality(tmp_path, even):
    text = text_of(tmp_path, {"import": even}, align=alignment())
    assert text.index('id="slices"') < text.index('id="alignment"') < text.index('id="depth"')
    assert "12 slices into line. Crosses: images that fit no neighbour (1)." in text
    assert "Median correlation: 0.350 before, 0.700 after alignment." in text
    assert "Residual: 0.125 px rms." in text


def test_write_report__shows_what_there_is_of_the_alignment(tmp_path, even):
    one = alignment().isel(voltage=0, drop=True)
    shifts = text_of(tmp_path, {"import": even}, align=one[["shift_y", "shift_x"]])
    assert "Drift of the slices." in shifts
    assert "Quality" not in shifts
    assert "neighbour" not in shifts
    text = text_of(tmp_path, {"import": even}, align=one.drop_vars("residual"))
    assert "Quality of each slice." in text
    assert "Residual" not in text


# Thickness


def test_write_report__shows_the_estimated_thickness(tmp_path, even):
    text = text_of(tmp_path, {"import": even}, thickness=thickness())
    assert "standard error, median 0.25 nm. Grey stripes: 1 lost slice." in text
    row = re.search(r"<td>estimated</td>(.*)</tr>", text).group(1)
    values = thickness()["thickness"][:-1].dropna("z").values
    assert ">10<" in row
    assert f"{values.mean():.4g} ± {values.std():.3g} nm" in row
    inner = np.delete(values, values.argmax())
    assert f"{inner.mean():.4g} ± {inner.std():.3g} nm" in row
    assert "Depth of the slices." not in text


def test_write_report__compares_two_sources_of_thickness(tmp_path, even):
    reference = np.full(SLICES, 10.0)
    reference[:3], reference[-1] = 0.5, 1000  # the last slice has no end
    given = thickness(reference_thickness=("z", reference, {"source": "vendor <table>"}))
    text = text_of(tmp_path, {"import": even}, thickness=given)
    row = re.search(r"<td>vendor &lt;table&gt;</td>(.*)</tr>", text).group(1)
    assert ">27.3%<" in row


def test_write_report__keeps_uneven_depths_beside_the_estimate(tmp_path):
    uneven = stack_of(np.cumsum([0.0, *[8, 12] * 5, 9]))
    text = text_of(tmp_path, {"import": uneven}, thickness=thickness())
    assert "Depth of the slices." in text
    assert "Estimated slice thickness." in text


def test_write_report__says_where_no_thickness_is_known(tmp_path, even):
    nothing = thickness(thickness=("z", np.full(SLICES, np.nan)))
    text = text_of(tmp_path, {"import": even}, thickness=nothing)
    assert "None of 11 slices has an estimated thickness." in text


def test_write_report__takes_an_even_estimate(tmp_path, even):
    given = thickness(thickness=("z", np.full(SLICES, 10.0)), lost=("z", np.zeros(SLICES, bool)))
    text = text_of(tmp_path, {"import": even}, thickness=given)
    assert ">10 nm<" in text
    assert "Grey stripes" not in text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (46.18 + 2e-13 * np.arange(5), "46.18 nm"),
        (np.array([9.0, 11.0]), "10 ± 1 nm"),
        (np.array([9.0, np.nan, 11.0]), "10 ± 1 nm"),
        (np.array([np.nan]), "–"),
    ],
)
def test_mean_and_spread__leaves_out_rounding(values, text):
    assert mean_and_spread(values, "nm") == text


def test_write_report__heads_with_the_measured_thickness(tmp_path, even):
    uneven = stack_of(np.cumsum([0.0, *[8, 12] * 5]))
    given = {"assumptions": ["slice_thickness = 10"]}
    path = tmp_path / "report.html"
    for stages, value in (
        ({"import": even}, r'10 nm<span class="assumed">'),
        ({"import": even, "thickness": uneven}, "10 ± 2 nm</dd>"),
    ):
        write_report(path, stages=stages, statistics=None, summary=given)
        assert f">{value}" in path.read_text(encoding="utf-8")


# Repositioning


def test_write_report__says_how_far_planes_are_from_slices(tmp_path):
    stack = stack_of(5.0 * np.arange(10), spacing=5.0)
    measured = np.isin(np.arange(10), [0, 3, 4, 9])
    stack = stack.assign_coords(measured=("z", measured))
    seven = stack_of(6.0 * np.arange(7))
    text = text_of(tmp_path, {"import": seven, "reposition": stack})
    assert "4 of 10 planes hold a slice; the others are at most 10 nm away from one" in text
    assert "Left out as failed or duplicate: 3 slices." in text


def test_write_report__has_no_distances_where_all_planes_are_slices(tmp_path):
    stack = stack_of(5.0 * np.arange(10), spacing=5.0)
    text = text_of(tmp_path, {"reposition": stack.assign_coords(measured=("z", np.ones(10, bool)))})
    assert "All 10 planes hold a slice." in text
    assert "Distance to the nearest slice." not in text
    assert "Left out" not in text


def test_distance_to_slice__is_that_of_all_pairs():
    rng = np.random.default_rng(2)
    z, measured = np.cumsum(rng.uniform(1, 5, 50)), rng.random(50) < 0.3
    pairs = np.abs(z[:, np.newaxis] - z[measured])
    np.testing.assert_array_equal(distance_to_slice(z, measured), pairs.min(axis=1))


# Stages


def test_write_report__shows_images_after_each_stage_before_the_phases(tmp_path, even):
    names = ("import", "align", "curtaining", "brightness", "thickness")
    text = text_of(tmp_path, dict.fromkeys(names, even))
    titles = ("Aligned slices", "Curtaining removed", "Brightness equalised")
    assert all(f"<h3>{title}</h3>" in text for title in titles)
    assert text.count('<div class="views compact">') == 4
    assert text.count("Image at 2 kV.</strong>") == 5
    assert text.count("voxels (x, y, z)") == 1
    assert text.count("marked by the dashed lines") == 2
