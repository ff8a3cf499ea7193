"""The public function: gaps in a regular stack are filled from its measured planes."""

from typing import Any

import numpy as np
import xarray as xr

from .. import blocks
from ..conventions import (
    AXES,
    PHASES,
    ConventionError,
    axis_spacing,
    check_belongs,
    check_choice,
    finish_stack,
    is_label,
    is_truth,
    mark_inpainted,
    record_step,
    require,
    value_range,
    volume_names,
)
from ..pieces.looks import ToldDoubts, card_of_doubts, looked_at
from ..pieces.models import (
    AUTO,
    OF_NETWORK,
    Model,
    find_phase_model,
    model_record,
    warn_of_gaps,
)
from ..pieces.volumes import volumes_fingerprint, with_volumes
from ..pieces.windows import PIXEL, PlacedPlanes, window_predictions
from ._functions import (
    DistancePhase,
    GapProbability,
    LikelyGaps,
    NearestPlane,
    SplineIntensity,
    SplinePhase,
)
from .planes import MeasuredPlanes

METHODS = ("distance", "nearest", "network", "spline")


def inpaint_gaps(
    stack: xr.Dataset, *, method: str = "distance", model: str = AUTO, device: str = AUTO
) -> xr.Dataset:
    """Fill planes that are not measured from those that are.

    Lazy. Measured planes keep every value, and `measured` still marks them. `inpainted` marks the
    filled planes, in the volumes whose attribute `filled_where` says so: statistics count these.
    Gaps before the first and after the last measured plane are copies of that plane.

    Parameters
    ----------
    stack
        Stack on regular `z` with `measured` (z), as returned by `reposition_slices`.
    method
        `distance`: `phase` (z, y, x) is solid where the signed distance to the interface (y, x),
        interpolated along z, is positive; other variables keep their gaps.
        `nearest`: every variable but the truth (`true_…`) is copied from the nearest measured
        plane; of two equally near, from that of smaller z.
        `spline`: every variable but the truth is interpolated along z; phases are solid above one
        half, then enclosed pores of fewer than 20 pixels (y, x) become solid in filled planes;
        other labels are copied from the nearest measured plane.
        `network`: a trained network predicts `phase` from the phases and distances of the
        measured planes around the gap; other variables keep their gaps.
    model
        For `network` only: name or folder of a model trained on measured planes as far from each
        other, in pixels; `auto` is the best that ships.
    device
        For `network` only: where it predicts, `gpu`, `cpu`, or `auto`, a GPU if this process has
        one. Results of the two differ in the last bits, and so do their fingerprints.

    Returns
    -------
    xarray.Dataset
        The stack without gaps in the variables that the method fills.

    Raises
    ------
    ConventionError
        If z is not evenly spaced, nothing is marked as measured, or the method cannot fill the
        variables of the stack.

    Warns
    -----
    FibdaskWarning
        If a gap is longer than those that the network was trained on; when computed, if the network
        expects more wrong voxels than it had when it was judged, or finds half or double the solid
        fraction that it knows.

    Notes
    -----
    `distance` and `spline` interpolate by the natural cubic spline through the four measured planes
    on either side of the gap. Exact ties go to the plane below.

    Distances are taken between pixel centres, less half a pixel, and capped at 64 pixels. They are
    smoothed along y and x over 8 pixels on either side, to remove the steps of the pixel grid, by
    weights that neither shrink curved interfaces nor change the phase of a pixel. Before
    interpolation they are capped at the gap's length, so that distant structure in one plane does
    not outweigh an interface in another. The use of distance maps for interpolation is due to Raya
    and Udupa, IEEE Transactions on Medical Imaging 9 (1990) 32-42.
    """
    stack = require(stack)
    spacing = axis_spacing(stack, "z")
    check_choice("method", method, METHODS)
    check_belongs(method, {"model": model, "device": device}, OF_NETWORK)
    if method in ("distance", "network"):
        require(stack, "phase")
    measured = _measured_planes(stack)
    parameters: dict[str, Any] = {"method": method}
    if method == "network":
        found = find_phase_model(model, _thickness_in_pixels(stack, measured), device)
        parameters |= model_record(found)
        names = ["phase"]
        phase = _by_network(stack, measured, found)
        filled = stack.assign(phase=(AXES, phase, stack["phase"].attrs))
    else:
        names = ["phase"] if method == "distance" else _imaged_names(stack)
        functions = {name: _filling(name, stack[name], method, measured, spacing) for name in names}
        filled = with_volumes(stack, functions, stack)
    filled = finish_stack(mark_inpainted(filled, names))
    token = volumes_fingerprint(stack, names)
    return record_step(filled, "inpaint_gaps", parameters, token)


