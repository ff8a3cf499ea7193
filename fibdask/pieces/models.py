"""Trained networks, as stages know them: found by name, checked against a stack, and applied.

Stages do not import `learn`, which is imported when a network is asked for.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
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
    OptionTable,
    axis_spacing,
    measured_slices,
)
from . import validity
from .disagreement import VoltageDisagreement
from .grey import QUANTILES, CountedGrey, grey_ranges
from .looks import ToldDoubts, card_of_doubts, looked_at
from .mirrored import Mirrored
from .pixels import OtherPixels, resampled_images, resampled_predictions
from .slant import Slant, check_tilt
from .validity import Card
from .windows import (
    NO_SLICE,
    LikelySolid,
    PlacedPlanes,
    PlanePredictions,
    WindowPredictor,
    predict_planes,
    window_predictions,
)

AUTO = "auto"
OF_NETWORK: OptionTable = {"model": (AUTO, ("network",)), "device": (AUTO, ("network",))}
_CARD_ROUNDING = 1e-3  # relative: cards tell lengths to four digits
_TOLD = (
    "task", "voltages", "pixel_size", "thickness", "gap", "electrons_per_pixel", "materials",
    "other_materials", "solid_fraction", "ligament_size", "licence", "adapted",
)  # fmt: skip
"""What of a card goes with each result, so that it can be judged where the model is not."""

Misfits = Callable[[Card], Iterator[str]]
"""Iterates over what lies outside what the model of a card was trained for, or is said of it."""


@dataclass(frozen=True)
class Seen:
    """How a network is shown images, as `segment_phases` takes it.

    Attributes
    ----------
    tilt
        Of the beam in degrees.
    mirrored
        Whether mirror images are shown, too.

    Raises
    ------
    ConventionError
        If a value is none that it may have.
    """

    tilt: float = 0.0
    mirrored: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "tilt", check_tilt(self.tilt))
        if not isinstance(self.mirrored, bool | np.bool_):
            msg = f"mirrored must be True or False; got {self.mirrored!r}"
            raise ConventionError(msg)
        object.__setattr__(self, "mirrored", bool(self.mirrored))


AS_IT_IS = Seen()


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

    @property
    def device(self) -> str:
        """Where it predicts: `gpu` or `cpu`, once it was told."""

    def on(self, device: str) -> "Model":
        """Return the model that predicts on a device."""

    def predictor(self) -> WindowPredictor:
        """Return what predicts planes of windows."""


def find_model(model: str, stack: xr.Dataset, device: str = AUTO, seen: Seen = AS_IT_IS) -> Model:
    """Return a model by its name or folder, or the best one for a stack, checked against it.

    Parameters
    ----------
    model
        Name, path, or `auto`: of the models that ship and that the stack fits, those for the
        fewest other voltages, of these those that nothing is said against, such as materials that
        were simulated, and of these that with the smallest error.
    stack
        Stack with the voltages that the model is to see.
    device
        Where it predicts: `gpu`, `cpu`, or `auto`, a GPU where this process has one.
    seen
        How it is shown images.

    Raises
    ------
    ConventionError
        If there is no such model or device, the stack does not fit it, or torch is not installed.

    Warns
    -----
    FibdaskWarning
        If pixels or slices are resampled to such as the model knows, or the stack was simulated
        with other materials or electrons than the model was trained on, or the tilt is another.
    """
    misfits = partial(validity.misfits, stack=stack, tilt=seen.tilt)
    cautions = partial(validity.cautions, stack=stack, tilt=seen.tilt)
    found = _found(model, device, validity.IMAGES, misfits, "this stack", cautions)
    for text in (*validity.resampled(found.card, stack, seen.tilt), *cautions(found.card)):
        warnings.warn(f"model {found.name} {text}", FibdaskWarning, stacklevel=3)
    return found


def find_phase_model(model: str, thickness: float, device: str = AUTO) -> Model:
    """Return a model that fills gaps between phases, as `find_model` does.

    Parameters
    ----------
    model
        Name, path, or `auto`.
    thickness
        Mean distance of measured planes in pixels; NaN of a single one.
    device
        Where it predicts.

    Raises
    ------
    ConventionError
        If there is no such model or device, it was not trained for such distances, or torch is
        missing.
    """
    misfits = partial(validity.phase_misfits, thickness=thickness)
    return _found(model, device, validity.PHASES, misfits, "these planes")


def find_image_model(
    model: str,
    *,
    voltages: Sequence[float],
    pixel_size: tuple[float, float],
    materials: Mapping[str, str],
    device: str = AUTO,
) -> Any:
    """Return a model that simulates images, as `find_model` does.

    Parameters
    ----------
    model
        Name, path, or `auto`.
    voltages, pixel_size, materials
        Of the images, as of `simulation_misfits`.
    device
        Where it predicts.

    Raises
    ------
    ConventionError
        If there is no such model or device, it was not trained for such images, or torch is
        missing.
    """
    misfits = partial(
        validity.simulation_misfits,
        voltages=voltages,
        pixel_size=pixel_size,
        materials=materials,
    )
    return _found(model, device, validity.SIMULATION, misfits, "these images")


def find_layer_model(model: str, *, noise: float, device: str = AUTO) -> Any:
    """Return a model that tells how thick layers are, as `find_model` does.

    Parameters
    ----------
    model
        Name, path, or `auto`.
    noise
        Share of the signals.
    device
        Where it predicts.

    Raises
    ------
    ConventionError
        If there is no such model or device, it was not trained for such noise, or torch is missing.
    """
    misfits = partial(validity.layer_misfits, noise=noise)
    return _found(model, device, validity.LAYERS, misfits, "this sample")


def warn_of_gaps(
    planes: PlacedPlanes,
    model: Model,
    unit: float = 1.0,
    name: str = "nm",
    *,
    tilt: float = 0.0,
) -> None:
    """Warn of planes between slices, or slices beside others, farther apart than a model knows.

    Parameters
    ----------
    planes
        That it is asked for: of planes that are all slices, these are told of.
    model
        As `find_model` or `find_phase_model` returns it.
    unit, name
        Of the lengths that are told, in nm.
    tilt
        Of the beam in degrees, along which a model counts distances.
    """
    most = model.card["gap"][1]
    between = planes.offsets.any()
    gaps = (planes.gaps if between else _beside(planes)) * Slant.of(tilt).stretch
    far = gaps > most * (1 + _CARD_ROUNDING)
    if far.any():
        kind, place = ("planes", "between slices that are") if between else ("slices", "beside one")
        apart = ("apart" if between else "away") + (" along the beam" if tilt else "")
        text = (
            f"{far.sum()} of {len(far)} {kind} lie {place} up to {gaps.max() / unit:.4g} {name} "
            f"{apart}; model {model.name} was trained on gaps of up to {most / unit:g} {name}: "
            f"what it tells of these {kind} is less certain than its errors say"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=4)


def _beside(slices: PlacedPlanes) -> np.ndarray:
    """Return the distance in nm of each slice (plane) from the farther one above or below it."""
    steps = np.pad(np.diff(slices.z), 1)
    told = slices.above != NO_SLICE
    return np.where(told, np.maximum(steps[:-1], steps[1:])[slices.above], 0.0)


def _nothing(_: Card) -> Iterator[str]:
    """Iterate over nothing that is said against a model that fits."""
    return iter(())


def _found(
    model: str, device: str, task: str, misfits: Misfits, what: str, cautions: Misfits = _nothing
) -> Model:
    """Return a model that fits; without a choice, the best one of a task that does."""
    learn = import_module("fibdask.learn.models")
    place: str | Path = model
    if model == AUTO:
        shipped = [offered for offered in learn.shipped_models() if offered.card["task"] == task]
        place = _fitting(shipped, misfits, what, cautions).folder
    found: Model = learn.load_model(place)
    for misfit in misfits(found.card):
        msg = f"model {found.name} {misfit}"
        raise ConventionError(msg)
    return found.on(device)


def predict_solid(
    stack: xr.Dataset,
    model: Model,
    planes: PlacedPlanes,
    region: Mapping[str, slice],
    seen: Seen = AS_IT_IS,
    *,
    disagreement: bool = False,
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
    seen
        How it is shown images.
    disagreement
        Whether to return `voltage_disagreement` (z, y, x), too.
    """
    image, measured = stack["intensity"].data, measured_slices(stack)
    channels = [c for c in validity.model_channels(model.card, stack) if c is not None]
    planes = replace(planes, every=validity.shown_every(model.card, stack, seen.tilt))
    if pixels := _other_pixels(model, stack):
        image = resampled_images(image, pixels, measured)
        y, x = pixels.needed((region["y"], region["x"]))
        region = {"z": region["z"], "y": y, "x": x}
    predictor: WindowPredictor = model.predictor()
    if seen.mirrored:
        predictor = Mirrored(predictor, validity.learnt_aslant(model.card))
    n_z, n_y, n_x = image.shape[1:]
    slant = Slant.of(seen.tilt, validity.shown_pixels(model.card, stack)["y"])

    def predictions(*shown: int) -> PlanePredictions:
        shape = (len(shown), n_z, n_y, n_x)
        if pixels:
            return resampled_predictions(predictor, planes, shape, shown, pixels, slant)
        return window_predictions(predictor, planes, shape, shown, slant)

    counted = CountedGrey.of(image, measured, slice(0, len(channels)), tuple(region.values()))
    low, high = model.card.get("grey", {}).get("quantiles", QUANTILES)
    ranges = grey_ranges(counted, (float(low), float(high)))
    together = predictions(*channels)
    told = ToldDoubts(
        model.name,
        card_of_doubts(model.card),
        tuple(float(v) for v in stack["voltage"].values),
        between=bool(planes.offsets.any()),
    )
    probability = looked_at(predict_planes(image, together, ranges), together, told)
    phase = map_blocks(
        LikelySolid(), (probability,), shape=probability.shape, dtype=np.uint8, shared=True
    )
    volumes: dict[str, tuple[tuple[str, ...], Any]]
    volumes = {"phase": (AXES, phase), "solid_probability": (AXES, probability)}
    if disagreement:
        apart = VoltageDisagreement(tuple(map(predictions, channels)))
        volumes["voltage_disagreement"] = AXES, predict_planes(image, together, ranges, apart)
    return volumes


