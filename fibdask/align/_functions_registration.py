"""Pairs of slices: what one task measures, from the windows of a few slices."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from .. import blocks
from ._frames import Frame, Seen, Window, cut_frame, frame_correlation, lag_correlation
from ._kernels.registration import (
    NEAR,
    chance_peak,
    correlation_near,
    correlation_score,
    cross_spectrum,
    padded,
    peaks,
    phase_correlation,
    top,
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
_SURE, _LIKELY = 5.0, 3.0  # standard errors of a correlation: alone, and with a clear peak
NEXT_BLUR = 0.5  # pixels: the peak of the most frequent motion is narrow
DISTANT_BLUR = 1.0  # pixels: what more distant slices share is coarser
_REFERENCE = (0.0, 0.0, 1.0, 1.0, 1.0)  # how it lies to itself


@dataclass(frozen=True, eq=False)
class PairMeasurements:
    """Block function: measurements (voltage, z, pair, quantity) of pairs of slices.

    Inputs are the images (voltage, z, y, x), twice where there are several voltages. A slice is
    compared with that of the reference voltage, where there are several, then with each of its
    neighbours, and then with the next one in each of the parts.

    Attributes
    ----------
    shape
        Of the images.
    neighbours
        A slice is compared with that many after it.
    follow
        Shifts in pixels (voltage, z, 2) that windows follow.
    known
        Whether these were measured: then pairs are looked for nearby first.
    window
        For slices of one voltage.
    parts
        Of the window.
    fiducial
        For voltages; used where there are several.
    reference
        Position of the reference voltage; -1 where there is one voltage only.
    """

    shape: tuple[int, ...]
    neighbours: int
    follow: np.ndarray
    known: bool
    window: Window
    parts: tuple[Window, ...]
    fiducial: Window
    reference: int

    revision = 2

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
        (v, z), (own, *other) = region[:2], self.needs(region)
        images = inputs[0][0]
        count = 1 + self.neighbours
        shape = (1, z.stop - z.start, count + len(self.parts), len(QUANTITIES))
        measured = np.full(shape, np.nan)
        for k, slices in self._frames(z, images, own, self.follow[v.start, own[1]]):
            row, here = measured[0, k], slices[0]
            row[:count, -2:] = here.contrast, here.sharpness
            if other:
                base = None if v.start == self.reference else Seen(inputs[1][0, k], other[0][2:])
                row[0, :-2] = self._between(region, k, here, Seen(images[k], own[2:]), base)
            for j, frame in enumerate(slices[1:], start=1):
                seen = Seen(images[k + j], own[2:])
                blur = NEXT_BLUR if j == 1 else DISTANT_BLUR
                row[j, :-2] = self._pair(self.window, here, frame, seen, blur)
                if j == 1:
                    row[count:, :-2] = np.reshape(list(self._in_parts(here, frame, seen)), (-1, 5))
        return measured[:, :, int(not other) :]

    def _frames(
        self, z: slice, images: np.ndarray, own: blocks.Region, follow: np.ndarray
    ) -> Iterator[tuple[int, list[Frame]]]:
        """Iterate over the slices of the block, each with those after it."""
        kept: list[Frame] = []
        for k in range(z.stop - z.start):
            new = range(k + len(kept), min(k + self.neighbours + 1, len(images)))
            kept += [self._frame(self.window, Seen(images[n], own[2:]), follow[n]) for n in new]
            yield k, kept
            kept = kept[1:]

    def _between(
        self, region: blocks.Region, k: int, here: Frame, seen: Seen, base: Seen | None
    ) -> tuple[float, ...]:
        """Return the measurements of a slice against the reference voltage."""
        if base is None:
            return _REFERENCE
        shifts = self.follow[[self.reference, region[0].start], region[1].start + k]
        first = self._frame(self.fiducial, base, shifts[0])
        same = self.fiducial == self.window
        second = here if same else self._frame(self.fiducial, seen, shifts[1])
        return self._pair(self.fiducial, first, second, seen, NEXT_BLUR)

    def _in_parts(self, first: Frame, second: Frame, seen: Seen) -> Iterator[tuple[float, ...]]:
        """Iterate over the measurements of parts of the window."""
        for part in self.parts:
            here, other = (frame.part(part, self.window) for frame in (first, second))
            yield self._pair(part, here, other, seen, NEXT_BLUR)

    def _frame(self, window: Window, seen: Seen, shift: np.ndarray) -> Frame:
        place = np.array(window.place(shift, self.shape[2:]))
        frame = cut_frame(window, seen, place)
        remainder = (np.array(window.origin) - shift - place) / window.factor
        # Windows that the border of the image holds back do not follow at all.
        frame.transform(np.where(np.abs(remainder) * window.factor <= 0.5, remainder, 0.0))
        return frame

    def _pair(
        self, window: Window, first: Frame, second: Frame, seen: Seen, blur: float
    ) -> tuple[float, ...]:
        """Return the shift (y, x) of the second slice onto the first in pixels, and how sure it is.

        That is the correlation before and after, and the evidence that it is none by chance. A
        peak alone is none: a pattern that the detector lays over all images has one as well.
        """
        if first.image is None or second.image is None:
            return (np.nan,) * 5
        shape = first.image.shape
        before = frame_correlation(first, second, np.zeros(2))
        cross = cross_spectrum(first.phases, second.phases, shape, blur)
        if self.known:
            found = _match(window, first, second, cross, blur, np.zeros(2))
            if found.clear:
                return found.told(before)
        lag = _likeliest(phase_correlation(cross, shape, window.reach), first, second)
        if lag.any():
            # The window of the second is moved there, and looked at again.
            moved = self._moved(window, second, lag, seen)
            if moved.image is None:
                return np.nan, np.nan, before, np.nan, np.nan
            # What is left where the border of the image holds the window back.
            lag = lag - np.rint(second.place - moved.place).astype(int)
            second = moved
            cross = cross_spectrum(first.phases, second.phases, shape, blur)
        return _match(window, first, second, cross, blur, lag).told(before)

    def _moved(self, window: Window, frame: Frame, lag: np.ndarray, seen: Seen) -> Frame:
        """Return the frame whose window is moved to where a lag becomes none."""
        wanted = (frame.place - lag) * window.factor
        whole = np.rint(wanted).astype(int)
        inside = np.clip(whole, 0, np.array(self.shape[2:]) - window.size)
        moved = cut_frame(window, seen, inside)
        moved.transform((wanted - whole) / window.factor)
        return moved

    def working_bytes(self, _region: blocks.Region) -> int:
        """Return the bytes of frames, of one window as floats, and of two transforms."""
        largest = max(self.window.size, self.fiducial.size, key=prod)
        factor = min(self.window.factor, self.fiducial.factor)
        pixels = prod(padded(tuple(n // factor for n in largest)))
        kept = self.neighbours + 2 + (3 if self.parts else 0)  # parts of two slices, and one more
        return 10 * prod(largest) + (14 * kept + 42) * pixels


@dataclass(frozen=True, eq=False)
class _Match:
    """How the second of two windows lies to the first.

    Attributes
    ----------
    shift
        In pixels (y, x).
    correlation
        Of the images laid onto each other.
    evidence
        That this is none by chance; at least 1 where it is not.
    clear
        Whether there is evidence, and a peak within reach that chance has not made.
    """

    shift: np.ndarray
    correlation: float
    evidence: float
    clear: bool

    def told(self, before: float) -> tuple[float, ...]:
        """Return what is noted of a pair."""
        return *self.shift, before, self.correlation, self.evidence


def _match(
    window: Window,
    first: Frame,
    second: Frame,
    cross: np.ndarray,
    blur: float,
    lag: np.ndarray,
) -> _Match:
    """Return how two windows lie, of which a lag near that is known."""
    shape = second.valid.shape
    near = correlation_near(cross, shape, lag, NEAR + 1)
    rough = lag + top(near)
    # About the peak itself, the Gaussian through three values is not biased towards whole lags.
    fine = rough + top(correlation_near(cross, shape, rough, 1))
    shift = fine + first.place - second.place
    correlation = frame_correlation(first, second, shift)
    score = correlation_score(correlation, first.sizes, second.sizes)
    highest = float(near[1:-1, 1:-1].max())
    height = highest / chance_peak(shape, blur, window.reach)
    evidence = max(score / _SURE, min(score / _LIKELY, height))
    clear = evidence >= 1 and height >= 1 and highest >= near.max()
    return _Match(shift * window.factor, correlation, evidence, bool(clear))


def _likeliest(correlation: np.ndarray, first: Frame, second: Frame) -> np.ndarray:
    """Return the peak at which the windows correlate best."""
    lags = peaks(correlation)
    scores = [lag_correlation(first, second, lag) for lag in lags]
    best: np.ndarray = lags[int(np.argmax(np.nan_to_num(scores, nan=-1.0)))]
    return best
