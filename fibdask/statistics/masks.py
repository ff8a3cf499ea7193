"""Masks and regions of interest: which voxels count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import Region, Source, lengths, map_blocks, origin
from ..conventions import AXES, ConventionError

Mask = xr.DataArray | Mapping[str, Sequence[int]] | None
"""True where voxels count (any of z, y, x), or a box {axis: (start, stop)} in voxels."""

_CARRIED_BYTES = 2**20  # masks in memory up to this size travel with the tasks


@dataclass(frozen=True)
class Masked:
    """A phase to be measured, inside a box already, with its mask.

    Attributes
    ----------
    phase
        Phase (z, y, x).
    inputs
        What block functions read: the phase, and the mask if there is one.
    axes
        Numbers of the mask's axes; None without a mask.
    """

    phase: xr.DataArray
    inputs: tuple[Any, ...]
    axes: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the phase."""
        z, y, x = (self.phase.sizes[axis] for axis in AXES)
        return z, y, x


def masked(phase: xr.DataArray, mask: Mask) -> Masked:
    """Return a phase with a mask, or its part inside a box.

    Raises
    ------
    ConventionError
        If the mask or box does not fit the phase.
    """
    if mask is None:
        return Masked(phase, (phase.data,))
    if isinstance(mask, xr.DataArray):
        return _with_mask(phase, mask)
    part = phase.isel({axis: _interval(phase, axis, place) for axis, place in mask.items()})
    return Masked(part, (part.data,))


def _interval(phase: xr.DataArray, axis: str, place: Sequence[int]) -> slice:
    if axis not in AXES:
        msg = f"a mask has the axes {', '.join(AXES)}; got {axis!r}"
        raise ConventionError(msg)
    start, stop = place
    if not 0 <= start < stop <= phase.sizes[axis]:
        msg = (
            f"a mask along {axis} must be (start, stop) with "
            f"0 <= start < stop <= {phase.sizes[axis]}; got ({start}, {stop})"
        )
        raise ConventionError(msg)
    return slice(start, stop)


def _with_mask(phase: xr.DataArray, mask: xr.DataArray) -> Masked:
    axes = [axis for axis in AXES if axis in mask.dims]
    if set(mask.dims) - set(AXES) or not axes:
        msg = f"a mask must have dimensions among z, y, x; found ({', '.join(map(str, mask.dims))})"
        raise ConventionError(msg)
    if mask.dtype not in (np.bool_, np.uint8):
        msg = f"a mask must be of type bool or uint8; found {mask.dtype}"
        raise ConventionError(msg)
    for axis in axes:
        if mask.sizes[axis] != phase.sizes[axis]:
            msg = (
                f"mask and phase must have the same size; along {axis} they have "
                f"{mask.sizes[axis]} and {phase.sizes[axis]}"
            )
            raise ConventionError(msg)
    data = mask.transpose(*axes).data
    if isinstance(data, np.ndarray) and isinstance(origin(phase.data), Source):
        data = _carried(data)
    return Masked(phase, (phase.data, data), tuple(AXES.index(axis) for axis in axes))


def _carried(data: np.ndarray) -> Any:
    """Return a small mask as an array that is read by coordinates, as a stored phase is."""
    if data.nbytes > _CARRIED_BYTES:
        return data
    return map_blocks(Carried(data), shape=data.shape, dtype=data.dtype, block=data.shape)


@dataclass(frozen=True)
class Carried:
    """Block function that hands out parts of a small array that it carries."""

    values: np.ndarray

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return nothing."""
        return ()

    def compute(self, region: Region) -> np.ndarray:
        """Return the values of a region."""
        return self.values[region]

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of all values."""
        return self.values.nbytes


def mask_region(region: Region, axes: tuple[int, ...]) -> Region:
    """Return the part of a mask with these axes that covers a region (z, y, x)."""
    return tuple(region[axis] for axis in axes)


def covering(mask: np.ndarray, region: Region, axes: tuple[int, ...]) -> np.ndarray:
    """Return a mask of a region (z, y, x), from values along some axes, as zeros and ones."""
    values = np.ascontiguousarray(mask).view(np.uint8)
    if values.max() > 1:
        msg = f"a mask must be 0 or 1; found {values.max()}"
        raise ConventionError(msg)
    expanded = np.expand_dims(values, [axis for axis in range(3) if axis not in axes])
    return np.ascontiguousarray(np.broadcast_to(expanded, lengths(region)))
