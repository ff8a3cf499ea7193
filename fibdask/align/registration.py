"""Registration: how slices moved while they were imaged, measured pair by pair."""

import warnings
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np
import xarray as xr

from .. import blocks
from ..conventions import (
    ConventionError,
    FibdaskWarning,
    Intervals,
    axis_spacing,
    check_count,
    chosen_region,
    covered_part,
    covered_region,
    plain_number,
    require,
    voltage_index,
)
from ..pieces.volumes import volumes_fingerprint
from ._frames import Window
from ._functions_registration import QUANTITIES, PairMeasurements
from .solving import check_detrend, solve_shifts
from .uncertainty import parts_of, with_shift_errors

_SHARE = 0.75  # of the images that is compared: the rest is room for windows to move in
_MOST_COMPARED = 2048  # pixels along an axis
_MOST_TRANSFORMED = 1024  # after averaging
_MOST_COARSE = 384  # the same, where shifts are to be followed
_MOST_REACH = 128  # pixels, of a window that nobody chose
_LEAST_SIZE = 32  # pixels along an axis
_SLICES = 32  # of one task: as many as stores read together of images
_MOST_BYTES = 256 * 2**20  # that these may have; else there are half as many
MOST_NEIGHBOURS = 8  # that nobody chose
_IN_PLANE = ("y", "x")


# Nine arguments: public, and each is a choice of its own that a recipe may make.
def estimate_shifts(
    stack: xr.Dataset,
    *,
    neighbours: int = 3,
    reference_voltage: float | None = None,
    region: Intervals | None = None,
    fiducial_region: Intervals | None = None,
    max_shift: float | None = None,
    detrend: str = "none",
    rounds: int = 3,
    compute: Callable[[xr.DataArray], xr.DataArray] = xr.DataArray.compute,
) -> xr.Dataset:
    """Estimate the translation that aligns each slice with its neighbours.

    Computes. With the shifts s of a slice, in nm,

        aligned(y, x) = raw(y - shift_y, x - shift_x).

    The first good slice of the reference voltage stays in place. Equivalent to `solve_shifts` of
    `measure_pairs`, `rounds` times, each time starting from the shifts of the round before.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x), before `reposition_slices`.
    neighbours
        Number of following slices that each slice is compared with, so that single bad slices are
        bridged; from the second round on up to 8, if the first finds longer runs of them.
    reference_voltage
        Accelerating voltage in kV onto which the others are aligned, slice by slice; by default the
        lowest, where least shines through.
    region
        Pixels to compare between slices of one voltage, by axis: `{"y": (a, b), "x": (c, d)}` are
        rows a to b - 1, without those that any slice has filled pixels in. By default the middle
        three quarters of the image, or of what no slice has filled pixels in, at most 2048 pixels
        along an axis.
    fiducial_region
        Pixels to compare between voltages; by default those of `region`.
    max_shift
        Largest shift to look for between two slices, in nm, up to half the region; by default a
        quarter of the region, at most 128 pixels.
    detrend
        `none`: keep the shifts as found. `linear`: subtract their straight line over z, fitted at
        the reference voltage, from all voltages.
    rounds
        How often pairs are measured.
    compute
        Function that computes the small lazy measurements.

    Returns
    -------
    xarray.Dataset
        As from `solve_shifts`: `shift_y`, `shift_x` (voltage, z) in nm, and the quality of every
        slice and of every pair. `shift_error_y`, `shift_error_x` (voltage, z) in nm are standard
        errors relative to the first good slice.

    Raises
    ------
    ConventionError
        If the stack has a single image, an argument does not fit it, or a voltage has no two slices
        that can be compared.

    Notes
    -----
    Windows are averaged down to at most 1024 pixels along an axis, 384 in all rounds but the last,
    tapered and transformed. The highest peak of the phase correlation (Kuglin and Hines, Proc. IEEE
    Conf. Cybernetics and Society (1975) 163-165), smoothed by half a pixel (a pixel for slices
    further apart), is located to a fraction of a pixel by a Gaussian through three values along
    each axis. The two highest peaks and no shift at all are compared by the normalised correlation
    of the finite pixels that both windows share. The best is taken, the second window is moved
    there, and the rest is measured again.

    From the second round on, windows follow the slices, fractions included: the same part of the
    specimen is compared in every slice, whatever the shifts. Then a clear peak within three pixels
    is taken at once. About each peak, the correlation is summed once more at lags a fraction of a
    pixel off (Guizar-Sicairos et al., Optics Letters 33 (2008) 156-158), so that the Gaussian is
    not biased towards whole pixels.

    The image or the specimen may move between two slices: structures inclined to the milling
    direction move with depth, and no image tells that from drift. The phase correlation finds the
    most frequent motion rather than the mean: that of upright structures if there are any. Where
    most are inclined alike, shifts hold their inclination, and so a true tilt, which alignment
    would straighten. With `detrend="linear"` the tilt stays in the images, but so does any steady
    drift of the stage.

    In a porous material with random structures, the motion of the structures adds a random walk.
    Its steps shrink with the number of structures in the region: use a large region, or a fiducial.
    The standard errors include it: neighbours are also measured in each quarter of the region, and
    the steps that the quarters find, summed over as many slices as lie between, scatter by twice
    the standard error of all four. The errors grow about as the square root of the distance. From
    four parts, they are themselves uncertain by some 40 %. They are NaN for regions of fewer than
    64 pixels, and leave out motion that all quarters share, such as a tilt.

    A deeper layer that shines through appears at the same (y, x) only if the beam is normal to the
    face; otherwise, compare voltages in a fiducial region.
    """
    check_detrend(detrend)
    rounds = check_count("rounds", rounds)
    measure = partial(
        _measurements,
        stack,
        reference_voltage=reference_voltage,
        region=region,
        fiducial_region=fiducial_region,
        max_shift=max_shift,
    )
    last = rounds == 1
    found = compute(measure(neighbours=neighbours, coarse=not last, parts=last))
    for number in range(1, rounds):
        shifts = _solved_quietly(_pairs(found))
        more = _bridging(shifts, neighbours)
        last = number == rounds - 1
        measurement = measure(follow=shifts, neighbours=more, coarse=not last, parts=last)
        found = compute(measurement)
    shifts = solve_shifts(_pairs(found), detrend=detrend)
    return with_shift_errors(shifts, _parts(found), straight=detrend == "linear")


