"""How sure probabilities of a phase are: of each plane, and what they say of their own errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import Grid, block_grid, reduce_blocks
from ..conventions import AXES, covered_region, known_planes, recorded_steps, require
from ..pieces.validity import calibration_error
from ._functions_certainty import STEPS, ProbabilityCounts, StepSums

_FILLS = "inpaint_gaps"
_MIX = ("nearest", "spline")  # methods of it that fill probabilities, of which no card tells
_MAKE = ("segment_phases", "reconstruct_volume")
"""Steps that make probabilities."""


def expected_solid_fraction(stack: xr.Dataset) -> xr.DataArray:
    """Return the share of solid as the mean probability, not by the likelier phase of each voxel.

    Parameters
    ----------
    stack
        Stack with `solid_probability` (z, y, x). Rows and columns with filled pixels do not count.

    Returns
    -------
    xr.DataArray
        The solid fraction (), lazy: the mean of probabilities. For networks whose cards give the
        largest error of probabilities on unseen data, the coordinates `lower` and `upper` are that
        far apart from it: the mean errs no more than probabilities do.
    """
    stack = require(stack, "solid_probability")
    found = certainty(stack.isel(covered_region(stack)))
    share = found["expected_solid_fraction"].mean("plane", keep_attrs=True)
    if "calibration_error" not in found:
        return share
    error = found["calibration_error"].item()
    return share.assign_coords(lower=(share - error).clip(0), upper=(share + error).clip(max=1))


def certainty(stack: xr.Dataset) -> xr.Dataset:
    """Return how sure the probabilities of solid are.

    Parameters
    ----------
    stack
        With `solid_probability` (z, y, x), from 0 to 1.

    Returns
    -------
    xr.Dataset
        `unsure_share` (plane), the share of voxels that are neither solid nor pore with a
        probability of 0.9 or more; `expected_misplaced` (plane) in %, the mean probability of the
        other phase; and `expected_solid_fraction` (plane), that of solid. So many voxels are
        misplaced, and solid, if probabilities are frequencies. Lazy; NaN in planes that hold no
        data. The coordinate `depth` (plane) is in nm. Of networks whose cards tell it, also
        `calibration_error` (), how far probabilities were off at most on unseen data.
    """
    probability = stack["solid_probability"]
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
            finish=_Profile(row, per_count[row], grid.block[0], planes),
            shape=planes.shape,
        )
        arrays[name] = ("plane", share, {"long_name": long_name, "units": units})
    return xr.Dataset(arrays, depth).assign(_told_error(stack))


def _told_error(stack: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the `calibration_error` of the network that made probabilities, if it is known."""
    made = [record for record in recorded_steps(stack) if _makes(record)]
    told = made[-1]["parameters"] if made else {}
    if "model_card" not in told:
        return {}
    error = calibration_error(told["model_card"], told.get("voltage", []))
    attrs = {"long_name": "most that probabilities were off on unseen data", "units": "1"}
    return {} if error is None else {"calibration_error": xr.DataArray(error, attrs=attrs)}


def _makes(record: Mapping[str, Any]) -> bool:
    """Tell whether a step makes probabilities."""
    mixes = record["step"] == _FILLS and record["parameters"].get("method") in _MIX
    return mixes or record["step"] in _MAKE


def mean_disagreement(disagreement: xr.DataArray) -> xr.DataArray:
    """Return how far apart voltages are on each plane.

    Parameters
    ----------
    disagreement
        `voltage_disagreement` (z, y, x), from 0 to 1.

    Returns
    -------
    xr.DataArray
        `mean_disagreement` (plane), the mean over pixels. Lazy; NaN in planes that hold no data.
    """
    data, planes = disagreement.data, known_planes(disagreement)
    grid = _Slabs(**vars(block_grid(data)))
    per_count = 1 / (STEPS * disagreement.sizes["y"] * disagreement.sizes["x"])
    mean = reduce_blocks(
        StepSums(grid.block[0]),
        [data],
        grid=grid,
        finish=_Profile(0, per_count, grid.block[0], planes),
        shape=planes.shape,
    )
    attrs = {"long_name": "mean disagreement of voltages", "units": "1"}
    depth = {"depth": ("plane", disagreement["z"].values, disagreement["z"].attrs)}
    return xr.DataArray(mean, depth, ("plane",), "mean_disagreement", attrs)


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
    depth
        Planes of a slab, at most.
    planes
        Which planes hold data (plane).
    """

    row: int
    per_count: float
    depth: int
    planes: np.ndarray

    revision = 2

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the values."""
        rows = counts.reshape(len(counts), -1, self.depth)[:, self.row]
        values = rows.ravel()[: len(self.planes)] * self.per_count
        return np.where(self.planes, values, np.nan)
