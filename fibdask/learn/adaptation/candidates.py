"""Networks fitted to a target: their statistics, their grey values, or what they agree on."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..greymaps import GreyMap, grey_maps, mapped_images
from ..models import GREY_MAP, Model
from ..networks import WindowNetwork
from ..samples import Sample
from ..training import Schedule, Training
from ..weights import read_windows, write_model
from .fitting import predicted, with_target_statistics
from .scoring import Score, score
from .selftraining import AgreedSamples, Descendant, agreed
from .target import Target

SHARES = (0.3, 0.6, 1.0)
"""Weights of the target in the means and variances of batch norms."""
EXPONENTS = (0.6, 1.7)
"""Powers of grey values that bend their scale, as detectors do that are not linear."""
_RATE = 2e-4
_BATCH = 4
_AVERAGE = 50  # steps
_CROP = 96  # pixels
_TESTED = 64  # pixels of the window that tests a model


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network that may be better for a target.

    Attributes
    ----------
    name
        Of what was done to it.
    network
        Not folded.
    maps
        Of grey values (voltage); none where they stay.
    score
        On the target.
    said
        Probability of solid on the slices of the target (z, y, x).
    """

    name: str
    network: WindowNetwork
    maps: tuple[GreyMap, ...]
    score: Score
    said: np.ndarray


@dataclass(frozen=True, eq=False)
class Fitting:
    """How candidates are made of a model.

    Attributes
    ----------
    parent
        The model.
    target
        What it is fitted to.
    state
        Folder that a self-training is taken up from.
    steps, seed
        Of a self-training.
    """

    parent: Model
    target: Target
    state: Path
    steps: int
    seed: int
    _said: dict[str, np.ndarray] = field(default_factory=dict)

    def candidates(self, *, self_training: bool) -> list[Candidate]:
        """Return the parent, and what was made of it."""
        network, inherited = read_windows(self.parent, "adapted"), self._inherited
        found = [self._candidate("parent", network, inherited)]
        found += self._of_statistics("", network, inherited)
        # Grey values are bent one way or the other; of what is better, statistics are fitted too.
        for exponent in () if inherited else EXPONENTS:
            maps = (GreyMap.power(exponent),) * len(self.target.images)
            bent = self._candidate(f"contrast {exponent:g}", network, maps)
            found.append(bent)
            if bent.score.total < found[0].score.total:
                found += self._of_statistics(f"{bent.name}, ", network, maps)
        if self_training:
            found.append(self._self_trained(min(found, key=lambda one: one.score.total)))
        return found

    def _of_statistics(
        self, name: str, network: WindowNetwork, maps: tuple[GreyMap, ...]
    ) -> list[Candidate]:
        """Return candidates whose batch norms have seen the target."""
        target = self._mapped(maps)
        return [
            self._candidate(
                f"{name}statistics {share:g}", with_target_statistics(network, target, share), maps
            )
            for share in SHARES
        ]

    def write(self, folder: Path, chosen: Candidate, told: Mapping[str, Any]) -> None:
        """Write a candidate as a model; its card is that of its parent but for what is told."""
        card = dict(self.parent.card) | {
            "name": f"{self.parent.name}-adapted",
            "adapted": dict(told),
        }
        card.pop(GREY_MAP, None)
        if chosen.maps:
            card[GREY_MAP] = [asdict(one) for one in chosen.maps]
        write_model(folder, chosen.network, card, self._test_window())

    def pictures(self, before: Candidate, after: Candidate) -> list[tuple[str, np.ndarray]]:
        """Return titled pictures (y, x) of the middle slice, from 0 to 1."""
        k = len(self.target) // 2
        middle = self.target.images[:, k]
        images = [
            (f"{kilovolts:g} kV", image)
            for kilovolts, image in zip(self.parent.card["voltages"], middle, strict=True)
        ]
        return [*images, ("solid before", before.said[k]), ("solid after", after.said[k])]

    def _candidate(self, name: str, network: WindowNetwork, maps: tuple[GreyMap, ...]) -> Candidate:
        target = self._mapped(maps)
        together, alone = predicted(network, target, float(self.parent.card["temperature"]))
        steps = target.step / target.pixel
        found = score(together, alone, steps, self._said.get("parent", together))
        self._said.setdefault("parent", together)
        return Candidate(name, network, maps, found, together)

    @property
    def _inherited(self) -> tuple[GreyMap, ...]:
        return grey_maps(self.parent.card)

    def _mapped(self, maps: tuple[GreyMap, ...]) -> Target:
        if not maps:
            return self.target
        voltages, slices = self.target.images.shape[:2]
        images = mapped_images(self.target.images, maps, np.ones(voltages, bool), np.zeros(slices))
        return replace(self.target, images=images)

    def _self_trained(self, first: Candidate) -> Candidate:
        target = self._mapped(first.maps)
        folded = deepcopy(first.network).fold()
        truth = agreed(folded, target, float(self.parent.card["temperature"]))
        crop = min(_CROP, *target.images.shape[-2:])
        drawn = {"window": target.window, "crop": crop, "planes": 2, "seed": self.seed}
        samples = AgreedSamples(target=target, truth=truth, **drawn)
        schedule = Schedule(
            steps=self.steps,
            batch=_BATCH,
            learning_rate=_RATE,
            average=_AVERAGE,
            seed=self.seed,
        )
        descendant = Descendant.of(first.network)
        training = Training(descendant, samples, schedule, self.state)
        network = _plain(training.run(lambda *_: None))
        return self._candidate(f"{first.name}, self-trained", network, first.maps)

    def _test_window(self) -> Sample:
        i = len(self.target) // 2
        window = self.target.sample(i)
        part = (..., slice(_TESTED), slice(_TESTED))
        images, truth = (np.ascontiguousarray(v[part]) for v in (window.images, window.truth))
        return Sample(images, window.present, window.distances, window.offsets, truth)


def _plain(network: WindowNetwork) -> WindowNetwork:
    """Return a network of the usual parts, with the weights of one that learnt with others."""
    with torch.random.fork_rng(devices=[]):
        plain = network.architecture.build()
    plain.load_state_dict(network.state_dict())
    return plain
