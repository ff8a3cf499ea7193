"""Weights of the network of images on the disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...pieces.devices import Device
from ..folder import TEST_PAIR, read_chosen_card
from ..weights import compare, errors_of_cuda, one_thread, own_device, with_weights, write_files
from .networks import ImageArchitecture, ImageNetwork
from .samples import ImageSample

_TOLERANCE = 1e-4  # of tested coefficients: processors round in different orders


@dataclass(frozen=True)
class LoadedImages:
    """A network of images ready to predict, in this process."""

    network: ImageNetwork

    @classmethod
    def read(cls, folder: Path, fingerprint: str, device: Device) -> "LoadedImages":
        """Read a model, and test it on the processor.

        Raises
        ------
        ConventionError
            If it is not the model of the fingerprint, or does not predict what it should, or this
            process has no such device.
        """
        card = read_chosen_card(folder, fingerprint)
        network = with_weights(
            folder, lambda: ImageArchitecture.of_card(card["architecture"]).build()
        )
        loaded = cls(network.eval())
        loaded.test(folder / TEST_PAIR)
        loaded.network.to(own_device(device))
        return loaded

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

    def test(self, pair: Path) -> None:
        """Compare with what was predicted when the network was trained.

        Raises
        ------
        ConventionError
            If the pair cannot be read, or another coefficient is found.
        """
        compare(
            pair,
            "coefficient",
            self._predicted,
            tolerance=_TOLERANCE,
            told="backscatter coefficients",
        )

    def _predicted(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return coefficients (y, x) of the arrays of a test pair."""
        sizes = tensors["pixel_size"].tolist()
        pore, solid = (bytes(tensors[name]).decode() for name in ("pore", "solid"))
        shape = (sizes[0], sizes[1])
        return self.predict(tensors["shown"], tensors["voltage"].item(), shape, (pore, solid))


def write_images_model(
    folder: Path, network: ImageNetwork, card: Mapping[str, Any], sample: ImageSample
) -> None:
    """Write a model with a sample that tests it; see `write_model`."""
    loaded = LoadedImages(network)
    found = loaded.predict(sample.shown, sample.voltage, sample.pixel_size, sample.materials)
    pore, solid = (np.frombuffer(name.encode(), np.uint8) for name in sample.materials)
    pair = {
        "shown": sample.shown,
        "voltage": np.float64(sample.voltage),
        "pixel_size": np.array(sample.pixel_size),
        "pore": pore,
        "solid": solid,
        "coefficient": found,
    }
    write_files(folder, network, card, {name: np.array(v) for name, v in pair.items()})
