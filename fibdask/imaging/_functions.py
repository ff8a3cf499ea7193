"""Block functions: what tiles of images tell, and grey values counted in their quarters."""

from dataclasses import dataclass

import numpy as np

from .. import blocks
from ..pieces.grey import require_finite
from . import _kernels as kernels


@dataclass(frozen=True, eq=False)
class TileRecords:
    """Block function: numbers of tiles (voltage, z, tile, record); NaN of slices without data.

    Attributes
    ----------
    tiles
        Rows and columns of each.
    measured
        Which slices (z) hold data, bool.
    fineness
        Of pixels, see `tile_record`.
    """

    tiles: tuple[blocks.Region, ...]
    measured: np.ndarray
    fineness: tuple[float, float]
    revision = 2

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the tile of the slices."""
        return ((*region[:2], *self.tiles[region[2].start]),)

    def compute(self, region: blocks.Region, image: np.ndarray) -> np.ndarray:
        """Look at one slice after another."""
        measured = self.measured[region[1]]
        require_finite(image, measured, self.needs(region)[0])
        records = np.full(blocks.lengths(region), np.nan)
        for v, k in np.argwhere(np.broadcast_to(measured, image.shape[:2])):
            records[v, k, 0] = kernels.tile_record(image[v, k], self.fineness)
        return records

    def working_bytes(self, region: blocks.Region) -> int:
        """Return about twenty images of a tile in float64."""
        return 160 * blocks.voxels(self.tiles[region[2].start])
