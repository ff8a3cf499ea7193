"""Slices put at their depth, which follows from their thickness."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from .. import blocks
from ..conventions import (
    ASSUMED_ISOTROPY,
    ConventionError,
    FibdaskWarning,
    attributes,
    check_choice,
    finish_stack,
    measured_slices,
    plain_number,
    record_step,
    require,
    volume_names,
)
from ..pieces.image_header import ImageNames
from ..pieces.planes import planes_of
from ..pieces.volumes import with_volumes
from .values import (
    check_array,
    check_no_infinity,
    check_unit,
    distinct,
    implausible_warning,
    mean_thickness,
)

LOST = ("refuse", "interpolate", "drop")
_CHANCE = 3.0  # standard errors
_ROUNDING = 0.02  # of the mean thickness, by which users round


def apply_slice_thickness(
    stack: xr.Dataset,
    thickness: xr.DataArray | Sequence[float] | np.ndarray,
    *,
    lost: str = "refuse",
    drop_thinner: float | None = None,
) -> xr.Dataset:
    """Place the slices of a stack at the depths that their thicknesses add up to.

    Lazy. z[0] is kept, and z[k+1] = z[k] + thickness[k].

    Parameters
    ----------
    stack
        Any stack; all its variables are kept.
    thickness
        In nm (z): from `estimate_slice_thickness`, or one number for each slice. That of the last
        slice is nominal. Changed values of an estimate are used as they stand; its coordinate
        `step`, the distance of the slices around lost ones, is scaled with them.
    lost
        What to do where thickness is NaN. `refuse`: an error names these slices. `interpolate`:
        lost slices lie evenly between the slices around them or, if that distance is unknown too,
        each has the mean thickness; those lost by method `images` are marked as not measured, so
        that `reposition_slices` leaves them out. `drop`: lost slices are taken out of the stack.
    drop_thinner
        Least distance in nm to the slice before; closer slices are taken out as its duplicates.

    Returns
    -------
    xarray.Dataset
        The stack with new z and `slice_thickness`.

    Raises
    ------
    ConventionError
        If thicknesses do not fit the slices, are NaN where `lost` does not allow it, are not
        positive, or are in a wrong unit; or if those of an estimate were changed by more than one
        factor, and the distance across lost slices was not. With `drop_thinner`, thicknesses of
        estimates may be negative by chance: by up to three standard errors.

    Warns
    -----
    FibdaskWarning
        If more than a tenth of the slices are at most 1 nm thick and none is dropped for it; if
        most are taken out as duplicates; or if given thicknesses do not reach across slices whose
        files are missing.
    """
    stack = require(stack)
    check_choice("lost", lost, LOST)
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
    if given.source == "given":
        _warn_of_closed_gaps(stack)
    parameters = {
        "lost": lost,
        "drop_thinner": drop_thinner,
        "dropped_slices": np.flatnonzero(~kept),
        "source": given.source,
        "assumed_isotropic": given.isotropic,
    }
    volumes = [stack[name].data for name in volume_names(stack)]
    token = blocks.fingerprint(given.steps, given.unplaced, *map(blocks.array_token, volumes))
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
    unplaced
        Those of them whose place no thickness tells (z).
    source
        Where they come from.
    isotropic
        Their scale was taken from images whose texture was assumed to be isotropic.
    """

    thickness: np.ndarray
    steps: np.ndarray
    errors: np.ndarray
    lost: np.ndarray
    unplaced: np.ndarray
    source: str
    isotropic: bool

    @classmethod
    def of(cls, stack: xr.Dataset, thickness: Any) -> "_Given":
        try:
            values = np.asarray(thickness, np.float64)
        except (TypeError, ValueError):
            kind = type(thickness).__name__
            msg = (
                f"thickness must be numbers of nm, one for each slice; got what is none, in {kind}"
            )
            raise ConventionError(msg) from None
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
            source = "images" if "quality" in thickness.coords else source  # without attributes
            source = str(thickness.attrs.get("method", source))
            # What is made of the stack's own has the scale of its z.
            own = source == "given" and thickness.name == "slice_thickness"
            told = stack["z"].attrs if own else thickness.attrs
            isotropic = told.get("scale") == ASSUMED_ISOTROPY
            if "standard_error" in thickness.coords:
                errors = np.nan_to_num(thickness["standard_error"].values)
            if "lost" in thickness.coords:
                lost = thickness["lost"].values.astype(bool)
        unplaced = _unplaced(values, lost)
        if isinstance(thickness, xr.DataArray) and "step" in thickness.coords:
            across = np.append(unplaced[1:], False)
            steps = _with_steps_across(values, thickness["step"].values, across)
        return cls(values, steps, errors, lost, unplaced, source, isotropic)

    @property
    def blank(self) -> np.ndarray:
        """Slices whose image is of no use (z); one that lost its ruler's mark may show more."""
        return self.lost & (self.source == "images")

    @property
    def nominal(self) -> float:
        """Thickness of the last slice."""
        last = float(self.thickness[-1])
        return last if np.isfinite(last) else mean_thickness(self.steps, self.unplaced)

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
        placed = np.flatnonzero(~self.unplaced)
        unknown = np.isnan(self.steps[placed[:-1]])
        if unknown.any():
            k = int(placed[np.argmax(unknown)])
            msg = (
                f"the distance from slice {k} to the next one is not known; interpolate what is "
                "lost"
            )
            raise ConventionError(msg)

    def depth(self) -> np.ndarray:
        """Return depth in nm below the first slice; unplaced ones lie evenly between others."""
        if len(self.lost) == 1:
            return np.zeros(1)
        placed = np.flatnonzero(~self.unplaced)
        mean = mean_thickness(self.steps, self.unplaced)
        spans = np.diff(placed)
        steps = self.steps[placed[:-1]]
        steps = np.where(np.isnan(steps), spans * mean, steps)
        faces = np.append(0.0, np.cumsum(steps))
        depth = np.interp(np.arange(len(self.lost)), placed, faces)
        depth[: placed[0]] = (np.arange(placed[0]) - placed[0]) * mean
        below = np.arange(1, len(self.lost) - placed[-1])
        depth[placed[-1] + 1 :] = faces[-1] + below * mean
        shifted: np.ndarray = depth - depth[0]
        return shifted


