"""What a layered sample is: signals at several energies of the beam, thicknesses of its layers.

A dataset without images and phases that holds `signal` (energy, y, x) or `thickness`
(layer, y, x); `label` (z, y, x) shows the same layers as voxels.
"""

from collections.abc import Hashable

import numpy as np
import xarray as xr

from .coordinates import check_even, check_finite, check_rising
from .errors import ConventionError
from .variables import AXES, VOLUME_DIMS, VOLUMES

SIGNAL_DIMS = ("energy", "y", "x")
LAYER_DIMS = ("layer", "y", "x")
_ATTRS: dict[str, dict[str, str]] = {
    "energy": {"long_name": "energy of the beam", "units": "keV"},
    "layer": {"long_name": "material of the layer, from the surface down"},
    "y": {"long_name": "pixel centre along the slow image axis", "units": "nm"},
    "x": {"long_name": "pixel centre along the fast image axis", "units": "nm"},
    "z": {"long_name": "depth below the surface", "units": "nm"},
    "signal": {"long_name": "signal, linear in the electrons that are counted"},
    "thickness": {"long_name": "thickness of the layer", "units": "nm"},
    "thickness_error": {"long_name": "standard error of the thickness", "units": "nm"},
    "misfit": {"long_name": "mean square of what the layers leave of the signals, in the noise's"},
}
_DIMS: dict[str, tuple[str, ...]] = {
    "signal": SIGNAL_DIMS,
    "thickness": LAYER_DIMS,
    "thickness_error": LAYER_DIMS,
    "misfit": ("y", "x"),
    "label": AXES,
}
_FLOATS = ("float32", "float64")


def is_layered(dataset: object) -> bool:
    """Tell whether a dataset is of a layered sample, rather than a stack."""
    if not isinstance(dataset, xr.Dataset):
        return False
    variables = dataset.variables
    if any(name in variables for name in VOLUMES) or not {"signal", "thickness"} & set(variables):
        return False
    return all(name == "label" or v.dims not in VOLUME_DIMS for name, v in variables.items())


def layer_attributes(name: str) -> dict[str, str]:
    """Return the attributes that a variable of a layered sample carries."""
    return dict(_ATTRS.get(name, {}))


def finish_layers(sample: xr.Dataset) -> xr.Dataset:
    """Return a layered sample with the attributes that its variables lack, validated."""
    sample = sample.copy(deep=False)
    for name in [name for name in _ATTRS if name in sample.variables]:
        attrs = layer_attributes(name)
        if name in sample.dims:  # never guessed: validation refuses what has none
            attrs.pop("units", None)
        sample[name].attrs = attrs | sample[name].attrs
    validate_layers(sample)
    return sample


def validate_layers(sample: xr.Dataset) -> None:
    """Check that a dataset is a layered sample; nothing lazy is computed.

    Raises
    ------
    ConventionError
        Naming the value found, the rule and the place.
    """
    for name, dims in _DIMS.items():
        if name in sample.variables:
            _check_variable(name, sample[name].variable, dims)
    for dim in sample.dims:
        if dim not in ("energy", "layer", *AXES):
            msg = f"dimensions of a layered sample are energy, layer, z, y, x; found {dim}"
            raise ConventionError(msg)
        if dim not in sample.coords:
            msg = f"dimension {dim} must have a coordinate; none found"
            raise ConventionError(msg)
        if sample.sizes[dim] == 0:
            msg = f"dimension {dim} must not be empty; it has size 0"
            raise ConventionError(msg)
        _check_coordinate(str(dim), sample[dim].variable)
    for name in ("signal", "thickness", "thickness_error"):
        if name in sample.variables:
            check_amounts(name, sample[name].variable._data)


def check_amounts(name: str, values: object, start: tuple[int, ...] = (0, 0, 0)) -> None:
    """Check an array in memory: at least zero, NaN where there are no data.

    `start` is the place of its first value, for blocks.
    """
    if isinstance(values, np.ndarray) and (bad := (values < 0) | np.isinf(values)).any():
        place = np.unravel_index(int(np.argmax(bad)), values.shape)
        where = ", ".join(str(int(i) + first) for i, first in zip(place, start, strict=True))
        kind = "energy" if name == "signal" else "layer"
        msg = (
            f"{name} must be finite and >= 0, or NaN where there are no data; "
            f"({kind}, y, x) = ({where}) has {values[place]:g}"
        )
        raise ConventionError(msg)


def _check_variable(name: str, variable: xr.Variable, dims: tuple[str, ...]) -> None:
    if variable.dims != dims:
        msg = f"{name} must have dimensions {_dims_text(dims)}; found {_dims_text(variable.dims)}"
        raise ConventionError(msg)
    wanted = ("uint8",) if name == "label" else _FLOATS
    if variable.dtype.name not in wanted:
        msg = f"{name} must be of type {' or '.join(wanted)}; found {variable.dtype.name}"
        raise ConventionError(msg)
    units = _ATTRS.get(name, {}).get("units")
    if (found := variable.attrs.get("units", units)) != units:
        msg = f"{name} must have units {units!r}; found {found!r}"
        raise ConventionError(msg)


def _check_coordinate(name: str, variable: xr.Variable) -> None:
    values = variable.values
    if name == "layer":
        if values.dtype.kind not in "UOT":
            msg = f"layer must hold names of materials; found type {values.dtype}"
            raise ConventionError(msg)
        return
    units = _ATTRS[name]["units"]
    if variable.attrs.get("units") != units:
        msg = f"{name} must have units {units!r}; found {variable.attrs.get('units')!r}"
        raise ConventionError(msg)
    check_finite(name, values, units, "position")
    if name == "energy":
        check_rising("energy", values, "keV")
    else:
        check_even(name, values)


def _dims_text(dims: tuple[Hashable, ...]) -> str:
    return "(" + ", ".join(map(str, dims)) + ")"


def require_layers(sample: xr.Dataset | xr.DataArray, name: str) -> xr.DataArray:
    """Return `signal` or `thickness` of a layered sample, checked.

    It may also be given alone, under whatever name.

    Raises
    ------
    ConventionError
        If it is not there, or breaks a rule.
    """
    if isinstance(sample, xr.DataArray):
        sample = sample.drop_attrs(deep=False).assign_attrs(sample.attrs).to_dataset(name=name)
    if not isinstance(sample, xr.Dataset) or name not in sample.variables:
        found = ", ".join(map(str, getattr(sample, "data_vars", ()))) or type(sample).__name__
        msg = f"a layered sample with {name} {_dims_text(_DIMS[name])} is needed; found {found}"
        raise ConventionError(msg)
    alone = sample[[name]]
    spare = [str(c) for c in alone.coords if c not in _DIMS[name]]
    return finish_layers(alone.drop_vars(spare))[name]
