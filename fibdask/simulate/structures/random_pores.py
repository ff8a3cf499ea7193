"""Random pores: a solid block minus overlapping spheres."""

from collections.abc import Sequence
from math import exp, pi, sqrt

import numpy as np
import xarray as xr
from scipy.special import erf

from ...conventions import ConventionError, check_inner_share, check_not_negative, check_seed
from ._functions import CUT, RandomPores
from .building import (
    Chunks,
    VoxelSize,
    build_structure,
    check_resolved,
    check_shape,
    check_voxel_size,
)

# Share of the variance that is left of a normal deviate cut at 3 standard deviations.
_CUT_VARIANCE = 1 - 2 * CUT * exp(-(CUT**2) / 2) / sqrt(2 * pi) / erf(CUT / sqrt(2))


def random_pores(
    shape: Sequence[int],
    *,
    voxel_size: VoxelSize,
    pore_diameter: float,
    std_diameter: float = 0.0,
    solid_fraction: float,
    seed: int,
    chunks: Chunks = "auto",
) -> xr.DataArray:
    """Generate a solid with spherical pores at random places, which may overlap.

    Lazy: any block is computed from its coordinates alone.

    Parameters
    ----------
    shape
        Number of voxels (z, y, x).
    voxel_size
        Voxel size (z, y, x), or of a cube, in nm.
    pore_diameter
        Mean diameter of the spheres in nm.
    std_diameter
        Standard deviation of their normal distribution in nm, at most a third of the mean; the
        distribution is cut at three standard deviations.
    solid_fraction
        Expected volume fraction of the solid, between 0 and 1.
    seed
        Seed of the centres and diameters.
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
    Centres are a Poisson process of density ρ: the Boolean model of spheres of radius R. Its solid
    fraction is exp(−ρ⟨V⟩), V = 4πR³/3, which gives ρ; the fraction of a volume scatters about it.
    The lineal path of the solid is solid_fraction · exp(−πρ⟨R²⟩ r), so that the ligament diameter,
    as of `ligament_diameter`, is

        4⟨R³⟩ / (3⟨R²⟩ ln(1 / solid_fraction)),

    for equal spheres 2/3 of their diameter over ln(1 / solid_fraction).

    References
    ----------
    .. [1] Chiu, S. N., Stoyan, D., Kendall, W. S., Mecke, J. (2013), Stochastic Geometry and its
       Applications, 3rd edition, chapter 3.
    """
    sizes = check_voxel_size(voxel_size)
    radius = check_resolved("pore_diameter", pore_diameter, sizes) / 2
    std = check_not_negative("std_diameter", std_diameter, "nm") / 2
    if CUT * std > radius:
        msg = (
            f"std_diameter must be at most a third of the pore_diameter of {pore_diameter} nm; "
            f"got {std_diameter} nm"
        )
        raise ConventionError(msg)
    share = check_inner_share("solid_fraction", solid_fraction)
    mean_volume = 4 / 3 * pi * (radius**3 + 3 * radius * _CUT_VARIANCE * std**2)
    density = -float(np.log(share)) / mean_volume
    return build_structure(
        RandomPores(radius, std, density, check_seed(seed), sizes),
        shape=check_shape(shape),
        voxel_size=sizes,
        chunks=chunks,
        step="random_pores",
        parameters={
            "pore_diameter": pore_diameter,
            "std_diameter": std_diameter,
            "solid_fraction": solid_fraction,
            "seed": seed,
        },
    )
