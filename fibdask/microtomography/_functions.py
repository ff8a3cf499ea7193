"""Block functions of layered samples: signals of thicknesses, thicknesses of signals, labels."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import chdtri

from ..blocks import (
    Region,
    grow,
    lengths,
    overlap,
    tell,
    tile_window,
    touched_tiles,
    voxels,
    within,
)
from ..conventions import ConventionError, check_amounts
from ..simulate.images.noise import make_noise
from .dictionary import Dictionary, Observed
from .forward import Forward, modelled
from .guesses import GUESSES, LayerPredictor, guessed
from .likelihood import PIECE_BYTES, Errors, misfits, most_likely, regularised
from .smoothing import around, smoothed, smoothing_halo, spread

NO_DATA = 255
"""Label of voxels of pixels without data."""
TILE = 256
"""Pixels along y and x that a network is shown at once, beside those around."""
_CHANCE = 1e-3  # of pixels, whose misfit is that of noise
_LEAST_NOISE = 5e-3  # that signals without any are looked at with: tables are between nodes
_LARGEST = 1 - 1e-3  # of the largest thickness
_UNUSUAL = 0.1  # share of pixels
_KILOELECTRONVOLT = 1e6  # thousandths of an electronvolt, which name an energy's noise


@dataclass(frozen=True)
class Signals:
    """Block function: signals (energy, y, x) of thicknesses (layer, y, x).

    Attributes
    ----------
    forward
        That tells them.
    energies
        Of the beam in keV (energy).
    noise
        Share of the signal, Gaussian.
    seed
        That of a pixel depends on it, the energy and the place of the pixel.
    """

    forward: Forward
    energies: tuple[float, ...]
    noise: float
    seed: int

    revision = 5

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block of all layers."""
        return ((slice(0, len(self.forward.layers)), *region[1:]),)

    def compute(self, region: Region, thickness: np.ndarray) -> np.ndarray:
        """Return the signals of a block."""
        (read,) = self.needs(region)
        check_within(self.forward, thickness, tuple(part.start for part in read))
        energies = np.array(self.energies[region[0]])
        out = modelled(self.forward, thickness, energies)
        noise = make_noise(None, self.noise, self.seed)
        for image, energy in zip(out, energies, strict=True):
            factor = np.ones_like(image)
            word = (round(energy * _KILOELECTRONVOLT),)
            noise.add(factor, word, region[1].start, region[2].start)
            image *= np.maximum(factor, 0)
        return out

    def working_bytes(self, region: Region) -> int:
        """Noise of an energy, and pieces of float64."""
        return 16 * voxels(region[1:]) + 2**26


def check_within(forward: Forward, thickness: np.ndarray, start: tuple[int, ...]) -> None:
    """Refuse thicknesses (layer, y, x) that are negative, or more than a model knows.

    Raises
    ------
    ConventionError
        Naming the layer, the place and the limit.
    """
    check_amounts("thickness", thickness, start)
    for (name, most), depths in zip(forward.layers, thickness, strict=True):
        if (above := depths > most * (1 + 1e-6)).any():
            y, x = np.unravel_index(int(np.argmax(above)), above.shape)
            msg = (
                f"thickness of {name} must be at most {most:g} nm; "
                f"(y, x) = ({y + start[1]}, {x + start[2]}) has {depths[y, x]:g} nm"
            )
            raise ConventionError(msg)


