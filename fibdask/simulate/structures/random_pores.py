"""Random pores: a solid block minus overlapping spheres."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, pi, sqrt
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import erf

from ... import blocks
from ...conventions import ConventionError
from ..images.noise import image_key
from ._kernels import remove_spheres
from .building import (
    VoxelSize,
    build_structure,
    check_not_negative,
    check_positive,
    check_seed,
    check_shape,
    check_voxel_size,
)

_CUT = 3.0  # standard deviations at which radii are cut
_CENTRES_IN_CELL = 4.0
# Share of the variance that is left of a normal deviate cut at 3 standard deviations.
_CUT_VARIANCE = 1 - 2 * _CUT * exp(-(_CUT**2) / 2) / sqrt(2 * pi) / erf(_CUT / sqrt(2))


def random_pores(
    shape: Sequence[int],
    *,
    voxel_size: VoxelSize,
    pore_diameter: float,
    std_diameter: float = 0.0,
    solid_fraction: float,
    seed: int,
    chunks: Any = "auto",
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
        Standard deviation of their normal distribution in nm, which is cut at three of them; at
        most a third of the mean.
    solid_fraction
        Expected volume fraction of the solid, between 0 and 1.
    seed
        Of the centres and diameters.
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
    Centres are a Poisson process of density ρ, the Boolean model of spheres of radius R. Its
    solid fraction is exp(−ρ⟨V⟩), V = 4πR³/3, from which ρ follows; the fraction of a volume
    scatters about it. The lineal path of the solid is solid_fraction · exp(−πρ⟨R²⟩ r), so that
    the ligament diameter, in the sense of `ligament_diameter`, is

        4⟨R³⟩ / (3⟨R²⟩ ln(1 / solid_fraction)),

    for equal spheres 2/3 of their diameter over ln(1 / solid_fraction).

    References
    ----------
    .. [1] Chiu, S. N., Stoyan, D., Kendall, W. S., Mecke, J. (2013), Stochastic Geometry and its
       Applications, 3rd edition, chapter 3.
    """
    sizes = check_voxel_size(voxel_size)
    radius = check_positive("pore_diameter", pore_diameter, "nm") / 2
    std = check_not_negative("std_diameter", std_diameter, "nm") / 2
    if _CUT * std > radius:
        msg = (
            f"std_diameter must be at most a third of the pore_diameter of {pore_diameter} nm; "
            f"got {std_diameter} nm"
        )
        raise ConventionError(msg)
    if not 0 < solid_fraction < 1:
        msg = f"solid_fraction must be > 0 and < 1; got {solid_fraction}"
        raise ConventionError(msg)
    mean_volume = 4 / 3 * pi * (radius**3 + 3 * radius * _CUT_VARIANCE * std**2)
    density = -float(np.log(solid_fraction)) / mean_volume
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


@dataclass(frozen=True)
class RandomPores:
    """Block function: solid outside spheres whose centres are a Poisson process.

    Attributes
    ----------
    radius, std
        Mean and standard deviation of the radii in nm.
    density
        Of the centres in 1/nm³.
    seed
        The spheres of a cell of space are a hash of the seed and the cell.
    voxel_size
        In nm (z, y, x).
    """

    radius: float
    std: float
    density: float
    seed: int
    voxel_size: tuple[float, float, float]

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return nothing: coordinates suffice."""
        return ()

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Generate the voxels of a region."""
        del inputs
        sizes = np.array(self.voxel_size)
        start = np.array([interval.start for interval in region])
        stop = np.array([interval.stop for interval in region])
        side = (_CENTRES_IN_CELL / self.density) ** (1 / 3)
        reach = self.radius + _CUT * self.std
        # Cell 0 begins the reach before the first voxel; one cell more makes up for rounding.
        first = np.maximum(np.floor(start * sizes / side).astype(np.int64) - 1, 0)
        last = np.floor(((stop - 1) * sizes + 2 * reach) / side).astype(np.int64) + 1
        phase = np.ones(blocks.lengths(region), np.uint8)
        remove_spheres(
            first,
            last + 1,
            side,
            np.uint64(image_key((self.seed,))),
            _CENTRES_IN_CELL,
            self.radius,
            self.std,
            _CUT,
            sizes,
            start,
            phase,
        )
        return phase

    def working_bytes(self, region: blocks.Region) -> int:
        """Cells are drawn one by one: little beside the result."""
        return 2**12
