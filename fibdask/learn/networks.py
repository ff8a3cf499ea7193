"""The network that ships: what lies on any plane between two slices, from a window of slices.

All slices of a window are gathered once; then, for each wanted plane below the window's slice, a
residual U-Net at half resolution and a small head at full resolution say what is there. Both are
told distances by shifting and scaling features (E. Perez et al., FiLM, AAAI 2018): those of the
slices, and that of the plane, since which slices matter depends on where it lies between them.
Convolutions are plain, and batch norm is folded into them before anything is predicted, so that a
pixel depends on nothing but its surroundings.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, Self

import torch
from torch import nn
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..blocks import Region, within
from ..conventions import ConventionError
from ..pieces.devices import Device

Precision = Literal["float32", "bfloat16"]
_SCALES = (5.0, 20.0, 80.0)  # nm, about what is seen at 1, 2 and 4 kV, over which distances count
_STRIDE = 8


class Windowed(Protocol):
    """What determines a network of windows of slices but for its weights."""

    @property
    def voltages(self) -> int:
        """Number of its images of each slice."""

    @property
    def dimensions(self) -> int:
        """Of its convolutions."""

    @property
    def above(self) -> int:
        """Slices of a window at or before its own, which is one of them."""

    @property
    def below(self) -> int:
        """Slices after it."""

    @property
    def stride(self) -> int:
        """Windows begin at multiples of it, along y and x."""

    @property
    def halo(self) -> int:
        """How many pixels away, along y and x, what is said of a pixel depends on."""

    @property
    def floats(self) -> int:
        """Numbers for each pixel of a window, at most, while it is looked at."""

    @property
    def scratch(self) -> int:
        """Bytes that convolutions take of the host beside these, however large a window."""

    def as_card(self) -> dict[str, Any]:
        """Return the fields as JSON knows them."""


@dataclass(frozen=True)
class Architecture:
    """Everything that determines a network except its weights.

    Attributes
    ----------
    voltages
        Number of its image channels for each slice.
    above
        Slices of a window at or before its own, including its own.
    below
        Slices of a window after its own, at least one.
    widths
        Features at a half, a quarter and an eighth of the resolution.
    detail
        Features at full resolution; two for each voltage are slices as they are.
    """

    voltages: int
    above: int = 3
    below: int = 6
    widths: tuple[int, int, int] = (48, 64, 96)
    detail: int = 16

    dimensions = 2
    """Of its convolutions."""
    scratch = 0
    """Bytes that convolutions take beside `floats`, however large a window."""

    def __post_init__(self) -> None:
        for name in ("voltages", "above", "below"):
            if (number := getattr(self, name)) < 1:
                msg = f"{name} must be at least 1; got {number}"
                raise ConventionError(msg)
        if min(self.widths) < 1:
            msg = f"widths must be at least 1; got {list(self.widths)}"
            raise ConventionError(msg)
        if self.detail <= 2 * self.voltages:
            msg = f"detail must be more than 2 for each voltage, {self.voltages}; got {self.detail}"
            raise ConventionError(msg)

    @property
    def slots(self) -> int:
        """Slices of a window."""
        return self.above + self.below

    @property
    def stride(self) -> int:
        """Windows begin at multiples of it, along y and x."""
        return _STRIDE

    @property
    def halo(self) -> int:
        """How many pixels away, along y and x, what is said of a pixel depends on."""
        return max(
            max(pixel - first, last - pixel)
            for pixel in range(_STRIDE)
            for first, last in [_seen(pixel)]
        )

    @property
    def floats(self) -> int:
        """Numbers for each pixel of a window, at most, while it is looked at."""
        images = self.voltages * self.slots
        # Images as they come and folded to half resolution, then features of residuals.
        trunk = 2 * images + 6 * self.widths[0] // 4
        head = images + 6 * self.widths[0] // 4 + 4 * self.detail
        return max(trunk, head)

    def build(self) -> "WindowNetwork":
        """Return the network with its first weights."""
        return WindowNetwork(self).interleave()

    def as_card(self) -> dict[str, Any]:
        """Return the fields as JSON knows them."""
        return asdict(self) | {"widths": list(self.widths)}

    @classmethod
    def of_card(cls, fields: dict[str, Any]) -> "Architecture":
        """Return what `as_card` was made of."""
        return cls(**fields | {"widths": tuple(fields["widths"])})


def _seen(pixel: int) -> tuple[int, int]:
    """Return the first and the last pixel along an axis that the network sees for one.

    Going backwards through the longest way: each 3 x 3 convolution adds a pixel of its resolution,
    each change to a finer one the rest of a coarse pixel.
    """
    *_, (first, last) = _made_of(pixel, pixel)
    for convolutions in (2, 1 + 2):  # at a quarter and a half, before all goes down to an eighth
        first, last = 2 * first - convolutions, 2 * last + 1 + convolutions
    return 2 * first, 2 * last + 1


def _made_of(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Iterate over the first and the last feature along an axis that pixels are made of.

    At a half, a quarter, and an eighth, before the convolutions of the way up.
    """
    first, last = first - 2, last + 2  # two convolutions at full resolution
    for convolutions in (1 + 2 + 2, 2, 4):
        first, last = first // 2 - convolutions, last // 2 + convolutions
        yield first, last


