"""What the report says of alignment, thickness and repositioning."""

import re

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from fibdask.align import measure_pairs, solve_shifts
from fibdask.conventions import build_stack, record_step
from fibdask.report import write_report
from fibdask.report.figures.depth import drift_trace, pair_quality, thickness_trace
from fibdask.report.words import mean_and_spread, number

SLICES = 12


def stack_of(z, **parameters):
    images = np.random.default_rng(0).integers(0, 255, (2, len(z), 6, 8), np.uint8)
    geometry = {"pixel_size": (4, 5), "nominal_thickness": 10, "voltage": [1, 2]}
    stack = build_stack({"intensity": images}, z=z, **geometry)
    return record_step(stack, "reposition_slices", parameters, "abc") if parameters else stack


def drifting(slices):
    """Images of 64 × 64 pixels at two voltages that drift; that of slice 7 at 2 kV is blank."""
    texture = np.random.default_rng(1).normal(size=(slices, 64, 64))
    texture = ndimage.gaussian_filter(texture, (min(slices - 1, 3), 2, 2))
    drift = np.cumsum(np.random.default_rng(3).integers(-1, 2, (slices, 2)), axis=0)
    images = np.stack([np.roll(image, s, (0, 1)) for image, s in zip(texture, drift, strict=True)])
    images = np.clip(128 + 30 * np.stack([images, images]) / texture.std(), 0, 255)
    images[1, 7:8] = 128
    geometry = {"pixel_size": (4, 5), "nominal_thickness": 10, "voltage": [1, 2]}
    return build_stack({"intensity": np.float32(images)}, z=10.0 * np.arange(slices), **geometry)


@pytest.fixture(scope="module")
def alignment():
    """Shifts solved for images that drift."""
    return solve_shifts(measure_pairs(drifting(SLICES)).compute())


