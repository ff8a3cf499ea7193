"""Whether a stack lies in the ranges of a model's card, and what brings it there."""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
import xarray as xr

from ..conventions import axis_spacing, measured_slices, recorded_steps
from .slant import Slant
from .windows import PIXEL

IMAGES, PHASES = "windows", "phases"
"""Tasks of models: what they are shown."""
SIMULATION = "simulation"
"""Task of models that make images."""
LAYERS = "layers"
"""Task of models that tell how thick layers are."""
_SAME_VOLTAGE = 0.05  # relative
_ROUNDING = 1e-6  # relative, of lengths
_SIMULATED = ("electrons_per_pixel", "materials")
_IN_PLANE = ("y", "x")
_RULE_OF_THREE = 3.0  # wrong voxels that may be expected where none is found, by 95 %
_OTHER = 2.0  # times less solid, or less pore, than is known
_UNSURE = "it may err more than its card says"
_INSTEAD = "use the model 'monte_carlo'"

Card = Mapping[str, Any]
Ends = tuple[float, float]


def model_channels(card: Card, stack: xr.Dataset) -> list[int | None]:
    """Return which voltage of a model each one of a stack is, within 5 %; None if it has none."""
    known = np.array(card["voltages"], float)
    channels: list[int | None] = []
    for voltage in stack["voltage"].values:
        nearest = int(np.argmin(np.abs(known - voltage)))
        near = abs(voltage / known[nearest] - 1) <= _SAME_VOLTAGE + _ROUNDING
        channels.append(nearest if near and nearest not in channels else None)
    return channels


def misfits(card: Card, stack: xr.Dataset, tilt: float = 0.0) -> Iterator[str]:
    """Iterate over what of a stack lies outside what a model was trained for.

    Parameters
    ----------
    card
        Of the model.
    stack
        That it is to be shown.
    tilt
        Of the beam in degrees, along which the thickness of slices counts.
    """
    if card["task"] != IMAGES:
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
    for axis, size in _pixel_sizes(stack).items():
        if np.isfinite(size) and not _inside(shown_pixel(card, size), card["pixel_size"]):
            yield (
                f"was trained on pixels of {_range(card['pixel_size'])} nm; those of the stack "
                f"are {size:g} nm along {axis}{_resampling(card, 'pixel_size')}: resample the "
                "images, or train a model for them (fibdask train)"
            )
    mean = mean_thickness(stack, tilt)
    every = shown_every(card, stack, tilt)
    if np.isfinite(mean) and not _inside(mean * every, card["thickness"]):
        yield (
            f"was trained on slices of {_range(card['thickness'])} nm on average; those of the "
            f"stack are {_thick(mean, tilt)}{_resampling(card, 'thickness')}: check the depths, or "
            "train a model for them (fibdask train)"
        )


def shown_pixel(card: Card, size: float) -> float:
    """Return the pixel size in nm that a model is shown for one of a stack.

    That itself where the card knows it, or does not allow to resample it; else the smallest that
    it knows, which loses least of an interface's place.
    """
    known = card["pixel_size"]
    if _inside(size, known) or not _allowed(card, "pixel_size", size):
        return size
    return float(known[0])


def shown_pixels(card: Card, stack: xr.Dataset) -> dict[str, float]:
    """Return the pixel sizes in nm along y and x that a model is shown of a stack."""
    return {axis: shown_pixel(card, size) for axis, size in _pixel_sizes(stack).items()}


def shown_every(card: Card, stack: xr.Dataset, tilt: float = 0.0) -> int:
    """Return of how many slices of a stack a model is shown one, beside that which it tells of."""
    mean, (low, high) = mean_thickness(stack, tilt), card["thickness"]
    if not np.isfinite(mean) or mean >= low or not _allowed(card, "thickness", mean):
        return 1
    every = ceil(low / mean - _ROUNDING)
    return every if _inside(every * mean, (low, high)) else 1


def resampled(card: Card, stack: xr.Dataset, tilt: float = 0.0) -> Iterator[str]:
    """Iterate over how a stack is brought into the ranges of a card."""
    shown, own = shown_pixels(card, stack), _pixel_sizes(stack)
    if axes := [axis for axis in _IN_PLANE if shown[axis] != own[axis] and np.isfinite(own[axis])]:
        along = " and ".join(f"{own[axis]:g} nm along {axis}" for axis in axes)
        given = " and ".join(f"{size:.4g}" for size in dict.fromkeys(shown[axis] for axis in axes))
        yield (
            f"was trained on pixels of {_range(card['pixel_size'])} nm; those of the stack are "
            f"{along}: images are resampled to {given} nm, and what is found in them is brought "
            "back"
        )
    if (every := shown_every(card, stack, tilt)) > 1:
        yield (
            f"was trained on slices of {_range(card['thickness'])} nm on average; those of the "
            f"stack are {_thick(mean_thickness(stack, tilt), tilt)}: around each of them, one of "
            f"{every} is shown to it"
        )


