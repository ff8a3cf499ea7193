"""Write results for other programs: files of voxels, and statistics as CSV."""

import contextlib
import shutil
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..blocks import Monitor, locked
from ..conventions import (
    PHASES,
    ConventionError,
    FibdaskError,
    FibdaskWarning,
    RecipeError,
    StackReadError,
    array_names,
    is_regular,
    known_planes,
    measured_slices,
    voltage_index,
)
from ..io import open_stack
from ..statistics.masks import filled_shares
from .exporting_ome import write_ome_tiff, write_ome_zarr
from .exporting_surfaces import SURFACES, write_stl
from .exporting_volumes import (
    SILENT,
    Writer,
    write_mrc,
    write_nifti,
    write_npy,
    write_nrrd,
    write_tiff,
    write_vti,
)
from .folder.measuring import measure_phase
from .folder.ownership import earlier_run
from .folder.results import final_stack, reopen
from .folder.run_folder import SUMMARY, RunFolder
from .folder.summary import phase_warnings_of
from .walk import phase_of

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

TABLES = (".csv", ".parquet")
_NUMBERS = ("lag", "distance", "z", "value")  # columns of tables

DEFAULT_LAG = 128
"""Voxels up to which statistics of a stack are measured, where nothing else is said."""


def find_phase(path: str | Path) -> xr.Dataset:
    """Open a store, or the last stage of a run's folder that holds a phase.

    Raises
    ------
    StackReadError
        If there is no phase, or the run has not finished.
    """
    stack = _find_stack(path)
    if "phase" not in stack:
        msg = f"{path} holds no phase{_earlier_phases(Path(path)) or _instead(stack)}"
        raise StackReadError(msg)
    return stack


def _instead(stack: xr.Dataset) -> str:
    """Say what makes a phase of images, or writes what is there instead."""
    names = [name for name in array_names(stack) if name != "intensity"]
    if not names or ("intensity" in stack and "label" not in stack):
        return "; segment it first"
    name = "label" if "label" in names else names[0]
    return (
        f", but {', '.join(names)}: Python writes them, such as "
        f'tifffile.imwrite("{name}.tif", stack["{name}"].values)'
    )


def _earlier_phases(path: Path) -> str:
    """Tell of the stores with a phase that an earlier run has left in the folder of another."""
    folder = RunFolder(path)
    if not (path / SUMMARY).is_file() or (earlier := earlier_run(folder)) is None:
        return ""
    made = folder.read()["stores"]
    places = [folder.store(name) for name in earlier.stores if name not in made]
    found = " and ".join(str(place) for place in places if (place / "phase").is_dir())
    return f"; of an earlier run there is {found}: give that" if found else ""


def _find_stack(path: str | Path) -> xr.Dataset:
    """Open a store, or the stack after the last stage in a run's folder."""
    folder = Path(path)
    is_run = (folder / SUMMARY).is_file()
    return final_stack(RunFolder(folder)) if is_run else open_stack(path)


def export_phase(path: str | Path, out: Path, *, monitor: Monitor = SILENT) -> Path:
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
    path: str | Path, out: Path, *, voltage: float | None = None, monitor: Monitor = SILENT
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
    stack = _find_stack(path)
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


def export_surface(path: str | Path, out: Path, *, monitor: Monitor = SILENT) -> Path:
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
    return _write_whole(out, lambda temporary: writer(phase, temporary, monitor))


def _export_volume(path: str | Path, volume: xr.DataArray, out: Path, monitor: Monitor) -> Path:
    _check_planes(path, volume)
    writer = WRITERS.get(promised(out), write_tiff)
    return _write_whole(out, lambda temporary: writer(volume, temporary, monitor))


def _write_whole(out: Path, write: Callable[[Path], None]) -> Path:
    """Write a file, or a folder, beside its place, and put it there once it is whole.

    Raises
    ------
    StackReadError
        If it cannot be written, another process writes it, or there is a folder, whose content
        would be lost, or a device.
    """
    if out.exists() and not out.is_file():
        found = (
            "there is a folder of this name; remove it first" if out.is_dir() else "it is no file"
        )
        msg = f"{out} cannot be written: {found}"
        raise StackReadError(msg)
    temporary = out.with_name(out.name + ".partial")
    with locked(out.with_name(f".{out.name}.lock"), what=out, passing=True):
        _remove(temporary)
        try:
            write(temporary)
            temporary.replace(out)
        except OSError as error:
            if isinstance(error, FibdaskError):
                raise
            msg = f"{out} cannot be written: {error.strerror or error}"
            raise StackReadError(msg) from error
        finally:
            _remove(temporary)
    return out


