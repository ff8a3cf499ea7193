"""Local thickness: plates, cylinders, balls, the definition, and independence of blocks."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from fibdask.blocks import map_blocks
from fibdask.conventions import ConventionError
from fibdask.statistics._functions import LargestBalls
from fibdask.statistics._kernels import local_thickness as kernels
from fibdask.statistics.local_thickness import local_thickness, local_thickness_distribution
from tests.statistics import naive_local_thickness as naive
from tests.statistics.helpers import CUBIC, in_blocks, noise, phase_of, ragged, random_volumes

SPACINGS = [CUBIC, (2.5, 1.0, 1.0), (3.26, 6.52, 4.89)]


def grains(shape, size=1.5, level=0.0, seed=0):
    """A random structure with smooth ligaments."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), size)
    return (field > level).astype(np.uint8)


def measured(volume, max_thickness, spacing=CUBIC, **options):
    return local_thickness(phase_of(volume, spacing), max_thickness=max_thickness, **options).values


def distances_from(centre, shape, axes=(0, 1, 2)):
    grids = np.meshgrid(*map(np.arange, shape), indexing="ij", sparse=True)
    return np.sqrt(sum((grids[axis] - centre) ** 2 for axis in axes))


@pytest.mark.interpreted
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("max_thickness", [4.0, 12.0, 100.0])
@pytest.mark.parametrize("level", [-0.1, 0.1])
def test_local_thickness__equals_the_definition(spacing, max_thickness, level):
    volume = grains((12, 11, 13), level=level)
    expected = naive.local_thickness(volume, spacing, max_thickness)
    np.testing.assert_allclose(measured(volume, max_thickness, spacing), expected, rtol=2e-6)


@given(random_volumes(), st.floats(1, 15))
def test_local_thickness__of_noise_equals_the_definition(volume, max_thickness):
    expected = naive.local_thickness(volume, CUBIC, max_thickness)
    np.testing.assert_allclose(measured(volume, max_thickness), expected, rtol=2e-6)


@pytest.mark.parametrize("size", [1.0, 2.0, 4.0])
def test_local_thickness__equals_the_definition_by_sizes(size):
    volume = grains((40, 41, 42), size)
    np.testing.assert_allclose(measured(volume, 100.0), naive.thickness_by_sizes(volume), rtol=1e-6)


@given(
    st.tuples(*(st.integers(3, 40),) * 3),
    st.sampled_from(SPACINGS),
    st.floats(2, 40),
    st.integers(0, 9),
)
def test_largest_balls__are_the_same_bits_in_any_blocks(block, spacing, max_thickness, seed):
    volume = grains((24, 22, 20), 2.5, seed=seed)
    finest = min(spacing)
    relative = tuple(step / finest for step in spacing)
    function = LargestBalls(volume.shape, relative, finest, max_thickness, "solid")
    in_one = function.compute(tuple(slice(0, n) for n in volume.shape), volume)
    cut = map_blocks(function, [volume], shape=volume.shape, dtype=np.float32, block=block)
    np.testing.assert_array_equal(cut, in_one)


@given(st.data())
def test_local_thickness__is_independent_of_chunks(data):
    volume = grains((7, 9, 70))
    expected = measured(volume, 8.0)
    for array in (data.draw(ragged(volume)), in_blocks(volume, (1, 9, 70))):
        np.testing.assert_array_equal(measured(array, 8.0), expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("voxels", "thickness"), [(1, 2), (2, 2), (5, 6), (8, 8)])
def test_local_thickness__of_a_plate_is_its_width_to_a_voxel(axis, voxels, thickness):
    spacing = (5.0, 5.0, 5.0)
    volume = np.zeros((20, 20, 20), np.uint8)
    np.moveaxis(volume, axis, 0)[6 : 6 + voxels] = 1
    result = measured(volume, 60.0, spacing)
    np.testing.assert_allclose(result[volume == 1], 5 * thickness)
    assert (result[volume == 0] == 0).all()


def test_local_thickness__of_a_plate_respects_the_shape_of_voxels():
    volume = np.zeros((16, 30, 30), np.uint8)
    volume[6:10] = 1
    np.testing.assert_allclose(measured(volume, 60.0, (7.0, 2.0, 3.0))[volume == 1], 4 * 7.0)


