"""Slice thickness from a ruler: marks milled into the surface at a known angle."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from .. import blocks
from ..conventions import (
    ConventionError,
    FibdaskWarning,
    axis_spacing,
    measured_slices,
    plain_value,
    require,
    voltage_index,
)
from ._functions import SLICES_PER_TASK, StripMeans
from ._kernels.ruler import track_mark
from .marks import Marks, read_ruler
from .similarity import check_slices
from .values import thickness_array

_SCALE_TOLERANCE = 0.01


def measure_marks(
    stack: xr.Dataset, ruler: Mapping[str, Any], *, voltage: float | None = None
) -> xr.DataArray:
    """Average the rows of the strip that the marks of a ruler cross, slice by slice.

    Lazy: one task for up to 16 slices, which reads only the strip.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x) of at least two slices.
    ruler
        See `estimate_slice_thickness`.
    voltage
        The accelerating voltage in kV that is used; the lowest by default.

    Returns
    -------
    xarray.DataArray
        Float64 (z, pixel): mean grey values, for `solve_marks`; with `measured` (z).

    Raises
    ------
    ConventionError
        If the stack has one slice, or the ruler does not lie in its images.
    """
    stack = require(stack, "intensity")
    check_slices(stack)
    place = voltage_index(stack, voltage)
    strip, marks = read_ruler(ruler, stack)
    columns = np.arange(strip[1].start, strip[1].stop)
    shape = (stack.sizes["z"], len(columns))
    values = blocks.map_blocks(
        StripMeans(strip),
        (stack["intensity"].data[place],),
        shape=shape,
        dtype=np.float64,
        block=(min(SLICES_PER_TASK, shape[0]), shape[1]),
    )
    parameters = {"voltage": float(stack["voltage"].values[place]), "ruler": dict(ruler)}
    attrs = {
        "pixel_size": axis_spacing(stack, "x"),
        "marks": json.dumps(asdict(marks)),
        "parameters": json.dumps(parameters, default=plain_value),
    }
    coords = {
        "z": stack["z"].variable,
        "pixel": columns,
        "measured": ("z", measured_slices(stack)),
    }
    return xr.DataArray(values, coords, ("z", "pixel"), attrs=attrs)


def solve_marks(measurement: xr.DataArray) -> xr.DataArray:
    """Follow the marks of a ruler through the slices, and turn their motion into thicknesses.

    Parameters
    ----------
    measurement
        Float64 (z, pixel) of `measure_marks`.

    Returns
    -------
    xarray.DataArray
        As `estimate_slice_thickness`, with `parallel_distance` (z) in nm where there are parallel
        marks.

    Raises
    ------
    ConventionError
        If a measured slice holds NaN, if a mark is found in less than two slices, or if the
        inclined marks do not move.
    """
    marks = Marks(**json.loads(measurement.attrs["marks"]))
    pixel = float(measurement.attrs["pixel_size"])
    profiles = _checked(measurement.values, measurement["measured"].values)
    first = int(measurement["pixel"].values[0])
    tracks = {
        (name, i): _track(profiles, first, name, mark, marks)
        for name in ("parallel", "inclined")
        for i, mark in enumerate(getattr(marks, name))
    }
    _lose_meeting_marks(list(tracks.values()), float(marks.width))
    places, errors = _position(tracks, len(marks.inclined))
    places, errors = places * pixel, errors * pixel
    lost = np.isnan(places)
    depth, error = _depth(marks, places, errors)
    kept = np.flatnonzero(~lost)
    steps, step_errors = np.full((2, len(places)), np.nan)
    steps[kept[:-1]] = np.diff(depth[kept])
    step_errors[kept[:-1]] = np.hypot(error[kept[1:]], error[kept[:-1]])
    more = {}
    if marks.parallel:
        distance = pixel * np.abs(tracks["parallel", 1][0] - tracks["parallel", 0][0])
        _check_scale(distance)
        _check_middle(tracks, marks, pixel)
        attrs = {"long_name": "distance of the parallel marks", "units": "nm"}
        more["parallel_distance"] = (distance, attrs)
    parameters = json.loads(measurement.attrs["parameters"])
    return thickness_array(measurement, steps, step_errors, lost, "ruler", parameters, **more)


def _checked(profiles: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Return profiles that show nothing where slices are not measured."""
    bad = measured & ~np.isfinite(profiles).all(axis=1)
    if bad.any():
        msg = f"grey values must be finite; slice {np.argmax(bad)} holds NaN or infinity"
        raise ConventionError(msg)
    return np.where(measured[:, np.newaxis], profiles, 0.0)