def _with_steps_across(values: np.ndarray, step: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Return thickness in nm (z), and before slices without a place, the step across them.

    Raises
    ------
    ConventionError
        If such a step is not known of the thickness as it is given.
    """
    across = across & np.isfinite(step)
    if not across.any():
        return values
    both = np.flatnonzero(np.isfinite(values) & np.isfinite(step) & (step != 0))
    if not len(both):
        return np.where(across, step, values)
    # Most tell by which factor all were scaled; some may have been edited besides.
    factor = float(np.median(values[both] / step[both]))
    within = _ROUNDING * factor * np.abs(step[both]).mean()
    other = np.abs(values[both] - factor * step[both]) > within
    if 2 * np.count_nonzero(other) >= len(both):
        k, first = int(both[np.argmax(other)]), int(np.argmax(across))
        msg = (
            f"thickness was changed, at slice {k} from {step[k]:g} to {values[k]:g} nm, but its "
            f"coordinate step was not, which tells how far slice {first} is from the one after "
            'lost ones: change step, too, or take it away (drop_vars("step"))'
        )
        raise ConventionError(msg)
    steps: np.ndarray = np.where(across, factor * step, values)
    return steps


def _unplaced(values: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Return which lost slices (z) no thickness places: that before them, and theirs, are NaN."""
    told = np.isfinite(values)
    told[-1] = False  # it reaches no slice
    run = np.cumsum(~lost)  # of a slice and the lost ones that follow it
    unplaced: np.ndarray = lost & (np.bincount(run, told)[run] == 0)
    return unplaced


def _check_place(stack: xr.Dataset, thickness: xr.DataArray) -> None:
    if "z" in thickness.coords and not np.array_equal(thickness["z"], stack["z"]):
        k = int(np.argmax(thickness["z"].values != stack["z"].values))
        msg = (
            "thickness must be that of the slices of the stack, on the same z; slice "
            f"{k} has {thickness['z'].values[k]:g} nm, in the stack {stack['z'].values[k]:g} nm"
        )
        raise ConventionError(msg)
    if "next_z" in thickness.coords:
        reached, following = thickness["next_z"].values[:-1], stack["z"].values[1:]
        moved = np.isfinite(reached) & (reached != following)
        if moved.any():
            k = int(np.argmax(moved))
            msg = (
                f"thickness is the distance to the next slice; that of slice {k} was measured to "
                f"the slice at z {reached[k]:g} nm, and the next one here is at {following[k]:g} "
                "nm: choose or move slices once thickness is applied, or measure it on these"
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
    chosen[kept] = distinct(depth[kept], drop_thinner)
    return chosen


def _warn_of_closed_gaps(stack: xr.Dataset) -> None:
    """Say where slices with missing files between them lie as close as others.

    All distances across together, which scatter as slices do, are nearer to those of as many slices
    as there are than of as many as their numbers skip.
    """
    images = ImageNames.of(stack)
    if images is None or not len(images.numbers):
        return
    spans, distances = images.spans, np.diff(stack["z"].values)
    usual = float(np.median(distances[spans == 1]))
    across = np.flatnonzero(spans > 1)
    if distances[across].sum() < usual * np.sqrt(len(across) * spans[across].sum()):
        k = int(across[0])
        before, after = images.numbers[k : k + 2]
        more = f"; there are {len(across) - 1} more such places" if len(across) > 1 else ""
        text = (
            f"files are missing between slice {k} (image {before}) and slice {k + 1} (image "
            f"{after}), which the thickness given puts {distances[k]:g} nm apart, others "
            f"{usual:g} nm{more}: give slice {k} its distance to slice {k + 1}, the missing "
            "ones included"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=3)


def _sliced(stack: xr.Dataset, places: np.ndarray) -> xr.Dataset:
    """Return some slices of a stack, lazily; the others are not read for themselves."""
    if len(places) == stack.sizes["z"]:
        return stack
    picked = planes_of(stack, places)
    chosen = with_volumes(stack, picked, stack.drop_vars(list(picked)).isel(z=places))
    return chosen[list(stack.data_vars)]