def _remove(temporary: Path) -> None:
    """Remove what an export has left that did not end."""
    with contextlib.suppress(OSError):
        shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


def check_suffix(out: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse a file whose name promises another format than it gets.

    Raises
    ------
    RecipeError
        Naming the formats.
    """
    suffix = promised(out)
    if suffix and suffix not in suffixes:
        msg = f"{out} cannot be written as {suffix}; the format is {' or '.join(suffixes)}"
        raise RecipeError(msg)


def promised(out: Path) -> str:
    """Return the suffix of a file, which tells its format: .ome.tif is one."""
    parts = [suffix.lower() for suffix in out.suffixes[-2:]]
    return "".join(parts) if parts[:1] == [".ome"] else "".join(parts[-1:])


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


def measure_stack(path: str | Path, *, max_lag: int, **options: Any) -> xr.Dataset:
    """Compute the statistics of a stored phase; options as of `measure_phase`."""
    results = measure_phase(phase_of(find_phase(path)), max_lag=max_lag, **options)
    if (Path(path) / SUMMARY).is_file():
        told = phase_warnings_of(RunFolder(Path(path)).read())
        results.attrs["warnings"] = [*results.attrs["warnings"], *told]
    return results


def counts_beside(out: Path) -> Path:
    """Return the folder in which counts are kept until they can be written to a table.

    Raises
    ------
    RecipeError
        If the name of the table is that of another format.
    StackReadError
        If there is no folder for it, or no pyarrow for Parquet: better now than after counting.
    """
    check_suffix(out, TABLES)
    _check_package(out)
    if not out.absolute().parent.is_dir():
        msg = f"{out} cannot be written: there is no folder {out.parent}"
        raise StackReadError(msg)
    return out.with_name(f".{out.name}.counts")


def stored_statistics(path: str | Path, *, max_lag: int | None, **options: Any) -> xr.Dataset:
    """Return the statistics that a run has stored, or compute those of a stack.

    Parameters
    ----------
    max_lag
        In voxels. If another than that of the run, they are computed anew; by default that of
        the run, and 128 for a stack.
    options
        As of `measure_phase`.
    """
    if (Path(path) / SUMMARY).is_file():
        results = reopen(RunFolder(Path(path)))[1]
        if results is not None and max_lag in (None, int(results["lag"].max())):
            return results
    lag = DEFAULT_LAG if max_lag is None else max_lag
    return measure_stack(path, max_lag=lag, **options)


def write_statistics(results: xr.Dataset, out: Path) -> Path:
    """Write statistics as one long table, CSV or, where pyarrow is there, Parquet.

    Its columns are quantity, bound, axis, statistic, lag in voxels, distance and z with their
    `length_unit`, and value with its `unit`; empty where a quantity has none. Rows of confidence
    intervals name their bound, lower or upper.

    Raises
    ------
    RecipeError
        If the name is that of another format.
    StackReadError
        If the file cannot be written, or pyarrow is not there.
    """
    check_suffix(out, TABLES)
    _check_package(out)
    # By name: a store lists what it holds in any order.
    names = sorted(map(str, results.data_vars))
    frames = [_rows(name, results[name]) for name in names]
    columns = ["quantity", "bound", "axis", "statistic", "lag", "distance", "z"]
    columns += ["length_unit", "value", "unit"]
    table = pd.concat([frame.reindex(columns=columns).astype(object) for frame in frames])
    if promised(out) == ".parquet":
        # text, and numbers: Parquet has one type for a column
        table = table.astype(dict.fromkeys(_NUMBERS, "float64"))
        return _write_whole(out, lambda temporary: table.to_parquet(temporary, index=False))
    return _write_whole(out, lambda temporary: table.to_csv(temporary, index=False))


def _check_package(out: Path) -> None:
    """Refuse to write Parquet where the package is absent that does."""
    if promised(out) == ".parquet" and find_spec("pyarrow") is None:
        msg = f"{out} needs the package pyarrow: pip install pyarrow, or write .csv"
        raise StackReadError(msg)


def _rows(name: str, array: xr.DataArray) -> pd.DataFrame:
    """Return a row for each value of a quantity."""
    if array.dims:
        frame = array.rename("value").to_dataframe().reset_index()
    else:
        frame = pd.DataFrame({"value": [float(array)]})
    keys = ("distance", "z", "depth")
    lengths = [array.coords[key].attrs.get("units") for key in keys if key in frame]
    frame = frame.rename(columns={"depth": "z"})
    frame.insert(0, "quantity", name)
    return frame.assign(
        length_unit=next(iter(lengths), None),
        unit=array.attrs.get("units"),
    )
