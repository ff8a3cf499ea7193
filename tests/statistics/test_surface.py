"""Specific surface area: closed forms, the definition, and independence of chunks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fibdask.blocks import voxels
from fibdask.conventions import ConventionError
from fibdask.statistics._functions import NeighbourCounts
from fibdask.statistics._kernels.surface import DIRECTIONS, direction_weights
from fibdask.statistics.surface import specific_surface_area
from tests.statistics.helpers import (
    CUBIC,
    in_blocks,
    laminate,
    noise,
    phase_of,
    ragged,
    random_volumes,
)
from tests.statistics.naive_surface import interfaces_per_length

SPACINGS = [CUBIC, (2.0, 1.0, 1.0), (3.0, 1.0, 1.0)]
# How far off the area of a plane comes out at worst, as the docstring says.
WORST = list(zip(SPACINGS, [(0.92, 1.03), (0.87, 1.10), (0.84, 1.11)], strict=True))


def ball(radius, spacing, count=120):
    """A ball in nm amid a cube of so many nm."""
    steps = [np.arange(0, count, step) - count / 2 for step in spacing]
    z, y, x = np.meshgrid(*steps, indexing="ij", sparse=True)
    return (z**2 + y**2 + x**2 < radius**2).astype(np.uint8)


def plates(normal, spacing, period=24.0, count=96):
    """Plates in nm of any orientation, half a period thick."""
    steps = [np.arange(0, count, step) for step in spacing]
    z, y, x = np.meshgrid(*steps, indexing="ij", sparse=True)
    depth = normal[0] * z + normal[1] * y + normal[2] * x
    return (depth % period < period / 2).astype(np.uint8)


def unit_vectors(count, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(data=st.data(), volume=random_volumes())
def test_specific_surface_area__equals_the_definition_under_any_chunking(data, volume):
    spacing = (2.0, 1.0, 1.5)
    arrays = (volume, data.draw(ragged(volume)), in_blocks(volume, (2, 3, 4)))
    results = [float(specific_surface_area(phase_of(array, spacing))) for array in arrays]
    assert len({np.float64(result).tobytes() for result in results}) == 1
    weights = direction_weights(np.multiply(DIRECTIONS, spacing))
    per_length = [interfaces_per_length(volume, step, spacing) for step in DIRECTIONS]
    np.testing.assert_allclose(results[0], 2 * np.dot(weights, per_length))


@given(data=st.data(), volume=random_volumes())
def test_specific_surface_area__intercepts_equal_the_definition(data, volume):
    spacing = (2.0, 1.0, 1.5)
    expected = [2 * interfaces_per_length(volume, step, spacing) for step in np.eye(3, dtype=int)]
    for array in (volume, data.draw(ragged(volume)), in_blocks(volume, (2, 3, 4))):
        area = specific_surface_area(phase_of(array, spacing), method="intercept")
        np.testing.assert_allclose(area, expected)


@given(random_volumes(), st.integers(0, 9))
def test_specific_surface_area__counts_pairs_inside_the_mask(volume, seed):
    inside = noise(volume.shape, 0.8, seed).astype(bool)
    for array in (volume, in_blocks(volume, (2, 3, 4))):
        phase = phase_of(array)
        mask = phase.copy(data=inside).drop_attrs()
        area = specific_surface_area(phase, method="intercept", mask=mask)
        steps = np.eye(3, dtype=int)
        expected = [2 * interfaces_per_length(volume, step, CUBIC, inside) for step in steps]
        np.testing.assert_allclose(area, expected)


def test_specific_surface_area__of_a_box_is_that_of_the_part():
    phase = phase_of(in_blocks(noise((9, 8, 7)), (3, 3, 3)), (2.0, 1.0, 1.0))
    area = specific_surface_area(phase, mask={"z": (2, 8), "x": (1, 5)})
    assert float(area) == float(specific_surface_area(phase[2:8, :, 1:5]))


@pytest.mark.parametrize("spacing", [*SPACINGS, (1.0, 3.0, 1.5)])
def test_specific_surface_area__of_a_ball_is_that_of_a_sphere(spacing):
    phase = phase_of(ball(40, spacing), spacing)
    area = float(specific_surface_area(phase)) * phase.size * np.prod(spacing)
    assert area == pytest.approx(4 * np.pi * 40**2, rel=0.04)


@pytest.mark.parametrize("method", ["crofton", "intercept"])
def test_specific_surface_area__of_a_laminate_is_exact(method):
    phase = phase_of(laminate((9, 6, 6)), (2.0, 1.0, 1.0))
    area = specific_surface_area(phase, method=method)
    if method == "intercept":
        np.testing.assert_array_equal(area, [2 * 4 / (8 * 2.0), 0, 0])
    else:
        # Interfaces per nm along z, times how steeply each direction crosses the plates.
        steps = np.multiply(DIRECTIONS, (2.0, 1.0, 1.0))
        cosines = steps[:, 0] / np.linalg.norm(steps, axis=1)
        expected = 2 * 4 / (8 * 2.0) * np.dot(direction_weights(steps), cosines)
        assert float(area) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("spacing", "bounds"), WORST)
def test_direction_weights__estimate_planes_within_the_stated_error(spacing, bounds):
    steps = np.multiply(DIRECTIONS, spacing)
    normals = unit_vectors(20000)
    cosines = np.abs(normals @ (steps / np.linalg.norm(steps, axis=1, keepdims=True)).T)
    areas = 2 * cosines @ direction_weights(steps)
    assert bounds[0] < areas.min() < bounds[0] + 0.01
    assert bounds[1] - 0.011 < areas.max() < bounds[1]
    assert areas.mean() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("normal", unit_vectors(4, seed=1))
@pytest.mark.parametrize(("spacing", "bounds"), WORST)
def test_specific_surface_area__of_tilted_plates_is_within_the_stated_error(
    normal, spacing, bounds
):
    area = float(specific_surface_area(phase_of(plates(normal, spacing), spacing))) * 24 / 2
    assert bounds[0] - 0.02 < area < bounds[1] + 0.02


def test_direction_weights__of_cubes_are_the_published_ones():
    weights = direction_weights(np.array(DIRECTIONS)) / 2
    published = [0.04577789120476, 0.03698062787608, 0.03519563978232]
    axes_apart = np.count_nonzero(DIRECTIONS, axis=1)
    np.testing.assert_allclose(weights, np.take(published, axes_apart - 1), atol=1e-13)


@pytest.mark.parametrize("method", ["crofton", "intercept"])
def test_specific_surface_area__is_the_same_seen_from_the_pores(method):
    volume = noise((9, 8, 7))
    areas = [specific_surface_area(phase_of(v), method=method) for v in (volume, 1 - volume)]
    np.testing.assert_array_equal(*areas)


def test_specific_surface_area__is_invariant_under_transposition_and_scales_with_length():
    volume = noise((9, 8, 7), 0.3)
    area = float(specific_surface_area(phase_of(volume)))
    turned = specific_surface_area(phase_of(np.ascontiguousarray(volume.T)))
    assert float(turned) == pytest.approx(area, rel=1e-12)
    scaled = specific_surface_area(phase_of(volume, (4.0, 4.0, 4.0)))
    assert float(scaled) == pytest.approx(area / 4, rel=1e-12)


def test_specific_surface_area__of_a_plane_of_voxels():
    phase = phase_of(noise((1, 8, 8)))
    assert np.isnan(specific_surface_area(phase))
    intercepts = specific_surface_area(phase, method="intercept")
    np.testing.assert_array_equal(np.isnan(intercepts), [True, False, False])


def test_specific_surface_area__is_lazy_and_labelled():
    area = specific_surface_area(phase_of(noise((4, 4, 4))), method="intercept")
    assert area.chunks is not None
    assert area.attrs["units"] == "1/nm"
    assert list(area.axis.values) == ["z", "y", "x"]


def test_neighbour_counts__read_one_more_voxel_and_hold_a_plane():
    counts = NeighbourCounts((10, 10, 10), DIRECTIONS)
    region = (slice(0, 4), slice(4, 8), slice(8, 10))
    assert counts.needs(region) == ((slice(0, 5), slice(4, 9), slice(8, 10)),)
    assert counts.working_bytes(region) < voxels(region)


def test_specific_surface_area__refuses_other_methods_and_uneven_slices():
    with pytest.raises(ConventionError, match="'crofton' or 'intercept'; got 'mesh'"):
        specific_surface_area(phase_of(noise((4, 4, 4))), method="mesh")
    with pytest.raises(ConventionError, match="reposition the slices first"):
        specific_surface_area(phase_of(noise((3, 4, 4)), z=[0.0, 1.0, 5.0]))