def _pairs(measurements: xr.DataArray) -> xr.DataArray:
    """Return the measurements of whole windows."""
    return measurements.sel(neighbour=measurements["neighbour"] >= 0)


def _parts(measurements: xr.DataArray) -> xr.DataArray:
    """Return the measurements (voltage, z, part, quantity) of parts of the window."""
    chosen = measurements.sel(neighbour=measurements["neighbour"] < 0)
    return chosen.rename(neighbour="part")


def shift_measurements(
    stack: xr.Dataset,
    *,
    neighbours: int = 3,
    detrend: str = "none",
    rounds: int = 3,
    **windows: Any,
) -> list[xr.DataArray]:
    """Return what `estimate_shifts` measures, lazily, each as large as it may become.

    What a later round measures depends on what was found before it. Here it bridges as many
    slices as it may, and its windows move by the largest shift between two slices, to and fro, so
    that each of its tasks reads as much as a single jump would make it. Arguments: those of
    `estimate_shifts`, `windows` being the others.

    Raises
    ------
    ConventionError
        See `estimate_shifts`.
    """
    check_detrend(detrend)
    rounds = check_count("rounds", rounds)
    measure = partial(_measurements, stack, **windows)
    first = measure(neighbours=neighbours, coarse=rounds > 1, parts=rounds == 1)
    moving = _to_and_fro(stack, windows.get("region"), windows.get("max_shift"))
    widest = max(neighbours, MOST_NEIGHBOURS)
    later = [
        measure(follow=moving, neighbours=widest, coarse=not last, parts=last)
        for last in (number == rounds - 1 for number in range(1, rounds))
    ]
    return [first, *later]


def _to_and_fro(stack: xr.Dataset, region: Intervals | None, max_shift: float | None) -> xr.Dataset:
    """Return shifts of which every other one is the largest that two slices may have."""
    window = _window(stack, region, max_shift, "region")
    odd = np.arange(stack.sizes["z"]) % 2
    shifts = xr.Dataset(coords={"voltage": stack["voltage"], "z": stack["z"]})
    for axis, reach in zip(_IN_PLANE, window.reach, strict=True):
        moved = reach * window.factor * axis_spacing(stack, axis) * odd
        shifts[f"shift_{axis}"] = (("voltage", "z"), np.tile(moved, (stack.sizes["voltage"], 1)))
    return shifts


