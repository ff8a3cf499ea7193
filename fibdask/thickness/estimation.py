"""The public functions: estimate the thickness of slices, and put them at their depth."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from .. import blocks
from ..conventions import (
    ASSUMED_ISOTROPY,
    ConventionError,
    FibdaskWarning,
    Intervals,
    attributes,
    finish_stack,
    measured_slices,
    plain_number,
    record_step,
    recorded_steps,
    require,
    volume_names,
)
from ..pieces.planes import PickedPlanes
from ..pieces.volumes import with_volumes
from ._kernels.planes import distinct_slices
from .ruler import measure_marks, solve_marks
from .similarity import measure_similarity, solve_similarity
from .values import check_array, check_no_infinity, check_unit, implausible_warning, mean_thickness

METHODS = ("ruler", "images")
LOST = ("refuse", "interpolate", "drop")
_CHANCE = 3.0  # standard errors
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
    """Estimate the thickness of every slice, from marks of a ruler or from the images.

    Computes: it reads the images once, and returns a small result.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x) of at least two slices; for `images`, aligned.
        Slices that `measured` (z) marks as not measured are lost.
    method
        `ruler`: marks that are milled into the surface and cross a strip of the images as lines
        along y are followed along x. `images`: similarity of slices decays with their distance,
        as it does with distance in their plane.
    ruler
        For `ruler`, a table:

        `strip`: rows and columns that the marks cross, `{"y": [0, 120], "x": [0, 2000]}`, all of
        the image by default; `inclined`: the place along x, in the first slice that shows it, of
        one mark that is inclined to the milling direction, or of two that are inclined to either
        side by the same angle; `parallel`: none or two marks along the milling direction;
        `angle`: between an inclined mark and the milling direction, in degrees, or else
        `calibration`: `{"slices": [0, 400], "distance": 4000.0}`, two slices at a known distance
        in nm; `width`: of the marks, 16 pixels by default; `bright`: true where marks are
        brighter than what is around them; `units`: of places and widths, `"pixel"` (default) or
        `"nm"`.
    voltage
        The accelerating voltage in kV that is used; the lowest by default.
    region
        For `images`, the part that is used, in pixels, by axis; by default up to 1024 pixels of
        each axis, in the middle.
    max_distance
        For `images`, the largest distance in nm along y and x at which they are compared.
    isotropic
        For `images`: the texture is isotropic, and gives the scale. Otherwise thicknesses are
        relative, and scaled to the mean thickness that the stack has.
    compute
        Function that makes the values of the small lazy measurement.

    Returns
    -------
    xarray.DataArray
        Thickness (z) in nm, that is the distance to the next slice; the last slice takes the mean.
        NaN where that distance is not known, before and at a lost slice. Coordinates (z):
        `standard_error` in nm; `lost`, slices without image or mark; `step`, the distance in nm to
        the next slice that is not lost; `outlier`, an absolute z-score above 1.5; with `ruler`
        `parallel_distance` in nm; with `images` `quality`, the similarity of a slice to its
        neighbours relative to what their distance lets expect, below 1 for blurred ones.

    Raises
    ------
    ConventionError
        If an argument does not fit the stack, grey values are NaN, or too few slices show
        anything.

    Warns
    -----
    FibdaskWarning
        If the mean thickness is more than five times that of the stack, or less than a fifth; if
        an isotropic texture makes it 5 % more or less than that of the stack; or if a ruler is
        measured after stripes, which its marks look like, were removed.

    Notes
    -----
    `ruler`: with α the angle, dz = ds / tan α for one inclined mark, whose place is counted from
    the middle of the parallel ones, and dz = dd / (2 tan α) for the distance d of two. A place is
    that of a Gaussian fitted to the mean of the rows of the strip, and its standard error that of
    the fit. The distance of the parallel marks should stay, and the middle of two inclined ones
    with theirs: a warning names where it does not.

    `images`: after the idea of Hanslovsky, Bogovic and Saalfeld, Bioinformatics 33 (2017)
    1379-1386, that similarity is a function of distance alone. The correlation of a slice with the
    next one is looked up among those of both with themselves, moved along y and along x. White
    noise, which lowers both, is told by extrapolating the latter to distance 0. A slice that is
    farther from its neighbours than these are from one another is poor: one factor, its quality,
    explains what it lacks in similarity with both. The standard error is derived from how much
    distances read along y and along x differ, in each slice and throughout, from how far two steps
    miss the distance across them, and from what subtracting the background does to the scale. It
    leaves out how much the texture along z differs from that along y and x: the scale is as true
    as the texture is isotropic, and isotropy errors of a stack that takes it prove nothing.
    Where `isotropic` is false, it is the error of one thickness against the others.
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
    _warn_of_another_scale(found, require(stack))
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
    if method not in METHODS:
        msg = f"method must be one of {', '.join(METHODS)}; got {method!r}"
        raise ConventionError(msg)
    options = {"region": region, "max_distance": max_distance, "isotropic": isotropic}
    _check_options(method, ruler, options)
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


