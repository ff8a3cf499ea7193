"""Connected pieces of a block, and the patches in which they reach its faces."""

import numpy as np
from scipy import ndimage

from ...compiling import compiled

RANKS = {6: 1, 18: 2, 26: 3}
"""Neighbours of a voxel, and along how many axes at most they differ from it."""


def connected_pieces(block: np.ndarray, connectivity: int) -> tuple[np.ndarray, int]:
    """Return the int32 number of the piece of each voxel of a phase (z, y, x), and how many.

    Pores have number 0, pieces count from 1.
    """
    labels = np.empty(block.shape, np.int32)
    structure = ndimage.generate_binary_structure(3, RANKS[connectivity])
    return labels, int(ndimage.label(block, structure, output=labels))


def face_patches(labels: np.ndarray, axis: int, end: int, connectivity: int) -> np.ndarray:
    """Return the piece (patch) of each connected patch of the plane at an end of a block.

    Patches are connected within their plane, so each lies in one piece. They are numbered by
    the plane alone: two blocks that share a plane find the same patches in the same order.
    """
    plane = np.ascontiguousarray(labels.take(end, axis))
    # In a plane there is no third axis: 26 neighbours are the 8 of 18.
    structure = ndimage.generate_binary_structure(2, min(RANKS[connectivity], 2))
    patches, count = ndimage.label(plane > 0, structure)
    pieces = np.zeros(count + 1, np.int64)
    pieces[patches] = plane
    return pieces[1:]


@compiled(nogil=True)
def piece_sizes(labels, count):
    """Return the int64 number of voxels (piece) of each number 0 … count in labels (z, y, x)."""
    sizes = np.zeros(count + 1, np.int64)
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                sizes[labels[z, y, x]] += 1
    return sizes