def model_record(
    model: Model, stack: xr.Dataset | None = None, seen: Seen = AS_IT_IS
) -> dict[str, Any]:
    """Return what provenance tells of a model: which it is, what its card says, and its device.

    Parameters
    ----------
    model
        As `find_model` returns it.
    stack
        What it is shown; how it is resampled is told, if it is.
    seen
        How it is shown that.
    """
    card: dict[str, Any] = {key: model.card[key] for key in _TOLD if key in model.card}
    errors = model.card.get("errors", {})
    card["errors"] = {name: value for name, value in errors.items() if np.isscalar(value)}
    card["conditions"] = errors.get("conditions", [])
    shown = asdict(seen) if stack is not None else {}
    if stack is not None and _other_pixels(model, stack):
        shown["shown_pixel_size"] = [*validity.shown_pixels(model.card, stack).values()]
    if stack is not None and (every := validity.shown_every(model.card, stack, seen.tilt)) > 1:
        shown["shown_every"] = every
    return {
        "model": model.name,
        "model_fingerprint": model.fingerprint,
        "model_card": card,
        "device": model.device,
        **shown,
    }


def _other_pixels(model: Model, stack: xr.Dataset) -> OtherPixels | None:
    """Return the pixels that a model is shown, unless they are those of the stack."""
    shown = validity.shown_pixels(model.card, stack)
    own = {axis: axis_spacing(stack, axis) for axis in shown}
    y, x = (shown[axis] / own[axis] if np.isfinite(own[axis]) else 1.0 for axis in ("y", "x"))
    if (y, x) == (1.0, 1.0):
        return None
    return OtherPixels((stack.sizes["y"], stack.sizes["x"]), (y, x))


def _fitting(models: list[Model], misfits: Misfits, what: str, cautions: Misfits) -> Model:
    """Return the best of the models that fit."""
    unfit = {model.name: next(misfits(model.card), None) for model in models}
    fitting = [model for model in models if unfit[model.name] is None]
    if not fitting:
        alike = {misfit: [n for n in unfit if unfit[n] == misfit] for misfit in unfit.values()}
        told = "; ".join(f"{_each(names)} {misfit}" for misfit, names in alike.items())
        msg = f"no model that ships fits {what}: {told or 'none ships'}"
        raise ConventionError(msg)

    def worse(model: Model) -> tuple[int, int, float]:
        card = model.card
        return len(card["voltages"]), sum(1 for _ in cautions(card)), _error_of(card)

    return min(fitting, key=worse)


def _each(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"each of {', '.join(names)}"


def _error_of(card: Card) -> float:
    """Return by which error models are chosen."""
    errors = card["errors"]
    named = {validity.SIMULATION: "rms", validity.LAYERS: "relative"}
    return float(errors[named.get(card["task"], "misplaced")])