@dataclass(frozen=True)
class Kept:
    """What is made of a window (y, x) on the way up: what some of its pixels are told from.

    Attributes
    ----------
    pixels
        These.
    half, quarter, eighth
        Features of these resolutions; they begin and end with one of the next, and an eighth is
        there whole.
    """

    pixels: Region
    half: Region
    quarter: Region
    eighth: Region

    @classmethod
    def of(cls, pixels: Region, shape: Sequence[int]) -> "Kept":
        """Return what pixels of a window of a shape (y, x) are told from."""
        half, quarter, _ = zip(*map(_kept_along, pixels, shape), strict=True)
        return cls(pixels, half, quarter, tuple(slice(0, n // _STRIDE) for n in shape))


def _kept_along(pixels: slice, length: int) -> list[slice]:
    """Return the features along an axis that pixels are made of, at a half, a quarter, ..."""
    found = []
    for first, last in _made_of(pixels.start, pixels.stop - 1):
        length //= 2
        found.append(slice(max(first - first % 2, 0), min(last + 2 - last % 2, length)))
    return found


class Convolution(nn.Module):
    """A convolution without bias and its batch norm, which `fold` makes one of."""

    def __init__(self, given: int, made: int, size: int = 3) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(given, made, size, padding=size // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(made)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return features (batch, made, y, x)."""
        result: torch.Tensor = self.norm(self.convolution(features))
        return result

    def fold(self) -> None:
        """Put the batch norm into the weights."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.convolution = fuse_conv_bn_eval(self.convolution, self.norm)
            self.norm = nn.Identity()


class Halving(Convolution):
    """A convolution of each 2 x 2 pixels to one, of half the resolution."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__(4 * given, made, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return features (batch, made, y / 2, x / 2)."""
        if isinstance(self.norm, nn.BatchNorm2d):  # gradients of strides are slower
            return super().forward(pixel_unshuffle(features, 2))
        result: torch.Tensor = self.convolution(features)
        return result

    def fold(self) -> None:
        """Put the batch norm into the weights, and these into a convolution with a stride."""
        if isinstance(self.norm, nn.BatchNorm2d):
            super().fold()
            flat = self.convolution
            self.convolution = nn.Conv2d(flat.in_channels // 4, flat.out_channels, 2, stride=2)
            shape = self.convolution.weight.shape
            # Unshuffled pixels are channels in the order of a kernel's weights.
            state = {"weight": flat.weight.reshape(shape), "bias": flat.bias}
            self.convolution.requires_grad_(requires_grad=False).load_state_dict(state)


class Conditioned(nn.Module):
    """Scales and shifts features (batch, features, y, x) by what is known of the window."""

    def __init__(self, known: int, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(known, 2 * features)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, features: torch.Tensor, known: torch.Tensor, *, overwrite: bool = False
    ) -> torch.Tensor:
        """Return features of the same shape.

        They take the place of the given ones, which may be lost, where nothing is learnt from
        these: new memory takes longer.
        """
        scale, offset = self.linear(known)[..., None, None].chunk(2, dim=1)
        out = features if overwrite and not torch.is_grad_enabled() else None
        return torch.addcmul(offset, features, 1 + scale, out=out)


class Residual(nn.Module):
    """Two convolutions beside the way straight on, conditioned after the first."""

    def __init__(self, features: int, known: int) -> None:
        super().__init__()
        self.first = Convolution(features, features)
        self.condition = Conditioned(known, features)
        self.second = Convolution(features, features)

    def forward(self, features: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Return features of the same shape."""
        inner = self.condition(self.first(features), known, overwrite=True).relu_()
        result: torch.Tensor = self.second(inner).add_(features).relu_()
        return result


class Trunk(nn.Module):
    """The U-Net: features at half resolution of all that a window shows."""

    def __init__(self, architecture: Architecture, known: int) -> None:
        super().__init__()
        half, quarter, eighth = architecture.widths
        # Few features at once: a convolution of all images is most of the work otherwise.
        self.gather = Halving(architecture.voltages * architecture.slots, half)
        self.stem = Convolution(half, half)
        self.condition = Conditioned(known, half)
        self.down_half = Residual(half, known)
        self.to_quarter = Halving(half, quarter)
        self.down_quarter = Residual(quarter, known)
        self.to_eighth = Halving(quarter, eighth)
        self.bottom = nn.ModuleList(Residual(eighth, known) for _ in range(2))
        self.from_eighth = Convolution(eighth, quarter, 1)
        self.up_quarter = Residual(quarter, known)
        self.from_quarter = Convolution(quarter, half, 1)
        self.up_half = Residual(half, known)

    def look(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (batch, features, y / 2, x / 2) of images (batch, image, y, x)."""
        features: torch.Tensor = self.stem(self.gather(images).relu_())
        return features

    def forward(self, seen: torch.Tensor, known: torch.Tensor, kept: Kept) -> torch.Tensor:
        """Return features at half resolution (batch, features, y, x), as far as they are kept.

        They are those of what `look` returned. The way down is gone whole: from there all is seen.
        """
        at_half = self.down_half(self.condition(seen, known).relu_(), known)
        at_quarter = self.down_quarter(self.to_quarter(at_half).relu_(), known)
        at_eighth = self.to_eighth(at_quarter).relu_()
        for block in self.bottom:
            at_eighth = block(at_eighth, known)
        up = _joined(self.from_eighth(at_eighth), kept.eighth, at_quarter, kept.quarter)
        at_quarter = self.up_quarter(up.relu_(), known)
        up = _joined(self.from_quarter(at_quarter), kept.quarter, at_half, kept.half)
        features: torch.Tensor = self.up_half(up.relu_(), known)
        return features


def _joined(coarse: torch.Tensor, there: Region, fine: torch.Tensor, kept: Region) -> torch.Tensor:
    """Return kept features: fine ones, and coarse ones of which only those `there` are made."""
    halves = tuple(slice(part.start // 2, part.stop // 2) for part in kept)
    up = interpolate(cut(coarse, within(halves, there)), scale_factor=2.0)
    return up.add_(cut(fine, kept))


def cut(features: torch.Tensor, part: Region) -> torch.Tensor:
    """Return a part (y, x) of features."""
    rows, columns = part
    return features[..., rows, columns]


class Head(nn.Module):
    """What is on one plane: from the features of its window, and the slices beside it."""

    def __init__(self, architecture: Architecture, known: int) -> None:
        super().__init__()
        half, detail = architecture.widths[0], architecture.detail
        self.residual = Residual(half, known)
        self.widen = Convolution(half, 4 * (detail - 2 * architecture.voltages))
        self.detail = Convolution(detail, detail)
        self.last = nn.Conv2d(detail, 1, 3, padding=1)

    def forward(
        self, features: torch.Tensor, nearest: torch.Tensor, known: torch.Tensor, kept: Kept
    ) -> torch.Tensor:
        """Return logits (batch, y, x) of kept features at half resolution and of nearest slices."""
        there = tuple(slice(2 * part.start, 2 * part.stop) for part in kept.half)
        fine = pixel_shuffle(self.widen(self.residual(features, known)).relu_(), 2)
        fine = self.detail(torch.cat([fine, cut(nearest, there)], dim=1)).relu_()
        return cut(self.last(fine)[:, 0], within(kept.pixels, there))


class Foldable(nn.Module):
    """A network that is made ready for prediction once it has learnt.

    Attributes
    ----------
    architecture
        That it is built by.
    """

    architecture: Any

    def fold(self) -> Self:
        """Make ready for prediction: no gradients."""
        return self.eval().requires_grad_(requires_grad=False)

    def interleave(self) -> Self:
        """Lay features out side by side for each pixel, in which processors convolve faster."""
        return self.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class Network(Foldable, ABC):
    """Called with what it has seen of windows, and what is known of them, it returns logits.

    Known are the present voltages, the distances of slices, and the offset of a plane of each
    window; logits are those of the planes (batch, y, x), or of some of their pixels.
    """

    architecture: Windowed

    @abstractmethod
    def look(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what all planes of windows are told from, of images (batch, voltage, slot, y, x).

        These are 0 where there is none.
        """


class WindowNetwork(Network):
    """Says what is solid on planes of windows of slices."""

    architecture: Architecture

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        distances = architecture.slots + 2  # of the slices, and of the plane to those beside it
        known = distances * (len(_SCALES) + 1) + 1 + architecture.voltages
        self.trunk = Trunk(architecture, known)
        self.head = Head(architecture, known)

    def look(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what all planes of windows are told from: features, and the slices beside them.

        Parameters
        ----------
        images
            Grey values (batch, voltage, slot, y, x); 0 where there is none.
        """
        above = self.architecture.above
        nearest = images[:, :, above - 1 : above + 1]  # the window's own slice, and the next
        laid_out = nearest.flatten(1, 2).contiguous(memory_format=torch.channels_last)
        return self.trunk.look(images.flatten(1, 2)), laid_out

    def forward(
        self,
        seen: torch.Tensor,
        nearest: torch.Tensor,
        present: torch.Tensor,
        distances: torch.Tensor,
        offsets: torch.Tensor,
        pixels: Region | None = None,
    ) -> torch.Tensor:
        """Return logits (batch, y, x) of a plane of each window.

        Parameters
        ----------
        seen, nearest
            As `look` returns them.
        present
            Which voltages there are (batch, voltage), 0 or 1.
        distances
            Of the slots from the window's slice in nm (batch, slot); NaN where there is none.
        offsets
            Of the plane below the window's slice in nm (batch).
        pixels
            Of which logits are wanted, along y and x; by default all.
        """
        shape = nearest.shape[-2:]
        kept = Kept.of(pixels or tuple(slice(0, n) for n in shape), shape)
        gap = distances[:, self.architecture.above]
        places = torch.cat([distances, torch.stack([offsets, gap - offsets], dim=1)], dim=1)
        share = torch.nan_to_num(offsets / gap)[:, None]
        known = torch.cat([_described(places).flatten(1), share, present], dim=1).to(seen.dtype)
        logits: torch.Tensor = self.head(self.trunk(seen, known, kept), nearest, known, kept)
        return logits

    def fold(self) -> Self:
        """Make ready for prediction: no batch norm, no gradients."""
        super().fold()
        for part in _convolutions(self):
            part.fold()
        return self.interleave()


def has_gpu() -> bool:
    """Tell whether this process has a GPU that torch can use."""
    return bool(torch.cuda.is_available())


def fastest_precision(device: Device = "cpu", dimensions: int = 2) -> Precision:
    """Return what a device convolves in fastest: some emulate half precision, slowly.

    Flags alone decide: were it timed, an interrupted run might go on in another precision. Volumes
    are convolved on a processor as they have learnt there, in whole precision.
    """
    if device == "gpu":  # which is elsewhere, maybe
        return "bfloat16"
    if dimensions == 3:
        return "float32"
    flags: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # of new versions only
    return "bfloat16" if flags.get("avx512_bf16") or flags.get("amx_bf16") else "float32"


def _convolutions(network: nn.Module) -> Iterator[Convolution]:
    return (part for part in network.modules() if isinstance(part, Convolution))


def _described(distances: torch.Tensor) -> torch.Tensor:
    """Return distances in nm as numbers from -1 to 1 at several scales, and whether they exist."""
    exists = distances.isfinite()
    scaled = distances.nan_to_num()[..., None] / distances.new_tensor(_SCALES)
    return torch.cat([scaled.tanh(), exists[..., None].to(scaled.dtype)], dim=-1)
