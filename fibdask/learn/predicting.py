"""Networks as stages see them: given windows of slices, they return probabilities."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from ..blocks import Region, fingerprint, load_once
from ..conventions import ConventionError
from ..pieces.windows import SliceWindow

TORCH_IS_MISSING = "networks need torch, which is not installed; install fibdask[learn]"
LIBRARIES = 224 * 2**20
"""Bytes that torch takes of a process, and keeps."""
Ready = TypeVar("Ready")

if TYPE_CHECKING:
    from ..pieces.devices import Device
    from .networks import Precision
    from .weights import LoadedNetwork


@contextmanager
def told_if_missing() -> Iterator[None]:
    """Say in a sentence that torch is not installed."""
    try:
        yield
    except ImportError as error:
        raise ConventionError(TORCH_IS_MISSING) from error


@dataclass(frozen=True)
class StoredNetwork(ABC, Generic[Ready]):
    """A network of a model as stages see it; what is pickled of it is this, and no weights.

    Attributes
    ----------
    folder
        Of the model.
    model
        Its fingerprint.
    device
        `gpu` or `cpu`; values of both differ in their last bits.
    """

    folder: str
    model: str
    device: "Device"

    @property
    def fingerprint(self) -> str:
        """Hash of all that determines what it says."""
        return fingerprint(self.model, self.device)

    def load(self) -> Ready:
        """Return the network, which each process reads and tests once."""
        return load_once(fingerprint(self.fingerprint, self.folder), self._read)

    @abstractmethod
    def _read(self) -> Ready:
        """Read and test the network; torch is imported here first."""


@dataclass(frozen=True)
class NetworkPredictor(StoredNetwork["LoadedNetwork"]):
    """A network of windows of slices.

    Attributes
    ----------
    window
        Slices that it is shown.
    voltages
        Number of its images of each slice.
    halo, stride
        Along y and x, in pixels.
    floats
        For each pixel of a window, at most, while it is looked at.
    scratch
        Bytes of the host beside these, however large a window.
    precision
        Of what is computed.
    """

    window: SliceWindow
    voltages: int
    halo: tuple[int, int]
    stride: tuple[int, int]
    floats: int
    scratch: int
    precision: "Precision"

    @property
    def fingerprint(self) -> str:
        """Hash of all that determines what it says."""
        return fingerprint(self.model, self.precision, self.device)

    def _read(self) -> "LoadedNetwork":
        with told_if_missing():
            from .weights import LoadedNetwork
        return LoadedNetwork.read(Path(self.folder), self.model, self.device, self.precision)

    def bytes(self, shape: tuple[int, int], planes: int) -> tuple[int, int]:
        """Return peak bytes of the host and of the device for a window of a shape (y, x)."""
        pixels = shape[0] * shape[1]
        images = self.voltages * self.window.size
        features = 4 * pixels * (self.floats + planes)
        if self.device == "gpu":
            return LIBRARIES + 4 * pixels * (images + planes), features
        return LIBRARIES + self.scratch + features, 0

    def __call__(
        self,
        images: np.ndarray,
        present: np.ndarray,
        distances: np.ndarray,
        offsets: np.ndarray,
        pixels: Region | None = None,
    ) -> np.ndarray:
        """Return the probability of solid on planes of a window, float32 (plane, y, x).

        Parameters
        ----------
        images
            Normalised grey values, float32 (voltage, slot, y, x); 0 where there is none.
        present
            Which voltages there are, bool (voltage).
        distances
            Of the slots from the window's slice in nm (slot); NaN where there is none.
        offsets
            Of the planes below the slice in nm (plane).
        pixels
            Of the window, along y and x, which are wanted; by default all.
        """
        return self.load().predict(images, present, distances, offsets, pixels)