def thickness(values=None, reference=None, source="as given"):
    """Numbers as a run keeps them: slice 3 is lost."""
    if values is None:
        values = np.tile([9.0, 11.0], SLICES // 2)
        values[3], values[5] = np.nan, 25.0
    lost = np.isnan(values)
    coords = {
        "z": 10.0 * np.arange(SLICES),
        "standard_error": ("z", np.full(SLICES, 0.25)),
        "lost": ("z", lost),
        "outlier": ("z", values == 25),
    }
    estimate = xr.Dataset({"thickness": ("z", values, {"units": "nm"})}, coords)
    if reference is None:
        return estimate
    attrs = {"units": "nm", "source": source}
    return estimate.assign(reference_thickness=("z", reference, attrs))


def text_of(tmp_path, stages, *, titles=None, **estimates):
    path = tmp_path / "report.html"
    given = {"statistics": None, "summary": {}, "titles": titles}
    write_report(path, stages=stages, estimates=estimates, **given)
    text = path.read_text(encoding="utf-8")
    return re.sub(r"<script.*?</script>|(?<=;base64,)[^\"]+", "", text, flags=re.DOTALL)


@pytest.fixture
def even():
    """An even stack of images."""
    return stack_of(10.0 * np.arange(SLICES))


# Alignment


def test_write_report__shows_drift_and_quality(tmp_path, even, alignment):
    text = text_of(tmp_path, {"import": even}, align=alignment)
    assert text.index('id="slices"') < text.index('id="alignment"') < text.index('id="depth"')
    assert "12 slices into line. Crosses: images that are blank, defocused or fit no" in text
    assert "neighbour (1)." in text
    following = alignment.sel(neighbour=1)
    before, after = (
        float(following[f"correlation_{when}"].median()) for when in ("before", "after")
    )
    assert after > before
    assert f"Median correlation: {before:.3f} before, {after:.3f} after alignment." in text
    between = float(alignment["residual"].sel(neighbour=0).median())
    residual = float(following["residual"].median())
    assert f"median {residual:.2g} nm, between voltages {between:.2g} nm." in text


def test_write_report__of_one_voltage_has_no_residual_between(tmp_path, even, alignment):
    text = text_of(tmp_path, {"import": even}, align=alignment.isel(voltage=[0]))
    assert "Each slice with the next." in text
    assert "Crosses" not in text
    assert "between voltages" not in text


def test_write_report__of_one_slice_has_no_neighbours(tmp_path):
    stack = drifting(1)
    estimate = solve_shifts(measure_pairs(stack).compute())
    text = text_of(tmp_path, {"import": stack}, align=estimate)
    assert "Shifts that bring 1 slice into line." in text
    assert "Each slice with the next." not in text


def test_drift_trace__crosses_out_flagged_slices(alignment):
    np.testing.assert_array_equal(np.argwhere(alignment["flag"].values > 0), [[1, 7]])
    axes = drift_trace(alignment).axes[0]
    crosses = [line.get_xydata() for line in axes.lines if line.get_marker() == "x"]
    assert [len(points) for points in crosses] == [0, 1]
    expected = [0.07, float(alignment["shift_y"][1, 7])]
    np.testing.assert_allclose(crosses[1][0], expected)


def test_pair_quality__plots_all_slices_and_names_all_curves(alignment):
    correlation, residual = pair_quality(alignment.sel(neighbour=1)).axes
    names = [text.get_text() for text in correlation.get_legend().get_texts()]
    assert names == ["1 kV, before", "2 kV, before", "1 kV, after", "2 kV, after"]
    drawn = [line.get_ydata() for line in residual.lines]
    np.testing.assert_array_equal(drawn, alignment["residual"].sel(neighbour=1))


# Thickness


def test_write_report__shows_the_estimated_thickness(tmp_path, even):
    text = text_of(tmp_path, {"import": even}, thickness=thickness())
    assert "standard error, median 0.25 nm. Grey stripes: 1 lost slice." in text
    row = re.search(r"<td>estimated</td>(.*)</tr>", text).group(1)
    values = thickness()["thickness"][:-1].dropna("z").values
    inner = np.delete(values, values.argmax())
    spreads = [f"{v.mean():.4g} ± {v.std():.3g} nm" for v in (values, inner)]
    assert re.findall(">([^<]+)<", row) == ["10", spreads[0], "10.0 %", spreads[1], "0.0 %"]
    assert "Depth of the slices." not in text
    assert "Slice by slice" not in text


def test_write_report__counts_the_last_slice_if_it_is_lost(tmp_path, even):
    values = np.full(SLICES, 10.0)
    values[[2, -1]] = np.nan
    text = text_of(tmp_path, {"import": even}, thickness=thickness(values))
    assert "Grey stripes: 2 lost slices." in text


def test_write_report__compares_two_sources_of_thickness(tmp_path, even):
    values = np.linspace(8, 12, SLICES)
    reference = values + np.tile([0.0, 1.0], SLICES // 2)
    reference[:3], reference[-1] = 0.5, 1000  # the last slice has no end
    estimates = thickness(values, reference, "vendor <table>")
    text = text_of(tmp_path, {"import": even}, thickness=estimates)
    row = re.search(r"<td>vendor &lt;table&gt;</td>(.*)</tr>", text).group(1)
    assert ">27.3 %<" in row
    first, second = values[:-1], reference[:-1]
    correlation = np.corrcoef(first, second)[0, 1]
    rms = np.sqrt(np.mean((second - first) ** 2))
    assert "Slice by slice, vendor &lt;table&gt; less estimated: " in text
    mean = np.mean(second - first)
    listed = (
        f"correlation {correlation:.3f}, rms difference {rms:.3g} nm, mean difference {mean:+.2g}"
    )
    assert listed in text


def test_write_report__only_names_a_nominal_thickness(tmp_path, even):
    estimates = thickness(reference=np.diff(46.18 * np.arange(SLICES + 1)))
    text = text_of(tmp_path, {"import": even}, thickness=estimates)
    assert "Thickness as given: 46.18 nm throughout." in text
    assert "Slice by slice" not in text
    assert "<td>as given</td>" not in text


def test_thickness_trace__has_histograms_of_all_sources():
    estimate = thickness().isel(z=slice(-1))
    values = estimate["thickness"].values
    trace, histogram = thickness_trace(estimate, {"estimated": values, "given": values + 1}).axes
    for axes in (trace, histogram):
        names = [text.get_text() for text in axes.get_legend().get_texts()]
        assert {"given"} <= set(names) <= {"estimated", "given", "|z-score| > 1.5"}
    filled = [patch.get_width() for patch in histogram.patches if hasattr(patch, "get_width")]
    assert sum(filled) == np.isfinite(values).sum()


def test_write_report__keeps_uneven_depths_beside_the_estimate(tmp_path):
    uneven = stack_of(np.cumsum([0.0, *[8, 12] * 5, 9]))
    text = text_of(tmp_path, {"import": uneven}, thickness=thickness())
    assert "Depth of the slices." in text
    assert "Estimated slice thickness." in text


def test_write_report__says_where_no_thickness_is_known(tmp_path, even):
    estimates = thickness(np.append(np.full(SLICES - 1, np.nan), 10.0))
    text = text_of(tmp_path, {"import": even}, thickness=estimates)
    assert "No slice has an estimated thickness." in text


def test_write_report__takes_an_even_estimate(tmp_path, even):
    text = text_of(tmp_path, {"import": even}, thickness=thickness(np.full(SLICES, 10.0)))
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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.5, "2.5 nm"),
        (4.72e-18, "0 nm"),
        (-1e-12, "0 nm"),
        (1e-6, "1e-06 nm"),
        (np.nan, "not known"),
    ],
)
def test_number__knows_rounding_and_what_is_not_known(value, text):
    assert number(value, ".3g", " nm") == text


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


