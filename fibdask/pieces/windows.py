"""Windows of slices: what networks are shown of a stack, and the planes that they tell of.

A slice shows what lies below it, too. From a window of slices around one of them a network says
what is solid in that slice, and on any plane between it and the next. It is shown the same windows
whatever region is wanted, so that no value depends on blocks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import ceil, lcm
from typing import Any, Protocol

import numpy as np

from ..blocks import (
    BLOCK_BYTES,
    INNER_CHUNK,
    BlockFunction,
    Region,
    even_part,
    lengths,
    map_blocks,
    overlap,
    tile_window,
    touched_tiles,
    unpacked,
    within,
)
from ..conventions import ConventionError
from .functions import InPlace
from .grey import range_values, require_finite
from .slant import UPRIGHT, Slant

NO_SLICE = -1
"""Number of a slice that does not exist."""
LARGEST_TILE = 768  # pixels along y and x
_LEAST_PLANES = 32  # of a block: windows at its ends are looked at by the next one, too
STEPS = 255  # of probabilities, as they are stored
_SAME_DEPTH = 1e-6  # nm
PIXEL = 2.5
"""Pixel size in nm that networks of phases are told distances for: they count in pixels."""

Pixels = tuple[int, int]


@dataclass(frozen=True)
class SliceWindow:
    """How many slices a window holds.

    Attributes
    ----------
    above
        Slices at or before its own, which is one of them.
    below
        Slices after it.
    every
        Of how many slices one is shown; 1 if all are.
    """

    above: int
    below: int
    every: int = 1

    @property
    def size(self) -> int:
        """Number of slices, its slots."""
        return self.above + self.below

    def slices(self, i: int, count: int) -> np.ndarray:
        """Return the slices (slot) of the window of slice `i` of `count`; NO_SLICE beyond them."""
        numbers = i + self.every * np.arange(1 - self.above, self.below + 1)
        return np.where((numbers >= 0) & (numbers < count), numbers, NO_SLICE)

    def distances(self, i: int, z: np.ndarray) -> np.ndarray:
        """Return how far the slices of that window are from it (slot), by their `z`; NaN beyond."""
        slots = self.slices(i, len(z))
        return np.where(slots == NO_SLICE, np.nan, z[slots] - z[i])


class WindowPredictor(Protocol):
    """Says what is solid on planes below a slice: a small description, pickled into tasks.

    What it is made of, such as weights, stays where it is until a process asks `load_once` for it.
    """

    @property
    def fingerprint(self) -> str:
        """Hash of weights and of all else that determines what is predicted."""

    @property
    def window(self) -> SliceWindow:
        """The slices that it is shown."""

    @property
    def voltages(self) -> int:
        """How many images of each slice it is shown."""

    @property
    def halo(self) -> Pixels:
        """How many pixels along y and x a result looks in either direction."""

    @property
    def stride(self) -> Pixels:
        """Images begin at multiples of it in pixels along y and x, and their lengths are such."""

    def bytes(self, shape: Pixels, planes: int) -> tuple[int, int]:
        """Return peak bytes of the host and of the device for a window, beside its images.

        The result is part of them.
        """

    def __call__(
        self,
        images: np.ndarray,
        present: np.ndarray,
        distances: np.ndarray,
        offsets: np.ndarray,
        pixels: Region | None = None,
    ) -> np.ndarray:
        """Predict planes of a window, each for itself.

        Parameters
        ----------
        images
            Grey values, float32 (voltage, slot, y, x): 0 and 1 are low and high quantiles of their
            voltage; 0 throughout where there is none.
        present
            Which voltages there are (voltage), bool.
        distances
            Of the slots from the window's slice in nm (slot); NaN where there is no slice.
        offsets
            Of the planes below the window's slice in nm (plane), from 0 to the next slice.
        pixels
            Of the window, along y and x, which are wanted; by default all.

        Returns
        -------
        np.ndarray
            Probability of solid of these, float32 (plane, y, x), from 0 to 1.
        """


@dataclass(frozen=True, eq=False)
class PlacedPlanes:
    """Planes, and the slices whose windows tell of them.

    Attributes
    ----------
    slices
        Numbers of the slices that are shown, of those of the stack (slice).
    z
        Depths of these in nm (slice).
    above
        Which slice lies at or above each plane (plane); NO_SLICE for planes of which nothing is
        told.
    offsets
        How far below it the plane lies in nm (plane).
    every
        Of how many slices one is shown beside that, where they are thinner than a network knows.
    """

    slices: np.ndarray
    z: np.ndarray
    above: np.ndarray
    offsets: np.ndarray
    every: int = 1

    @classmethod
    def of_slices(cls, z: np.ndarray, measured: np.ndarray) -> "PlacedPlanes":
        """Return the slices of a stack themselves, of depths `z`, as far as they are measured."""
        above = np.where(measured, np.cumsum(measured) - 1, NO_SLICE)
        return cls(np.flatnonzero(measured), z[measured], above, np.zeros(len(z)))

    @classmethod
    def between(cls, z: np.ndarray, measured: np.ndarray, depths: np.ndarray) -> "PlacedPlanes":
        """Return planes at `depths` between the measured slices of a stack.

        Before the first slice and after the last one, they are copies of it.
        """
        slices, z = np.flatnonzero(measured), z[measured]
        above = np.searchsorted(z, depths + _SAME_DEPTH, side="right") - 1
        offsets = np.where(above == len(z) - 1, 0.0, depths - z[above])
        offsets[(above < 0) | (offsets <= _SAME_DEPTH)] = 0.0
        return cls(slices, z, above.clip(min=0), offsets)

    def without(self, numbers: np.ndarray) -> "PlacedPlanes":
        """Return the same, but that nothing is told of some of the planes."""
        above = self.above.copy()
        above[numbers] = NO_SLICE
        return replace(self, above=above)

    @property
    def gaps(self) -> np.ndarray:
        """Distance in nm of the slices above and below each plane (plane); 0 on slices."""
        steps = np.append(np.diff(self.z), 0.0)
        return np.where(self.offsets > 0, steps[self.above], 0.0)

    def windows(self, planes: slice) -> Iterator[tuple[int, slice]]:
        """Iterate over the slices whose windows tell of some planes, and which of these."""
        above = self.above[planes]
        for i in np.unique(above[above != NO_SLICE]):
            told = np.flatnonzero(above == i)  # one after the other, as depths increase
            yield int(i), slice(int(told[0]), int(told[-1]) + 1)


@dataclass(frozen=True, eq=False)
class PlanePredictions:
    """Block function: probability of solid (z, y, x) on planes of an image (voltage, z, y, x).

    Images are cut into tiles along y and x. Each is predicted in one go with its halo, from stride
    to stride; where an image ends within a stride, its last pixels are repeated. Values are
    multiples of 1/255; planes of which nothing is told are 0.

    Attributes
    ----------
    predictor
        Shown one window after another.
    planes
        What it is asked for.
    shape
        Of the image (voltage, z, y, x).
    channels
        Which voltage of the predictor each one of the image is.
    tile
        Lengths of a tile along y and x, multiples of the stride.
    slant
        Of the beam, in pixels of the image.
    """

    predictor: WindowPredictor
    planes: PlacedPlanes
    shape: tuple[int, int, int, int]
    channels: tuple[int, ...]
    tile: Pixels
    slant: Slant = field(default=UPRIGHT, kw_only=True)

    revision = 5
    scale_factor = 1 / STEPS

    @property
    def plane(self) -> Pixels:
        """Pixels (y, x) of the result."""
        return self.shape[2:]

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the slices of all windows, as far as tiles and halos reach."""
        tiles = self._tiles(region[1:])
        first, last = self._shown(tiles[0]), self._shown(tiles[-1])
        y, x = (slice(a.start, b.stop) for a, b in zip(first, last, strict=True))
        y = self._met(y, region[0])
        return ((slice(0, self.shape[0]), self._slices(region[0]), y, x),)

    def compute(self, region: Region, image: np.ndarray, *ranges: np.ndarray) -> np.ndarray:
        """Predict the planes of each window, tile by tile; `ranges` are those of `grey_ranges`."""
        (place,) = self.needs(region)
        used = np.isin(np.arange(place[1].start, place[1].stop), self.planes.slices)
        require_finite(image, used, place)
        read = _Read(image, place[1:], range_values(*ranges))
        result = np.zeros(lengths(region), np.float32)
        tiles = self._tiles(region[1:])
        for (i, planes), tile in product(self.planes.windows(region[0]), tiles):
            part = overlap(tile, region[1:])
            made = result[planes][:, *within(part, region[1:])]
            self._fill(made, read, i, self.planes.offsets[region[0]][planes], tile, part)
        return result

    def _fill(
        self,
        made: np.ndarray,
        read: "_Read",
        i: int,
        offsets: np.ndarray,
        tile: Region,
        part: Region,
    ) -> None:
        """Fill planes of a part of a tile; nothing is held when the next one is shown."""
        predicted = self._predicted(self._images(read, i, tile), i, offsets, tile)
        told, wanted = self._told(tile), self._wanted(tile)
        for plane, probability, offset in zip(made, predicted, offsets, strict=True):
            values = probability
            if self.slant.step:
                values = self.slant.upright(probability, told[0], wanted[0], float(offset))
            plane[:] = in_steps(self._part(values, tile, part))

    def working_bytes(self, region: Region) -> int:
        """Return the images of the largest window, what the predictor takes, and one plane."""
        told = [p.stop - p.start for _, p in self.planes.windows(region[0])]
        if not told:
            return 0
        windows = [lengths(self._window(tile)) for tile in self._tiles(region[1:])]
        y, x = (max(axis) for axis in zip(*windows, strict=True))
        images = self.predictor.voltages * self.predictor.window.size
        taken, _ = self.predictor.bytes((y, x), max(told))
        # Along a slant, an image that is moved, and rows of a plane that are mixed.
        moved = 3 if self.slant.step else 0
        return int(4 * y * x * (images + 3 + moved) + taken)

    @property
    def _slots(self) -> SliceWindow:
        """Which slices a window holds of those that there are."""
        return replace(self.predictor.window, every=self.planes.every)

    def _slices(self, planes: slice) -> slice:
        """Return the slices of the stack that the windows of planes hold."""
        windows = [i for i, _ in self.planes.windows(planes)]
        if not windows:
            return slice(0, 1)  # no region is empty
        window, numbers = self._slots, self.planes.slices
        first = max(windows[0] - window.every * (window.above - 1), 0)
        last = min(windows[-1] + window.every * window.below, len(numbers) - 1)
        return slice(int(numbers[first]), int(numbers[last]) + 1)

    def _tiles(self, region: Region) -> list[Region]:
        """Return the tiles that a region (y, x) touches, in C order."""
        return touched_tiles(region, self.tile, self.plane)

    def _shown(self, tile: Region) -> Region:
        """Return the part of the images that a tile is predicted of."""
        told = self._told(tile)
        return tile_window(told, self.predictor.halo, self.predictor.stride, self.shape[2:])

    def _met(self, rows: slice, planes: slice) -> slice:
        """Return the rows where beams through some rows meet any slice of the windows of planes."""
        if not self.slant.step:
            return rows
        windows = [i for i, _ in self.planes.windows(planes)]
        depths = np.array([self._slots.distances(i, self.planes.z) for i in windows])
        depths = depths[np.isfinite(depths)]
        if not depths.size:
            return rows
        ends = [self.slant.met(rows, end, self.shape[2]) for end in (depths.min(), depths.max())]
        return slice(int(np.min(ends)), int(np.max(ends)) + 1)

    def _window(self, tile: Region) -> Region:
        """Return that part up to the next stride, where the images end before it."""
        pairs = zip(self._shown(tile), self.predictor.stride, strict=True)
        return tuple(slice(s.start, ceil(s.stop / stride) * stride) for s, stride in pairs)

    def _told(self, tile: Region) -> Region:
        """Return the pixels of the images that are predicted for a tile."""
        y, x = self._wanted(tile)
        # The same for all planes, whichever of them a block holds.
        return self.slant.through(y, float(self.planes.offsets.max()), self.shape[2]), x

    def _wanted(self, tile: Region) -> Region:
        """Return the pixels of planes, such as images have, that a tile is made of."""
        return tile

    def _part(self, probability: np.ndarray, tile: Region, part: Region) -> np.ndarray:
        """Return the part of a tile's probability (y, x) that is wanted."""
        return probability[within(part, tile)]

    def _images(self, read: "_Read", i: int, tile: Region) -> np.ndarray:
        """Return the normalised images (voltage, slot, y, x) of the window of a slice."""
        slots = self._slots.slices(i, len(self.planes.slices))
        shown, depths = self._shown(tile), self._slots.distances(i, self.planes.z)
        part, shape = within(shown, read.place[1:]), lengths(self._window(tile))
        images = np.zeros((self.predictor.voltages, len(slots), *shape), np.float32)
        for slot in np.flatnonzero(slots != NO_SLICE):
            k = self.planes.slices[slots[slot]] - read.place[0].start
            y: slice | np.ndarray = part[0]
            if self.slant.step:
                y = self.slant.met(shown[0], depths[slot], self.shape[2]) - read.place[1].start
            for v, channel in enumerate(self.channels):
                _normalise(read.image[v, k, y, part[1]], read.ranges[v], images[channel, slot])
        return images

    def _predicted(
        self, images: np.ndarray, i: int, offsets: np.ndarray, tile: Region
    ) -> np.ndarray:
        distances = self._slots.distances(i, self.planes.z) * self.slant.stretch
        present = np.isin(np.arange(self.predictor.voltages), self.channels)
        told = self._told(tile)
        pixels = within(told, self._window(tile))
        along = offsets * self.slant.stretch
        predicted: np.ndarray = self.predictor(images, present, distances, along, pixels)
        expected = (len(offsets), *lengths(told))
        if predicted.shape != expected:
            msg = f"a predictor must give the shape {expected}; got {predicted.shape}"
            raise ConventionError(msg)
        if not (predicted.min() >= 0 and predicted.max() <= 1):  # also of NaN
            msg = (
                "probabilities must lie in 0 … 1; the network gives "
                f"{predicted.min():g} … {predicted.max():g} for the window of slice "
                f"{self.planes.slices[i]}"
            )
            raise ConventionError(msg)
        return predicted