@pytest.mark.parametrize("radius", [4.0, 7.5, 10.0])
def test_local_thickness__of_a_cylinder_and_a_ball_is_the_diameter(radius):
    for axes in ((1, 2), (0, 1, 2)):
        inside = distances_from(12, (25, 25, 25), axes) < radius
        inside = np.broadcast_to(inside, (25, 25, 25))
        result = measured(inside.astype(np.uint8), 60.0)
        # The central ball holds all but voxels beyond its rim, which smaller balls reach.
        assert result.max() == pytest.approx(2 * radius, abs=1)
        assert np.median(result[inside]) == result.max()


def test_local_thickness__of_separate_pieces_is_that_of_each():
    centres = [(10, 10, 10), (28, 26, 27)]
    grid = np.indices((38, 36, 37))
    balls = [
        (np.sum((grid - np.reshape(c, (3, 1, 1, 1))) ** 2, axis=0) < r**2).astype(np.uint8)
        for c, r in zip(centres, (7.3, 5.1), strict=True)
    ]
    alone = [measured(ball, 40.0) for ball in balls]
    np.testing.assert_array_equal(measured(balls[0] | balls[1], 40.0), alone[0] + alone[1])


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_local_thickness__turns_with_the_volume(order):
    volume = grains((15, 16, 17), 2)
    turned = measured(np.ascontiguousarray(volume.transpose(order)), 20.0)
    np.testing.assert_array_equal(turned, measured(volume, 20.0).transpose(order))


def test_local_thickness__is_the_same_below_the_limit():
    volume = grains((30, 30, 30), 3)
    whole, limited = measured(volume, 60.0), measured(volume, 8.0)
    assert limited.max() == 8.0
    np.testing.assert_array_equal(limited[whole < 8], whole[whole < 8])
    assert (limited <= whole).all()


def test_local_thickness__of_solid_without_pores_is_the_limit():
    assert (measured(np.ones((3, 4, 5), np.uint8), 7.7) == np.float32(7.7)).all()
    assert (measured(np.ones((1, 1, 1), np.uint8), 7.7) == np.float32(7.7)).all()


def test_local_thickness__of_pores_is_that_of_the_inverse():
    volume = grains((12, 13, 14))
    np.testing.assert_array_equal(measured(volume, 9.0, of="pore"), measured(1 - volume, 9.0))


@given(random_volumes(), st.sampled_from(SPACINGS))
def test_squared_distances__are_those_of_scipy(volume, spacing):
    volume[0, 0, 0] = 0
    steps = kernels.squared_steps(spacing, 100.0)
    squares = kernels.squared_distances(volume, steps, np.float32(1e4))
    expected = ndimage.distance_transform_edt(volume, sampling=spacing)
    np.testing.assert_allclose(np.sqrt(squares), expected, rtol=1e-6)


@pytest.mark.parametrize("voxel", [(1.0, 1.0, 1.0), (3.1, 1.0, 1.3)])
def test_cover_limits__hold_for_the_balls_they_cover(voxel):
    limits = kernels.cover_limits(voxel, 6.0)
    offsets = np.stack(np.meshgrid(*(np.arange(-9, 10),) * 3, indexing="ij"), axis=-1)
    own = ((offsets * voxel) ** 2).sum(axis=-1)
    for square in np.unique(own[(own > 0) & (own < 36)]):
        for step in np.ndindex(2, 2, 2):
            away = (((offsets - step) * voxel) ** 2).sum(axis=-1)
            farthest = away[own < square * (1 - 1e-6)].max()
            assert limits[(*step, int(np.ceil(np.float32(square))))] >= farthest * (1 - 1e-6)


def test_local_thickness_distribution__is_the_histogram_of_the_volume():
    phase = phase_of(grains((20, 21, 22), 2), (2.0, 1.0, 1.0))
    thickness = local_thickness(phase, max_thickness=12.0).values
    shares = local_thickness_distribution(phase, max_thickness=12.0)
    expected = np.bincount(np.rint(thickness[thickness > 0]).astype(int), minlength=13)
    np.testing.assert_array_equal(shares, expected / expected.sum())
    np.testing.assert_array_equal(shares.diameter, np.arange(13))


