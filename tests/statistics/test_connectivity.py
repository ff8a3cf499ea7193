"""Connected pieces across blocks: paths through many of them, the definition, percolation."""

from functools import partial

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from fibdask.blocks import Grid, gather_blocks
from fibdask.conventions import ConventionError, FibdaskWarning
from fibdask.statistics import connectivity as module
from fibdask.statistics._functions import Labelling
from fibdask.statistics.connectivity import connected_fraction, percolates
from tests.statistics import naive_connectivity as naive
from tests.statistics.helpers import in_blocks, noise, phase_of, ragged, random_volumes

BLOCKS = st.tuples(*(st.integers(1, 10),) * 3)


def gathered(volume, block, connectivity=6):
    """Return the connected fraction and percolation, labelled in any blocks."""
    grid = Grid(volume.shape, block)
    gather = partial(gather_blocks, Labelling(volume.shape, connectivity), [volume], grid=grid)
    fraction = gather(finish=partial(module.connected_value, grid), shape=())
    axes = gather(finish=partial(module.percolation_values, grid), shape=(3,), dtype=bool)
    return float(fraction.compute()), axes.compute().tolist()


def serpentine(height=9, width=9):
    """One path through a plane: along rows, from each to the next at alternating ends."""
    plane = np.zeros((height, width), np.uint8)
    plane[::2] = 1
    plane[1::4, -1] = 1
    plane[3::4, 0] = 1
    return plane[np.newaxis]


def comb(teeth=6, length=10):
    """Teeth along z that only meet at their far ends."""
    volume = np.zeros((length, 1, 2 * teeth - 1), np.uint8)
    volume[:, :, ::2] = 1
    volume[-1] = 1
    return volume


@pytest.mark.interpreted
@given(random_volumes(), BLOCKS, st.sampled_from((6, 18, 26)))
def test_pieces__equal_the_definition_in_any_blocks(volume, block, connectivity):
    fraction, axes = gathered(volume, block, connectivity)
    np.testing.assert_equal(fraction, naive.connected_fraction(volume, connectivity))
    assert axes == naive.percolates(volume, connectivity)


@given(data=st.data(), volume=random_volumes())
def test_connectivity__is_independent_of_chunks(data, volume):
    fractions, axes = [], []
    for array in (volume, data.draw(ragged(volume)), in_blocks(volume, (2, 3, 4))):
        fractions.append(float(connected_fraction(phase_of(array))))
        axes.append(percolates(phase_of(array)).values.tolist())
    np.testing.assert_array_equal(fractions, fractions[0])
    assert axes == axes[:1] * 3


@pytest.mark.parametrize(("connectivity", "share"), [(6, 0.32), (18, 0.14), (26, 0.1)])
def test_connectivity__across_blocks_equals_labels_of_the_whole(connectivity, share):
    volume = noise((70, 130, 66), share)
    structure = ndimage.generate_binary_structure(3, naive.AXES_APART[connectivity])
    sizes = np.bincount(ndimage.label(volume, structure)[0].ravel())[1:]
    fraction = connected_fraction(phase_of(volume), connectivity=connectivity)
    assert len(fraction.data.dask) > 8
    assert float(fraction) == sizes.max() / sizes.sum()


@given(BLOCKS)
def test_pieces__follow_a_path_through_many_blocks(block):
    assert gathered(serpentine(), block) == (1.0, [True, True, True])
    assert gathered(comb(), block) == (1.0, [True, True, True])


@given(BLOCKS)
def test_pieces__of_a_cut_path_are_two(block):
    volume = serpentine()
    volume[0, 4, 4] = 0
    assert gathered(volume, block) == (0.5, [True, False, True])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_percolates__along_the_axis_of_a_channel_only(axis):
    volume = np.zeros((7, 8, 9), np.uint8)
    channel = [3, 4, 5]
    channel[axis] = slice(None)
    volume[tuple(channel)] = 1
    assert gathered(volume, (2, 3, 4))[1] == [other == axis for other in range(3)]
    assert percolates(phase_of(volume)).values.tolist() == [other == axis for other in range(3)]


@pytest.mark.parametrize("block", [(8, 8, 8), (1, 1, 1), (3, 3, 3)])
def test_pieces__are_joined_by_faces_edges_and_corners(block):
    steps = {6: (1, 0, 0), 18: (1, 1, 0), 26: (1, 1, 1)}
    for apart, step in steps.items():
        volume = np.zeros((6, 6, 6), np.uint8)
        volume[2, 2, 2] = volume[tuple(2 + d for d in step)] = 1
        for connectivity in steps:
            joined = connectivity >= apart
            assert gathered(volume, block, connectivity)[0] == (1.0 if joined else 0.5)


