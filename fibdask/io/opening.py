"""Open stacks of Zarr stores, lazily."""

import warnings
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from ..blocks import Place, RemotePath, from_source, open_stored, store_of
from ..conventions import (
    ConventionError,
    StackReadError,
    array_names,
    check_thickness,
    check_z,
    finish_stack,
    recognise_filled_share,
    recognise_inpainted,
)
from ..pieces.codecs import refuse_code
from .metadata import STORE_ATTRS, check_store, is_store
from .packing import packing, unpacked_attributes
from .paths import read_place


def open_stack(path: str | Path, *, remote: Mapping[str, Any] | None = None) -> xr.Dataset:
    """Open a stored stack lazily.

    Parameters
    ----------
    path
        Folder of a Zarr store that holds a stack, or its address on a server, `s3://…` or
        `https://…`, which needs the extra `remote`.
    remote
        How to reach that server: `endpoint` (address of an S3 server other than Amazon's),
        `region`, `anonymous` (True: without credentials), `plain_http` (True: also without
        encryption). Credentials come from the environment, under the names that AWS uses.

    Returns
    -------
    Dataset
        The stack. Its volumes are Dask arrays; tasks read them by coordinates, straight from the
        store.

    Raises
    ------
    StackReadError
        If there is no readable Zarr store, its writing did not finish, it is damaged, or its server
        does not deliver it.
    ConventionError
        If the store holds no stack, or the address or `remote` breaks a rule.
    """
    place = read_place(path, remote)
    if isinstance(place, Path) and not place.exists():
        msg = f"{place} does not exist"
        raise StackReadError(msg)
    if not is_store(place):
        images = "images are read by read_images or fibdask import"
        msg = f"{place} is no store of a stack; {_stores_in(place) or images}"
        raise StackReadError(msg)
    check_store(place)
    return with_arrays(open_dataset(place), place)


def _stores_in(place: Place) -> str:
    """Say which stores a folder holds, such as that of a run, if any."""
    if not isinstance(place, Path) or not place.is_dir():
        return ""
    names = sorted(child.name for child in place.glob("*.zarr") if is_store(child))
    return f"of those in it, {', '.join(names)}, give one that is" if names else ""


def with_arrays(stack: xr.Dataset, path: Place) -> xr.Dataset:
    """Put the stored volumes and maps into a dataset of a store, to be read by coordinates."""
    for name in array_names(stack):
        stored = open_stored(path / name, volume=name)
        variable = stack[name].variable
        stack[name] = xr.Variable(variable.dims, from_source(stored), variable.attrs)
    thickness = stack.variables.get("slice_thickness")
    if thickness is not None and "z" in stack.coords:
        check_z(stack["z"].values)
        check_thickness(thickness.values, stack["z"].values)
    stack.attrs = {key: value for key, value in stack.attrs.items() if key not in STORE_ATTRS}
    return recognise_filled_share(recognise_inpainted(finish_stack(stack)))


def open_dataset(path: Place) -> xr.Dataset:
    """Open a store with xarray, whatever it holds."""
    refuse_code(path)
    try:
        with warnings.catch_warnings():
            # What a killed write of metadata leaves is no part of the store.
            warnings.filterwarnings("ignore", message=r"Object at .*\.partial is not recognized")
            store = store_of(path)
            stack: xr.Dataset = xr.open_zarr(
                store,
                consolidated=False,
                chunks=None,
                mask_and_scale=False,
                use_zarr_fill_value_as_mask=False,  # of chunks that were not stored
            )
            if isinstance(path, RemotePath):  # now, for once
                stack = _with_small_ones(stack)
    except Exception as error:  # zarr and xarray raise many kinds for a damaged store
        msg = f"{path} cannot be read as a Zarr store: {error}"
        raise StackReadError(msg) from error
    arrays = array_names(stack)
    for name, variable in stack.variables.items():
        _check_packing(path, name, variable, scaled=name in arrays)
        variable.attrs = unpacked_attributes(variable.attrs)
    # Texts of variable length are how they are stored, and nothing can be computed with them.
    texts = [name for name, values in stack.variables.items() if values.dtype.kind == "T"]
    return stack.assign(
        {name: stack[name].astype(object).astype(str) for name in texts}
    ).drop_encoding()


def _with_small_ones(stack: xr.Dataset) -> xr.Dataset:
    """Read what is small into memory."""
    large = array_names(stack)
    return stack.assign({n: v.load() for n, v in stack.variables.items() if n not in large})


def _check_packing(path: Place, name: Hashable, variable: xr.Variable, *, scaled: bool) -> None:
    """Refuse values that are not what is stored: only the factor of `scaled` ones is applied."""
    found = packing(variable)
    if scaled:
        found.pop("scale_factor", None)
    for key, value in found.items():
        msg = (
            f"{path / str(name)} has the attribute {key} = {value}, which is not applied: open the "
            "store with xarray, make of it the values that are meant, and save those"
        )
        raise ConventionError(msg)
