"""Structures of known anisotropy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ... import blocks
from ...conventions import ConventionError
from .. import _kernels as kernels
from .building import (
    VoxelSize,
    build_structure,
    check_not_negative,
    check_positive,
    check_shape,
    check_voxel_size,
)


def anisotropy_phantom(
    shape: Sequence[int],
    *,
    voxel_size: VoxelSize,
    diameter: float = 48.0,
    spacing: float = 64.0,
    growth: float = 0.25,
    chunks: Any = "auto",
) -> xr.DataArray:
    """Generate spheres on a square grid, stretched more and more along z.

    Statistics along y and x agree, to the last count where the volume and its voxels are square
    in y and x; those along z differ from them, the more so the deeper. Lazy: any block is
    computed from its coordinates alone.

    Parameters
    ----------
    shape
        Number of voxels (z, y, x).
    voxel_size
        Voxel size (z, y, x), or of a cube, in nm.
    diameter
        Of the spheres along y and x in nm, at most `spacing`.
    spacing
        Distance of their centres along y and x in nm.
    growth
        What each layer is stretched more than the one above it, relative to a sphere.
    chunks
        Blocks of the result: "auto", a number of voxels, or one for each axis.

    Returns
    -------
    xarray.DataArray
        `phase` (z, y, x), uint8: 0 pore, 1 solid.

    Raises
    ------
    ConventionError
        If an argument is out of range.

    Notes
    -----
    Layer j = 0, 1, … holds spheres stretched by s_j = 1 + growth · j along z. It is
    s_j · spacing high and follows the layer above it::

        z →  (  )(   )(    )(     )
             s_0  s_1   s_2    s_3
    """
    sizes = check_voxel_size(voxel_size)
    check_positive("diameter", diameter, "nm")
    check_positive("spacing", spacing, "nm")
    check_not_negative("growth", growth, "per layer")
    if diameter > spacing:
        msg = f"diameter must be at most the spacing of {spacing} nm; got {diameter} nm"
        raise ConventionError(msg)
    return build_structure(
        StretchedSpheres(float(diameter), float(spacing), float(growth), sizes),
        shape=check_shape(shape),
        voxel_size=sizes,
        chunks=chunks,
        step="anisotropy_phantom",
        parameters={"diameter": diameter, "spacing": spacing, "growth": growth},
    )


@dataclass(frozen=True)
class StretchedSpheres:
    """Block function: spheres on a square grid in layers stretched along z; lengths in nm."""

    diameter: float
    spacing: float
    growth: float
    voxel_size: tuple[float, float, float]

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return nothing: coordinates suffice."""
        return ()

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Generate the voxels of a region."""
        del inputs
        z, y, x = (
            np.arange(s.start, s.stop) * h for s, h in zip(region, self.voxel_size, strict=True)
        )
        square_z, square_y, square_x = (
            self._offset(position) ** 2 for position in (self._unstretched(z), y, x)
        )
        square_radius = (self.diameter / 2) ** 2
        return np.asarray(kernels.ellipsoids(square_z, square_y, square_x, square_radius))

    def working_bytes(self, region: blocks.Region) -> int:
        """Squared distances of one plane and their sum, and a few of each axis."""
        n_z, n_y, n_x = blocks.lengths(region)
        return 16 * n_y * n_x + 64 * (n_z + n_y + n_x)

    def _offset(self, position: np.ndarray) -> np.ndarray:
        return position % self.spacing - self.spacing / 2

    def _unstretched(self, z: np.ndarray) -> np.ndarray:
        """Return z with every layer squeezed to the height of the first."""
        height = z / self.spacing
        layers = np.arange(np.ceil(height[-1]) + 2)
        starts = layers + self.growth / 2 * layers * (layers - 1)
        layer = np.searchsorted(starts, height, side="right") - 1
        inside = (height - starts[layer]) / (1 + self.growth * layer)
        return np.asarray((layer + inside) * self.spacing)
