"""Weights of the network of layers on the disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch.nn.functional import pad

from ..weights import Loaded, errors_of_cuda, one_thread, with_weights
from .networks import LayerArchitecture, LayerNetwork


@dataclass(frozen=True)
class LoadedLayers(Loaded[LayerNetwork]):
    """A network of layers ready to predict, in this process.

    Attributes
    ----------
    network
        Whose errors are not yet those of what it has not seen.
    temperature
        By which they are multiplied, so that 68 % lie within.
    """

    predicted = "thickness"
    told = "relative thicknesses"
    tolerance = 1e-4

    temperature: float

    @classmethod
    def of(cls, network: LayerNetwork, card: Mapping[str, Any]) -> Self:
        """Fold a network, which then predicts as a card says."""
        return cls(network.fold(), float(card["temperature"]))

    @staticmethod
    def stored(folder: Path, card: Mapping[str, Any]) -> LayerNetwork:
        """Read the network of a model as it was trained."""
        return with_weights(folder, lambda: LayerArchitecture.of_card(card["architecture"]).build())

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

    def again(self, pair: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return thicknesses and errors of guesses."""
        return self.predict(pair["guesses"])
