"""The rules of a stack, each enforced with the value found, the rule and the place."""

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from .coordinates import check_even, check_finite, check_rising
from .errors import ConventionError
from .layers import is_layered, validate_layers
from .planes import ALIGNED, FILLED, RECORDS, measured_slices
from .variables import (
    AXES,
    COORDINATES,
    DIMENSIONS,
    MAP_DIMENSIONS,
    PHASE_ATTRS,
    PHASES,
    PROBABILITIES,
    VARIABLES,
    VOLUME_DIMS,
    VOLUMES,
    array_names,
    volume_names,
)

_THICKNESS_ATOL = 1e-6  # nm
_ROUNDED = 1e-6  # means of float32 probabilities that are all 1 may be so much more
_NUMBERS = ("bool", *(f"{sign}int{8 * n}" for sign in ("u", "") for n in (1, 2, 4, 8)))
_NUMBERS += ("float32", "float64")


def validate_stack(stack: xr.Dataset) -> None:
    """Check that a dataset is a stack, or a layered sample.

    Checks coordinates and per-slice variables by value; volumes by dimensions, type and attributes,
    and phases in memory also by value. Computes nothing lazy.

    Parameters
    ----------
    stack
        Dataset with any of `intensity` (voltage, z, y, x), `phase` (z, y, x), … on coordinates
        `voltage` in kV and `z`, `y`, `x` in nm; or, without these, with any of `signal`
        (energy, y, x) and `thickness` (layer, y, x) on `energy` in keV and `y`, `x` in nm.

    Raises
    ------
    ConventionError
        If a rule is broken; names the value found, the rule and the place.
    """
    if is_layered(stack):
        validate_layers(stack)
        return
    check_axes(stack)
    for name in [name for name in VARIABLES if name in stack.variables]:
        _check_variable(name, stack[name].variable)
    _check_others(stack)
    for name in COORDINATES:
        if name in stack.dims:
            _check_coordinate(stack, name)
    check_z(stack["z"].values)
    if "slice_thickness" in stack.variables:
        check_thickness(stack["slice_thickness"].values, stack["z"].values)
    for name in PHASES:
        if name in stack.variables:
            _check_phase(name, stack[name].variable)
    for name in ("shift_y", "shift_x"):
        if name in stack.variables:
            _check_shift(name, stack)
    if FILLED in stack.variables:
        _check_share(stack)
    for name in ALIGNED.values():
        if name in stack.variables:
            _check_aligned(name, stack[name].values)
    for name in PROBABILITIES:
        if name in stack.variables:
            _check_probability(name, stack[name].variable)


def check_axes(stack: xr.Dataset) -> None:
    """Check that a dataset has the volumes, dimensions and coordinates of a stack."""
    if not isinstance(stack, xr.Dataset):
        msg = f"a stack must be an xarray.Dataset; got {type(stack).__name__}"
        raise ConventionError(msg)
    # Of a selection that dropped a dimension, the dimension is what is told.
    if not volume_names(stack) and not any(name in stack.variables for name in VOLUMES):
        found = ", ".join(map(str, stack.variables)) or "nothing"
        msg = f"a stack must hold intensity or phase; found only {found}"
        raise ConventionError(msg)
    _check_dimensions(stack)
    for name in COORDINATES:
        if name in stack.variables:
            _check_variable(name, stack[name].variable)
    if "slice_thickness" in stack.variables:
        _check_variable_dimensions("slice_thickness", stack["slice_thickness"].variable)


def check_z(z: np.ndarray) -> None:
    """Check depths: finite and strictly increasing, in nm."""
    check_finite("z", z, "nm", "slice")
    steps = np.diff(z)
    if (steps <= 0).any():
        k = int(np.argmax(steps <= 0)) + 1
        msg = (
            f"z must be strictly increasing; slice {k} has {z[k]:g} nm "
            f"after {z[k - 1]:g} nm at slice {k - 1}"
        )
        raise ConventionError(msg)


def check_thickness(thickness: np.ndarray, z: np.ndarray | None = None) -> None:
    """Check slice thicknesses: finite, positive, and equal to the steps of z where z is given."""
    check_finite("slice_thickness", thickness, "nm", "slice")
    if (thickness <= 0).any():
        k = int(np.argmax(thickness <= 0))
        msg = f"slice_thickness must be > 0 nm; slice {k} has {thickness[k]:g} nm"
        raise ConventionError(msg)
    if z is None:
        return
    wrong = ~np.isclose(thickness[:-1], np.diff(z), rtol=1e-9, atol=_THICKNESS_ATOL)
    if wrong.any():
        k = int(np.argmax(wrong))
        msg = (
            f"slice_thickness must be z[k+1] - z[k]; slice {k} has {thickness[k]:g} nm, "
            f"but z steps by {z[k + 1] - z[k]:g} nm"
        )
        raise ConventionError(msg)


