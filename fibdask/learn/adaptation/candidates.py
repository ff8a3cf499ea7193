"""Networks fitted to a target: statistics, grey values, what they agree on, images like it."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import wasserstein_distance

from ...blocks import fingerprint
from ...conventions import ConventionError, FibdaskWarning
from ...pieces.validity import learnt_aslant
from ..greymaps import GREY_MAP, GreyMap, grey_maps, mapped_images
from ..models import Model
from ..networks import WindowNetwork
from ..training import Decline, Schedule, Training
from ..weights import read_windows, write_model
from .explaining import Explanation
from .fitting import predicted, with_target_statistics
from .scoring import Score, score
from .seen import Structure, simulators
from .selftraining import AgreedSamples, Descendant, agreed
from .simulation import SimulatedSamples, wrong_voxels
from .source import Source
from .target import Target
from .translation import STRIDE, CycleDesign, UnpairedBatch, UnpairedSamples, translated

SHARES = (0.3, 0.6, 1.0)
"""Weights of the target in the means and variances of batch norms."""
EXPONENTS = (0.6, 1.7)
"""Powers of grey values that bend their scale, as detectors do that are not linear."""
SELF_TRAINING, SIMULATION, TRANSLATION = "self_training", "simulation", "translation"
"""Methods by which a candidate is trained, beside those that are only fitted."""
_RATE = 2e-4
_PATCH = 128  # pixels of what is translated in a step, as published
_LEARNING = 4  # steps of a translation for each of the network that learns from its images
_BATCH = 4
_AVERAGE = 50  # steps
_CROP = 96  # pixels
_ROUNDS = 2  # of simulations: what the first has taught sees what structures are like better
_SIMULATED_RATE = 6e-4
_SIMULATED_CROP = 64  # pixels
_EXPLAINED = 128  # pixels along y and x


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
class Root:
    """The first candidate of some grey values, and the test that others of these are compared by.

    Attributes
    ----------
    score
        Of the candidate.
    seen, explanation
        What it sees in the middle of the target, and how images came from that.
    samples
        Of simulated images, that test.
    """

    score: Score
    seen: Structure
    explanation: Explanation
    samples: SimulatedSamples


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
        Folder that trainings are taken up from.
    steps
        Of those of the methods that train, `self_training`, `simulation` and `translation`, that
        are wanted.
    seed
        Of them.
    tell
        Told how far it is: of candidates that are only fitted, then of each training.
    """

    parent: Model
    target: Target
    state: Path
    steps: Mapping[str, int]
    seed: int
    tell: Callable[..., None] = lambda *_: None
    _said: dict[str, np.ndarray] = field(default_factory=dict)
    _roots: dict[tuple[GreyMap, ...], Root] = field(default_factory=dict)

    def candidates(self) -> Iterator[Candidate]:
        """Iterate over the parent, what was fitted of it, and what has learnt."""
        parent, inherited = self.parent, self._inherited
        network = read_windows(parent.folder, parent.card, "adapted")
        found: list[Candidate] = []
        most = 1 + len(SHARES) + (0 if inherited else len(EXPONENTS) * (1 + len(SHARES)))
        for one in self._untrained(network, inherited):
            found.append(one)
            self.tell(len(found), most)
            yield one
        best = self.beginning(found)
        if SELF_TRAINING in self.steps:
            yield self._self_trained(best)
        if SIMULATION in self.steps:
            yield from self._taught_by_simulations(best)
        if TRANSLATION in self.steps and (made := self._translated_images()) is not None:
            yield self._candidate(TRANSLATION, self._taught(network, made), inherited)

    def _untrained(
        self, network: WindowNetwork, inherited: tuple[GreyMap, ...]
    ) -> Iterator[Candidate]:
        parent = self._candidate("parent", network, inherited)
        yield parent
        yield from self._of_statistics("", network, inherited)
        # Grey values are bent one way or the other; of what is better, statistics are fitted too.
        for exponent in () if inherited else EXPONENTS:
            maps = (GreyMap.power(exponent),) * len(self.target.images)
            bent = self._candidate(f"contrast {exponent:g}", network, maps)
            yield bent
            if bent.score.total < parent.score.total:
                yield from self._of_statistics(f"{bent.name}, ", network, maps)

    def beginning(self, found: Sequence[Candidate]) -> Candidate:
        """Return the one that trainings begin with: of those whose grey values are explained.

        Without truth, bent ones may score better than those of the detector; but what learns from
        images that are simulated like them sees worse.
        """
        return min(filter(self._is_explained, found), key=lambda one: one.score.total)

    def _is_explained(self, candidate: Candidate) -> bool:
        """Tell whether its grey values are the given ones, or come rather from what it sees."""
        given, own = (self._roots.get(maps) for maps in (self._inherited, candidate.maps))
        if candidate.maps == self._inherited or given is None:
            return True
        return own is not None and own.explanation.rest < given.explanation.rest

    def _of_statistics(
        self, name: str, network: WindowNetwork, maps: tuple[GreyMap, ...]
    ) -> Iterator[Candidate]:
        """Iterate over candidates whose batch norms have seen the target."""
        target = self._mapped(maps)
        for share in SHARES:
            fitted = with_target_statistics(network, target, share)
            yield self._candidate(f"{name}statistics {share:g}", fitted, maps)

    def write(self, folder: Path, chosen: Candidate, told: Mapping[str, Any]) -> None:
        """Write a candidate as a model; its card is that of its parent but for what is told."""
        card = dict(self.parent.card) | {
            "name": f"{self.parent.name}-adapted",
            "adapted": dict(told),
        }
        card.pop(GREY_MAP, None)
        if chosen.maps:
            card[GREY_MAP] = [asdict(one) for one in chosen.maps]
        write_model(folder, chosen.network, card, self.target.sample(len(self.target) // 2))

    @property
    def images_told(self) -> dict[str, Any]:
        """How images came from what the given model sees; nothing where none simulates such."""
        found = self._roots.get(self._inherited)
        return found.explanation.told() if found else {}

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
        given = self._said.setdefault("parent", together)
        if not (given > 0.5).any():
            msg = (
                f"model {self.parent.name} finds no solid in the middle of the stack, by which "
                "candidates are scored: adapt it to a part with solid, or choose another model"
            )
            raise ConventionError(msg)
        found = score(together, alone, steps, given)
        found = self._tested(found, network, maps)
        return Candidate(name, network, maps, found, together)

    def _tested(self, found: Score, network: WindowNetwork, maps: tuple[GreyMap, ...]) -> Score:
        """Return the score of a network that was tested, if images like the target can be made."""
        temperature, folded = float(self.parent.card["temperature"]), deepcopy(network).fold()
        if (root := self._roots.get(maps)) is not None:
            return found.compared(root.score, wrong_voxels(folded, root.samples, temperature))
        target = self._mapped(maps).middle(_EXPLAINED)
        try:
            seen, told = self._explained(network, target)
        except ConventionError:  # nothing simulates such images
            if SIMULATION in self.steps:
                raise
            return found
        drawn = self._drawn(target, _CROP)
        samples = SimulatedSamples.like(self.parent, seen, told, whole=1.0, **drawn)
        found = replace(found, tested=wrong_voxels(folded, samples, temperature))
        self._roots[maps] = Root(found, seen, told, samples)
        return found

    def _explained(self, network: WindowNetwork, target: Target) -> tuple[Structure, Explanation]:
        """Return what a network sees in a target, and how images came from that."""
        folded = deepcopy(network).fold()
        seen = Structure.seen(folded, target, float(self.parent.card["temperature"]))
        return seen, Explanation.of(self.parent, target, seen, simulators(self.parent, seen))

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
        samples = self.agreed_samples(first)
        schedule = self._schedule(self.steps[SELF_TRAINING], _BATCH)
        made_of = self._made_of(SELF_TRAINING, first.name)
        training = Training(
            Descendant.of(first.network), samples, schedule, self.state, made_of=made_of
        )
        network = _plain(training.run(self.tell))
        return self._candidate(f"{first.name}, self-trained", network, first.maps)

    def agreed_samples(self, first: Candidate) -> AgreedSamples:
        """Return samples of the target, and of them what views of a candidate agree on.

        Of a beam that was tilted about x, images that are mirrored along y are none that the
        network knows.
        """
        target, temperature = self._mapped(first.maps), float(self.parent.card["temperature"])
        mirrored = (-1,) if learnt_aslant(self.parent.card) else (-2, -1)
        truth = agreed(deepcopy(first.network).fold(), target, temperature, mirrored=mirrored)
        drawn = self._drawn(target, _CROP) | {"mirrored": mirrored}
        return AgreedSamples(target=target, truth=truth, **drawn)

    def _taught_by_simulations(self, first: Candidate) -> Iterator[Candidate]:
        """Iterate over candidates that have learnt from images simulated like the stack."""
        target, network = self._mapped(first.maps).middle(_EXPLAINED), first.network
        for number in range(1, _ROUNDS + 1):
            seen, told = self._explained(network, target)
            drawn = self._drawn(target, _SIMULATED_CROP) | {"seed": self.seed + number}
            samples = SimulatedSamples.like(self.parent, seen, told, **drawn)
            steps = max(self.steps[SIMULATION] // _ROUNDS, 1)
            schedule = replace(self._schedule(steps, _BATCH), learning_rate=_SIMULATED_RATE)
            state = self.state / f"{SIMULATION}-{number}"
            made_of = self._made_of(SIMULATION, first.name, number)
            descendant = Descendant.of(network, whole=True)
            training = Training(descendant, samples, schedule, state, made_of=made_of)
            network = _plain(training.run(self.tell)).eval()
            yield self._candidate(f"{first.name}, simulated {number}", network, first.maps)

    def _taught(self, network: WindowNetwork, made: Source) -> WindowNetwork:
        """Return a network that has learnt from translated images, whose truth is known."""
        samples = AgreedSamples(
            target=made.images, truth=made.truth, **self._drawn(made.images, _CROP)
        )
        schedule = self._schedule(max(self.steps[TRANSLATION] // _LEARNING, 1), _BATCH)
        descendant = Descendant.of(network, whole=True)
        made_of = self._made_of(TRANSLATION, "taught")
        training = Training(descendant, samples, schedule, self.state / "taught", made_of=made_of)
        return _plain(training.run(self.tell))

    def _drawn(self, images: Target, side: int) -> dict[str, Any]:
        """Return how samples of images are drawn, of at most so many pixels along y and x."""
        crop = min(side, *images.images.shape[-2:]) // STRIDE * STRIDE
        return {"window": images.window, "crop": crop, "planes": 2, "seed": self.seed}

    def _made_of(self, *what: str | int) -> str:
        """Return what determines a training: given things, nothing that torch has computed."""
        return fingerprint(self.parent.fingerprint, self.target.fingerprint, self.seed, *what)

    def _schedule(self, steps: int, batch: int, decline: Decline = "cosine") -> Schedule:
        return Schedule(
            steps=steps,
            batch=batch,
            learning_rate=_RATE,
            decline=decline,
            average=_AVERAGE,
            seed=self.seed,
        )

    def _translated_images(self) -> Source | None:
        """Return simulated images with the look of the target; None if they do not have it."""
        parent, target = self._said["parent"], self._mapped(self._inherited)
        source = Source.simulated(self.parent, target, float((parent > 0.5).mean()), self.seed)
        drawn = self._drawn(source.images, _PATCH)
        samples = UnpairedSamples(source=source.images, target=target, **drawn)
        training = Training(
            CycleDesign(len(target.images)),
            samples,
            self._schedule(self.steps[TRANSLATION], 1, "late"),
            self.state / TRANSLATION,
            gather=UnpairedBatch.of,
            made_of=self._made_of(TRANSLATION),
        )
        network = training.run(self.tell)
        made = translated(network.to_target, source.images.images)
        before, after = (_apart(images, target.images) for images in (source.images.images, made))
        if after > before:
            msg = (
                f"simulated images were translated, but their grey values differ more from those "
                f"of the stack than before, by {after:.3g} instead of {before:.3g} of their range: "
                "nothing is learnt from them; more steps may help"
            )
            warnings.warn(msg, FibdaskWarning, stacklevel=4)
            return None
        y, x = made.shape[-2:]
        return Source(replace(source.images, images=made), source.truth[..., :y, :x])


def _apart(images: np.ndarray, others: np.ndarray) -> float:
    """Return how far grey values of images (voltage, z, y, x) are from those of others."""
    pairs = zip(images, others, strict=True)
    return float(np.mean([wasserstein_distance(a.ravel(), b.ravel()) for a, b in pairs]))


def _plain(network: WindowNetwork) -> WindowNetwork:
    """Return a network of the usual parts, with the weights of one that learnt with others."""
    with torch.random.fork_rng(devices=[]):
        plain = network.architecture.build()
    plain.load_state_dict(network.state_dict())
    return plain
