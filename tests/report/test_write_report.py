"""The page as a whole: it needs nothing else, shows what it is given, and opens in a browser."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr

from fibdask.conventions import build_stack, record_step
from fibdask.report import write_report
from fibdask.statistics import phase_statistics

from ..browser import needs_chromium

CURVES = ["two_point_correlation", "lineal_path"]
Z = np.array([0.0, 9, 21, 30, 38, 52])
SECTIONS = [
    "overview",
    "look",
    "slices",
    "depth",
    "profile",
    "statistics",
    "accuracy",
    "timings",
    "provenance",
    "recipe",
]


@pytest.fixture
def one_slice():
    phase = (np.random.default_rng(0).random((1, 12, 16)) < 0.4).astype(np.uint8)
    return build_stack({"phase": phase}, z=[0.0], pixel_size=(5, 5), nominal_thickness=10)


def stages():
    rng = np.random.default_rng(0)
    truth = (rng.random((6, 12, 16)) < 0.4).astype(np.uint8)
    images = (60 + 120 * np.stack([truth, truth]) + rng.integers(0, 30, (2, 6, 12, 16))).astype(
        "u1"
    )
    geometry = {"z": Z, "pixel_size": (4, 5), "nominal_thickness": 10}
    first = build_stack({"intensity": images, "true_phase": truth}, voltage=[1, 2.5], **geometry)
    second = record_step(
        first.assign(phase=first["true_phase"]), "segment_phases", {"classes": 3}, "abc"
    )
    planes = np.repeat(truth, 2, axis=0)
    third = build_stack(
        {"phase": planes}, **(geometry | {"z": 5.0 * np.arange(12), "nominal_thickness": 5})
    )
    third = third.assign_coords(measured=("z", np.arange(12) % 2 == 0))
    third = record_step(third, "reposition_slices", {"spacing": 10.0}, "abc")
    fourth = record_step(third, "inpaint_gaps", {"method": "<distance>"}, "abc")
    return {"simulate": first, "segment": second, "reposition": third, "inpaint": fourth}


def statistics():
    axes, lags = ["z", "y", "x"], np.arange(5)
    curve = xr.DataArray(
        np.full((3, 5), 0.3) / (1 + lags),
        dims=("axis", "lag"),
        coords={
            "axis": axes,
            "lag": lags,
            "distance": (("axis", "lag"), np.array([lags] * 3) * 5.0),
        },
    )
    names = ["two_point_correlation", "lineal_path", "ligament_diameter"]
    return xr.Dataset(
        {
            "two_point_correlation": curve,
            "lineal_path": curve / 2,
            "ligament_diameter": ("axis", [17.5, 15.25, 14.75]),
            "solid_fraction": ((), 0.31234),
            "solid_fraction_profile": ("z", np.linspace(0.2, 0.4, 12)),
            "isotropy_error": ("statistic", [0.11, 0.22, 0.33]),
            "misplaced": ((), 4.25),
            "misplaced_solid": ((), 8.5),
            "mean_dice": ((), 0.875),
        },
        coords={"statistic": names, "z": 5.0 * np.arange(12)},
    )


def summary(**changes):
    stage = {"name": "segment", "blocks": 1200, "blocks_run": 900, "blocks_skipped": 298}
    stage |= {"blocks_failed": 0, "seconds": 75.2, "failures": []}
    stage |= {"forecast_bytes": 3 * 2**29, "peak_bytes": 5 * 2**20}
    known = {
        "title": "Gold & epoxy",
        "version": "0.1.0",
        "created": "2026-05-01",
        "stages": [stage],
    }
    return known | {"recipe": '[segment]\nmethod = "<kmeans>"', "assumptions": []} | changes


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The full page, written once."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    given = {"stages": stages(), "statistics": statistics(), "summary": summary()}
    return write_report(path, **given)


def test_write_report__tells_how_far_it_is(tmp_path):
    told = []
    path, given = tmp_path / "report.html", {"stages": {}, "statistics": None, "summary": {}}
    write_report(path, **given, tell=lambda *figures: told.append(figures))
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)]
    assert len(told) > 1


def text_of(tmp_path, *, stages=None, statistics=None, summary=None):
    path = tmp_path / "report.html"
    write_report(path, stages=stages or {}, statistics=statistics, summary=summary or {})
    return path.read_text(encoding="utf-8")


def sections_of(text):
    return re.findall(r'<section id="(\w+)">', text)


# What the page is


def test_write_report__loads_nothing_from_elsewhere(page):
    text = page.read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\'>\s)]+)', text)
    assert {re.match(r"data:image/(webp|svg\+xml);base64,|#", s) is not None for s in sources} == {
        True
    }
    assert "://" not in re.sub(r'"data:[^"]+"', "", text)
    assert not re.search(r"<(link|iframe)|<script [^>]|@import", text)
    allowed = re.search('Content-Security-Policy" content="([^"]+)"', text)[1]
    assert re.fullmatch(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        "script-src 'sha256-[A-Za-z0-9+/]{43}='",
        allowed,
    )


def test_write_report__is_well_formed(page):
    open_tags, closed = [], []

    class Balance(HTMLParser):
        def handle_starttag(self, tag, attrs):
            assert tag != "img" or dict(attrs)["alt"]
            if tag not in ("meta", "img", "input"):
                open_tags.append(tag)

        def handle_endtag(self, tag):
            closed.append((open_tags.pop(), tag))

    Balance().feed(page.read_text(encoding="utf-8"))
    assert not open_tags
    assert all(start == end for start, end in closed)


def test_write_report__navigation_leads_to_every_section(page):
    text = page.read_text(encoding="utf-8")
    assert sections_of(text) == SECTIONS
    assert re.findall(r'<li><a href="#(\w+)"', text) == SECTIONS


def test_write_report__leaves_nothing_beside_the_page(page):
    assert [path.name for path in page.parent.iterdir()] == ["report.html"]


# What it shows


def test_write_report__shows_headline_numbers(page):
    text = page.read_text(encoding="utf-8")
    for shown in ("0.3123", "0.1100", "0.2200", "0.3300", "15.83 nm", "1, 2.5 kV", "6 slices"):
        assert f">{shown}<" in text
    assert ">0.08 × 0.048 × 0.06<" in text
    assert "16 × 12 × 12 voxels of 5 × 4 × 5 nm" in text


def test_write_report__shows_every_stage_with_its_images(page):
    text = page.read_text(encoding="utf-8")
    titles = re.findall(r"<figcaption><strong>([^<]+)\.</strong>", text)
    first = ["Image at 1 kV", "Image at 2.5 kV", "True phase"]
    second = ["Image at 1 kV", "Phase", "Phase against the truth"]
    assert titles[:9] == [*first, *second, "Phase", "Phase", "Measured and filled"]
    assert "6 of 12 planes (50 %) hold no slice" in text
    assert "6 of 12 planes (50 %) are filled" in text


def test_write_report__lists_accuracy_time_and_memory(page):
    text = page.read_text(encoding="utf-8")
    for shown in ("4.25 %", "8.5 %", "0.875", "1,200", "1 min 15 s", "1.50 GiB", "5.0 MiB"):
        assert f">{shown}<" in text


def test_write_report__escapes_what_it_is_given(page):
    text = page.read_text(encoding="utf-8")
    assert "<h1>Gold &amp; epoxy</h1>" in text
    assert "method = &quot;&lt;kmeans&gt;&quot;" in text
    assert "method = &lt;distance&gt;" in text


def test_write_report__says_which_thickness_is_an_outlier(page):
    thickness = np.diff(Z)
    assert abs(thickness[4] - thickness.mean()) > 1.5 * thickness.std()
    assert "without outliers (1 of 5" in page.read_text(encoding="utf-8")


def test_write_report__marks_assumed_values(tmp_path):
    given = summary(assumptions=["voltage = 2.5"])
    text = text_of(tmp_path, stages=stages(), summary=given)
    assert '1, 2.5 kV<span class="assumed">' in text
    assert text.count('class="assumed"') == 1
    assert "<strong>Assumed, not measured:</strong> voltage = 2.5." in text


def test_write_report__names_failed_blocks_in_red(tmp_path):
    given = summary()
    cause = {"block": "z 0:64", "cause": "slice 7 is torn"}
    given["stages"][0] |= {"blocks_failed": 2, "failures": [cause, cause]}
    text = text_of(tmp_path, summary=given)
    assert '<p class="banner alarm" role="alert"><strong>2 blocks failed.</strong>' in text
    assert text.count("<td>z 0:64</td><td>slice 7 is torn</td>") == 2


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        ({"state": "interrupted", "error": None}, "ended early:</strong> it was interrupted. What"),
        ({"state": "failed", "error": "a <disk> is full"}, "a &lt;disk&gt; is full. What"),
        ({"state": "done", "error": None}, None),
    ],
)
def test_write_report__says_that_a_run_ended_early(tmp_path, ended, told):
    text = text_of(tmp_path, summary=summary(**ended))
    assert (told in text) if told else "ended early" not in text


def test_write_report__shows_noise_floors_and_intervals(tmp_path):
    given = statistics()
    given["isotropy_noise"] = given["isotropy_error"] / 10
    bounds = xr.DataArray([0.5, 1.5], dims="bound", coords={"bound": ["lower", "upper"]})
    for name in (*CURVES, "solid_fraction", "isotropy_error"):
        given[f"{name}_interval"] = (bounds * given[name]).assign_attrs(confidence=0.9)
    text = text_of(tmp_path, statistics=given)
    assert "0 is isotropic, x against y 0.0110" in text
    assert "x against y: S₂ 0.0110, L 0.0220, D 0.0330; noise alone, if the plane" in text
    assert "Bands: 90 % confidence intervals." in text
    assert "0.15617 to 0.46851" in text


# What is absent is left out


@pytest.mark.parametrize(
    ("removed", "section"),
    [
        (["solid_fraction_profile"], "profile"),
        ([*CURVES, "solid_fraction", "ligament_diameter", "isotropy_error"], "statistics"),
        (["misplaced", "misplaced_solid", "mean_dice"], "accuracy"),
    ],
)
def test_write_report__leaves_out_absent_statistics(tmp_path, removed, section):
    given = statistics().drop_vars(removed)
    text = text_of(tmp_path, statistics=given, summary=summary())
    shown = sections_of(text)
    kept = {"profile", "statistics", "accuracy", "timings", "recipe"} - {section}
    assert [s for s in shown if s != "overview"] == [s for s in SECTIONS if s in kept]


def test_write_report__of_nothing_is_a_page(tmp_path):
    assert sections_of(text_of(tmp_path)) == []


def test_write_report__says_what_could_not_be_read(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("shard c/0 is torn")

    monkeypatch.setattr("fibdask.report.figures.slices.read_planes", broken)
    text = text_of(tmp_path, stages=stages())
    assert text.count("could not be read: shard c/0 is torn") == 4


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 5), (9, 1, 3), (2, 2, 3000)])
def test_write_report__takes_thin_stacks(tmp_path, shape):
    images = np.random.default_rng(0).random((1, *shape)).astype(np.float32)
    z = 10.0 * np.arange(shape[0])
    stack = build_stack(
        {"intensity": images}, z=z, pixel_size=(5, 5), nominal_thickness=10, voltage=[3]
    )
    assert "slices" in sections_of(text_of(tmp_path, stages={"import": stack}))


# In a browser


@needs_chromium
def test_write_report__opens_in_a_browser_without_network(page, browser):
    browser.open(page.as_uri())
    assert browser.run("location.protocol") == "file:"
    pictures = browser.run("[...document.images].map((image) => image.naturalWidth)")
    assert len(pictures) == 13 + 4  # and those that the sliders draw from
    assert min(pictures[4:]) > 300


@needs_chromium
def test_write_report__is_drawn_in_light_colours_with_pictures(page, browser):
    drawn = browser.open(page.as_uri(), 1280, 3000).picture()
    assert drawn.shape[:2] == (3000, 1280)
    assert np.median(drawn) > 240
    near_solid = np.abs(drawn.astype(int) - (41, 56, 84)).max(axis=2) < 12
    assert near_solid.mean() > 0.005


def test_write_report__says_what_one_slice_does_not_tell(tmp_path, one_slice):
    measured = one_slice.fib.phase_statistics(max_lag=4).compute()
    path = tmp_path / "report.html"
    write_report(path, stages={"import": one_slice}, statistics=measured, summary={})
    text = path.read_text(encoding="utf-8")
    assert "one slice tells nothing along z" in text
    assert '10 nm</dd><dd class="detail">1 slice: no spread' in text
    assert not re.search(r"\bnan\b|e-1\d", re.sub('data:[^"]*', "", text))


# What is not known, and what must be known beside the numbers


def test_write_report__of_one_plane_says_in_words_what_is_not_known(tmp_path):
    plane = (np.random.default_rng(0).random((1, 30, 40)) < 0.5).astype(np.uint8)
    stack = build_stack({"phase": plane}, z=[0.0], pixel_size=(5, 5), nominal_thickness=5)
    found = phase_statistics(stack["phase"], max_lag=6).compute()
    text = text_of(tmp_path, stages={"segment": stack}, statistics=found)
    visible = re.sub(r'"data:[^"]+"', "", text)
    assert "nan" not in visible
    assert "inf" not in visible.replace("information", "")
    assert "Mean ligament diameter along x, y" in visible
    assert "nm; not known along z" in visible
    assert visible.count(">not known<") == 10


def test_write_report__says_what_must_be_known_beside_the_numbers(tmp_path):
    given = statistics().assign_attrs(warnings=["5 of 12 planes are <not> measured"])
    given["lineal_path_remainder"] = ("axis", [0.4, 0.0, 0.01])
    text = text_of(tmp_path, statistics=given)
    assert text.count("<li>5 of 12 planes are &lt;not&gt; measured</li>") == 2
    assert "along z is too small: 0.4 of the lineal path is left" in text
    assert "up to 20 nm only, where there is left of it: 0.2 along z, 0.2 along y" in text


def test_write_report__of_gaps_tells_the_profile_of_the_other_planes(tmp_path):
    given = statistics()
    given["solid_fraction_profile"][:4] = np.nan
    text = text_of(tmp_path, statistics=given)
    assert "in each of 8 planes: mean 0.3364" in text
    assert "4 planes without data." in text


def test_write_report__shows_sizes_beside_the_true_ones(tmp_path):
    given = statistics().assign(
        true_solid_fraction=((), 0.3),
        true_ligament_diameter=("axis", [14.0, 15.0, 16.0]),
        volume_misplaced=((), 6.5),
    )
    text = text_of(tmp_path, statistics=given)
    pattern = "<td>solid fraction φ</td><td[^>]*>0.31234</td><td[^>]*>0.30000</td>"
    assert re.search(pattern, text)
    pattern = "<td>ligament diameter along z</td><td[^>]*>17.5 nm</td><td[^>]*>14 nm</td>"
    assert re.search(pattern, text)
    assert re.search("<td>whole volume: misplaced voxels [^<]*</td><td[^>]*>6.5 %</td>", text)
