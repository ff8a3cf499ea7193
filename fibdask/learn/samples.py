"""Samples of training: pieces of simulated stacks as other microscopes would have seen them.

A sample is made of a seed and its number alone, so training can be taken up at any step. Images
are simulated once, with many electrons on a pixel; that each of them is kept with some
probability makes exactly the images of fewer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import binom, norm

from ..conventions import ConventionError, check_not_negative, check_positive
from ..pieces.grey import QUANTILES
from ..pieces.windows import NO_SLICE, SliceWindow
from ._kernels import draw_counts
from .artefacts import Artefacts
from .data import SimulatedStack

_LEAST_RANGE = 0.01  # of grey values of a blurred image, which may be of one phase
_TESTED = 64  # pixels along y and x of the window that tests a model when it is loaded
_NEAR = 1e-6  # nm, within which a slice lies on a plane of the structure


def check_range(name: str, ends: tuple[float, float]) -> None:
    """Check the least and the most of what is above zero.

    Raises
    ------
    ConventionError
        Naming them.
    """
    least, most = ends
    check_positive(name, least)
    if not least <= most < np.inf:
        msg = f"{name} must be the least and the most; got {least:g} and {most:g}"
        raise ConventionError(msg)


@dataclass(frozen=True)
class Variation:
    """What differs between samples of the same images.

    Attributes
    ----------
    electrons_per_pixel
        Least and most electrons per pixel; at most as many as were simulated.
    gaussian_std
        Largest standard deviation of Gaussian noise, relative to the range of grey values.
    blur
        Largest standard deviation of the blur in pixels.
    drift
        Standard deviation of gain and of offset between slices, relative to the range.
    lacking
        Largest share of slices that are left out, as failed ones are.
    fewer_voltages
        Share of samples that do not show all voltages.
    gain
        Largest standard deviation of the gain of each slice and voltage, in a quarter of the
        samples; half as much for the offset.
    gradient
        Largest standard deviation of the rise of brightness across a sample, along y and along x,
        in a quarter of the samples.
    stripes
        Largest standard deviation of stripes along y, in a quarter of the samples.
    """

    electrons_per_pixel: tuple[float, float] = (10.0, 100.0)
    gaussian_std: float = 0.05
    blur: float = 0.6
    drift: float = 0.02
    lacking: float = 0.25
    fewer_voltages: float = 0.5
    gain: float = 0.0
    gradient: float = 0.0
    stripes: float = 0.0

    def __post_init__(self) -> None:
        check_range("electrons_per_pixel", self.electrons_per_pixel)
        for name in ("gaussian_std", "blur", "drift", "gain", "gradient", "stripes"):
            check_not_negative(name, getattr(self, name))
        for name in ("lacking", "fewer_voltages"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                msg = f"{name} must be a share from 0 to 1; got {share:g}"
                raise ConventionError(msg)


@dataclass(frozen=True)
class Sample:
    """A window, planes below its slice, and what is there.

    Attributes
    ----------
    images
        Normalised grey values, float32 (voltage, slot, y, x); 0 where there is none.
    present
        Which voltages there are, float32 (voltage).
    distances
        Of the slots from the window's slice in nm, float32 (slot); NaN where there is none.
    offsets
        Of the planes from the slice in nm, float32 (plane); the first is 0.
    truth
        Of the planes, 1 where solid, float32 (plane, y, x).
    """

    images: np.ndarray
    present: np.ndarray
    distances: np.ndarray
    offsets: np.ndarray
    truth: np.ndarray

    @property
    def shown(self) -> dict[str, np.ndarray]:
        """What a network is shown of it, by name."""
        return {name: value for name, value in vars(self).items() if name != "truth"}

    @property
    def corner(self) -> "Sample":
        """A small part of it, which tests a model when it is loaded."""
        part = (..., slice(_TESTED), slice(_TESTED))
        return replace(self, images=self.images[part], truth=self.truth[part])

    @property
    def face(self) -> "Sample":
        """The sample with its first plane alone."""
        return replace(self, offsets=self.offsets[:1], truth=self.truth[:1])


@dataclass(frozen=True, eq=False, kw_only=True)
class Drawing:
    """How samples are drawn, each by its number.

    Attributes
    ----------
    window
        Slices of a sample.
    crop
        Pixels along y and x.
    planes
        Number of planes of a sample.
    seed
        Of all of it.
    """

    window: SliceWindow
    crop: int
    planes: int
    seed: int

    def rng(self, number: int) -> np.random.Generator:
        """Return the random numbers of a sample."""
        return np.random.default_rng((self.seed, number))

    def part(self, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice]:
        """Draw the pixels of a sample in an image of a shape (y, x)."""
        y, x = (int(rng.integers(n - self.crop + 1)) for n in shape)
        return slice(y, y + self.crop), slice(x, x + self.crop)


@dataclass(frozen=True, eq=False)
class Samples(Drawing):
    """Samples of stacks.

    Attributes
    ----------
    stacks
        Where they come from, each as often as it has slices.
    variation
        What differs.
    """

    stacks: Sequence[SimulatedStack]
    variation: Variation

    def __getitem__(self, number: int) -> Sample:
        """Return a sample."""
        rng = self.rng(number)
        sizes = np.array([len(stack.z) for stack in self.stacks], float)
        stack = self.stacks[int(rng.choice(len(sizes), p=sizes / sizes.sum()))]
        kept = self._kept(stack, rng)
        i = int(rng.integers(len(kept)))
        slots = self.window.slices(i, len(kept))
        slices = np.where(slots == NO_SLICE, NO_SLICE, kept[slots])
        distances = self.window.distances(i, stack.z[kept])
        end = stack.z[kept[i + 1]] if i + 1 < len(kept) else stack.z[kept[i]] + 2 * _NEAR
        planes = self._planes(stack, float(stack.z[kept[i]]), float(end), rng)
        part = self.part(stack.truth.shape[1:], rng)
        present = self._present(len(stack.voltage), rng)
        images = draw_images(stack, slices, part, present, self.variation, rng)
        truth = stack.truth[planes][:, *part]
        images, truth = oriented(images, truth, rng)
        return Sample(
            images,
            present.astype(np.float32),
            distances.astype(np.float32),
            (stack.depths[planes] - stack.z[kept[i]]).astype(np.float32),
            truth.astype(np.float32),
        )

    def _kept(self, stack: SimulatedStack, rng: np.random.Generator) -> np.ndarray:
        """Return the slices that did not fail."""
        share = self.variation.lacking * rng.random() * (rng.random() < 0.5)
        kept = np.flatnonzero(rng.random(len(stack.z)) >= share)
        return kept if len(kept) else np.array([0])

    def _planes(
        self, stack: SimulatedStack, start: float, end: float, rng: np.random.Generator
    ) -> np.ndarray:
        """Return planes of the structure: the slice itself first, then others below it."""
        first, last = np.searchsorted(stack.depths, (start - _NEAR, end - _NEAR))
        others = rng.integers(min(first + 1, last - 1), last, self.planes - 1)
        return np.asarray(np.append(first, others))

    def _present(self, voltages: int, rng: np.random.Generator) -> np.ndarray:
        """Return which voltages there are: all, or fewer, but never none."""
        if rng.random() >= self.variation.fewer_voltages:
            return np.ones(voltages, bool)
        if rng.random() < 0.5:
            return np.asarray(np.arange(voltages) == rng.integers(voltages))
        present = rng.random(voltages) < 0.5
        return present if present.any() else ~present


def oriented(
    images: np.ndarray,
    truth: np.ndarray,
    rng: np.random.Generator,
    *,
    mirrored: tuple[int, ...] = (-2, -1),
    swapped: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return images and truth (…, y, x) in one of the orientations that they may have.

    Parameters
    ----------
    mirrored
        Axes that may be mirrored: a tilted beam lets x alone.
    swapped
        Whether y and x may be swapped.
    """
    for axis in mirrored:
        if rng.random() < 0.5:
            images, truth = np.flip(images, axis), np.flip(truth, axis)
    if swapped and rng.random() < 0.5:
        images, truth = images.swapaxes(-1, -2), truth.swapaxes(-1, -2)
    return np.ascontiguousarray(images), np.ascontiguousarray(truth)


