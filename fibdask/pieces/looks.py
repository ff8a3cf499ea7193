"""A look at what a network makes of some planes, before it is asked for all of them.

What no coordinate tells of images, such as noise, blur or another material, a network shows by
doubts that it had not on what it was judged by, or by another solid fraction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ..blocks import BlockFunction, Region, map_blocks, reduce_blocks, tell, voxels
from .functions import InPlace
from .validity import Card, at_most_wrong, doubts
from .windows import NO_SLICE, STEPS, PlanePredictions

_PLANES = 3  # that are looked at
_TILES, _TILE = 4, 64  # along y and x, and pixels of each


@dataclass(frozen=True)
class SomeRegions:
    """Numbered regions of a volume (z, y, x), as a grid numbers its blocks."""

    regions: tuple[Region, ...]

    @property
    def size(self) -> int:
        """Number of regions."""
        return len(self.regions)

    @property
    def parts(self) -> Sequence[tuple[int, ...]]:
        """One part."""
        return ((self.size,),)

    def numbered(self, number: int) -> Region:
        """Return a region by its number."""
        return self.regions[number]


@dataclass(frozen=True)
class DoubtCounts(InPlace):
    """Block function: of probabilities (z, y, x), steps to the likelier phase, solid, and all."""

    size = 3

    def compute(self, region: Region, probability: np.ndarray) -> np.ndarray:
        """Return the three sums of a block."""
        steps = np.rint(probability * np.float32(STEPS)).astype(np.int64)
        doubt = np.minimum(steps, STEPS - steps).sum()
        return np.array([doubt, (2 * steps > STEPS).sum(), steps.size], np.int64)

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of integers and of one more of them."""
        return 16 * voxels(region)


@dataclass(frozen=True)
class ToldDoubts:
    """Finish `DoubtCounts` with what they say, which is told where it does not fit a card.

    Attributes
    ----------
    model
        Its name.
    card
        Its card, as far as `doubts` looks at it.
    voltages
        In kV, which it is shown.
    between
        Whether planes lie between slices, too.
    """

    model: str
    card: Card
    voltages: tuple[float, ...]
    between: bool

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the expected share of wrong voxels in %, and that of solid ones."""
        doubt, solid, count = counts
        wrong, share = 100 * doubt / (STEPS * count), solid / count
        for text in doubts(self.card, self.voltages, wrong, share, between=self.between):
            tell(f"model {self.model} {text}")
        return np.array([wrong, share])


@dataclass(frozen=True)
class LookedAt(InPlace):
    """Block function: values as they are, once some have been looked at."""

    def compute(self, region: Region, values: np.ndarray, looked: np.ndarray) -> np.ndarray:
        """Return the block."""
        return values


@dataclass(frozen=True)
class Passed(InPlace):
    """Block function: probabilities as they are, once they have been looked at."""

    scale_factor = 1 / STEPS

    def compute(self, region: Region, probability: np.ndarray, looked: np.ndarray) -> np.ndarray:
        """Return the block."""
        return probability


def spread_tiles(shape: tuple[int, int]) -> tuple[Region, ...]:
    """Return tiles (y, x) that lie evenly all over maps of a shape: up to 16 of 64² pixels."""
    return tuple(product(*map(_spread, shape)))


def _spread(length: int) -> list[slice]:
    """Return parts of an axis that do not overlap: all of it if that is not long."""
    if length <= _TILES * _TILE:
        return [slice(k, min(k + _TILE, length)) for k in range(0, length, _TILE)]
    starts = np.linspace(0, length - _TILE, _TILES).round().astype(int).tolist()
    return [slice(start, start + _TILE) for start in starts]


def looked_at(probability: Any, predictions: PlanePredictions, told: ToldDoubts) -> Any:
    """Return probabilities (z, y, x), lazily; some planes are looked at before others are made."""
    regions = _some(predictions)
    if not regions:
        return probability
    grid = SomeRegions(regions)
    look = reduce_blocks(DoubtCounts(), (probability,), grid=grid, finish=told, shape=(2,))
    return after_look(Passed(), probability, look)


def after_look(function: BlockFunction, values: Any, look: Any) -> Any:
    """Return values as they are, lazily: `look` is made before any of them, and tells what it sees.

    Parameters
    ----------
    function
        That passes them on.
    values
        Of any dimensions.
    look
        As of `reduce_blocks`.
    """
    return map_blocks(
        function,
        (values,),
        shape=values.shape,
        dtype=values.dtype,
        parameters=(look,),
        block=tuple(max(lengths) for lengths in values.chunks),
    )


def _some(predictions: PlanePredictions) -> tuple[Region, ...]:
    """Return the middle tile of some of the planes that are told of; none if none is."""
    planes = np.flatnonzero(predictions.planes.above != NO_SLICE)
    if not len(planes):
        return ()
    chosen = planes[np.linspace(0, len(planes) - 1, _PLANES + 2).round().astype(int)[1:-1]]
    tile = tuple(
        slice(start := n // 2 // length * length, min(start + length, n))
        for n, length in zip(predictions.plane, predictions.tile, strict=True)
    )
    return tuple((slice(int(k), int(k) + 1), *tile) for k in np.unique(chosen))


def card_of_doubts(card: Card) -> Mapping[str, Any]:
    """Return what `doubts` looks at of a card."""
    errors = card.get("errors", {})
    kept = {key: card[key] for key in ("solid_fraction",) if key in card}
    # Of phases, gaps alone are looked at.
    gaps = {"voltages": [], "misplaced": errors["between"]} if "between" in errors else None
    rows = map(at_most_wrong, errors.get("conditions", [gaps] if gaps else []))
    return kept | {"conditions": [*rows]}
