"""Weights of the network of layers on the disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import pad

from ...pieces.devices import Device
from ..folder import TEST_PAIR, read_chosen_card
from ..weights import compare, errors_of_cuda, one_thread, own_device, with_weights, write_files
from .networks import LayerArchitecture, LayerNetwork

_TOLERANCE = 1e-4  # of tested relative thicknesses: processors round in different orders


@dataclass(frozen=True)
class LoadedLayers:
    """A network of layers ready to predict, in this process.

    Attributes
    ----------
    network
        Whose errors are not yet those of what it has not seen.
    temperature
        By which they are multiplied, so that 68 % lie within.
    """

    network: LayerNetwork
    temperature: float

    @classmethod
    def read(cls, folder: Path, fingerprint: str, device: Device) -> "LoadedLayers":
        """Read a model, and test it on the processor.

        Raises
        ------
        ConventionError
            If it is not the model of the fingerprint, or does not predict what it should, or this
            process has no such device.
        """
        card = read_chosen_card(folder, fingerprint)
        network = with_weights(
            folder, lambda: LayerArchitecture.of_card(card["architecture"]).build()
        )
        loaded = cls(network.eval(), float(card["temperature"]))
        loaded.test(folder / TEST_PAIR)
        loaded.network.to(own_device(device))
        return loaded

    @torch.inference_mode()
    def predict(self, guesses: np.ndarray) -> np.ndarray:
        """Return thicknesses and errors (2, layer, y, x); see `NetworkLayerPredictor`."""
        stride = self.network.architecture.stride
        rows, columns = guesses.shape[-2:]
        result = np.empty((2, len(guesses), rows, columns), np.float32)
        with one_thread(), errors_of_cuda():
            device = next(self.network.parameters()).device
            for layer, maps in enumerate(guesses):
                given = torch.from_numpy(np.ascontiguousarray(maps))[None].to(device)
                # Images may end within a stride; what lies beyond has no data.
                beyond = (0, -columns % stride, 0, -rows % stride)
                found, error = self.network(pad(given, beyond, value=torch.nan))
                said = torch.stack([found[0].clamp(0, 1), self.temperature * error[0]])
                result[:, layer] = said[:, :rows, :columns].cpu().numpy()
        result[:, np.isnan(guesses[:, 0])] = np.nan
        return result

    def test(self, pair: Path) -> None:
        """Compare with what was predicted when the network was trained.

        Raises
        ------
        ConventionError
            If the pair cannot be read, or another thickness is found.
        """
        compare(
            pair,
            "thickness",
            lambda tensors: self.predict(tensors["guesses"]),
            tolerance=_TOLERANCE,
            told="relative thicknesses",
        )


def write_layers_model(
    folder: Path, network: LayerNetwork, card: Mapping[str, Any], guesses: np.ndarray
) -> None:
    """Write a model with guesses that test it; see `write_model`."""
    found = LoadedLayers(network, float(card["temperature"])).predict(guesses)
    write_files(folder, network, card, {"guesses": guesses, "thickness": found})
