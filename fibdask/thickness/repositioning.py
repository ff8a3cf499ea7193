"""Slices at their measured depth become planes of a regular grid."""

import warnings
from collections.abc import Sequence
from math import floor, log10

import numpy as np
import xarray as xr

from ..conventions import (
    ConventionError,
    FibdaskWarning,
    attributes,
    check_not_negative,
    finish_stack,
    measured_slices,
    record_step,
    require,
    without_inpainted,
)
from ..pieces.planes import NO_PLANE, grid_planes, plane_spacing, planes_of
from ..pieces.volumes import volumes_fingerprint, with_volumes
from ._kernels.planes import free_planes
from .values import distinct

_FAR = 2.0  # spacings


def reposition_slices(
    stack: xr.Dataset,
    *,
    spacing: float,
    drop: Sequence[int] = (),
    minimum_thickness: float = 0.0,
) -> xr.Dataset:
    """Move every slice to the plane of a regular grid nearest to its depth.

    Lazy. The planes lie at z = n * `spacing` with integer n, from the plane of the first slice kept
    to that of the last: nothing is known beyond. Slice k goes to n = floor(z_k / spacing + 1/2).
    Where several slices fall on one plane, they are spread to free planes with the least sum of
    squared displacements; their order is kept, and none is lost.

    Failed and duplicate slices are left out and leave gaps: those not `measured` (z), those in
    `drop`, and those closer than `minimum_thickness`. The provenance lists the last two.

    Parameters
    ----------
    stack
        Any stack; all its variables are moved.
    spacing
        Distance of the planes in nm; voxels are isotropic if it equals the pixel size.
    drop
        Numbers of slices to leave out, counted from 0.
    minimum_thickness
        Least distance in nm to the last slice that is kept; closer ones are its duplicates, and
        left out.

    Returns
    -------
    xarray.Dataset
        The stack on regular `z`, with `measured` (z): False on planes without a slice. There,
        volumes are 0, and shifts and sections of floats NaN.

    Raises
    ------
    ConventionError
        If an argument is out of range, no slice is left, or there are more slices than planes.

    Warns
    -----
    FibdaskWarning
        If slices move farther than two spacings from their depth, or most are left out as
        duplicates.
    """
    stack = without_inpainted(require(stack))
    spacing = plane_spacing(stack, spacing)
    z = stack["z"].values
    measured = measured_slices(stack)
    kept = _kept(z, measured, drop, minimum_thickness)
    numbers = np.flatnonzero(kept)
    planes = _planes(z[numbers], spacing)
    grid = grid_planes(z[numbers], spacing)
    moved = _on_grid(stack, numbers, planes - grid[0], grid * spacing)
    slices = np.full(len(grid), NO_PLANE)
    slices[planes - grid[0]] = numbers
    picked = planes_of(stack, slices)
    moved = with_volumes(stack, picked, moved)
    moved = finish_stack(moved[list(stack.data_vars)], nominal_thickness=spacing)
    parameters: dict[str, object] = {"spacing": float(spacing)}
    if (dropped := np.flatnonzero(measured & ~kept)).size:
        parameters |= {"drop": dropped, "minimum_thickness": float(minimum_thickness)}
    token = volumes_fingerprint(stack, picked)
    return record_step(moved, "reposition_slices", parameters, token)


def _kept(
    z: np.ndarray, measured: np.ndarray, drop: Sequence[int], minimum_thickness: float
) -> np.ndarray:
    """Return which slices are neither failures nor duplicates."""
    check_not_negative("minimum_thickness", minimum_thickness, "nm")
    kept = measured.copy()
    if np.ndim(drop) != 1:
        msg = f"drop must be a list of numbers of slices; got {drop!r}"
        raise ConventionError(msg)
    for number in np.asarray(drop).tolist():
        if type(number) is not int or not 0 <= number < len(z):
            msg = f"drop must hold numbers of slices, 0 to {len(z) - 1}; got {number}"
            raise ConventionError(msg)
        kept[number] = False
    kept[kept] = distinct(z[kept], minimum_thickness)
    return kept


def _planes(z: np.ndarray, spacing: float) -> np.ndarray:
    """Return the absolute plane number of every slice."""
    if not len(z):
        msg = "repositioning needs a slice; all are left out or marked as not measured"
        raise ConventionError(msg)
    planes = len(grid_planes(z, spacing))
    if planes < len(z):
        msg = (
            f"every slice needs a plane of its own; {len(z)} slices fall on "
            f"{planes} planes of spacing {spacing:g} nm; use a spacing of at most "
            f"{_rounded_down((z[-1] - z[0]) / (len(z) - 1)):g} nm"
        )
        raise ConventionError(msg)
    placed = free_planes(z / spacing)
    _warn_of_displacement(z, placed, spacing)
    return placed


def _warn_of_displacement(z: np.ndarray, planes: np.ndarray, spacing: float) -> None:
    """Warn where slices are so close that they are spread far from their depth."""
    displaced = np.abs(planes * spacing - z)
    if displaced.max() > _FAR * spacing:
        k = int(np.argmax(displaced))
        text = (
            f"{(displaced > _FAR * spacing).sum()} slices lie farther than {_FAR:g} planes of "
            f"{spacing:g} nm from their depth, since others fall on their plane; the one at "
            f"{z[k]:g} nm is moved by {displaced[k]:.3g} nm; minimum_thickness leaves duplicates "
            "out, and a finer spacing leaves more planes"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=4)


def _rounded_down(value: float) -> float:
    unit: float = 10.0 ** (floor(log10(value)) - 3)
    return floor(value / unit) * unit


def _on_grid(
    stack: xr.Dataset, numbers: np.ndarray, planes: np.ndarray, grid_nm: np.ndarray
) -> xr.Dataset:
    """Return what is small on the planes of the grid, and maps; attributes are kept."""
    dropped = [*planes_of(stack, numbers), "slice_thickness"]
    rest = stack.drop_vars(dropped, errors="ignore").isel(z=numbers)
    attrs = stack["z"].attrs
    rest = rest.assign_coords(
        z=("z", grid_nm[planes], attrs),
        measured=("z", np.ones(len(planes), bool), attributes("measured")),
    )
    return rest.reindex(z=xr.Variable("z", grid_nm, attrs), fill_value={"measured": False})
