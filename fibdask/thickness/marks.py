"""The table of a ruler: where its marks are, read and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from ..conventions import (
    ConventionError,
    axis_spacing,
    covered_part,
    covered_region,
    plain_number,
)

_WIDTH = 16.0  # pixels
_KEYS = ("strip", "parallel", "inclined", "angle", "calibration", "width", "bright", "units")


@dataclass(frozen=True)
class Marks:
    """The marks of a ruler, in pixels.

    Attributes
    ----------
    parallel, inclined
        Place of each mark along x, in the first slice that shows it.
    tangent
        Of the angle between the inclined marks and the milling direction.
    calibration
        In its place: two slices, and their distance in nm.
    width
        Of the marks.
    bright
        They are brighter than what is around them.
    """

    parallel: Sequence[float]
    inclined: Sequence[float]
    tangent: float | None
    calibration: tuple[int, int, float] | None
    width: float
    bright: bool


@dataclass(frozen=True)
class _Scale:
    """What places along an axis are told in: pixels, or nm as its coordinate has them.

    Attributes
    ----------
    first, step
        Place of the first pixel, and the distance of pixels.
    size
        Number of pixels.
    unit
        Of places, in words.
    """

    first: float
    step: float
    size: int
    unit: str

    @classmethod
    def of(cls, stack: xr.Dataset, axis: str, units: str) -> "_Scale":
        if units == "pixel":
            return cls(0.0, 1.0, stack.sizes[axis], "pixels")
        return cls(float(stack[axis][0]), axis_spacing(stack, axis), stack.sizes[axis], "nm")

    def pixels(self, places: Sequence[float]) -> tuple[float, ...]:
        return tuple((place - self.first) / self.step for place in places)


def read_ruler(geometry: Mapping[str, Any], stack: xr.Dataset) -> tuple[tuple[slice, slice], Marks]:
    """Return the strip of a ruler, rows and columns, and its marks; they must lie in the images."""
    _check_keys("a ruler", geometry, _KEYS)
    units = geometry.get("units", "pixel")
    if units not in ("pixel", "nm"):
        msg = f"units of a ruler must be 'pixel' or 'nm'; got {units!r}"
        raise ConventionError(msg)
    scales = {axis: _Scale.of(stack, axis, units) for axis in ("y", "x")}
    bright = geometry.get("bright", False)
    if not isinstance(bright, bool | np.bool_):
        msg = f"bright of a ruler must be true or false; got {bright!r}"
        raise ConventionError(msg)
    given = geometry.get("strip", {})
    _check_keys("the strip of a ruler", given, ("y", "x"))
    strip = {
        axis: covered if given.get(axis) is None else _strip(axis, given[axis], scales[axis])
        for axis, covered in covered_region(stack).items()
    }
    rows, columns = covered_part(stack, strip, "the strip of a ruler").values()
    width = plain_number(geometry["width"]) / scales["x"].step if "width" in geometry else _WIDTH
    length = columns.stop - columns.start
    if not 4 <= width <= length / 3:
        msg = (
            "width of a ruler's marks must be from 4 pixels to a third of the strip, "
            f"{length / 3:g} pixels; got {geometry.get('width', width)!r} {units}"
        )
        raise ConventionError(msg)
    tangent, calibration = _slope(geometry, stack.sizes["z"])
    parallel = _marks("parallel", geometry, scales["x"], columns, (0, 2))
    inclined = _marks("inclined", geometry, scales["x"], columns, (1, 2))
    _check_apart(sorted((*parallel, *inclined)), width)
    marks = Marks(parallel, inclined, tangent, calibration, width, bool(bright))
    return (rows, columns), marks


def _check_keys(name: str, table: Any, known: Sequence[str]) -> None:
    if not isinstance(table, Mapping):
        msg = f"{name} must be a table with keys of {', '.join(known)}; got {table!r}"
        raise ConventionError(msg)
    unknown = [key for key in table if key not in known]
    if unknown:
        msg = f"{name} has the keys {', '.join(known)}; got {unknown[0]!r}"
        raise ConventionError(msg)


def _numbers(values: Any) -> tuple[float, ...]:
    """Return numbers of a list, or of one number alone; NaN for what is none."""
    several = isinstance(values, Sequence) or getattr(values, "ndim", 0) > 0
    if isinstance(values, str) or not several:
        return (plain_number(values),)
    return tuple(plain_number(value) for value in values)


def _strip(axis: str, given: Any, scale: _Scale) -> slice:
    edges = np.rint(scale.pixels(_numbers(given)))
    if len(edges) != 2 or not 0 <= edges[0] < edges[1] <= scale.size:
        msg = (
            "the strip of a ruler must lie in the image, from a first to a last place along "
            f"{axis} within {scale.first:g} and {scale.first + scale.size * scale.step:g} "
            f"{scale.unit}; got {given!r}"
        )
        raise ConventionError(msg)
    return slice(int(edges[0]), int(edges[1]))


def _marks(
    name: str, geometry: Mapping[str, Any], scale: _Scale, columns: slice, counts: tuple[int, ...]
) -> tuple[float, ...]:
    given = geometry.get(name, ())
    marks = scale.pixels(_numbers(given))
    if len(marks) not in counts:
        wanted = " or ".join(str(count) for count in counts)
        msg = f"a ruler has {wanted} {name} marks; got {len(marks)}"
        raise ConventionError(msg)
    if not np.isfinite(marks).all():
        msg = f"the {name} marks of a ruler must be numbers, places along x; got {given!r}"
        raise ConventionError(msg)
    for mark in marks:
        if not columns.start <= mark < columns.stop:
            msg = (
                f"the {name} mark at {mark:g} pixels lies outside the strip of the ruler, "
                f"{columns.start} to {columns.stop} pixels along x"
            )
            raise ConventionError(msg)
    return marks


def _check_apart(marks: Sequence[float], width: float) -> None:
    for left, right in pairwise(marks):
        if right - left < 2 * width:
            msg = (
                f"marks of a ruler must be two widths, {2 * width:g} pixels, apart; "
                f"those at {left:g} and {right:g} pixels are closer"
            )
            raise ConventionError(msg)


def _slope(
    geometry: Mapping[str, Any], count: int
) -> tuple[float | None, tuple[int, int, float] | None]:
    """Return the tangent of the angle, or two slices and their distance in nm."""
    if ("angle" in geometry) == ("calibration" in geometry):
        msg = "a ruler needs either angle, in degrees, or calibration, of two slices"
        raise ConventionError(msg)
    if "angle" in geometry:
        angle = plain_number(geometry["angle"])
        if not 0 < angle < 90:
            msg = (
                "angle of a ruler must be a number between 0 and 90 degrees; "
                f"got {geometry['angle']!r}"
            )
            raise ConventionError(msg)
        return float(np.tan(np.radians(angle))), None
    return None, _calibration(geometry["calibration"], count)


def _calibration(given: Any, count: int) -> tuple[int, int, float]:
    _check_keys("calibration of a ruler", given, ("slices", "distance"))
    slices = _numbers(given.get("slices", ()))
    distance = plain_number(given.get("distance"))
    whole = len(slices) == 2 and all(k.is_integer() for k in slices)
    if not (whole and 0 <= slices[0] < slices[1] < count and 0 < distance < np.inf):
        msg = (
            f"calibration of a ruler must be slices, two of 0 to {count - 1}, in order, and their "
            f"distance in nm; got slices {given.get('slices')!r} and distance "
            f"{given.get('distance')!r}"
        )
        raise ConventionError(msg)
    return int(slices[0]), int(slices[1]), distance
