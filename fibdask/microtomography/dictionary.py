"""Signals of all thicknesses of some layers, and fits of what is observed to them.

Noise is a share of the signal, so that logarithms differ from those of the dictionary by a
Gaussian of the same width at all energies, up to the square of the share.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import log, sqrt

import numpy as np

from ..blocks import fingerprint, load_once
from ._kernels import fitting as kernels
from ._kernels.smoothing import project
from .forward import Forward, modelled

_NODES = {1: 241, 2: 81, 3: 29}  # thicknesses of a layer, by the number of layers
_COARSE = {1: 61, 2: 21, 3: 8}
_HARDLY = 1e-9  # nm, of a layer that is there: models may change abruptly where it is not
_LEAST_SHARE = 2e-4  # of noise: smaller differences are those of the dictionary
_TRUST = 1e-30
_PIECE = 2**14  # pixels
PIECE_BYTES = 2**24
"""What telling the layers of a piece of the pixels takes."""
_SEEN = 0.05  # least range of a component of signals, in their noise, that fits look at
_GAIN = 1e-3  # of the variance: a step that makes the sum of squares smaller by less is the last


@dataclass(frozen=True, eq=False)
class Pattern:
    """Signals where some of the layers are, and the others are not.

    Attributes
    ----------
    present
        Which layers are, bool (layer).
    table
        Values, float32 (layer 1, layer 2, layer 3, energy); of absent layers one node.
    coarse, nodes
        Some of them (energy, node), and their places (node, layer), −1 of absent layers.
    """

    present: np.ndarray
    table: np.ndarray
    coarse: np.ndarray
    nodes: np.ndarray

    def fit(
        self, observed: np.ndarray, ridge: np.ndarray, least: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return places (pixel, layer) that fit best, and their sums of squares (pixel)."""
        places = np.empty((len(observed), kernels.LAYERS))
        squares = np.empty(len(observed))
        kernels.fit_pixels(
            observed, self.table, self.coarse, self.nodes, ridge, least, places, squares
        )
        return places, squares

    def described(self, observed: "Observed") -> "Described":
        """Return what places are likely to show what is observed."""
        least = observed.variance * _GAIN
        places, squares = self.fit(observed.values, np.zeros(kernels.LAYERS), least)
        places[:, ~self.present] = 0.0 * squares[:, np.newaxis]
        centres, widths = np.empty_like(places), np.empty_like(places)
        shares, variance = np.empty(len(places)), observed.variance
        kernels.describe_fits(
            observed.values, places, self.table, variance, centres, widths, shares
        )
        evidence = np.log(np.maximum(shares, _TRUST)) - squares / (2 * variance)
        return Described(places, centres, widths, evidence)

    def along(self, spectrum: "Spectrum", number: int) -> "Pattern":
        """Return the pattern with values along some of the directions of a spectrum."""
        directions = spectrum.directions[:number].T
        table = np.ascontiguousarray((self.table - spectrum.mean) @ directions, np.float32)
        coarse = (self.coarse.T - spectrum.mean) @ directions
        return replace(self, table=table, coarse=np.ascontiguousarray(coarse.T, np.float32))


