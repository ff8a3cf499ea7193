"""Whether images come rather from another detector than those that a model has learnt from."""

from collections.abc import Mapping
from typing import Any

import xarray as xr

from ..models import Model
from ..weights import read_windows
from .explaining import left_by_detector
from .seen import Structure, simulators
from .target import Target

_MOST = 128  # pixels along y and x
_CLEARER = 0.03
"""By which less is left by a detector that is told. It was 0.001 to 1 more in fifty stacks of the
one that was learnt from, of other electrons, structures, materials and artefacts, and 0.08 and 0.18
less in two of the other, with 30 and 50 electrons on a pixel."""


def other_detector(model: Model, stack: xr.Dataset, tilt: float = 0.0) -> str | None:
    """Return the detector that explains images better than those that a model has learnt from.

    What the model sees is imaged by the simulators of each detector, and held against the images.

    Parameters
    ----------
    model
        Whose network knows the depths of slices.
    stack
        With `intensity`, of all its voltages.
    tilt
        Of the beam in degrees.

    Returns
    -------
    str or None
        Name as `simulate_images` knows it; None where none is better, or the model was fitted to a
        stack, or has not learnt from simulated ones.

    Raises
    ------
    ConventionError
        If the model is not for the stack, that is too small, or nothing simulates such images.
    """
    learnt = learnt_detectors(model.card)
    if not learnt or "adapted" in model.card:
        return None
    target = Target.of(model, stack, tilt).middle(_MOST)
    network = read_windows(model.folder, model.card, "asked what it sees").fold()
    seen = Structure.seen(network, target, float(model.card["temperature"]))
    left = left_by_detector(model, target, seen, simulators(model, seen))
    best = min(left, key=lambda name: left[name])
    known = min((left[name] for name in learnt if name in left), default=None)
    return best if known is not None and left[best] < known - _CLEARER else None


def learnt_detectors(card: Mapping[str, Any]) -> set[str]:
    """Return those of the simulated stacks that a model has learnt from."""
    data = card.get("training", {}).get("data")
    stacks = data if isinstance(data, list) else []
    steps = [step for stack in stacks for step in stack.get("steps", ())]
    return {step["detector"] for step in steps if "detector" in step}