@dataclass(frozen=True)
class _OfSignals:
    """Reads the signals (energy, y, x) of all energies of a block.

    Attributes
    ----------
    dictionary
        Of the layers.
    """

    dictionary: Dictionary

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block, of all energies."""
        return (self._signals(region),)

    def working_bytes(self, region: Region) -> int:
        """Signals as they are compared, then places, errors and evidence of each pixel."""
        pixels = voxels(self._signals(region)[1:])
        return pixels * (8 * len(self.dictionary.energies) + 250) + PIECE_BYTES

    def _signals(self, region: Region) -> Region:
        return (slice(0, len(self.dictionary.energies)), *region[-2:])

    def _checked(self, region: Region, signals: np.ndarray) -> np.ndarray:
        check_amounts("signal", signals, tuple(part.start for part in self._signals(region)))
        return signals


@dataclass(frozen=True)
class _OfNeighbours(_OfSignals):
    """Reads the signals of a block and around it, and averages those that look alike.

    Attributes
    ----------
    shape
        Of the maps (y, x).
    noise
        Share of the signals.
    smoothing
        Largest radius in pixels.
    """

    shape: tuple[int, int]
    noise: float
    smoothing: float

    @property
    def reach(self) -> int:
        """How many pixels away signals matter."""
        return smoothing_halo(self.smoothing)

    def _signals(self, region: Region) -> Region:
        y, x = (
            grow(part, self.reach, self.reach, n)
            for part, n in zip(region[-2:], self.shape, strict=True)
        )
        return slice(0, len(self.dictionary.energies)), y, x


@dataclass(frozen=True)
class MostLikely(_OfNeighbours):
    """Block function: the most likely thicknesses (layer, y, x), or their standard errors.

    Attributes
    ----------
    absent
        Probability beforehand that a layer is not there.
    errors
        Whether it is their errors.
    """

    absent: float
    errors: bool = False

    revision = 6

    def compute(self, region: Region, signals: np.ndarray) -> np.ndarray:
        """Return the thicknesses of a block, or the errors."""
        seen = self._seen(region, signals)
        errors: Errors | None = "likelihood" if self.errors else None
        found = most_likely(self.dictionary, seen, self.absent, errors=errors)
        part = found.thickness if found.errors is None else found.errors
        return part.reshape(-1, *lengths(region[1:]))[region[0]]

    def _seen(self, region: Region, signals: np.ndarray) -> Observed:
        """Return what is observed in a block."""
        checked = self._checked(region, signals)
        seen = smoothed(self.dictionary, checked, self.noise, self.smoothing)
        plane = signals.shape[1:]
        if self.errors:
            unsure = spread(seen.variance.reshape(plane), self.noise, self.smoothing)
            seen = replace(seen, spread=unsure)
        return seen.cut(plane, within(region[-2:], self._signals(region)[1:]))

    @property
    def reach(self) -> int:
        """How many pixels away signals matter: to errors, what patches are around, too."""
        return super().reach + (around(self.smoothing) if self.errors else 0)


@dataclass(frozen=True)
class FitCounts(MostLikely):
    """Block function: pixels (y, x) with data, those that do not fit, and those at a largest one.

    The signals of a pixel do not fit where their misfit is beyond what noise makes of one in a
    thousand; at a largest thickness are pixels where a layer is as thick as it may be.
    """

    size = 3

    def compute(self, region: Region, signals: np.ndarray) -> np.ndarray:
        """Return the three counts of a block."""
        most = self.dictionary.most
        thickness = super().compute((slice(0, len(most)), *region), signals)
        noise = max(self.noise, _LEAST_NOISE)
        misfit = misfits(self.dictionary, signals, thickness, noise)
        free = max(len(signals) - len(most), 1)
        beyond = misfit > chdtri(free, _CHANCE) / free
        largest = (thickness > _LARGEST * most[:, np.newaxis, np.newaxis]).any(axis=0)
        return np.array([np.isfinite(misfit).sum(), beyond.sum(), largest.sum()], np.int64)

    def working_bytes(self, region: Region) -> int:
        """Return what is likely, then signals of the model and what is left of them."""
        return super().working_bytes(region) + 12 * voxels(self._signals(region)) + 2**26


@dataclass(frozen=True)
class ToldFit:
    """Finish `FitCounts` with the shares (2) of the pixels, which are told where many do not fit.

    Attributes
    ----------
    noise
        Share of the signals.
    """

    noise: float

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return how many do not fit, and how many are as thick as may be."""
        known, *found = counts
        shares = np.asarray(np.array(found) / max(known, 1))
        beyond, largest = shares
        if beyond > _UNUSUAL:  # a film may well be as thick as was said
            tell(
                f"of {known:,} pixels that were looked at, {beyond:.0%} have signals that no "
                f"thicknesses explain within a noise of {self.noise:g}, and {largest:.0%} have a "
                "layer that is as thick as it may be: the scale of the signals, the materials, "
                "their largest thicknesses or the noise are others; look at misfit"
            )
        return shares


