"""A model made: trained, judged by stacks that it has not seen, and written with its card."""

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
from .training import Numbered, Training
from .validation import (
    Validation,
    Windows,
    conditions,
    errors_of,
    told_error,
    validate,
    validate_stacks,
)
from .weights import LoadedNetwork, write_model

_TESTED = 64  # pixels along y and x of the window that tests a model when it is loaded


@dataclass(frozen=True)
class Judged:
    """What a card says of a network that has been judged.

    Attributes
    ----------
    card
        Task, ranges, temperature and errors.
    window
        That it was judged by, among others.
    """

    card: dict[str, Any]
    window: Sample


class Judge(Protocol):
    """Judges networks by what they have not learnt from."""

    def __call__(self, network: Network) -> Judged:
        """Judge a network."""

    def drawn(self) -> Numbered:
        """Return samples like those of the training, of what it has not seen."""

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
        return Judged(card, windows[len(windows) // 2])

    def drawn(self) -> Samples:
        """Return samples of the unseen stacks."""
        return replace(self.samples, stacks=self.unseen)

    def told(self) -> dict[str, Any]:
        """Return stacks by the names of their folders, and how samples are drawn of them."""
        return {
            "data": told_stacks(self.samples.stacks),
            "validation": told_stacks(self.unseen),
            "samples": told_samples(self.samples),
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
        return Judged(card, next(iter(windows)))

    def drawn(self) -> PhaseSamples:
        """Return samples of the unseen structure."""
        return replace(self.samples, structures=[self.unseen])

    def told(self) -> dict[str, Any]:
        """Return the structures, and how samples are drawn of them."""
        samples = self.samples
        drawn = {"crop": samples.crop, "planes": samples.planes, "seed": samples.seed}
        return {
            "data": [asdict(structure) for structure in samples.structures],
            "validation": asdict(self.unseen),
            "samples": asdict(samples.variation) | drawn,
        }


def make_model(
    folder: Path,
    training: Training[Any, Network],
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
    if is_made(folder, training, {"name": name, "licence": licence}):
        return open_model(folder)
    network = training.run(tell)
    if isinstance(training.design, Mixed):
        network = training.design.mixed(network)
    folded = deepcopy(network).fold()
    judged = judge(folded)
    card = {
        "name": name,
        **judged.card,
        "seconds_per_megavoxel": _pace(folded, judged.card["temperature"], judged.window),
        "licence": licence,
        "training": told_training(training) | judge.told(),
    }
    write_model(folder, network, card, _corner(judged.window))
    return open_model(folder)


def is_made(folder: Path, training: Training[Any, Any], described: dict[str, str]) -> bool:
    """Tell whether a folder holds what a training makes, described as it shall be."""
    try:
        card = open_model(folder).card
    except ConventionError:
        return False
    made = card.get("training", {}).get("fingerprint")
    return made == training.fingerprint and described.items() <= card.items()


def told_training(training: Training[Any, Any]) -> dict[str, Any]:
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


def _pace(network: Network, temperature: float, window: Sample) -> float:
    """Return seconds that one core takes for a million voxels."""
    loaded = LoadedNetwork(network.cpu(), temperature)
    given = window.images, window.present, window.distances, window.offsets
    loaded.predict(*given)  # the first time, memory is taken
    begun = time.perf_counter()
    loaded.predict(*given)
    return float(f"{(time.perf_counter() - begun) / (window.truth.size / 1e6):.3g}")


def _corner(window: Sample) -> Sample:
    """Return a small part of a window."""
    part = (..., slice(_TESTED), slice(_TESTED))
    images, truth = (np.ascontiguousarray(v[part]) for v in (window.images, window.truth))
    return Sample(images, window.present, window.distances, window.offsets, truth)
