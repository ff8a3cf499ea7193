"""Slices at their measured depth become planes of a regular grid."""

from dataclasses import dataclass
from math import floor, log10

import numpy as np
import xarray as xr

from .. import blocks
from ..conventions import (
    VOLUMES,
    ConventionError,
    attributes,
    finish_stack,
    record_step,
    require,
)
from ._kernels import free_planes, moved_slices, nearest_planes


def reposition_slices(stack: xr.Dataset, *, spacing: float) -> xr.Dataset:
    """Move every slice to the plane of a regular grid that is nearest to its depth.

    Lazy. The planes lie at z = n * `spacing` with integer n, from the plane of the first slice to
    that of the last. Slice k goes to n = floor(z_k / spacing + 1/2); where several slices
    fall on one plane, they are spread to free planes so that the sum of squared displacements is
    least, their order is kept, and none is lost.

    Parameters
    ----------
    stack
        Any stack; all its variables are moved.
    spacing
        Distance of the planes in nm; voxels are isotropic where it equals the pixel size.

    Returns
    -------
    xarray.Dataset
        The stack on regular `z`, with `measured` (z): False on planes without a slice. There,
        volumes are 0 and shifts NaN. A plane whose slice was marked as not measured before
        stays so.

    Raises
    ------
    ConventionError
        If the spacing is not positive, or there are more slices than planes.
    """
    stack = require(stack)
    planes = _planes(stack["z"].values, spacing)
    moved = _on_grid(stack, planes, spacing)
    sources = []
    for name in [name for name in VOLUMES if name in stack.variables]:
        volume = stack[name]
        shape = (*volume.shape[:-3], moved.sizes["z"], *volume.shape[-2:])
        function = MovedSlices(planes - planes[0])
        data = blocks.map_blocks(function, (volume.data,), shape=shape, dtype=volume.dtype)
        moved[name] = (volume.dims, data, volume.attrs)
        sources.append(blocks.array_token(volume.data))
    moved = finish_stack(moved[list(stack.data_vars)], nominal_thickness=spacing)
    parameters = {"spacing": float(spacing)}
    return record_step(moved, "reposition_slices", parameters, blocks.fingerprint(*sources))


def _planes(z: np.ndarray, spacing: float) -> np.ndarray:
    """Return the absolute plane number of every slice."""
    if not (np.isfinite(spacing) and spacing > 0):
        msg = f"spacing must be > 0 nm; got {spacing} nm"
        raise ConventionError(msg)
    first, last = nearest_planes(z[[0, -1]] / spacing)
    if last - first + 1 < len(z):
        msg = (
            f"every slice needs a plane of its own; {len(z)} slices fall on "
            f"{last - first + 1} planes of spacing {spacing:g} nm; use a spacing of at most "
            f"{_rounded_down((z[-1] - z[0]) / (len(z) - 1)):g} nm"
        )
        raise ConventionError(msg)
    return free_planes(z / spacing)


def _rounded_down(value: float) -> float:
    unit: float = 10.0 ** (floor(log10(value)) - 3)
    return floor(value / unit) * unit


def _on_grid(stack: xr.Dataset, planes: np.ndarray, spacing: float) -> xr.Dataset:
    """Return what is not a volume on the planes of the grid; attributes are kept."""
    measured = np.ones(len(planes), bool)
    if "measured" in stack.coords:
        measured = stack["measured"].values
    rest = stack.drop_vars([*VOLUMES, "slice_thickness"], errors="ignore")
    z_attrs = stack["z"].attrs
    rest = rest.assign_coords(z=("z", planes * float(spacing), z_attrs))
    rest = rest.assign_coords(measured=("z", measured, attributes("measured")))
    grid = np.arange(planes[0], planes[-1] + 1) * float(spacing)
    return rest.reindex(z=xr.Variable("z", grid, z_attrs), fill_value={"measured": False})


@dataclass(frozen=True, eq=False)
class MovedSlices:
    """Planes of a regular grid, each a slice or 0.

    Attributes
    ----------
    planes
        Plane of every slice, int64 (slices), strictly increasing from 0.
    """

    planes: np.ndarray

    def _slices(self, region: blocks.Region) -> slice:
        z = region[-3]
        start, stop = np.searchsorted(self.planes, (z.start, z.stop))
        return slice(int(start), int(stop))

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the slices of the block, or one where there is none: no region is empty."""
        found = self._slices(region)
        start = min(found.start, len(self.planes) - 1)
        wanted = slice(start, max(found.stop, start + 1))
        return ((*region[:-3], wanted, *region[-2:]),)

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Put the slices onto their planes."""
        z = region[-3]
        planes = self.planes[self._slices(region)] - z.start
        slices = inputs[0][..., : len(planes), :, :]
        return moved_slices(slices, planes, z.stop - z.start)

    def working_bytes(self, _region: blocks.Region) -> int:
        """Return 0: slices are copied straight into the block."""
        return 0