def test_connected_fraction__of_disjoint_pieces_is_the_share_of_the_largest():
    volume = np.zeros((10, 10, 10), np.uint8)
    volume[:4, :4, :4] = 1
    volume[6:, 6:, 8:] = 1
    assert float(connected_fraction(phase_of(volume))) == 64 / (64 + 32)


def test_connectivity__of_pores_is_that_of_the_inverse():
    volume = noise((9, 8, 7), 0.7)
    pores, inverse = phase_of(volume), phase_of(1 - volume)
    assert float(connected_fraction(pores, of="pore")) == float(connected_fraction(inverse))
    np.testing.assert_array_equal(percolates(pores, of="pore"), percolates(inverse))


@pytest.mark.parametrize("function", [connected_fraction, percolates])
@pytest.mark.parametrize("of", ["solid", "pore"])
def test_connectivity__is_not_through_voxels_outside_the_mask(function, of):
    volume, inside = noise((9, 8, 7), 0.6), noise((9, 8, 7), 0.8, seed=1)
    phase = phase_of(in_blocks(volume, (3, 3, 3)))
    result = function(phase, of=of, mask=phase.copy(data=inside).drop_attrs())
    chosen = volume if of == "solid" else 1 - volume
    np.testing.assert_array_equal(result, function(phase_of(chosen * inside)))
    box = function(phase, of=of, mask={"y": (2, 6)})
    np.testing.assert_array_equal(box, function(phase_of(chosen[:, 2:6].copy())))


def test_percolates__tells_that_a_mask_leaves_out_a_face():
    phase = phase_of(np.ones((5, 6, 7), np.uint8))
    inside = xr.DataArray(np.ones((5, 6, 7), bool), dims=phase.dims)
    inside[:, 0], inside[:, :, -1] = False, False
    with pytest.warns(FibdaskWarning, match="whole face of the volume along y, x: nothing"):
        masked = percolates(phase, mask=inside)
    assert masked.values.tolist() == [True, False, False]
    assert percolates(phase, mask={"y": (1, 6), "x": (0, 6)}).values.all()


@pytest.mark.parametrize(("value", "fraction"), [(0, np.nan), (1, 1.0)])
def test_connectivity__of_one_phase_alone(value, fraction):
    phase = phase_of(np.full((3, 4, 5), value, np.uint8))
    np.testing.assert_equal(float(connected_fraction(phase)), fraction)
    assert percolates(phase).values.tolist() == [bool(value)] * 3


def test_labelling__lets_only_pieces_at_the_faces_leave_the_block():
    volume = np.zeros((9, 9, 9), np.uint8)
    volume[1:-1:2, 1:-1:2, 1:-1:2] = 1
    volume[4, 4, :] = 1
    pieces = Labelling((9, 9, 9), 6).compute((slice(0, 9),) * 3, volume)
    assert pieces.sizes.tolist() == [9]
    assert (pieces.largest_closed, pieces.total) == (1, 64 + 9)
    assert sum(len(patches) for ends in pieces.faces for patches in ends) == 2


def test_connectivity__takes_uneven_slices_and_computes_nothing():
    phase = phase_of(in_blocks(noise((3, 4, 4)), (1, 4, 4)), z=[0.0, 1.0, 5.0])
    fraction, axes = connected_fraction(phase), percolates(phase)
    assert fraction.chunks is not None
    assert axes.dtype == bool
    assert list(axes.axis.values) == ["z", "y", "x"]


@pytest.mark.parametrize("function", [connected_fraction, percolates])
def test_connectivity__refuses_other_neighbours_and_phases(function):
    phase = phase_of(noise((4, 4, 4)))
    with pytest.raises(ConventionError, match="must be 6, 18 or 26; got 8"):
        function(phase, connectivity=8)
    with pytest.raises(ConventionError, match="of must be one of solid, pore; got 'epoxy'"):
        function(phase, of="epoxy")


def test_connected_fraction__refuses_values_that_are_no_phase():
    volume = noise((4, 5, 6))
    volume[3, 2, 1] = 2
    with pytest.raises(ConventionError, match=r"voxel \(3, 2, 1\) has 2"):
        connected_fraction(phase_of(in_blocks(volume, (2, 2, 2)))).compute()