def draw_images(
    stack: SimulatedStack,
    slices: np.ndarray,
    part: tuple[slice, slice],
    present: np.ndarray,
    variation: Variation,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return normalised images of a stack, float32 (voltage, slot, y, x), as of fewer electrons.

    Parameters
    ----------
    slices
        Their numbers (slot), or `NO_SLICE`.
    part
        Of the images along y and x.
    present
        Which voltages there are, bool (voltage).
    variation
        What the images differ in from those of the stack.
    """
    low, high = (min(e, stack.electrons) for e in variation.electrons_per_pixel)
    share = float(np.exp(rng.uniform(np.log(low), np.log(high)))) / stack.electrons
    noise = variation.gaussian_std * rng.random() * (rng.random() < 0.5)
    blur = variation.blur * rng.random() * (rng.random() < 0.5)
    artefacts = Artefacts.drawn(variation.gain, variation.gradient, variation.stripes, rng)
    cumulative = cumulated(stack.histograms.shape[1], share)
    known = slices != NO_SLICE
    images = np.zeros((len(present), len(slices), *stack.counts[0, 0][part].shape), np.float32)
    for v in np.flatnonzero(present):
        std = float(np.hypot(noise, artefacts.std))
        ends = grey_range(stack.histograms[v], cumulative, std)
        shown = partial(_seen, cumulative=cumulative, ends=ends, noise=noise, blur=blur, rng=rng)
        grey = shown(stack.counts[v][:, *part][slices[known]])
        if blur:  # what it does to the range of grey values shows in a whole image alone
            dark, bright = np.quantile(shown(stack.counts[v][slices[known][:1]]), QUANTILES)
            grey = (grey - np.float32(dark)) / np.float32(max(bright - dark, _LEAST_RANGE))
        gain, offset = variation.drift * rng.standard_normal((2, len(grey), 1, 1), np.float32)
        images[v, known] = grey * (1 + gain) + offset
    exist = present[:, np.newaxis] & known
    return artefacts.added(images, exist, rng) if artefacts.std else images


def _seen(
    counts: np.ndarray,
    cumulative: np.ndarray,
    ends: tuple[float, float],
    noise: float,
    blur: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return images (slot, y, x) of fewer electrons, noisier and blurred, from 0 to 1 before."""
    kept = np.empty(counts.size, np.float32)
    draw_counts(counts.ravel(), cumulative, rng.random(counts.size, np.float32), kept)
    lowest, highest = ends
    grey: np.ndarray = ((kept - lowest) / (highest - lowest)).reshape(counts.shape)
    if noise:
        grey += np.float32(noise) * rng.standard_normal(grey.shape, np.float32)
    return gaussian_filter(grey, (0, blur, blur), truncate=3) if blur else grey


def cumulated(size: int, share: float) -> np.ndarray:
    """Return the probabilities, cumulated (count, number), of how many of a count are kept.

    Parameters
    ----------
    size
        Counts go from 0 to this, which is not one of them.
    share
        Probability that each one is kept.
    """
    numbers = np.arange(size)
    table = binom.cdf(numbers[np.newaxis], numbers[:, np.newaxis], min(share, 1.0))
    return np.asarray(table, np.float32)


def grey_range(
    histogram: np.ndarray, cumulative: np.ndarray, noise: float = 0.0
) -> tuple[float, float]:
    """Return the quantiles of counts of which a part is kept, and Gaussian noise is added to that.

    Parameters
    ----------
    histogram
        Share of pixels by their count (count).
    cumulative
        As `cumulated` returns them.
    noise
        Standard deviation relative to the range without it.
    """
    below = histogram @ cumulative
    low, high = np.searchsorted(below, QUANTILES)
    low, high = float(low), float(max(high, low + 1))
    if not noise:
        return low, high
    shares = np.diff(below, prepend=0.0)
    std = noise * (high - low)
    at = np.linspace(low - 3 * std - 1, high + 3 * std + 1, 400)
    share = norm.cdf((at[:, np.newaxis] - np.arange(len(shares))) / std) @ shares
    low, high = np.interp(QUANTILES, share, at)
    return float(low), float(high)
