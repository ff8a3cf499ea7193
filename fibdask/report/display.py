"""How notebooks show a stack: what it is, what it was made by, and glimpses of three slices."""

import base64
from collections.abc import Iterable
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
import xarray as xr
from PIL import Image

from ..blocks import disk_bytes, format_bytes
from ..conventions import (
    PHASES,
    FibdaskError,
    measured_slices,
    recorded_steps,
    require,
    volume_names,
)
from .figures.slices import PORE, SOLID, geometry
from .sections.slices import describe, is_placed
from .words import count

_PIXELS = 256  # of each edge of a glimpse, at most: a few chunks of each slice
_LONGEST = 80  # characters of a parameter
_CELL = "text-align: left; vertical-align: top; white-space: pre-line"


def stack_html(stack: xr.Dataset) -> str:
    """Return what a stack is as HTML; of its volumes only parts of three slices are read.

    Of volumes that would have to be computed, nothing is.
    """
    try:
        stack = require(stack)
    except FibdaskError as error:
        return f"<p>No stack of fibdask: {escape(str(error))}</p>"
    noun = "plane" if is_placed(stack) else "slice"
    rows = [("Size", describe(stack)), ("Depth", _depth(stack, noun))]
    if "voltage" in stack.dims:
        rows.append(("Voltages", ", ".join(f"{kv:g} kV" for kv in stack["voltage"].values)))
    rows += [(name, _volume(stack[name])) for name in volume_names(stack)]
    rows += [("Made by", "\n".join(map(_step, recorded_steps(stack))) or "not told")]
    lines = "".join(
        f'<tr><th style="{_CELL}; white-space: nowrap">{escape(head)}</th>'
        f'<td style="{_CELL}">{escape(text)}</td></tr>'
        for head, text in rows
    )
    return f"<div><table>{lines}</table>{_glimpses(stack, noun)}</div>"


def _depth(stack: xr.Dataset, noun: str) -> str:
    """Return from where to where slices lie, and how many hold no data."""
    z, known = stack["z"].values, measured_slices(stack)
    text = f"{z[0]:.6g} to {z[0] + geometry(stack).length('z'):.6g} nm, {count(len(z), noun)}"
    return text if known.all() else f"{text}, {known.sum()} of them measured"


def _volume(volume: xr.DataArray) -> str:
    """Return type and size of a volume, and where it is."""
    text = f"{volume.dtype}, {format_bytes(volume.nbytes)}"
    voxel = _voxel(volume)
    if (stored := disk_bytes(voxel)) is not None:
        return f"{text}; {format_bytes(stored)} on disk"
    return f"{text}; {'in memory' if isinstance(voxel, np.ndarray) else 'not computed yet'}"


def _voxel(volume: xr.DataArray) -> Any:
    """Return the first voxel, as lazy as the volume is; the data of all would be loaded."""
    return volume.isel({dim: slice(1) for dim in volume.dims}).data


def readable(volume: xr.DataArray) -> bool:
    """Tell whether nothing of a volume has to be computed."""
    voxel = _voxel(volume)
    return isinstance(voxel, np.ndarray) or disk_bytes(voxel) is not None


def _step(record: dict[str, Any]) -> str:
    """Return a step of the provenance in a line."""
    given = record["parameters"].items()
    told = [f"{key} = {_short(value)}" for key, value in given if value is not None]
    return f"{record['step']}: {', '.join(told)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _glimpses(stack: xr.Dataset, noun: str) -> str:
    """Return the middle of the first, the middle and the last slice, of what can be read."""
    volume = next(filter(readable, (stack[name] for name in volume_names(stack))), None)
    if volume is None:
        return ""
    shown = str(volume.name)
    if "voltage" in volume.dims:
        volume = volume.isel(voltage=0)
        shown += f" at {volume['voltage'].item():g} kV"
    try:
        parts = middle_parts(volume, measured_slices(stack))
    except (FibdaskError, OSError) as error:  # what else is known of the stack is still wanted
        return f"<p>{escape(str(error))}</p>"
    about = f'<p style="margin: .8em 0 0">{escape(shown)}, parts of {count(len(parts), noun)}</p>'
    high, wide = (volume.sizes[axis] for axis in ("y", "x"))
    wide = max(_PIXELS // max(high, wide), 1) * min(wide, _PIXELS)  # small ones are enlarged
    sources = _pictures(list(parts.values()), as_phase=volume.name in PHASES)
    return about + "".join(
        f'<figure style="display: inline-block; margin: .5em 1em 0 0"><img src="{source}" '
        f'style="width: {wide}px; image-rendering: pixelated" '
        f'alt="{noun} {k}"><figcaption>{noun} {k}, z = {stack["z"].values[k]:.6g} nm'
        "</figcaption></figure>"
        for k, source in zip(parts, sources, strict=True)
    )


def middle_parts(volume: xr.DataArray, known: np.ndarray) -> dict[int, np.ndarray]:
    """Read the middle of the first, the middle and the last of the `known` slices (z, bool)."""
    numbers = np.flatnonzero(known)
    chosen = [int(numbers[k]) for k in (0, len(numbers) // 2, -1)] if len(numbers) else []
    return {k: _part(volume, k) for k in dict.fromkeys(chosen)}


def _part(volume: xr.DataArray, k: int) -> np.ndarray:
    """Read the middle of a slice (y, x)."""
    place: dict[str, int | slice] = {"z": k}
    for axis in ("y", "x"):
        start = max(volume.sizes[axis] - _PIXELS, 0) // 2
        place[axis] = slice(start, start + _PIXELS)
    return volume.isel(place).to_numpy().astype(np.float32)


def contrast(parts: Iterable[np.ndarray]) -> tuple[float, float]:
    """Return the values that are shown black and white: quantiles of 0.5 and 99.5 %, or 1 apart."""
    finite = [part[np.isfinite(part)] for part in parts]
    values = np.concatenate([np.zeros(0), *finite])
    low, high = np.quantile(values, (0.005, 0.995)) if values.size else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1)


def _pictures(parts: list[np.ndarray], *, as_phase: bool) -> list[str]:
    """Return parts (y, x) as addresses of images, all of one contrast; phases in their colours."""
    low, high = (0.0, 1.0) if as_phase else contrast(parts)
    sources = []
    for part in parts:
        share = np.clip((np.nan_to_num(part) - low) / (high - low), 0, 1)
        image = Image.fromarray(np.rint(255 * share).astype(np.uint8))
        if as_phase:
            colours = np.rint(255 * np.linspace(PORE, SOLID, 256))
            image.putpalette(colours.astype(np.uint8).tobytes())
        stream = BytesIO()
        image.save(stream, format="png")
        sources.append(f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}")
    return sources
