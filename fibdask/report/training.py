"""A page about a network: its errors, how it has learnt, an example, and what it is for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..pieces.validity import LAYERS, SIMULATION
from .figures.plots import embedded
from .figures.training import loss_curve, picture_row
from .markup import Section, picture, table
from .page import write_page
from .words import duration, number

_RANGES = {
    "voltages": "Voltages in kV",
    "pixel_size": "Pixel in nm",
    "thickness": "Mean thickness of slices in nm",
    "gap": "Distance of slices in nm",
    "electrons_per_pixel": "Electrons a pixel",
    "solid_fraction": "Solid fraction",
    "ligament_size": "Ligaments in nm",
    "materials": "Materials",
}


def write_training_report(
    path: str | Path,
    *,
    card: Mapping[str, Any],
    losses: Sequence[float],
    looks: Mapping[int, float],
    example: Mapping[str, np.ndarray],
) -> Path:
    """Write a page about a trained network, which works from disk without a network.

    Parameters
    ----------
    path
        Of the page.
    card
        Of the model.
    losses
        Of each step of its training.
    looks
        Losses on unseen data, by the step after which it was looked at.
    example
        A window that tests it. Of a network that simulates: `shown` (layer, y, x), the share of
        solid in layers, and the backscatter `coefficient` (y, x); of one that tells how thick
        layers are, `guesses` (layer, map, y, x) and `thickness` (2, layer, y, x) with its errors,
        relative to the largest; of others `images` (voltage,
        slot, y, x), `distances` (slot) of slices and `offsets` (plane) of planes from the window's
        slice in nm, and the `probability` (plane, y, x) of solid on these.
    """
    made = [
        *_judged_sections(card, example),
        _learning_section(card, np.asarray(losses, float), looks),
        _ranges_section(card),
    ]
    versions = card["training"]["versions"]
    summary = {"title": f"Network {card['name']}", "version": versions["fibdask"]}
    return write_page(path, summary, made)


def _judged_sections(
    card: Mapping[str, Any], example: Mapping[str, np.ndarray]
) -> tuple[Section, Section]:
    """Return the errors of a network, and an example of what it says."""
    if card.get("task") == SIMULATION:
        return _image_errors_section(card), _image_example_section(example)
    if card.get("task") == LAYERS:
        return _layer_errors_section(card), _layer_example_section(example)
    return _errors_section(card), _example_section(card, example)


def _errors_section(card: Mapping[str, Any]) -> Section:
    errors = card["errors"]
    head = ("Shown", "Wrong voxels", "on slices", "between slices", "Error of probabilities")
    rows = [
        (
            _condition(row),
            *(_percent(row.get(key)) for key in ("misplaced", "on_slices", "between")),
            _error(row["calibration_error"], ".2g"),
        )
        for row in errors.get("conditions", [errors])
    ]
    body = table(head, rows, numbers=(1, 2, 3, 4))
    return Section("errors", "Errors on what it has not seen", body)


def _image_errors_section(card: Mapping[str, Any]) -> Section:
    errors = card["errors"]
    head = ("Images", "Number", "Root mean square", "mean of solid", "mean of pores")
    rows = [
        (
            _image_condition(row),
            number(row["images"], ".0f"),
            *(_percent(row[key]) for key in ("rms", "solid", "pore")),
        )
        for row in errors["conditions"]
    ]
    body = table(head, rows, numbers=(1, 2, 3, 4))
    return Section("errors", "Errors on what it has not seen, of the contrast of the bulks", body)


def _image_condition(row: Mapping[str, Any]) -> str:
    if materials := row["materials"]:
        return f"{materials['solid']} in {materials['pore']}"
    return f"{_in_words(row['voltages'])} kV"


def _image_example_section(example: Mapping[str, np.ndarray]) -> Section:
    layers, coefficient = example["shown"][:-1], example["coefficient"]
    shown = [("solid at the face", layers[0]), ("half a contrast deep", layers[len(layers) // 2])]
    figure = embedded(picture_row([*shown, ("share that comes back", coefficient)]), "webp")
    caption = "What is below a face, and the share of electrons that it scatters back."
    return Section("example", "Example", picture(figure, "What it says.", caption))


def _layer_errors_section(card: Mapping[str, Any]) -> Section:
    head = ("Signals", "Noise", "Network", "Likelihood", "smoothed", "within one standard error")
    rows = [
        (
            row["forward"],
            number(100 * row["noise"], "g", " %"),
            *(
                ", ".join(number(far, ".3g") for far in row[name])
                for name in ("network", "likelihood", "smoothed")
            ),
            number(100 * row["inside"], ".0f", " %"),
        )
        for row in card["errors"]["conditions"]
    ]
    body = table(head, rows, numbers=(1, 2, 3, 4, 5))
    return Section("errors", "Mean errors in nm of aluminium and gold not seen before", body)


def _layer_example_section(example: Mapping[str, np.ndarray]) -> Section:
    pixel, _, smoothed, _ = example["guesses"][0]
    said, error = example["thickness"][:, 0]
    shown = [("likelihood", pixel), ("smoothed", smoothed), ("network", said), ("error", error)]
    figure = embedded(picture_row(shown), "webp")
    caption = "Thickness of a layer relative to the largest: what it is shown, and what it says."
    return Section("example", "Example", picture(figure, "What it says.", caption))


def _condition(row: Mapping[str, Any]) -> str:
    if "voltages" not in row:
        return "phases of the measured planes"
    voltages = ", ".join(f"{voltage:g}" for voltage in row["voltages"])
    electrons = row["electrons_per_pixel"]  # not known of painted slices
    return f"{voltages} kV" + (f", {electrons:g} electrons a pixel" if electrons else "")


def _percent(value: float | None) -> str:
    return _error(value, ".3g", " %")


def _error(value: float | None, style: str, unit: str = "") -> str:
    return "–" if value is None else number(value, style, unit)


def _example_section(card: Mapping[str, Any], example: Mapping[str, np.ndarray]) -> Section:
    own = int(np.flatnonzero(example["distances"] == 0)[0])
    titles = [f"{voltage:g} kV" for voltage in card["voltages"]] or ["measured plane"]
    slices = zip(titles, example["images"][:, own], strict=True)
    planes = {0: example["offsets"][0], -1: example["offsets"][-1]}
    said = example["probability"]
    answers = [
        (f"solid {offset:.3g} nm below" if offset else "solid on the slice", said[plane])
        for plane, offset in dict(planes).items()
    ]
    figure = embedded(picture_row([*slices, *answers]), "webp")
    caption = "A slice as the network is shown it, and the probability of solid that it finds."
    return Section("example", "Example", picture(figure, "What it says.", caption))


def _learning_section(
    card: Mapping[str, Any], losses: np.ndarray, looks: Mapping[int, float]
) -> Section:
    made = card["training"]
    caption = f"{made['steps']} steps in {duration(made['seconds'])} on {made['device']}."
    figure = embedded(loss_curve(losses, looks), "svg")
    return Section("learning", "Learning", picture(figure, "Loss of each step.", caption))


def _ranges_section(card: Mapping[str, Any]) -> Section:
    rows = [(text, _in_words(card[key])) for key, text in _RANGES.items() if card.get(key)]
    rows.append(("Licence", card["licence"]))
    return Section("ranges", "What it was trained on", table(("", ""), rows, style="narrow"))


def _in_words(value: Any) -> str:
    """Return a range, a list or a table in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_named(of)}" for name, of in value.items())
    if len(value) == 2 and value[0] == value[1]:
        return f"{value[0]:g}"
    return (" to " if len(value) == 2 else ", ").join(f"{one:g}" for one in value)


def _named(value: Any) -> str:
    return " or ".join(value) if isinstance(value, list) else str(value)
