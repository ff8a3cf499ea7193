"""What a network is shown of a film: the likely thicknesses of each layer, and their errors."""

from typing import Protocol

import numpy as np

from .dictionary import Dictionary, Observed
from .likelihood import most_likely
from .smoothing import smoothed

GUESSES = 4
"""Maps of a layer, relative to its largest thickness: thickness and error pixel by pixel, and those
of signals that were smoothed."""


class LayerPredictor(Protocol):
    """A network that tells thicknesses from guesses of them, the layers one by one."""

    @property
    def fingerprint(self) -> str:
        """Hash of all that determines what it says."""

    @property
    def halo(self) -> int:
        """How many pixels away, along y and x, what is said of a pixel depends on."""

    @property
    def stride(self) -> int:
        """Windows begin at multiples of it."""

    @property
    def smoothing(self) -> float:
        """Radius in pixels of the smoothed guesses."""

    def bytes(self, shape: tuple[int, int]) -> int:
        """Return peak bytes for a window of a shape (y, x)."""

    def __call__(self, guesses: np.ndarray) -> np.ndarray:
        """Return thicknesses and standard errors, float32 (2, layer, y, x).

        Relative to the largest thickness, as are the guesses (layer, map, y, x).
        """


def guessed(
    dictionary: Dictionary,
    signals: np.ndarray,
    noise: float,
    absent: float,
    smoothing: float,
    inside: tuple[slice, ...] = (slice(None), slice(None)),
) -> np.ndarray:
    """Return guesses, float32 (layer, map, y, x), of signals (energy, y, x); NaN without data.

    Parameters
    ----------
    dictionary
        Of the layers.
    signals
        Of the part that is guessed, and of what is around it as far as smoothing looks.
    noise
        Share of the signals.
    absent
        Probability beforehand that a layer is not there.
    smoothing
        Radius in pixels.
    inside
        Of the part, along y and x.
    """
    part = signals[:, *inside]
    seen = (
        Observed.of(dictionary, part, noise),
        smoothed(dictionary, signals, noise, smoothing).cut(signals.shape[1:], inside),
    )
    found = [most_likely(dictionary, one, absent, errors="curvature") for one in seen]
    maps = np.stack([part for one in found for part in one.maps()], axis=1)
    maps /= dictionary.most.astype(np.float32)[:, np.newaxis, np.newaxis]
    return maps.reshape(*maps.shape[:2], *part.shape[1:])
