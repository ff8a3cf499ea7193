"""A network of layers made: trained on films, judged by others, and written with its card."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...microtomography.forward import ALUMINIUM_ON_GOLD, FORWARDS
from ...pieces.validity import LAYERS
from ..making import is_made, told_training
from ..models import Model, open_model
from ..training import Training
from .networks import LayerNetwork
from .samples import ONE_SIGMA, Films, FilmSample
from .weights import LoadedLayers

_NOISES = (0.005, 0.01, 0.02, 0.05)
_TESTED = 6  # strides along y and x of the guesses that test a model when it is loaded


@dataclass(frozen=True, eq=False)
class Judged:
    """What is said of a film (layer, y, x), relative to the largest thickness."""

    sample: FilmSample
    thickness: np.ndarray
    error: np.ndarray

    @classmethod
    def of(cls, loaded: LoadedLayers, sample: FilmSample) -> "Judged":
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


def make_layers_model(
    folder: Path,
    training: Training[Films, LayerNetwork],
    unseen: Films,
    rounds: int,
    *,
    name: str,
    licence: str,
    tell: Callable[[int, int, float], None],
) -> Model:
    """Train a network, judge it, and write it, unless that is done already.

    Parameters
    ----------
    folder
        That the model is written to.
    training
        Which may have been begun before.
    unseen
        Films of another seed, which the network is judged by.
    rounds
        How many of each relief, model and noise, and as many that set the scale of its errors.
    name, licence
        Of the model, as its card says.
    tell
        As for `Training.run`.
    """
    if is_made(folder, training, {"name": name, "licence": licence}):
        return open_model(folder)
    network = training.run(tell).cpu().eval()
    films = training.samples
    first, second = (_drawn(unseen, rounds, part) for part in (0, 1))
    loaded = LoadedLayers(network, 1.0)
    ratios = np.concatenate([Judged.of(loaded, sample).ratios() for sample in first])
    temperature = float(f"{np.quantile(ratios, ONE_SIGMA):.4g}")
    judged = [Judged.of(LoadedLayers(network, temperature), sample) for sample in second]
    card = {
        "name": name,
        "task": LAYERS,
        "voltages": [],
        "pixel_size": None,
        "thickness": None,
        "gap": None,
        "materials": {},
        "electrons_per_pixel": None,
        "noise": list(films.noise),
        "temperature": temperature,
        "errors": errors_of(judged),
        "seconds_per_megavoxel": _pace(loaded, second[0].guesses),
        "licence": licence,
        "training": told_training(training)
        | {"data": asdict(films), "validation": asdict(unseen) | {"rounds": rounds}},
    }
    loaded = LoadedLayers.of(network, card)
    loaded.write(folder, network, card, {"guesses": _corner(second[0], network)})
    return open_model(folder)


def _drawn(unseen: Films, rounds: int, part: int) -> list[FilmSample]:
    """Return films of all conditions."""
    return [
        unseen.film(np.random.default_rng((unseen.seed, part, number, k)), *condition)
        for number in range(rounds)
        for k, condition in enumerate(unseen.conditions(_NOISES))
    ]


def errors_of(judged: Sequence[Judged]) -> dict[str, Any]:
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


def _summary(judged: Sequence[Judged]) -> dict[str, Any]:
    errors = [one.errors() for one in judged]
    means = {
        name: np.mean([error[name] for error in errors], axis=0).round(4).tolist()
        for name in errors[0]
    }
    ratios = np.concatenate([one.ratios() for one in judged])
    return means | {"inside": round(float((ratios <= 1).mean()), 4)}


def _pace(loaded: LoadedLayers, guesses: np.ndarray) -> float:
    """Return seconds that one core takes for a million pixels of a layer."""
    loaded.predict(guesses)  # the first time, memory is taken
    begun = time.perf_counter()
    loaded.predict(guesses)
    return float(f"{(time.perf_counter() - begun) / (guesses[:, 0].size / 1e6):.3g}")


def _corner(sample: FilmSample, network: LayerNetwork) -> np.ndarray:
    """Return a small part of a film's guesses."""
    length = _TESTED * network.architecture.stride
    return np.ascontiguousarray(sample.guesses[..., :length, :length])
