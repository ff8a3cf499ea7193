"""Networks of layers judged by films that they have not seen, and what a card says of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ...microtomography.forward import ALUMINIUM_ON_GOLD, FORWARDS
from ...pieces.validity import LAYERS
from ..making import Judged
from .networks import LayerNetwork
from .samples import ONE_SIGMA, Films, FilmSample
from .weights import LoadedLayers

_NOISES = (0.005, 0.01, 0.02, 0.05)
_TESTED = 6  # strides along y and x of the guesses that test a model when it is loaded


@dataclass(frozen=True, eq=False)
class JudgedFilm:
    """What is said of a film (layer, y, x), relative to the largest thickness."""

    sample: FilmSample
    thickness: np.ndarray
    error: np.ndarray

    @classmethod
    def of(cls, loaded: LoadedLayers, sample: FilmSample) -> "JudgedFilm":
        """Ask a network for a film."""
        thickness, error = loaded.predict(sample.guesses)
        return cls(sample, thickness, error)

    def ratios(self) -> np.ndarray:
        """Return how far off thicknesses are in their errors, where there is a layer (pixel)."""
        there = self.sample.truth > 0
        return np.asarray((np.abs(self.thickness - self.sample.truth) / self.error)[there])

    def errors(self) -> dict[str, np.ndarray]:
        """Return mean absolute errors in nm (layer) of the network, and of the guesses."""
        most = np.array([depth for _, depth in ALUMINIUM_ON_GOLD])
        guesses = self.sample.guesses
        said = {"network": self.thickness, "likelihood": guesses[:, 0], "smoothed": guesses[:, 2]}
        truth = self.sample.truth
        return {name: np.abs(v - truth).mean(axis=(1, 2)) * most for name, v in said.items()}


@dataclass(frozen=True, eq=False)
class FilmJudge:
    """Judges networks of layers by films that they have not seen.

    Attributes
    ----------
    films
        That they learn from.
    unseen
        Films of another seed.
    rounds
        How many of each relief, model and noise, and as many that set the scale of errors.
    """

    films: Films
    unseen: Films
    rounds: int

    def __call__(self, network: LayerNetwork) -> Judged:
        """Judge a network under all conditions."""
        loaded = LoadedLayers(network.cpu(), 1.0)
        first, second = (self._drawn(part) for part in (0, 1))
        ratios = np.concatenate([JudgedFilm.of(loaded, sample).ratios() for sample in first])
        temperature = float(f"{np.quantile(ratios, ONE_SIGMA):.4g}")
        loaded = replace(loaded, temperature=temperature)
        judged = [JudgedFilm.of(loaded, sample) for sample in second]
        card = {
            "task": LAYERS,
            "voltages": [],
            "pixel_size": None,
            "thickness": None,
            "gap": None,
            "materials": {},
            "electrons_per_pixel": None,
            "noise": list(self.films.noise),
            "temperature": temperature,
            "errors": errors_of(judged),
        }
        guesses = second[0].guesses
        part = (..., *(slice(_TESTED * network.architecture.stride),) * 2)
        shown, tested = {"guesses": guesses}, {"guesses": guesses[part]}
        return Judged(card, LoadedLayers, shown, guesses[:, 0].size, tested)

    def told(self) -> dict[str, Any]:
        """Return how films are drawn."""
        validation = asdict(self.unseen) | {"rounds": self.rounds}
        return {"data": asdict(self.films), "validation": validation}

    def _drawn(self, part: int) -> list[FilmSample]:
        """Return films of all conditions."""
        unseen = self.unseen
        return [
            unseen.film(np.random.default_rng((unseen.seed, part, number, k)), *condition)
            for number in range(self.rounds)
            for k, condition in enumerate(unseen.conditions(_NOISES))
        ]


def errors_of(judged: Sequence[JudgedFilm]) -> dict[str, Any]:
    """Return errors of a network, all and by model and noise.

    `relative` is the mean of its errors in those of the smoothed likelihood; `inside` the share of
    pixels with a layer that lie within one standard error.
    """
    rows = []
    for forward in FORWARDS:
        for noise in _NOISES:
            row = {"forward": forward, "noise": noise}
            films = [one for one in judged if row.items() <= vars(one.sample).items()]
            rows.append(row | _summary(films))
    relative = np.mean(
        [np.divide(row["network"], row["smoothed"]).mean() for row in rows]  # of both layers
    )
    return {
        "relative": round(float(relative), 4),
        "inside": _summary(judged)["inside"],
        "conditions": rows,
    }


def _summary(judged: Sequence[JudgedFilm]) -> dict[str, Any]:
    errors = [one.errors() for one in judged]
    means = {
        name: np.mean([error[name] for error in errors], axis=0).round(4).tolist()
        for name in errors[0]
    }
    ratios = np.concatenate([one.ratios() for one in judged])
    return means | {"inside": round(float((ratios <= 1).mean()), 4)}
