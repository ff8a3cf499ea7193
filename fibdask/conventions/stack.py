"""Build stacks, read their geometry, and keep their derived variables true."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from .arguments import check_positive, plain_number
from .coordinates import check_even
from .errors import ConventionError
from .layers import finish_layers, is_layered
from .planes import ALIGNED, FILLED, RECORDS
from .validation import check_axes, check_z, validate_stack
from .variables import AXES, DIMENSIONS, PHASES, VARIABLES, attributes, volume_names

# Coordinates, so that volumes carry them along.
_OF_PLANES = ("measured", "inpainted", FILLED, *RECORDS.values(), *ALIGNED.values())
_NEED_UNITS = ("voltage", "z", "y", "x", "slice_thickness")


def build_stack(
    volumes: Mapping[str, Any],
    *,
    z: np.ndarray,
    pixel_size: tuple[float, float],
    nominal_thickness: float,
    voltage: np.ndarray | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make a well-formed stack of arrays.

    Parameters
    ----------
    volumes
        Arrays by variable name: `intensity` (voltage, z, y, x), `phase` (z, y, x), …
    z
        Depth of each imaged face in nm (z).
    pixel_size
        Distance of pixel centres along y and x in nm.
    nominal_thickness
        Thickness of the last slice in nm.
    voltage
        Accelerating voltages in kV (voltage); needed with `intensity`.
    attrs
        Attributes of the dataset.

    Raises
    ------
    ConventionError
        If the result is not a stack.
    """
    first = next(iter(volumes.values()))
    values = {"z": np.asarray(z, np.float64)}
    for axis, size, step in zip(("y", "x"), first.shape[-2:], pixel_size, strict=True):
        values[axis] = np.arange(size) * float(step)
    if voltage is not None:
        values["voltage"] = np.atleast_1d(np.asarray(voltage, np.float64))
    coords = {name: (name, array, attributes(name)) for name, array in values.items()}
    stack = xr.Dataset(
        {name: (DIMENSIONS[-data.ndim :], data) for name, data in volumes.items()},
        coords=coords,
        attrs=dict(attrs or {}),
    )
    for axis, step in zip(("y", "x"), pixel_size, strict=True):
        stack[axis].attrs["spacing"] = float(step)
    return finish_stack(stack, nominal_thickness=nominal_thickness)


def finish_stack(stack: xr.Dataset, *, nominal_thickness: float | None = None) -> xr.Dataset:
    """Rewrite what is derived (slice_thickness, attributes, order) and validate the result.

    The last slice takes `nominal_thickness`, by default the one noted in the attributes of
    `slice_thickness`, else the thickness it has, else that of the slice before it. A layered
    sample has no slices.
    """
    if is_layered(stack):
        return finish_layers(stack)
    check_axes(stack)
    stack = stack.copy(deep=False)
    for name in VARIABLES:
        if name in stack.variables:
            attrs = attributes(name)
            if name in _NEED_UNITS:  # never guessed: validation refuses what has none
                attrs.pop("units")
            stack[name].attrs = attrs | stack[name].attrs
    for name in phase_names(stack):
        stack[name] = _as_numbers(stack[name])
    z = stack["z"].values
    check_z(z)
    if nominal_thickness is None:
        nominal_thickness = _last_thickness(stack)
    thickness = np.append(np.diff(z), nominal_thickness)
    attrs = attributes("slice_thickness") | {"nominal": float(nominal_thickness)}
    stack = stack.drop_vars("slice_thickness", errors="ignore")
    stack = stack.assign_coords(slice_thickness=("z", thickness, attrs))
    if of_planes := [name for name in _OF_PLANES if name in stack.data_vars]:
        stack = stack.set_coords(of_planes)
    validate_stack(stack)
    return stack


def _last_thickness(stack: xr.Dataset) -> float:
    z = stack["z"].values
    if "slice_thickness" in stack.variables:
        thickness = stack["slice_thickness"]
        last = plain_number(thickness.attrs.get("nominal", thickness.values[-1]))
        if np.isfinite(last) and last > 0:
            return last
    if len(z) > 1:
        return float(z[-1] - z[-2])
    msg = "slice_thickness is needed for a stack of one slice; none given"
    raise ConventionError(msg)


