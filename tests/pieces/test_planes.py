"""Planes that are picked out of a volume."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from fibdask.pieces.planes import NO_PLANE, PickedPlanes, block_of, pick_planes, planes_of
from fibdask.pieces.volumes import with_volumes

VOLUME = np.arange(2 * 7 * 3 * 4).reshape(2, 7, 3, 4)


def picked(planes, region):
    function = PickedPlanes(np.array(planes))
    (needed,) = function.needs(region)
    return needed, function.compute(region, VOLUME[needed])


@pytest.mark.parametrize("z", [slice(0, 3), slice(1, 3), slice(2, 3)])
def test_picked_planes__are_those_of_the_volume(z):
    region = (slice(0, 2), z, slice(1, 3), slice(0, 4))
    needed, block = picked([1, 4, 6], region)
    np.testing.assert_array_equal(block, VOLUME[:, [1, 4, 6][z], 1:3])
    assert needed[1] == slice([1, 4, 6][z.start], 7)


def test_picked_planes__are_zero_where_none_is_picked():
    region = (slice(0, 2), slice(0, 4), slice(0, 3), slice(0, 4))
    needed, block = picked([2, NO_PLANE, NO_PLANE, 3], region)
    assert needed[1] == slice(2, 4)
    np.testing.assert_array_equal(block[:, [0, 3]], VOLUME[:, 2:4])
    assert not block[:, 1:3].any()


def test_picked_planes__read_one_plane_where_a_block_has_none():
    region = (slice(0, 2), slice(1, 3), slice(0, 3), slice(0, 4))
    needed, block = picked([2, NO_PLANE, NO_PLANE, 3], region)
    assert needed[1] == slice(0, 1)
    assert block.shape == (2, 2, 3, 4)
    assert not block.any()


def test_planes_of__are_those_of_volumes_and_of_sections():
    section, count = np.arange(21.0).reshape(7, 3), np.arange(28).reshape(7, 4)
    stack = xr.Dataset(
        {
            "intensity": (("voltage", "z", "y", "x"), VOLUME.astype("f4")),
            "profile": (("z", "y"), section),
            "count": (("z", "x"), count),
            "map": (("y", "x"), np.zeros((3, 4))),
        }
    )
    functions = planes_of(stack, np.array([1, NO_PLANE, 4]))
    assert set(functions) == {"intensity", "profile", "count"}
    made = with_volumes(
        stack,
        functions,
        xr.Dataset({"map": stack["map"], "z": np.arange(3), "voltage": np.arange(2)}),
    )
    np.testing.assert_array_equal(made["profile"], [section[1], [np.nan] * 3, section[4]])
    np.testing.assert_array_equal(made["count"], [count[1], [0] * 4, count[4]])
    np.testing.assert_array_equal(made["intensity"][:, 2], VOLUME[:, 4])
    assert not made["intensity"][:, 1].any()


@pytest.mark.parametrize("chunked", [True, False])
def test_pick_planes__picks_lazily_from_any_array(chunked):
    planes = np.array([0, 3, 5])
    data = da.from_array(VOLUME[0], chunks=(4, 2, 4)) if chunked else VOLUME[0]
    lazy = pick_planes(data, planes)
    assert lazy.chunks == (((2, 1), (2, 1), (4,)) if chunked else ((3,), (3,), (4,)))
    np.testing.assert_array_equal(lazy.compute(), VOLUME[0, planes])


def test_block_of__is_that_of_the_array():
    assert block_of(da.zeros((5, 6), chunks=(2, 6))) == (2, 6)
    assert block_of(np.zeros((2, 3, 4))) == (2, 3, 4)
