"""Films to learn from, made when they are asked for: reliefs, signals, and guesses of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import exp, log

import numpy as np
import torch

from ...microtomography.dictionary import Dictionary
from ...microtomography.forward import (
    ALUMINIUM_ON_GOLD,
    FORWARDS,
    Forward,
    ForwardName,
    MonteCarlo,
    find_forward,
    modelled,
)
from ...microtomography.guesses import guessed
from ...microtomography.signals import BEAM_ENERGIES
from ...simulate import layered_film
from ...simulate.structures.layered_film import RELIEFS
from ..samples import oriented
from ..training import autocast
from .networks import LayerNetwork

ONE_SIGMA = 0.6827
"""Share of pixels that lie within their errors."""
_ORDER, _FILM = 0, 1  # what of films is drawn
_ABSENT = 0.5
_FEATURES = (160.0, 1500.0)  # nm, of pixels of 10 nm
_BARE = (0.2, 0.7)
_TERRACES = (3, 20)
_EVERY = (1, 3)  # of the energies of the beam that signals have


@dataclass(frozen=True, eq=False)
class FilmSample:
    """A film.

    Attributes
    ----------
    guesses
        As of `guessed`, float32 (layer, map, y, x).
    truth
        Thickness relative to the largest, float32 (layer, y, x).
    relief, forward, noise
        What it is.
    """

    guesses: np.ndarray
    truth: np.ndarray
    relief: str
    forward: str
    noise: float


@dataclass(frozen=True)
class Films:
    """Films in all orientations, by their number: each is made of that and a seed alone.

    Attributes
    ----------
    count
        Of films, which are kept once they are made.
    side
        Pixels along y and x.
    noise
        Least and most share of the signals.
    smoothing
        Radius in pixels of the smoothed guesses.
    seed
        Of all films.
    """

    count: int
    side: int
    noise: tuple[float, float]
    smoothing: float
    seed: int

    def __getitem__(self, number: int) -> FilmSample:
        """Return a film in an orientation."""
        rng = np.random.default_rng((self.seed, _ORDER, number))
        sample = _kept(self, int(rng.integers(self.count)))
        guesses, truth = oriented(sample.guesses, sample.truth, rng)
        return replace(sample, guesses=guesses, truth=truth)

    def made(self, number: int) -> FilmSample:
        """Return a film of any relief, model and noise."""
        rng = np.random.default_rng((self.seed, _FILM, number))
        relief = RELIEFS[int(rng.integers(len(RELIEFS)))]
        forward = FORWARDS[int(rng.integers(len(FORWARDS)))]
        noise = _between(rng, self.noise)
        return self.film(rng, relief, forward, noise)

    def conditions(self, noises: tuple[float, ...]) -> Iterator[tuple[str, ForwardName, float]]:
        """Iterate over all reliefs, models and some noises."""
        yield from product(RELIEFS, FORWARDS, noises)

    def film(
        self, rng: np.random.Generator, relief: str, forward: ForwardName, noise: float
    ) -> FilmSample:
        """Return a film of a relief, whose signals are made by a model, and read with it."""
        layers = ALUMINIUM_ON_GOLD
        most = np.array([depth for _, depth in layers], np.float32)[:, np.newaxis, np.newaxis]
        energies = BEAM_ENERGIES[:: _EVERY[int(rng.integers(len(_EVERY)))]]
        model = find_forward(forward, layers, "Si")
        truth = self._relief(rng, relief, most)
        signals = modelled(_made_anew(model, rng), truth, np.array(energies))
        noisy = signals * np.maximum(1 + noise * rng.normal(size=signals.shape), 0)
        dictionary = Dictionary(model, energies)
        guesses = guessed(dictionary, noisy.astype(np.float32), noise, _ABSENT, self.smoothing)
        return FilmSample(guesses, truth / most, relief, forward, noise)

    def _relief(self, rng: np.random.Generator, relief: str, most: np.ndarray) -> np.ndarray:
        """Return thicknesses in nm, float32 (layer, y, x)."""
        film = layered_film(
            (1, self.side, self.side),
            layers=[(name, 0.0, depth) for name, depth in ALUMINIUM_ON_GOLD],
            relief=relief,  # type: ignore[arg-type]
            feature_size=_between(rng, _FEATURES),
            terraces=int(rng.integers(*_TERRACES, endpoint=True)),
            bare=float(rng.uniform(*_BARE)),
            seed=int(rng.integers(2**32)),
        )
        found = film["layer_thickness"].compute(scheduler="sync").values
        return np.asarray(np.minimum(found, most), np.float32)


@lru_cache(maxsize=4096)
def _kept(films: Films, number: int) -> FilmSample:
    return films.made(number)


def _between(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    """Draw a number between two, whose logarithm is even."""
    low, high = map(log, ends)
    return exp(rng.uniform(low, high))


def _made_anew(model: Forward, rng: np.random.Generator) -> Forward:
    """Return a model as it might be just as well, if its table was made of other electrons."""
    if not isinstance(model, MonteCarlo):
        return model
    return replace(model, table=model.table.redrawn(rng))


@dataclass(frozen=True, eq=False)
class FilmBatch:
    """Films as tensors, each layer by itself.

    Attributes
    ----------
    guesses
        (batch, map, y, x).
    truth
        (batch, y, x).
    """

    guesses: torch.Tensor
    truth: torch.Tensor

    @classmethod
    def of(cls, samples: list[FilmSample], device: torch.device) -> "FilmBatch":
        """Put films together."""
        arrays = (
            np.concatenate([getattr(s, name) for s in samples]) for name in ("guesses", "truth")
        )
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))

    def loss(self, network: LayerNetwork) -> torch.Tensor:
        """Return how unlikely the truth is, and how far errors are from what they should be.

        Thicknesses are judged by Student's distribution, whose tails, of three degrees of freedom,
        bear what is far off at edges; errors, where there is a layer, by the quantile that they
        are, the loss of which is least where 68.27 % of what looks alike lie within (R. Koenker,
        G. Bassett, 1978). Pixels count by the root of their errors (M. Seitzer et al., ICLR 2022),
        else those of which little is known would hardly count.
        """
        with autocast(self.truth.device):
            found, error = network(self.guesses)
        sure, off = error.detach(), found - self.truth
        unlikeliness = 2 * (1 + (off / sure).square() / 3).log()
        beyond = off.detach().abs() - error
        astray = torch.maximum(ONE_SIGMA * beyond, (ONE_SIGMA - 1) * beyond) / sure
        astray = astray * (self.truth > 0)
        weight = sure.sqrt()
        loss: torch.Tensor = (weight * (unlikeliness + astray)).sum() / weight.sum()
        return loss
