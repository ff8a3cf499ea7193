"""Planes of a volume that are picked by their numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..blocks import Region, default_block, lengths, map_blocks

NO_PLANE = -1
"""Number of a plane that is picked nowhere, and therefore 0 throughout."""


def block_of(data: Any) -> tuple[int, ...]:
    """Return the block in which an array is best read: its own, or the usual one in memory."""
    chunks = getattr(data, "chunks", None)
    if chunks is None:
        return default_block(data.shape, data.dtype.itemsize)
    return tuple(max(lengths) for lengths in chunks)


def pick_planes(data: Any, planes: np.ndarray) -> Any:
    """Return planes of a volume (z, y, x) at increasing places, lazily.

    Blocks of the result cover about one block of the volume each, so that it is read once.
    """
    n_z, *in_plane = data.shape
    block_z, *block_plane = block_of(data)
    thick = max(round(block_z * len(planes) / n_z), 1)
    return map_blocks(
        PickedPlanes(planes),
        [data],
        shape=(len(planes), *in_plane),
        dtype=data.dtype,
        block=(min(thick, len(planes)), *block_plane),
    )


@dataclass(frozen=True, eq=False)
class PickedPlanes:
    """Block function: planes (…, z, y, x) that are each one of another volume, or 0.

    Attributes
    ----------
    planes
        Where they are in that volume, int64 (z): increasing, but for those that are `NO_PLANE`.
    """

    planes: np.ndarray

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return all from the first to the last of them."""
        picked = self.planes[region[-3]]
        picked = picked[picked != NO_PLANE]
        # No region is empty: where nothing is picked, any plane will do.
        first, last = (picked[0], picked[-1]) if len(picked) else (0, 0)
        return ((*region[:-3], slice(int(first), int(last) + 1), *region[-2:]),)

    def compute(self, region: Region, volume: np.ndarray) -> np.ndarray:
        """Copy plane by plane, straight into the block."""
        first = self.needs(region)[0][-3].start
        out = np.zeros(lengths(region), volume.dtype)
        for plane, picked in enumerate(self.planes[region[-3]]):
            if picked != NO_PLANE:
                out[..., plane, :, :] = volume[..., picked - first, :, :]
        return out

    def working_bytes(self, region: Region) -> int:
        """Return 0."""
        return 0
