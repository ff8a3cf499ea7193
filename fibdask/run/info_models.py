"""Describe models in words: what they know, how wrong they are, what made them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..pieces.validity import IMAGES, LAYERS, PHASES, SIMULATION, known_materials
from .shown import one_line, table

_TASKS = {
    IMAGES: "images of slices",
    PHASES: "phases with gaps between them",
    SIMULATION: "structures, which it images",
    LAYERS: "layered samples, whose thicknesses it tells",
}


def format_models(models: Sequence[Mapping[str, Any]]) -> str:
    """Format rows of `list_models` for people."""
    if not models:
        return "no models ship with this fibdask"
    header = ("name", "task", "kV", "pixels nm", "slices nm", "electrons", "error", "licence")
    columns = ("name", "task", "voltages", "pixel_size", "thickness", "electrons_per_pixel")
    rows = [(*(model[key] for key in columns), _share(model), model["licence"]) for model in models]
    return "\n".join(map(one_line, table(header, rows)))


def _share(model: Mapping[str, Any]) -> str:
    """Say how wrong a model is, if that is known."""
    known = model["error"] is not None
    return f"{model['error']:.3g} % of {model['error_of']}" if known else "unknown"


def format_card(card: Mapping[str, Any]) -> str:
    """Format the card of a model for people."""
    lines = [f"{card['name']}, a model of {_TASKS.get(card['task'], card['task'])}"]
    lines += [f"  {line}" for line in (*_known(card), *judged(card), *_made(card))]
    return "\n".join(map(one_line, lines))


def format_result(parameters: Mapping[str, Any]) -> str:
    """Say in a line which model made a result, by the parameters of its step."""
    card, errors = parameters["model_card"], parameters["model_card"].get("errors", {})
    wrong = f", {errors['misplaced']:.3g} % of voxels wrong" if "misplaced" in errors else ""
    at = (
        f" at {errors['electrons_per_pixel']:g} electrons"
        if "electrons_per_pixel" in errors
        else ""
    )
    licence = f", {card['licence']}" if "licence" in card else ""
    return f"by model {parameters['model']}{licence}{wrong}{at} on data that it had not seen"


def judged(card: Mapping[str, Any]) -> Iterator[str]:
    """Iterate over the errors of a model, a line each."""
    errors = card["errors"]
    if card.get("task") == SIMULATION:
        yield from _judged_images(errors)
        return
    if card.get("task") == LAYERS:
        yield from _judged_layers(errors)
        return
    if "conditions" not in errors:
        wrong = f"{errors['misplaced']:.3g} % of voxels wrong"
        yield f"{wrong}, {errors['between']:.3g} % in gaps" if "between" in errors else wrong
    for row in errors.get("conditions", []):
        voltages = ", ".join(f"{v:g}" for v in row["voltages"])
        between = "none" if row["between"] is None else f"{row['between']:.3g} %"
        electrons = row["electrons_per_pixel"]  # not known of painted slices
        shown = f", {electrons:g} electrons a pixel" if electrons else ""
        yield (
            f"{voltages} kV{shown}: {row['misplaced']:.3g} % of voxels wrong, "
            f"{row['on_slices']:.3g} % on slices, {between} between them"
        )


def _judged_images(errors: Mapping[str, Any]) -> Iterator[str]:
    """Iterate over the errors of a model that simulates."""
    for row in (errors, *errors["conditions"]):
        named = row.get("materials")
        shown = f"{named['solid']} in {named['pore']}" if named else "all images"
        if not named and "voltages" in row:
            shown = f"{_range(row['voltages'])} kV"
        yield (
            f"{shown}: {row['rms']:.3g} % of the contrast root mean square, "
            f"{row['solid']:+.2g} % on average in solid, {row['pore']:+.2g} % in pores"
        )


def _judged_layers(errors: Mapping[str, Any]) -> Iterator[str]:
    """Iterate over the errors of a model that tells how thick layers are."""
    yield (
        f"{errors['relative']:.3g} times as far off as the smoothed likelihood on average; "
        f"{100 * errors['inside']:.3g} % of pixels with a layer within one standard error"
    )
    for row in errors["conditions"]:
        far, smooth = (", ".join(f"{v:.3g}" for v in row[name]) for name in ("network", "smoothed"))
        yield (
            f"{row['forward']}, {100 * row['noise']:g} % noise: {far} nm off on average "
            f"(smoothed likelihood {smooth}), {100 * row['inside']:.3g} % within one standard error"
        )


def _known(card: Mapping[str, Any]) -> Iterator[str]:
    """Iterate over what a model was trained for."""
    if card.get("task") == SIMULATION:
        yield f"voltages: {_range(card['voltages'])} kV"
    elif card.get("task") == LAYERS:
        low, high = (100 * share for share in card["noise"])
        yield f"noise: {low:g} to {high:g} % of the signals"
    elif card["voltages"]:
        yield f"voltages: {', '.join(f'{v:g}' for v in card['voltages'])} kV"
    if pairs := known_materials(card):
        named = (f"{_either(pair['solid'])} in {_either(pair['pore'])}" for pair in pairs)
        yield f"materials: {', '.join(named)}"
    for key, name, unit in (
        ("pixel_size", "pixels", " nm"),
        ("thickness", "mean thickness of slices", " nm"),
        ("gap", "distances of slices", " nm"),
        ("electrons_per_pixel", "electrons a pixel", ""),
        ("solid_fraction", "solid fraction", ""),
        ("ligament_size", "ligaments", " nm"),
    ):
        if ends := card.get(key):
            resampled = card.get("resampled", {}).get(key)
            more = f", resampled from {_range(resampled)}{unit}" if resampled else ""
            yield f"{name}: {_range(ends)}{unit}{more}"


def _made(card: Mapping[str, Any]) -> Iterator[str]:
    """Iterate over what a network is, and how it was made."""
    pace = card.get("seconds_per_megavoxel")
    seconds = f", {pace:g} s of one core a megavoxel" if pace else ""
    yield f"network: sees {card['halo']} pixels far{seconds}"
    yield from adapted(card)
    if training := card.get("training"):
        made = f"{training['steps']} steps in {training['seconds']} s"
        yield f"training: {made} ({training['device']})"
    yield f"licence: {card['licence']}"


def adapted(card: Mapping[str, Any]) -> Iterator[str]:
    """Iterate over what a model was adapted from, if it was, whose errors the card tells."""
    if told := card.get("adapted"):
        scores, parent = told["candidates"], told["parent"]["name"]
        before, after = (scores[name]["total"] for name in ("parent", told["chosen"]))
        yield (
            f"adapted from {parent} without labels ({told['chosen']}): score {before:.3g} "
            f"before, {after:.3g} after; errors are those of {parent}"
        )


def _either(names: str | Sequence[str]) -> str:
    return names if isinstance(names, str) else " or ".join(names)


def _range(ends: Sequence[float]) -> str:
    low, high = ends
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
