"""What is counted of probabilities of a phase in one block."""

from dataclasses import dataclass
from math import prod

import numpy as np

from ..blocks import Region, lengths
from ..pieces.functions import InPlace

LIKELY = 0.9
"""Where neither phase is as likely as this, nobody can be sure."""
STEPS = 255
"""Probabilities are whole multiples of its inverse."""
ROWS = 3
"""Numbers that are counted of a plane."""


@dataclass(frozen=True)
class ProbabilityCounts(InPlace):
    """Unsure voxels, steps towards the other phase, and towards solid, of each plane.

    A block function.

    Attributes
    ----------
    depth
        Planes of a block, at most.
    """

    depth: int

    revision = 2

    @property
    def size(self) -> int:
        """Number of counts: three of each plane, kind by kind."""
        return ROWS * self.depth

    def compute(self, region: Region, probability: np.ndarray) -> np.ndarray:
        """Count one block."""
        counts = np.zeros((ROWS, self.depth), np.int64)
        for z, plane in enumerate(probability):
            steps = np.rint(plane * np.float32(STEPS)).astype(np.int64)
            other = np.minimum(steps, STEPS - steps)
            unsure = np.count_nonzero(other > (1 - LIKELY) * STEPS)
            counts[:, z] = unsure, other.sum(), steps.sum()
        return counts.ravel()

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of a plane as floats, as integers, and of a few more of these."""
        return 40 * prod(lengths(region)[1:])
