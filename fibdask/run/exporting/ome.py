"""OME-TIFF and OME-Zarr for other programs: voltages as channels, lengths in nm."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import xarray as xr
import zarr

from ...blocks import (
    BLOCK_BYTES,
    NO_MONITOR,
    Monitor,
    Region,
    Target,
    default_block,
    inner_chunks,
    storage_grid,
)
from ...conventions import is_label
from ...io.pyramid import Halve, coarsen, multiscale, needs_level
from ..folder.progress import watched
from .volumes import (
    LARGEST_TIFF,
    plain_values,
    planes,
    tiff_bytes,
    voxel_size,
)

_NAMES = {"voltage": "c"}  # of axes, as OME calls them


def write_ome_tiff(
    volume: xr.DataArray, out: Path, monitor: Monitor = NO_MONITOR, *, largest: int = LARGEST_TIFF
) -> None:
    """Write a volume (z, y, x) or (voltage, z, y, x), as BigTIFF above `largest` bytes.

    Solid is 255.

    References
    ----------
    I. G. Goldberg et al., "The Open Microscopy Environment (OME) Data Model and XML file: open
    tools for informatics and quantitative analysis in biological imaging", Genome Biol. 6, R47
    (2005).
    """
    z, y, x = voxel_size(volume)
    told: dict[str, Any] = {"axes": "CZYX"[-volume.ndim :], "Name": str(volume.name)}
    for axis, size in (("X", x), ("Y", y), ("Z", z)):
        told |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "nm"}
    told["Channel"] = {"Name": _channels(volume)}
    with tifffile.TiffWriter(out, ome=True, bigtiff=tiff_bytes(volume) > largest) as writer:
        writer.write(
            planes(volume, monitor, solid=255),
            shape=volume.shape,
            dtype=volume.dtype,
            photometric="minisblack",
            metadata=told,
        )


def write_ome_zarr(volume: xr.DataArray, out: Path, monitor: Monitor = NO_MONITOR) -> None:
    """Write a folder of OME-Zarr 0.5 with one image (z, y, x) or (voltage, z, y, x), and levels.

    Levels are made of one another as those of stores are: means of images, modes of phases.

    References
    ----------
    J. Moore et al., "OME-Zarr: a cloud-optimized bioimaging file format with international
    community support", Histochem. Cell Biol. 160, 223-251 (2023).
    """
    voxel_size(volume)
    levels = [volume.to_dataset(name=volume.name)]
    while needs_level(levels[-1]):
        levels.append(coarsen(levels[-1]))  # lazily: of these, coordinates are all that is needed
    labels = is_label(str(volume.name), volume)
    array: zarr.Array[Any] | None = None
    zarr.create_group(out)
    for number, level in enumerate(levels):
        array = _write_level(level[volume.name], array, labels, out / str(number), monitor)
    ome = multiscale(str(volume.name), levels, [str(number) for number in range(len(levels))])
    for axis in ome["axes"]:
        axis["name"] = _NAMES.get(axis["name"], axis["name"])
    attrs: dict[str, Any] = {"version": "0.5", "multiscales": [ome], "omero": _shown(volume, array)}
    zarr.open_group(out, mode="r+").attrs["ome"] = attrs


def _write_level(
    level: xr.DataArray, finer: zarr.Array[Any] | None, labels: bool, path: Path, monitor: Monitor
) -> zarr.Array[Any]:
    """Write one level, shard after shard, of its values or of the finer one that is written."""
    # The eightfold finer block is read at once, so that one is of the usual size.
    most = BLOCK_BYTES if finer is None else BLOCK_BYTES // 8
    grid = storage_grid(level.shape, default_block(level.shape, level.dtype.itemsize, most))
    dims = tuple(_NAMES.get(str(dim), str(dim)) for dim in level.dims)
    inner = inner_chunks(grid.block, flat=False)
    target = Target(path, grid, inner, level.dtype.name, dims, {})
    path.mkdir()
    (path / "zarr.json").write_bytes(target.metadata())
    array = zarr.open_array(path, mode="r+")
    name = f"level {path.name}" if finer is not None else str(level.name)
    regions = map(grid.region, grid.indices())
    for region in watched(regions, grid.size, name, monitor):
        if finer is None:
            array[region] = plain_values(level, level[region].values)
        else:
            array[region] = _halved(finer, region, labels)
    return array


def _halved(finer: zarr.Array[Any], region: Region, labels: bool) -> np.ndarray:
    halve = Halve(finer.shape, labels)
    (fine,) = halve.needs(region)
    return halve.compute(region, np.asarray(finer[fine]))


def _channels(volume: xr.DataArray) -> list[str]:
    """Return a name for each channel: the voltage, or what the volume is."""
    if "voltage" not in volume.coords:
        return [str(volume.name)]
    return [f"{voltage:g} kV" for voltage in np.ravel(volume["voltage"].values)]


def _shown(volume: xr.DataArray, coarsest: zarr.Array[Any] | None) -> dict[str, Any]:
    """Return how viewers show the channels: between the extremes of the coarsest level."""
    names = _channels(volume)
    values = np.asarray(coarsest).reshape(len(names), -1)
    limits = np.iinfo(volume.dtype) if volume.dtype.kind == "u" else None
    found = []
    for name, grey in zip(names, values, strict=True):
        start, end = (float(bound(grey)) for bound in (np.nanmin, np.nanmax))
        low, high = (limits.min, limits.max) if limits else (start, end)
        window = {"min": low, "max": high, "start": start, "end": end}
        found.append({"label": name, "color": "FFFFFF", "window": window, "active": True})
    return {"channels": found}
