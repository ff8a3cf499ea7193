"""Weights of the network of images on the disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from ..weights import Loaded, errors_of_cuda, one_thread, with_weights
from .networks import ImageArchitecture, ImageNetwork
from .samples import ImageSample


@dataclass(frozen=True)
class LoadedImages(Loaded[ImageNetwork]):
    """A network of images ready to predict, in this process."""

    predicted = "coefficient"
    told = "backscatter coefficients"
    tolerance = 1e-4

    @classmethod
    def of(cls, network: ImageNetwork, _card: Mapping[str, Any]) -> Self:
        """Fold a network, which then predicts as a card says."""
        return cls(network.fold())

    @staticmethod
    def stored(folder: Path, card: Mapping[str, Any]) -> ImageNetwork:
        """Read the network of a model as it was trained."""
        return with_weights(folder, lambda: ImageArchitecture.of_card(card["architecture"]).build())

    @torch.inference_mode()
    def predict(
        self,
        shown: np.ndarray,
        voltage: float,
        pixel_size: tuple[float, float],
        materials: tuple[str, str],
    ) -> np.ndarray:
        """Return coefficients (y, x); see `NetworkImagePredictor`."""
        with one_thread(), errors_of_cuda():
            network = self.network
            device = network.bulk.device
            at = torch.tensor([voltage], dtype=torch.float32, device=device)
            size = torch.tensor([pixel_size], dtype=torch.float32, device=device)
            given = torch.from_numpy(np.ascontiguousarray(shown))[None].to(device)
            given = given.contiguous(memory_format=torch.channels_last)
            share = network(given, network.describe(at, size, [materials]))[0]
            pore, solid = network.bulks(at, [materials])
            found: np.ndarray = torch.lerp(pore, solid, share).clamp_(0, 1).cpu().numpy()
            return found

    def again(self, pair: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return coefficients (y, x) of an image, as `shown_of` tells it."""
        sizes = pair["pixel_size"].tolist()
        pore, solid = (bytes(pair[name]).decode() for name in ("pore", "solid"))
        shape = (sizes[0], sizes[1])
        return self.predict(pair["shown"], pair["voltage"].item(), shape, (pore, solid))


def shown_of(sample: ImageSample) -> dict[str, np.ndarray]:
    """Return what a network is shown of an image, as arrays."""
    pore, solid = (np.array([*name.encode()], np.uint8) for name in sample.materials)
    return {
        "shown": sample.shown,
        "voltage": np.array(sample.voltage),
        "pixel_size": np.array(sample.pixel_size),
        "pore": pore,
        "solid": solid,
    }