@dataclass(frozen=True, eq=False)
class _Read:
    """Images (voltage, z, y, x), their place (z, y, x), and which grey values are 0 and 1."""

    image: np.ndarray
    place: Region
    ranges: np.ndarray


@dataclass(frozen=True)
class LikelySolid(InPlace):
    """Block function: the phase of a probability of solid (z, y, x), 1 above one half."""

    def compute(self, region: Region, probability: np.ndarray) -> np.ndarray:
        """Return the uint8 phase of a block."""
        phase: np.ndarray = np.greater(probability, 0.5).view(np.uint8)
        return phase


def predict_planes(
    image: Any,
    predictions: PlanePredictions,
    ranges: Sequence[Any],
    function: BlockFunction | None = None,
) -> Any:
    """Return the probability of solid (z, y, x), float32, on planes of an image, lazily.

    Parameters
    ----------
    image
        Grey values (voltage, z, y, x).
    predictions
        What predicts them.
    ranges
        Those of `grey_ranges`.
    function
        What makes another volume of the same planes instead, in the same blocks.
    """
    tile, shape = predictions.tile, (len(predictions.planes.above), *predictions.plane)
    return map_blocks(
        function or predictions,
        (image,),
        shape=shape,
        dtype=np.float32,
        parameters=ranges,
        block=_block(shape, tile),
    )


