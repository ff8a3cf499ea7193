"""Write results for other programs: phase as TIFF, statistics as CSV."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import xarray as xr

from ..conventions import FibdaskError, StackReadError, axis_spacing
from ..io import open_stack
from .folder import SUMMARY, RunFolder
from .measuring import measure_phase
from .results import final_stack, reopen
from .stages import phase_of

_SLICES = 32  # planes held in memory at a time


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
    """Write the phase as a multipage TIFF (0 pore, 255 solid) with spacing in nm for ImageJ."""
    stack = find_phase(path)
    phase = stack["phase"]
    pixel_y, pixel_x = axis_spacing(stack, "y"), axis_spacing(stack, "x")
    spacing = float(stack["slice_thickness"].values.mean())
    temporary = out.with_name(out.name + ".partial")
    try:
        with tifffile.TiffWriter(temporary, imagej=True) as writer:
            writer.write(
                _planes(phase),
                shape=phase.shape,
                dtype="uint8",
                resolution=(1 / pixel_x, 1 / pixel_y),
                metadata={"axes": "ZYX", "spacing": spacing, "unit": "nm"},
            )
        temporary.replace(out)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, FibdaskError):
            raise
        msg = f"{out} cannot be written: {error.strerror or error}"
        raise StackReadError(msg) from error
    return out


def _planes(phase: xr.DataArray):  # type: ignore[no-untyped-def]
    for start in range(0, phase.sizes["z"], _SLICES):
        block = phase.isel(z=slice(start, start + _SLICES)).values
        yield from np.where(block == 1, np.uint8(255), np.uint8(0))


def measure_stack(path: str | Path, *, max_lag: int, **options: Any) -> xr.Dataset:
    """Compute the statistics of a stored phase; options as of `measure_phase`."""
    return measure_phase(phase_of(find_phase(path)), max_lag=max_lag, **options)


def stored_statistics(path: str | Path, *, max_lag: int) -> xr.Dataset:
    """Return the statistics that a run has stored, or compute those of a stack."""
    if (Path(path) / SUMMARY).is_file():
        results = reopen(RunFolder(Path(path)))[1]
        if results is not None:
            return results
    return measure_stack(path, max_lag=max_lag)


def write_statistics(results: xr.Dataset, out: Path) -> Path:
    """Write statistics as one long table: quantity, bound, axis, lag, distance in nm, value.

    Rows of confidence intervals name their bound, lower or upper.
    """
    frames = []
    for name, array in results.data_vars.items():
        if array.dims:
            frame = array.rename("value").to_dataframe().reset_index()
        else:
            frame = pd.DataFrame({"value": [float(array)]})
        frame.insert(0, "quantity", str(name))
        frames.append(frame)
    columns = ["quantity", "bound", "axis", "statistic", "lag", "distance", "z", "value"]
    table = pd.concat([frame.reindex(columns=columns).astype(object) for frame in frames])
    try:
        table.to_csv(out, index=False)
    except OSError as error:
        msg = f"{out} cannot be written: {error.strerror or error}"
        raise StackReadError(msg) from error
    return out
