"""The section to look through the result: planes across each axis that sliders move."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import is_color_like, to_rgb

from ...conventions import (
    AXES,
    PHASES,
    PROBABILITIES,
    FibdaskError,
    known_planes,
    require,
    volume_names,
)
from ..display import contrast, readable
from ..figures import slices
from ..figures.plots import scale_bar_length
from ..figures.sampled import Bins, SampledVolume, sampled_volume
from ..figures.sprites import Colour, Sprite, class_sprite, grey_sprite, share_sprite
from ..markup import Section, colour_legend, paragraph
from ..viewing import last_volumes, named_volumes
from ..viewing.volumes import NamedVolume
from .slices import is_placed

_BYTES = 5 * 2**18  # of all pictures, which base64 makes a third longer
_PIXELS = 1200  # of the two pictures beside each other
_WIDTH = 44  # of both on the screen, in letters' heights, where they are no higher than wide
_VIEWS = ("xy", "zy", "xz")  # to the right, down
# Of classes whose labels tell none, apart for colour-blind readers: Okabe and Ito, 2008.
_COLOURS = ("#999999", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
_CLASSES = 24  # that a legend names; of more, colours come again
_ABOUT = (
    "Sliders move the planes: by the mouse, or by the arrow keys once one is chosen; a click into "
    "a plane moves the two others there. These are small copies; fibdask view shows every voxel."
)


@dataclass(frozen=True)
class _Room:
    """Of how many volumes it is one, and the bytes that its picture may take."""

    share: int
    most: int


@dataclass(frozen=True)
class _Layer:
    """A volume, or one voltage of it, that can be chosen."""

    title: str
    note: str
    sprite: Sprite
    bins: Mapping[str, Bins]
    noun: str
    legend: tuple[tuple[Colour, str], ...]


def look_section(stages: Mapping[str, xr.Dataset]) -> Section | None:
    """Show small copies of the volumes, each as the last stage left it, at their depths."""
    wanted, left = _shown(stages)
    made: dict[int, _Layer] = {}
    bytes_left = _BYTES
    # What is smooth comes first: it needs little, and leaves the rest to noise.
    order = sorted(range(len(wanted)), key=lambda number: not _is_smooth(wanted[number]))
    for done, number in enumerate(order):
        room = _Room(len(wanted), bytes_left // (len(wanted) - done))
        layer = _made(wanted[number], room)
        if isinstance(layer, str):
            left.append(layer)
        else:
            made[number] = layer
            bytes_left -= len(layer.sprite.source) * 3 // 4
    if not made:
        return None
    layers = [made[number] for number in sorted(made)]
    body = [paragraph(_ABOUT), _explorer(layers), *map(paragraph, left)]
    return Section("look", "Look through", "\n".join(body), script=_script())


@lru_cache(1)
def _script() -> str:
    package = files("fibdask.report") / "templates"
    return package.joinpath("look.js").read_text(encoding="utf-8")


def _shown(stages: Mapping[str, xr.Dataset]) -> tuple[list[NamedVolume], list[str]]:
    """Return the last of each volume that is at hand, and why others cannot be shown."""
    left: list[str] = []
    stacks = last_volumes(_at_hand(stack, left) for stack in stages.values())
    return list(named_volumes(stacks)), left


def _at_hand(stack: xr.Dataset, left: list[str]) -> xr.Dataset:
    """Return a stack without volumes that would have to be computed, or cannot be read."""
    gone = []
    for name in volume_names(stack):
        try:
            if readable(require(stack)[name]):
                continue
        except FibdaskError as error:  # a page about a failed run is still wanted
            left.append(_unreadable(name, error))
        gone.append(name)
    return stack.drop_vars(gone)


def _unreadable(name: str, error: Exception) -> str:
    return f"{name} could not be read: {error}"


def _is_smooth(volume: NamedVolume) -> bool:
    return volume.is_label or volume.name in PROBABILITIES


def _made(volume: NamedVolume, room: _Room) -> _Layer | str:
    """Read and picture a volume, or say why it is left out."""
    try:
        found = sampled_volume(
            volume.stack,
            volume.name,
            voltage=volume.voltage,
            average=not volume.is_label or volume.name in PHASES,
            share=room.share,
        )
    except (FibdaskError, OSError) as error:
        return _unreadable(volume.title, error)
    if found is None:
        return (
            f"{volume.title} is not here: it has no pyramid, which uneven slices cannot have, and "
            "two of its slices would be too much to read; fibdask view shows it."
        )
    placed = is_placed(volume.stack)
    known = np.ones(len(found.bins["z"]), bool)
    if placed:
        known = _known(volume.stack[volume.name], found.bins["z"])
    legend, note, sprite = _picture(volume, found.values, known, room)
    if not known.all() or not np.isfinite(found.values).all():
        legend = [*legend, (slices.GAP, "no data")]
    noun = "plane" if placed else "slice"
    title = volume.title.replace("_", " ")
    note = f"{title}: {note}{_sampling(volume.stack, found, noun)}."
    return _Layer(title, note, sprite, found.bins, noun, tuple(legend))


def _picture(
    volume: NamedVolume, values: np.ndarray, known: np.ndarray, room: _Room
) -> tuple[list[tuple[Colour, str]], str, Sprite]:
    """Return what colours mean, what grey means, and the picture."""
    if volume.name in PHASES:
        colours = slices.PORE, slices.SOLID
        sprite = share_sprite(values, colours, known, room.most)
        return list(zip(colours, ("pore", "solid"), strict=True)), "", sprite
    if volume.is_label:
        legend, sprite = _classes(volume, values, known, room)
        return legend, "", sprite
    limits = (0.0, 1.0) if volume.name in PROBABILITIES else contrast([values[known]])
    note = f"black is {limits[0]:.4g}, white {limits[1]:.4g}; "
    return [], note, grey_sprite(values, limits, known, room.most)


def _known(volume: xr.DataArray, bins: Bins) -> np.ndarray:
    """Return which of the shown planes hold data."""
    known = known_planes(volume)
    return np.array([known[first : last + 1].any() for first, last in bins.numbers])


def _sampling(stack: xr.Dataset, found: SampledVolume, noun: str) -> str:
    """Say of how many voxels those are made that are shown."""
    numbers, total = found.bins["z"].numbers, stack.sizes["z"]
    covered = int((numbers[:, 1] - numbers[:, 0] + 1).sum())
    text = f"{covered} of {total} {noun}s" if covered < total else f"all {total} {noun}s"
    if covered > len(numbers):
        text += f", {numbers[0, 1] - numbers[0, 0] + 1} averaged"
    first, last = found.bins["x"].numbers[0]
    size = last - first + 1
    return f"{text}, pixels averaged over {size} × {size}" if size > 1 else text


def _classes(
    volume: NamedVolume, values: np.ndarray, known: np.ndarray, room: _Room
) -> tuple[list[tuple[Colour, str]], Sprite]:
    """Picture labels in the colours that their attributes tell, or else in ours."""
    attrs, given = volume.stack[volume.name].attrs, volume.class_colours()
    told = [int(value) for value in np.atleast_1d(attrs.get("flag_values", []))]
    names = dict(zip(told, str(attrs.get("flag_meanings", "")).split(), strict=False))
    present, numbers = np.unique(values.astype(np.int64), return_inverse=True)
    colours, legend = [], []
    for k, value in enumerate(map(int, present)):
        colour = given.get(value, "")
        colours.append(to_rgb(colour if is_color_like(colour) else _COLOURS[k % len(_COLOURS)]))
        legend.append((colours[-1], names.get(value, str(value))))
    sprite = class_sprite(numbers.reshape(values.shape), colours, known, room.most)
    return legend if len(legend) <= _CLASSES else [], sprite


def _explorer(layers: list[_Layer]) -> str:
    frame = {
        axis: [
            min(float(layer.bins[axis].edges[0]) for layer in layers),
            max(float(layer.bins[axis].edges[-1]) for layer in layers),
        ]
        for axis in AXES
    }
    length = {axis: stop - start for axis, (start, stop) in frame.items()}
    gap = f"#{bytes(round(255 * c) for c in slices.GAP).hex()}"
    return "\n".join(
        [
            f'<div class="look" hidden data-frame="{_json(frame)}" data-gap="{gap}">',
            _views(length),
            '<div class="controls">',
            _choices(layers),
            *map(_slider, reversed(AXES)),
            '<p class="note about"></p>',
            *(colour_legend(layer.legend) for layer in layers),
            "</div>",
            *map(_image, layers),
            "</div>",
            '<noscript><p class="about">Sliders need JavaScript; the slices below do not.</p>'
            "</noscript>",
        ]
    )


def _slider(axis: str) -> str:
    """Return a slider along an axis, under the place that it tells."""
    name = f"look-{axis}"
    return (
        f'<label for="{name}"><output name="{axis}" for="{name}">{axis}</output></label>'
        f'<input type="range" id="{name}" name="{axis}" min="0" step="1" aria-label="{axis}">'
    )


def _choices(layers: list[_Layer]) -> str:
    """Return a choice of what is shown."""
    listed = "".join(
        f'<label><input type="radio" name="layer"{"" if k else " checked"}>'
        f"{escape(layer.title)}</label>"
        for k, layer in enumerate(layers)
    )
    return f"<fieldset><legend>Shown</legend>{listed}</fieldset>"


def _views(length: Mapping[str, float]) -> str:
    """Return three pictures in true proportions: across z, with that across x at its right."""
    wide, high = length["x"] + length["z"], length["y"] + length["z"]
    pixel = max(wide, high) / _PIXELS
    bar, text = scale_bar_length(length["x"])
    scale = (
        f'<span class="scale"><b>{text}</b><i style="width:{100 * bar / length["x"]:.2f}%"></i>'
        "</span>"
    )
    cells = []
    for view in _VIEWS:
        across, down = tuple(view)
        (through,) = set(AXES) - set(view)
        size = [max(round(length[axis] / pixel), 1) for axis in view]
        cells.append(
            f'<div><canvas data-axes="{view}" width="{size[0]}" height="{size[1]}" role="img" '
            f'aria-label="plane across {through}"></canvas>'
            f'<span class="axes">{across} → {down} ↓</span>{scale if view == "xy" else ""}</div>'
        )
    shares = " ".join(f"minmax(0, {100 * length[axis] / wide:.3f}fr)" for axis in "xz")
    style = f"grid-template-columns:{shares};max-width:{_WIDTH * min(wide / high, 1):.1f}rem"
    return f'<div class="planes" style="{style}">{"".join(cells)}</div>'


def _image(layer: _Layer) -> str:
    """Return the picture that planes are drawn from, with where they lie."""
    bins: dict[str, Any] = {
        axis: {"edges": _rounded(found.edges), "places": _rounded(found.places)}
        for axis, found in layer.bins.items()
    }
    bins["z"]["numbers"] = [
        str(first) if first == last else f"{first} to {last}"
        for first, last in layer.bins["z"].numbers
    ]
    bins |= {"columns": layer.sprite.columns, "noun": layer.noun}
    return (
        f'<img hidden src="{layer.sprite.source}" alt="{escape(layer.note)}" '
        f'data-bins="{_json(bins)}">'
    )


def _rounded(lengths: np.ndarray) -> list[float]:
    """Return lengths in nm, with as many digits as somebody reads."""
    return [float(f"{length:.7g}") for length in lengths]


def _json(value: Any) -> str:
    return escape(json.dumps(value, separators=(",", ":")))
