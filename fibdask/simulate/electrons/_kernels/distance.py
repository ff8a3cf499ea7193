"""Compiled distances in voxels to the nearest voxel of another material.

Two passes through the volume: each lowers distances to one more than those of the neighbours
that it has passed. Loops along rows are of bytes and without conditions, as vectors need.
"""

import numpy as np

from ....compiling import compiled
from ..records import DISTANCE_BITS, LARGEST_DISTANCE

_FAR, _ONE = np.uint8(LARGEST_DISTANCE), np.uint8(1)
_BITS = np.uint8(DISTANCE_BITS)


@compiled(nogil=True)
def pack_voxels(labels, out):
    """Write each voxel's material and its distance to another material into a byte.

    The distance is that of the chessboard, to the centre of the nearest voxel of another label,
    so 1 beside one; capped. What lies outside of the array is not looked at, as if the array
    went on beyond its faces as its mirror image, or as its outermost layer.

    Parameters
    ----------
    labels
        Material of the voxels, uint8 (z, y, x).
    out
        Uint8 (z, y, x), overwritten: distance + label · 2^`DISTANCE_BITS`.
    """
    n_z, n_y, n_x = labels.shape
    layer = np.empty((n_y, n_x), np.uint8)
    for z in range(n_z):
        out[z] = _FAR
        # Voxels beside another label are 1 before anything spreads; all 26 neighbours are looked
        # at, since the chessboard's distance counts a diagonal as one.
        for y in range(n_y):
            for other_z in range(max(z - 1, 0), min(z + 2, n_z)):
                for other_y in range(max(y - 1, 0), min(y + 2, n_y)):
                    _mark_edges(labels[z, y], labels[other_z, other_y], out[z, y])
        if z > 0:
            _spread_plane(out[z - 1], layer, out[z])
        _spread_within(out[z])
    # The way back: what lies below is nearer to some than all above.
    for z in range(n_z - 2, -1, -1):
        _spread_plane(out[z + 1], layer, out[z])
        _spread_within(out[z])
    for z in range(n_z):
        for y in range(n_y):
            for x in range(n_x):
                out[z, y, x] += np.uint8(labels[z, y, x] << _BITS)


@compiled(nogil=True)
def _mark_edges(own, other, out):
    """Set voxels of a row to 1 that differ from any of three neighbours in another row."""
    # Three loops, not one: each runs over neighbours in memory without a condition at the ends.
    n = len(own)
    for x in range(n):
        out[x] = _ONE if own[x] != other[x] else out[x]
    for x in range(n - 1):
        out[x] = _ONE if own[x] != other[x + 1] else out[x]
    for x in range(n - 1):
        out[x + 1] = _ONE if own[x + 1] != other[x] else out[x + 1]


@compiled(nogil=True)
def _spread_plane(near, least, out):
    """Lower the distances of a plane to one more than the least of the 9 nearest in the next."""
    # The least of 9 is that of 3 rows' least of 3: a third of the comparisons.
    n_y = len(near)
    for y in range(n_y):
        least[y] = near[y]
        _lower_to_neighbours(near[y], np.uint8(0), least[y])
    for y in range(n_y):
        for other in range(max(y - 1, 0), min(y + 2, n_y)):
            _lower(least[other], out[y])


@compiled(nogil=True)
def _spread_within(out):
    """Lower the distances of a plane to one more than the least of the 8 neighbours in it."""
    n_y, n_x = out.shape
    for y in range(n_y):
        if y > 0:
            _lower(out[y - 1], out[y])
            _lower_to_neighbours(out[y - 1], _ONE, out[y])
        # Along a row each value waits for the one before: the only loop that is no vector.
        for x in range(1, n_x):
            out[y, x] = min(out[y, x], np.uint8(out[y, x - 1] + _ONE))
    for y in range(n_y - 1, -1, -1):
        if y < n_y - 1:
            _lower(out[y + 1], out[y])
            _lower_to_neighbours(out[y + 1], _ONE, out[y])
        for x in range(n_x - 2, -1, -1):
            out[y, x] = min(out[y, x], np.uint8(out[y, x + 1] + _ONE))


@compiled(nogil=True)
def _lower(near, out):
    """Lower a row to one more than another."""
    for x in range(len(near)):
        value = np.uint8(near[x] + _ONE)
        out[x] = value if value < out[x] else out[x]


@compiled(nogil=True)
def _lower_to_neighbours(near, step, out):
    """Lower a row to a step more than another one voxel to the left, and to the right."""
    for x in range(len(near) - 1):
        value = np.uint8(near[x + 1] + step)
        out[x] = value if value < out[x] else out[x]
    for x in range(len(near) - 1):
        value = np.uint8(near[x] + step)
        out[x + 1] = value if value < out[x + 1] else out[x + 1]
