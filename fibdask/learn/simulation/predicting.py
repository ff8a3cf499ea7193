"""The network of images as simulations see it: given layers, it returns backscatter coefficients.

What it is made of is read when a process predicts first; nothing here needs torch before that.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...simulate.images.layers import RUNS, Layers
from ..predicting import LIBRARIES, StoredNetwork, told_if_missing

if TYPE_CHECKING:
    from .weights import LoadedImages


@dataclass(frozen=True)
class NetworkImagePredictor(StoredNetwork["LoadedImages"]):
    """A network of images.

    Attributes
    ----------
    layers
        That it is shown.
    halo, margin, stride
        Along y and x, in pixels; see `ImageArchitecture`.
    widths, detail
        Features at a half, a quarter and an eighth of the resolution, and at the whole.
    """

    layers: Layers
    halo: int
    margin: int
    stride: int
    widths: tuple[int, ...]
    detail: int

    def _read(self) -> "LoadedImages":
        with told_if_missing():
            from .weights import LoadedImages
        return LoadedImages.read(Path(self.folder), self.model, self.device)

    def bytes(self, shape: tuple[int, int]) -> int:
        """Return peak bytes of the host for a window of a shape (y, x), beside what is shown."""
        shown = len(self.layers.edges) + RUNS + 1
        # What is shown twice over, folded to half resolution, and features of both.
        features = 2 * shown + 4 * self.detail + 5 * self.widths[0] // 4
        return LIBRARIES + 4 * shape[0] * shape[1] * (2 if self.device == "gpu" else features)

    def __call__(
        self,
        shown: np.ndarray,
        *,
        voltage: float,
        pixel_size: tuple[float, float],
        materials: tuple[str, str],
    ) -> np.ndarray:
        """Return the share of the electrons that each pixel scatters back, float32 (y, x).

        Parameters
        ----------
        shown
            As `show_layers` returns it, of lengths along y and x that are multiples of the stride.
        voltage
            In kV.
        pixel_size
            Along y and x in nm.
        materials
            Of pore and solid.
        """
        return self.load().predict(shown, voltage, pixel_size, materials)
