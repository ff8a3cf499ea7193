"""The public function: images of slices at their depth to phases of a regular volume."""

import warnings
from typing import Any

import numpy as np
import xarray as xr

from .. import blocks
from ..conventions import (
    AXES,
    FILLED,
    ConventionError,
    FibdaskWarning,
    attributes,
    finish_stack,
    mark_inpainted,
    measured_slices,
    recognise_filled_share,
    record_step,
    require,
    voltage_index,
)
from ..pieces.grey import without_filled
from ..pieces.models import AUTO, Model, Seen, find_model, model_record, predict_solid, warn_of_gaps
from ..pieces.planes import grid_planes, plane_spacing, planes_at
from ..pieces.windows import PlacedPlanes

_COARSE = 2.0  # mean distances of slices: planes farther apart hold less than half of them


def reconstruct_volume(
    stack: xr.Dataset,
    *,
    spacing: float,
    voltage: float | None = None,
    model: str = AUTO,
    device: str = AUTO,
    tilt: float = 0.0,
    mirrored: bool = False,
) -> xr.Dataset:
    """Segment all planes of a regular grid by a network: slices and what lies between them.

    Lazy. Electrons see below the surface of a slice, the deeper the higher their voltage, so images
    of slices also show what lies between them. A network trained on simulated images predicts it
    from the slices around a plane and their depths. The planes lie at z = n * `spacing` with
    integer n, from the plane nearest to the first measured slice to that nearest to the last.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x) of slices at their own z, evenly spaced or not.
    spacing
        Distance of the planes in nm; voxels are isotropic if it equals the pixel size.
    voltage
        Accelerating voltage in kV to use, one of the stack; by default all.
    model
        Name or folder of a model trained for such voltages, pixels and slices; `auto` is the best
        that ships for those of the stack.
    device
        Where the network predicts: `gpu`, `cpu`, or `auto`, a GPU if this process has one. Results
        of the two differ in the last bits, and so do their fingerprints.
    tilt
        Angle in degrees between the beam and the normal of the slices, about x; positive if
        electrons fly towards +y, so that what shines through lies at larger y than it appears. Not
        for models trained on images of such a beam.
    mirrored
        Whether to also predict images mirrored along x, along y and along both, and take the mean;
        takes four times as long. Models trained on images of a tilted beam mirror along x only.

    Returns
    -------
    xarray.Dataset
        `phase` (z, y, x), uint8: 0 pore, 1 solid; `solid_probability` (z, y, x), float32; on
        regular `z` with `measured` (z), True on the planes nearest to a slice, and `inpainted` (z),
        True on all others. Maps (y, x) of the stack are kept, variables along its slices are not.

    Raises
    ------
    ConventionError
        If an argument or the model does not fit the stack, the model cannot predict between slices,
        fewer than two slices are measured, or torch is not installed; when computed, if grey values
        of measured slices are NaN, infinite or all the same.

    Warns
    -----
    FibdaskWarning
        If planes lie between slices that are farther apart than those the model was trained on,
        `spacing` is more than twice the mean distance of slices, or images are known to be
        simulated with other materials or electrons, or a beam of another tilt.

    Notes
    -----
    The network predicts each plane at its own depth below the slice at or above it; a plane within
    1e-6 nm of a slice is that slice. At most half a spacing lies before the first slice or after
    the last; it is that slice. The network does not see slices that are not `measured`.

    Grey values are scaled between their quantiles of 1 and 99 %, for each voltage over all slices
    (other shares, if the model says so); pixels that alignment filled (`filled_share`) do not
    count.
    """
    stack = require(stack, "intensity")
    as_seen = Seen(tilt, mirrored)
    spacing = plane_spacing(stack, spacing)
    z, measured = stack["z"].values, measured_slices(stack)
    if measured.sum() < 2:
        msg = f"a volume lies between two measured slices or more; got {measured.sum()}"
        raise ConventionError(msg)
    shown = stack
    if voltage is not None:
        place = voltage_index(stack, voltage)
        shown = stack.isel(voltage=slice(place, place + 1))
    found = find_model(model, shown, device, as_seen)
    _check_between(found)
    grid = grid_planes(z[measured], spacing)
    planes = PlacedPlanes.between(z, measured, grid * spacing)
    warn_of_gaps(planes, found, tilt=as_seen.tilt)
    _warn_of_spacing(z[measured], spacing)
    region = without_filled(stack, {axis: slice(0, stack.sizes[axis]) for axis in AXES})
    volumes = predict_solid(shown, found, planes, region, as_seen)
    volume = _on_planes(stack, grid, spacing).assign(volumes)
    volume = finish_stack(mark_inpainted(volume, volumes), nominal_thickness=spacing)
    asked = {"spacing": spacing, "voltage": shown["voltage"].values}
    parameters = asked | model_record(found, shown, as_seen)
    token = blocks.array_token(stack["intensity"].data)
    return record_step(volume, "reconstruct_volume", parameters, token)


def _check_between(model: Model) -> None:
    """Refuse a model that has learnt what is solid in slices alone."""
    errors = model.card["errors"]
    if "on_slices" in errors and errors.get("between") is None:
        msg = (
            f"model {model.name} has learnt what is solid in slices, and nothing of what lies "
            "between them: segment the slices with it ([segment] method = 'network'), and fill the "
            "gaps then ([reposition], [inpaint])"
        )
        raise ConventionError(msg)


def _warn_of_spacing(z: np.ndarray, spacing: float) -> None:
    """Warn of planes that leave out most of what the slices at `z` show."""
    if spacing > _COARSE * (mean := float(np.diff(z).mean())):
        text = (
            f"planes {spacing:g} nm apart are much coarser than the slices, {mean:.4g} nm apart on "
            "average: what lies between planes is left out; take a spacing as fine as the pixels"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=3)


def _on_planes(stack: xr.Dataset, grid: np.ndarray, spacing: float) -> xr.Dataset:
    """Return what does not lie on slices, and which planes of a grid are measured."""
    measured = measured_slices(stack)
    slices = planes_at(stack["z"].values[measured], spacing)
    coords: dict[str, Any] = {
        "z": ("z", grid * spacing, stack["z"].attrs),
        "measured": ("z", np.isin(grid, slices), attributes("measured")),
    }
    if FILLED in stack.coords:
        # Any plane may have been told of by the slice of which the most was filled.
        share = np.full(len(grid), stack[FILLED].values[measured].max())
        coords[FILLED] = ("z", share, stack[FILLED].attrs)
    return recognise_filled_share(stack.drop_dims(["z", "voltage"]).assign_coords(coords))
