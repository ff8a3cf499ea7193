"""How the planes of a block are filled: the block functions of every method."""

from dataclasses import dataclass
from math import ceil, hypot

import numpy as np

from ..blocks import Region, grow, lengths, voxels
from ..conventions import check_phase_values
from ..pieces.windows import PlanePredictions
from . import _kernels
from .planes import WINDOW, MeasuredPlanes

HOLE = 20  # pixels; smaller pores that cubic interpolation leaves in a filled plane are artefacts
REACH = 64  # pixels; distances to the interface are told apart up to this one
SMOOTHING = _kernels.smoothing_taps(8)


@dataclass(frozen=True, eq=False)
class NearestPlane:
    """Every gap is the nearest measured plane, of two the lower.

    Attributes
    ----------
    measured
        The planes that are kept.
    """

    measured: MeasuredPlanes

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block and the measured planes next to it."""
        return ((*region[:-3], self.measured.span(region[-3], width=1), *region[-2:]),)

    def compute(self, region: Region, volume: np.ndarray) -> np.ndarray:
        """Take the planes."""
        z = region[-3]
        start = self.measured.span(z, width=1).start
        planes = [self.measured.nearest(plane) - start for plane in range(z.start, z.stop)]
        return np.take(volume, planes, axis=-3)

    def working_bytes(self, _region: Region) -> int:
        """Return 0: planes are copied straight into the block."""
        return 0


@dataclass(frozen=True, eq=False)
class SplineIntensity:
    """Grey values of gaps by a cubic spline along z through the planes of the window.

    Attributes
    ----------
    measured
        The planes that are kept.
    low, high
        Range of the values.
    """

    measured: MeasuredPlanes
    low: float
    high: float

    revision = 2

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block and the planes of its windows."""
        return ((*region[:-3], self.measured.span(region[-3]), *region[-2:]),)

    def compute(self, region: Region, volume: np.ndarray) -> np.ndarray:
        """Interpolate; integers are rounded, and all values kept in their range."""
        out = np.empty(lengths(region), volume.dtype)
        start = self.measured.span(region[-3]).start
        values = np.empty(volume.shape[-2:])
        for leading in np.ndindex(volume.shape[:-3]):
            for z, plane in enumerate(range(region[-3].start, region[-3].stop)):
                if not self.measured.within(plane):
                    out[leading][z] = volume[leading][self.measured.nearest(plane) - start]
                    continue
                planes, weights = spline(self.measured, plane)
                _kernels.weighted_planes(volume[leading], planes - start, weights, values)
                if volume.dtype.kind in "iu":
                    np.floor(values + 0.5, out=values)
                out[leading][z] = np.clip(values, self.low, self.high, out=values)
        return out

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of a plane of float64 and of one more while it is rounded."""
        return 2 * 8 * voxels(region[-2:])


@dataclass(frozen=True, eq=False)
class SplinePhase:
    """Phase of gaps where a cubic spline along z exceeds one half; small holes are filled.

    Attributes
    ----------
    measured
        The planes that are kept.
    shape
        Of the volume (z, y, x).
    """

    measured: MeasuredPlanes
    shape: tuple[int, ...]

    revision = 2

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block, the planes of its windows, and what a hole can span."""
        z, y, x = region
        # A pore that reaches from the block to the edge of this window has HOLE pixels or more.
        sides = (
            grow(s, HOLE - 1, HOLE - 1, n) for s, n in zip((y, x), self.shape[1:], strict=True)
        )
        return ((self.measured.span(z), *sides),)

    def compute(self, region: Region, volume: np.ndarray) -> np.ndarray:
        """Interpolate, compare with one half, fill holes, and crop."""
        window = self.needs(region)[0]
        _check(volume, window, self.measured.numbers)
        out = np.empty(lengths(region), np.uint8)
        core = _part(region, window)
        values = np.empty(volume.shape[1:])
        for z, plane in enumerate(range(region[0].start, region[0].stop)):
            if not self.measured.within(plane):
                out[z] = volume[self.measured.nearest(plane) - window[0].start][core]
                continue
            planes, weights = spline(self.measured, plane)
            weights = weights + _kernels.TIE * (planes == planes[planes < plane][-1])
            _kernels.weighted_planes(volume, planes - window[0].start, weights, values)
            solid = (values > weights.sum() / 2).view(np.uint8)
            out[z] = _kernels.fill_holes(solid, HOLE)[core]
        return out

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of a plane's values, labels and masks, and of the sizes of pores."""
        return (8 + 4 + 4 + 2 * 8) * voxels(self.needs(region)[0][1:])