@dataclass(frozen=True)
class NetworkLayers(_OfNeighbours):
    """Block function: thicknesses (layer, y, x) as a network tells them, or their standard errors.

    Attributes
    ----------
    absent
        As of `MostLikely`, by which the network is shown what is likely.
    predictor
        The network, which is always shown the same windows.
    errors
        Whether it is their errors.
    """

    absent: float
    predictor: LayerPredictor
    errors: bool = False

    revision = 5

    def compute(self, region: Region, signals: np.ndarray) -> np.ndarray:
        """Return the thicknesses of a block, or the errors."""
        wanted, cover = region[1:], self._cover(region[1:])
        checked = self._checked(region, signals)
        inside = within(cover, self._signals(region)[1:])
        guesses = guessed(self.dictionary, checked, self.noise, self.absent, self.smoothing, inside)
        result = np.empty((len(guesses), *lengths(wanted)), np.float32)
        for tile in self._tiles(wanted):
            window = self._window(tile)
            found = self.predictor(guesses[:, :, *within(window, cover)])[int(self.errors)]
            part = overlap(tile, wanted)
            result[:, *within(part, wanted)] = found[:, *within(part, window)]
        most = self.dictionary.most.astype(np.float32)[:, np.newaxis, np.newaxis]
        return np.asarray((result * most)[region[0]])

    def working_bytes(self, region: Region) -> int:
        """Return what guesses take, and what the network takes of its largest window."""
        windows = [lengths(self._window(tile)) for tile in self._tiles(region[-2:])]
        y, x = (max(axis) for axis in zip(*windows, strict=True))
        layers = len(self.dictionary.most)
        own = 4 * (2 * GUESSES + 2) * layers * voxels(self._signals(region)[1:])
        return super().working_bytes(region) + own + self.predictor.bytes((y, x))

    def _signals(self, region: Region) -> Region:
        return super()._signals(self._cover(region[-2:]))

    def _cover(self, wanted: Region) -> Region:
        """Return what the windows of all tiles cover (y, x)."""
        windows = [self._window(tile) for tile in self._tiles(wanted)]
        return tuple(
            slice(first.start, last.stop)
            for first, last in zip(windows[0], windows[-1], strict=True)
        )

    def _tiles(self, wanted: Region) -> list[Region]:
        return touched_tiles(wanted, (TILE,) * 2, self.shape)

    def _window(self, tile: Region) -> Region:
        own = self.predictor
        return tile_window(tile, (own.halo,) * 2, (own.stride,) * 2, self.shape)


@dataclass(frozen=True)
class Regularised(_OfSignals):
    """Block function: thicknesses (layer, y, x) by regularised least squares.

    Attributes
    ----------
    regularisation
        Factor of the squares of relative thicknesses.
    """

    regularisation: float

    revision = 4

    def compute(self, region: Region, signals: np.ndarray) -> np.ndarray:
        """Return the thicknesses of a block."""
        checked = self._checked(region, signals)
        found = regularised(self.dictionary, checked, self.regularisation)
        return found.reshape(-1, *lengths(region[1:]))[region[0]]


@dataclass(frozen=True)
class Misfit(_OfSignals):
    """Block function: how far signals are from those of thicknesses (y, x).

    Attributes
    ----------
    noise
        Share of the signals.
    """

    noise: float

    revision = 4

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block of all energies, and of all layers."""
        return self._signals(region), (slice(0, len(self.dictionary.most)), *region)

    def compute(self, region: Region, signals: np.ndarray, thickness: np.ndarray) -> np.ndarray:
        """Return the misfit of a block."""
        return misfits(self.dictionary, signals, thickness, self.noise)

    def working_bytes(self, region: Region) -> int:
        """Signals of the model and what is left of them, and pieces of float64."""
        return 12 * voxels(self._signals(region)) + 2**26


def bottoms(thickness: np.ndarray, height: float, *, thin: bool) -> Iterator[np.ndarray]:
    """Iterate over the first plane (y, x) below each layer, see `Labels`."""
    depth = np.zeros(thickness.shape[1:])
    bottom = np.zeros(thickness.shape[1:], np.int64)
    for layer in np.nan_to_num(thickness):
        depth += layer
        least = bottom + (layer > 0) if thin else bottom
        bottom = np.maximum(np.floor(depth / height + 0.5).astype(np.int64), least)
        yield bottom


@dataclass(frozen=True)
class Labels:
    """Block function: label (z, y, x) of thicknesses (layer, y, x), from the surface down.

    Attributes
    ----------
    layers
        Their number.
    height
        Of a voxel in nm.
    thin
        Whether layers without a voxel's centre have a voxel nevertheless.
    """

    layers: int
    height: float
    thin: bool

    revision = 2

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the maps of all layers."""
        return ((slice(0, self.layers), *region[1:]),)

    def compute(self, region: Region, thickness: np.ndarray) -> np.ndarray:
        """Count the layers that end above each voxel."""
        labels = np.zeros(lengths(region), np.uint8)
        planes = np.arange(region[0].start, region[0].stop)[:, np.newaxis, np.newaxis]
        for bottom in bottoms(thickness, self.height, thin=self.thin):
            labels += planes >= bottom
        labels[:, np.isnan(thickness).any(axis=0)] = NO_DATA
        return labels

    def working_bytes(self, region: Region) -> int:
        """Depths, and the comparison of planes."""
        return voxels(region) + 40 * voxels(region[1:])
