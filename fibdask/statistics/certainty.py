"""How sure probabilities of a phase are: of each plane, and what they say of their own errors."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..blocks import Grid, block_grid, reduce_blocks
from ..conventions import AXES, known_planes
from ._functions_certainty import ROWS, STEPS, ProbabilityCounts


def certainty(probability: xr.DataArray) -> xr.Dataset:
    """Return how sure the probabilities of solid are.

    Parameters
    ----------
    probability
        Of solid (z, y, x), from 0 to 1.

    Returns
    -------
    xr.Dataset
        `unsure_share` (plane), the share of voxels that are neither solid nor pore with a
        probability of 0.9 or more; `expected_misplaced` (plane) in %, the mean probability of the
        other phase; and `expected_solid_fraction` (plane), that of solid. So many voxels are
        misplaced, and solid, if probabilities are frequencies. Lazy; NaN in planes that hold no
        data. The coordinate `depth` (plane) is in nm.
    """
    data, planes = probability.data, known_planes(probability)
    pixels = probability.sizes["y"] * probability.sizes["x"]
    grid = _Slabs(**vars(block_grid(data)))
    depth = {"depth": ("plane", probability["z"].values, probability["z"].attrs)}
    names = {
        "unsure_share": ("share of voxels of which nobody is sure", "1"),
        "expected_misplaced": ("voxels expected to be misplaced", "%"),
        "expected_solid_fraction": ("share of voxels expected to be solid", "1"),
    }
    per_count = (1 / pixels, 100 / (STEPS * pixels), 1 / (STEPS * pixels))
    arrays = {}
    for row, (name, (long_name, units)) in enumerate(names.items()):
        share = reduce_blocks(
            ProbabilityCounts(grid.block[0]),
            [data],
            grid=grid,
            finish=_Profile(row, per_count[row], planes),
            shape=planes.shape,
        )
        arrays[name] = ("plane", share, {"long_name": long_name, "units": units})
    return xr.Dataset(arrays, depth)


@dataclass(frozen=True)
class _Slabs(Grid):
    """Blocks that are counted apart by where they lie along z."""

    @property
    def groups(self) -> int:
        """Number of slabs."""
        return self.counts[AXES.index("z")]

    def group(self, number: int) -> int:
        """Return the slab of a block."""
        return self.position(number)[AXES.index("z")]


@dataclass(frozen=True, eq=False)
class _Profile:
    """Turns counts (slab, count) into values (plane).

    Attributes
    ----------
    row
        Which of the counts it is.
    per_count
        What one is worth.
    planes
        Which planes hold data (plane).
    """

    row: int
    per_count: float
    planes: np.ndarray

    revision = 2

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the values."""
        rows = counts.reshape(len(counts), ROWS, -1)[:, self.row]
        values = rows.ravel()[: len(self.planes)] * self.per_count
        return np.where(self.planes, values, np.nan)
