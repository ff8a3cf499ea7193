"""Predictors: what networks are to stages, which need not know them.

A predictor is shown windows of an image and says what is at each voxel. What it says depends on
all that lies within its halo, on where the window begins if it coarsens inside, and in the last
bits on the window's shape. So `Tiled` always shows it the same windows, whatever region is wanted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from threading import Lock
from typing import Any, Protocol, TypeVar

import numpy as np

from ..conventions import ConventionError
from .regions import Region, lengths, overlap, tile_window, touched_tiles, within

Spatial = tuple[int, int, int]
Loaded = TypeVar("Loaded")

_loaded: dict[str, Any] = {}
_loading = Lock()


class Predictor(Protocol):
    """Says what is at each voxel of a window: a small description that is pickled into tasks.

    What it is made of, such as weights, stays where it is until a process asks `load_once` for it.
    Lengths are in voxels along z, y and x.
    """

    @property
    def fingerprint(self) -> str:
        """Hash of weights and of all else that determines what is predicted."""

    @property
    def halo(self) -> Spatial:
        """How far a voxel's result looks in either direction."""

    @property
    def stride(self) -> Spatial:
        """Windows begin at multiples of it, and end there or where the image does."""

    def bytes(self, shape: tuple[int, int, int, int]) -> tuple[int, int]:
        """Return peak bytes of the host and of the device for a window, beside the window itself.

        The result is part of them.
        """

    def __call__(self, window: np.ndarray, place: Region) -> np.ndarray:
        """Predict all of a window.

        Parameters
        ----------
        window
            Grey values (voltage, z, y, x).
        place
            Of the window in the image (z, y, x), for what depends on it, as depths of slices do.

        Returns
        -------
        np.ndarray
            Result (z, y, x) or (class, z, y, x) of the window's lengths. Beyond the image it has
            assumed what it likes.
        """


def load_once(fingerprint: str, load: Callable[[], Loaded]) -> Loaded:
    """Return what a predictor loads, which each process does once for a fingerprint."""
    with _loading:
        if fingerprint not in _loaded:
            _loaded[fingerprint] = load()
        result: Loaded = _loaded[fingerprint]
        return result


@dataclass(frozen=True)
class Tiled:
    """Block function: what a predictor says, the same to the last bit in whatever region.

    An image (voltage, z, y, x) becomes (z, y, x) or (class, z, y, x). It is cut into tiles, each
    predicted in one window with its halo, and what is wanted is cut out of these.

    Attributes
    ----------
    predictor
        Shown one window after another.
    shape
        Of the image (voltage, z, y, x).
    tile
        Least lengths of a tile along z, y and x; rounded up to strides.
    """

    predictor: Predictor
    shape: tuple[int, int, int, int]
    tile: Spatial = (64, 128, 128)

    revision = 2

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the windows of all tiles that the region touches, of every voltage."""
        windows = [self._window(tile) for tile in self._tiles(region[-3:])]
        cover = (slice(a.start, b.stop) for a, b in zip(windows[0], windows[-1], strict=True))
        return ((slice(0, self.shape[0]), *cover),)

    def compute(self, region: Region, image: np.ndarray) -> np.ndarray:
        """Predict the tiles, and put the region together of them."""
        classes, wanted = region[:-3], region[-3:]
        (read,) = self.needs(region)
        tiles = self._tiles(wanted)
        result: np.ndarray = np.empty(0)
        for tile in tiles:
            window = self._window(tile)
            shown = image[:, *within(window, read[1:])]
            predicted = self._checked(self.predictor(shown, window), window, len(region))
            if tile is tiles[0]:
                result = np.empty(lengths(region), predicted.dtype)
            part = overlap(tile, wanted)
            inside: Any = (..., *within(part, wanted))
            result[inside] = predicted[*classes, *within(part, window)]
        return result

    def working_bytes(self, region: Region) -> int:
        """Return what the predictor takes of the host for the largest window."""
        windows = [self._window(tile) for tile in self._tiles(region[-3:])]
        z, y, x = (max(axis) for axis in zip(*map(lengths, windows), strict=True))
        return self.predictor.bytes((self.shape[0], z, y, x))[0]

    def _tiles(self, region: Region) -> list[Region]:
        """Return the tiles that a region (z, y, x) touches, in C order."""
        pairs = zip(self.tile, self.predictor.stride, strict=True)
        tile = [ceil(least / stride) * stride for least, stride in pairs]
        return touched_tiles(region, tile, self.shape[1:])

    def _window(self, tile: Region) -> Region:
        return tile_window(tile, self.predictor.halo, self.predictor.stride, self.shape[1:])

    def _checked(self, predicted: np.ndarray, window: Region, dimensions: int) -> np.ndarray:
        if predicted.shape[-3:] != lengths(window) or predicted.ndim != dimensions:
            msg = (
                f"a predictor must give {dimensions} dimensions, of which the last are "
                f"{lengths(window)}, for the window {window}; got the shape {predicted.shape}"
            )
            raise ConventionError(msg)
        return predicted
