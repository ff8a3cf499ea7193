"""Results compared with the truth, where it is known."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ..conventions import (
    AXES,
    covered_region,
    measured_slices,
    recorded_steps,
    without_inpainted,
)
from ..statistics import segmentation_errors
from ..statistics.summary import size_statistics

_SAME_PLACE = 1e-6  # nm


def accuracy(
    stacks: Sequence[xr.Dataset], structure: xr.Dataset | None = None
) -> dict[str, xr.DataArray]:
    """Compare with the truth what is known of it.

    The first segmentation that has a truth, on the slices themselves; of a simulated structure
    also the sizes (`true_…`), and the last volume where it lies on the same voxels (`volume_…`);
    where planes lie between the slices, these and the others apart (`…_on_slices`, `…_between`).
    """
    found: dict[str, xr.DataArray] = {}
    for stack in stacks:
        if "phase" in stack and "true_phase" in stack:
            part = without_inpainted(stack.isel(covered_region(stack)))
            found = _named("", segmentation_errors(part["phase"], part["true_phase"]))
            break
    if structure is None:
        return found
    truth = structure["phase"]
    found |= _named("true_", size_statistics(truth))
    whole = _same_voxels(truth, stacks[-1])
    if whole is not None:
        phase = stacks[-1]["phase"]
        found |= _named("volume_", segmentation_errors(phase, whole)) | _by_planes(phase, whole)
    return found


def _by_planes(phase: xr.DataArray, truth: xr.DataArray) -> dict[str, xr.DataArray]:
    """Return the misplaced voxels of the planes that hold a slice, and of those between."""
    measured = measured_slices(phase)
    if measured.all() or not measured.any():
        return {}
    parts = {"on_slices": measured, "between": ~measured}
    return {
        f"volume_misplaced_{name}": segmentation_errors(
            phase, truth, mask=xr.DataArray(planes, dims="z")
        )["misplaced"]
        for name, planes in parts.items()
    }


def _named(prefix: str, results: xr.Dataset) -> dict[str, xr.DataArray]:
    return {f"{prefix}{name}": results[name] for name in results.data_vars}


def _same_voxels(truth: xr.DataArray, stack: xr.Dataset) -> xr.DataArray | None:
    """Return the part of a truth on whose voxels a stack lies; None if it does not.

    Slices that were brought into line lie elsewhere: their drift as a whole is not known.
    """
    if any(record["step"] == "apply_shifts" for record in recorded_steps(stack)):
        return None
    first = int(np.argmin(np.abs(truth["z"].values - stack["z"].values[0])))
    part = truth.isel(z=slice(first, first + stack.sizes["z"]))
    for axis in AXES:
        there, here = part[axis].values, stack[axis].values
        if there.shape != here.shape or not np.allclose(there, here, rtol=0, atol=_SAME_PLACE):
            return None
    return part
