"""The page about a network says what its card says, and leaves out what is not there."""

import numpy as np
import pytest

from fibdask.report import write_training_report

CARD = {
    "name": "tiny <1>",
    "voltages": [1.0, 2.0],
    "pixel_size": [2.25, 2.75],
    "thickness": [7.0, 7.0],
    "electrons_per_pixel": None,
    "materials": {"pore": "epoxy", "solid": "Au"},
    "licence": "CC0-1.0",
    "errors": {
        "conditions": [
            {
                "voltages": [1.0, 2.0],
                "electrons_per_pixel": 50.0,
                "misplaced": 1.234,
                "on_slices": 0.4,
                "between": None,
                "calibration_error": 0.0123,
            }
        ]
    },
    "training": {"steps": 7, "seconds": 90, "device": "cpu", "versions": {"fibdask": "1.0"}},
}


@pytest.fixture
def example():
    rng = np.random.default_rng(0)
    return {
        "images": rng.random((2, 3, 16, 16), np.float32),
        "distances": np.array([-9.0, 0.0, np.nan], np.float32),
        "offsets": np.array([0.0, 5.0], np.float32),
        "probability": rng.random((2, 16, 16), np.float32),
    }


def _page(tmp_path, card, losses, example):
    path = tmp_path / "page.html"
    write_training_report(path, card=card, losses=losses, looks={10: 0.5, 20: 0.3}, example=example)
    return path.read_text()


def test_write_training_report__says_what_the_card_says(tmp_path, example):
    page = _page(tmp_path, CARD, [1.0, 0.5, 0.4], example)
    row = ["1, 2 kV, 50 electrons a pixel", "1.23 %", "0.4 %", "–", "0.012"]
    numbers = "".join(f'<td class="number">{text}</td>' for text in row[1:])
    assert f"<td>{row[0]}</td>{numbers}" in page
    assert "<td>Pixel in nm</td><td>2.25 to 2.75</td>" in page
    assert "<td>Mean thickness of slices in nm</td><td>7</td>" in page
    assert "<td>Materials</td><td>pore: epoxy, solid: Au</td>" in page
    assert "<td>Licence</td><td>CC0-1.0</td>" in page
    assert "Electrons a pixel</td>" not in page
    assert "7 steps in 1 min 30 s on cpu." in page


def test_write_training_report__needs_no_other_file_and_trusts_no_name(tmp_path, example):
    page = _page(tmp_path, CARD, [1.0], example)
    assert "Network tiny &lt;1&gt;" in page
    assert page.count('<img src="data:image/') == 2
    assert 'src="http' not in page


def test_write_training_report__tells_networks_of_phases(tmp_path, example):
    errors = {"misplaced": 1.0, "between": 1.5, "calibration_error": 0.01}
    card = CARD | {"voltages": [], "errors": errors}
    example["images"] = example["images"][:1]
    page = _page(tmp_path, card, [1.0, 0.5], example)
    assert "<td>phases of the measured planes</td>" in page
    assert '<td class="number">1.5 %</td>' in page
