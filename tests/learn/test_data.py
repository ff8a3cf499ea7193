"""Data that no network can be trained on, or judged by, are refused."""

import numpy as np
import pytest

from fibdask import levelled_wave, save_stack, simulate_images
from fibdask.conventions import ConventionError
from fibdask.learn.cards import ranges
from fibdask.learn.data import SimulatedStack, check_data
from fibdask.learn.samples import Variation
from tests.learn.helpers import small_stack


def test_check_data__takes_stacks_of_other_seeds():
    check_data([small_stack(0), small_stack(1)], [small_stack(2)], 40)


@pytest.mark.parametrize(
    ("training", "validation", "crop", "told"),
    [
        (small_stack(0), small_stack(0), 16, "same seed of levelled_wave, 0"),
        (small_stack(0), small_stack(1, voltages=(1.0, 4.0)), 16, r"\[1.0, 2.0\], small-1: \[1.0"),
        (small_stack(0), small_stack(1, size=24), 32, "crop, 32 pixels; small-1 has 24 × 24"),
    ],
)
def test_check_data__refuses_what_does_not_fit(training, validation, crop, told):
    with pytest.raises(ConventionError, match=told):
        check_data([training], [validation], crop)


def test_check_data__refuses_the_same_structure_whatever_its_seeds():
    history = (("simulate_images", {"seed": 9, "materials": small_stack(0).materials}),)
    with pytest.raises(ConventionError, match="show the same structure"):
        check_data([small_stack(0)], [small_stack(0, history=history)], 16)


@pytest.mark.parametrize("model", ["monte_carlo", "learned"])
def test_simulated_stack__counts_electrons_by_monte_carlo_or_a_network(model, tmp_path):
    phase = levelled_wave(
        (12, 24, 24), voxel_size=2.5, ligament_size=20, solid_fraction=0.4, seed=1, waves=20
    )
    options = {"electrons_per_pixel": 40, "gaussian_std": 0.0, "dtype": "float32", "seed": 2}
    stack = simulate_images(phase, voltage=2, slices=[0.0, 10.0], model=model, **options)
    save_stack(stack, tmp_path / "simulate.zarr")
    save_stack(phase.to_dataset(name="phase"), tmp_path / "structure.zarr")
    found = SimulatedStack.open(tmp_path)
    assert found.electrons == 40
    solid = found.truth[[0, 4]] > 0
    assert found.counts.dtype == np.uint16
    assert found.counts[0][solid].mean() / 40 == pytest.approx(0.4, abs=0.08)


def test_simulated_stack__refuses_what_counts_no_electrons(tmp_path):
    phase = levelled_wave(
        (4, 24, 24), voxel_size=2.5, ligament_size=20, solid_fraction=0.4, seed=1, waves=20
    )
    stack = simulate_images(phase, voltage=2, slices=[0.0], model="analytic", seed=1)
    save_stack(stack, tmp_path / "simulate.zarr")
    save_stack(phase.to_dataset(name="phase"), tmp_path / "structure.zarr")
    with pytest.raises(ConventionError, match="by Monte Carlo, or by a network that has learnt"):
        SimulatedStack.open(tmp_path)


def test_simulated_stack__refuses_many_electrons_that_were_changed_after_counting(tmp_path):
    phase = levelled_wave(
        (4, 24, 24), voxel_size=2.5, ligament_size=20, solid_fraction=0.4, seed=1, waves=20
    )
    options = {"model": "learned", "electrons_per_pixel": 3000, "gaussian_std": 0.0}
    stack = simulate_images(phase, voltage=2, slices=[0.0], dtype="float32", seed=1, **options)
    save_stack(phase.to_dataset(name="phase"), tmp_path / "structure.zarr")
    for name, factor in (("counted", 1.0), ("brighter", 1.01)):
        folder = tmp_path / name
        save_stack(stack.assign(intensity=stack["intensity"] * factor), folder / "simulate.zarr")
        (folder / "structure.zarr").symlink_to(tmp_path / "structure.zarr")
    assert SimulatedStack.open(tmp_path / "counted").counts.max() > 1000
    with pytest.raises(ConventionError, match="holds no counts of electrons"):
        SimulatedStack.open(tmp_path / "brighter")


def test_check_data__refuses_a_single_slice():
    stack = small_stack(0)
    one = small_stack(1, z=stack.z[:1], counts=stack.counts[:, :1])
    with pytest.raises(ConventionError, match="two slices; small-1 has 1"):
        check_data([one], [stack], 16)


def test_ranges__are_those_of_the_data():
    stacks = [small_stack(0), small_stack(1, pixel_size=5.0, electrons=80.0)]
    found = ranges(stacks, Variation(electrons_per_pixel=(10.0, 70.0)))
    assert found["voltages"] == [1.0, 2.0]
    assert found["pixel_size"] == pytest.approx([2.25, 5.5])
    mean = np.diff(stacks[0].z).mean()
    assert found["thickness"] == pytest.approx([0.7 * mean, 1.5 * mean], rel=1e-3)
    resampled = found["resampled"]
    assert resampled["pixel_size"] == pytest.approx([2.25 / 4, 5.5 * 1.35], rel=1e-3)
    assert resampled["thickness"] == pytest.approx([0.175 * mean, 1.5 * mean], rel=1e-3)
    assert found["electrons_per_pixel"] == [10.0, 70.0]
    assert found["materials"] == {"pore": "C", "solid": "Au"}
    assert found["ligament_size"] == [20.0, 20.0]
    shares = sorted(stack.truth.mean() for stack in stacks)
    assert found["solid_fraction"] == pytest.approx(shares, rel=1e-3)


def test_ranges__name_all_materials_once():
    alu, unknown = (
        (("simulate_images", {"seed": 9, "materials": pair}),)
        for pair in ({"pore": "C", "solid": "Al"}, {})
    )
    histories = [small_stack(0).history, alu, alu, unknown]
    stacks = [small_stack(k, history=history) for k, history in enumerate(histories)]
    found = ranges(stacks, Variation())
    assert found["materials"] == {"pore": "C", "solid": "Au"}
    assert found["other_materials"] == [{"pore": "C", "solid": "Al"}]
    assert ranges(stacks[:1], Variation())["other_materials"] == []