def _warn_of_another_scale(found: xr.DataArray, stack: xr.Dataset) -> None:
    """Warn where the mean thickness is far from what the stack says."""
    mean, nominal = float(found.mean()), float(stack["slice_thickness"].mean())
    if not 1 / _FAR < mean / nominal < _FAR:
        text = (
            f"slices are estimated to be {mean:.3g} nm thick in the mean, those of the stack are "
            f"{nominal:.3g} nm; an angle is in degrees, and lengths in nm"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=3)
    elif found.attrs.get("scale") == ASSUMED_ISOTROPY and abs(mean / nominal - 1) > _OFF:
        text = (
            f"slices are estimated to be {mean:.4g} nm thick on average, {mean / nominal - 1:+.1%} "
            f"off the {nominal:.4g} nm of the stack; that scale comes from the texture of the "
            "images, taken to be isotropic: isotropy errors will prove nothing, and "
            "isotropic=False keeps the mean"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=3)


def _check_options(
    method: str, ruler: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> None:
    """Refuse options of the other method."""
    if method == "images":
        if ruler is not None:
            msg = "ruler, a table of marks, goes with method 'ruler' only; got method 'images'"
            raise ConventionError(msg)
        return
    if ruler is None:
        msg = "method 'ruler' needs the table ruler; got none"
        raise ConventionError(msg)
    for name, value in options.items():
        if value is not None and value is not True:
            msg = f"{name} goes with method 'images' only; got {value!r} with method 'ruler'"
            raise ConventionError(msg)


def apply_slice_thickness(
    stack: xr.Dataset,
    thickness: xr.DataArray | Sequence[float] | np.ndarray,
    *,
    lost: str = "refuse",
    drop_thinner: float | None = None,
) -> xr.Dataset:
    """Put the slices of a stack at the depth that their thicknesses add up to.

    Lazy. z[0] is kept, and z[k+1] = z[k] + thickness[k].

    Parameters
    ----------
    stack
        Any stack; all its variables are kept.
    thickness
        In nm (z): of `estimate_slice_thickness`, or one number for each slice. That of the last
        slice is its nominal one.
    lost
        What becomes of slices whose thickness is NaN. `refuse`: an error names them.
        `interpolate`: those that are lost lie evenly between the slices around them, and where
        that distance is not known either, each has the mean thickness; those that were lost by
        method `images` are marked as not measured, so that `reposition_slices` leaves them out.
        `drop`: slices that are lost are taken out of the stack.
    drop_thinner
        Slices less than this far in nm below the one before are taken out, as its duplicates.

    Returns
    -------
    xarray.Dataset
        The stack with new z and `slice_thickness`.

    Raises
    ------
    ConventionError
        If thicknesses do not fit the slices, are NaN and not asked to be filled, are not positive,
        or are in a wrong unit. With `drop_thinner`, those of estimates may be negative by chance:
        by up to three standard errors.

    Warns
    -----
    FibdaskWarning
        If more than a tenth of the slices is at most 1 nm thick, and none is dropped for it.
    """
    stack = require(stack)
    if lost not in LOST:
        msg = f"lost must be one of {', '.join(LOST)}; got {lost!r}"
        raise ConventionError(msg)
    given = _Given.of(stack, thickness)
    nominal = float(stack["slice_thickness"].mean())
    check_unit(given.thickness, nominal, thin=drop_thinner is not None)
    given.refuse_negative()
    if lost == "refuse":
        given.refuse_unknown()
    elif lost == "drop":
        given.refuse_unplaced()
    depth = stack["z"].values[0] + given.depth()
    kept = ~given.lost if lost == "drop" else np.ones(len(depth), bool)
    kept = _kept(depth, kept, drop_thinner)
    stack = stack.assign_coords(z=("z", depth, given.z_attrs(stack["z"].attrs)))
    if lost == "interpolate" and given.blank.any():
        measured = measured_slices(stack) & ~given.blank
        stack = stack.assign_coords(measured=("z", measured, attributes("measured")))
    moved = _sliced(stack, np.flatnonzero(kept))
    moved = finish_stack(moved, nominal_thickness=given.nominal)
    warning = implausible_warning(given.thickness[:-1])
    if warning is not None and drop_thinner is None:
        warnings.warn(warning, stacklevel=2)
    parameters = {
        "lost": lost,
        "drop_thinner": drop_thinner,
        "dropped_slices": np.flatnonzero(~kept),
        "source": given.source,
        "assumed_isotropic": given.isotropic,
    }
    volumes = [stack[name].data for name in volume_names(stack)]
    token = blocks.fingerprint(given.steps, *map(blocks.array_token, volumes))
    return record_step(moved, "apply_slice_thickness", parameters, token)


@dataclass(frozen=True, eq=False)
class _Given:
    """Thicknesses as they were handed in.

    Attributes
    ----------
    thickness, steps
        Distance in nm to the next slice, and to the next that is not lost (z).
    errors
        Standard error in nm, 0 where it is not known (z).
    lost
        Slices that could not be used (z).
    source
        Where they come from.
    isotropic
        Their scale was taken from images whose texture was assumed to be isotropic.
    """

    thickness: np.ndarray
    steps: np.ndarray
    errors: np.ndarray
    lost: np.ndarray
    source: str
    isotropic: bool

    @classmethod
    def of(cls, stack: xr.Dataset, thickness: Any) -> "_Given":
        values = np.asarray(thickness, np.float64)
        count = stack.sizes["z"]
        if values.shape != (count,):
            msg = f"thickness must have one value for each of {count} slices; got {values.shape}"
            raise ConventionError(msg)
        check_no_infinity(values)
        steps, lost, source, isotropic = values, np.zeros(count, bool), "given", False
        errors = np.zeros(count)
        if isinstance(thickness, xr.DataArray):
            check_array(thickness)
            _check_place(stack, thickness)
            source = str(thickness.attrs.get("method", source))
            isotropic = thickness.attrs.get("scale") == ASSUMED_ISOTROPY
            if "standard_error" in thickness.coords:
                errors = np.nan_to_num(thickness["standard_error"].values)
            if "lost" in thickness.coords and "step" in thickness.coords:
                lost = thickness["lost"].values.astype(bool)
                steps = np.where(np.isnan(values), thickness["step"].values, values)
        return cls(values, steps, errors, lost, source, isotropic)

    @property
    def blank(self) -> np.ndarray:
        """Slices whose image is of no use (z); one that lost its ruler's mark may show more."""
        return self.lost & (self.source == "images")

    @property
    def nominal(self) -> float:
        """Thickness of the last slice."""
        last = float(self.thickness[-1])
        return last if np.isfinite(last) else mean_thickness(self.steps, self.lost)

    def z_attrs(self, attrs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes of z, which tell where its scale is an assumption."""
        kept = {key: value for key, value in attrs.items() if key != "scale"}
        return kept | ({"scale": ASSUMED_ISOTROPY} if self.isotropic else {})

    def refuse_unknown(self) -> None:
        unknown = np.isnan(self.thickness[:-1])
        if unknown.any():
            k = int(np.argmax(unknown))
            msg = (
                f"thickness must be known; {np.count_nonzero(unknown)} of {len(unknown) + 1} "
                f"slices have NaN, slice {k} the first; interpolate or drop what is lost"
            )
            raise ConventionError(msg)

    def refuse_negative(self) -> None:
        negative = self.steps[:-1] < -_CHANCE * self.errors[:-1]
        if negative.any():
            k = int(np.argmax(negative))
            msg = f"thickness must be > 0 nm; slice {k} has {self.steps[k]:g} nm"
            raise ConventionError(msg)

    def refuse_unplaced(self) -> None:
        kept = np.flatnonzero(~self.lost)
        unplaced = np.isnan(self.steps[kept[:-1]])
        if unplaced.any():
            k = int(kept[np.argmax(unplaced)])
            msg = (
                f"slice {k} is not lost, but the distance to the next one is not known; "
                "interpolate what is lost"
            )
            raise ConventionError(msg)

    def depth(self) -> np.ndarray:
        """Return depth in nm below the first slice; lost slices lie evenly between others."""
        if len(self.lost) == 1:
            return np.zeros(1)
        kept = np.flatnonzero(~self.lost)
        mean = mean_thickness(self.steps, self.lost)
        spans = np.diff(kept)
        steps = self.steps[kept[:-1]]
        steps = np.where(np.isnan(steps), spans * mean, steps)
        faces = np.append(0.0, np.cumsum(steps))
        depth = np.interp(np.arange(len(self.lost)), kept, faces)
        depth[: kept[0]] = (np.arange(kept[0]) - kept[0]) * mean
        below = np.arange(1, len(self.lost) - kept[-1])
        depth[kept[-1] + 1 :] = faces[-1] + below * mean
        shifted: np.ndarray = depth - depth[0]
        return shifted


def _check_place(stack: xr.Dataset, thickness: xr.DataArray) -> None:
    if "z" in thickness.coords and not np.array_equal(thickness["z"], stack["z"]):
        k = int(np.argmax(thickness["z"].values != stack["z"].values))
        msg = (
            "thickness must be that of the slices of the stack, on the same z; slice "
            f"{k} has {thickness['z'].values[k]:g} nm, in the stack {stack['z'].values[k]:g} nm"
        )
        raise ConventionError(msg)


def _kept(depth: np.ndarray, kept: np.ndarray, drop_thinner: float | None) -> np.ndarray:
    """Return which slices stay; those that do lie deeper than the ones before."""
    if drop_thinner is None:
        places = np.flatnonzero(kept)
        steps = np.diff(depth[places])
        if (steps <= 0).any():
            k = int(places[np.argmax(steps <= 0)])
            msg = (
                f"thickness must be > 0 nm; slice {k} has {steps[steps <= 0][0]:g} nm; "
                "drop_thinner takes duplicates out"
            )
            raise ConventionError(msg)
        return kept
    if not 0 < plain_number(drop_thinner) < np.inf:
        msg = f"drop_thinner must be > 0 nm; got {drop_thinner!r} nm"
        raise ConventionError(msg)
    chosen = kept.copy()
    chosen[kept] = distinct_slices(depth[kept], drop_thinner)
    return chosen


def _sliced(stack: xr.Dataset, places: np.ndarray) -> xr.Dataset:
    """Return some slices of a stack, lazily; the others are not read for themselves."""
    if len(places) == stack.sizes["z"]:
        return stack
    volumes = volume_names(stack)
    chosen = stack.drop_vars(volumes).isel(z=places)
    chosen = with_volumes(stack, dict.fromkeys(volumes, PickedPlanes(places)), chosen)
    return chosen[list(stack.data_vars)]
