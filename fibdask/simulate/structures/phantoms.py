"""Structures of known anisotropy."""

from collections.abc import Sequence

import xarray as xr

from ...conventions import ConventionError, check_not_negative, check_positive
from ._functions import StretchedSpheres
from .building import Chunks, VoxelSize, build_structure, check_shape, check_voxel_size


def anisotropy_phantom(
    shape: Sequence[int],
    *,
    voxel_size: VoxelSize,
    diameter: float = 48.0,
    spacing: float = 64.0,
    growth: float = 0.25,
    chunks: Chunks = "auto",
) -> xr.DataArray:
    """Generate spheres on a square grid that are stretched increasingly along z.

    Lazy: any block is computed from its coordinates alone. Statistics along y and x agree, to the
    last count where the volume and its voxels are square in y and x; those along z differ from
    them, the more so the deeper.

    Parameters
    ----------
    shape
        Number of voxels (z, y, x).
    voxel_size
        Voxel size (z, y, x), or of a cube, in nm.
    diameter
        Diameter of the spheres along y and x in nm, at most `spacing`.
    spacing
        Distance between their centres along y and x in nm.
    growth
        Stretch that each layer adds to that of the layer above it, relative to a sphere.
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
