"""Images of one look made into those of another, learnt from both without pairs: a CycleGAN.

Two networks translate, to the target's look and back; two others learn to tell translated images
from real ones. What was translated there and back must be what it was, and images that have the
wanted look already must stay. All voltages of a slice are translated at once. Networks are small,
residual U-Nets that begin as the identity; no images are kept for those that judge, so that a step
depends on its number alone.

References
----------
J.-Y. Zhu et al., Unpaired image-to-image translation using cycle-consistent adversarial networks,
ICCV 2017; for images of nanoporous gold, T. Sardhara et al., Nanomanufacturing and Metrology 7
(2024) 4.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import interpolate, l1_loss, leaky_relu

from ..samples import Drawing
from ..training import autocast
from .target import Target

_WIDTH = 16
_CYCLE, _SAME = 10.0, 5.0  # weights of both, as published
STRIDE = 8
"""Pixels that sides are multiples of."""
Pair = tuple[np.ndarray, np.ndarray]


def _convolution(given: int, made: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(given, made, 3, stride, padding=1, padding_mode="reflect"),
        nn.InstanceNorm2d(made, affine=True),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions beside the way straight on."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            _convolution(features, features),
            nn.Conv2d(features, features, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(features, affine=True),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return features of the same shape."""
        result: torch.Tensor = features + self.inner(features)
        return result


class Generator(nn.Module):
    """Translates images (batch, voltage, y, x): a residual U-Net, at first the identity."""

    def __init__(self, voltages: int) -> None:
        super().__init__()
        self.first = _convolution(voltages, _WIDTH)
        self.at_half = nn.Sequential(
            _convolution(_WIDTH, 2 * _WIDTH, stride=2), Residual(2 * _WIDTH)
        )
        self.at_quarter = nn.Sequential(
            _convolution(2 * _WIDTH, 4 * _WIDTH, stride=2),
            Residual(4 * _WIDTH),
            Residual(4 * _WIDTH),
        )
        self.to_half = _convolution(6 * _WIDTH, 2 * _WIDTH)
        self.to_whole = _convolution(3 * _WIDTH, _WIDTH)
        self.last = nn.Conv2d(_WIDTH, voltages, 3, padding=1, padding_mode="reflect")
        for start in self.last.parameters():
            nn.init.zeros_(start)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return images of the other look."""
        whole = self.first(images)
        half = self.at_half(whole)
        up = interpolate(self.at_quarter(half), scale_factor=2.0)
        half = self.to_half(torch.cat([half, up], dim=1))
        up = interpolate(half, scale_factor=2.0)
        result: torch.Tensor = images + self.last(self.to_whole(torch.cat([whole, up], dim=1)))
        return result


class Discriminator(nn.Module):
    """Says of patches of images (batch, voltage, y, x) whether they are real, 1, or made, 0."""

    def __init__(self, voltages: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(voltages, 2 * _WIDTH, 4, 2, padding=1)
        self.second = nn.Conv2d(2 * _WIDTH, 4 * _WIDTH, 4, 2, padding=1)
        self.norm = nn.InstanceNorm2d(4 * _WIDTH, affine=True)
        self.last = nn.Conv2d(4 * _WIDTH, 1, 4, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return what is said (batch, 1, patch, patch)."""
        features = leaky_relu(self.first(images), 0.2)
        features = leaky_relu(self.norm(self.second(features)), 0.2)
        said: torch.Tensor = self.last(features)
        return said.float()


class Cycle(nn.Module):
    """Networks that translate between two looks, and those that judge them."""

    def __init__(self, voltages: int) -> None:
        super().__init__()
        self.to_target, self.to_source = Generator(voltages), Generator(voltages)
        self.of_target, self.of_source = Discriminator(voltages), Discriminator(voltages)

    def loss(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return what all four must lower, each by its own weights."""
        made_target, made_source = self.to_target(source), self.to_source(target)
        cycle = l1_loss(self.to_source(made_target), source)
        cycle = cycle + l1_loss(self.to_target(made_source), target)
        same = l1_loss(self.to_target(target), target) + l1_loss(self.to_source(source), source)
        looks = _adversarial(self.of_target, made_target, target)
        looks = looks + _adversarial(self.of_source, made_source, source)
        return looks + _CYCLE * cycle + _SAME * same


def _adversarial(judge: Discriminator, made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Return by how much a judge is not deceived, and by how much it errs, as mean squares.

    Images are led to deceive the judge as it is; the judge learns from images as they are.
    """
    fixed = {name: value.detach() for name, value in judge.named_parameters()}
    said: torch.Tensor = functional_call(judge, fixed, (made,))
    wrong = (judge(real) - 1).square().mean() + judge(made.detach()).square().mean()
    loss: torch.Tensor = (said - 1).square().mean() + wrong / 2
    return loss


@dataclass(frozen=True)
class CycleDesign:
    """How many voltages networks translate at once."""

    voltages: int

    def build(self) -> Cycle:
        """Return the networks with their first weights."""
        return Cycle(self.voltages)


@dataclass(frozen=True, eq=False)
class UnpairedSamples(Drawing):
    """Parts of slices of two looks, which have nothing to do with each other.

    Attributes
    ----------
    source, target
        Images of both.
    """

    source: Target
    target: Target

    def __getitem__(self, number: int) -> Pair:
        """Return images (voltage, y, x) of the source and of the target."""
        rng = self.rng(number)
        source, target = (self._drawn(of.images, rng) for of in (self.source, self.target))
        return source, target

    def _drawn(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        y, x = self.part(images.shape[-2:], rng)
        part = images[:, int(rng.integers(images.shape[1])), y, x]
        for axis in (-2, -1):
            if rng.random() < 0.5:
                part = np.flip(part, axis)
        return np.ascontiguousarray(part)


@dataclass(frozen=True)
class UnpairedBatch:
    """Images of both looks as tensors (batch, voltage, y, x)."""

    source: torch.Tensor
    target: torch.Tensor

    @classmethod
    def of(cls, samples: list[Pair], device: torch.device) -> "UnpairedBatch":
        """Put samples together."""
        looks = zip(*samples, strict=True)
        return cls(*(torch.from_numpy(np.stack(images)).to(device) for images in looks))

    def loss(self, network: Cycle) -> torch.Tensor:
        """Return that of networks that translate between both."""
        with autocast(self.source.device):
            return network.loss(self.source, self.target)


@torch.inference_mode()
def translated(generator: Generator, images: np.ndarray) -> np.ndarray:
    """Return images (voltage, z, y, x) of the other look, float32; sides are cut to multiples of 8.

    Slices are translated one by one.
    """
    y, x = (n // STRIDE * STRIDE for n in images.shape[-2:])
    slices = torch.from_numpy(np.ascontiguousarray(images[..., :y, :x].swapaxes(0, 1)))
    made = [generator(one[None])[0].numpy() for one in slices]
    return np.ascontiguousarray(np.stack(made, axis=1))
