"""Slice thickness from the images themselves: similarity decays with distance."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from .. import blocks
from ..conventions import (
    ASSUMED_ISOTROPY,
    ConventionError,
    Intervals,
    axis_spacing,
    chosen_region,
    covered_part,
    covered_region,
    measured_slices,
    plain_value,
    require,
    voltage_index,
)
from ._functions import NEIGHBOURS, Similarities
from .values import mean_thickness, thickness_array

_WINDOW = 1024  # pixels of each axis that are looked at by default
_PIXELS, _SLICES = 32, 4  # the distance of images that are compared, in pixels and in slices
_POOR = 5.0  # robust standard deviations
_POOR_EXCESS = float(np.log(1.25))
_LEAST_QUALITY = 0.5
_LEAST_SHARE = 0.05
_LEAST_SIMILARITY = 0.05  # below, it may be chance
_QUALITY_TOLERANCE = 1e-6
_QUALITY = "similarity to the neighbours, relative to that of their distance"


def measure_similarity(
    stack: xr.Dataset,
    *,
    voltage: float | None = None,
    max_distance: float | None = None,
    region: Intervals | None = None,
) -> xr.DataArray:
    """Measure how similar slices are to the next three, and to themselves moved in their plane.

    Lazy: one task for up to 16 slices, which reads them and three more.

    Parameters
    ----------
    stack
        Aligned stack with `intensity` (voltage, z, y, x) of at least two slices.
    voltage
        The accelerating voltage in kV that is used; the lowest by default, where least shines
        through.
    max_distance
        The largest distance in nm along y and x; by default 32 pixels or four slices, whichever
        is more, and at most half the region. Structures larger than twice that are left out:
        brightness and its slow changes.
    region
        The part of the images that is used, in pixels, by axis: `{"x": (100, 900)}`, of what no
        slice has filled pixels in. By default up to 1024 pixels of each axis, in its middle.

    Returns
    -------
    xarray.DataArray
        Float64 (z, quantity), for `solve_similarity`.

    Raises
    ------
    ConventionError
        If the stack has one slice, or an argument does not fit it.
    """
    stack = require(stack, "intensity")
    check_slices(stack)
    middle = {}
    for axis, covered in covered_region(stack).items():
        size = covered.stop - covered.start
        start = covered.start + max(size - _WINDOW, 0) // 2
        middle[axis] = (start, start + min(size, _WINDOW))
    chosen = chosen_region(stack, region, middle, name="region")
    region_y, region_x = covered_part(stack, chosen, "region").values()
    pixel = {axis: axis_spacing(stack, axis) for axis in ("y", "x")}
    nominal = float(np.diff(stack["z"].values).mean())
    if max_distance is None:
        max_distance = _usual_distance({"y": region_y, "x": region_x}, pixel, nominal)
    lags = (
        _lags("y", max_distance, pixel["y"], region_y),
        _lags("x", max_distance, pixel["x"], region_x),
    )
    place = voltage_index(stack, voltage)
    intensity = stack["intensity"].data[place]
    shape = (stack.sizes["z"], 1 + NEIGHBOURS + sum(lags))
    function = Similarities((region_y, region_x), lags, shape[0])
    values = blocks.map_blocks(
        function, (intensity,), shape=shape, dtype=np.float64, block=(function.depth, shape[1])
    )
    attrs = {
        "pixel_size": [pixel["y"], pixel["x"]],
        "lags": list(lags),
        "nominal": nominal,
        "parameters": json.dumps(
            {
                "voltage": float(stack["voltage"].values[place]),
                "max_distance": float(max_distance),
                "region": {
                    "y": [region_y.start, region_y.stop],
                    "x": [region_x.start, region_x.stop],
                },
            },
            default=plain_value,
        ),
    }
    coords = {"z": stack["z"].variable, "measured": ("z", measured_slices(stack))}
    return xr.DataArray(values, coords, ("z", "quantity"), attrs=attrs)


def _usual_distance(
    windows: Mapping[str, slice], pixel: Mapping[str, float], nominal: float
) -> float:
    """Return the largest distance in nm that is compared by default: what the windows allow."""
    most = min((windows[a].stop - windows[a].start) // 2 * pixel[a] for a in windows)
    return float(min(max(_PIXELS * max(pixel.values()), _SLICES * nominal), most))


def check_slices(stack: xr.Dataset) -> None:
    """Refuse a stack of one slice."""
    if stack.sizes["z"] < 2:
        msg = "slice thickness is estimated from at least 2 slices; the stack has 1"
        raise ConventionError(msg)


def _lags(axis: str, max_distance: float, pixel: float, window: slice) -> int:
    """Return how many pixels images are moved along an axis."""
    size = int(window.stop - window.start)
    lags = round(max_distance / pixel) if np.isfinite(max_distance) else 0
    if not 3 <= lags <= size // 2:
        msg = (
            f"max_distance must be from 3 pixels to half the region along {axis}, "
            f"{3 * pixel:g} to {size // 2 * pixel:g} nm; got {max_distance:g} nm"
        )
        raise ConventionError(msg)
    return lags


def solve_similarity(measurement: xr.DataArray, *, isotropic: bool = True) -> xr.DataArray:
    """Turn similarities into slice thicknesses.

    Parameters
    ----------
    measurement
        Float64 (z, quantity) of `measure_similarity`.
    isotropic
        Take the texture to be isotropic: distances along z are then those at which the images,
        moved in their plane, are as similar. Otherwise these are relative, and scaled to the mean
        thickness that the stack had.

    Returns
    -------
    xarray.DataArray
        As `estimate_slice_thickness`.

    Raises
    ------
    ConventionError
        If a measured slice holds NaN, or no two slices can be compared.
    """
    measured = _Measured.of(measurement)
    distances = measured.distances()
    steps, lost = _chain(distances, measured.blank)
    quality = np.where(lost, 0.0, 1.0)
    for k in _poor_slices(distances, lost):
        quality[k], pair = measured.shared_quality(k, distances[k - 1, 1])
        lost[k] = quality[k] < _LEAST_QUALITY
        steps[k - 1 : k + 1] = (distances[k - 1, 1], np.nan) if lost[k] else pair
    beside_poor = np.convolve(quality < 1, np.ones(3), "same") > 0
    excess = _excess(distances, lost)[~beside_poor]
    if not isotropic:
        steps = steps * float(measurement.attrs["nominal"]) / mean_thickness(steps, lost)
    parameters = json.loads(measurement.attrs["parameters"]) | {"isotropic": isotropic}
    found = thickness_array(
        measurement,
        steps,
        measured.relative_error(lost, excess, isotropic=isotropic) * steps,
        lost,
        "images",
        parameters,
        quality=(quality, {"long_name": _QUALITY}),
    )
    scale = ASSUMED_ISOTROPY if isotropic else measurement["z"].attrs.get("scale")
    return found.assign_attrs(scale=scale) if scale else found


@dataclass(frozen=True, eq=False)
class _Measured:
    """Similarities of slices, and how they decay along y and x.

    Attributes
    ----------
    blank
        Slices of one grey value, or marked as not measured (z).
    similarity
        With the next slices (z, neighbour).
    curves
        With itself moved by 1, 2, … pixels along y and along x: two arrays (z, lag).
    pixel
        Size along y and x in nm.
    """

    blank: np.ndarray
    similarity: np.ndarray
    curves: tuple[np.ndarray, np.ndarray]
    pixel: tuple[float, float]

    @classmethod
    def of(cls, measurement: xr.DataArray) -> "_Measured":
        values, measured = measurement.values, measurement["measured"].values
        bad = measured & np.isnan(values[:, 0])
        if bad.any():
            k = int(np.argmax(bad))
            msg = f"grey values must be finite; slice {k} holds NaN or infinity"
            raise ConventionError(msg)
        blank = ~measured | (values[:, 0] == 0)
        if np.count_nonzero(~blank) < 2:
            msg = (
                "slice thickness needs at least 2 slices that show something; "
                f"{np.count_nonzero(blank)} of {len(blank)} slices have one grey value or are "
                "marked as not measured"
            )
            raise ConventionError(msg)
        first = 1 + NEIGHBOURS
        along_y, along_x = np.split(values[:, first:], [measurement.attrs["lags"][0]], axis=1)
        pixel_y, pixel_x = measurement.attrs["pixel_size"]
        similarity = values[:, 1:first].copy()
        for k, j in np.ndindex(similarity.shape):
            if blank[k : k + j + 2 : j + 1].any():
                similarity[k, j] = np.nan
        return cls(blank, similarity, (along_y, along_x), (pixel_y, pixel_x))

    def directions(self, similarity: float, slices: tuple[int, ...]) -> np.ndarray:
        """Return the distances in nm (y, x) at which slices are as similar to themselves.

        Noise of its own lowers what a slice shares with another by the root of its signal share,
        and what it shares with itself moved by all of it.
        """
        rows = list(slices)
        found = []
        for curves, size in zip(self.curves, self.pixel, strict=True):
            share = _signal_share(curves[rows])
            curve = curves[rows].mean(axis=0) / share.mean()
            found.append(size * _lag_of(curve, similarity / np.sqrt(share.prod())))
        return np.array(found)

    def distances(self) -> np.ndarray:
        """Return distances to the next slices in nm (z, neighbour); NaN where there are none."""
        distances = np.full(self.similarity.shape, np.nan)
        for k, j in np.argwhere(np.isfinite(self.similarity)).tolist():
            distances[k, j] = self.directions(self.similarity[k, j], (k, k + j + 1)).mean()
        return distances

    def shared_quality(self, k: int, distance: float) -> tuple[float, tuple[float, float]]:
        """Return the quality of a slice that fits the distance of its neighbours, and its steps.

        A poor image is less similar to both neighbours by one factor.
        """

        def steps(quality: float) -> tuple[float, float]:
            before, after = self.similarity[[k - 1, k], 0] / quality
            return (
                float(self.directions(before, (k - 1,)).mean()),
                float(self.directions(after, (k + 1,)).mean()),
            )

        def excess(quality: float) -> float:
            found = sum(steps(quality))
            return found - distance if np.isfinite(found) else np.inf

        if excess(_LEAST_QUALITY) > 0:
            return 0.0, (np.nan, np.nan)
        if excess(1.0) <= 0:
            return 1.0, steps(1.0)
        low, high = _LEAST_QUALITY, 1.0
        while high - low > _QUALITY_TOLERANCE:
            middle = (low + high) / 2
            low, high = (low, middle) if excess(middle) > 0 else (middle, high)
        return low, steps(low)

    def relative_error(self, lost: np.ndarray, excess: np.ndarray, *, isotropic: bool) -> float:
        """Return the standard error of distances relative to them.

        The distances read along y and along x differ by the chance of what the images show. With
        a relative error s of either curve, and of the similarity along z, their ratio has the
        error s √2 and the distance, their mean, s √(3/2); where they differ throughout, so may z
        from both, and the scale is as uncertain. Two steps and the distance across them, of
        relative error s each, differ by s √(3/2). What the scale misses by the background is a
        share of the same size.
        """
        pairs = np.flatnonzero(~lost[:-1] & ~lost[1:]).tolist()
        found = np.array([self.directions(self.similarity[k, 0], (k, k + 1)) for k in pairs])
        found = found.reshape(-1, 2)
        found = found[np.isfinite(found).all(axis=1) & (found > 0).all(axis=1)]
        if len(found) < 2:
            return np.nan
        ratios = np.log(found[:, 0] / found[:, 1])
        misfits = excess[np.isfinite(excess)]
        squares = 3 / 4 * ratios.var(ddof=1)
        squares += 2 / 3 * np.mean(misfits**2) if len(misfits) else 0.0
        if isotropic:
            squares += 3 / 4 * ratios.mean() ** 2 + self._background_share(lost) ** 2
        return float(np.sqrt(squares))

    def _background_share(self, lost: np.ndarray) -> float:
        """Return the share of its variance that a texture loses with the background.

        That makes it decay faster along y and x, where the background was subtracted, than along
        z: distances come out too short by about this share. It is the area of the correlation,
        2π ∫ C(r) r dr up to where it ends, over that of the window of the mean.
        """
        areas = []
        for curves, size in zip(self.curves, self.pixel, strict=True):
            curves = curves[~lost]
            curve = (curves / _signal_share(curves)[:, np.newaxis]).mean(axis=0)
            inside = np.minimum.accumulate(curve > 0)
            radius = size * np.arange(1, len(curve) + 1)
            areas.append(2 * np.pi * size * np.sum((curve * radius)[inside]))
        reach = max(curves.shape[1] for curves in self.curves)
        return float(np.mean(areas) / ((2 * reach + 1) ** 2 * np.prod(self.pixel)))


def _signal_share(curves: np.ndarray) -> np.ndarray:
    """Return the similarity at lag 0 that curves over lags 1, 2, … (slice, lag) come from.

    Noise lowers them at every lag but 0. They are extrapolated by a parabola that is level at 0,
    or at least by half a step.
    """
    parabola = 3 * curves[:, 0] - 3 * curves[:, 1] + curves[:, 2]
    least = curves[:, 0] + (curves[:, 0] - curves[:, 1]) / 2
    share: np.ndarray = np.clip(np.maximum(parabola, least), _LEAST_SHARE, 1.0)
    return share


def _lag_of(curve: np.ndarray, similarity: float) -> float:
    """Return the lag at which a curve over lags 1, 2, … falls to a similarity; NaN beyond it."""
    if similarity < _LEAST_SIMILARITY:
        return np.nan
    falling = np.minimum.accumulate(np.append(1.0, curve))
    return float(np.interp(-similarity, -falling, np.arange(len(falling)), right=np.nan))


def _chain(distances: np.ndarray, blank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return steps in nm from each slice to the next usable one, and where slices are lost.

    A slice is lost that is blank, or that resembles none of its neighbours.
    """
    count = len(blank)
    linked = np.zeros(count, bool)
    for k, j in np.argwhere(np.isfinite(distances)):
        linked[[k, k + j + 1]] = True
    lost = blank | ~linked
    steps = np.full(count, np.nan)
    for k in np.flatnonzero(~lost):
        j = next((j for j in range(NEIGHBOURS) if k + j + 1 < count and not lost[k + j + 1]), None)
        if j is not None:
            steps[k] = distances[k, j]
    return steps, lost


def _excess(distances: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Return by how much two steps exceed the distance across them, as a logarithm (z).

    -inf for lost slices and at the ends, inf where a step is farther than can be measured.
    """
    excess = np.full(len(lost), -np.inf)
    across = distances[:-2, 1]
    around = distances[:-2, 0] + distances[1:-1, 0]
    around[np.isnan(around)] = np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        excess[1:-1] = np.where(across > 0, np.log(around / across), -np.inf)
    excess[lost] = -np.inf
    return excess


def _poor_slices(distances: np.ndarray, lost: np.ndarray) -> list[int]:
    """Return slices that are much farther from their neighbours than these are from one another."""
    excess = _excess(distances, lost)
    known = excess[np.isfinite(excess)]
    if not len(known):
        return []
    middle = np.median(known)
    spread = 1.4826 * np.median(np.abs(known - middle))
    poor = excess > middle + max(_POOR * spread, _POOR_EXCESS)
    before, after = np.append(-np.inf, excess[:-1]), np.append(excess[1:], -np.inf)
    return np.flatnonzero(poor & (excess > before) & (excess >= after)).tolist()
