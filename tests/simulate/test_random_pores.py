import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fibdask.conventions import ConventionError, require_phase
from fibdask.simulate.keys import image_key
from fibdask.simulate.structures.random_pores import random_pores
from tests.simulate.naive import mean_ligament_diameter, two_point_correlation
from tests.simulate.naive_structures import BooleanModel, spheres_of_cell

PORES = {"pore_diameter": 40.0, "std_diameter": 10.0, "solid_fraction": 0.4}
SHAPE = (24, 40, 45)


@pytest.mark.parametrize(
    ("diameter", "std", "fraction"), [(30, 0, 0.3), (30, 10, 0.3), (20, 4, 0.9), (25, 5, 0.05)]
)
def test_random_pores__has_the_solid_fraction_asked_for(diameter, std, fraction):
    options = {"pore_diameter": diameter, "std_diameter": std, "solid_fraction": fraction}
    found = [
        random_pores((64, 160, 160), voxel_size=(5, 2, 2), seed=seed, **options).values.mean()
        for seed in range(12)
    ]
    expected = BooleanModel(diameter, std, fraction).fraction_std(320.0**3)
    assert abs(np.mean(found) - fraction) < 4 * expected / np.sqrt(len(found))
    assert np.std(found, ddof=1) == pytest.approx(expected, rel=0.8)


@pytest.mark.parametrize("std", [0.0, 12.0])
def test_random_pores__has_the_two_point_correlation_of_the_boolean_model(std):
    options = {"pore_diameter": 40.0, "std_diameter": std, "solid_fraction": 0.5}
    model = BooleanModel(40.0, std, 0.5)
    lags = [0, 1, 2, 4, 7, 10, 15]
    found = np.zeros((3, len(lags)))
    for seed in range(4):
        phase = random_pores((160, 200, 200), voxel_size=(5, 4, 4), seed=seed, **options).values
        found += [[two_point_correlation(phase, a, lag) / 4 for lag in lags] for a in range(3)]
    for row, size in zip(found, (5, 4, 4), strict=True):
        expected = [model.two_point_correlation(lag * size) for lag in lags]
        np.testing.assert_allclose(row, expected, atol=0.008)


@pytest.mark.parametrize(("std", "fraction"), [(0.0, 0.3), (10.0, 0.5)])
def test_random_pores__has_the_ligament_diameter_of_the_docstring(std, fraction):
    options = {"pore_diameter": 30.0, "std_diameter": std, "solid_fraction": fraction}
    phase = random_pores((300, 160, 160), voxel_size=2, seed=0, **options).values
    found = [mean_ligament_diameter(phase, axis, 2) for axis in range(3)]
    expected = BooleanModel(30.0, std, fraction).ligament_diameter()
    assert np.mean(found) == pytest.approx(expected, rel=0.03)
    if not std:
        assert expected == pytest.approx(2 / 3 * 30 / np.log(1 / fraction))


@pytest.mark.interpreted
def test_random_pores__equals_the_naive_spheres():
    phase = random_pores(SHAPE, voxel_size=(7, 3, 2), seed=5, **PORES)
    function = phase.data.origin.function
    side = (4 / function.density) ** (1 / 3)
    positions = np.stack(np.meshgrid(phase.z, phase.y, phase.x, indexing="ij"), axis=-1)
    cells = [range(int((n * h + 70) / side) + 1) for n, h in zip(SHAPE, (7, 3, 2), strict=True)]
    depth = np.full(SHAPE, -np.inf)
    for cell in np.ndindex(*map(len, cells)):
        for centre, radius in spheres_of_cell(image_key((5,)), cell, 4, 20, 5, side):
            depth = np.maximum(depth, radius - np.linalg.norm(positions - centre, axis=-1))
    far = np.abs(depth) > 1e-9
    assert far.mean() > 0.99
    np.testing.assert_array_equal(phase.values[far], (depth < 0)[far])


@given(st.data())
def test_random_pores__any_block_equals_the_same_part_of_the_whole(data):
    fraction = data.draw(st.sampled_from([0.05, 0.5, 0.98]))
    phase = random_pores(
        SHAPE, voxel_size=(6, 3, 3), seed=1, **PORES | {"solid_fraction": fraction}
    )
    function = phase.data.origin.function
    region = []
    for n in SHAPE:
        start = data.draw(st.integers(0, n - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, n))))
    part = function.compute(tuple(region))
    np.testing.assert_array_equal(part, phase.values[tuple(region)])


@pytest.mark.parametrize("chunks", [(24, 40, 7), (1, 13, 45), 16])
def test_random_pores__does_not_depend_on_chunks(chunks):
    whole = random_pores(SHAPE, voxel_size=3, seed=2, **PORES)
    chunked = random_pores(SHAPE, voxel_size=3, seed=2, chunks=chunks, **PORES)
    np.testing.assert_array_equal(chunked.values, whole.values)


def test_random_pores__is_a_phase_in_one_task_a_block():
    phase = random_pores((500, 2048, 2048), voxel_size=(10, 2, 3), seed=0, **PORES)
    require_phase(phase)
    assert len(phase.data.dask) == np.prod(phase.data.numblocks)
    assert '"solid_fraction": 0.4' in phase.attrs["provenance"][-1]


def test_random_pores__differs_with_the_seed():
    first, second = (random_pores(SHAPE, voxel_size=3, seed=s, **PORES).values for s in (0, 1))
    assert (first != second).mean() > 0.2


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("solid_fraction", 1.0, "solid_fraction must be > 0 and < 1; got 1.0"),
        ("solid_fraction", "0.5", "solid_fraction must be > 0 and < 1; got '0.5'"),
        ("pore_diameter", 0.0, "pore_diameter must be finite and > 0 nm; got 0.0"),
        ("pore_diameter", 0.04, "pore_diameter must be .* as a voxel, 2 nm; got 0.04 nm"),
        ("std_diameter", -1.0, "std_diameter must be finite and >= 0 nm; got -1.0"),
        ("std_diameter", 14.0, "at most a third of the pore_diameter of 40.0 nm; got 14.0 nm"),
        ("seed", 0.5, "seed must be a whole number >= 0; got 0.5"),
    ],
)
def test_random_pores__refuses_wrong_arguments(argument, value, message):
    with pytest.raises(ConventionError, match=message):
        random_pores(SHAPE, voxel_size=2, **{"seed": 0, **PORES, argument: value})
