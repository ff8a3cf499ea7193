"""Windows of slices, averaged and transformed, and how two of them lie to each other."""

from dataclasses import dataclass, field

import numpy as np

from .. import blocks
from ._kernels.registration import (
    binned,
    centred,
    masked_correlation,
    sharpness,
    spectrum,
    whitened,
)


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


@dataclass(frozen=True, eq=False)
class Seen:
    """What was read of an image: its pixels (y, x), and which they are."""

    pixels: np.ndarray
    part: blocks.Region


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
    parts: dict[Window, "Frame"] = field(default_factory=dict)

    def transform(self, remainder: np.ndarray) -> None:
        """Prepare the comparison, with the window moved by a remainder of a pixel."""
        self.place = self.corner + remainder
        if self.image is not None:
            found = spectrum(self.image)
            self.sharpness = sharpness(found, self.image.shape)
            self.phases, self.sizes = whitened(found, self.image.shape, remainder)

    def part(self, window: Window, whole: Window) -> "Frame":
        """Return the frame of a part of the whole window; made once."""
        if window not in self.parts:
            self.parts[window] = self._part(window, whole)
        return self.parts[window]

    def _part(self, window: Window, whole: Window) -> "Frame":
        start = (np.array(window.origin) - whole.origin) // whole.factor
        region = tuple(
            slice(first, first + size // whole.factor)
            for first, size in zip(start, window.size, strict=True)
        )
        valid, image, contrast = self.valid[region].copy(), None, 0.0
        if self.image is not None:
            image, contrast = centred(self.image[region].copy(), valid)
        frame = Frame(image, valid, contrast, self.corner + start)
        frame.transform(self.place - self.corner)
        return frame


def cut_frame(window: Window, seen: Seen, place: np.ndarray) -> Frame:
    """Return the frame of a window at a place (row, column) of the image."""
    region = tuple(
        slice(int(p) - have.start, int(p) - have.start + size)
        for p, have, size in zip(place, seen.part, window.size, strict=True)
    )
    averaged, valid = binned(seen.pixels[region], window.factor)
    image, contrast = centred(averaged, valid)
    return Frame(image, valid, contrast, place / window.factor)


def frame_correlation(first: Frame, second: Frame, shift: np.ndarray) -> float:
    """Return the correlation of images of which the second is shifted, to whole pixels."""
    lag = np.rint(shift - first.corner + second.corner).astype(int)
    return lag_correlation(first, second, lag)


def lag_correlation(first: Frame, second: Frame, lag: np.ndarray) -> float:
    """Return the correlation of the pixels that two windows share at a lag."""
    return masked_correlation(first.image, second.image, first.valid, second.valid, lag)
