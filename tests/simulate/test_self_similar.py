import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fibdask.conventions import ConventionError, build_stack, require_phase
from fibdask.io import open_stack, save_stack
from fibdask.simulate import levelled_wave
from fibdask.simulate.structures.self_similar import _random_rotation, self_similar
from tests.simulate.naive import mean_ligament_diameter
from tests.simulate.naive_structures import copied


def structure(shape=(30, 34, 40), voxel_size=(6, 5, 4), ligament_size=30.0, fraction=0.4, seed=0):
    return levelled_wave(
        shape,
        voxel_size=voxel_size,
        ligament_size=ligament_size,
        solid_fraction=fraction,
        seed=seed,
    )


def test_self_similar__of_one_copy_of_the_same_size_is_the_same():
    phase = structure()
    same = self_similar(phase, scale=[1.0], seed=0)
    np.testing.assert_array_equal(same, phase)
    for axis in "zyx":
        np.testing.assert_array_equal(same[axis], phase[axis])


@pytest.mark.interpreted
@pytest.mark.parametrize("voxel_size", [None, 3.0])
def test_self_similar__equals_the_naive_copies(voxel_size):
    phase = structure()
    made = self_similar(phase, scale=(1.3, 0.4), seed=3, shape=(25, 31, 36), voxel_size=voxel_size)
    function = made.data.origin.function
    copies = [
        copied(phase.values, matrix, offset, made.shape)
        for matrix, offset in zip(function.matrices, function.offsets, strict=True)
    ]
    smallest = np.minimum(*copies)
    far = np.abs(smallest - 0.5) > 1e-5
    assert far.mean() > 0.99
    np.testing.assert_array_equal(made.values[far], (smallest > 0.5)[far])


def test_self_similar__is_within_the_first_copy_and_fills_its_size():
    phase = structure()
    first = self_similar(phase, scale=[1.5], voxel_size=4, seed=0)
    both = self_similar(phase, scale=[1.5, 0.2], voxel_size=4, seed=0)
    assert both.shape == (68, 64, 60)
    assert (both.values <= first.values).all()


def test_self_similar__has_the_solid_fraction_of_both_copies():
    phase = structure((60, 60, 60), 5.0, 40.0, 0.3)
    fraction = phase.values.mean()
    found = [
        float(self_similar(phase, scale=(1.0, 0.3), seed=seed).values.mean()) for seed in range(12)
    ]
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert error < 0.03 * fraction**2
    assert abs(np.mean(found) - fraction**2) < 3 * error + 0.01 * fraction**2


@pytest.mark.parametrize(("voxels", "tolerance"), [(3, 0.035), (6, 0.01)])
@pytest.mark.parametrize("scale", [2.0, 0.6])
def test_self_similar__keeps_the_solid_fraction_as_the_docstring_says(voxels, tolerance, scale):
    phase = structure((90, 90, 90), 5.0, 5.0 * voxels, 0.2)
    found = self_similar(phase, scale=[scale], voxel_size=3, seed=0).values.mean()
    assert found == pytest.approx(phase.values.mean(), rel=tolerance)


@pytest.mark.parametrize("scale", [2.0, 0.5])
def test_self_similar__has_ligaments_of_the_scale(scale):
    phase = structure((120, 120, 120), 4.0, 32.0, 0.4)
    copy = self_similar(phase, scale=[scale], voxel_size=4.0 * scale**0.5, seed=0)
    expected, found = (
        np.mean([mean_ligament_diameter(volume.values, axis, size) for axis in range(3)])
        for volume, size in ((phase, 4.0), (copy, 4.0 * scale**0.5))
    )
    assert found == pytest.approx(scale * expected, rel=0.02)


def test_self_similar__rotated_copies_have_ligaments_of_their_scale():
    phase = structure((80, 80, 80), 5.0, 40.0, 0.4)
    made = self_similar(phase, scale=(1.0, 0.4), seed=1, shape=(200,) * 3, voxel_size=2.5)
    copies = made.data.origin.function
    region = (slice(0, 200),) * 3
    first, second = (phase.values[box] for box in copies.needs(region))
    found = copies.compute(region, np.ones_like(first), second)
    expected, rotated = (
        np.mean([mean_ligament_diameter(volume, axis, size) for axis in range(3)])
        for volume, size in ((phase.values, 5.0), (found, 2.5))
    )
    assert rotated == pytest.approx(0.4 * expected, rel=0.05)


def test_random_rotation__is_a_rotation_even_over_all():
    rng = np.random.default_rng(0)
    rotations = np.stack([_random_rotation(rng) for _ in range(4000)])
    unit = np.broadcast_to(np.eye(3), rotations.shape)
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), unit, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    np.testing.assert_allclose(rotations.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose((rotations**2).mean(axis=0), 1 / 3, atol=0.03)


@given(st.data())
def test_self_similar__any_block_reads_what_it_needs_only(data):
    phase = structure()
    made = self_similar(phase, scale=(1.3, 0.3), seed=2)
    function = made.data.origin.function
    region = []
    for n in made.shape:
        start = data.draw(st.integers(0, n - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, n))))
    needs = function.needs(tuple(region))
    assert all(
        0 <= s.start < s.stop <= n for box in needs for s, n in zip(box, phase.shape, strict=True)
    )
    part = function.compute(tuple(region), *(phase.values[box] for box in needs))
    np.testing.assert_array_equal(part, made.values[tuple(region)])


@pytest.mark.parametrize("chunks", [(30, 34, 9), (1, 34, 40), 16])
def test_self_similar__does_not_depend_on_chunks(chunks, tmp_path):
    phase = structure()
    expected = self_similar(phase, scale=(1.2, 0.4), seed=1).values
    stack = build_stack(
        {"phase": phase.values},
        z=phase["z"].values,
        pixel_size=(5.0, 4.0),
        nominal_thickness=6.0,
    )
    save_stack(stack.chunk(z=7, y=11), tmp_path / "stack.zarr")
    stored = open_stack(tmp_path / "stack.zarr")["phase"]
    for source in (phase.load(), phase.chunk(z=5, x=17), stored):
        made = self_similar(source, scale=(1.2, 0.4), seed=1, chunks=chunks)
        np.testing.assert_array_equal(made.values, expected)


def test_self_similar__is_a_phase_with_the_history_of_its_source():
    phase = structure()
    made = self_similar(phase, scale=(1.0, 0.4), seed=1, chunks=16)
    require_phase(made)
    assert len(made.data.dask) == np.prod(made.data.numblocks)
    steps = [record.split('"')[3] for record in made.attrs["provenance"]]
    assert steps == ["levelled_wave", "self_similar"]


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("scale", (), "scale must hold that of one copy at least; got none"),
        ("scale", (1.0, -0.2), "scale must be finite and > 0; got -0.2"),
        ("seed", -1, "seed must be a whole number >= 0; got -1"),
        ("shape", (3, 0, 3), r"got \(3, 0, 3\)"),
    ],
)
def test_self_similar__refuses_wrong_arguments(argument, value, message):
    with pytest.raises(ConventionError, match=message):
        self_similar(structure(), **{"scale": (1.0, 0.3), "seed": 0, argument: value})


def test_self_similar__refuses_uneven_slices_and_what_is_no_phase():
    phase = structure()
    with pytest.raises(ConventionError, match=r"z must be evenly spaced .* reposition the slices"):
        self_similar(phase.isel(z=[0, 1, 3]), scale=[1.0], seed=0)
    with pytest.raises(ConventionError, match=r"phase must be an xarray\.DataArray"):
        self_similar(phase.values, scale=[1.0], seed=0)
