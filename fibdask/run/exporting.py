"""Write results for other programs: phase as TIFF, statistics as CSV."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import xarray as xr

from ..conventions import (
    ConventionError,
    FibdaskError,
    RecipeError,
    StackReadError,
    axis_spacing,
    is_regular,
    known_planes,
)
from ..io import open_stack
from .folder.measuring import measure_phase
from .folder.results import final_stack, reopen
from .folder.run_folder import SUMMARY, RunFolder
from .walk import phase_of

DEFAULT_LAG = 128
"""Voxels up to which statistics of a stack are measured, where nothing else is said."""

_SLICES = 32  # planes held in memory at a time,
_HELD_BYTES = 2**28  # but no more than this
_LARGEST_TIFF = 2**32 - 2**25  # bytes: its offsets have 32 bits
_PAGE_BYTES = 1024  # of a page's header, at most


def find_phase(path: str | Path) -> xr.Dataset:
    """Open a store, or the last stage of a run's folder that holds a phase.

    Raises
    ------
    StackReadError
        If there is no phase, or the run has not finished.
    """
    path = Path(path)
    is_run = (path / SUMMARY).is_file()
    stack = final_stack(RunFolder(path)) if is_run else open_stack(path)
    if "phase" not in stack:
        msg = f"{path} holds no phase; segment it first"
        raise StackReadError(msg)
    return stack


def export_phase(path: str | Path, out: Path) -> Path:
    """Write the phase as a multipage TIFF (0 pore, 255 solid) with its spacing in nm.

    The spacing is told as ImageJ tells it; files above 4 GiB are BigTIFF, one page a plane.

    Raises
    ------
    RecipeError
        If the name is that of another format.
    ConventionError
        If planes hold no data, or lie unevenly: a TIFF can say neither.
    StackReadError
        If the phase cannot be read or the file not be written.
    """
    check_suffix(out, (".tif", ".tiff"))
    stack = find_phase(path)
    _check_planes(path, stack)
    temporary = out.with_name(out.name + ".partial")
    try:
        write_tiff(stack["phase"], temporary)
        temporary.replace(out)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, FibdaskError):
            raise
        msg = f"{out} cannot be written: {error.strerror or error}"
        raise StackReadError(msg) from error
    return out


def check_suffix(out: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse a file whose name promises another format than it gets.

    Raises
    ------
    RecipeError
        Naming the formats.
    """
    parts = [suffix.lower() for suffix in out.suffixes[-2:]]
    promised = "".join(parts) if parts[:1] == [".ome"] else "".join(parts[-1:])
    if promised and promised not in suffixes:
        msg = f"{out} cannot be written as {promised}; the format is {' or '.join(suffixes)}"
        raise RecipeError(msg)


def _check_planes(path: str | Path, stack: xr.Dataset) -> None:
    """Refuse planes that a TIFF would tell as something that they are not."""
    if not is_regular(stack):
        thickness = stack["slice_thickness"].values
        msg = (
            f"the phase of {path} lies at uneven depths, {thickness.min():.4g} to "
            f"{thickness.max():.4g} nm apart; a TIFF holds one spacing: reposition the slices first"
        )
        raise ConventionError(msg)
    gaps = ~known_planes(stack["phase"])
    if gaps.any():
        msg = (
            f"{gaps.sum()} of {gaps.size} planes of {path} hold no data, the first is plane "
            f"{int(gaps.argmax())}; a TIFF would show them as pore: inpaint the gaps first"
        )
        raise ConventionError(msg)


def write_tiff(phase: xr.DataArray, out: Path, *, largest: int = _LARGEST_TIFF) -> None:
    """Write a phase (z, y, x) on regular axes, as BigTIFF if it needs more than `largest` bytes."""
    big = phase.size + _PAGE_BYTES * phase.sizes["z"] > largest
    spacing = axis_spacing(phase, "z")
    told: dict[str, Any] = {"axes": "ZYX", "spacing": spacing, "unit": "nm"}
    if big:  # ImageJ's own files end at 4 GiB for all other readers
        slices = phase.sizes["z"]
        text = f"ImageJ=1.54f\nimages={slices}\nslices={slices}\nunit=nm\nspacing={spacing}\n"
    with tifffile.TiffWriter(out, imagej=not big, bigtiff=big) as writer:
        writer.write(
            _planes(phase),
            shape=phase.shape,
            dtype="uint8",
            photometric="minisblack",
            resolution=(1 / axis_spacing(phase, "x"), 1 / axis_spacing(phase, "y")),
            resolutionunit="none",  # that of the description
            description=text if big else None,
            metadata=None if big else told,
        )


def _planes(phase: xr.DataArray) -> Iterator[np.ndarray]:
    plane = phase.sizes["y"] * phase.sizes["x"]
    step = max(min(_SLICES, _HELD_BYTES // plane), 1)
    for start in range(0, phase.sizes["z"], step):
        for image in phase.isel(z=slice(start, start + step)).values:
            yield np.where(image == 1, np.uint8(255), np.uint8(0))


def measure_stack(path: str | Path, *, max_lag: int, **options: Any) -> xr.Dataset:
    """Compute the statistics of a stored phase; options as of `measure_phase`."""
    return measure_phase(phase_of(find_phase(path)), max_lag=max_lag, **options)


def counts_beside(out: Path) -> Path:
    """Return the folder in which counts are kept until they can be written to a table.

    Raises
    ------
    RecipeError
        If the name of the table is that of another format.
    StackReadError
        If there is no folder for it: better now than after the counting.
    """
    check_suffix(out, (".csv",))
    if not out.absolute().parent.is_dir():
        msg = f"{out} cannot be written: there is no folder {out.parent}"
        raise StackReadError(msg)
    return out.with_name(f".{out.name}.counts")


def stored_statistics(
    path: str | Path, *, max_lag: int | None, counts: Path | None = None
) -> xr.Dataset:
    """Return the statistics that a run has stored, or compute those of a stack.

    Parameters
    ----------
    max_lag
        In voxels. If another than that of the run, they are computed anew; by default that of
        the run, and 128 for a stack.
    counts
        As of `measure_phase`.
    """
    if (Path(path) / SUMMARY).is_file():
        results = reopen(RunFolder(Path(path)))[1]
        if results is not None and max_lag in (None, int(results["lag"].max())):
            return results
    return measure_stack(path, max_lag=max_lag or DEFAULT_LAG, counts=counts)


def write_statistics(results: xr.Dataset, out: Path) -> Path:
    """Write statistics as one long table.

    Its columns are quantity, bound, axis, statistic, lag in voxels, distance and z with their
    `length_unit`, and value with its `unit`; empty where a quantity has none. Rows of confidence
    intervals name their bound, lower or upper.

    Raises
    ------
    RecipeError
        If the name is that of another format.
    StackReadError
        If the file cannot be written.
    """
    check_suffix(out, (".csv",))
    frames = [_rows(str(name), array) for name, array in results.data_vars.items()]
    columns = ["quantity", "bound", "axis", "statistic", "lag", "distance", "z"]
    columns += ["length_unit", "value", "unit"]
    table = pd.concat([frame.reindex(columns=columns).astype(object) for frame in frames])
    try:
        table.to_csv(out, index=False)
    except OSError as error:
        msg = f"{out} cannot be written: {error.strerror or error}"
        raise StackReadError(msg) from error
    return out


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
