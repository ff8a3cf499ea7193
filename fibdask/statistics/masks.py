"""Masks and regions of interest: which voxels count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import Source, map_blocks, origin
from ..conventions import (
    AXES,
    FILLED,
    ConventionError,
    axis_spacing,
    check_aligned_together,
    chosen_region,
    covered_region,
    known_planes,
    measured_slices,
)
from ._functions import Carried, InPlanes

Mask = xr.DataArray | Mapping[str, Sequence[int]] | None
"""True where voxels count (any of z, y, x), or a box {axis: (start, stop)} in voxels."""

_SAME_PLACE = 1e-3  # nm, of the one voxel of an axis whose spacing is not known
_CARRIED_BYTES = 2**20  # masks in memory up to this size travel with the tasks


@dataclass(frozen=True)
class Masked:
    """A phase to be measured, inside a box already, with its mask.

    Attributes
    ----------
    phase
        Phase (z, y, x).
    inputs
        What block functions read: the phase, what is measured beside it, and the mask if there is
        one.
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


def masked(phase: xr.DataArray, mask: Mask, *others: xr.DataArray) -> Masked:
    """Return a phase with a mask, or its part inside a box; planes without data are left out.

    `others` are volumes of the same voxels, which are measured beside it: their data follow that
    of the phase among the inputs, and planes that hold none in any of them are left out.

    Raises
    ------
    ConventionError
        If the mask or box does not fit the phase, or pixels that were shifted in would count.
    """
    volumes = (phase, *others)
    data, axes = None, None
    counted: dict[str, np.ndarray] | None = {}
    if isinstance(mask, xr.DataArray):
        data, axes = _checked_mask(phase, mask)
        counted = _counted(data, axes)
    elif mask is not None:
        if not isinstance(mask, Mapping):
            msg = (
                "a mask must be an xarray.DataArray, or a box {axis: (start, stop)}; got "
                f"{type(mask).__name__}"
            )
            raise ConventionError(msg)
        whole = {axis: (0, phase.sizes[axis]) for axis in AXES}
        place = chosen_region(phase, mask, whole, name="a mask")
        volumes = tuple(volume.isel(place) for volume in volumes)
        counted = {axis: _inside(part, phase.sizes[axis]) for axis, part in place.items()}
    planes = np.logical_and.reduce([known_planes(volume) for volume in volumes])
    if counted is not None:
        check_edges(phase, counted)
    inputs = tuple(volume.data for volume in volumes)
    if isinstance(data, np.ndarray) and isinstance(origin(phase.data), Source):
        data = _carried(data)
    if not planes.all():
        data, axes = _in_planes(planes, data, axes, inputs[0])
    return Masked(volumes[0], inputs if axes is None else (*inputs, data), axes)


def masked_planes(phase: xr.DataArray, mask: Mask) -> np.ndarray:
    """Return in which planes (z, bool) of a phase voxels may count; no large mask is read."""
    everywhere = np.ones(phase.sizes["z"], bool)
    if isinstance(mask, Mapping):
        start, stop = mask.get("z", (0, len(everywhere)))
        return _inside(slice(start, stop), len(everywhere))
    if mask is None or "z" not in mask.dims:
        return everywhere
    if mask.ndim > 1 and not isinstance(mask.data, np.ndarray):
        return everywhere
    in_plane = [dim for dim in mask.dims if dim != "z"]
    return mask.astype(bool).any(in_plane).to_numpy()


def check_same_places(phase: xr.DataArray, other: xr.DataArray, axis: str, name: str) -> None:
    """Refuse what lies on other voxels along an axis than the phase of as many.

    Raises
    ------
    ConventionError
        With both places of the voxels that are farthest apart.
    """
    positions = phase[axis].values
    apart = np.abs(positions - other[axis].values)
    place = int(np.argmax(apart))
    step = np.diff(positions).min() if len(positions) > 1 else axis_spacing(phase, axis)
    if apart[place] > (step / 2 if np.isfinite(step) else _SAME_PLACE):
        msg = (
            f"phase and {name} must lie on the same voxels; {axis} is {positions[place]:g} nm and "
            f"{other[axis].values[place]:g} nm at position {place}"
        )
        raise ConventionError(msg)


