"""Networks of the articles, which ours are held against: they say what is solid in slices.

U-Nets of one slice, of a slice with those around it as channels (2.5D), and of small stacks (3D);
with residual blocks; V-Nets; and several voltages joined early, in between, or late. They are built
of few parts, with batch norm throughout, and learn by the samples, the loss and the schedule of
ours. None ships; those of one slice and of small stacks learn from painted slices, too.

References
----------
O. Ronneberger et al., MICCAI (2015) 234-241; Ö. Çiçek et al., MICCAI (2016) 424-432; F. Milletari
et al., 3DV (2016) 565-571; T. Sardhara et al., Frontiers in Materials 9 (2022) 837006 (adjacent
slices) and Microscopy and Microanalysis (2024) (fusion of voltages).
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, Self

import torch
from torch import nn

from ..blocks import Region
from ..conventions import ConventionError, check_choice
from .networks import Network, cut

_LAYERS: dict[int, tuple[Any, ...]] = {
    2: (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.MaxPool2d),
    3: (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d, nn.MaxPool3d),
}
_FEATURES = 18  # widths of features that the finest level holds, with those of coarser ones
_UNFOLDED = 36  # of volumes that processors unfold, since they do not take so many at once:
_AT_ONCE = 16, 8  # features and slices
_SCRATCH = 400 * 2**20  # bytes that small volumes are unfolded into in any case, as measured
_CLAMPED = 1e-4  # probabilities that become logits
_SHARP = 8.0  # logits of an ensemble before it has learnt, from pore to solid


@dataclass(frozen=True)
class Blocks:
    """What the levels of a network are made of.

    Attributes
    ----------
    convolutions
        How many follow each other in a block of each level, the finest first.
    size
        Pixels of each along every axis.
    residual
        Whether what comes into a block is added to what its convolutions make.
    pooling
        How the next level is reached: by the `maximum` of pixels, or by a `convolution` that skips
        pixels; then activations have a learned slope below zero, too, as in a V-Net.
    gradual
        Whether features grow in two steps in a block, and none are lost on the way up, as in the
        3D U-Net.
    """

    convolutions: tuple[int, ...] = (2, 2, 2, 2, 2)
    size: int = 3
    residual: bool = False
    pooling: Literal["maximum", "convolution"] = "maximum"
    gradual: bool = False


UNET = Blocks()
RESIDUAL = Blocks(residual=True)
SMALL_RESIDUAL = Blocks((2, 2, 2, 2), residual=True)
UNET_3D = Blocks((2, 2, 2, 2), gradual=True)
RESIDUAL_3D = Blocks((2, 2, 2, 2), residual=True, gradual=True)
VNET = Blocks((1, 2, 3, 3, 3), size=5, residual=True, pooling="convolution")


@dataclass(frozen=True)
class Published:
    """What determines a network but for its weights.

    Attributes
    ----------
    blocks
        Of its levels.
    dimensions
        Of its convolutions: 2, of slices as channels, or 3.
    slices
        Of a window, as many above its own as below; of an even number, one more below.
    voltages
        Number of images of each slice.
    fusion
        Of several voltages: `early`, as channels, or `intermediate`, by an encoder each.
    width
        Features of the finest level; each next one has twice as many.
    """

    blocks: Blocks = UNET
    dimensions: int = 2
    slices: int = 1
    voltages: int = 1
    fusion: Literal["early", "intermediate"] = "early"
    width: int = 64

    def __post_init__(self) -> None:
        if self.dimensions not in _LAYERS:
            msg = f"dimensions must be 2 or 3; got {self.dimensions}"
            raise ConventionError(msg)
        check_choice("fusion", self.fusion, ("early", "intermediate"))
        for name, least in (("slices", 1), ("voltages", 1), ("width", 2)):
            if (number := getattr(self, name)) < least:
                msg = f"{name} must be at least {least}; got {number}"
                raise ConventionError(msg)

    @property
    def above(self) -> int:
        """Slices of a window at or before its own, which is one of them."""
        return (self.slices + 1) // 2

    @property
    def below(self) -> int:
        """Slices after it."""
        return self.slices // 2

    @property
    def widths(self) -> list[int]:
        """Features of each level."""
        return [self.width * 2**level for level in range(len(self.blocks.convolutions))]

    @property
    def factors(self) -> list[tuple[int, ...]]:
        """By how much each level but the last is coarser than it along each axis."""
        factors: list[tuple[int, ...]] = []
        slices = self.slices
        for _ in self.blocks.convolutions[1:]:
            # Few slices are halved as long as that is possible.
            along_z = 1 + (slices % 2 == 0)
            slices //= along_z
            factors.append((along_z, 2, 2)[3 - self.dimensions :])
        return factors

    @property
    def stride(self) -> int:
        """Windows begin at multiples of it, along y and x."""
        return int(2 ** (len(self.blocks.convolutions) - 1))

    @property
    def halo(self) -> int:
        """How many pixels away, along y and x, what is said of a pixel depends on."""
        ends = [(pixel, *self._seen(pixel)) for pixel in range(self.stride)]
        return max(max(pixel - first, last - pixel) for pixel, first, last in ends)

    def _seen(self, pixel: int) -> tuple[int, int]:
        """Return the first and the last pixel along y or x that matter, by the longest way back."""
        *finer, coarsest = (n * (self.blocks.size // 2) for n in self.blocks.convolutions)
        first = last = pixel
        for reach in finer:
            first, last = (first - reach) // 2, (last + reach) // 2
        first, last = first - coarsest, last + coarsest
        for reach in reversed(finer):
            first, last = 2 * first - reach, 2 * last + 1 + reach
        return first, last

    @property
    def floats(self) -> int:
        """Numbers for each pixel of a window, at most, while it is looked at."""
        images, features = self.voltages * self.slices, _FEATURES * self.width
        if self.dimensions == 2:
            return images + features
        if self.width % _AT_ONCE[0] or self.slices % _AT_ONCE[1]:
            features = _UNFOLDED * self.width
        return images + features * self.slices

    @property
    def scratch(self) -> int:
        """Bytes that convolutions take of the host beside these numbers, however large a window."""
        return _SCRATCH if self.dimensions == 3 else 0

    def build(self) -> "PublishedNetwork":
        """Return the network with its first weights."""
        return PublishedNetwork(self).interleave()

    def as_card(self) -> dict[str, Any]:
        """Return the fields as JSON knows them, and the slices of a window."""
        blocks = asdict(self.blocks) | {"convolutions": list(self.blocks.convolutions)}
        return asdict(self) | {"blocks": blocks, "above": self.above, "below": self.below}

    @classmethod
    def of_card(cls, fields: Mapping[str, Any]) -> "Published":
        """Return what `as_card` was made of."""
        own = {name: value for name, value in fields.items() if name not in ("above", "below")}
        blocks = own["blocks"] | {"convolutions": tuple(own["blocks"]["convolutions"])}
        return cls(**own | {"blocks": Blocks(**blocks)})


class Block(nn.Module):
    """The convolutions of a level, on the way down or up."""

    def __init__(self, design: Published, level: int, given: int, *, down: bool) -> None:
        super().__init__()
        blocks, made = design.blocks, design.widths[level]
        convolution, _, norm, _ = _LAYERS[design.dimensions]
        count, strided = blocks.convolutions[level], blocks.pooling == "convolution"
        first = made // 2 if blocks.gradual and down else made
        features = [given, *[first] * (count - 1), made]
        self.convolutions = nn.ModuleList(
            nn.Sequential(
                convolution(a, b, blocks.size, padding=blocks.size // 2, bias=False), norm(b)
            )
            for a, b in pairwise(features)
        )
        self.activations = nn.ModuleList(
            nn.PReLU(n) if strided else nn.ReLU() for n in features[1:]
        )
        self.shortcut: nn.Module | None = None
        if blocks.residual:
            self.shortcut = nn.Identity() if given == made else convolution(given, made, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return features (batch, feature, …, y, x) of this level."""
        made = features
        last = len(self.convolutions) - 1
        for k, (convolve, activate) in enumerate(
            zip(self.convolutions, self.activations, strict=True)
        ):
            made = convolve(made)
            if k == last and self.shortcut is not None:
                made = made + self.shortcut(features)
            made = activate(made)
        return made