def gap_distance(stack: xr.Dataset) -> xr.DataArray:
    """Return the distance of each plane to the nearest measured one.

    The larger it is, the less certain are the values filled in.

    Parameters
    ----------
    stack
        Stack with `measured` (z), as from `reposition_slices`, before or after inpainting.

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


def _imaged_names(stack: xr.Dataset) -> list[str]:
    """Return what is filled of a stack: not the truth, which would be made up."""
    return [name for name in volume_names(stack) if not is_truth(name)]


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


def _by_network(stack: xr.Dataset, measured: MeasuredPlanes, model: Model) -> Any:
    """Return lazily the phase whose gaps a network has filled, which counts distances in pixels."""
    planes = np.arange(stack.sizes["z"]) * _planes_in_pixels(stack) * PIXEL
    known = np.zeros(stack.sizes["z"], bool)
    known[measured.numbers] = True
    copied = [n for n in range(len(planes)) if not measured.within(n)]
    gaps = PlacedPlanes.between(planes, known, planes).without(np.array(copied))
    warn_of_gaps(gaps, model, PIXEL, "pixels")
    phase, (n_z, n_y, n_x) = stack["phase"].data, stack["phase"].shape
    predictions = window_predictions(model.predictor(), gaps, (1, n_z, n_y, n_x), [0])
    shape = phase.shape
    probability = blocks.map_blocks(
        GapProbability(predictions), (phase,), shape=shape, dtype=np.float32
    )
    told = ToldDoubts(model.name, card_of_doubts(model.card), (), between=True)
    probability = looked_at(probability, predictions, told)
    return blocks.map_blocks(
        LikelyGaps(measured), (probability, phase), shape=shape, dtype=np.uint8
    )


def _planes_in_pixels(stack: xr.Dataset) -> float:
    """Return the spacing of planes in pixels, which are squares."""
    spacing = axis_spacing(stack, "z")
    y, x = _pixel_size(stack, spacing)
    if not np.isclose(y, x, rtol=0.02, atol=0):
        msg = f"a network fills gaps between square pixels; these are {y:g} x {x:g} nm (y, x)"
        raise ConventionError(msg)
    return spacing / x


def _thickness_in_pixels(stack: xr.Dataset, measured: MeasuredPlanes) -> float:
    """Return the mean distance of measured planes in pixels; NaN of a single one."""
    steps = np.diff(measured.numbers)
    return float(steps.mean()) * _planes_in_pixels(stack) if len(steps) else np.nan


def _pixel_size(volume: xr.Dataset | xr.DataArray, spacing: float) -> tuple[float, float]:
    """Return the pixel size along y and x in nm; an unknown one cannot matter, any will do."""
    y, x = (axis_spacing(volume, axis) for axis in ("y", "x"))
    known = [size for size in (y, x, spacing) if np.isfinite(size)]
    return (y if np.isfinite(y) else known[0], x if np.isfinite(x) else known[0])


def _measured_planes(stack: xr.Dataset) -> MeasuredPlanes:
    if "measured" not in stack.coords:
        msg = "inpainting needs the coordinate measured (z); reposition the slices first"
        raise ConventionError(msg)
    numbers = np.flatnonzero(stack["measured"].values)
    if not len(numbers):
        msg = f"inpainting needs a measured plane; none of {stack.sizes['z']} is marked as measured"
        raise ConventionError(msg)
    return MeasuredPlanes(numbers)
