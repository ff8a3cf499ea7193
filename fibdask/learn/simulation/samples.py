"""Samples for the network of images: pairs, turned and mirrored, and what it must say of them."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...simulate.images.layers import mirrored, show_layers, window_of
from ..training import autocast
from .networks import STRIDE, ImageNetwork
from .pairs import STEPS, Pairs

_DARK = 0.15  # of the brightness of the bulk: what is darker counts no more


@dataclass(frozen=True, eq=False)
class ImageSample:
    """One image of a structure.

    Attributes
    ----------
    shown
        What is seen with the margin and, at last, where there is a structure, float32
        (layer + 1, y, x).
    share
        Of the electrons that came back, float32 (y, x).
    voltage, pixel_size, materials
        As of `Pairs`, of this image.
    """

    shown: np.ndarray
    share: np.ndarray
    voltage: float
    pixel_size: tuple[float, float]
    materials: tuple[str, str]


@dataclass(frozen=True, eq=False)
class ImageSamples:
    """Samples of pairs.

    Attributes
    ----------
    scenes
        Pairs of each structure, all of as many images.
    margin
        Pixels beyond the sides in which structures are mirrored.
    seed
        Of the order and the turns.
    """

    scenes: Sequence[Pairs]
    margin: int
    seed: int

    def __getitem__(self, number: int) -> ImageSample:
        """Return a sample, in one of eight orientations."""
        rng = np.random.default_rng((self.seed, number))
        pairs = self.scenes[int(rng.integers(len(self.scenes)))]
        image = int(rng.integers(len(pairs.counts)))
        return image_sample(pairs, image, self.margin, turns=int(rng.integers(8)))


def image_sample(pairs: Pairs, image: int, margin: int, turns: int = 0) -> ImageSample:
    """Return an image of pairs; the bits of `turns` mirror it along y and x, and swap these."""
    seen, counts = pairs.seen[image], pairs.counts[image]
    pixel_size = pairs.pixel_size
    for bit, axis in enumerate((-2, -1)):
        if turns >> bit & 1:
            seen, counts = np.flip(seen, axis), np.flip(counts, axis)
    if turns >> 2:
        seen, counts = seen.swapaxes(-1, -2), counts.swapaxes(-1, -2)
        pixel_size = pixel_size[::-1]
    windows = [
        window_of(slice(0, n), n, halo=margin, margin=margin, stride=STRIDE) for n in counts.shape
    ]
    y, x = (mirrored(part, n, margin) for part, n in zip(windows, counts.shape, strict=True))
    return ImageSample(
        show_layers(seen / np.float32(STEPS), (y, x), (windows[0], windows[1])),
        (counts / pairs.electrons).astype(np.float32),
        float(pairs.voltage[image]),
        pixel_size,
        pairs.materials,
    )


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Samples as tensors."""

    shown: torch.Tensor
    share: torch.Tensor
    voltage: torch.Tensor
    pixel_size: torch.Tensor
    materials: list[tuple[str, str]]

    @classmethod
    def of(cls, samples: list[ImageSample], device: torch.device) -> "ImageBatch":
        """Put samples together."""

        def joined(values: list[Any]) -> torch.Tensor:
            return torch.as_tensor(np.array(values, np.float32)).to(device)

        return cls(
            joined([sample.shown for sample in samples]),
            joined([sample.share for sample in samples]),
            joined([sample.voltage for sample in samples]),
            joined([sample.pixel_size for sample in samples]),
            [sample.materials for sample in samples],
        )

    def loss(self, network: ImageNetwork) -> torch.Tensor:
        """Return the mean square error in units of the contrast of the bulks; noise is part.

        What is dark counts more, since fewer electrons vary less: by the inverse of the brightness
        that the network says, as the likelihood of Poisson-distributed counts has it.
        """
        found = self.brightness(network)
        pore, solid = (bulk[:, None, None] for bulk in network.bulks(self.voltage, self.materials))
        variance = torch.lerp(pore, solid, found.detach()).clamp(min=_DARK * solid) / solid
        return ((found - self.seen(network)).square() / variance).mean()

    def brightness(self, network: ImageNetwork, *, precisely: bool = False) -> torch.Tensor:
        """Return what a network says of the pixels of images, without their margin.

        Parameters
        ----------
        network
            That is asked.
        precisely
            In whole precision, in which networks predict.
        """
        known = network.describe(self.voltage, self.pixel_size, self.materials)
        shown = self.shown.contiguous(memory_format=torch.channels_last)
        with nullcontext() if precisely else autocast(shown.device):
            found = network(shown, known)
        margin = network.architecture.margin
        y, x = (slice(margin, margin + n) for n in self.share.shape[1:])
        brightness: torch.Tensor = found[:, y, x]
        return brightness

    def seen(self, network: ImageNetwork) -> torch.Tensor:
        """Return what was counted, as brightness between the bulks."""
        pore, solid = (bulk[:, None, None] for bulk in network.bulks(self.voltage, self.materials))
        brightness: torch.Tensor = (self.share - pore) / (solid - pore)
        return brightness
