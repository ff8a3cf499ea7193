"""The section about a network."""

import re

import numpy as np
import pytest
import xarray as xr

from fibdask.conventions import build_stack, mark_inpainted, record_step
from fibdask.report import write_report
from fibdask.statistics.certainty import certainty

CARD = {
    "task": "windows",
    "voltages": [1.0, 2.0],
    "pixel_size": [4.0, 5.0],
    "thickness": [7.0, 16.0],
    "gap": [5.0, 20.0],
    "electrons_per_pixel": [15.0, 60.0],
    "materials": {"pore": "epoxy", "solid": "Au"},
    "errors": {"misplaced": 0.75, "on_slices": 0.5, "between": 0.85},
    "licence": "CC0-1.0",
}
Z = np.array([0.0, 10.0, 15.0, 30.0])


def images(z=Z, electrons=40.0):
    grey = np.random.default_rng(0).integers(0, 200, (2, len(z), 12, 16)).astype(np.uint8)
    stack = build_stack(
        {"intensity": grey}, z=z, pixel_size=(4, 5), nominal_thickness=10, voltage=[1, 2]
    )
    told = {"electrons_per_pixel": electrons, "materials": {"pore": "epoxy", "solid": "Au"}}
    return record_step(stack, "simulate_images", told, "")


def volume(stack, card=CARD, step="reconstruct_volume", **more):
    levels = np.random.default_rng(1).integers(0, 256, (7, 12, 16))
    probability = (levels / 255).astype(np.float32)
    volumes = {"phase": (levels > 127).astype(np.uint8), "solid_probability": probability}
    made = build_stack(
        volumes, z=5.0 * np.arange(7), pixel_size=(4, 5), nominal_thickness=5
    ).assign_coords(measured=("z", np.isin(5.0 * np.arange(7), Z)))
    made = mark_inpainted(made.assign_attrs(stack.attrs), volumes)
    record = {"voltage": [1.0, 2.0], "model": "gold<", "model_fingerprint": "abc"}
    return record_step(made, step, record | {"model_card": card} | more, "abc")


def section(tmp_path, stack, made, **numbers):
    found = certainty(made).compute().assign(numbers)
    stages = {"simulate": stack, "reconstruct": made}
    path = write_report(tmp_path / "r.html", stages=stages, statistics=found, summary={})
    text = path.read_text(encoding="utf-8")
    (body,) = re.findall(r'<section id="network">(.*?)</section>', text, re.DOTALL)
    return body, text


def rows(body):
    found = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", body)]
    return {row[0]: row[1:] for row in found if row}


def test_network_section__says_which_model_and_what_it_was_trained_for(tmp_path):
    stack = images()
    body, text = section(tmp_path, stack, volume(stack))
    assert "Model gold&lt;, CC0-1.0." in body
    assert "0.75 % of voxels were wrong: 0.5 % on slices, 0.85 % between them." in body
    assert rows(body) == {
        "voltages in kV": ["1, 2", "1, 2", "yes"],
        "pixel size in nm": ["4 to 5", "4 to 5", "yes"],
        "mean slice thickness in nm": ["10", "7 to 16", "yes"],
        "distances of slices in nm": ["5 to 15", "5 to 20", "yes"],
        "electrons per pixel": ["40", "15 to 60", "yes"],
        "materials (solid in pore)": ["Au in epoxy", "Au in epoxy", "yes"],
    }
    assert "was not trained" not in body
    assert "model_card" not in text


def test_network_section__tells_the_errors_of_the_voltages_that_were_shown(tmp_path):
    other = {"voltages": [1.0], "electrons_per_pixel": 50.0, "misplaced": 9.5}
    same = {"voltages": [1.0, 2.0], "electrons_per_pixel": 50.0, "misplaced": 1.75}
    conditions = [other, same | {"on_slices": 1.5, "between": None}]
    stack = images()
    body, _ = section(tmp_path, stack, volume(stack, CARD | {"conditions": conditions}))
    assert "at 50 electrons a pixel, 1.75 % of voxels were wrong: 1.5 % on slices." in body


def test_network_section__says_what_lies_outside(tmp_path):
    stack = images(np.array([0.0, 10.0, 15.0, 37.0]), electrons=5.0)
    body, _ = section(tmp_path, stack, volume(stack, CARD | {"materials": None}))
    found = rows(body)
    assert found["distances of slices in nm"] == ["5 to 22 (1 distance outside)", "5 to 20", "no"]
    assert found["electrons per pixel"] == ["5", "15 to 60", "no"]
    assert found["materials (solid in pore)"] == ["Au in epoxy", "any", ""]
    assert "not trained for this: distances of slices in nm, electrons per pixel." in body


