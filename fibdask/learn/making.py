"""A model made: trained, judged by stacks that it has not seen, and written with its card."""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..conventions import VERSION, ConventionError
from .cards import ranges, told_samples, told_stacks
from .data import SimulatedStack
from .models import open_model
from .networks import WindowNetwork
from .samples import Sample, Samples
from .training import Training
from .validation import Validation, Windows, conditions, errors_of, validate_stacks
from .weights import LoadedNetwork, write_model

_TESTED = 64  # pixels along y and x of the window that tests a model when it is loaded


def make_model(
    folder: Path,
    training: Training[Samples],
    unseen: Sequence[SimulatedStack],
    *,
    name: str,
    licence: str,
    tell: Callable[[int, int, float], None],
) -> Path:
    """Train a network, judge it, and write it, unless that is done already.

    Parameters
    ----------
    folder
        That the model is written to.
    training
        Which may have been begun before.
    unseen
        Stacks that judge it.
    name, licence
        Of the model, as its card says.
    tell
        As for `Training.run`.
    """
    if _is_made(folder, training, {"name": name, "licence": licence}):
        return folder
    network = training.run(tell)
    found = validate_stacks(network, unseen, training.samples.seed)
    temperature = Validation.joined([*found.values()]).temperature()
    windows = Windows(unseen[0], network.architecture, conditions(unseen)[0], training.samples.seed)
    window = windows[len(windows) // 2]
    card = {
        "name": name,
        "task": "windows",
        **ranges(training.samples.stacks, training.samples.variation),
        "temperature": temperature,
        "errors": errors_of(found, temperature),
        "seconds_per_megavoxel": _pace(network, temperature, window),
        "licence": licence,
        "training": _told(training, unseen),
    }
    write_model(folder, network, card, _corner(window))
    return folder


def _is_made(folder: Path, training: Training[Samples], described: dict[str, str]) -> bool:
    try:
        card = open_model(folder).card
    except ConventionError:
        return False
    made = card.get("training", {}).get("fingerprint")
    return made == training.fingerprint and described.items() <= card.items()


def _told(training: Training[Samples], unseen: Sequence[SimulatedStack]) -> dict[str, Any]:
    """Return what a card says of how its weights were made."""
    return {
        "fingerprint": training.fingerprint,
        "data": told_stacks(training.samples.stacks),
        "validation": told_stacks(unseen),
        "samples": told_samples(training.samples),
        "schedule": asdict(training.schedule),
        "steps": training.step,
        "seconds": round(training.seconds),
        "loss": float(f"{training.loss:.4g}"),
        "device": training.device.type,
        "versions": {"fibdask": VERSION, "torch": str(torch.__version__)},
    }


def _pace(network: WindowNetwork, temperature: float, window: Sample) -> float:
    """Return seconds that one core takes for a million voxels."""
    loaded = LoadedNetwork(deepcopy(network).cpu().fold(), temperature)
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