def _check_dimensions(stack: xr.Dataset) -> None:
    unknown = [str(dim) for dim in stack.dims if dim not in (*DIMENSIONS, *MAP_DIMENSIONS)]
    if unknown:
        msg = f"dimensions of a stack are {', '.join(DIMENSIONS)}; found {', '.join(unknown)}"
        raise ConventionError(msg)
    for name in DIMENSIONS:
        if name in stack.variables and stack[name].ndim == 0:
            value = f"{stack[name].item()} {VARIABLES[name].units}"
            msg = (
                f"{name} must stay a dimension; found only the value {value}: "
                f"select with a list or a slice, such as isel({name}=[0])"
            )
            raise ConventionError(msg)
    missing = [dim for dim in DIMENSIONS[1:] if dim not in stack.dims]
    if missing:
        msg = f"a stack needs the dimensions z, y, x; {', '.join(missing)} missing"
        raise ConventionError(msg)
    for dim, size in stack.sizes.items():
        if size == 0:
            msg = f"dimension {dim} must not be empty; it has size 0"
            raise ConventionError(msg)
        if dim not in stack.coords and dim in DIMENSIONS:
            msg = f"dimension {dim} must have a coordinate; none found"
            raise ConventionError(msg)


def _check_variable(name: str, variable: xr.Variable) -> None:
    rule = VARIABLES[name]
    _check_variable_dimensions(name, variable)
    if variable.dtype.name not in rule.dtypes:
        msg = f"{name} must be of type {' or '.join(rule.dtypes)}; found {variable.dtype.name}"
        raise ConventionError(msg + _conversion(name, variable.dtype.kind))
    units = variable.attrs.get("units")
    if rule.units is not None and units != rule.units:
        wanted = units is not None or name in (*COORDINATES, "slice_thickness")
        if wanted:
            msg = f"{name} must have units {rule.units!r}; found {units!r}"
            hint = f": set stack[{name!r}].attrs['units'] = {rule.units!r}" if units is None else ""
            raise ConventionError(msg + hint)


def _check_others(stack: xr.Dataset) -> None:
    """Check volumes and maps beyond the table: their order of axes, and that they are numbers."""
    for name, variable in stack.variables.items():
        if set(AXES) <= set(variable.dims) and variable.dims not in VOLUME_DIMS:
            msg = (
                f"{name} must have dimensions (z, y, x) or (voltage, z, y, x), as volumes have; "
                f"found {_tuple(variable.dims)}: transpose it, or make several variables of it"
            )
            raise ConventionError(msg)
    for name in [name for name in array_names(stack) if name not in VARIABLES]:
        dtype = stack[name].dtype
        if dtype.name not in _NUMBERS:
            msg = f"{name} must hold whole numbers, float32 or float64; found type {dtype}"
            hint = f": convert it with {name}.astype('float32')" if dtype.kind == "f" else ""
            raise ConventionError(msg + hint)


def _check_variable_dimensions(name: str, variable: xr.Variable) -> None:
    admitted = VARIABLES[name].dims
    if variable.dims not in admitted:
        expected = " or ".join(_tuple(dims) for dims in admitted)
        msg = f"{name} must have dimensions {expected}; found {_tuple(variable.dims)}"
        if name in RECORDS.values():
            msg += ": join voltages before slices are aligned or filled, not after"
        if name in ALIGNED.values():
            msg += ": slices were aligned apart; join them before they are aligned, not after"
        raise ConventionError(msg)


def _conversion(name: str, kind: str) -> str:
    """Say how numbers of a wrong type, as arithmetic leaves them, become what a variable holds."""
    if kind not in "biuf":
        return ""
    if name in PHASES and kind == "f":
        return f": take what is solid, such as {name} > 0.5"
    if VARIABLES[name].dtypes[-1] == "bool":
        return f": take {name} == 1"  # as a bool, NaN is true
    return f": convert it with {name}.astype({VARIABLES[name].dtypes[-1]!r})"


def _check_coordinate(stack: xr.Dataset, name: str) -> None:
    values = stack[name].values
    unit = VARIABLES[name].units or ""
    check_finite(name, values, unit, "slice" if name == "z" else "position")
    if name == "voltage":
        check_rising("voltage", values, "kV")
    elif name in ("y", "x"):
        check_even(name, values)


