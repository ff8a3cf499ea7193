"""Signals of all thicknesses of some layers, and what is compared with them.

Noise is a share of the signal, so that logarithms differ from those of the dictionary by a
Gaussian of the same width at all energies, up to the square of the share.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import sqrt
from typing import Self

import numpy as np

from ..blocks import fingerprint, load_once
from ._kernels.smoothing import project
from .forward import Forward
from .tables import LAYERS, Basis, Table

_NODES = {1: 241, 2: 81, 3: 33}  # thicknesses of a layer, by the number of layers
_HARDLY = 1e-9  # nm, of a layer that is there: models may change abruptly where it is not
_LEAST_SHARE = 2e-4  # of noise: smaller differences are those of the dictionary
_SEEN = 0.05  # least range of a component of signals, in their noise, that fits look at


@dataclass(frozen=True, eq=False)
class Pattern:
    """Signals where some of the layers are, and the others are not.

    Attributes
    ----------
    present
        Which layers are, bool (layer).
    values
        Float32 (layer 1, layer 2, layer 3, energy); of absent layers one node.
    """

    present: np.ndarray
    values: np.ndarray


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
    covariance
        Of errors of the entries (energy, energy).
    """

    mean: np.ndarray
    directions: np.ndarray
    ranges: np.ndarray
    covariance: np.ndarray

    def basis(self, number: int) -> Basis:
        """Return that of the first components, turned so that errors of each are its own."""
        first = self.directions[:number]
        errors, turned = np.linalg.eigh(first @ self.covariance @ first.T)
        directions = np.ascontiguousarray(turned.T @ first)
        return Basis(self.mean, directions, np.maximum(errors, 0).astype(np.float32))

    def seen(self, std: float, share: float, most: int | None = None) -> int:
        """Return how many components range over more than a share of a noise; one at least."""
        number = max(int((self.ranges > share * std).sum()), 1)
        return number if most is None else min(number, most)

    @classmethod
    def of(cls, patterns: Sequence[Pattern], covariance: np.ndarray) -> "Spectrum":
        """Return the spectrum of patterns."""
        entries = np.concatenate([p.values.reshape(-1, p.values.shape[-1]) for p in patterns])
        mean = entries.mean(axis=0, dtype=np.float64)
        apart = entries - mean
        _, directions = np.linalg.eigh(apart.T @ apart)
        directions = np.ascontiguousarray(directions.T[::-1])
        return cls(mean, directions, np.ptp(apart @ directions.T, axis=0), covariance)


@dataclass(frozen=True, eq=False)
class _Made:
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
        errors = np.diag(self.spectrum().covariance).mean()
        return max(noise**2 + float(errors), _LEAST_SHARE**2)

    def tables(self, basis: Basis) -> list[Table]:
        """Return a table of the components of each pattern of layers, that of all first."""
        patterns = self._made().patterns  # before the lock that they are made under is taken again

        def make() -> list[Table]:
            return [Table.of(pattern.present, pattern.values, basis) for pattern in patterns]

        return load_once(fingerprint("tables of layers", self, len(basis.directions)), make)

    def spectrum(self) -> Spectrum:
        """Return what values can be like at all."""
        return self._made().spectrum

    def _made(self) -> _Made:
        return load_once(fingerprint("layers", self), self._make)

    def _make(self) -> _Made:
        layers = len(self.most)
        patterns = [self._pattern(present) for present in product((True, False), repeat=layers)]
        covariance = self.forward.covariance(np.array(self.energies))
        return _Made(patterns, Spectrum.of(patterns, covariance))

    def _pattern(self, present: tuple[bool, ...]) -> Pattern:
        layers = len(self.most)
        counts = [_NODES[layers] if there else 1 for there in present]
        axes = [np.arange(n) * step for n, step in zip(counts, self.steps, strict=True)]
        films = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")])
        films[np.array(present)] = np.maximum(films[np.array(present)], _HARDLY)
        signals = self.forward.signals(films, np.array(self.energies))
        values = np.log(signals) if self.logarithmic else signals
        lacking = LAYERS - layers
        table = np.ascontiguousarray(values.T, np.float32).reshape(*counts, *(1,) * lacking, -1)
        return Pattern(np.array([*present, *(False,) * lacking]), table)

    def observed(self, signals: np.ndarray, noise: float = 0.0) -> np.ndarray:
        """Return signals (energy, …) as the dictionary holds them, float32 (pixel, energy).

        Those without data, NaN or 0, are NaN.
        """
        # A copy even of one energy or one pixel: other functions read the same block.
        flat = np.array(signals.reshape(len(signals), -1).T, np.float32, order="C")
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
    basis
        Of the components that layers can change.
    values
        Logarithms of signals along them, float32 (pixel, component).
    variance
        Of the noise of each of them, float64 (pixel).
    spread
        What they vary in that variance, where they are less sure, float64 (pixel); errors follow.
    """

    basis: Basis
    values: np.ndarray
    variance: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, dictionary: Dictionary, signals: np.ndarray, noise: float) -> "Observed":
        """Return what is observed pixel by pixel in signals (energy, y, x)."""
        spectrum = dictionary.spectrum()
        basis = spectrum.basis(spectrum.seen(sqrt(dictionary.variance(noise)), _SEEN))
        flat = dictionary.observed(signals, noise)
        values = np.empty((len(flat), len(basis.directions)), np.float32)
        project(flat, basis.mean, basis.directions, values)
        return cls(basis, values, np.full(len(values), variance_of(noise)), np.ones(len(values)))

    def cut(self, plane: tuple[int, ...], inside: tuple[slice, ...]) -> Self:
        """Return what is observed in a part of a plane (y, x)."""

        def part(maps: np.ndarray) -> np.ndarray:
            kept = maps.reshape(*plane, *maps.shape[1:])[inside]
            return np.ascontiguousarray(kept.reshape(-1, *maps.shape[1:]))

        return replace(
            self, values=part(self.values), variance=part(self.variance), spread=part(self.spread)
        )


def variance_of(noise: float) -> float:
    """Return the variance of logarithms of signals of a noise, or of the dictionary's rounding."""
    return max(noise**2, _LEAST_SHARE**2)