class Encoder(nn.Module):
    """The way down, from images to the features of all levels."""

    def __init__(self, design: Published, given: int) -> None:
        super().__init__()
        convolution, _, _, maximum = _LAYERS[design.dimensions]
        widths = design.widths
        self.levels = nn.ModuleList([Block(design, 0, given, down=True)])
        self.steps = nn.ModuleList()
        for level, factor in enumerate(design.factors, start=1):
            coming = widths[level - 1]
            if design.blocks.pooling == "maximum":
                self.steps.append(maximum(factor))
            else:
                self.steps.append(convolution(coming, widths[level], factor, stride=factor))
                coming = widths[level]
            self.levels.append(Block(design, level, coming, down=True))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return features of each level, the finest first."""
        found = [self.levels[0](images)]
        for step, level in zip(self.steps, self.levels[1:], strict=True):
            found.append(level(step(found[-1])))
        return found


class Decoder(nn.Module):
    """The way up, from the features of all levels to those of the finest."""

    def __init__(self, design: Published) -> None:
        super().__init__()
        _, transposed, _, _ = _LAYERS[design.dimensions]
        widths = design.widths
        self.steps, self.levels = nn.ModuleList(), nn.ModuleList()
        for level, factor in reversed([*enumerate(design.factors)]):
            coming, width = widths[level + 1], widths[level]
            kept = coming if design.blocks.gradual else width
            self.steps.append(transposed(coming, kept, factor, stride=factor))
            self.levels.append(Block(design, level, kept + width, down=False))

    def forward(self, found: list[torch.Tensor]) -> torch.Tensor:
        """Return features of the finest level."""
        features = found[-1]
        for step, level, beside in zip(self.steps, self.levels, found[-2::-1], strict=True):
            features = level(torch.cat([step(features), beside], dim=1))
        return features


class SliceNetwork(Network):
    """Says all that it says of a window in `look`: logits of its slice."""

    def forward(
        self, said: torch.Tensor, *_known: torch.Tensor, pixels: Region | None = None
    ) -> torch.Tensor:
        """Return what `look` returned: all slices are taken for evenly spaced, planes for them."""
        return said if pixels is None else cut(said, pixels)


class PublishedNetwork(SliceNetwork):
    """Says what is solid in the slice of a window."""

    architecture: Published

    def __init__(self, design: Published) -> None:
        super().__init__()
        self.architecture = design
        branches = 1 if design.fusion == "early" else design.voltages
        given = design.voltages // branches * (design.slices if design.dimensions == 2 else 1)
        convolution = _LAYERS[design.dimensions][0]
        self.encoders = nn.ModuleList(Encoder(design, given) for _ in range(branches))
        self.merging = nn.ModuleList(
            convolution(branches * width, width, 1) if branches > 1 else nn.Identity()
            for width in design.widths
        )
        self.decoder = Decoder(design)
        self.last = convolution(design.width, 1, 1)

    def look(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        """Return logits (batch, y, x) of the slice of each window.

        Parameters
        ----------
        images
            Grey values (batch, voltage, slot, y, x); 0 where there is no slice.
        """
        parts = images.chunk(len(self.encoders), dim=1)
        if self.architecture.dimensions == 2:
            return (self._logits([part.flatten(1, 2) for part in parts]),)
        with _whole_precision(images.device):
            return (self._logits([*parts])[:, self.architecture.above - 1],)

    def fold(self) -> Self:
        """Make ready for prediction: no gradients."""
        return super().fold().interleave()

    def interleave(self) -> Self:
        """Lay features out side by side for each pixel, in which processors convolve faster."""
        return self if self.architecture.dimensions == 3 else super().interleave()

    def _logits(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Return logits (batch, …, y, x) of what each encoder is shown (batch, image, …, y, x)."""
        found = [encode(part) for encode, part in zip(self.encoders, parts, strict=True)]
        levels = zip(self.merging, zip(*found, strict=True), strict=True)
        features = self.decoder([merge(torch.cat(level, dim=1)) for merge, level in levels])
        logits: torch.Tensor = self.last(features)[:, 0]
        return logits


