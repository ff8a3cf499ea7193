"""The network of layers as the stage sees it: given guesses, it returns thicknesses and errors.

What it is made of is read when a process predicts first; nothing here needs torch before that.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..predicting import LIBRARIES, StoredNetwork, told_if_missing

if TYPE_CHECKING:
    from .weights import LoadedLayers


@dataclass(frozen=True)
class NetworkLayerPredictor(StoredNetwork["LoadedLayers"]):
    """A network of layers.

    Attributes
    ----------
    halo, stride
        Along y and x, in pixels.
    width
        Features at full resolution.
    smoothing
        Radius in pixels of the smoothed guesses.
    """

    halo: int
    stride: int
    width: int
    smoothing: float

    def _read(self) -> "LoadedLayers":
        with told_if_missing():
            from .weights import LoadedLayers
        return LoadedLayers.read(Path(self.folder), self.model, self.device)

    def bytes(self, shape: tuple[int, int]) -> int:
        """Return peak bytes of the host for a window of a shape (y, x), beside the guesses."""
        # What it is shown twice over, and features of the finest level and of those beside it.
        features = 40 if self.device == "gpu" else 40 + 6 * self.width
        return LIBRARIES + 4 * shape[0] * shape[1] * features

    def __call__(self, guesses: np.ndarray) -> np.ndarray:
        """Return thicknesses and standard errors, float32 (2, layer, y, x).

        Parameters
        ----------
        guesses
            Of a window whose begin is a multiple of the stride (layer, map, y, x), as of `guessed`.
        """
        return self.load().predict(guesses)
