"""OME-Zarr 0.5 multiscale pyramids: halved levels and the metadata that viewers read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import BLOCK_BYTES, Region, default_block, lengths, map_blocks
from ..conventions import (
    AXES,
    build_stack,
    is_label,
    known_spacing,
    value_range,
    volume_names,
)
from ._kernels import halve_mean, halve_mode

LEVEL_NAME = "scale{}"
IS_LEVEL = re.compile(r"scale\d+")
_SMALLEST = 128  # voxels; a level whose longest axis is no longer has no coarser one


def needs_level(stack: xr.Dataset) -> bool:
    """Tell whether a coarser level would help a viewer."""
    return max(stack.sizes[axis] for axis in AXES) > _SMALLEST


def coarsen(stack: xr.Dataset) -> xr.Dataset:
    """Return the stack at half the resolution, lazily.

    Images and probabilities become means of 2 × 2 × 2 voxels, phases and other labels their mode
    (the least of those that are equally frequent). An odd last voxel is averaged with those
    beside it only. The centres of the new voxels lie half a voxel of the finer level further.
    """
    volumes = {}
    for name in volume_names(stack):
        volumes[name] = _halved(stack[name].data, is_label(name, stack[name]))
    spacing = {axis: known_spacing(stack, axis) for axis in AXES}
    sizes = {axis: -(-stack.sizes[axis] // 2) for axis in AXES}
    factors = {axis: 2 if stack.sizes[axis] > 1 else 1 for axis in AXES}
    z = _centres(stack, "z", sizes["z"], spacing["z"])
    coarse = build_stack(
        volumes,
        z=z,
        pixel_size=(spacing["y"] * factors["y"], spacing["x"] * factors["x"]),
        nominal_thickness=spacing["z"] * factors["z"],
        voltage=stack["voltage"].values if "voltage" in stack.coords else None,
    )
    centres = {axis: _centres(stack, axis, sizes[axis], spacing[axis]) for axis in ("y", "x")}
    return coarse.assign_coords(
        {axis: (axis, values, coarse[axis].attrs) for axis, values in centres.items()}
    )


def _centres(stack: xr.Dataset, axis: str, size: int, spacing: float) -> np.ndarray:
    first = float(stack[axis].values[0])
    if stack.sizes[axis] == 1:
        return np.array([first])
    return first + spacing / 2 + 2 * spacing * np.arange(size)


def _halved(array: Any, labels: bool) -> Any:
    shape = array.shape
    coarse = (*shape[:-3], *(-(-n // 2) for n in shape[-3:]))
    # The eightfold finer block is read at once, so that one is of the usual size.
    block = default_block(coarse, array.dtype.itemsize, BLOCK_BYTES // 8)
    return map_blocks(Halve(shape, labels), [array], shape=coarse, dtype=array.dtype, block=block)


@dataclass(frozen=True)
class Halve:
    """Blocks of 2 × 2 × 2 voxels, averaged or voted."""

    shape: tuple[int, ...]
    labels: bool

    revision = 2

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return twice the region along z, y, x."""
        leading = len(region) - 3
        return (
            tuple(
                s if axis < leading else slice(2 * s.start, min(2 * s.stop, n))
                for axis, (s, n) in enumerate(zip(region, self.shape, strict=True))
            ),
        )

    def compute(self, region: Region, fine: np.ndarray) -> np.ndarray:
        """Average or vote."""
        coarse = np.empty(lengths(region), fine.dtype)
        cells = coarse.reshape(-1, *coarse.shape[-3:])
        voxels = fine.reshape(-1, *fine.shape[-3:])
        if self.labels:
            halve_mode(voxels, cells)
        else:
            halve_mean(voxels, cells, 0.5 if fine.dtype.kind in "iu" else 0.0)
        return coarse

    def working_bytes(self, region: Region) -> int:
        """Return the temporaries: none."""
        return 0


def multiscales(levels: Sequence[xr.Dataset], labels: Sequence[str] = ()) -> dict[str, Any]:
    """Return the `ome` attribute (version 0.5) of a store with these levels, finest first.

    Volumes that are `labels` of others are described elsewhere.
    """
    names = [name for name in volume_names(levels[0]) if name not in labels]
    folders = ["", *(f"{LEVEL_NAME.format(number)}/" for number in range(1, len(levels)))]
    entries = [multiscale(name, levels, [f"{f}{name}" for f in folders]) for name in names]
    ome: dict[str, Any] = {"version": "0.5", "multiscales": entries}
    if "intensity" in names and levels[0]["intensity"].dtype.kind == "u":
        ome["omero"] = {"channels": _channels(levels[0])}
    return ome


def _channels(stack: xr.Dataset) -> list[dict[str, Any]]:
    """Return the voltages, shown over all grey values that integers can have; others need none."""
    low, high = map(int, value_range("intensity", stack["intensity"].dtype))
    window = {"min": low, "max": high, "start": low, "end": high}
    return [
        {"label": f"{voltage:g} kV", "color": "FFFFFF", "window": window, "active": True}
        for voltage in stack["voltage"].values
    ]


def multiscale(name: str, levels: Sequence[xr.Dataset], paths: Sequence[str]) -> dict[str, Any]:
    """Return the description of one volume, whose levels lie at `paths`."""
    dims = [str(dim) for dim in levels[0][name].dims]
    axes = [
        {"name": dim, "type": "space", "unit": "nanometer"}
        if dim in AXES
        else {"name": dim, "type": "channel"}
        for dim in dims
    ]
    datasets = [
        {
            "path": path,
            "coordinateTransformations": [
                {"type": "scale", "scale": [_step(level, dim) for dim in dims]},
                {"type": "translation", "translation": [_start(level, dim) for dim in dims]},
            ],
        }
        for path, level in zip(paths, levels, strict=True)
    ]
    labels = is_label(name, levels[0][name])
    method = "mode of 2 x 2 x 2" if labels else "mean of 2 x 2 x 2"
    return {"name": name, "axes": axes, "datasets": datasets, "type": method}


def _step(level: xr.Dataset, dim: str) -> float:
    return known_spacing(level, dim) if dim in AXES else 1.0


def _start(level: xr.Dataset, dim: str) -> float:
    return float(level[dim].values[0]) if dim in AXES else 0.0
