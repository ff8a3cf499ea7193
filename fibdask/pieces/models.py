"""Trained networks, as stages know them: found by name, checked against a stack, and applied.

Stages do not import `learn`, nor torch: both are imported when a network is asked for.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr

from ..blocks import map_blocks
from ..conventions import (
    AXES,
    ConventionError,
    FibdaskWarning,
    axis_spacing,
    measured_slices,
    recorded_steps,
)
from .grey import QUANTILES, CountedGrey, grey_ranges
from .windows import PIXEL, LikelySolid, PlacedPlanes, WindowPredictor, predict_planes

AUTO = "auto"
_SAME_VOLTAGE = 0.05  # relative
_ROUNDING = 1e-6  # relative, of lengths
_IMAGES, _PHASES = "windows", "phases"  # tasks
_SIMULATED = ("electrons_per_pixel", "materials")
_TOLD = (
    "task", "voltages", "pixel_size", "thickness", "gap", "electrons_per_pixel", "materials",
    "solid_fraction", "ligament_size", "licence",
)  # fmt: skip
"""What of a card goes with each result, so that it can be judged where the model is not."""

Card = Mapping[str, Any]
Misfits = Callable[[Card], Iterator[str]]
"""Iterates over what lies outside what the model of a card was trained for."""


class Model(Protocol):
    """A trained network, and what is known of it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def folder(self) -> Path:
        """Where it lies."""

    @property
    def card(self) -> Card:
        """What it was trained on, the range that it is valid in, and its errors."""

    @property
    def fingerprint(self) -> str:
        """Hash of its weights and of what they are used with."""

    def predictor(self) -> WindowPredictor:
        """Return what predicts planes of windows."""


def find_model(model: str, stack: xr.Dataset) -> Model:
    """Return a model by its name or folder, or the best one for a stack, checked against it.

    Parameters
    ----------
    model
        Name, path, or `auto`: of the models that ship and that the stack fits, those for the
        fewest other voltages, and of these that with the smallest error.
    stack
        Stack with the voltages that the model is to see.

    Raises
    ------
    ConventionError
        If there is no such model, the stack does not fit it, or torch is not installed.

    Warns
    -----
    FibdaskWarning
        If the stack was simulated with other materials or electrons than the model was trained on.
    """
    found = _found(model, lambda card: _misfits(card, stack), "this stack")
    for caution in _cautions(found.card, stack):
        text = f"model {found.name} {caution}: it may err more than its card says"
        warnings.warn(text, FibdaskWarning, stacklevel=3)
    return found


def find_phase_model(model: str, thickness: float) -> Model:
    """Return a model that fills gaps between phases, as `find_model` does.

    Parameters
    ----------
    model
        Name, path, or `auto`.
    thickness
        Mean distance of measured planes in pixels; NaN of a single one.

    Raises
    ------
    ConventionError
        If there is no such model, it was not trained for such distances, or torch is missing.
    """
    return _found(model, lambda card: _phase_misfits(card, thickness), "these planes")


def _found(model: str, misfits: Misfits, what: str) -> Model:
    """Return a model that fits; without a choice, the best one that does."""
    with _learned() as learn:
        place = _fitting(learn.shipped_models(), misfits, what).folder if model == AUTO else model
        found: Model = learn.load_model(place)
    for misfit in misfits(found.card):
        msg = f"model {found.name} {misfit}"
        raise ConventionError(msg)
    return found


def model_channels(card: Card, stack: xr.Dataset) -> list[int | None]:
    """Return which voltage of a model each one of a stack is, within 5 %; None if it has none."""
    known = np.array(card["voltages"], float)
    channels: list[int | None] = []
    for voltage in stack["voltage"].values:
        nearest = int(np.argmin(np.abs(known - voltage)))
        near = abs(voltage / known[nearest] - 1) <= _SAME_VOLTAGE + _ROUNDING
        channels.append(nearest if near and nearest not in channels else None)
    return channels


