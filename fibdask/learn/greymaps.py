"""Grey values of a stack as a detector of another contrast would have shown them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

GREY_MAP = "grey_map"
"""Key of a card: what normalised grey values become before the network sees them (voltage)."""
_KNOTS = 17


@dataclass(frozen=True)
class GreyMap:
    """A line of knots, from normalised grey values to others; beyond them both rise alike."""

    given: tuple[float, ...]
    made: tuple[float, ...]

    @classmethod
    def power(cls, exponent: float) -> "GreyMap":
        """Return the map of grey values from 0 to 1 to a power of them."""
        given = np.linspace(0, 1, _KNOTS)
        return cls(tuple(given.tolist()), tuple((given**exponent).tolist()))

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        """Return what grey values become, float32."""
        mapped = np.interp(grey, self.given, self.made)
        mapped += np.minimum(grey - self.given[0], 0) + np.maximum(grey - self.given[-1], 0)
        return np.asarray(mapped, np.float32)


def grey_maps(card: Mapping[str, Any]) -> tuple[GreyMap, ...]:
    """Return the maps (voltage) that a card holds; none where grey values stay as they are."""
    found = card.get(GREY_MAP) or []
    return tuple(GreyMap(tuple(one["given"]), tuple(one["made"])) for one in found)


def mapped_images(
    images: np.ndarray, maps: Sequence[GreyMap], present: np.ndarray, distances: np.ndarray
) -> np.ndarray:
    """Return images (voltage, slot, y, x) of mapped grey values; 0 where there is none.

    Parameters
    ----------
    maps
        Of each voltage.
    present
        Which voltages there are (voltage).
    distances
        Of the slots; NaN where there is no slice (slot).
    """
    mapped = np.zeros_like(images, np.float32)
    known = np.isfinite(distances)
    for v in np.flatnonzero(present):
        mapped[v, known] = maps[int(v)](images[v, known])
    return mapped
