"""The network of layers as the stage sees it: given guesses, it returns thicknesses and errors.

What it is made of is read when a process predicts first; nothing here needs torch before that.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...blocks import fingerprint, load_once
from ..predicting import LIBRARIES, told_if_missing

if TYPE_CHECKING:
    from ...pieces.devices import Device
    from .weights import LoadedLayers


@dataclass(frozen=True)
class NetworkLayerPredictor:
    """A network of layers; what is pickled of it is this, and no weights.

    Attributes
    ----------
    folder
        Of the model.
    model
        Its fingerprint.
    halo, stride
        Along y and x, in pixels.
    width
        Features at full resolution.
    smoothing
        Radius in pixels of the smoothed guesses.
    device
        `gpu` or `cpu`; values of both differ in their last bits.
    """

    folder: str
    model: str
    halo: int
    stride: int
    width: int
    smoothing: float
    device: "Device"

    @property
    def fingerprint(self) -> str:
        """Hash of all that determines what it says."""
        return fingerprint(self.model, self.device)

    def bytes(self, shape: tuple[int, int]) -> int:
        """Return peak bytes of the host for a window of a shape (y, x), beside the guesses."""
        # What it is shown twice over, and features of the finest level and of those beside it.
        features = 40 if self.device == "gpu" else 40 + 6 * self.width
        return LIBRARIES + 4 * shape[0] * shape[1] * features

    def load(self) -> "LoadedLayers":
        """Return the network, which each process reads and tests once."""
        return load_once(fingerprint(self.fingerprint, self.folder), partial(_load, self))

    def __call__(self, guesses: np.ndarray) -> np.ndarray:
        """Return thicknesses and standard errors, float32 (2, layer, y, x).

        Parameters
        ----------
        guesses
            Of a window whose begin is a multiple of the stride (layer, map, y, x), as of `guessed`.
        """
        return self.load().predict(guesses)


def _load(predictor: NetworkLayerPredictor) -> "LoadedLayers":
    with told_if_missing():
        from .weights import LoadedLayers
    return LoadedLayers.read(Path(predictor.folder), predictor.model, predictor.device)
