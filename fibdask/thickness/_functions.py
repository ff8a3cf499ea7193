"""What one task looks at to tell how thick slices are: a ruler, or the images themselves."""

from dataclasses import dataclass

import numpy as np

from .. import blocks
from ._kernels.similarity import slice_similarities

NEIGHBOURS = 3
_TASK_BYTES = 96 * 2**20
SLICES_PER_TASK = 16


@dataclass(frozen=True)
class StripMeans:
    """Block function: the mean of a strip over its rows (z, pixel)."""

    strip: tuple[slice, slice]

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the strip of the slices."""
        return ((region[0], *self.strip),)

    def compute(self, region: blocks.Region, slices: np.ndarray) -> np.ndarray:
        """Average slice by slice, so that sums have one order."""
        return np.array([strip.mean(axis=0, dtype=np.float64) for strip in slices])

    def working_bytes(self, region: blocks.Region) -> int:
        """Return the means of the slices, twice, and one strip in float64."""
        rows, columns = blocks.lengths(self.strip)
        return 8 * columns * (blocks.lengths(region)[0] + rows)


@dataclass(frozen=True)
class Similarities:
    """Block function: the quantities of some slices (z, quantity).

    Attributes
    ----------
    window
        The pixels that are used along y and x.
    lags
        The number of pixels that images are moved along y and x.
    slices
        Of the stack.
    """

    window: tuple[slice, slice]
    lags: tuple[int, int]
    slices: int

    @property
    def depth(self) -> int:
        """Slices of one task, so that it holds about 96 MiB."""
        most = _TASK_BYTES // (4 * blocks.voxels(self.window)) - NEIGHBOURS
        return min(max(most, 1), SLICES_PER_TASK, self.slices)

    def _slices(self, region: blocks.Region) -> slice:
        return blocks.grow(region[0], 0, NEIGHBOURS, self.slices)

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the slices and the next three."""
        return ((self._slices(region), *self.window),)

    def compute(self, region: blocks.Region, images: np.ndarray) -> np.ndarray:
        """Compare the slices."""
        count = region[0].stop - region[0].start
        return slice_similarities(images, count, NEIGHBOURS, self.lags, max(self.lags))

    def working_bytes(self, region: blocks.Region) -> int:
        """Return the flattened slices in float32, and one in float64."""
        area = blocks.voxels(self.window)
        return 4 * area * (blocks.lengths((self._slices(region),))[0] + 2)