def cautions(card: Card, stack: xr.Dataset, tilt: float = 0.0) -> Iterator[str]:
    """Iterate over what is known of images that a model was not trained for.

    Parameters
    ----------
    card
        Of the model.
    stack
        With what is recorded.
    tilt
        Of the beam in degrees, along which the model sees.
    """
    told: dict[str, Any] = {}
    for record in recorded_steps(stack):
        told |= {k: v for k, v in record["parameters"].items() if k in _SIMULATED}
    yield from _of_tilt(card, stack, tilt)
    electrons, ends = told.get("electrons_per_pixel"), card.get("electrons_per_pixel")
    if electrons and ends and electrons < ends[0]:  # of more, there is less noise
        text = f"was trained on {_range(ends)} electrons a pixel; these images have {electrons:g}"
        yield f"{text}: {_UNSURE}"
    shown, known = told.get("materials"), known_materials(card)
    if shown and known and shown not in known:
        trained = ", or of ".join(map(_listed, known))
        text = f"was trained on images of {trained}; these are of {_listed(shown)}"
        yield f"{text}: {_UNSURE}"


def known_materials(card: Card) -> list[Mapping[str, str]]:
    """Return the materials of pore and solid that a model of windows has learnt from.

    Nothing is known of those of painted slices.
    """
    return [pair for pair in (card.get("materials"), *card.get("other_materials", ())) if pair]


def learnt_aslant(card: Card) -> bool:
    """Return whether a model has learnt from images of a beam that was tilted about x."""
    return bool(card.get("training", {}).get("samples", {}).get("tilted"))


def _of_tilt(card: Card, stack: xr.Dataset, tilt: float) -> Iterator[str]:
    """Iterate over what tilt a model should see along, if that is known to be another one."""
    if "adapted" in card:
        if (fitted := card["adapted"].get("tilt", 0.0)) != tilt:
            yield f"was adapted along a beam tilted by {fitted:g}°, and tilt is {tilt:g}: {_UNSURE}"
        return
    if learnt_aslant(card):
        if tilt:
            yield f"has learnt from images of a tilted beam itself, and tilt is {tilt:g}: {_UNSURE}"
        return
    steps = (r for r in recorded_steps(stack) if r["step"] == "simulate_images")
    simulated = next((record["parameters"].get("tilt", tilt) for record in steps), tilt)
    if simulated != tilt:
        text = f"is shown images of a beam tilted by {simulated:g}°, and tilt is {tilt:g}"
        yield f"{text}: {_UNSURE}"


def doubts(
    card: Card, voltages: Sequence[float], wrong: float, solid: float, *, between: bool
) -> Iterator[str]:
    """Iterate over what a network makes of images that it does not make of those it knows.

    Parameters
    ----------
    card
        With `conditions`, the errors on unseen data, and `solid_fraction`.
    voltages
        In kV, which it was shown.
    wrong
        Voxels in % that are wrong, if its probabilities are frequencies.
    solid
        Solid fraction that it finds; NaN if it is not known.
    between
        Whether planes lie between slices, too.
    """
    name = "misplaced" if between else "on_slices"
    known = [row[name] for row in card.get("conditions", []) if _same(row["voltages"], voltages)]
    if known and wrong > (most := max(known)):
        yield (
            f"expects {wrong:.3g} % of voxels to be wrong, where at most {most:.3g} % were on "
            "images that it was judged by: these are noisier, more blurred or striped, or of other "
            f"structures or materials; {_UNSURE}"
        )
    low, high = card.get("solid_fraction") or (0.0, 1.0)
    if solid < low / _OTHER or solid > 1 - (1 - high) / _OTHER:
        yield (
            f"was trained on solid fractions of {_range((low, high))}, and finds {solid:.3g}: "
            f"{_UNSURE}"
        )


def conditions_of(card: Card, voltages: Sequence[float]) -> list[Mapping[str, Any]]:
    """Return the errors on unseen data, of all `conditions` of a card that are of some voltages."""
    return [row for row in card.get("conditions", []) if _same(row["voltages"], voltages)]


def calibration_error(card: Card, voltages: Sequence[float]) -> float | None:
    """Return how far probabilities were off at most on unseen data; None if nobody knows.

    Parameters
    ----------
    card
        With `errors` and `conditions`, as results tell it.
    voltages
        In kV, which a model was shown; of a card without conditions, any.
    """
    known = conditions_of(card, voltages) if card.get("conditions") else [card.get("errors", {})]
    found = (errors.get("calibration_error") for errors in known)
    return max((float(error) for error in found if error is not None), default=None)


