"""The section about painted slices."""

import re

import numpy as np
import pytest
import xarray as xr

from fibdask.conventions import build_stack, record_step
from fibdask.report import write_report

PAINTED = [2, 9, 16]


@pytest.fixture
def stack():
    phase = np.random.default_rng(0).integers(0, 2, (20, 8, 12)).astype(np.uint8)
    made = build_stack(
        {"phase": phase}, z=10.0 * np.arange(20), pixel_size=(5, 5), nominal_thickness=10
    )
    told = {"painted_slices": PAINTED, "classes": ["pore", "solid"]}
    return record_step(made, "segment_phases", told, "abc")


def curve(*misplaced):
    counts = 2 ** np.arange(len(misplaced))
    coords = {"learnt": counts, "judged": PAINTED, "z": ("judged", 10.0 * np.array(PAINTED))}
    return xr.Dataset({"misplaced": (("learnt", "judged"), np.array(misplaced, float))}, coords)


def section(tmp_path, stack, found):
    path = write_report(
        tmp_path / "r.html",
        stages={"segment": stack},
        estimates={"segment": found},
        statistics=None,
        summary={},
    )
    text = path.read_text(encoding="utf-8")
    return re.findall(r'<section id="labels">(.*?)</section>', text, re.DOTALL)[0]


def test_labels_section__says_that_more_slices_help(tmp_path, stack):
    body = section(tmp_path, stack, curve([9, 10, 11.5], [4, 5, 6]))
    assert "3 painted slices of pore, solid: 2, 9, 16." in body
    assert "fell from 10.2 % by 1 to 5 % by 2: painting more helps" in body
    assert re.findall(r'<td class="number">(.*?)</td>', body)[:3] == ["2", "20", "4 %"]


def test_labels_section__says_that_more_slices_help_little(tmp_path, stack):
    body = section(tmp_path, stack, curve([9, 10, 11], [4, 5, 6], [3, 6.5, 5.4]))
    assert "by 2 to 4.97 % by 4, a fall of 0.033 ± 0.78 points: more slices like these" in body


@pytest.mark.parametrize(
    "misplaced", [[[9, 10, 11]], [[9, 10, 11], [4, np.nan, np.nan]]], ids=["one", "unknown"]
)
def test_labels_section__says_that_it_is_not_known(tmp_path, stack, misplaced):
    assert "too few to tell whether painting" in section(tmp_path, stack, curve(*misplaced))
    reason = xr.Dataset(attrs={"reason": "painted are [3]: paint another one farther away"})
    assert "is not known: painted are [3]" in section(tmp_path, stack, reason)


def test_labels_section__names_the_slices_that_help_most(tmp_path, stack):
    expected = np.full(20, 0.5)
    expected[12], expected[5] = 8.0, np.nan
    found = curve([9, 10, 11]).assign(expected_misplaced=("plane", expected))
    body = section(tmp_path, stack, found)
    rows = re.findall(r"<tr>(.*?)</tr>", body.split("Next slice to paint")[1])
    named = [re.findall(r">([^<>]+)<", row) for row in rows if "td" in row]
    assert named[0][:3] == ["12", "120", "8 %"]
    assert len(named) == 3
    assert not {row[0] for row in named} & {"2", "9", "16", "5"}


def test_labels_section__a_slice_may_teach_nothing_alone(tmp_path, stack):
    assert "figure" in section(tmp_path, stack, curve(3 * [np.nan], [2, 4, 3]))
