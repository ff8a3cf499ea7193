"""Images in the pixels that a network knows, and what it says of them in the stack's own again."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from ..blocks import INNER_CHUNK, Region, even_part, lengths, map_blocks, within
from ._kernels.pixels import square_means, square_taps
from .grey import require_finite
from .slant import UPRIGHT, Slant
from .windows import LARGEST_TILE, PlacedPlanes, PlanePredictions, WindowPredictor

_DIGITS = 6  # of steps: what rounding leaves of a pixel size makes no pixel more
_WIDEST_TILE = 1024  # pixels of a stack along an axis


@dataclass(frozen=True)
class OtherPixels:
    """Pixels beside those of an image, which begin where these do, along y and x.

    Attributes
    ----------
    shape
        Of the image (y, x).
    step
        Lengths of one of the other pixels, in pixels of the image.
    """

    shape: tuple[int, int]
    step: tuple[float, float]

    @property
    def count(self) -> tuple[int, int]:
        """Numbers of the other pixels, which cover the image."""
        pairs = zip(self.shape, self.step, strict=True)
        y, x = (ceil(round(n / step, _DIGITS)) for n, step in pairs)
        return y, x

    def seen(self, others: Region) -> Region:
        """Return the pixels of the image that some of the others are made of."""
        return _sources(others, self.step, self.shape)

    def needed(self, pixels: Region) -> Region:
        """Return those of the others that pixels of the image are made of on the way back."""
        return _sources(pixels, self._back, self.count)

    def resampled(self, image: np.ndarray, others: Region) -> np.ndarray:
        """Return some of the others, float32 (y, x), of the pixels that `seen` says."""
        return _means(image, self.seen(others), others, self.step)

    def brought_back(self, values: np.ndarray, place: Region, pixels: Region) -> np.ndarray:
        """Return pixels of the image, float32 (y, x), of others that lie at a place."""
        needed = self.needed(pixels)
        return _means(values[within(needed, place)], needed, pixels, self._back)

    @property
    def _back(self) -> tuple[float, float]:
        return 1 / self.step[0], 1 / self.step[1]


def _sources(made: Region, step: Sequence[float], shape: Sequence[int]) -> Region:
    """Return the pixels that others are made of."""
    regions = []
    for numbers, length, n in zip(made, step, shape, strict=True):
        first, weights = square_taps(numbers, length)
        start, stop = int(first[0]), int(first[-1]) + weights.shape[1]
        regions.append(slice(min(max(start, 0), n - 1), min(stop, n)))
    return tuple(regions)


def _means(image: np.ndarray, place: Region, made: Region, step: Sequence[float]) -> np.ndarray:
    taps: list[np.ndarray] = []
    for numbers, length, source in zip(made, step, place, strict=True):
        first, weights = square_taps(numbers, length)
        taps += [first - source.start, weights]
    result = np.empty(lengths(made), np.float32)
    square_means(image, *taps, result)
    return result


@dataclass(frozen=True, eq=False)
class ResampledImages:
    """Block function: an image (voltage, z, y, x) in other pixels, float32.

    Attributes
    ----------
    pixels
        The others.
    measured
        Which slices (z) must be finite, bool.
    """

    pixels: OtherPixels
    measured: np.ndarray

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the pixels that those of the block are made of."""
        return ((*region[:2], *self.pixels.seen(region[2:])),)

    def compute(self, region: Region, image: np.ndarray) -> np.ndarray:
        """Resample image by image."""
        (place,) = self.needs(region)
        require_finite(image, self.measured[region[1]], place)
        made = np.empty(lengths(region), np.float32)
        for index in np.ndindex(made.shape[:2]):
            made[index] = self.pixels.resampled(image[index], region[2:])
        return made

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of one image."""
        return 4 * int(np.prod(lengths(region[2:])))


@dataclass(frozen=True, eq=False)
class ResampledPredictions(PlanePredictions):
    """Predictions of images in other pixels, brought back to those of the stack.

    Tiles are of the stack's pixels, and `shape` is that of the images in the others.

    Attributes
    ----------
    pixels
        Those that the network is shown.
    """

    pixels: OtherPixels

    @property
    def plane(self) -> tuple[int, int]:
        """Pixels (y, x) of the stack."""
        return self.pixels.shape

    def working_bytes(self, region: Region) -> int:
        """Return what predictions take, and a part of a plane that is brought back."""
        return super().working_bytes(region) + 4 * int(np.prod(lengths(region[1:])))

    def _wanted(self, tile: Region) -> Region:
        return self.pixels.needed(tile)

    def _part(self, probability: np.ndarray, tile: Region, part: Region) -> np.ndarray:
        return self.pixels.brought_back(probability, self._wanted(tile), part)


def resampled_images(image: Any, pixels: OtherPixels, measured: np.ndarray) -> Any:
    """Return images (voltage, z, y, x) in other pixels, float32, lazily."""
    function = ResampledImages(pixels, measured)
    shape = (*image.shape[:2], *pixels.count)
    return map_blocks(function, (image,), shape=shape, dtype=np.float32)


def resampled_predictions(
    predictor: WindowPredictor,
    planes: PlacedPlanes,
    shape: tuple[int, int, int, int],
    channels: Sequence[int],
    pixels: OtherPixels,
    slant: Slant = UPRIGHT,
) -> ResampledPredictions:
    """Return what predicts planes in the pixels of a stack, in even tiles.

    It is shown resampled images of a shape (voltage, z, y, x).
    """
    y, x = (
        even_part(n, _longest(step), INNER_CHUNK)
        for n, step in zip(pixels.shape, pixels.step, strict=True)
    )
    tile = y, x
    return ResampledPredictions(
        predictor, planes, shape, tuple(channels), tile, pixels, slant=slant
    )


def _longest(step: float) -> int:
    """Return how long a tile may be, so that it is no longer in the other pixels either."""
    most = min(LARGEST_TILE * step, _WIDEST_TILE)
    return max(int(most) // INNER_CHUNK * INNER_CHUNK, INNER_CHUNK)