def check_edges(phase: xr.DataArray, counted: Mapping[str, np.ndarray] | None = None) -> None:
    """Refuse to count pixels of a phase that alignment has filled.

    Where it is not known which those are, a mask that leaves out some rows or columns is
    believed; not where slices were aligned apart, or were not measured then.

    Parameters
    ----------
    counted
        What counts of an axis, True or False for each of its positions; all of it by default.

    Raises
    ------
    ConventionError
        With the share of such pixels, and what every slice covers, if that is known; or as
        `check_aligned_together`.
    """
    whole = {axis: np.ones(phase.sizes[axis], bool) for axis in AXES}
    counts = whole | dict(counted or {})
    share = np.where(counts["z"], filled_shares(phase), 0.0)
    if not (share > 0).any():
        return
    slices = phase.assign_coords(measured=("z", counts["z"] & measured_slices(phase)))
    check_aligned_together(slices)
    try:
        covered = covered_region(slices)
    except ConventionError:
        if not (counts["y"].all() and counts["x"].all()):
            return
        box = "{'y': (start, stop), 'x': (start, stop)}"
    else:
        outside = {axis: ~_inside(part, phase.sizes[axis]) for axis, part in covered.items()}
        if not any((counts[axis] & beyond).any() for axis, beyond in outside.items()):
            return
        box = str({axis: (part.start, part.stop) for axis, part in covered.items()})
    k = int(np.argmax(share))
    msg = (
        f"pixels that no raw pixel falls on must not count; {np.count_nonzero(share > 0)} of "
        f"{len(share)} slices have some, slice {k} {share[k]:.1%}: crop them "
        f'(apply_shifts(outside="crop")), or give mask= that leaves them out, such as the box {box}'
    )
    raise ConventionError(msg)


def filled_shares(phase: xr.DataArray) -> np.ndarray:
    """Return the share of pixels of each plane that alignment has filled; 0 of planes left out."""
    if FILLED not in phase.coords:
        return np.zeros(phase.sizes["z"])
    return np.where(known_planes(phase), np.nan_to_num(phase[FILLED].values), 0.0)


def _checked_mask(phase: xr.DataArray, mask: xr.DataArray) -> tuple[Any, tuple[int, ...]]:
    """Return the data of a mask, and the numbers of its axes."""
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
        if axis in mask.coords:
            check_same_places(phase, mask, axis, "mask")
    return mask.transpose(*axes).data, tuple(AXES.index(axis) for axis in axes)


def _counted(data: Any, axes: tuple[int, ...]) -> dict[str, np.ndarray] | None:
    """Return what of the axes of a mask counts for sure; None if it has to be read for that.

    One along z and another axis may be another in every plane: only planes that count whole do.
    """
    if not isinstance(data, np.ndarray):
        return {} if axes == (0,) else None
    if 0 in axes:
        return {"z": np.array([plane.all() for plane in data])}
    return {
        AXES[axis]: np.array([line.any() for line in np.moveaxis(data, k, 0)])
        for k, axis in enumerate(axes)
    }


def _inside(part: slice, size: int) -> np.ndarray:
    """Return which positions of an axis lie in a part of it."""
    inside = np.zeros(size, bool)
    inside[part] = True
    return inside


def _in_planes(
    planes: np.ndarray, data: Any, axes: tuple[int, ...] | None, phase: Any
) -> tuple[Any, tuple[int, ...]]:
    """Return a mask, or none, inside some planes (z, bool) of a phase; and its axes."""
    if axes is None:
        return _carried(planes) if isinstance(origin(phase), Source) else planes, (0,)
    wide = tuple(sorted({0, *axes}))
    shape = tuple(phase.shape[axis] for axis in wide)
    function = InPlanes(planes, flat=0 not in axes)
    return map_blocks(function, [data], shape=shape, dtype=data.dtype), wide


def _carried(data: np.ndarray) -> Any:
    """Return a small mask as an array that is read by coordinates, as a stored phase is."""
    if data.nbytes > _CARRIED_BYTES:
        return data
    return map_blocks(Carried(data), shape=data.shape, dtype=data.dtype, block=data.shape)
