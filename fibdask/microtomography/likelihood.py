"""What layers are likely to be at each pixel, of what is observed there."""

from dataclasses import dataclass
from math import log
from typing import Literal

import numpy as np

from ._kernels.posterior import PLACES, half_widths
from .dictionary import Dictionary, Observed
from .forward import modelled
from .tables import LAYERS, Basis, Fits, Table

Errors = Literal["likelihood", "curvature"]
"""What tells how sure thicknesses are; see `most_likely`."""
_TRUST = 1e-30
_PIECE = 2**12  # pixels
PIECE_BYTES = 2**26
"""What telling the layers of a piece of the pixels takes, with the tables."""
_NEGLIGIBLE = 5.0  # of the logarithm of evidence below that of the best pattern


@dataclass(frozen=True, eq=False)
class Fitted:
    """What layers are likely to be at each pixel.

    Attributes
    ----------
    thickness
        The most likely ones in nm, float32 (layer, pixel).
    errors
        How far from it, with 68.27 %, a layer's thickness is in nm, if it is there, float32
        (layer, pixel); None where they were not asked for.
    """

    thickness: np.ndarray
    errors: np.ndarray | None = None

    def maps(self) -> list[np.ndarray]:
        """Return what there is of both."""
        return [self.thickness] if self.errors is None else [self.thickness, self.errors]


def most_likely(
    dictionary: Dictionary, seen: Observed, absent: float, *, errors: Errors | None = "likelihood"
) -> Fitted:
    """Return the most likely thicknesses, and their standard errors if they are asked for.

    Parameters
    ----------
    dictionary
        Of logarithms.
    seen
        What is observed.
    absent
        Probability beforehand that a layer is not there at a pixel.
    errors
        What tells them: the `likelihood` along each layer, or its `curvature` at the fit alone,
        five times as fast, of which networks learn what it means.

    Notes
    -----
    Each pattern of layers is fitted, and that of the most evidence is taken: of its likelihood,
    times the share of the prior range that is as likely (Laplace), at most 1. What a layer's
    thickness is likely to be, if it is there, is the sum over patterns that have the layer of the
    likelihood along it: followed from the fit on to where it is negligible or the table ends, the
    other layers integrated as the Gaussian that they are there (Laplace).
    """
    possible = _Patterns.of(dictionary, seen.basis, absent)
    parts = [slice(k, k + _PIECE) for k in range(0, len(seen.values), _PIECE)]
    pieces = [
        possible.fitted(seen.values[part], seen.variance[part], seen.spread[part], errors)
        for part in parts
    ]
    thickness, widths = (np.concatenate(maps, axis=1) for maps in zip(*pieces, strict=True))
    return Fitted(thickness, widths if errors else None)


@dataclass(frozen=True, eq=False)
class _Patterns:
    """The patterns of layers that are possible.

    Attributes
    ----------
    tables
        Of each.
    beforehand
        Logarithms of their probabilities (pattern).
    steps
        Thickness in nm between nodes (layer).
    """

    tables: list[Table]
    beforehand: np.ndarray
    steps: np.ndarray

    @classmethod
    def of(cls, dictionary: Dictionary, basis: Basis, absent: float) -> "_Patterns":
        """Return those of layers that are absent with a probability."""
        layers = len(dictionary.most)
        tables = dictionary.tables(basis)
        if absent == 0:
            return cls(tables[:1], np.zeros(1), dictionary.steps)
        there = np.array([table.present.sum() for table in tables])
        beforehand = there * log(1 - absent) + (layers - there) * log(absent)
        return cls(tables, beforehand, dictionary.steps)

    def fitted(
        self,
        values: np.ndarray,
        variance: np.ndarray,
        spread: np.ndarray,
        errors: Errors | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the thicknesses of a piece in nm, and their errors, float32 (layer, pixel)."""
        fits = [table.fit(values, variance, np.zeros(LAYERS)) for table in self.tables]
        evidence = self._evidence(fits, 1.0)
        best = np.argmax(np.nan_to_num(evidence, nan=-np.inf), axis=0)
        taken = np.choose(best[:, np.newaxis], [fit.places for fit in fits])
        nanometres = np.empty((2, len(self.steps), len(taken)), np.float32)
        likely = self._evidence(fits, spread) if errors else evidence
        for layer, step in enumerate(self.steps):
            place = np.ascontiguousarray(taken[:, layer])
            nanometres[0, layer] = place * step
            if errors == "likelihood":
                widths = self._widths(values, variance * spread, fits, likely, layer, place)
                nanometres[1, layer] = widths * step
            elif errors:
                nanometres[1, layer] = self._curved(values, variance, fits, evidence, layer) * step
        return nanometres[0], nanometres[1]

    def _evidence(self, fits: list[Fits], spread: np.ndarray | float) -> np.ndarray:
        """Return logarithms of what patterns are likely (pattern, pixel)."""
        told = [np.log(np.maximum(fit.shares, _TRUST)) - fit.squares / (2 * spread) for fit in fits]
        return np.asarray(np.array(told) + self.beforehand[:, np.newaxis])

    def _having(self, layer: int) -> list[int]:
        """Return the numbers of the patterns that have a layer."""
        return [k for k, table in enumerate(self.tables) if table.present[layer]]

    def _curved(
        self,
        values: np.ndarray,
        variance: np.ndarray,
        fits: list[Fits],
        evidence: np.ndarray,
        layer: int,
    ) -> np.ndarray:
        """Return standard errors of a layer in nodes, of the likeliest pattern with it (pixel)."""
        having = self._having(layer)
        best = np.argmax(np.nan_to_num(evidence[having], nan=-np.inf), axis=0)
        widths = np.empty(len(values))
        for n, k in enumerate(having):
            self.tables[k].curve(values, variance, fits[k], layer, best == n, widths)
        return widths

    def _widths(
        self,
        values: np.ndarray,
        variance: np.ndarray,
        fits: list[Fits],
        evidence: np.ndarray,
        layer: int,
        place: np.ndarray,
    ) -> np.ndarray:
        """Return how far a layer lies from a place in nodes, if it is there (pixel)."""
        having = self._having(layer)
        worth = evidence[having] > evidence[having].max(axis=0) - _NEGLIGIBLE
        shape = len(having), len(place)
        places, logarithms = (np.empty((*shape, PLACES)) for _ in range(2))
        counts = np.empty(shape, np.int64)
        for n, k in enumerate(having):
            room = places[n], logarithms[n], counts[n]
            self.tables[k].walk(values, variance, fits[k], layer, worth[n], room)
        spans = [np.array(self.tables[k].tangents.shape[:LAYERS]) - 1 for k in having]
        density = np.array([-np.log(np.maximum(span, 1)).sum() for span in spans])
        widths = np.empty(len(place))
        half_widths(place, places, logarithms, counts, self.beforehand[having] + density, widths)
        return widths


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
    table = dictionary.tables(Basis.whole(len(signals)))[0]
    spans = np.array(table.tangents.shape[:LAYERS]) - 1
    ridge = np.where(spans > 0, regularisation / np.maximum(spans, 1) ** 2, 0.0)
    values = dictionary.observed(signals)
    places = table.fit(values, np.ones(len(values)), ridge, least=0.0).places
    layers = len(dictionary.most)
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
