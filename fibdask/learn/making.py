"""A model made: trained, judged by what it has not seen, and written with its card."""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ..conventions import VERSION, ConventionError
from ..pieces.validity import IMAGES, PHASES
from .begun import Begun, Mixed
from .cards import ranges, told_samples, told_stacks
from .data import SimulatedStack
from .models import Model, open_model
from .networks import Network
from .phases import PhaseSamples, PhaseWindows, Structure, phase_ranges
from .samples import Sample, Samples
from .training import Training
from .validation import (
    Validation,
    Windows,
    conditions,
    errors_of,
    told_error,
    validate,
    validate_stacks,
)
from .weights import Loaded, LoadedNetwork


@dataclass(frozen=True)
class Judged:
    """What is said of a network that has been judged.

    Attributes
    ----------
    card
        Task, ranges, temperature and errors.
    kind
        As which it predicts.
    shown
        Something that it was judged by, by name; how long that takes is told.
    voxels
        Of that.
    tested
        A small part of it, which tests the model when it is loaded.
    """

    card: dict[str, Any]
    kind: type[Loaded[Any]]
    shown: dict[str, np.ndarray]
    voxels: int
    tested: dict[str, np.ndarray]

    @classmethod
    def by_window(cls, card: dict[str, Any], window: Sample) -> "Judged":
        """Return what is said of a network that was judged by a window, among others."""
        return cls(card, LoadedNetwork, window.shown, window.truth.size, window.corner.shown)


class Judge(Protocol):
    """Judges networks by what they have not learnt from."""

    def __call__(self, network: Any) -> Judged:
        """Judge a network that is folded."""

    def told(self) -> dict[str, Any]:
        """Return what a card says of the data that networks learn from and are judged by."""


@dataclass(frozen=True, eq=False)
class ImageJudge:
    """Judges networks of images by stacks that they have not seen."""

    samples: Samples
    unseen: Sequence[SimulatedStack]

    def __call__(self, network: Network) -> Judged:
        """Judge a network under all `conditions`."""
        seed = self.samples.seed
        found = validate_stacks(network, self.unseen, seed)
        temperature = Validation.joined([*found.values()]).temperature()
        condition = conditions(self.unseen)[0]
        windows = Windows(self.unseen[0], network.architecture, condition, seed)
        card = {
            "task": IMAGES,
            **ranges(self.samples.stacks, self.samples.variation),
            "temperature": temperature,
            "errors": errors_of(found, temperature),
        }
        return Judged.by_window(card, windows[len(windows) // 2])

    def drawn(self) -> Samples:
        """Return samples of the unseen stacks."""
        return replace(self.samples, stacks=self.unseen)

    def told(self) -> dict[str, Any]:
        """Return stacks by the names of their folders, and how samples are drawn of them."""
        return {
            "data": told_stacks(self.samples.stacks),
            "validation": told_stacks(self.unseen),
            "samples": told_samples(self.samples, self.samples.variation),
        }


@dataclass(frozen=True, eq=False)
class PhaseJudge:
    """Judges networks of phases by a milled structure that they have not seen."""

    samples: PhaseSamples
    unseen: Structure

    def __call__(self, network: Network) -> Judged:
        """Judge a network; of misplaced voxels, measured planes are none."""
        windows = PhaseWindows.milled(self.unseen, self.samples.window)
        found = validate(network, windows)
        temperature = found.temperature()
        planes = len(windows.phase[: windows.faces[-1] + 1])
        wrong = 100 * int(found.wrong.sum()) / (planes * windows.phase[0].size)
        errors = {
            "misplaced": told_error(wrong),
            "between": told_error(found.between),
            "calibration_error": told_error(found.calibration_error(temperature)),
        }
        card = {
            "task": PHASES,
            **phase_ranges(self.samples),
            "temperature": temperature,
            "errors": errors,
        }
        return Judged.by_window(card, next(iter(windows)))

    def drawn(self) -> PhaseSamples:
        """Return samples of the unseen structure."""
        return replace(self.samples, structures=[self.unseen])

    def told(self) -> dict[str, Any]:
        """Return the structures, and how samples are drawn of them."""
        return {
            "data": [asdict(structure) for structure in self.samples.structures],
            "validation": asdict(self.unseen),
            "samples": told_samples(self.samples, self.samples.variation),
        }


def make_model(
    folder: Path,
    training: Training[Any, Any],
    judge: Judge,
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
    judge
        By what it has not learnt from.
    name, licence
        Of the model, as its card says.
    tell
        As for `Training.run`.
    """
    if _is_made(folder, training, {"name": name, "licence": licence}):
        return open_model(folder)
    network = training.run(tell)
    if isinstance(training.design, Mixed):
        network = training.design.mixed(network)
    judged = judge(deepcopy(network).fold())
    loaded = judged.kind.of(deepcopy(network).cpu(), judged.card)
    card = {
        "name": name,
        **judged.card,
        "seconds_per_megavoxel": _pace(loaded, judged),
        "licence": licence,
        "training": _told_training(training) | judge.told(),
    }
    loaded.write(folder, network, card, judged.tested)
    return open_model(folder)


def _is_made(folder: Path, training: Training[Any, Any], described: dict[str, str]) -> bool:
    """Tell whether a folder holds what a training makes, described as it shall be."""
    try:
        card = open_model(folder).card
    except ConventionError:
        return False
    made = card.get("training", {}).get("fingerprint")
    return made == training.fingerprint and described.items() <= card.items()


def _told_training(training: Training[Any, Any]) -> dict[str, Any]:
    """Return what a card says of how its weights were made."""
    begun = {"begun": training.design.told()} if isinstance(training.design, Begun) else {}
    return begun | {
        "fingerprint": training.fingerprint,
        "schedule": asdict(training.schedule),
        "steps": training.step,
        "seconds": round(training.seconds),
        "loss": float(f"{training.loss:.4g}"),
        "device": training.device.type,
        "versions": {"fibdask": VERSION, "torch": str(torch.__version__)},
    }


def _pace(loaded: Loaded[Any], judged: Judged) -> float:
    """Return seconds that one core takes for a million voxels."""
    loaded.again(judged.shown)  # the first time, memory is taken
    begun = time.perf_counter()
    loaded.again(judged.shown)
    return float(f"{(time.perf_counter() - begun) / (judged.voxels / 1e6):.3g}")
