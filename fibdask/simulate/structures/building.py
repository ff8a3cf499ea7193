"""What all generated structures share: arguments, coordinates, provenance."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from ... import blocks
from ...conventions import (
    AXES,
    NO_INPUT,
    ConventionError,
    attributes,
    check_count,
    check_planes,
    check_positive,
    covered_region,
    record_step,
)

VoxelSize = float | Sequence[float]
Chunks = Literal["auto"] | int | Sequence[int | tuple[int, ...]]


def build_structure(
    function: blocks.BlockFunction,
    *,
    shape: tuple[int, int, int],
    voxel_size: tuple[float, float, float],
    chunks: Chunks,
    step: str,
    parameters: Mapping[str, Any],
) -> xr.DataArray:
    """Return the lazy phase (z, y, x) that a block function makes from coordinates alone."""
    block = blocks.volume_chunks(shape, 1, chunks)
    data = blocks.map_blocks(function, shape=shape, dtype=np.uint8, block=block)
    coords = {
        axis: (axis, np.arange(n) * h, attributes(axis) | {"spacing": h})
        for axis, n, h in zip(AXES, shape, voxel_size, strict=True)
    }
    recorded = record_step(xr.Dataset(), step, {"voxel_size": voxel_size, **parameters}, NO_INPUT)
    attrs = attributes("phase") | recorded.attrs
    return xr.DataArray(data, coords=coords, dims=AXES, name="phase", attrs=attrs)


def check_known(structure: xr.DataArray) -> None:
    """Refuse planes that hold no data, and pixels that alignment filled: they would be structure.

    Raises
    ------
    ConventionError
        Saying which part of it can be taken.
    """
    check_planes(structure, "take planes without gaps: isel(z=slice(start, stop))")
    for axis, known in covered_region(structure).items():
        if known != slice(0, structure.sizes[axis]):
            msg = (
                f"alignment has filled pixels of the structure along {axis}, outside of "
                f"({known.start}, {known.stop}): take what every slice covers, "
                f"isel({axis}=slice({known.start}, {known.stop}))"
            )
            raise ConventionError(msg)


def split_history(phase: xr.DataArray) -> tuple[xr.DataArray, dict[str, Any]]:
    """Return a phase without its provenance, and the provenance as attributes of a stack."""
    history = {key: phase.attrs[key] for key in ("provenance",) if key in phase.attrs}
    attrs = {key: value for key, value in phase.attrs.items() if key not in history}
    return phase.copy(deep=False).drop_attrs(deep=False).assign_attrs(attrs), history


def check_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Check the shape (z, y, x) of a volume."""
    try:
        n_z, n_y, n_x = (check_count("shape", n) for n in shape)
    except (TypeError, ValueError):  # not three of them, or one that is none
        msg = f"shape must be three positive numbers of voxels (z, y, x); got {shape}"
        raise ConventionError(msg) from None
    return n_z, n_y, n_x


def check_voxel_size(voxel_size: VoxelSize) -> tuple[float, float, float]:
    """Return the voxel size (z, y, x) in nm; one number stands for a cube."""
    sizes = np.asarray(voxel_size, np.float64)
    if sizes.shape not in ((), (3,)) or not (np.isfinite(sizes) & (sizes > 0)).all():
        msg = f"voxel_size must be one number or (z, y, x), finite and > 0 nm; got {voxel_size}"
        raise ConventionError(msg)
    size_z, size_y, size_x = (float(h) for h in np.broadcast_to(sizes, 3))
    return size_z, size_y, size_x


def check_resolved(name: str, size: float, voxel_size: Sequence[float]) -> float:
    """Return the size in nm of what a structure is made of, which a voxel must be able to show."""
    finest = min(voxel_size)
    if check_positive(name, size, "nm") < finest:
        msg = f"{name} must be at least as large as a voxel, {finest:g} nm; got {size:g} nm"
        raise ConventionError(msg)
    return size