def _solved_quietly(pairs: xr.DataArray) -> xr.Dataset:
    """Return shifts to follow; what the last solution says once more is not told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FibdaskWarning)
        return solve_shifts(pairs)


def _bridging(shifts: xr.Dataset, neighbours: int) -> int:
    """Return how many neighbours lead over the longest run of flagged slices."""
    longest = 0
    for flags in shifts["flag"].values:
        good = np.flatnonzero(np.concatenate([[0], flags, [0]]) == 0)
        longest = max(longest, int(np.diff(good).max()))
    return max(neighbours, min(longest, MOST_NEIGHBOURS))


def measure_pairs(
    stack: xr.Dataset,
    *,
    follow: xr.Dataset | None = None,
    neighbours: int = 3,
    reference_voltage: float | None = None,
    region: Intervals | None = None,
    fiducial_region: Intervals | None = None,
    max_shift: float | None = None,
) -> xr.DataArray:
    """Measure the shifts of pairs of slices.

    Lazy, one task for 32 slices of a voltage, or 16 large ones, which reads their windows and those
    of the slices after them only. Arguments and method: see `estimate_shifts`.

    Parameters
    ----------
    follow
        Shifts (voltage, z) in nm that windows follow, as `solve_shifts` makes them without
        detrending; None for windows that stay.

    Returns
    -------
    xarray.DataArray
        Measurements (voltage, z, neighbour, quantity), float64. `neighbour` 1, 2, … is the slice
        that many after slice z; 0, where there are several voltages, is the same slice at the
        reference voltage. Quantities: `shift_y`, `shift_x` in pixels, which lay the neighbour
        onto slice z (the slice onto the reference for neighbour 0);
        `correlation_before` and `correlation_after` that, to whole pixels; `evidence`, at least 1
        where this is more than chance: 5 standard errors of the correlation of unrelated windows
        with structures of this size, or 3, and a peak of the phase correlation that these reach
        in one of 1000 pairs; `contrast` in grey values and `sharpness` of slice z. NaN where
        nothing can be measured.

    Raises
    ------
    ConventionError
        See `estimate_shifts`.
    """
    return _measurements(
        stack,
        follow=follow,
        neighbours=neighbours,
        reference_voltage=reference_voltage,
        region=region,
        fiducial_region=fiducial_region,
        max_shift=max_shift,
    )


# Nine arguments: those of `measure_pairs`, and how closely it is looked.
@blocks.revised(7)
def _measurements(
    stack: xr.Dataset,
    *,
    neighbours: int,
    follow: xr.Dataset | None = None,
    reference_voltage: float | None = None,
    region: Intervals | None = None,
    fiducial_region: Intervals | None = None,
    max_shift: float | None = None,
    coarse: bool = False,
    parts: bool = False,
) -> xr.DataArray:
    """Return the measurements of pairs, lazily; `coarse` ones to be followed later.

    Those of `parts` of the window, of each slice and the next, have neighbours below 0.
    """
    stack = require(stack, "intensity")
    intensity = stack["intensity"]
    count = _check_slices(stack, neighbours)
    reference = voltage_index(stack, reference_voltage, "reference_voltage")
    most = _MOST_COARSE if coarse else _MOST_TRANSFORMED
    window = _window(stack, region, max_shift, "region", most)
    fiducial = _window(stack, fiducial_region, max_shift, "fiducial_region", most)
    if fiducial_region is None:
        fiducial = window
    several = len(intensity) > 1
    quarters = parts_of(window, _LEAST_SIZE) if parts and stack.sizes["z"] > 1 else ()
    function = PairMeasurements(
        intensity.shape,
        count,
        _followed(stack, follow),
        follow is not None,
        window,
        quarters,
        fiducial,
        reference if several else -1,
    )
    numbers = [*range(0 if several else 1, count + 1), *range(-1, -1 - len(quarters), -1)]
    shape = (*intensity.shape[:2], len(numbers), len(QUANTITIES))
    data = blocks.map_blocks(
        function,
        (intensity.data,) * (2 if several else 1),
        shape=shape,
        dtype=np.float64,
        block=(1, min(_slices(window, intensity.dtype), shape[1]), *shape[2:]),
    )
    coords = {
        "voltage": stack["voltage"],
        "z": stack["z"],
        "neighbour": numbers,
        "quantity": list(QUANTITIES),
    }
    attrs = {
        "long_name": "measurements of pairs of slices",
        "reference_voltage": float(stack["voltage"].values[reference]),
        "pixel_size": [axis_spacing(stack, axis) for axis in _IN_PLANE],
        "region": _described(window),
        "fiducial_region": _described(fiducial),
        "input_fingerprint": volumes_fingerprint(stack, ["intensity"]),
    }
    return xr.DataArray(data, dims=tuple(coords), coords=coords, attrs=attrs, name="pairs")


def _check_slices(stack: xr.Dataset, neighbours: int) -> int:
    """Return how many neighbours slices have."""
    neighbours = check_count("neighbours", neighbours)
    if stack.sizes["z"] == 1 and stack.sizes["voltage"] == 1:
        msg = "shifts are between slices or voltages; the stack has one slice at one voltage"
        raise ConventionError(msg)
    if "measured" in stack.coords and not stack["measured"].values.all():
        k = int(np.argmin(stack["measured"].values))
        msg = (
            "shifts are those of measured slices, before they are repositioned; "
            f"plane {k} is not measured; select the others: stack.isel(z=stack.measured.values)"
        )
        raise ConventionError(msg)
    return min(neighbours, stack.sizes["z"] - 1)


def _window(
    stack: xr.Dataset,
    region: Intervals | None,
    max_shift: float | None,
    name: str,
    most: int = _MOST_TRANSFORMED,
) -> Window:
    """Return the window of a region, or that in the middle of what all slices cover.

    It is averaged to at most so many pixels along an axis.
    """
    covered, middle = covered_region(stack), {}
    for axis, inside in covered.items():
        size = inside.stop - inside.start
        part = min(max(round(_SHARE * size), _LEAST_SIZE), size, _MOST_COMPARED)
        start = inside.start + (size - part) // 2
        middle[axis] = (start, start + part)
    wanted = chosen_region(stack, region, middle, name=name, least=_LEAST_SIZE)
    chosen = covered_part(stack, wanted, name)
    for axis, inside in chosen.items():
        if inside != wanted[axis] and inside.stop - inside.start < _LEAST_SIZE:
            msg = (
                f"{name} along {axis} must hold at least {_LEAST_SIZE} pixels that every slice "
                f"covers, ({covered[axis].start}, {covered[axis].stop}); got "
                f"({wanted[axis].start}, {wanted[axis].stop})"
            )
            raise ConventionError(msg)
    intervals = [(chosen[axis].start, chosen[axis].stop) for axis in _IN_PLANE]
    lengths = [stop - start for start, stop in intervals]
    factor = min(-(-max(lengths) // most), min(lengths) // _LEAST_SIZE)
    rows, columns = (n - n % factor for n in lengths)
    return Window(
        (intervals[0][0], intervals[1][0]),
        (rows, columns),
        factor,
        (
            _reach(stack, "y", rows, factor, max_shift),
            _reach(stack, "x", columns, factor, max_shift),
        ),
    )


def _slices(window: Window, dtype: np.dtype[Any]) -> int:
    """Return how many slices one task looks at."""
    image = prod(n + 2 * m * window.factor for n, m in zip(window.size, window.reach, strict=True))
    return _SLICES if _SLICES * image * dtype.itemsize <= _MOST_BYTES else _SLICES // 2


def _reach(stack: xr.Dataset, axis: str, size: int, factor: int, most: float | None) -> int:
    """Return the largest lag along an axis in averaged pixels."""
    if most is None:
        return min(size // 4, _MOST_REACH) // factor
    pixels = plain_number(most) / axis_spacing(stack, axis)
    if not 1 <= pixels <= size / 2:
        msg = (
            f"max_shift must be from one pixel to half the region along {axis}, "
            f"{size / 2:g} pixels; got {most!r} nm, {pixels:.3g} pixels"
        )
        raise ConventionError(msg)
    return max(int(pixels) // factor, 1)


def _followed(stack: xr.Dataset, shifts: xr.Dataset | None) -> np.ndarray:
    """Return the shifts that windows follow, in pixels (voltage, z, 2)."""
    shape = (stack.sizes["voltage"], stack.sizes["z"])
    if shifts is None:
        return np.zeros((*shape, 2))
    pixels = []
    for axis in _IN_PLANE:
        values = shifts[f"shift_{axis}"].values
        if values.shape != shape or not np.isfinite(values).all():
            msg = f"shifts to follow must be finite, (voltage, z) of {shape}; got {values.shape}"
            raise ConventionError(msg)
        pixels.append(values / axis_spacing(stack, axis))
    return np.stack(pixels, axis=-1)


def _described(window: Window) -> dict[str, list[int]]:
    return {
        axis: [start, start + size]
        for axis, start, size in zip(_IN_PLANE, window.origin, window.size, strict=True)
    }