def test_local_thickness_distribution__counts_voxels_inside_the_mask():
    phase = phase_of(in_blocks(grains((20, 21, 70), 2), (20, 21, 30)))
    inside = noise(phase.shape, 0.3).astype(bool)
    box = np.zeros(phase.shape, bool)
    box[3:9] = True
    thickness = local_thickness(phase, max_thickness=12.0).values
    voxels = phase.copy(data=inside).drop_attrs()
    for mask, place in ((voxels, inside), ({"z": (3, 9)}, box)):
        counted = np.rint(thickness[(thickness > 0) & place]).astype(int)
        expected = np.bincount(counted, minlength=13) / counted.size
        shares = local_thickness_distribution(phase, max_thickness=12.0, mask=mask)
        np.testing.assert_array_equal(shares, expected)


def test_local_thickness_distribution__of_a_plate_is_one_bin():
    volume = np.zeros((20, 9, 9), np.uint8)
    volume[6:12] = 1
    phase = phase_of(volume, (5.0, 5.0, 5.0))
    shares = local_thickness_distribution(phase, max_thickness=70.0, bin_width=10.0)
    np.testing.assert_array_equal(shares, shares.diameter == 30.0)


def test_local_thickness_distribution__without_solid_is_nan():
    phase = phase_of(np.zeros((3, 4, 5), np.uint8))
    assert np.isnan(local_thickness_distribution(phase, max_thickness=3.0)).all()


def test_local_thickness__is_lazy_and_labelled():
    phase = phase_of(in_blocks(grains((6, 7, 8)), (2, 7, 8)), (2.0, 3.0, 4.0))
    thickness = local_thickness(phase, max_thickness=9.0)
    assert thickness.chunks is not None
    assert thickness.dtype == np.float32
    assert thickness.attrs["units"] == "nm"
    np.testing.assert_array_equal(thickness.z, phase.z)


def test_largest_balls__read_the_largest_diameter_around_a_block():
    function = LargestBalls((100, 100, 100), (2.5, 1.0, 1.0), 4.0, 40.0, "solid")
    # Radii below 20 nm are less than 2 slices of 10 nm, and less than 5 pixels of 4 nm.
    assert function.needs((slice(30, 50),) * 3) == ((slice(28, 52), slice(22, 58), slice(22, 58)),)


@pytest.mark.parametrize("value", [0, -3.0, np.nan, np.inf])
def test_local_thickness__refuses_impossible_limits(value):
    with pytest.raises(
        ConventionError, match=f"max_thickness must be finite and > 0 nm; got {value}"
    ):
        local_thickness(phase_of(noise((4, 4, 4))), max_thickness=value)


def test_local_thickness__refuses_other_phases_widths_and_uneven_slices():
    phase = phase_of(noise((4, 4, 4)))
    with pytest.raises(ConventionError, match="of must be one of solid, pore; got 'epoxy'"):
        local_thickness(phase, max_thickness=3.0, of="epoxy")
    with pytest.raises(ConventionError, match="bin_width must be finite and > 0 nm; got 0"):
        local_thickness_distribution(phase, max_thickness=3.0, bin_width=0)
    with pytest.raises(ConventionError, match="reposition the slices first"):
        local_thickness(phase_of(noise((3, 4, 4)), z=[0.0, 1.0, 5.0]), max_thickness=3.0)


def test_local_thickness__refuses_values_that_are_no_phase():
    volume = noise((4, 5, 6))
    volume[3, 2, 1] = 2
    with pytest.raises(ConventionError, match=r"voxel \(3, 2, 1\) has 2"):
        local_thickness(phase_of(in_blocks(volume, (2, 2, 2))), max_thickness=3.0).compute()


def test_cover_limits__take_what_is_forecast():
    kernels.cover_limits.cache_clear()
    tracemalloc.start()
    kernels.cover_limits(CUBIC, 60.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < kernels.cover_bytes(CUBIC, 60.0) < 2**19


def test_local_thickness__of_a_limit_beyond_the_volume_takes_no_more_than_the_volume():
    volume = grains((6, 7, 8))
    found = measured(volume, 1e12)
    np.testing.assert_array_equal(found, measured(volume, 100.0))
    assert found.max() < 100
    assert (measured(np.ones((2, 3, 4), np.uint8), 1e12) == np.float32(1e12)).all()


@pytest.mark.parametrize("statistic", [local_thickness, local_thickness_distribution])
def test_local_thickness__refuses_a_cap_below_what_voxels_can_show(statistic):
    phase = phase_of(np.ones((4, 4, 4), np.uint8), (10.0, 5.0, 5.0))
    with pytest.raises(ConventionError, match=r"at least the finest voxel, 5 nm, .*; got 0.05 nm"):
        statistic(phase, max_thickness=0.05)