def at_most_wrong(errors: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return errors under a condition with what chance may have hidden where few were judged."""
    voxels = errors.get("voxels")  # told of painted slices alone
    if not voxels:
        return errors
    hidden = 100 * _RULE_OF_THREE / voxels
    return {**errors, **{name: errors[name] + hidden for name in ("misplaced", "on_slices")}}


def phase_misfits(card: Card, thickness: float) -> Iterator[str]:
    """Iterate over what of measured planes lies outside what a model was trained for."""
    if card["task"] != PHASES:
        yield f"is for {card['task']}, not for phases"
        return
    ends = [length / PIXEL for length in card["thickness"]]
    if np.isfinite(thickness) and not _inside(thickness, (ends[0], ends[1])):
        yield (
            f"was trained on slices {_range((ends[0], ends[1]))} pixels thick on average; these "
            f"are {thickness:.3g}: use the method 'distance', or train a model for them"
        )


def simulation_misfits(
    card: Card,
    voltages: Sequence[float],
    pixel_size: tuple[float, float],
    materials: Mapping[str, str],
) -> Iterator[str]:
    """Iterate over what of a simulation lies outside what a model was trained for.

    Parameters
    ----------
    card
        Whose materials are lists for each phase.
    voltages
        In kV.
    pixel_size
        Along y and x in nm.
    materials
        Of `pore` and `solid`.
    """
    if card["task"] != SIMULATION:
        yield f"is for {card['task']}, not for simulating images"
        return
    for voltage in voltages:
        if not _inside(voltage, card["voltages"]):
            yield f"was trained for {_range(card['voltages'])} kV; got {voltage:g} kV: {_INSTEAD}"
    if not all(_inside(size, card["pixel_size"]) for size in pixel_size):
        found = " and ".join(f"{size:g}" for size in dict.fromkeys(pixel_size))
        known = _range(card["pixel_size"])
        yield (
            f"was trained on pixels of {known} nm; those of the structure are {found} nm: "
            f"{_INSTEAD}"
        )
    if (aspect := max(pixel_size) / min(pixel_size)) > card["aspect"] * (1 + _ROUNDING):
        yield (
            f"was trained on pixels up to {card['aspect']:g} times as long as wide; those of the "
            f"structure are {aspect:.3g} times: {_INSTEAD}"
        )
    for phase, known in card["materials"].items():
        if materials[phase] not in known:
            yield (
                f"was trained for a {phase} of {', '.join(known)}; got {materials[phase]}: "
                f"{_INSTEAD}"
            )


def layer_misfits(card: Card, noise: float) -> Iterator[str]:
    """Iterate over what of a layered sample lies outside what a model was trained for.

    Parameters
    ----------
    card
        Of the model.
    noise
        Share of the signals.
    """
    if card["task"] != LAYERS:
        yield f"is for {card['task']}, not for layered samples"
        return
    if not _inside(noise, card["noise"]):
        yield (
            f"was trained for noise of {_range(card['noise'])}; got {noise:g}: use the method "
            "'likelihood'"
        )


def _same(known: Sequence[float], shown: Sequence[float]) -> bool:
    return len(known) == len(shown) and np.allclose(shown, known, rtol=_SAME_VOLTAGE, atol=0)


def _pixel_sizes(stack: xr.Dataset) -> dict[str, float]:
    return {axis: axis_spacing(stack, axis) for axis in _IN_PLANE}


def mean_thickness(stack: xr.Dataset, tilt: float = 0.0) -> float:
    """Return the mean distance of measured slices along the beam in nm; NaN of a single one."""
    z = stack["z"].values[measured_slices(stack)] * Slant.of(tilt).stretch
    return float(np.diff(z).mean()) if len(z) > 1 else np.nan


def _thick(mean: float, tilt: float) -> str:
    return f"{mean:.4g} nm thick" + (" along the beam" if tilt else "")


def _allowed(card: Card, length: str, value: float) -> bool:
    """Tell whether a card allows to resample a length in nm."""
    ends = card.get("resampled", {}).get(length)
    return ends is not None and _inside(value, ends)


def _resampling(card: Card, length: str) -> str:
    """Say what a card allows to resample."""
    ends = card.get("resampled", {}).get(length)
    return f", and it may be resampled from {_range(ends)} nm" if ends else ""


def _listed(materials: Mapping[str, str]) -> str:
    return " and ".join(map(str, materials.values()))


def _inside(value: float, ends: Ends) -> bool:
    low, high = ends
    return low * (1 - _ROUNDING) <= value <= high * (1 + _ROUNDING)


def _range(ends: Ends) -> str:
    low, high = ends
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
