"""The network that tells how thick a layer is from what its pixels and their neighbours say.

It is shown one layer at a time, relative to its largest thickness: what is likely pixel by pixel
and after smoothing, with the errors of both. So it holds for any materials, energies and model of
the signals. A U-Net says by how much, in these errors, the smoothed guess is wrong, and how far off
it may be itself.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import max_pool2d, pad, softplus

from ...conventions import ConventionError
from ..networks import Foldable
from ..published import Blocks, Decoder, Encoder, Published

_AWAY = (1, 4)  # pixels along y and x at which guesses are compared with those of a pixel
_MOST = 4.0  # errors by which guesses differ: more is as much
_LEAST = 1e-4  # error that counts, relative to the largest thickness
_SURE = 0.2  # least error that is said, in that of the smoothed guess
_SHOWN = 5 + 4 * len(_AWAY)


@dataclass(frozen=True)
class LayerArchitecture:
    """Everything that determines a network except its weights.

    Attributes
    ----------
    width
        Features at full resolution; they double at each coarser one.
    levels
        Number of resolutions.
    smoothing
        Largest radius in pixels of the smoothed guesses, see `estimate_layers`.
    """

    width: int = 12
    levels: int = 4
    smoothing: float = 9.0

    def __post_init__(self) -> None:
        for name in ("width", "levels"):
            if (number := getattr(self, name)) < 1:
                msg = f"{name} must be at least 1; got {number}"
                raise ConventionError(msg)
        if not 0 < self.smoothing <= 32:
            msg = f"smoothing must be above 0 and at most 32 pixels; got {self.smoothing:g}"
            raise ConventionError(msg)

    @property
    def design(self) -> Published:
        """Of the U-Net."""
        return Published(Blocks((2,) * self.levels), width=self.width)

    @property
    def stride(self) -> int:
        """Windows begin at multiples of it, along y and x, and their lengths are such."""
        return self.design.stride

    @property
    def halo(self) -> int:
        """How many pixels away, along y and x, what is said of a pixel depends on."""
        return self.design.halo + max(_AWAY)

    def build(self) -> "LayerNetwork":
        """Return the network with its first weights."""
        return LayerNetwork(self).interleave()

    def as_card(self) -> dict[str, Any]:
        """Return the fields as JSON knows them."""
        return asdict(self)

    @classmethod
    def of_card(cls, fields: Mapping[str, Any]) -> "LayerArchitecture":
        """Return what `as_card` was made of."""
        return cls(**fields)


class LayerNetwork(Foldable):
    """Says how thick a layer is, and how far off that may be, of guesses."""

    def __init__(self, architecture: LayerArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        design = architecture.design
        self.encoder = Encoder(design, _SHOWN)
        self.decoder = Decoder(design)
        self.last = nn.Conv2d(design.width, 3, 1)
        nn.init.zeros_(self.last.weight)  # at first, the smoothed guess and its error are said
        self.last.bias = nn.Parameter(torch.tensor((0.0, 0.0, 1.0)))

    def forward(self, guesses: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return thicknesses and their errors, (batch, y, x) each.

        Parameters
        ----------
        guesses
            Of a layer (batch, map, y, x), as of `guessed`, relative to its largest thickness; NaN
            where there are no data.
        """
        thickness, smooth = guesses[:, 0], guesses[:, 2].nan_to_num()
        error, sure = (guesses[:, k].nan_to_num().clamp(min=_LEAST) for k in (1, 3))
        shown = torch.stack([*_described(thickness, smooth, error, sure)], dim=1)
        shown = shown.contiguous(memory_format=torch.channels_last)
        said = self.last(self.decoder(self.encoder(shown))).float()
        near = max_pool2d(smooth[:, None], 2 * max(_AWAY) + 1, 1, max(_AWAY))[:, 0]
        # Where there is none around, there is none: what is right already is left alone.
        away = (sure * said[:, 0] + error * said[:, 1]) * near / (near + error)
        return smooth + away, sure * (_SURE + softplus(said[:, 2]))


def _described(
    thickness: torch.Tensor, smooth: torch.Tensor, error: torch.Tensor, sure: torch.Tensor
) -> list[torch.Tensor]:
    """Return what the U-Net is shown of guesses, (batch, y, x) each, about from -4 to 4."""
    known = thickness.isfinite()
    apart = (thickness - smooth).nan_to_num()
    shown = [known.to(smooth.dtype), smooth, error.log10() + 2, sure.log10() + 2]
    shown.append((apart / error).clamp(-_MOST, _MOST))
    for away in _AWAY:
        around = pad(smooth[:, None], (away,) * 4, mode="replicate")[:, 0]
        beside = (
            around[:, away:-away, : -2 * away],
            around[:, away:-away, 2 * away :],
            around[:, : -2 * away, away:-away],
            around[:, 2 * away :, away:-away],
        )
        shown += [((there - smooth) / error).clamp(-_MOST, _MOST) for there in beside]
    return shown