def _whole_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Leave half precision on a processor.

    There, gradients of 3D convolutions in it are NaN now and then, as torch 2.13 finds them.
    """
    return torch.autocast("cpu", enabled=False) if device.type == "cpu" else nullcontext()


@dataclass(frozen=True, eq=False)
class Trained:
    """A network of one voltage that has learnt.

    Attributes
    ----------
    network
        With the weights that it ended with.
    fingerprint
        Of its training.
    """

    network: PublishedNetwork
    fingerprint: str


@dataclass(frozen=True, eq=False)
class LateFusion:
    """What determines a network that joins what others say of a voltage each.

    Attributes
    ----------
    members
        The others, in the order of the voltages; they learn no more.
    joined
        By a convolution of one pixel (`ensemble`), or as a mean with learned weights (`voting`).
    """

    members: tuple[Trained, ...]
    joined: Literal["ensemble", "voting"] = "ensemble"

    def __post_init__(self) -> None:
        check_choice("joined", self.joined, ("ensemble", "voting"))
        designs = {member.network.architecture for member in self.members}
        if len(designs) != 1 or next(iter(designs)).voltages != 1:
            msg = f"members must be of one design, for one voltage; got {len(designs)} designs"
            raise ConventionError(msg)

    @property
    def design(self) -> Published:
        """That of each member."""
        return self.members[0].network.architecture

    def build(self) -> "LateNetwork":
        """Return the network; before it learns, all members count the same."""
        return LateNetwork(self)


class LateNetwork(SliceNetwork):
    """Joins the probabilities of its members."""

    def __init__(self, fusion: LateFusion) -> None:
        super().__init__()
        count = len(fusion.members)
        self.architecture, self.joined = fusion.design, fusion.joined
        self.members = nn.ModuleList(deepcopy(member.network) for member in fusion.members)
        self.members.requires_grad_(requires_grad=False)
        self.votes = nn.Parameter(torch.zeros(count), requires_grad=self.joined == "voting")
        self.ensemble = nn.Conv2d(count, 1, 1).requires_grad_(self.joined == "ensemble")
        nn.init.constant_(self.ensemble.weight, _SHARP / count)
        nn.init.constant_(self.ensemble.bias, -_SHARP / 2)  # type: ignore[arg-type]

    def train(self, mode: bool = True) -> "LateNetwork":
        """Learn or not; members never do."""
        super().train(mode)
        self.members.eval()
        return self

    @property
    def shares(self) -> list[float]:
        """Weights of the members' votes, which add up to 1."""
        shares: list[float] = self.votes.softmax(0).tolist()
        return shares

    def look(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        """Return logits (batch, y, x) of the slice of each window; as of `PublishedNetwork`."""
        parts = zip(self.members, images.chunk(len(self.members), dim=1), strict=True)
        said = [member.look(part)[0] for member, part in parts]  # type: ignore[operator]
        solid = torch.stack(said, dim=1).float().sigmoid()
        if self.joined == "ensemble":
            return (self.ensemble(solid)[:, 0],)
        return ((self.votes.softmax(0)[:, None, None] * solid).sum(1).logit(_CLAMPED),)
