"""Slow, obvious connected pieces: flooding from voxel to voxel."""

from itertools import product

import numpy as np

AXES_APART = {6: 1, 18: 2, 26: 3}


def pieces(phase, connectivity):
    """Return the sets of voxels that are connected."""
    steps = [
        step
        for step in product((-1, 0, 1), repeat=3)
        if 0 < np.count_nonzero(step) <= AXES_APART[connectivity]
    ]
    left = {tuple(int(i) for i in place) for place in np.argwhere(phase)}
    found = []
    while left:
        piece, front = set(), [left.pop()]
        while front:
            here = front.pop()
            piece.add(here)
            near = {tuple(i + d for i, d in zip(here, step, strict=True)) for step in steps}
            front += near & left
            left -= near
        found.append(piece)
    return found


def connected_fraction(phase, connectivity):
    sizes = [len(piece) for piece in pieces(phase, connectivity)]
    return max(sizes) / sum(sizes) if sizes else np.nan


def percolates(phase, connectivity):
    found = pieces(phase, connectivity)
    return [
        any({0, n - 1} <= {voxel[axis] for voxel in piece} for piece in found)
        for axis, n in enumerate(phase.shape)
    ]
