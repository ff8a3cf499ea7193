"""The thickness of slices, estimated from a ruler or from the images themselves."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

from ..conventions import (
    ConventionError,
    FibdaskWarning,
    Intervals,
    OptionTable,
    check_belongs,
    check_choice,
    recorded_steps,
    require,
)
from .ruler import measure_marks, solve_marks
from .similarity import measure_similarity, solve_similarity

METHODS = ("ruler", "images")
_OPTIONS: OptionTable = {
    "ruler": (None, ("ruler",)),
    "region": (None, ("images",)),
    "max_distance": (None, ("images",)),
    "isotropic": (True, ("images",)),
}
_FAR = 5.0  # times
_OFF = 0.05  # relative


def estimate_slice_thickness(
    stack: xr.Dataset,
    *,
    method: str = "ruler",
    ruler: Mapping[str, Any] | None = None,
    voltage: float | None = None,
    region: Intervals | None = None,
    max_distance: float | None = None,
    isotropic: bool = True,
    compute: Callable[[xr.DataArray], xr.DataArray] = xr.DataArray.compute,
) -> xr.DataArray:
    """Estimate the thickness of every slice, from ruler marks or from the images.

    Computes: reads the images once and returns a small result.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x) of at least two slices; for `images`, aligned.
        Slices that `measured` (z) marks as not measured are lost.
    method
        `ruler` follows, along x, marks that are milled into the surface and cross a strip of the
        images as lines along y. `images` compares slices: their similarity decays with their
        distance, as it does with distance in their plane.
    ruler
        For `ruler`, a table of its marks.

        `strip`: rows and columns that the marks cross, `{"y": [0, 120], "x": [0, 2000]}`; by
        default all that no slice has filled pixels in. `inclined`: place along x, in the first
        slice that shows it, of one mark inclined to the milling direction, or of two inclined to
        either side by the same angle. `parallel`: none or two marks along the milling direction.
        `angle`: angle in degrees between an inclined mark and the milling direction; or instead
        `calibration`: two slices at a known distance in nm,
        `{"slices": [0, 400], "distance": 4000.0}`. `width`: width of the marks, by default 16
        pixels. `bright`: true if marks are brighter than their surroundings. `units`: unit of
        places and widths, `"pixel"` (default) or `"nm"`; places in nm are coordinates y and x.
    voltage
        Accelerating voltage in kV to use; by default the lowest.
    region
        For `images`: pixels to use, by axis; by default up to 1024 of each axis, in the middle of
        what no slice has filled pixels in.
    max_distance
        For `images`: largest distance in nm along y and x at which they are compared; by default 32
        pixels or four slices, whichever is more, and at most half the region.
    isotropic
        For `images`: whether the texture is isotropic and sets the scale. If false, thicknesses are
        relative, scaled to the mean thickness of the stack.
    compute
        Function that computes the small lazy measurement.

    Returns
    -------
    xarray.DataArray
        Thickness (z) in nm: the distance to the next slice; the last slice takes the mean. NaN
        where that distance is not known: before and at a lost slice. Coordinates (z):

        - `standard_error` in nm;
        - `lost`: slices without image or mark;
        - `step`: distance in nm to the next slice that is not lost;
        - `outlier`: an absolute z-score above 1.5;
        - `next_z` in nm: the z of the next slice in the stack;
        - `parallel_distance` in nm, with `ruler`;
        - `quality`, with `images`: similarity of a slice to its neighbours relative to that
          expected from their distance, below 1 for blurred slices.

    Raises
    ------
    ConventionError
        If an argument does not fit the stack, grey values are NaN, or too few slices show
        anything.

    Warns
    -----
    FibdaskWarning
        If the mean thickness is more than five times that of the stack, or less than a fifth; if an
        isotropic texture makes it 5 % more or less than that of the stack; or if a ruler is
        measured after stripes, which look like its marks, were removed.

    Notes
    -----
    `ruler`: with the angle α, dz = ds / tan α for one inclined mark, whose place is counted from
    the middle of the parallel ones, and dz = dd / (2 tan α) for the distance d of two. A place
    comes from a Gaussian fitted to the mean of the rows of the strip, with the standard error of
    the fit. The distance of the parallel marks should stay constant, as should the middle of two
    inclined marks relative to theirs: a warning names where it does not.

    `images`: based on the idea of Hanslovsky, Bogovic and Saalfeld, Bioinformatics 33 (2017)
    1379-1386, that similarity is a function of distance alone. The correlation of a slice with the
    next one is looked up among the correlations of both with themselves, moved along y and along x.
    White noise lowers both; extrapolating the latter to distance 0 measures it. A slice that is
    farther from its neighbours than these are from one another is poor: one factor, its quality,
    explains what it lacks in similarity with both.

    The standard error combines three parts: how much distances read along y and along x differ, in
    each slice and throughout; how far two steps miss the distance across them; and what subtracting
    the background does to the scale. It leaves out how much the texture along z differs from that
    along y and x. The scale is as true as the texture is isotropic: isotropy errors of a stack
    scaled so prove nothing. Where `isotropic` is false, the standard error is that of one
    thickness against the others.
    """
    measurement = thickness_measurement(
        stack,
        method=method,
        ruler=ruler,
        voltage=voltage,
        region=region,
        max_distance=max_distance,
        isotropic=isotropic,
    )
    if method == "ruler":
        found = solve_marks(compute(measurement))
    else:
        found = solve_similarity(compute(measurement), isotropic=isotropic)
    _warn_of_another_scale(found, require(stack), own=not isotropic)
    return found


def thickness_measurement(
    stack: xr.Dataset,
    *,
    method: str = "ruler",
    ruler: Mapping[str, Any] | None = None,
    voltage: float | None = None,
    region: Intervals | None = None,
    max_distance: float | None = None,
    isotropic: bool = True,
) -> xr.DataArray:
    """Return what `estimate_slice_thickness` measures, lazily; arguments are the same.

    Raises
    ------
    ConventionError
        See `estimate_slice_thickness`.

    Warns
    -----
    FibdaskWarning
        If a ruler is measured after stripes, which its marks look like, were removed.
    """
    check_choice("method", method, METHODS)
    given = {"ruler": ruler, "region": region, "max_distance": max_distance, "isotropic": isotropic}
    check_belongs(method, given, _OPTIONS)
    if method == "ruler" and ruler is None:
        msg = "method 'ruler' needs the table ruler; got none"
        raise ConventionError(msg)
    stack = require(stack, "intensity")
    if ruler is not None:
        _warn_of_lost_marks(stack)
        return measure_marks(stack, ruler, voltage=voltage)
    return measure_similarity(stack, voltage=voltage, max_distance=max_distance, region=region)


def _warn_of_lost_marks(stack: xr.Dataset) -> None:
    """Warn where stripes were taken out of the images: the marks of a ruler look like them."""
    if any(record["step"] == "remove_curtaining" for record in recorded_steps(stack)):
        text = (
            "remove_curtaining has taken stripes out of the images, and marks of a ruler look like "
            "them; measure the ruler before"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=4)


def _warn_of_another_scale(found: xr.DataArray, stack: xr.Dataset, *, own: bool) -> None:
    """Warn where the mean thickness is far from what the stack says, unless it is the `own` one."""
    mean, nominal = float(found.mean()), float(stack["slice_thickness"].mean())
    if not 1 / _FAR < mean / nominal < _FAR:
        text = (
            f"slices are estimated to be {mean:.3g} nm thick in the mean, those of the stack are "
            f"{nominal:.3g} nm; an angle is in degrees, and lengths in nm"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=3)
    elif not own and found.attrs.get("scale") and abs(mean / nominal - 1) > _OFF:
        text = (
            f"slices are estimated to be {mean:.4g} nm thick on average, {mean / nominal - 1:+.1%} "
            f"off the {nominal:.4g} nm of the stack; that scale comes from the texture of the "
            "images, taken to be isotropic: isotropy errors will prove nothing, and "
            "isotropic=False keeps the mean"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=3)
