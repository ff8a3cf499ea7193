"""The section about a network: which one, whether it knows such images, and how sure it was."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ...conventions import PROBABILITIES, known_spacing, measured_slices, recorded_steps, require
from ...pieces.validity import (
    IMAGES,
    at_most_wrong,
    calibration_error,
    conditions_of,
    doubts,
    known_materials,
)
from ..figures import slices
from ..figures.plots import embedded, fraction_profile
from ..markup import Section, paragraph, picture, table
from ..words import count, number, percent, with_error
from .slices import views_card

_HEAD = ("Of the stack", "Here", "Known to the model", "Inside")
_UNKNOWN = "not known"
_SAME = 0.05  # relative, of voltages: as for what models are shown
_SHADES = 256
_PHASES = [(slices.PORE, "pore"), (slices.SOLID, "solid")]
_PROBABILITIES = [
    (slices.PORE, "pore for sure"),
    (slices.MISSED, "one as likely as the other"),
    (slices.SOLID, "solid for sure"),
]
_SHADED = (
    ("solid_probability", _PROBABILITIES, "Probability of solid."),
    (
        "voltage_disagreement",
        [(slices.PORE, "voltages agree"), (slices.MISSED, "they contradict each other")],
        "Disagreement of voltages.",
    ),
)


@dataclass(frozen=True)
class _NetworkStep:
    """What a network was given and what it made.

    Attributes
    ----------
    record
        Parameters of its step.
    made
        The stack after it.
    before
        Stacks of the stages before, the latest first.
    """

    record: Mapping[str, Any]
    made: xr.Dataset
    before: Sequence[xr.Dataset]

    @property
    def card(self) -> Mapping[str, Any]:
        """What is known of the model."""
        card: Mapping[str, Any] = self.record["model_card"]
        return card

    @property
    def images(self) -> xr.Dataset | None:
        """The stack whose images it was shown, where that is known."""
        stacks = [self.made, *self.before]
        return next((require(stack) for stack in stacks if "intensity" in stack), None)


def network_section(stages: Mapping[str, xr.Dataset], statistics: xr.Dataset) -> Section | None:
    """Say which network told solid from pore, what it was trained for, and how sure it was."""
    step = _network_step(stages)
    if step is None:
        return None
    body = [paragraph(_introduced(step)), _ranges(step, statistics)]
    if "unsure_share" in statistics:
        body += [_certainty(step, statistics), *_doubts(step, statistics)]
    if "mean_disagreement" in statistics:
        body.append(_disagreement(step, statistics["mean_disagreement"]))
    if "solid_probability" in step.made:
        body.append(_views(step))
    return Section("network", "Network", "\n".join(body))


def _network_step(stages: Mapping[str, xr.Dataset]) -> _NetworkStep | None:
    """Return what the first network of a run was given and made."""
    stacks = list(stages.values())
    for place, stack in enumerate(stacks):
        for record in recorded_steps(stack):
            if "model_card" in record["parameters"]:
                return _NetworkStep(record["parameters"], stack, stacks[:place][::-1])
    return None


def _introduced(step: _NetworkStep) -> str:
    errors = _errors(step)
    text = f"Model {step.record['model']}, {step.card.get('licence', 'of no known licence')}."
    if "misplaced" not in errors:
        return text
    simulated = step.card.get("electrons_per_pixel")  # not known of painted slices
    text += f" On {'simulated data' if simulated else 'painted slices'} that it had not seen"
    if errors.get("electrons_per_pixel"):
        text += f", at {errors['electrons_per_pixel']:g} electrons a pixel"
    text += f", {errors['misplaced']:.3g} % of voxels were wrong"
    parts = {"on_slices": "on slices", "between": "between them"}
    known = {k: name for k, name in parts.items() if errors.get(k) is not None}
    listed = ", ".join(f"{errors[k]:.3g} % {name}" for k, name in known.items())
    return f"{text}: {listed}." if listed else f"{text}."


def _errors(step: _NetworkStep) -> Mapping[str, Any]:
    """Return the errors on a card, of the voltages that were shown if they are told apart."""
    known = conditions_of(step.card, step.record.get("voltage", []))
    return known[0] if known else step.card["errors"]


def _ranges(step: _NetworkStep, statistics: xr.Dataset) -> str:
    rows = list(_range_rows(step, statistics))
    body = table(_HEAD, rows, style="narrow") if rows else ""
    if outside := [name for name, *_, inside in rows if inside == "no"]:
        listed = ", ".join(outside)
        body += paragraph(f"The model was not trained for this: {listed}. It may err more here.")
    return body


def _range_rows(step: _NetworkStep, statistics: xr.Dataset) -> Iterator[tuple[str, str, str, str]]:
    """Iterate over the rows of a table: what the stack is like, and what the model knows."""
    if step.card.get("task") != IMAGES:
        return
    shown = step.record.get("voltage", [])
    known = step.card.get("voltages", [])
    near = all(np.isclose(v, known, rtol=_SAME, atol=0).any() for v in shown)
    yield "voltages in kV", _listed(shown), _listed(known), "yes" if near else "no"
    images = step.images
    if images is not None:
        sizes = [known_spacing(images, axis) for axis in "yx"]
        row = _row("pixel size in nm", sizes, step.card.get("pixel_size"))
        yield _shown(row, step.record.get("shown_pixel_size"), "resampled to {}")
        gaps = np.diff(images["z"].values[measured_slices(images)])
        if len(gaps):
            row = _row("mean slice thickness in nm", [gaps.mean()], step.card.get("thickness"))
            yield _shown(row, step.record.get("shown_every"), "one of {} is shown")
            yield _row("distances of slices in nm", gaps, step.card.get("gap"))
    if "solid_fraction" in statistics:
        found = float(statistics["solid_fraction"])
        yield _row("solid fraction", [found], step.card.get("solid_fraction"))
    simulated = _simulated(step.made)
    electrons = [e for e in [simulated.get("electrons_per_pixel")] if e is not None]
    known = step.card.get("electrons_per_pixel")
    row = _row("electrons per pixel", electrons, known)
    less_noise = bool(electrons and known and electrons[0] > known[1])
    yield (*row[:3], "more: less noise") if less_noise else row
    yield _materials(simulated.get("materials"), known_materials(step.card))


def _shown(row: tuple[str, str, str, str], shown: Any, words: str) -> tuple[str, str, str, str]:
    """Return a row that says how images were brought into the range of a model, if they were."""
    if shown is None:
        return row
    return (*row[:3], words.format(_span(np.atleast_1d(np.asarray(shown, float)))))


def _simulated(stack: xr.Dataset) -> Mapping[str, Any]:
    """Return how images were simulated; nothing of real ones."""
    records = (r for r in recorded_steps(stack) if r["step"] == "simulate_images")
    record = next(records, None)
    return {} if record is None else dict(record["parameters"])


def _row(name: str, here: Any, known: Sequence[float] | None) -> tuple[str, str, str, str]:
    """Return a row of numbers: from the least to the most."""
    values = np.asarray(here, float)
    told = _span(values) if values.size else _UNKNOWN
    if known is None:
        return name, told, "any", ""
    low, high = known
    inside = (values >= low * (1 - 1e-6)) & (values <= high * (1 + 1e-6))
    verdict = ("yes" if inside.all() else "no") if values.size else ""
    if values.size > 2 and not inside.all():
        told += f" ({count(int((~inside).sum()), 'distance')} outside)"
    return name, told, _span(np.array([low, high])), verdict


def _materials(here: Any, known: Sequence[Any]) -> tuple[str, str, str, str]:
    name = "materials (solid in pore)"
    if not known:
        return name, _material(here), "any", ""
    return (
        name,
        _material(here),
        ", ".join(map(_material, known)),
        ("yes" if here in known else "no") if here else "",
    )


def _material(pair: Any) -> str:
    return f"{pair['solid']} in {pair['pore']}" if pair else _UNKNOWN


def _span(values: np.ndarray) -> str:
    low, high = (f"{value:.4g}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _certainty(step: _NetworkStep, statistics: xr.Dataset) -> str:
    """Plot of how many voxels nobody is sure, and say what probabilities expect to be wrong."""
    share, wrong = statistics["unsure_share"], statistics["expected_misplaced"]
    measured, between = measured_slices(step.made), _between(step, statistics)
    caption = "Share of voxels that are neither phase with a probability of 90 % or more"
    parts = {"on slices": measured, "between them": between}
    if measured.any() and between.any():
        listed = (
            f"{percent(np.nanmean(share.values[p]), '.2%')} {name}" for name, p in parts.items()
        )
        caption += f": {', '.join(listed)}."
    else:
        caption += f": {percent(float(np.nanmean(share)), '.2%')}."
    expected = number(float(wrong.mean()), ".3g", " %")
    caption += f" If probabilities are frequencies, {expected} of all voxels are misplaced"
    found = "volume_misplaced" if between.any() else "misplaced"
    if found in statistics:
        caption += f"; against the truth it is {number(float(statistics[found]), '.3g', ' %')}"
    caption += f". {_expected_fraction(step, statistics)}"
    profile = share.rename(plane="z").assign_coords(z=share["depth"].values)
    figure = fraction_profile(profile, measured, "share of unsure voxels")
    return picture(embedded(figure, "svg"), "How sure the network was.", caption)


def _between(step: _NetworkStep, statistics: xr.Dataset) -> np.ndarray:
    """Return of which planes the network told without a slice there; gaps that stay are none."""
    share = statistics["unsure_share"].values
    measured = measured_slices(step.made)
    same = len(share) == len(measured)
    return np.isfinite(share) & ~measured if same else np.zeros(len(measured), bool)


def _expected_fraction(step: _NetworkStep, statistics: xr.Dataset) -> str:
    """Say how much is solid by all probabilities, not by the likelier phase of each voxel.

    The sum of probabilities errs at most by their mean error on a scale of probabilities, if that
    is what it was on unseen data.
    """
    expected = float(statistics["expected_solid_fraction"].mean())
    error = calibration_error(step.card, step.record.get("voltage", []))
    text = f"By the sum of probabilities, {with_error(expected, error)} of the volume is solid"
    if error is not None:
        text += "; that is how far probabilities were off at most on unseen data"
    return f"{text}."


def _doubts(step: _NetworkStep, statistics: xr.Dataset) -> Iterator[str]:
    """Iterate over what the network makes of these images, and not of those that it knows."""
    wrong = float(statistics["expected_misplaced"].mean())
    solid = float(statistics["solid_fraction"]) if "solid_fraction" in statistics else np.nan
    between = bool(_between(step, statistics).any())
    shown = step.record.get("voltage", [])
    rows = map(at_most_wrong, step.card.get("conditions", []))
    card = {**step.card, "conditions": [*rows]}
    for text in doubts(card, shown, wrong, solid, between=between):
        yield paragraph(f"The model {text}.")


def _disagreement(step: _NetworkStep, mean: xr.DataArray) -> str:
    """Plot how far apart voltages are on each plane."""
    caption = (
        "Largest less smallest probability of solid that the network finds in images of one "
        f"voltage alone: {number(float(mean.mean()), '.3g')} in the mean over all planes. Where it "
        "is large, the images do not fit together as those that the network has learnt from, or "
        "some voltages show less than others."
    )
    profile = mean.rename(plane="z").assign_coords(z=mean["depth"].values)
    figure = fraction_profile(profile, measured_slices(step.made), "mean disagreement")
    return picture(embedded(figure, "svg"), "How far apart voltages are.", caption)


def _views(step: _NetworkStep) -> str:
    """Show image, phase and probability in the planes through one slice."""
    made = require(step.made)
    where = slices.geometry(made, measured_slices(made))
    names = [name for name in ("phase", *PROBABILITIES) if name in made]
    read = slices.read_planes({name: made[name] for name in names}, where)
    shown = [(read["phase"], [colour for colour, _ in _PHASES], "Phase.", _PHASES)]
    for name, colours, title in _SHADED:
        if name in read:
            levels = {
                view: np.rint(values * (_SHADES - 1)).astype(np.uint8)
                for view, values in read[name].items()
            }
            shown.append((levels, _palette(colours), title, colours))
    cards = _image(step, float(made["z"].values[where.place["z"]]))
    for labels, palette, title, legend in shown:
        gaps = np.zeros(made.sizes["z"], bool)
        pictures = slices.label_pictures(labels, palette, where, gaps)
        cards.append(views_card(pictures, where, title, legend))
    return "\n".join(['<div class="views">', *cards, "</div>"])


def _palette(colours: Sequence[tuple[Any, str]]) -> list[tuple[float, float, float]]:
    """Return shades from 0 to 1 between colours."""
    shades, stops = np.linspace(0, 1, _SHADES), np.linspace(0, 1, len(colours))
    channels = zip(*(colour for colour, _ in colours), strict=True)
    red, green, blue = (np.interp(shades, stops, channel) for channel in channels)
    return list(zip(red, green, blue, strict=True))


def _image(step: _NetworkStep, z: float) -> list[str]:
    """Return a card of the images of the highest voltage at the slice nearest to a depth."""
    images = step.images
    if images is None or any(images.sizes[axis] != step.made.sizes[axis] for axis in "yx"):
        return []
    nearest = np.abs(images["z"].values - z)
    where = slices.geometry(images, nearest == nearest.min())
    image = slices.read_planes({"image": images["intensity"].isel(voltage=-1)}, where)["image"]
    pictures = slices.grey_pictures(image, where, np.zeros(images.sizes["z"], bool))
    return [views_card(pictures, where, f"Image at {images['voltage'].values[-1]:g} kV.", [])]