def test_network_section__minds_no_less_noise(tmp_path):
    stack = images(electrons=150.0)
    body, _ = section(tmp_path, stack, volume(stack))
    assert rows(body)["electrons per pixel"] == ["150", "15 to 60", "more: less noise"]
    assert "was not trained" not in body


@pytest.mark.parametrize(("shown", "told"), [([1.0, 2.0], " ± 0.004 of"), ([1.0, 4.0], " of")])
def test_network_section__tells_the_largest_error_of_probabilities(tmp_path, shown, told):
    same = {"voltages": [1.0, 2.0], "misplaced": 1.0}
    conditions = [same | {"calibration_error": error} for error in (0.003, 0.004)]
    errors = CARD["errors"] | {"calibration_error": 0.001}
    stack = images()
    made = volume(stack, CARD | {"errors": errors, "conditions": conditions}, voltage=shown)
    body, _ = section(tmp_path, stack, made)
    assert re.search(rf"sum of probabilities, 0\.\d+{told} the volume", body)


def test_network_section__says_how_much_solid_it_knows(tmp_path):
    stack = images()
    made = volume(stack, CARD | {"solid_fraction": [0.1, 0.45]})
    body, _ = section(tmp_path, stack, made, solid_fraction=((), 0.64))
    assert rows(body)["solid fraction"] == ["0.64", "0.1 to 0.45", "no"]
    assert "not trained for this: solid fraction." in body


def test_network_section__says_what_was_resampled(tmp_path):
    stack = images()
    made = volume(stack, shown_pixel_size=[4.0, 4.5], shown_every=2)
    body, _ = section(tmp_path, stack, made)
    assert rows(body)["pixel size in nm"][2] == "resampled to 4 to 4.5"
    assert rows(body)["mean slice thickness in nm"][2] == "one of 2 is shown"
    assert "was not trained" not in body


def test_network_section__of_real_images_does_not_know_their_electrons(tmp_path):
    stack = images().assign_attrs(provenance=[])
    found = rows(section(tmp_path, stack, volume(stack))[0])
    assert found["electrons per pixel"] == ["not known", "15 to 60", ""]
    assert found["materials (solid in pore)"] == ["not known", "Au in epoxy", ""]


def test_network_section__tells_how_sure_it_was_on_slices_and_between(tmp_path):
    stack = images()
    made = volume(stack)
    body, _ = section(tmp_path, stack, made, volume_misplaced=((), 1.25))
    found = certainty(made).compute()
    on = found["unsure_share"].values[made["measured"].values].mean()
    assert f": {100 * on:.2f} % on slices, " in body
    assert f"{float(found['expected_misplaced'].mean()):.3g} % of all voxels" in body
    assert "against the truth it is 1.25 %." in body
    titles = re.findall(r"<strong>([^<]+)\.</strong>", body)
    assert titles == ["How sure the network was", "Image at 2 kV", "Phase", "Probability of solid"]


def test_network_section__of_slices_counts_no_gap_that_stays(tmp_path):
    stack = images()
    made = volume(stack, step="segment_phases")
    found = certainty(made).compute()
    found["unsure_share"][~made["measured"].values] = np.nan  # nobody knows of these
    found = found.assign(misplaced=((), 0.75), volume_misplaced=((), 9.0))
    stages = {"simulate": stack, "segment": made}
    path = write_report(tmp_path / "r.html", stages=stages, statistics=found, summary={})
    text = path.read_text(encoding="utf-8")
    assert re.search(r"with a probability of 90 % or more: [\d.]+ %\.", text)
    assert "nan %" not in text
    assert "against the truth it is 0.75 %." in text


def test_network_section__of_filled_phases_says_the_model_alone(tmp_path):
    stack = images()
    made = volume(stack, {"task": "phases", "errors": {"misplaced": 1.5}}, "inpaint_gaps")
    made = made.drop_vars("solid_probability")
    stages = {"simulate": stack, "inpaint": made}
    path = write_report(tmp_path / "r.html", stages=stages, statistics=None, summary={})
    assert "1.5 % of voxels were wrong." in path.read_text(encoding="utf-8")


def test_network_section__is_of_networks_only(tmp_path):
    path = write_report(
        tmp_path / "r.html", stages={"simulate": images()}, statistics=xr.Dataset(), summary={}
    )
    assert '<section id="network">' not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("phrase", ["4 slices", "3 of 7 planes (43 %) are filled between slices"])
def test_write_report__of_a_reconstruction_says_what_is_filled(tmp_path, phrase):
    stack = images()
    _, text = section(tmp_path, stack, volume(stack))
    assert phrase in text
    assert "fit no neighbour" not in text
