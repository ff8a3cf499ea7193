"""The public function: gaps in a regular stack are filled from its measured planes."""

import numpy as np
import xarray as xr

from .. import blocks
from ..conventions import (
    PHASES,
    ConventionError,
    axis_spacing,
    check_choice,
    finish_stack,
    is_label,
    mark_inpainted,
    record_step,
    require,
    value_range,
    volume_names,
)
from ..pieces.volumes import volumes_fingerprint, with_volumes
from ._functions import DistancePhase, NearestPlane, SplineIntensity, SplinePhase
from .planes import MeasuredPlanes

METHODS = ("distance", "nearest", "spline")


def inpaint_gaps(stack: xr.Dataset, *, method: str = "distance") -> xr.Dataset:
    """Fill the planes that are not measured from those that are.

    Lazy. Measured planes keep every value; `measured` goes on telling which they are, and
    `inpainted` which are filled, in the volumes that its attribute names: those statistics count.
    Gaps before the first and after the last measured plane are copies of it.

    Parameters
    ----------
    stack
        Stack on regular `z` with `measured` (z), as `reposition_slices` makes it.
    method
        `distance`: `phase` (z, y, x) is solid where the signed distance to the interface (y, x),
        interpolated along z, is positive; other variables keep their gaps.
        `nearest`: every variable is copied from the nearest measured plane, of two equally near
        the one of smaller z.
        `spline`: every variable is interpolated along z; phases are solid above one half, then
        enclosed pores of fewer than 20 pixels (y, x) become solid in filled planes; other labels
        are copied from the nearest measured plane.

    Returns
    -------
    xarray.Dataset
        The stack without gaps in the variables that the method fills.

    Raises
    ------
    ConventionError
        If z is not evenly spaced, nothing is marked as measured, or the method cannot fill the
        variables of the stack.

    Notes
    -----
    `distance` and `spline` interpolate by the natural cubic spline through the four measured
    planes on either side of the gap. Exact ties go to the plane below.

    Distances are taken between pixel centres, less half a pixel, capped at 64 pixels, and
    smoothed along y and x over 8 pixels on either side, by weights that neither shrink what is
    curved nor change the phase of a pixel: that takes out the steps of the pixel grid. They are
    capped at the gap's length before they are interpolated, so that what is far off in one plane
    does not outweigh an interface in another. The use of distance maps for interpolation is due
    to Raya and Udupa, IEEE Transactions on Medical Imaging 9 (1990) 32-42.
    """
    stack = require(stack)
    spacing = axis_spacing(stack, "z")
    _check_method(method, stack)
    measured = _measured_planes(stack)
    names = ["phase"] if method == "distance" else volume_names(stack)
    functions = {name: _filling(name, stack[name], method, measured, spacing) for name in names}
    filled = finish_stack(mark_inpainted(with_volumes(stack, functions, stack), names))
    token = volumes_fingerprint(stack, names)
    return record_step(filled, "inpaint_gaps", {"method": method}, token)


def gap_distance(stack: xr.Dataset) -> xr.DataArray:
    """Return how far each plane is from the nearest measured one.

    What was filled in is the less certain the farther it is from a measurement.

    Parameters
    ----------
    stack
        Stack with `measured` (z), as `reposition_slices` makes it, before or after inpainting.

    Returns
    -------
    xarray.DataArray
        `gap_distance` (z) in nm; 0 on measured planes.

    Raises
    ------
    ConventionError
        If nothing is marked as measured.
    """
    stack = require(stack)
    z = stack["z"].values
    measured = z[_measured_planes(stack).numbers]
    above = np.searchsorted(measured, z).clip(max=len(measured) - 1)
    below = (above - 1).clip(min=0)
    distance = np.minimum(np.abs(measured[above] - z), np.abs(z - measured[below]))
    attrs = {"units": "nm", "long_name": "distance to the nearest measured plane"}
    coords = {"z": stack["z"].variable}
    return xr.DataArray(distance, coords, ("z",), "gap_distance", attrs)


def _filling(
    name: str, volume: xr.DataArray, method: str, measured: MeasuredPlanes, spacing: float
) -> blocks.BlockFunction:
    other_labels = is_label(name, volume) and name not in PHASES
    if method == "nearest" or other_labels:
        return NearestPlane(measured)
    if method == "distance":
        return DistancePhase(measured, volume.shape, spacing, _pixel_size(volume, spacing))
    if name in PHASES:
        return SplinePhase(measured, volume.shape)
    return SplineIntensity(measured, *value_range(name, volume.dtype))


def _pixel_size(volume: xr.DataArray, spacing: float) -> tuple[float, float]:
    """Return the pixel size along y and x in nm; an unknown one cannot matter, any will do."""
    y, x = (axis_spacing(volume, axis) for axis in ("y", "x"))
    known = [size for size in (y, x, spacing) if np.isfinite(size)]
    return (y if np.isfinite(y) else known[0], x if np.isfinite(x) else known[0])


def _check_method(method: str, stack: xr.Dataset) -> None:
    check_choice("method", method, METHODS)
    if method == "distance":
        require(stack, "phase")


def _measured_planes(stack: xr.Dataset) -> MeasuredPlanes:
    if "measured" not in stack.coords:
        msg = "inpainting needs the coordinate measured (z); reposition the slices first"
        raise ConventionError(msg)
    numbers = np.flatnonzero(stack["measured"].values)
    if not len(numbers):
        msg = f"inpainting needs a measured plane; none of {stack.sizes['z']} is marked as measured"
        raise ConventionError(msg)
    return MeasuredPlanes(numbers)
