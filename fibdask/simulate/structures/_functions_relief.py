"""Thickness maps of films that change abruptly: terraces, plates and lines with vertical walls."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from ... import blocks
from ..keys import image_key
from ._functions import LayerThickness

_LEVELS = 3  # of plates and lines: a third, two thirds and all of the largest thickness
_SIDES = 0.35, 0.9  # of plates and fields of lines, in cells
_LINES = 4  # in a cell


@dataclass(frozen=True)
class TerracedThickness(LayerThickness):
    """Block function: thickness of each layer (layer, y, x) in nm, in equal steps.

    Attributes
    ----------
    bare
        Share of the pixels of least thickness.
    terraces
        Number of steps from least to largest.
    """

    bare: float
    terraces: int

    octaves = 1

    def compute(self, region: blocks.Region) -> np.ndarray:
        """Generate the maps of a region."""
        layers, *part = region
        maps = np.empty(blocks.lengths(region), np.float32)
        for out, layer in zip(maps, range(layers.start, layers.stop), strict=True):
            low, high = self.least[layer], self.largest[layer]
            above = (ndtr(self._noise(layer, part)) - self.bare) / (1 - self.bare)
            step = np.clip(np.ceil(above * self.terraces), 0, self.terraces)
            out[...] = low + (high - low) * step / self.terraces
        return maps


class _Piece(NamedTuple):
    """A rectangle in nm (y, x), with lines of a period along an axis, 0 for a plate."""

    start: tuple[float, float]
    stop: tuple[float, float]
    period: float
    axis: int
    share: float
    """Of the range of thicknesses."""


@dataclass(frozen=True)
class SharpThickness(LayerThickness):
    """Block function: thickness of each layer (layer, y, x) in nm, of plates and lines.

    Space is cut into square cells of the feature size. A cell is bare, or holds a plate or a field
    of parallel lines, as a hash of seed, layer and cell says.

    Attributes
    ----------
    bare
        Share of the cells without either.
    """

    bare: float

    def compute(self, region: blocks.Region) -> np.ndarray:
        """Generate the maps of a region."""
        layers, *part = region
        maps = np.empty(blocks.lengths(region), np.float32)
        places = [
            np.arange(s.start, s.stop) * h for s, h in zip(part, self.pixel_size, strict=True)
        ]
        for out, layer in zip(maps, range(layers.start, layers.stop), strict=True):
            low, high = self.least[layer], self.largest[layer]
            out[...] = low
            for piece in self._pieces(layer, places):
                ends = zip(places, piece.start, piece.stop, strict=True)
                y, x = (slice(*np.searchsorted(p, (first, last))) for p, first, last in ends)
                height = low + (high - low) * piece.share
                out[y, x] = np.where(_is_line(piece, places[0][y], places[1][x]), height, low)
        return maps

    def _pieces(self, layer: int, places: list[np.ndarray]) -> Iterator[_Piece]:
        """Iterate over what lies in the cells that some places touch."""
        side = self.feature_size
        ranges = [range(int(p[0] // side), int(p[-1] // side) + 1) for p in places]
        for i in ranges[0]:
            for k in ranges[1]:
                rng = np.random.default_rng(image_key((self.seed, layer, i, k)))
                if rng.random() < self.bare:
                    continue
                lengths = side * rng.uniform(*_SIDES, 2)
                corner = np.array([i, k]) * side + rng.random(2) * (side - lengths)
                period = side / _LINES if rng.random() < 0.5 else 0.0
                yield _Piece(
                    (float(corner[0]), float(corner[1])),
                    (float(corner[0] + lengths[0]), float(corner[1] + lengths[1])),
                    period,
                    int(rng.integers(2)),
                    float(rng.integers(1, _LEVELS + 1)) / _LEVELS,
                )


def _is_line(piece: _Piece, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return which places (y, x) of a piece are covered, bool."""
    shape = len(y), len(x)
    if not piece.period:
        return np.ones(shape, bool)
    along = (y, x)[piece.axis] - piece.start[piece.axis]
    covered = along % piece.period < piece.period / 2
    return np.broadcast_to(covered[:, np.newaxis] if piece.axis == 0 else covered, shape)
