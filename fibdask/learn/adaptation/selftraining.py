"""Self-training: a network learns what its own voltages and mirrored images agree on.

Each window is predicted from all voltages, from pairs of them and mirrored; the mean of what is
said is what the network learns to say of the same images, spoilt and with voltages missing. Where
they disagree, the mean is near one half, and teaches little. The first layers learn, which know
grey values; what shapes are like is left (Lee et al., Surgical fine-tuning, arXiv 2210.11466).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from ..networks import Architecture, Convolution, WindowNetwork
from ..samples import Drawing, Sample, oriented
from .fitting import probability
from .target import Target

FIRST = ("trunk.gather", "trunk.stem", "trunk.condition", "trunk.down_half", "head.detail")
"""Parts that see grey values, which learn."""
_NOISE = 0.05  # most Gaussian noise that is added, of the range of grey values
_BLUR = 0.5  # most, in pixels
_GAIN = 0.03  # standard deviation of gain and offset of each slice
_ALL = 0.6  # share of the samples that show all voltages
_TOGETHER = 0.85  # weight of what all voltages say


def agreed(
    network: WindowNetwork,
    target: Target,
    temperature: float,
    *,
    mirrored: tuple[int, ...] = (-2, -1),
) -> np.ndarray:
    """Return the probability of solid (z, plane, y, x), float32, that views agree on.

    Parameters
    ----------
    network
        That is shown them, made ready for prediction.
    target
        What they are of.
    temperature
        That logits are divided by.
    mirrored
        Axes that may be mirrored, as of `oriented`.
    """
    folded, voltages = network, len(target.images)
    pairs = [np.isin(np.arange(voltages), pair) for pair in combinations(range(voltages), 2)]
    mirrors = [axes for n in range(len(mirrored) + 1) for axes in combinations(mirrored[::-1], n)]
    said = []
    for sample in target.samples():
        whole = np.ones(voltages, bool)
        together = np.mean(
            [
                np.flip(probability(folded, _mirrored(sample, axes), whole, temperature), axes)
                for axes in mirrors
            ],
            axis=0,
        )
        if voltages > 2:
            some = [probability(folded, sample, pair, temperature) for pair in pairs]
            together = _TOGETHER * together + (1 - _TOGETHER) * np.mean(some, axis=0)
        said.append(_sharpened(together))
    return np.asarray(said, np.float32)


def _sharpened(probability: np.ndarray) -> np.ndarray:
    """Return probabilities nearer to 0 and 1: means of views are less sure than each of them."""
    sure, other = probability**2, (1 - probability) ** 2
    return np.asarray(sure / (sure + other))


def _mirrored(sample: Sample, axes: tuple[int, ...]) -> Sample:
    images = np.ascontiguousarray(np.flip(sample.images, axes)) if axes else sample.images
    return Sample(images, sample.present, sample.distances, sample.offsets, sample.truth)


@dataclass(frozen=True, eq=False)
class AgreedSamples(Drawing):
    """Samples of a target with what views agreed on as their truth.

    Attributes
    ----------
    target
        Its images.
    truth
        As of `agreed`.
    mirrored
        Axes that may be mirrored, as of `oriented`.
    """

    target: Target
    truth: np.ndarray
    mirrored: tuple[int, ...] = (-2, -1)

    def __getitem__(self, number: int) -> Sample:
        """Return a sample."""
        rng = self.rng(number)
        i = int(rng.integers(len(self.target)))
        whole = self.target.sample(i)
        y, x = self.part(whole.images.shape[-2:], rng)
        images = self._spoilt(whole.images[:, :, y, x], whole.distances, rng)
        truth = self.truth[i][:, y, x]
        present = self._present(len(images), rng)
        images *= present[:, None, None, None]
        images, truth = oriented(images, truth, rng, mirrored=self.mirrored, swapped=False)
        return Sample(images, present.astype(np.float32), whole.distances, whole.offsets, truth)

    def _spoilt(
        self, images: np.ndarray, distances: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        noise, blur = _NOISE * rng.random(), _BLUR * rng.random() * (rng.random() < 0.5)
        spoilt = images + np.float32(noise) * rng.standard_normal(images.shape, np.float32)
        if blur:
            spoilt = gaussian_filter(spoilt, (0, 0, blur, blur), truncate=3)
        gain, offset = _GAIN * rng.standard_normal((2, *images.shape[:2], 1, 1), np.float32)
        spoilt = spoilt * (1 + gain) + offset
        spoilt[:, ~np.isfinite(distances)] = 0
        return np.asarray(spoilt, np.float32)

    def _present(self, voltages: int, rng: np.random.Generator) -> np.ndarray:
        if rng.random() < _ALL or voltages == 1:
            return np.ones(voltages, bool)
        present = rng.random(voltages) < 0.5
        return present if present.any() else ~present


class Steady(nn.BatchNorm2d):
    """A batch norm whose statistics stay while a network learns from spoilt images."""

    def train(self, mode: bool = True) -> "Steady":
        """Stay as in prediction."""
        super().train(mode=False)
        return self


@dataclass(frozen=True, eq=False)
class Descendant:
    """A network that begins as another one.

    Attributes
    ----------
    architecture, weights
        Of that.
    whole
        Whether all of it learns, statistics too, or only the first layers.
    """

    architecture: Architecture
    weights: Mapping[str, np.ndarray]
    whole: bool = False

    @classmethod
    def of(cls, parent: WindowNetwork, *, whole: bool = False) -> "Descendant":
        """Return what begins as a network."""
        state = parent.state_dict().items()
        weights = {name: value.numpy().copy() for name, value in state}
        return cls(parent.architecture, weights, whole)

    def build(self) -> WindowNetwork:
        """Return the network with the weights of its parent."""
        network = self.architecture.build()
        for part in () if self.whole else network.modules():
            if isinstance(part, Convolution):
                part.norm = Steady(part.convolution.out_channels)
        network.load_state_dict({k: torch.from_numpy(v) for k, v in self.weights.items()})
        for name, weight in network.named_parameters():
            weight.requires_grad_(self.whole or name.startswith(FIRST))
        return network