def test_write_report__tells_slices_that_are_left_out_from_gaps(tmp_path):
    imaged = stack_of(10.0 * np.arange(29))
    flagged = ("z", np.arange(29) % 8 != 3)
    aligned = imaged.assign_coords(measured=flagged)
    thick = aligned.isel(z=slice(25)).assign_coords(measured=("z", np.arange(25) % 7 != 3))
    grid = stack_of(5.0 * np.arange(50), spacing=5.0)
    grid = grid.assign_coords(measured=("z", np.arange(50) < 21))
    stages = {"import": imaged, "align": aligned, "curtaining": aligned, "thickness": thick}
    failed = (
        "slices ({} %) fit no neighbour or are marked as failed: repositioning leaves them out."
    )
    text = text_of(tmp_path, stages)
    assert text.count("4 of 29 " + failed.format(14)) == 1
    assert text.count("4 of 25 " + failed.format(16)) == 1
    assert "gap" not in text[text.index('id="slices"') :]
    assert "hold a slice" not in text
    text = text_of(tmp_path, {**stages, "reposition": grid})
    assert "29 of 50 planes (58 %) hold no slice: gaps, shown in colour." in text
    assert "Left out as failed or duplicate: 8 slices." in text


def test_write_report__counts_what_was_imaged_of_a_volume(tmp_path):
    volume, imaged = stack_of(5.0 * np.arange(40)), stack_of(10.0 * np.arange(20))
    grid = stack_of(5.0 * np.arange(40), spacing=5.0)
    grid = grid.assign_coords(measured=("z", np.arange(40) % 2 == 0))
    text = text_of(tmp_path, {"import": volume, "simulate": imaged, "reposition": grid})
    assert "20 of 40 planes hold a slice" in text
    assert "Left out" not in text


# Stages


def test_write_report__shows_images_after_each_stage_before_the_phases(tmp_path, even):
    names = ("import", "align", "curtaining", "brightness", "thickness")
    titles = {"align": "Aligned slices", "brightness": "Brightness equalised"}
    text = text_of(tmp_path, dict.fromkeys(names, even), titles=titles)
    assert all(f"<h3>{title}</h3>" in text for title in (*titles.values(), "Curtaining"))
    assert text.count('<div class="views">') == 5
    assert text.count("Image at 2 kV.</strong>") == 5
    assert text.count("voxels (x, y, z)") == 1
    assert text.count("marked by the dashed lines") == 10
