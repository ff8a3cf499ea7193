"""Phases, images and surfaces as files of other programs."""

import warnings
from pathlib import Path

import numpy as np
import xarray as xr

from ...blocks import NO_MONITOR, Monitor
from ...conventions import (
    PHASES,
    ConventionError,
    FibdaskWarning,
    StackReadError,
    is_regular,
    known_planes,
    measured_slices,
    voltage_index,
)
from ...statistics.masks import filled_shares
from ..folder.results import reopen
from ..folder.run_folder import SUMMARY, RunFolder
from .files import check_suffix, promised, write_whole
from .ome import write_ome_tiff, write_ome_zarr
from .stored import find_phase, find_stack
from .surfaces import SURFACES, write_stl
from .volumes import (
    Writer,
    write_mrc,
    write_nifti,
    write_npy,
    write_nrrd,
    write_tiff,
    write_vti,
)

CHANNELS: dict[str, Writer] = {
    ".ome.tif": write_ome_tiff,
    ".ome.tiff": write_ome_tiff,
    ".ome.zarr": write_ome_zarr,
    ".zarr": write_ome_zarr,
}
"""Writers of volumes that may have several voltages, by the suffix of a file."""

WRITERS: dict[str, Writer] = {
    ".tif": write_tiff,
    ".tiff": write_tiff,
    ".mrc": write_mrc,
    ".nrrd": write_nrrd,
    ".nii": write_nifti,
    ".vti": write_vti,
    ".npy": write_npy,
} | CHANNELS
"""Writers of volumes, by the suffix of a file."""


def export_phase(path: str | Path, out: Path, *, monitor: Monitor = NO_MONITOR) -> Path:
    """Write the phase as a file of voxels, in the format that its suffix tells.

    Solid is 255 in a TIFF, 1 in other formats; pore is 0. OME-Zarr is a folder, which must be new.

    Parameters
    ----------
    monitor
        Is told the progress.

    Raises
    ------
    RecipeError
        If the name is that of another format.
    ConventionError
        If planes hold no data, or lie unevenly: no format can say either.
    StackReadError
        If the phase cannot be read or the file not be written.
    """
    check_suffix(out, tuple(WRITERS))
    return _export_volume(path, find_phase(path)["phase"], out, monitor)


def export_images(
    path: str | Path, out: Path, *, voltage: float | None = None, monitor: Monitor = NO_MONITOR
) -> Path:
    """Write images as a file of voxels, in the format that its suffix tells.

    Parameters
    ----------
    voltage
        In kV; needed where there are several, but for OME-TIFF and OME-Zarr, whose channels are
        all voltages where none is told.
    monitor
        Is told the progress.

    Raises
    ------
    RecipeError
        If the name is that of another format.
    ConventionError
        If there is no such voltage; and as `export_phase`.
    StackReadError
        If the images cannot be read or the file not be written.
    """
    check_suffix(out, tuple(WRITERS))
    stack = find_stack(path)
    if "intensity" not in stack:
        msg = f"{path} holds no images{_earlier_images(path)}"
        raise StackReadError(msg)
    images, channels = stack["intensity"], promised(out) in CHANNELS
    if voltage is None and stack.sizes["voltage"] > 1 and not channels:
        known = ", ".join(f"{kv:g}" for kv in stack["voltage"].values)
        msg = (
            f"{path} holds images at {known} kV, a file those of one: give --voltage, or write "
            f"{' or '.join(CHANNELS)}"
        )
        raise ConventionError(msg)
    if voltage is not None or not channels:
        place = voltage_index(stack, voltage)
        images = images.isel(voltage=[place] if channels else place)
    return _export_volume(path, images, out, monitor)


def _earlier_images(path: str | Path) -> str:
    """Say which stores of a run hold images, where its last one does not."""
    folder = RunFolder(Path(path))
    stacks = reopen(folder)[0] if (folder.path / SUMMARY).is_file() else {}
    stores = [str(folder.store(name)) for name, stack in stacks.items() if "intensity" in stack]
    if not stores:
        return ""
    return (
        f" of its last stage; {', '.join(stores)} does: give that, or have them kept to the end, "
        '[output] variables = ["phase", "intensity"]'
    )


def export_surface(path: str | Path, out: Path, *, monitor: Monitor = NO_MONITOR) -> Path:
    """Write the surface between solid and pore as triangles, as STL or PLY; see `triangles`.

    Parameters
    ----------
    monitor
        Is told the progress.

    Raises
    ------
    RecipeError
        If the name is that of another format.
    ConventionError
        As `export_phase`.
    StackReadError
        If the phase cannot be read, scikit-image is not there, or the file cannot be written.
    """
    check_suffix(out, tuple(SURFACES))
    phase = find_phase(path)["phase"]
    _check_planes(path, phase)
    writer = SURFACES.get(promised(out), write_stl)
    return write_whole(out, lambda temporary: writer(phase, temporary, monitor))


def _export_volume(path: str | Path, volume: xr.DataArray, out: Path, monitor: Monitor) -> Path:
    _check_planes(path, volume)
    writer = WRITERS.get(promised(out), write_tiff)
    return write_whole(out, lambda temporary: writer(volume, temporary, monitor))


def _check_planes(path: str | Path, volume: xr.DataArray) -> None:
    """Refuse planes that a file of voxels would tell as something that they are not."""
    if not is_regular(volume):
        thickness = volume["slice_thickness"].values
        msg = (
            f"the {volume.name} of {path} lies at uneven depths, {thickness.min():.4g} to "
            f"{thickness.max():.4g} nm apart; a file of voxels holds one spacing: reposition the "
            "slices first"
        )
        raise ConventionError(msg)
    gaps = ~known_planes(volume)
    if gaps.any():
        shown = "pore" if volume.name in PHASES else "black"
        msg = (
            f"{gaps.sum()} of {gaps.size} planes of {path} hold no data, the first is plane "
            f"{int(gaps.argmax())}; a file would show them as {shown}: inpaint the gaps first"
        )
        raise ConventionError(msg)
    share = np.where(measured_slices(volume), filled_shares(volume), 0)
    if share.max() > 0:
        text = (
            f"{np.count_nonzero(share > 0)} of {share.size} planes of {path} hold pixels that "
            f"alignment filled, plane {share.argmax()} {share.max():.1%}; a file cannot tell them "
            "from what was imaged: align with outside='crop'"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=4)