@dataclass(frozen=True, eq=False)
class Described:
    """Gaussians that describe, within a table, what places are likely; all (pixel, layer).

    Attributes
    ----------
    places
        That fit best, in nodes.
    centres, widths
        Of the Gaussians, and their standard deviations, in nodes.
    evidence
        Logarithm of the likelihood times the share of the table that is as likely (pixel).
    """

    places: np.ndarray
    centres: np.ndarray
    widths: np.ndarray
    evidence: np.ndarray


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What the values of all entries have in common, and in what directions they differ.

    Attributes
    ----------
    mean
        Float64 (energy).
    directions
        Unit vectors of principal components, those that differ most first, float64
        (component, energy).
    ranges
        Of the entries along each.
    """

    mean: np.ndarray
    directions: np.ndarray
    ranges: np.ndarray

    def scores(self, values: np.ndarray, number: int, scale: float = 1.0) -> np.ndarray:
        """Return values (pixel, energy) along the first directions, float32 (pixel, component)."""
        scores = np.empty((len(values), number), np.float32)
        project(values, self.mean, self.directions[:number] * scale, scores)
        return scores

    def seen(self, std: float, share: float, most: int | None = None) -> int:
        """Return how many components range over more than a share of a noise; one at least."""
        number = max(int((self.ranges > share * std).sum()), 1)
        return number if most is None else min(number, most)

    @classmethod
    def of(cls, patterns: Sequence[Pattern]) -> "Spectrum":
        """Return the spectrum of tables."""
        entries = np.concatenate([p.table.reshape(-1, p.table.shape[-1]) for p in patterns])
        mean = entries.mean(axis=0, dtype=np.float64)
        apart = entries - mean
        _, directions = np.linalg.eigh(apart.T @ apart)
        directions = np.ascontiguousarray(directions.T[::-1])
        return cls(mean, directions, np.ptp(apart @ directions.T, axis=0))


@dataclass(frozen=True, eq=False)
class _Tables:
    patterns: list[Pattern]
    spectrum: Spectrum


@dataclass(frozen=True)
class Dictionary:
    """Signals of layers at some energies; tables are made once in a process.

    Attributes
    ----------
    forward
        That tells signals.
    energies
        Of the beam in keV (energy).
    logarithmic
        Whether it holds logarithms of signals, rather than these.
    """

    forward: Forward
    energies: tuple[float, ...]
    logarithmic: bool = True

    @property
    def most(self) -> np.ndarray:
        """Largest thicknesses in nm (layer)."""
        return np.array([most for _, most in self.forward.layers])

    @property
    def steps(self) -> np.ndarray:
        """Thickness in nm between nodes (layer)."""
        return np.asarray(self.most / (_NODES[len(self.most)] - 1))

    def variance(self, noise: float) -> float:
        """Return the variance of logarithms of signals, of their noise and of the model's error."""
        return max(noise**2 + self.forward.error**2, _LEAST_SHARE**2)

    def variance_of_components(self, noise: float) -> float:
        """Return the variance of the components of logarithms of signals.

        The model's error is the same at energies beside each other, of which components are sums.
        """
        together = max(len(self.energies) / self.forward.beams, 1.0) if self.forward.beams else 1.0
        return max(noise**2 + together * self.forward.error**2, _LEAST_SHARE**2)

    def patterns(self) -> list[Pattern]:
        """Return all patterns of layers that are there, that of all first."""
        return self._tables().patterns

    def reduced(self, number: int) -> list[Pattern]:
        """Return all patterns with as many components instead of energies."""
        tables = self._tables()  # before the lock that they are made under is taken again

        def make() -> list[Pattern]:
            return [pattern.along(tables.spectrum, number) for pattern in tables.patterns]

        return load_once(fingerprint("reduced layers", self, number), make)

    def spectrum(self) -> "Spectrum":
        """Return what values can be like at all."""
        return self._tables().spectrum

    def _tables(self) -> "_Tables":
        return load_once(fingerprint("layers", self), self._make)

    def _make(self) -> "_Tables":
        layers = len(self.most)
        patterns = [self._pattern(present) for present in product((True, False), repeat=layers)]
        return _Tables(patterns, Spectrum.of(patterns))

    def _pattern(self, present: tuple[bool, ...]) -> Pattern:
        layers = len(self.most)
        counts = [_NODES[layers] if there else 1 for there in present]
        axes = [np.arange(n) * step for n, step in zip(counts, self.steps, strict=True)]
        films = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")])
        films[np.array(present)] = np.maximum(films[np.array(present)], _HARDLY)
        signals = self.forward.signals(films, np.array(self.energies))
        values = np.log(signals) if self.logarithmic else signals
        lacking = (1,) * (kernels.LAYERS - layers)
        table = np.ascontiguousarray(values.T, np.float32).reshape(*counts, *lacking, -1)
        few = [np.unique(np.rint(np.linspace(0, n - 1, _COARSE[layers])).astype(int))
               for n in table.shape[:-1]]  # fmt: skip
        nodes = np.stack([a.ravel() for a in np.meshgrid(*few, indexing="ij")], axis=1)
        coarse = np.ascontiguousarray(table[tuple(nodes.T)].T)
        whole = np.array([*present, *(False for _ in lacking)])
        return Pattern(whole, table, coarse, np.where(whole, nodes, -1.0))

    def observed(self, signals: np.ndarray, noise: float = 0.0) -> np.ndarray:
        """Return signals (energy, …) as the dictionary holds them, float32 (pixel, energy).

        Those without data, NaN or 0, are NaN.
        """
        flat = np.ascontiguousarray(signals.reshape(len(signals), -1).T, np.float32)
        flat[~(flat > 0)] = np.nan
        if self.logarithmic:
            np.log(flat, out=flat)
            flat += np.float32(noise**2 / 2)  # the mean of the logarithm of noise
        return flat


@dataclass(frozen=True, eq=False)
class Observed:
    """What is compared with a dictionary.

    Attributes
    ----------
    values
        Logarithms of signals along the first directions of the spectrum, which hold all that
        layers can change, float32 (pixel, component).
    variance
        Of each of them, float64 (pixel).
    """

    values: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, dictionary: Dictionary, signals: np.ndarray, noise: float) -> "Observed":
        """Return what is observed pixel by pixel in signals (energy, y, x)."""
        values = dictionary.observed(signals, noise)
        variance = dictionary.variance_of_components(noise)
        spectrum = dictionary.spectrum()
        number = spectrum.seen(sqrt(variance), _SEEN)
        return cls(spectrum.scores(values, number), np.full(len(values), variance))