def _track(
    profiles: np.ndarray, first: int, name: str, mark: float, marks: Marks
) -> tuple[np.ndarray, np.ndarray]:
    bright = profiles if marks.bright else -profiles
    places, errors = track_mark(bright, mark - first, float(marks.width))
    if np.count_nonzero(np.isfinite(places)) < 2:
        kind = "bright" if marks.bright else "dark"
        msg = (
            f"the {name} mark at {mark:g} pixels is found in "
            f"{np.count_nonzero(np.isfinite(places))} of {len(places)} slices; at least 2 are "
            f"needed: is there a {kind} line, about {marks.width:g} pixels wide?"
        )
        raise ConventionError(msg)
    return places, errors


def _lose_meeting_marks(tracks: Sequence[tuple[np.ndarray, np.ndarray]], width: float) -> None:
    """Mark two tracks as lost where they are so close that one may be taken for the other."""
    for (first, _), (second, _) in combinations(tracks, 2):
        meeting = np.abs(first - second) < 2 * width
        first[meeting] = second[meeting] = np.nan


def _position(
    tracks: Mapping[tuple[str, int], tuple[np.ndarray, np.ndarray]], inclined: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a length in pixels that grows with depth on one mark's slope, and its error.

    Of two inclined marks it is half their distance, free of drift; of one, its distance from the
    middle of the parallel marks, if there are such.
    """
    used, weights = [("inclined", 0)], [1.0]
    if inclined == 2:
        used, weights = [("inclined", 0), ("inclined", 1)], [0.5, -0.5]
    elif ("parallel", 0) in tracks:
        used += [("parallel", 0), ("parallel", 1)]
        weights += [-0.5, -0.5]
    places = sum(weight * tracks[mark][0] for mark, weight in zip(used, weights, strict=True))
    squares = sum(
        (weight * tracks[mark][1]) ** 2 for mark, weight in zip(used, weights, strict=True)
    )
    return np.asarray(places), np.sqrt(squares)


def _depth(marks: Marks, places: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return depth below an arbitrary face in nm, and its standard error."""
    known = np.flatnonzero(np.isfinite(places))
    if len(known) < 2:
        msg = f"the marks are found together in {len(known)} slices; at least 2 are needed"
        raise ConventionError(msg)
    motion = places[known[-1]] - places[known[0]]
    if abs(motion) <= 3 * np.hypot(errors[known[0]], errors[known[-1]]):
        msg = (
            f"the inclined marks must move with depth; from slice {known[0]} to {known[-1]} "
            f"they move by {abs(motion):.3g} nm, no more than chance"
        )
        raise ConventionError(msg)
    slope = np.sign(motion) * (marks.tangent or 0.0)
    if marks.calibration is not None:
        first, last, distance = marks.calibration
        slope = (places[last] - places[first]) / distance
        if not abs(slope) > 0:
            lost = first if np.isnan(places[first]) else last
            msg = f"calibration needs slices that show the marks; in slice {lost} one is lost"
            raise ConventionError(msg)
    return places / slope, errors / abs(slope)


def _check_scale(distance: np.ndarray) -> None:
    """Warn where the distance of the parallel marks is not what it is in the other slices."""
    if not np.isfinite(distance).any():
        return
    change = np.abs(distance / np.nanmedian(distance) - 1)
    if np.nanmax(change) > _SCALE_TOLERANCE:
        k = int(np.nanargmax(change))
        text = (
            f"the distance of the parallel marks should be the same in all slices, "
            f"{np.nanmedian(distance):g} nm; slice {k} has {distance[k]:g} nm: the magnification "
            "changes, or a mark is not parallel"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=4)


def _check_middle(
    tracks: Mapping[tuple[str, int], tuple[np.ndarray, np.ndarray]], marks: Marks, pixel: float
) -> None:
    """Warn where the middle of two inclined marks leaves that of the parallel ones."""
    if len(marks.inclined) < 2:
        return
    inclined, parallel = (
        (tracks[name, 0][0] + tracks[name, 1][0]) / 2 for name in ("inclined", "parallel")
    )
    offset = inclined - parallel
    if not np.isfinite(offset).any():
        return
    change = np.abs(offset - np.nanmedian(offset))
    if np.nanmax(change) > marks.width / 2:
        k = int(np.nanargmax(change))
        text = (
            "the middle of the inclined marks should stay with that of the parallel marks; in "
            f"slice {k} it is {pixel * change[k]:g} nm off: another line is taken for a mark, or "
            "their angles differ"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=4)