def require(stack: xr.Dataset, *names: str) -> xr.Dataset:
    """Return the stack fit for a stage: derived variables rewritten, rules and names checked.

    Every stage calls this in its first line. Nothing lazy is computed.

    Raises
    ------
    ConventionError
        If a rule is broken or a needed variable is missing.
    """
    check_axes(stack)
    for name in names:
        if name not in stack.variables:
            found = ", ".join(str(found) for found in stack.data_vars) or "none"
            msg = f"this stage needs the variable {name}; the stack holds {found}"
            raise ConventionError(msg)
    for name in volume_names(stack):
        dtype = stack[name].dtype
        if not dtype.isnative:
            msg = (
                f"{name} must be in the byte order of this machine; found type {dtype.str}: "
                f"convert it with {name}.astype({dtype.name!r})"
            )
            raise ConventionError(msg)
    return finish_stack(stack)


def require_phase(phase: xr.DataArray, name: str = "phase") -> xr.DataArray:
    """Return a phase volume (z, y, x), checked, with the `slice_thickness` that follows from its z.

    Raises
    ------
    ConventionError
        If it is not a volume of zeros and ones, uint8 or bool, on nm coordinates.
    """
    if not isinstance(phase, xr.DataArray):
        msg = f"{name} must be an xarray.DataArray (z, y, x); got {type(phase).__name__}"
        raise ConventionError(msg)
    phase = _as_numbers(phase)
    renamed = phase.drop_attrs(deep=False).rename(None)
    spare = [str(c) for c in phase.coords if c not in (*AXES, *_OF_PLANES)]
    dataset = renamed.drop_vars(spare).to_dataset(name="phase")
    if "slice_thickness" not in phase.coords or phase["slice_thickness"].dims != ("z",):
        validate_stack(dataset)
        return phase
    stack = finish_stack(dataset.assign_coords(slice_thickness=phase["slice_thickness"]))
    return phase.assign_coords(slice_thickness=stack["slice_thickness"])


def _as_numbers(phase: xr.DataArray) -> xr.DataArray:
    """Return a phase that is true or false as ones and zeros, which are the same bytes."""
    return phase.copy(data=phase.data.view(np.uint8)) if phase.dtype == np.bool_ else phase


def axis_spacing(array: xr.Dataset | xr.DataArray, axis: str) -> float:
    """Return the even spacing of an axis in nm; for one plane its `spacing` attribute, else NaN.

    Raises
    ------
    ConventionError
        If the axis is not evenly spaced; for z with the advice to reposition first.
    """
    values = array[axis].values
    if len(values) == 1:
        if axis == "z" and "slice_thickness" in array.coords:
            return float(array["slice_thickness"].values[0])
        return float(array[axis].attrs.get("spacing", np.nan))
    try:
        check_even(axis, values)
    except ConventionError as error:
        if axis != "z":
            raise
        msg = f"{error}; reposition the slices first (reposition_slices)"
        raise ConventionError(msg) from None
    return float((values[-1] - values[0]) / (len(values) - 1))


def known_spacing(array: xr.Dataset | xr.DataArray, axis: str) -> float:
    """Return the even spacing of an axis in nm; 1 where a single plane does not tell it."""
    spacing = axis_spacing(array, axis)
    return spacing if np.isfinite(spacing) else 1.0


def check_spacing(array: xr.Dataset | xr.DataArray, axis: str) -> float:
    """Return the even spacing of an axis in nm, which must be known.

    Raises
    ------
    ConventionError
        If the axis is not evenly spaced, or a single plane does not tell its spacing.
    """
    return check_positive(f"spacing of {axis}", axis_spacing(array, axis), "nm")


def is_regular(stack: xr.Dataset | xr.DataArray) -> bool:
    """Tell whether there is a z, and it is evenly spaced."""
    if "z" not in stack.coords:
        return False
    try:
        check_even("z", stack["z"].values)
    except ConventionError:
        return False
    return True


def phase_names(stack: xr.Dataset) -> list[str]:
    """Return the names of the phase variables that the stack holds."""
    return [name for name in PHASES if name in stack.variables]
