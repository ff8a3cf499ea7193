"""Stages in general: volumes of a stack are made anew block by block, and the step recorded."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import BlockFunction, array_token, fingerprint, map_blocks
from ..conventions import DIMENSIONS, finish_stack, record_step


def with_volumes(
    stack: xr.Dataset, functions: Mapping[str, BlockFunction], into: xr.Dataset
) -> xr.Dataset:
    """Return a dataset with volumes, each made lazily by a function of that in a stack.

    Types, dimensions and attributes are those in the stack; lengths are those of `into`.
    """
    made = {}
    for name, function in functions.items():
        volume = stack[name]
        shape = tuple(into.sizes[axis] for axis in volume.dims)
        data = map_blocks(function, (volume.data,), shape=shape, dtype=volume.dtype)
        made[name] = (volume.dims, data, volume.attrs)
    return into.assign(made)


def with_intensity(
    stack: xr.Dataset,
    function: BlockFunction,
    step: tuple[str, Mapping[str, Any]],
    *,
    beside: Sequence[Any] = (),
    dtype: str | None = None,
    **options: Any,
) -> xr.Dataset:
    """Return a stack whose intensity is made anew, lazily, with the step recorded.

    Parameters
    ----------
    stack
        Stack with `intensity`, as `require` returns it.
    function
        What makes a block of the intensity, of that of the stack.
    step
        Name of the step, and its parameters.
    beside
        What else the function reads.
    dtype
        Of the new intensity; by default as it is.
    options
        Further ones of `map_blocks`.
    """
    intensity = stack["intensity"]
    inputs = (intensity.data, *beside)
    kind = intensity.dtype if dtype is None else np.dtype(dtype)
    data = map_blocks(function, inputs, shape=intensity.shape, dtype=kind, **options)
    made = finish_stack(stack.assign(intensity=(DIMENSIONS, data, intensity.attrs)))
    return record_step(made, *step, fingerprint(*map(array_token, inputs)))


def volumes_fingerprint(stack: xr.Dataset, names: Iterable[str], *more: Any) -> str:
    """Return the fingerprint of volumes of a stack, and of what else a step follows from."""
    return fingerprint(*more, *(array_token(stack[name].data) for name in names))