def predict_solid(
    stack: xr.Dataset, model: Model, planes: PlacedPlanes, region: Mapping[str, slice]
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Return `phase` and `solid_probability` (z, y, x) on planes, lazily.

    Parameters
    ----------
    stack
        With the voltages that the model is to see, which fits it.
    model
        As `find_model` returns it.
    planes
        Where it is asked.
    region
        Where grey values are counted, by axis.
    """
    image, measured = stack["intensity"].data, measured_slices(stack)
    channels = [c for c in model_channels(model.card, stack) if c is not None]
    counted = CountedGrey.of(image, measured, slice(0, len(channels)), tuple(region.values()))
    low, high = model.card.get("grey", {}).get("quantiles", QUANTILES)
    with _learned():
        predictor = model.predictor()
    ranges = grey_ranges(counted, (float(low), float(high)))
    probability = predict_planes(image, predictor, planes, channels, ranges)
    phase = map_blocks(
        LikelySolid(), (probability,), shape=probability.shape, dtype=np.uint8, shared=True
    )
    return {"phase": (AXES, phase), "solid_probability": (AXES, probability)}


def model_record(model: Model) -> dict[str, Any]:
    """Return what provenance tells of a model: which one it is, and what its card says of it."""
    card: dict[str, Any] = {key: model.card[key] for key in _TOLD if key in model.card}
    errors = model.card.get("errors", {})
    card["errors"] = {name: value for name, value in errors.items() if np.isscalar(value)}
    card["conditions"] = errors.get("conditions", [])
    return {"model": model.name, "model_fingerprint": model.fingerprint, "model_card": card}


@contextmanager
def _learned() -> Iterator[Any]:
    """Give the module that models are in; that torch is missing is told in a sentence."""
    try:
        yield import_module("fibdask.learn.models")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("torch", "safetensors"):
            raise
        msg = "networks need torch, which is not installed; install fibdask[learn]"
        raise ConventionError(msg) from error


def _fitting(models: list[Model], misfits: Misfits, what: str) -> Model:
    """Return the best of the models that fit."""
    unfit = {model.name: next(misfits(model.card), None) for model in models}
    fitting = [model for model in models if unfit[model.name] is None]
    if not fitting:
        told = "; ".join(f"{name} {misfit}" for name, misfit in unfit.items())
        msg = f"no model that ships fits {what}: {told or 'none ships'}"
        raise ConventionError(msg)
    return min(fitting, key=lambda m: (len(m.card["voltages"]), m.card["errors"]["misplaced"]))


def _misfits(card: Card, stack: xr.Dataset) -> Iterator[str]:
    """Iterate over what of a stack lies outside what a model was trained for."""
    if card["task"] != _IMAGES:
        yield f"is for {card['task']}, not for images of slices"
        return
    channels = model_channels(card, stack)
    if None in channels:
        known = ", ".join(f"{voltage:g}" for voltage in card["voltages"])
        found = stack["voltage"].values[channels.index(None)]
        yield (
            f"sees images of {known} kV, each once; the stack has {found:g} kV: choose a voltage "
            "or another model, or train one (fibdask train)"
        )
    for axis in ("y", "x"):
        size = axis_spacing(stack, axis)
        if np.isfinite(size) and not _inside(size, card["pixel_size"]):
            yield (
                f"was trained on pixels of {_range(card['pixel_size'])} nm; those of the stack "
                f"are {size:g} nm along {axis}: resample the images, or train a model for them "
                "(fibdask train)"
            )
    z = stack["z"].values[measured_slices(stack)]
    mean = float(np.diff(z).mean()) if len(z) > 1 else np.nan
    if np.isfinite(mean) and not _inside(mean, card["thickness"]):
        yield (
            f"was trained on slices of {_range(card['thickness'])} nm on average; those of the "
            f"stack are {mean:.4g} nm thick: check the depths, or train a model for them "
            "(fibdask train)"
        )


def _cautions(card: Card, stack: xr.Dataset) -> Iterator[str]:
    """Iterate over what is recorded of a simulation that a model was not trained for."""
    told: dict[str, Any] = {}
    for record in recorded_steps(stack):
        told |= {k: v for k, v in record["parameters"].items() if k in _SIMULATED}
    electrons, ends = told.get("electrons_per_pixel"), card.get("electrons_per_pixel")
    if electrons and ends and not _inside(electrons, ends):
        yield f"was trained on {_range(ends)} electrons a pixel; these images have {electrons:g}"
    shown, known = (d.get("materials") for d in (told, card))
    if shown and known and shown != known:
        yield f"was trained on images of {_listed(known)}; these are of {_listed(shown)}"


def _phase_misfits(card: Card, thickness: float) -> Iterator[str]:
    """Iterate over what of measured planes lies outside what a model was trained for."""
    if card["task"] != _PHASES:
        yield f"is for {card['task']}, not for phases"
        return
    ends = [length / PIXEL for length in card["thickness"]]
    if np.isfinite(thickness) and not _inside(thickness, (ends[0], ends[1])):
        yield (
            f"was trained on slices {_range((ends[0], ends[1]))} pixels thick on average; these "
            f"are {thickness:.3g}: use the method 'distance', or train a model for them"
        )


def _listed(materials: Mapping[str, str]) -> str:
    return " and ".join(map(str, materials.values()))


def _inside(value: float, ends: tuple[float, float]) -> bool:
    low, high = ends
    return low * (1 - _ROUNDING) <= value <= high * (1 + _ROUNDING)


def _range(ends: tuple[float, float]) -> str:
    low, high = ends
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
