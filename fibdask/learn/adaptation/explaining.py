"""How images came from what a network sees in them: simulator, grey scale, blur, noise, drifts.

Images of the structure that is seen are simulated without noise, and held against the images of the
stack pixel by pixel. The grey scale is a line through what is certain: solid, and pores whose next
solid below is known, both away from edges on the face. A bent line could pass off solid just below
a face as solid on it. What images differ by beyond that is blur, noise, and profiles of brightness.
The less they differ, the better the network sees: wrong voxels are not explained by noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, uniform_filter

from ...simulate.images.layers import half_contrast_depth
from ..models import Model
from .seen import Simulator, Structure
from .target import Target

_BLURS = (0.0, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8, 2.2)  # pixels
_INSIDE, _OUTSIDE = 2.0, 3.0  # pixels from edges on the face, beyond which phases are certain
_SOLID = 0.05  # of the pixels that are certain, at least, are solid for a line to be drawn
_REACH = 2.0  # half-contrast depths
_BINS = 8  # of brightness, in each of which noise is measured
_NEAR = 7  # pixels along y and x: what differs more slowly is no noise
_SURE_QUANTILE = 0.9  # of differences, that tells blur: edges are among the rest

Line = tuple[float, float, float]
"""Dark and rise of grey values, and the mean square that they leave."""


@dataclass(frozen=True, eq=False)
class Look:
    """How the images of a voltage came from simulated ones.

    Attributes
    ----------
    dark, rise
        The grey value of a signal s is dark + rise * s.
    blur
        Standard deviation in pixels.
    grey, variance
        Noise: its variance at grey values (knot).
    ends
        Least and largest grey value of the images.
    across, along
        Profiles of brightness along x and y, that single slices have (slice, x) and (slice, y).
    """

    dark: float
    rise: float
    blur: float
    grey: np.ndarray
    variance: np.ndarray
    ends: tuple[float, float]
    across: np.ndarray
    along: np.ndarray

    @property
    def counted(self) -> float:
        """Grey value that a counted electron adds, if all noise that can be is that of counting."""
        above = np.maximum(self.grey - self.ends[0], 1e-3)
        return float((self.variance / above).min())

    def expected(self, signal: np.ndarray, blur: float) -> np.ndarray:
        """Return grey values of signals (…, y, x), blurred by some pixels."""
        return np.asarray(self.dark + self.rise * blurred(signal, blur))

    def noisy(self, grey: np.ndarray, more: float, rng: np.random.Generator) -> np.ndarray:
        """Return grey values with noise, whose variance is as many times that of the images."""
        count = max(more * self.counted, 1e-9)
        above = np.maximum(grey - self.ends[0], 0)
        rest = np.maximum(more * np.interp(grey, self.grey, self.variance) - count * above, 0)
        counts = rng.poisson(above / count)
        noise = np.sqrt(rest, dtype=np.float32) * rng.standard_normal(grey.shape, np.float32)
        return np.asarray(np.clip(self.ends[0] + count * counts + noise, *self.ends))


@dataclass(frozen=True, eq=False)
class Explanation:
    """The simulator that comes nearest to images, and what they differ by.

    Attributes
    ----------
    simulator
        Whose images are nearest where all is certain.
    looks
        Of each voltage.
    unexplained
        Share of the variance of grey values that it does not tell (voltage).
    """

    simulator: Simulator
    looks: tuple[Look, ...]
    unexplained: np.ndarray

    @classmethod
    def of(
        cls,
        model: Model,
        target: Target,
        seen: Structure,
        simulated: Mapping[Simulator, np.ndarray],
    ) -> "Explanation":
        """Explain the images of a target by simulated ones of what is seen in it."""
        certain = [Certain.of(seen, kilovolts) for kilovolts in model.card["voltages"]]
        lines = _lines(certain, target, simulated)
        best = min(lines, key=lambda one: _left(lines[one]))
        found = [
            _look(sure, line[:2], signal, images)
            for sure, line, signal, images in zip(
                certain, lines[best], simulated[best], target.images, strict=True
            )
        ]
        return cls(best, tuple(look for look, _ in found), np.array([rest for _, rest in found]))

    @property
    def rest(self) -> float:
        """Geometric mean of the shares that are unexplained."""
        return float(np.exp(np.log(np.maximum(self.unexplained, 1e-6)).mean()))

    def told(self) -> dict[str, Any]:
        """Return the simulator, and blur in pixels and unexplained share by voltage, for JSON."""
        shares = [float(f"{share:.3g}") for share in self.unexplained]
        blurs = [look.blur for look in self.looks]
        return asdict(self.simulator) | {"blur": blurs, "unexplained": shares}


@dataclass(frozen=True, eq=False)
class Certain:
    """Pixels of faces (slice, y, x) whose phase and depth are certain enough: solid, and any."""

    solid: np.ndarray
    any: np.ndarray

    @classmethod
    def of(cls, seen: Structure, kilovolts: float) -> "Certain":
        """Return those of what is seen, as far down as a voltage shows it."""
        solid = np.stack([distance_transform_edt(face) > _INSIDE for face in seen.slices])
        pore = np.stack([distance_transform_edt(~face) > _OUTSIDE for face in seen.slices])
        known = ~np.isnan(seen.depth(_REACH * half_contrast_depth(kilovolts)))
        return cls(solid, solid | (pore & known))

    def line(self, signal: np.ndarray, images: np.ndarray) -> Line:
        """Return dark and rise of grey values (slice, y, x) of signals, and the squares left.

        Solid and pores weigh the same.
        """
        s, grey, solid = signal[self.any], images[self.any], self.solid[self.any]
        if not _SOLID < solid.mean() < 1 - _SOLID:
            solid, s, grey = np.ones(signal.size, bool), signal.ravel(), images.ravel()
        weight = np.where(solid, 1 / solid.sum(), 1 / max((~solid).sum(), 1))
        weight /= weight.sum()
        mean, level = weight @ s, weight @ grey
        rise = (
            (weight * (s - mean)) @ (grey - level) / max((weight * (s - mean)) @ (s - mean), 1e-9)
        )
        left = weight @ (grey - level - rise * (s - mean)) ** 2
        return float(level - rise * mean), float(rise), float(left)


def left_by_detector(
    model: Model, target: Target, seen: Structure, simulated: Mapping[Simulator, np.ndarray]
) -> dict[str, float]:
    """Return what the simulators of each detector leave unexplained where all is certain.

    Logarithms of mean squares, added up over voltages. Arguments are those of `Explanation.of`.
    """
    certain = [Certain.of(seen, kilovolts) for kilovolts in model.card["voltages"]]
    left: dict[str, float] = {}
    for one, lines in _lines(certain, target, simulated).items():
        left[one.detector] = min(_left(lines), left.get(one.detector, np.inf))
    return left


def _lines(
    certain: Sequence[Certain], target: Target, simulated: Mapping[Simulator, np.ndarray]
) -> dict[Simulator, list[Line]]:
    """Return the lines of grey values of each voltage, by simulator."""
    return {
        one: [sure.line(s, a) for sure, s, a in zip(certain, signals, target.images, strict=True)]
        for one, signals in simulated.items()
    }


def _left(lines: Sequence[Line]) -> float:
    return float(sum(np.log(max(left, 1e-12)) for _, _, left in lines))


def _look(
    sure: Certain, line: tuple[float, float], signal: np.ndarray, images: np.ndarray
) -> tuple[Look, float]:
    """Return how images of a voltage (slice, y, x) came from signals, and the share left."""
    dark, rise = line

    def apart(blur: float) -> np.ndarray:
        return np.asarray(images - dark - rise * blurred(signal, blur))

    blur = min(_BLURS, key=lambda one: float(np.quantile(np.abs(apart(one)), _SURE_QUANTILE)))
    rest = apart(blur)
    noise = (rest - uniform_filter(rest, (0, _NEAR, _NEAR))) * (1 - _NEAR**-2) ** -0.5
    expected = images - rest
    order = np.argsort(expected[sure.any], kind="stable")
    bins = [part for part in np.array_split(order, _BINS) if len(part)]
    grey, variance = (
        np.array([values[sure.any][part].mean() for part in bins])
        for values in (expected, noise**2)
    )
    ends = float(images.min()), float(images.max())
    across, along = (_profiles(rest, sure.any, axis) for axis in (1, 2))
    left = float(rest.var() / images.var())
    return Look(dark, rise, blur, grey, variance, ends, across, along), left


def _profiles(rest: np.ndarray, sure: np.ndarray, axis: int) -> np.ndarray:
    """Return means of what is left (slice, y, x) along an axis, drawn to 0 as noise blurs them."""
    number = sure.sum(axis)
    sums = np.where(sure, rest, 0).sum(axis)
    noise = float(rest[sure].var()) if sure.any() else 0.0
    means = sums / np.maximum(number, 1)
    known = number > 0
    own = max(float((means[known] ** 2).mean() - noise * (1 / number[known]).mean()), 0.0)
    return np.asarray(sums / (number + noise / own) if own > 0 else np.zeros_like(sums))


def blurred(images: np.ndarray, blur: float) -> np.ndarray:
    """Return images (…, y, x) blurred by some pixels."""
    if not blur:
        return images
    return np.asarray(gaussian_filter(images, (0,) * (images.ndim - 2) + (blur, blur)))