def _check_phase(name: str, variable: xr.Variable) -> None:
    for attr, expected in PHASE_ATTRS.items():
        found = variable.attrs.get(attr, expected)
        found = found if isinstance(found, str) else list(np.atleast_1d(found))
        if found != expected:
            msg = f"{name} must have {attr} {expected}; found {np.array(found).tolist()}"
            raise ConventionError(msg + _flag_hint(name, attr))
    if isinstance(variable._data, np.ndarray):
        check_phase_values(name, variable._data)


def _flag_hint(name: str, attr: str) -> str:
    """Say how a phase that was made of labels loses what is said of theirs."""
    if attr != "flag_values":
        return ""
    return f": if it was made of labels, as label == 1, take {name}.drop_attrs(deep=False)"


def _check_shift(name: str, stack: xr.Dataset) -> None:
    """Check that shifts are finite wherever there is a slice."""
    values = np.atleast_2d(stack[name].values)
    if "measured" in stack.variables:
        values = values[:, stack["measured"].values]
    if not np.isfinite(values).all():
        k = int(np.argmax(~np.isfinite(values).all(axis=0)))
        msg = f"{name} must be finite for measured slices; measured slice {k} has {values[:, k]} nm"
        raise ConventionError(msg)


def _check_share(stack: xr.Dataset) -> None:
    """Check that shares of filled pixels are from 0 to 1 wherever there is a slice."""
    share = stack[FILLED].values
    wrong = measured_slices(stack) & ~((share >= 0) & (share <= 1))
    if wrong.any():
        k = int(np.argmax(wrong))
        msg = f"{FILLED} must lie in 0 … 1; measured slice {k} has {share[k]:g}"
        raise ConventionError(msg)


def _check_aligned(name: str, places: np.ndarray) -> None:
    """Check that places of aligned pixels are evenly spaced; mirrored ones decrease."""
    check_finite(name, places, "nm", "position")
    check_even(name, np.sign(places[-1] - places[0]) * places)


def _check_probability(name: str, variable: xr.Variable) -> None:
    values = variable._data
    if isinstance(values, np.ndarray):
        wrong = ~((values >= 0) & (values <= 1))
        if wrong.any():
            place = np.unravel_index(int(np.argmax(wrong)), values.shape)
            where = ", ".join(str(int(i)) for i in place)
            msg = f"{name} must lie in 0 … 1; voxel ({where}) has {values[place]:g}"
            raise ConventionError(msg)


def check_phase_values(name: str, values: np.ndarray, start: Sequence[int] = (0, 0, 0)) -> None:
    """Check that an array in memory holds only 0 (pore) and 1 (solid).

    `start` is the place of its first voxel, for blocks of a volume.
    """
    if values.size and values.max() > 1:
        place = np.unravel_index(int(np.argmax(values > 1)), values.shape)
        where = ", ".join(str(int(i) + first) for i, first in zip(place, start, strict=True))
        msg = f"{name} must be 0 (pore) or 1 (solid); voxel ({where}) has {values[place]}"
        raise ConventionError(msg)


def check_block(
    name: str, values: np.ndarray, start: Sequence[int], *, path: str | None = None
) -> None:
    """Check that a block of a volume of this name holds what those in memory may hold.

    Probabilities may lie beyond 0 … 1 by rounding, since they are clipped where they are stored.

    Parameters
    ----------
    name
        Of the volume; only phases and probabilities are checked.
    values
        The block.
    start
        The place of its first voxel.
    path
        Where the volume is stored, to be told instead of its name.

    Raises
    ------
    ConventionError
        With the first voxel that holds something else.
    """
    if name in PHASES:
        check_phase_values(path or name, values, start)
    elif name in PROBABILITIES and values.size:
        lowest, highest = -_ROUNDED, 1 + _ROUNDED
        if values.min() >= lowest and values.max() <= highest:  # not where any is NaN
            return
        wrong = ~((values >= lowest) & (values <= highest))
        place = np.unravel_index(int(np.argmax(wrong)), values.shape)
        where = ", ".join(str(int(i) + first) for i, first in zip(place, start, strict=True))
        msg = f"{path or name} must lie in 0 … 1; voxel ({where}) has {values[place]:g}"
        raise ConventionError(msg)


def _tuple(dims: tuple[Hashable, ...]) -> str:
    return "(" + ", ".join(str(dim) for dim in dims) + ")"