@dataclass(frozen=True, eq=False)
class Fitted:
    """What layers are likely to be at each pixel.

    Attributes
    ----------
    thickness
        The most likely ones in nm, float32 (layer, pixel).
    errors
        How far from it, with 68.27 %, a layer's thickness is in nm, if it is there, float32
        (layer, pixel).
    """

    thickness: np.ndarray
    errors: np.ndarray


def most_likely(dictionary: Dictionary, seen: Observed, absent: float) -> Fitted:
    """Return the most likely thicknesses, and their standard errors.

    Parameters
    ----------
    dictionary
        Of logarithms.
    seen
        What is observed.
    absent
        Probability beforehand that a layer is not there at a pixel.

    Notes
    -----
    Each pattern of layers is fitted, and that of the most evidence is taken: of its likelihood,
    times the share of the prior range that is as likely (Laplace), at most 1. What a layer's
    thickness is likely to be, if it is there, is the sum of a Gaussian for each pattern that has
    the layer, by its evidence: of the Fisher information and the even prior, about the fit, or as
    far beyond the table as signals say, and cut off there.
    """
    pieces = [
        _most_likely(dictionary, Observed(*part), absent)
        for part in zip(_pieces(seen.values), _pieces(seen.variance), strict=True)
    ]
    return Fitted(*np.concatenate(pieces, axis=-1))


def _pieces(values: np.ndarray) -> list[np.ndarray]:
    return [values[k : k + _PIECE] for k in range(0, len(values), _PIECE)]


def _most_likely(dictionary: Dictionary, seen: Observed, absent: float) -> np.ndarray:
    """Return the thicknesses and errors of a piece in nm, float32 (2, layer, pixel)."""
    tables = dictionary.reduced(seen.values.shape[1])
    patterns, beforehand = zip(*_possible(tables, len(dictionary.most), absent), strict=True)
    fits = [pattern.described(seen) for pattern in patterns]
    evidence = np.array([f.evidence + b for f, b in zip(fits, beforehand, strict=True)])
    best = np.argmax(np.nan_to_num(evidence, nan=-np.inf), axis=0)
    taken = np.choose(best[:, np.newaxis], [fit.places for fit in fits])
    nanometres = np.empty((2, len(dictionary.most), len(taken)), np.float32)
    for i, step in enumerate(dictionary.steps):
        present = np.array([bool(pattern.present[i]) for pattern in patterns])
        centres, widths = (
            np.array([getattr(fit, name)[:, i] for fit in fits]) for name in ("centres", "widths")
        )
        place, wide = np.ascontiguousarray(taken[:, i]), np.empty(len(taken))
        span = patterns[0].table.shape[i] - 1
        kernels.half_widths(place, centres, widths, evidence, present, span, wide)
        nanometres[:, i] = place * step, wide * step
    return nanometres


def _possible(
    patterns: Sequence[Pattern], layers: int, absent: float
) -> Iterator[tuple[Pattern, float]]:
    """Iterate over patterns and the logarithms of their probabilities beforehand."""
    for pattern in patterns:
        there = int(pattern.present.sum())
        if absent > 0:
            yield pattern, there * log(1 - absent) + (layers - there) * log(absent)
        elif there == layers:
            yield pattern, 0.0


def regularised(dictionary: Dictionary, signals: np.ndarray, regularisation: float) -> np.ndarray:
    """Return thicknesses in nm, float32 (layer, pixel), by least squares after Tikhonov.

    The sum of squared differences of the signals, and `regularisation` times that of the
    thicknesses relative to the largest ones, is the least.

    Parameters
    ----------
    dictionary
        Of signals as they are.
    signals
        (energy, y, x).
    regularisation
        Factor.
    """
    layers = len(dictionary.most)
    pattern = dictionary.patterns()[0]
    spans = np.array(pattern.table.shape[:-1]) - 1
    ridge = np.where(spans > 0, regularisation / np.maximum(spans, 1) ** 2, 0.0)
    values = dictionary.observed(signals)
    places, _ = pattern.fit(values, ridge, np.zeros(len(values)))
    return np.ascontiguousarray((places[:, :layers] * dictionary.steps).T, np.float32)


def misfits(
    dictionary: Dictionary, signals: np.ndarray, thickness: np.ndarray, noise: float
) -> np.ndarray:
    """Return the mean square (y, x) of what is left of signals, float32, in that of the noise.

    It is about 1 where the model and the noise are those of the signals.
    """
    expected = modelled(dictionary.forward, thickness, np.array(dictionary.energies))
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = signals / expected - 1
    free = max(len(signals) - len(thickness), 1)
    found = (rest**2).sum(axis=0, dtype=np.float64) / free / dictionary.variance(noise)
    return np.asarray(found, np.float32)