@dataclass(frozen=True, eq=False)
class DistancePhase:
    """Phase of gaps where the interpolated distance to the interface is positive.

    The signed distances of the window's planes, smoothed over their neighbours, are interpolated
    along z by a cubic spline. They are capped at the length of the gap: from farther away only an
    interface more than 45 degrees off the milling direction would reach a place in it.

    Attributes
    ----------
    measured
        The planes that are kept.
    shape
        Of the volume (z, y, x).
    spacing_nm
        Of the planes.
    pixel_nm
        Pixel size along y and x.
    """

    measured: MeasuredPlanes
    shape: tuple[int, ...]
    spacing_nm: float
    pixel_nm: tuple[float, float]

    revision = 2

    def _reach(self, planes: slice) -> float:
        """Return the distance in nm up to which maps must be exact, 0 where there is no gap.

        Smoothing mixes distances of pixels up to its radius away, and takes a distance at most
        2.2 pixel diagonals from its own value.
        """
        cap = self.measured.longest_gap(planes) * self.spacing_nm
        mixed = (len(SMOOTHING) // 2 + 2.2) * hypot(*self.pixel_nm)
        return min(cap + mixed, REACH * min(self.pixel_nm)) if cap else 0.0

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block, the planes of its windows, and the reach of distances."""
        halos = self._halos(region[0])
        sides = (
            grow(s, halo, halo, n)
            for s, halo, n in zip(region[1:], halos, self.shape[1:], strict=True)
        )
        return ((self.measured.span(region[0]), *sides),)

    def _halos(self, planes: slice) -> tuple[int, ...]:
        reach = self._reach(planes)
        radius = len(SMOOTHING) // 2
        return tuple(ceil(reach / pixel) + radius if reach else 0 for pixel in self.pixel_nm)

    def compute(self, region: Region, phase: np.ndarray) -> np.ndarray:
        """Go along z with the distance maps of one window in memory, each made once."""
        window = self.needs(region)[0]
        _check(phase, window, self.measured.numbers)
        core = _part(region, window)
        out = np.empty(lengths(region), np.uint8)
        maps = np.empty((2 * WINDOW, *out.shape[1:]), np.float32)
        made = -1
        for z, plane in enumerate(range(region[0].start, region[0].stop)):
            if not self.measured.within(plane):
                out[z] = phase[self.measured.nearest(plane) - window[0].start][core]
                continue
            indices = self.measured.window(plane)
            for index in range(max(made + 1, indices.start), indices.stop):
                image = phase[self.measured.numbers[index] - window[0].start]
                self._distances(image, core, self._reach(region[0]), maps[index % len(maps)])
            made = indices.stop - 1
            slots = np.array(indices) % len(maps)
            _kernels.interpolated_phase(maps, slots, *self._terms(plane), out[z])
        return out

    def _distances(
        self, image: np.ndarray, core: tuple[slice, slice], reach: float, out: np.ndarray
    ) -> None:
        """Write the smoothed signed distances of a plane's window, in nm, for its core."""
        squares = np.empty(image.shape, np.float32)
        step = self.pixel_nm[1]
        _kernels.row_squares(image, ceil(reach / step), np.float32(step), squares)
        radius = len(SMOOTHING) // 2  # of the pixels around the core, where the volume goes on
        sides = tuple(grow(s, radius, radius, n) for s, n in zip(core, image.shape, strict=True))
        distances = np.empty(lengths(sides), np.float32)
        start = tuple(s.start for s in sides)
        _kernels.signed_distances(squares, self.pixel_nm, reach, start, distances)
        inner = tuple(c.start - s for c, s in zip(core, start, strict=True))
        least = min(self.pixel_nm) / 16
        _kernels.smoothed_distances(distances, inner, SMOOTHING, least, out)

    def _terms(self, plane: int) -> tuple[np.ndarray, np.float32]:
        """Return the weights of a window's distances, and where these are capped in nm."""
        planes, weights = spline(self.measured, plane)
        below = int(planes[planes < plane][-1])
        gap = int(planes[planes > plane][0]) - below
        weights = weights + _kernels.TIE * (planes == below)
        return weights.astype(np.float32), np.float32(gap * self.spacing_nm)

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of a window of maps, and of the distances that one is made from."""
        window = self.needs(region)[0][1:]
        maps = 2 * WINDOW * voxels(region[1:]) + 2 * voxels(window)
        return 4 * maps + 64 * sum(lengths(window))


@dataclass(frozen=True, eq=False)
class GapProbability:
    """Probability of solid in gaps that a network finds; 0 in measured planes.

    Attributes
    ----------
    predictions
        Of the gaps, by the phases of measured planes as images (voltage, z, y, x) of one voltage.
    """

    predictions: PlanePredictions

    revision = 5

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return what the network looks at."""
        return (self.predictions.needs(region)[0][1:],)

    def compute(self, region: Region, volume: np.ndarray) -> np.ndarray:
        """Predict gaps."""
        _check(volume, self.needs(region)[0], self.predictions.planes.slices)
        return self.predictions.compute(region, volume[np.newaxis], np.array([[0.0, 1.0]]))

    def working_bytes(self, region: Region) -> int:
        """Return what predictions take."""
        return self.predictions.working_bytes(region)


@dataclass(frozen=True, eq=False)
class LikelyGaps:
    """Phase of gaps where solid is more likely, of a probability and a phase (z, y, x).

    Planes that are measured are kept, and those beyond the first and the last one are copies.

    Attributes
    ----------
    measured
        The planes that are kept.
    """

    measured: MeasuredPlanes

    revision = 2

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block of both, and the measured planes next to it."""
        z, *plane = region
        return (region, (self.measured.span(z, width=1), *plane))

    def compute(self, region: Region, probability: np.ndarray, volume: np.ndarray) -> np.ndarray:
        """Fill gaps, and copy the other planes."""
        phase: np.ndarray = np.greater(probability, 0.5).view(np.uint8)
        start = self.measured.span(region[0], width=1).start
        for z, plane in enumerate(range(region[0].start, region[0].stop)):
            if not self.measured.within(plane):
                phase[z] = volume[self.measured.nearest(plane) - start]
        return phase

    def working_bytes(self, _region: Region) -> int:
        """Return 0: planes are copied straight into the block."""
        return 0


def spline(measured: MeasuredPlanes, plane: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the planes of a gap's window and their weights."""
    window = measured.window(plane)
    planes = measured.numbers[window.start : window.stop]
    knots = planes - planes[0]
    return planes, _kernels.spline_weights(tuple(knots.tolist()), plane - int(planes[0]))


def _check(phase: np.ndarray, window: Region, measured: np.ndarray) -> None:
    """Refuse measured planes of a window (z, y, x) that are no phase; others count nowhere."""
    z, y, x = window
    for plane in measured[(measured >= z.start) & (measured < z.stop)].tolist():
        image = phase[plane - z.start, np.newaxis]
        check_phase_values("phase", image, (plane, y.start, x.start))


def _part(region: Region, window: Region) -> tuple[slice, slice]:
    """Return the pixels (y, x) of a block within its window."""
    y, x = (
        slice(s.start - w.start, s.stop - w.start)
        for s, w in zip(region[-2:], window[-2:], strict=True)
    )
    return y, x
