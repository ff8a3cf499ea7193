"""What a viewer is served of a volume: voxels of an even grid, read when they are asked for.

Viewers know voxels of one size only. Where slices lie unevenly, planes of a finer even grid each
show the slice that is nearest: a slice reaches halfway to its neighbours, nothing is averaged.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import prod
from typing import Any

import numpy as np
import xarray as xr

from ...blocks import StoredArray, from_source, open_stored, origin
from ...conventions import (
    AXES,
    PROBABILITIES,
    VOLUMES,
    FibdaskWarning,
    StackReadError,
    is_label,
    is_regular,
    known_spacing,
    measured_slices,
    volume_names,
)
from ...io.pyramid import LEVEL_NAME
from ..display import contrast, middle_parts

SOLID_COLOURS = {"phase": "#57b5e8", "true_phase": "#e66b0d"}
_PLANES = 4  # that show the thinnest of uneven slices
_FINEST = 0.05  # distance of such planes, as a share of the mean thickness


def last_volumes(stacks: Iterable[xr.Dataset]) -> dict[str, xr.Dataset]:
    """Return the volumes of stacks by name, in the table's order: each of the last that has it."""
    last = {name: stack for stack in stacks for name in volume_names(stack)}
    return {name: last[name] for name in (*VOLUMES, *sorted(last)) if name in last}


@dataclass(frozen=True, eq=False)
class NamedVolume:
    """A volume of a stack, or what one voltage of it shows, as viewers list them.

    Attributes
    ----------
    title
        "2 kV" of images, else the name.
    name
        Of the variable.
    stack
        Stack that holds it.
    voltage
        Number of the voltage, or None for a volume (z, y, x).
    """

    title: str
    name: str
    stack: xr.Dataset
    voltage: int | None = None

    @property
    def is_label(self) -> bool:
        """Whether voxels are labels."""
        return is_label(self.name, self.stack[self.name])

    def class_colours(self) -> dict[int, str]:
        """Return the colours of labels, those that are told: of phases, that of the solid."""
        if self.name in SOLID_COLOURS:
            return {1: SOLID_COLOURS[self.name]}
        attrs = self.stack[self.name].attrs
        values = [int(value) for value in np.atleast_1d(attrs.get("flag_values", []))]
        colours = zip(values, str(attrs.get("flag_colors", "")).split(), strict=False)
        return {value: colour for value, colour in colours if value >= 0}  # viewers count from 0

    def grey_limits(self) -> tuple[float, float]:
        """Return what is shown black and white: by parts of three slices, or 0 and 1 of shares."""
        if self.name in PROBABILITIES:
            return 0.0, 1.0
        volume = self.stack[self.name]
        volume = volume if self.voltage is None else volume.isel(voltage=self.voltage)
        return contrast(middle_parts(volume, measured_slices(self.stack)).values())


def named_volumes(stacks: Mapping[str, xr.Dataset]) -> Iterator[NamedVolume]:
    """Iterate over volumes of stacks by name, each voltage by itself."""
    for name, stack in stacks.items():
        if "voltage" not in stack[name].dims:
            yield NamedVolume(name, name, stack)
            continue
        for number, voltage in enumerate(stack["voltage"].values):
            title = f"{voltage:g} kV"
            title = title if name == "intensity" else f"{name} {title}"
            yield NamedVolume(title, name, stack, number)


@dataclass(frozen=True, eq=False)
class EvenGrid:
    """Voxels that a volume is shown on.

    Attributes
    ----------
    planes
        Number of the slice that each plane (z) shows, int64, increasing.
    spacing
        Lengths of a voxel along z, y and x in nm.
    start
        Centre of the first voxel (z, y, x) in nm.
    """

    planes: np.ndarray
    spacing: tuple[float, ...]
    start: tuple[float, ...]


def even_grid(stack: xr.Dataset) -> EvenGrid:
    """Return the grid that the volumes of a stack are shown on.

    Warns
    -----
    FibdaskWarning
        If slices are so thin beside the others that planes leave them out.
    """
    z = stack["z"].values
    if is_regular(stack):
        planes, step = np.arange(len(z)), known_spacing(stack, "z")
    else:
        planes, step = _nearest_slices(z, float(stack["slice_thickness"].values[-1]))
    spacing = (step, known_spacing(stack, "y"), known_spacing(stack, "x"))
    return EvenGrid(planes, spacing, tuple(float(stack[axis].values[0]) for axis in AXES))


