"""Planes of a volume that are picked by their numbers, and those of regular grids."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import Region, default_block, lengths, map_blocks
from ..conventions import (
    ConventionError,
    array_names,
    axis_spacing,
    check_positive,
    other_unit,
    volume_names,
)
from ._kernels.planes import nearest_planes

NO_PLANE = -1
"""Number of a plane that is picked nowhere, and therefore 0 throughout."""
_MOST_PLANES = 10**7


def plane_spacing(stack: xr.Dataset, spacing: float) -> float:
    """Return the distance of planes in nm that a user gave for a stack.

    Raises
    ------
    ConventionError
        If it is not above zero, or so far from all lengths of the stack that its unit must be
        wrong.
    """
    spacing = float(check_positive("spacing", spacing, "nm"))
    lengths_nm = {
        "slices are": float(np.diff(stack["z"].values).mean()) if stack.sizes["z"] > 1 else np.nan,
        "pixels are": float(np.fmin(axis_spacing(stack, "y"), axis_spacing(stack, "x"))),
    }
    known = {name: length for name, length in lengths_nm.items() if np.isfinite(length)}
    if known and all(other_unit(spacing, length) for length in known.values()):
        found = ", ".join(f"{name} {length:.4g} nm apart" for name, length in known.items())
        msg = f"spacing must be in nm; got {spacing:g} nm, where {found}: is it in nm?"
        raise ConventionError(msg)
    return spacing


def grid_planes(z: np.ndarray, spacing: float) -> np.ndarray:
    """Return the planes n of the grid z = n * spacing, in nm, from the first slice to the last.

    Raises
    ------
    ConventionError
        If there are too many.
    """
    depth = z[-1] - z[0]
    if depth / spacing >= _MOST_PLANES:
        msg = (
            f"spacing must leave fewer than {_MOST_PLANES:,} planes; a spacing of {spacing:g} nm "
            f"makes {depth / spacing:.3g} of a depth of {depth:g} nm"
        )
        raise ConventionError(msg)
    first, last = planes_at(z[[0, -1]], spacing)
    return np.arange(first, last + 1)


def planes_at(z: np.ndarray, spacing: float) -> np.ndarray:
    """Return the plane of such a grid that is nearest to each depth in nm."""
    return nearest_planes(z / spacing)


def block_of(data: Any) -> tuple[int, ...]:
    """Return the block in which an array is best read: its own, or the usual one in memory."""
    chunks = getattr(data, "chunks", None)
    if chunks is None:
        return default_block(data.shape, data.dtype.itemsize)
    return tuple(max(lengths) for lengths in chunks)


def pick_planes(data: Any, planes: np.ndarray) -> Any:
    """Return planes of a volume (z, y, x) at increasing places, lazily.

    Blocks of the result cover about one block of the volume each, so that it is read once.
    """
    n_z, *in_plane = data.shape
    block_z, *block_plane = block_of(data)
    thick = max(round(block_z * len(planes) / n_z), 1)
    return map_blocks(
        PickedPlanes(planes),
        [data],
        shape=(len(planes), *in_plane),
        dtype=data.dtype,
        block=(min(thick, len(planes)), *block_plane),
    )


def planes_of(stack: xr.Dataset, planes: np.ndarray) -> dict[str, "PickedPlanes"]:
    """Return what picks planes of each volume and section of a stack, by its name."""
    return {
        name: PickedPlanes(planes, stack[name].dims.index("z") - stack[name].ndim, missing)
        for names, missing in ((volume_names(stack), 0.0), (_sections(stack), np.nan))
        for name in names
    }


def _sections(stack: xr.Dataset) -> list[str]:
    volumes = volume_names(stack)
    return [n for n in array_names(stack) if n not in volumes and "z" in stack[n].dims]


@dataclass(frozen=True, eq=False)
class PickedPlanes:
    """Block function: planes of an array that are each one of another, or hold nothing.

    Attributes
    ----------
    planes
        Where they are in that array, int64 (z): increasing, but for those that are `NO_PLANE`.
    axis
        That of z, from the last one.
    missing
        Value of planes that hold nothing; 0 where the type has no such value.
    """

    planes: np.ndarray
    axis: int = -3
    missing: float = 0.0

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return all from the first to the last of them."""
        picked = self.planes[region[self.axis]]
        picked = picked[picked != NO_PLANE]
        # No region is empty: where nothing is picked, any plane will do.
        first, last = (picked[0], picked[-1]) if len(picked) else (0, 0)
        needed = list(region)
        needed[self.axis] = slice(int(first), int(last) + 1)
        return (tuple(needed),)

    def compute(self, region: Region, volume: np.ndarray) -> np.ndarray:
        """Copy plane by plane, straight into the block."""
        first = self.needs(region)[0][self.axis].start
        missing = self.missing if volume.dtype.kind == "f" else 0
        out = np.full(lengths(region), missing, volume.dtype)
        made, given = (np.moveaxis(array, self.axis, 0) for array in (out, volume))
        for plane, picked in enumerate(self.planes[region[self.axis]]):
            if picked != NO_PLANE:
                made[plane] = given[picked - first]
        return out

    def working_bytes(self, region: Region) -> int:
        """Return 0."""
        return 0
