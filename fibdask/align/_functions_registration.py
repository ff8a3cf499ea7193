"""Pairs of slices: what one task measures, from the windows of a few slices."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

import numpy as np

from .. import blocks
from ._kernels.registration import (
    NEAR,
    binned,
    centred,
    chance_peak,
    correlation_score,
    masked_correlation,
    padded,
    peaks,
    phase_correlation,
    sharpness,
    spectrum,
    top,
    whitened,
)

QUANTITIES = (
    "shift_y",
    "shift_x",
    "correlation_before",
    "correlation_after",
    "evidence",
    "contrast",
    "sharpness",
)
_NEAR = (NEAR + 1, NEAR + 1)
_SURE, _LIKELY = 5.0, 3.0  # standard errors of a correlation: alone, and with a clear peak
NEXT_BLUR = 0.5  # pixels: the peak of the most frequent motion is narrow
DISTANT_BLUR = 1.0  # pixels: what more distant slices share is coarser


@dataclass(frozen=True)
class Window:
    """A part of the images that is compared, in pixels.

    Attributes
    ----------
    origin, size
        First row and column, and their number, multiples of `factor`.
    factor
        Pixels that are averaged along each axis.
    reach
        Largest lag (y, x) that is looked for, in averaged pixels.
    """

    origin: tuple[int, int]
    size: tuple[int, int]
    factor: int
    reach: tuple[int, int]

    def place(self, shift: np.ndarray, image: tuple[int, ...]) -> tuple[int, ...]:
        """Return the first row and column of the window that follows a shift, in the image."""
        return tuple(
            min(max(round(first - move), 0), n - size)
            for first, move, n, size in zip(self.origin, shift, image, self.size, strict=True)
        )

    def needs(self, shifts: np.ndarray, image: tuple[int, ...]) -> blocks.Region:
        """Return the rows and columns that contain the windows of all shifts (slices, 2)."""
        places = np.array([self.place(shift, image) for shift in shifts])
        region = []
        for i, n in enumerate(image):
            reach = self.reach[i] * self.factor
            start, stop = places[:, i].min(), places[:, i].max() + self.size[i]
            region.append(slice(max(int(start) - reach, 0), min(int(stop) + reach, n)))
        return tuple(region)


@dataclass(eq=False)
class Frame:
    """The window of one slice, averaged: `image` is None where there is nothing to compare."""

    image: np.ndarray | None
    valid: np.ndarray
    contrast: float
    corner: np.ndarray  # first row and column in averaged pixels
    place: np.ndarray = field(init=False)  # the same, moved by the remainder
    phases: np.ndarray = field(init=False)
    sizes: np.ndarray = field(init=False)  # of the spectrum
    sharpness: float = 0.0

    def transform(self, remainder: np.ndarray) -> None:
        """Prepare the comparison, with the window moved by a remainder of a pixel."""
        self.place = self.corner + remainder
        if self.image is not None:
            found = spectrum(self.image)
            self.sharpness = sharpness(found, self.image.shape)
            self.phases, self.sizes = whitened(found, self.image.shape, remainder)


@dataclass(frozen=True, eq=False)
class PairMeasurements:
    """Block function: measurements (voltage, z, neighbour, quantity) of pairs of slices.

    Inputs are the images (voltage, z, y, x), twice where there are several voltages.

    Attributes
    ----------
    shape
        Of the images.
    neighbours
        A slice is compared with that many after it.
    follow
        Shifts in pixels (voltage, z, 2) that windows follow.
    window
        For slices of one voltage.
    fiducial
        For voltages; used where there are several.
    reference
        Position of the reference voltage; -1 where there is one voltage only.
    """

    shape: tuple[int, ...]
    neighbours: int
    follow: np.ndarray
    window: Window
    fiducial: Window
    reference: int

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the windows of the slices and of those after them, and of the reference."""
        v, z = region[:2]
        image = self.shape[2:]
        wide = slice(z.start, min(z.stop + self.neighbours, self.shape[1]))
        part = self.window.needs(self.follow[v, wide].reshape(-1, 2), image)
        if self.reference < 0:
            return ((v, wide, *part),)
        if v.start == self.reference:
            return (v, wide, *part), (v, slice(z.start, z.start + 1), slice(0, 1), slice(0, 1))
        base = slice(self.reference, self.reference + 1)
        shifts = self.follow[[v.start, self.reference], z].reshape(-1, 2)
        fiducial = self.fiducial.needs(shifts, image)
        both = (
            slice(min(a.start, b.start), max(a.stop, b.stop))
            for a, b in zip(part, fiducial, strict=True)
        )
        return (v, wide, *both), (base, z, *fiducial)

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Measure pair by pair; what cannot be measured is NaN."""
        (v, z), own = region[:2], self.needs(region)[0]
        first = int(self.reference < 0)
        measured = np.full((1, z.stop - z.start, self.neighbours + 1, len(QUANTITIES)), np.nan)
        follow = self.follow[v.start]
        for k, slices in self._frames(z.stop - z.start, inputs[0][0], own, follow[own[1]]):
            here = slices[0]
            measured[0, k, :, -2:] = here.contrast, here.sharpness
            for j, other in enumerate(slices[1:], start=1):
                piece = inputs[0][0, k + j]
                blur = NEXT_BLUR if j == 1 else DISTANT_BLUR
                measured[0, k, j, :-2] = self._pair(self.window, here, other, piece, own[2:], blur)
        if not first:
            measured[0, :, 0, :-2] = list(self._between(region, *inputs))
        return measured[:, :, first:]

    def _frames(
        self, count: int, images: np.ndarray, own: blocks.Region, follow: np.ndarray
    ) -> Iterator[tuple[int, list[Frame]]]:
        """Iterate over the slices of the block, each with those after it."""
        kept: list[Frame] = []
        for k in range(count):
            new = range(k + len(kept), min(k + self.neighbours + 1, len(images)))
            kept += [self._frame(self.window, images[n], own[2:], follow[n]) for n in new]
            yield k, kept
            kept = kept[1:]

    def _between(
        self, region: blocks.Region, ours: np.ndarray, base: np.ndarray
    ) -> Iterator[tuple[float, ...]]:
        """Iterate over the measurements against the reference voltage."""
        own, reference = (needed[2:] for needed in self.needs(region))
        v, z = region[:2]
        for k in range(z.stop - z.start):
            if v.start == self.reference:
                yield 0.0, 0.0, 1.0, 1.0, 1.0
                continue
            shifts = self.follow[[self.reference, v.start], z.start + k]
            here = self._frame(self.fiducial, base[0, k], reference, shifts[0])
            other = self._frame(self.fiducial, ours[0, k], own, shifts[1])
            yield self._pair(self.fiducial, here, other, ours[0, k], own, NEXT_BLUR)

    def _frame(
        self, window: Window, piece: np.ndarray, part: blocks.Region, shift: np.ndarray
    ) -> Frame:
        place = np.array(window.place(shift, self.shape[2:]))
        frame = _cut(window, piece, part, place)
        remainder = (np.array(window.origin) - shift - place) / window.factor
        # Windows that the border of the image holds back do not follow at all.
        frame.transform(np.where(np.abs(remainder) * window.factor <= 0.5, remainder, 0.0))
        return frame

    def _pair(
        self,
        window: Window,
        first: Frame,
        second: Frame,
        piece: np.ndarray,
        part: blocks.Region,
        blur: float,
    ) -> tuple[float, ...]:
        """Return the shift (y, x) of the second slice onto the first in pixels, and how sure it is.

        That is the correlation before and after, and the evidence that it is none by chance. A
        peak alone is none: a pattern that the detector lays over all images has one as well. The
        window of the second is moved by the whole pixels of the shift, and looked at again.
        """
        if first.image is None or second.image is None:
            return (np.nan,) * 5
        shape = first.image.shape
        before = _correlation(first, second, np.zeros(2))
        correlation = phase_correlation(first.phases, second.phases, shape, blur, window.reach)
        lag = _likeliest(correlation, first, second)
        moved = second
        if lag.any():
            moved = self._moved(window, second, lag, piece, part)
            if moved.image is None:
                return np.nan, np.nan, before, np.nan, np.nan
            # What is left where the border of the image holds the window back.
            lag = lag - np.rint(second.place - moved.place).astype(int)
        peak = phase_correlation(first.phases, moved.phases, shape, blur, _NEAR, lag)
        shift = lag + top(peak) + first.place - moved.place
        after = _correlation(first, moved, shift)
        score = correlation_score(after, first.sizes, moved.sizes)
        height = float(peak[1:-1, 1:-1].max()) / chance_peak(shape, blur, window.reach)
        y, x = shift * window.factor
        return float(y), float(x), before, after, max(score / _SURE, min(score / _LIKELY, height))

    def _moved(
        self,
        window: Window,
        frame: Frame,
        lag: np.ndarray,
        piece: np.ndarray,
        part: blocks.Region,
    ) -> Frame:
        """Return the frame whose window is moved to where a lag becomes none."""
        wanted = (frame.place - lag) * window.factor
        whole = np.rint(wanted).astype(int)
        inside = np.clip(whole, 0, np.array(self.shape[2:]) - window.size)
        moved = _cut(window, piece, part, inside)
        moved.transform((wanted - whole) / window.factor)
        return moved

    def working_bytes(self, _region: blocks.Region) -> int:
        """Return the bytes of frames, of one window as floats, and of two transforms."""
        largest = max(self.window.size, self.fiducial.size, key=prod)
        factor = min(self.window.factor, self.fiducial.factor)
        pixels = prod(padded(tuple(n // factor for n in largest)))
        return 10 * prod(largest) + (14 * (self.neighbours + 2) + 42) * pixels


def _likeliest(correlation: np.ndarray, first: Frame, second: Frame) -> np.ndarray:
    """Return the peak at which the windows correlate best."""
    lags = peaks(correlation)
    scores = [
        masked_correlation(first.image, second.image, first.valid, second.valid, lag)
        for lag in lags
    ]
    best: np.ndarray = lags[int(np.argmax(np.nan_to_num(scores, nan=-1.0)))]
    return best


def _correlation(first: Frame, second: Frame, shift: np.ndarray) -> float:
    """Return the correlation of images of which the second is shifted, to whole pixels."""
    lag = np.rint(shift - first.corner + second.corner).astype(int)
    return float(masked_correlation(first.image, second.image, first.valid, second.valid, lag))


def _cut(window: Window, piece: np.ndarray, part: blocks.Region, place: np.ndarray) -> Frame:
    region = tuple(
        slice(int(p) - have.start, int(p) - have.start + size)
        for p, have, size in zip(place, part, window.size, strict=True)
    )
    averaged, valid = binned(piece[region], window.factor)
    image, contrast = centred(averaged, valid)
    return Frame(image, valid, contrast, place / window.factor)
