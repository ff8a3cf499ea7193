"""The network that takes the place of Monte Carlo: from layers below a face to its mean image.

A U-Net whose finest convolutions are at full resolution, most of them at a half. All of it is told
voltage, pixels and materials by scaling and shifting features (E. Perez et al., FiLM, AAAI 2018).
It says how bright a pixel is between the bulks of pore and solid, 0 and 1, so that what materials
differ in most need not be learnt. Beyond the sides of an image the structure is its mirror image
for a few pixels, then it is told that there is nothing: no batch norm, and zeros for padding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.functional import (
    conv2d,
    conv_transpose2d,
    interpolate,
    pad,
    pixel_shuffle,
    pixel_unshuffle,
    relu,
    softplus,
)

from ...conventions import ConventionError
from ...simulate.images.layers import RUNS, Layers, half_contrast_depth
from ..networks import Conditioned, Foldable
from .bulks import GRID
from .pairs import PORES, SOLIDS

STRIDE = 8
_FIRST = {"pores": ("epoxy", "PMMA", "vacuum"), "solids": ("Au", "Ag", "Cu")}
"""Materials of architectures that do not tell theirs."""
_KNOWN = 6  # numbers that tell of an image, but for its materials
_HIDDEN = 32
_CACHED = 2**13  # pixels whose layers are looked at together
_NOTHING_LEFT = -80.0
"""Logarithm of a share: exponentials that underflow take a hundred times longer."""


@dataclass(frozen=True)
class ImageArchitecture:
    """Everything that determines a network except its weights.

    Attributes
    ----------
    widths
        Features at a half, a quarter and an eighth of the resolution.
    detail
        Features at full resolution.
    margin
        Pixels beyond the sides of an image in which the structure is mirrored.
    layers
        That are looked at.
    pores, solids
        Materials that are told apart.
    """

    widths: tuple[int, int, int] = (32, 48, 64)
    detail: int = 16
    margin: int = 16
    layers: Layers = field(default_factory=Layers)
    pores: tuple[str, ...] = PORES
    solids: tuple[str, ...] = SOLIDS

    def __post_init__(self) -> None:
        if min(*self.widths, self.detail) < 1:
            msg = f"widths and detail must be at least 1; got {self.widths} and {self.detail}"
            raise ConventionError(msg)
        if self.margin < 0 or self.margin % STRIDE:
            msg = f"margin must be a multiple of {STRIDE}; got {self.margin}"
            raise ConventionError(msg)

    @property
    def materials(self) -> tuple[str, ...]:
        """Those of pores and solids, as bulks are told of."""
        return (*self.pores, *self.solids)

    @property
    def stride(self) -> int:
        """Windows begin at multiples of it, along y and x, and their lengths are such."""
        return STRIDE

    @property
    def halo(self) -> int:
        """How many pixels away, along y and x, what is said of a pixel depends on, at most.

        A multiple of the stride.
        """
        ends = [(pixel, *_seen(pixel)) for pixel in range(STRIDE)]
        farthest = max(max(pixel - first, last - pixel) for pixel, first, last in ends)
        return -(-farthest // STRIDE) * STRIDE

    def build(self) -> "ImageNetwork":
        """Return the network with its first weights."""
        return ImageNetwork(self).interleave()

    def as_card(self) -> dict[str, Any]:
        """Return the fields as JSON knows them."""
        return asdict(self)

    @classmethod
    def of_card(cls, fields: Mapping[str, Any]) -> "ImageArchitecture":
        """Return what `as_card` was made of."""
        layers = fields["layers"]
        told = {**_FIRST, **fields}
        lists = {name: tuple(told[name]) for name in ("widths", "pores", "solids")}
        return cls(**told | lists | {"layers": Layers(tuple(layers["edges"]), layers["filled"])})


def _seen(pixel: int) -> tuple[int, int]:
    """Return the first and the last pixel along an axis that the network sees for one."""
    first, last = pixel - 1, pixel + 1  # of the last convolution
    for convolutions in (2, 2, 4):  # at a half, a quarter, an eighth
        first, last = first // 2 - convolutions, last // 2 + convolutions
    for convolutions in (2, 2):  # the same of a quarter and a half, on the way down
        first, last = 2 * first - convolutions, 2 * last + 1 + convolutions
    return 2 * first, 2 * last + 1


class Told(Conditioned):
    """Scales and shifts features (batch, feature, y, x) by what is known of the image."""

    def __init__(self, features: int) -> None:
        super().__init__(_HIDDEN, features)
        nn.init.normal_(self.linear.weight, std=0.02)


class Refined(nn.Module):
    """Two convolutions beside the way straight on."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.told = Told(features)
        self.second = nn.Conv2d(features, features, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, features: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Return features of the same shape."""
        inner = self.told(self.first(relu(features)), known, overwrite=True).relu_()
        result: torch.Tensor = self.second(inner).add_(features)
        return result


def _halved(convolution: nn.Conv2d, features: torch.Tensor) -> torch.Tensor:
    """Return what a convolution makes of each 2 x 2 pixels, at half the resolution."""
    if torch.is_grad_enabled():  # gradients of strides are slower
        found: torch.Tensor = convolution(pixel_unshuffle(features, 2))
        return found
    # Unshuffled pixels are channels in the order of a kernel's weights.
    weight = convolution.weight.reshape(convolution.out_channels, -1, 2, 2)
    return conv2d(features, weight, convolution.bias, stride=2)


def _doubled(convolution: nn.Conv2d, features: torch.Tensor) -> torch.Tensor:
    """Return what a convolution makes of each pixel, 2 x 2 pixels at twice the resolution."""
    if torch.is_grad_enabled() or convolution.bias is None:
        return pixel_shuffle(convolution(features), 2)
    weight = pixel_shuffle(convolution.weight.movedim(0, 1), 2)
    found = conv_transpose2d(features, weight, stride=2)
    offsets = pixel_shuffle(convolution.bias[None, :, None, None], 2)
    by_pixel = torch.unflatten(torch.unflatten(found, 3, (-1, 2)), 2, (-1, 2))
    by_pixel += offsets[:, :, None, :, None, :]
    return found


class Column(nn.Module):
    """What each pixel shows of what is below itself: solid hides what lies deeper.

    Of the electrons that reach a layer, solid takes 1 - exp(-density * share); those count as much
    as the layer is visible. Density and visibility of layers depend on what is known of the image.
    """

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        edges = torch.tensor((0.0, *layers.edges), dtype=torch.float32)
        thickness, middle = edges.diff(), (edges[1:] + edges[:-1]) / 2
        self.density = nn.Linear(_HIDDEN, len(thickness))
        self.visibility = nn.Linear(_HIDDEN, len(thickness))
        for linear in (self.density, self.visibility):
            nn.init.normal_(linear.weight, std=0.02)
        # At first, electrons come back from a fourth of the half-contrast depth of the solid, and
        # the contrast falls by half over each of them in the pores.
        with torch.no_grad():
            self.density.bias.copy_(
                (4 * thickness).expm1().log().where(thickness < 5, 4 * thickness)
            )
            self.visibility.bias.copy_(0.5**middle)

    def forward(self, shown: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Return brightness (batch, y, x); arguments as of `ImageNetwork`."""
        density = softplus(self.density(known))
        count = density.shape[1]
        above = shown.new_ones(count, count).triu()  # which layers hide what is below each
        batch, channels, y, x = shown.shape
        # What is shown after the layers hides nothing.
        hidden = pad(-density[:, :, None] * above, (0, 0, 0, channels - count))
        shares = shown.permute(0, 2, 3, 1).reshape(batch, y * x, channels)
        visible = self.visibility(known)
        steps = pad(visible, (0, 1)).diff()[:, :, None]
        parts = [  # which stay in the processor's cache
            torch.bmm(torch.bmm(part, hidden).clamp_min_(_NOTHING_LEFT).exp_(), steps)
            for part in torch.split(shares, _CACHED, dim=1)
        ]
        brightness = visible[:, :1] + torch.cat(parts, dim=1)[:, :, 0]
        found: torch.Tensor = brightness.reshape(batch, y, x)
        return found


class ImageNetwork(Foldable):
    """Says how bright a face is, of the solid that is seen below it."""

    bulk: torch.Tensor

    def __init__(self, architecture: ImageArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        half, quarter, eighth = architecture.widths
        shown, detail = len(architecture.layers.edges) + RUNS + 1, architecture.detail
        self.register_buffer("bulk", torch.zeros(len(architecture.materials), len(GRID)))
        self.known = nn.Sequential(
            nn.Linear(_KNOWN + len(architecture.materials), _HIDDEN),
            nn.SiLU(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.SiLU(),
        )
        self.local = nn.Conv2d(shown, detail, 3, padding=1)
        self.local_told = Told(detail)
        self.to_half = nn.Conv2d(4 * shown, half, 1)
        self.half_told = Told(half)
        self.down_half = Refined(half)
        self.to_quarter = nn.Conv2d(4 * half, quarter, 1)
        self.down_quarter = Refined(quarter)
        self.to_eighth = nn.Conv2d(4 * quarter, eighth, 1)
        self.bottom = nn.ModuleList(Refined(eighth) for _ in range(2))
        self.from_eighth = nn.Conv2d(eighth, quarter, 1)
        self.up_quarter = Refined(quarter)
        self.from_quarter = nn.Conv2d(quarter, half, 1)
        self.up_half = Refined(half)
        self.widen = nn.Conv2d(half, 4 * detail, 1)
        self.fine_told = Told(detail)
        self.last = nn.Conv2d(detail, 1, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        self.column = Column(architecture.layers)

    def forward(self, shown: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Return the brightness of pixels between pore, 0, and solid, 1 (batch, y, x).

        Parameters
        ----------
        shown
            What is seen below a face, and at last 1 where the structure is known
            (batch, layer + 1, y, x); both lengths are multiples of `STRIDE`.
        known
            As `describe` returns it (batch, number).
        """
        known = self.known(known)
        local = self.local_told(self.local(shown), known, overwrite=True)
        at_half = self.half_told(_halved(self.to_half, shown), known, overwrite=True)
        at_half = self.down_half(at_half, known)
        at_quarter = self.down_quarter(_halved(self.to_quarter, at_half), known)
        at_eighth = _halved(self.to_eighth, at_quarter)
        for block in self.bottom:
            at_eighth = block(at_eighth, known)
        up = interpolate(self.from_eighth(relu(at_eighth)), scale_factor=2.0)
        at_quarter = self.up_quarter(up.add_(at_quarter), known)
        up = interpolate(self.from_quarter(relu(at_quarter)), scale_factor=2.0)
        at_half = self.up_half(up.add_(at_half), known)
        fine = _doubled(self.widen, relu(at_half))
        fine = self.fine_told(fine.add_(local), known, overwrite=True).relu_()
        with torch.autocast(fine.device.type, enabled=False):
            column = self.column(shown.float(), known.float())
            brightness: torch.Tensor = column + self.last(fine.float())[:, 0]
        return brightness

    def bulks(
        self, voltage: torch.Tensor, materials: Sequence[tuple[str, str]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the coefficients η of the bulks of pore and solid (batch)."""
        grid = torch.as_tensor(GRID, dtype=torch.float32, device=self.bulk.device).log()
        place = voltage.log()
        upper = torch.searchsorted(grid, place).clamp(1, len(grid) - 1)
        weight = (place - grid[upper - 1]) / (grid[upper] - grid[upper - 1])
        known = self.architecture.materials
        rows = torch.tensor([[known.index(m) for m in pair] for pair in materials])
        rows = rows.to(self.bulk.device)
        low, high = self.bulk[rows, upper[:, None] - 1], self.bulk[rows, upper[:, None]]
        pore, solid = torch.lerp(low, high, weight[:, None]).T
        return pore, solid

    def describe(
        self,
        voltage: torch.Tensor,
        pixel_size: torch.Tensor,
        materials: Sequence[tuple[str, str]],
    ) -> torch.Tensor:
        """Return what the network is told of images (batch, number).

        Parameters
        ----------
        voltage
            In kV (batch).
        pixel_size
            Along y and x in nm (batch, axis).
        materials
            Of pore and solid of each image.
        """
        depths = [half_contrast_depth(float(kv)) for kv in voltage]
        relative = (pixel_size / pixel_size.new_tensor(depths)[:, None]).log()
        energy = (voltage / 2).log()[:, None]
        bulks = torch.stack(self.bulks(voltage, materials), dim=1)
        named = [
            [float(name in pair) for name in self.architecture.materials] for pair in materials
        ]
        kinds = torch.tensor(named, device=energy.device)
        return torch.cat([energy, energy**2, relative, bulks, kinds], dim=1)
