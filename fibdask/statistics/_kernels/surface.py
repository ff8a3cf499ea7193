"""Counts of interfaces between neighbouring voxels, and weights of the directions they lie in."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy.spatial import SphericalVoronoi

Step = tuple[int, int, int]

DIRECTIONS: tuple[Step, ...] = tuple(
    step for step in product((0, 1), (-1, 0, 1), (-1, 0, 1)) if step > (0, 0, 0)
)
"""Steps (z, y, x) to the 26 neighbours of a voxel; one of each opposite pair."""


def neighbour_counts(
    block: np.ndarray, inside: np.ndarray | None, cells: Step, directions: Sequence[Step]
) -> np.ndarray:
    """Return the int64 numbers of neighbours of different phase, and of all (2, direction).

    Parameters
    ----------
    block
        Phase (z, y, x); beyond the voxels that are the block's own it may hold one more along
        each axis.
    inside
        True (z, y, x) where voxels count, or None where all do.
    cells
        Number of own voxels (z, y, x). A pair belongs to the voxel at the lower corner of its
        bounding box, so that over all blocks of a volume each is counted once.
    directions
        Steps (z, y, x) from one voxel of a pair to the other; none is negative along z.
    """
    counts = np.zeros((2, len(directions)), np.int64)
    pairs = [_pairs(block.shape, cells, step) for step in directions]
    # Plane by plane, so that all directions find the planes in the cache.
    for z in range(cells[0]):
        for k, (deeper, here, there) in enumerate(pairs):
            if z + deeper >= len(block):
                continue
            differ = block[z][here] != block[z + deeper][there]
            if inside is None:
                counts[1, k] += differ.size
            else:
                both = inside[z][here] & inside[z + deeper][there]
                counts[1, k] += np.count_nonzero(both)
                differ &= both
            counts[0, k] += np.count_nonzero(differ)
    return counts


def _pairs(
    shape: tuple[int, ...], cells: Step, step: Step
) -> tuple[int, tuple[slice, ...], tuple[slice, ...]]:
    """Return how much deeper the second of a pair is, and where both lie in their planes."""
    here, there = [], []
    for n, own, d in zip(shape[1:], cells[1:], step[1:], strict=True):
        count = min(own, n - abs(d))
        here.append(slice(max(-d, 0), max(-d, 0) + count))
        there.append(slice(max(d, 0), max(d, 0) + count))
    return step[0], tuple(here), tuple(there)


def direction_weights(steps: np.ndarray) -> np.ndarray:
    """Return the share of all orientations that is closest to each of some steps.

    `steps` (direction, 3) are vectors in nm, one of each opposite pair, no two of them parallel.
    The shares are areas of the Voronoi cells of the steps and their opposites on the unit sphere.
    """
    points = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    areas = SphericalVoronoi(np.concatenate([points, -points])).calculate_areas()
    shares = areas[: len(steps)] + areas[len(steps) :]
    return np.asarray(shares / shares.sum())