def window_predictions(
    predictor: WindowPredictor,
    planes: PlacedPlanes,
    shape: tuple[int, int, int, int],
    channels: Sequence[int],
    slant: Slant = UPRIGHT,
) -> PlanePredictions:
    """Return what predicts planes of an image of a shape (voltage, z, y, x), in even tiles."""
    y, x = (
        even_part(n, LARGEST_TILE, lcm(INNER_CHUNK, stride))
        for n, stride in zip(shape[2:], predictor.stride, strict=True)
    )
    return PlanePredictions(predictor, planes, shape, tuple(channels), (y, x), slant=slant)


def _block(shape: tuple[int, int, int], tile: Pixels) -> tuple[int, int, int]:
    """Return a block of one tile, with so many planes that there are about eight if possible."""
    block = tuple(min(length, n) for length, n in zip(tile, shape[1:], strict=True))
    tiles = ceil(shape[1] / block[0]) * ceil(shape[2] / block[1])
    most = min(INNER_CHUNK, BLOCK_BYTES // (4 * block[0] * block[1]))
    planes = min(max(shape[0] * tiles // 8, _LEAST_PLANES), most)
    return even_part(shape[0], planes, 1), block[0], block[1]


def _normalise(grey: np.ndarray, ends: np.ndarray, shown: np.ndarray) -> None:
    """Fill an image (y, x) with grey values, 0 and 1 at the ends, and repeat the last pixels."""
    y, x = grey.shape
    low, high = ends
    inside = shown[:y, :x]
    np.subtract(grey, low, out=inside, dtype=np.float64, casting="same_kind")
    inside /= np.float32(high - low)
    shown[y:, :x] = inside[-1:]
    shown[:, x:] = shown[:, x - 1 : x]


def in_steps(probability: np.ndarray) -> np.ndarray:
    """Return probabilities as they are stored, float32: the nearest multiples of 1/255."""
    return unpacked(np.rint(probability * np.float32(STEPS)), 1 / STEPS)
