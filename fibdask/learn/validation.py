"""How wrong a network is on samples that it has not learnt from, and how sure it may be."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from .networks import WindowNetwork
from .training import Batch, Numbered, autocast

_BINS = 15  # of probabilities, as calibration is usually judged


@dataclass(frozen=True)
class Validation:
    """What a network says of samples, and what is there.

    Attributes
    ----------
    logits
        Float32 (sample, plane, y, x).
    truth
        1 where solid (sample, plane, y, x).
    offsets
        Of the planes below the slices in nm (sample, plane).
    """

    logits: torch.Tensor
    truth: torch.Tensor
    offsets: torch.Tensor

    @property
    def on_slices(self) -> float:
        """Wrong voxels of planes that are imaged in %."""
        return self._misplaced(self.offsets == 0)

    @property
    def between(self) -> float:
        """Wrong voxels of planes between slices in %; NaN without such planes."""
        return self._misplaced(self.offsets > 0)

    def _misplaced(self, planes: torch.Tensor) -> float:
        wrong = (self.logits > 0) != (self.truth > 0.5)
        return float(100 * wrong[planes].float().mean())

    def temperature(self) -> float:
        """Return what logits must be divided by for the least cross-entropy."""
        grid = np.geomspace(0.5, 3.0, 60)
        losses = [
            float(binary_cross_entropy_with_logits(self.logits / t, self.truth)) for t in grid
        ]
        return float(grid[int(np.argmin(losses))])

    def calibration_error(self, temperature: float) -> float:
        """Return by how much probabilities differ from frequencies, on average over voxels."""
        solid = (self.logits / temperature).sigmoid().flatten()
        bins = (solid * _BINS).long().clamp(max=_BINS - 1)
        sums = [torch.zeros(_BINS).index_add_(0, bins, v) for v in (solid, self.truth.flatten())]
        return float((sums[0] - sums[1]).abs().sum() / len(solid))


@torch.inference_mode()
def validate(network: WindowNetwork, samples: Numbered, numbers: Iterable[int]) -> Validation:
    """Let a network predict samples."""
    network.eval()
    device = next(network.parameters()).device
    logits, truth, offsets = [], [], []
    for number in numbers:
        batch = Batch.of([samples[number]], device)
        with autocast(device):
            logits.append(batch.logits(network).float().cpu())
        truth.append(batch.truth.cpu())
        offsets.append(batch.offsets.cpu())
    return Validation(torch.cat(logits), torch.cat(truth), torch.cat(offsets))