def _nearest_slices(z: np.ndarray, last_thickness: float) -> tuple[np.ndarray, float]:
    """Return the slice nearest to each plane of an even grid, and the grid's spacing, in nm."""
    thickness = np.diff(z)
    step = float(max(thickness.min() / _PLANES, _FINEST * thickness.mean()))
    depths = z[0] + step * np.arange(int((z[-1] + last_thickness / 2 - z[0]) / step) + 1)
    planes = np.searchsorted((z[1:] + z[:-1]) / 2, depths, side="right")
    hidden = np.setdiff1d(np.arange(len(z)), planes)
    if len(hidden):
        msg = (
            f"slices are shown by planes {step:.3g} nm apart, {_FINEST:g} of their mean thickness; "
            f"{len(hidden)} of {len(z)} slices are so thin that none shows them, the first is "
            f"slice {hidden[0]}"
        )
        warnings.warn(msg, FibdaskWarning, stacklevel=2)
    return planes, step


@dataclass(frozen=True, eq=False)
class ShownVolume:
    """A volume, or one voltage of it, as an array (z, y, x) that is read by intervals.

    Attributes
    ----------
    volume
        What is read, lazily: dimensions z, y, x.
    planes
        Number of the slice that each plane shows.
    dtype
        Type of the voxels that are given.
    """

    volume: xr.Variable
    planes: np.ndarray
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of planes, rows and columns."""
        return (len(self.planes), *self.volume.shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.volume.ndim

    @property
    def size(self) -> int:
        """Number of voxels."""
        return prod(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Read a region: its slices once each, however many planes show them."""
        depth, *rest = index if isinstance(index, tuple) else (index,)
        picked = np.atleast_1d(self.planes[depth])
        if not len(picked):
            return np.empty((0, *self.volume[(slice(0), *rest)].shape[1:]), self.dtype)
        first = picked[0]
        read = self.volume[(slice(first, picked[-1] + 1), *rest)].to_numpy()
        shown = np.asarray(read[picked - first], self.dtype)
        return shown if isinstance(depth, slice) else shown[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all of it."""
        return np.asarray(self[:], dtype)


def shown_volumes(
    volume: xr.DataArray, grid: EvenGrid, *, labels: bool, voltage: int | None = None
) -> list[ShownVolume]:
    """Return a volume as it is served, finest first: with the levels of its store's pyramid."""
    dtype = _shown_type(volume.dtype, labels)
    # A pyramid is of the slices as they were stored, one plane each.
    own = np.array_equal(grid.planes, np.arange(volume.sizes["z"]))
    levels = [volume.variable, *(coarser_levels(volume) if own else ())]
    if voltage is not None:
        levels = [level[voltage] for level in levels]
    planes = [grid.planes, *(np.arange(level.shape[0]) for level in levels[1:])]
    return [ShownVolume(v, p, dtype) for v, p in zip(levels, planes, strict=True)]


def _shown_type(dtype: np.dtype[Any], labels: bool) -> np.dtype[Any]:
    """Return the type that voxels are served as: viewers know neither bool, int64 nor float64."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f" or (dtype.itemsize == 8 and not labels):
        return np.dtype(np.float32)
    return np.dtype(np.uint64) if dtype.itemsize == 8 else dtype


def coarser_levels(volume: xr.DataArray) -> Sequence[xr.Variable]:
    """Return the coarser levels of a volume that is stored whole, beside a pyramid."""
    source = origin(volume.variable.data) if volume.chunks is not None else None
    if not isinstance(source, StoredArray):
        return []
    found: list[xr.Variable] = []
    path = source.place
    for number in count(1):
        try:
            folder = path.parent / LEVEL_NAME.format(number) / path.name
            level = open_stored(folder, volume=path.name)
        except StackReadError:  # there is none, or it was not finished
            break
        if level.shape[-3:] != tuple(-(-n // 2**number) for n in source.shape[-3:]):
            break
        found.append(xr.Variable(volume.dims, from_source(level)))
    return found
