"""Solid fraction of a phase, of the whole and of each slice."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import Region, block_grid, reduce_blocks
from ..conventions import check_phase_values, require_phase
from . import _kernels


def solid_fraction(phase: xr.DataArray) -> xr.DataArray:
    """Return the share of solid voxels.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm. Voxels count alike, also where
        the slices are unevenly spaced.

    Returns
    -------
    xr.DataArray
        The solid fraction (), lazy.
    """
    return fraction_array(_reduce_slices(require_phase(phase), fraction_value, ()))


def solid_fraction_profile(phase: xr.DataArray) -> xr.DataArray:
    """Return the share of solid voxels in each slice.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm.

    Returns
    -------
    xr.DataArray
        The solid fraction (z), lazy, with the depths of the slices in nm.
    """
    data = _reduce_slices(require_phase(phase), profile_values, (phase.sizes["z"],))
    return profile_array(phase, data)


@dataclass(frozen=True)
class SliceCounts:
    """Solid voxels of each slice of a phase with so many slices; a block function."""

    size: int

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block."""
        return (region,)

    def compute(self, region: Region, block: np.ndarray) -> np.ndarray:
        """Count one block."""
        check_phase_values("phase", block, tuple(s.start for s in region))
        counts = np.zeros(self.size, np.int64)
        counts[region[0]] = _kernels.solid_by_slice(block)
        return counts

    def working_bytes(self, region: Region) -> int:
        """Return 0: nothing is copied."""
        return 0


def _reduce_slices(
    phase: xr.DataArray, values: Callable[[int, np.ndarray], np.ndarray], shape: tuple[int, ...]
) -> Any:
    plane = phase.sizes["y"] * phase.sizes["x"]
    return reduce_blocks(
        SliceCounts(phase.sizes["z"]),
        [phase.data],
        grid=block_grid(phase.data),
        finish=partial(values, plane),
        shape=shape,
    )


def profile_values(plane: int, counts: np.ndarray) -> np.ndarray:
    """Return the solid fraction of slices with so many voxels each."""
    return counts / plane


def fraction_value(plane: int, counts: np.ndarray) -> np.ndarray:
    """Return the solid fraction of all slices."""
    return np.asarray(counts.sum() / (plane * len(counts)))


def fraction_array(data: Any) -> xr.DataArray:
    """Return a solid fraction with its name and meaning."""
    attrs = {"long_name": "solid fraction", "units": "1"}
    return xr.DataArray(data, name="solid_fraction", attrs=attrs)


def profile_array(phase: xr.DataArray, data: Any) -> xr.DataArray:
    """Return solid fractions of slices with their name, meaning and depths."""
    attrs = {"long_name": "solid fraction of the slice", "units": "1"}
    coords = {name: c for name, c in phase.coords.items() if c.dims == ("z",)}
    return xr.DataArray(data, dims="z", coords=coords, name="solid_fraction_profile", attrs=attrs)
