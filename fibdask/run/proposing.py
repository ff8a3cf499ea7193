"""Propose a recipe for the images at hand: what their headers tell is told, nothing is made up."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tomli_w

from ..blocks import is_address
from ..conventions import RecipeError, StackReadError, axis_spacing
from ..io import open_stack
from ..io.images.remarks import mixed
from ..io.images.scan import Options, Part, scan_voltages
from ..io.metadata import is_store
from ..io.paths import read_place
from .shown import one_line

_MAX_LAG = 64  # voxels
_SAME = 1e-3  # relative, of sides of pixels
_HEAD = """\
# A recipe of fibdask: `fibdask check` finds its mistakes, `fibdask plan` tells what it needs, and
# `fibdask run` runs it. docs/recipes.md lists all tables and keys.
# Lines that begin with # are no part of it: take the # away from those that you want.
title = {title}
"""
_REPAIR = """
# [align]                  # lays slices and voltages onto each other
# [curtaining]             # takes out the stripes of milling
# [brightness]             # takes out steps and gradients
# [thickness]              # measures where each slice lies
# method = "images"        # or "ruler", by a milled one
"""
_SEGMENT = """
[segment]
method = "kmeans"          # or "otsu", "threshold", "random_forest", "network"
classes = 3                # solid, what shines through, pore; 2 where nothing shines through
"""
_VOLUME = """
[reposition]
{spacing}
[inpaint]
method = "distance"        # or "nearest", "spline", "network"
[statistics]
max_lag = {lag}               # voxels
[output]
path = {out}
"""


def propose_recipe(
    sources: Sequence[str],
    out: Path,
    *,
    detector: str | None = None,
    dataset: str | None = None,
    channel: str | None = None,
) -> tuple[str, list[str]]:
    """Return a recipe (TOML, with comments) for images, and the keys that it still needs.

    Headers are read, no pixels. What they tell is noted and left to them, so that the recipe also
    fits other images of the same microscope; what nothing tells is named, not assumed.

    Parameters
    ----------
    sources
        A folder, pattern or file for each voltage, or a store.
    out
        Where the recipe is to lie: its paths are relative to that.
    detector, dataset, channel
        Of files that hold several, as of `read_images`.

    Raises
    ------
    StackReadError
        If there are no images, or their headers cannot be read.
    RecipeError
        If several sources do not tell their voltages.
    """
    head = _HEAD.format(title=_text(_title(sources[0])))
    if len(sources) == 1 and is_store(read_place(sources[0])):
        return head + _of_store(sources[0], out), []
    place = int(channel) if channel and channel.isdecimal() else channel
    options = Options(detector, dataset, place)
    parts = [part for source in sources for _, part in scan_voltages(source, None, options)]
    lines, needed = _input(sources, parts, out)
    given = {"detector": detector, "dataset": dataset, "channel": place}
    lines += [f"{key} = {_text(value)}" for key, value in given.items() if value is not None]
    size = None if "pixel_size" in needed else parts[0].header.pixel_size_nm
    needed += [] if size else ["spacing"]
    text = head + "\n".join(["\n[input]", *lines, ""]) + _REPAIR + _SEGMENT
    layout = parts[0].layout
    return text + _volume(size, min(layout.height, layout.width), out), needed


def _title(source: str) -> str:
    """Return the name of a folder, a file or the folder of a pattern."""
    path = Path(source)
    return one_line((path.parent if "*" in path.name else path).stem or "fibdask")


def _volume(pixel_size: tuple[float, float] | None, shorter: int, out: Path) -> str:
    """Return the tables from the regular volume on, for pixels of these sides (y, x) in nm."""
    if pixel_size is None:
        spacing = _line("# spacing =", "nm; NEEDED: best that of the pixels")
    else:
        y, x = pixel_size
        cubic = np.isclose(y, x, rtol=_SAME, atol=0)
        told = "cubic voxels" if cubic else f"that of the pixels along x; along y it is {y:.6g}"
        spacing = _line(f"spacing = {x:.6g}", f"nm; {told}")
    lag = max(min(_MAX_LAG, shorter // 2), 1)
    return _VOLUME.format(spacing=spacing, lag=lag, out=_text(f"{out.stem}-out"))


def _of_store(source: str, out: Path) -> str:
    """Return the tables for a stored stack, which tells all of itself."""
    stack = open_stack(source)
    sizes = ", ".join(f"{n} {dim}" for dim, n in stack.sizes.items())
    text = f"\n[input]\npath = {_path(source, out)}  # {sizes}\n"
    if "phase" not in stack:
        text += _REPAIR + _SEGMENT
    pixel_size = axis_spacing(stack, "y"), axis_spacing(stack, "x")
    return text + _volume(pixel_size, min(stack.sizes["y"], stack.sizes["x"]), out)


def _input(sources: Sequence[str], parts: Sequence[Part], out: Path) -> tuple[list[str], list[str]]:
    """Return the lines of [input], and the keys that nothing tells."""
    first = parts[0]
    layout = first.layout
    images = f"{first.slices.count} slices of {layout.height} × {layout.width}, {layout.dtype.name}"
    lines = [f"# {images}"]
    needed: list[str] = []
    if len(parts) == 1:
        lines.append(f"path = {_path(sources[0], out)}")
        lines.append(_header_line(first, "voltage_kv", "voltage", "kV", needed))
    elif len(sources) == 1:
        told = ", ".join(f"{part.header.voltage_kv:g}" for part in parts)
        lines += [f"path = {_path(sources[0], out)}", f"# its channels are those of {told} kV"]
    else:
        table = ", ".join(
            f'"{kilovolts}" = {_path(source, out)}'
            for kilovolts, source in _by_voltage(sources, parts).items()
        )
        lines.append(f"voltages = {{ {table} }}  # kV, from {_origin(first, 'voltage_kv')}")
    lines.append(_header_line(first, "pixel_size_nm", "pixel_size", "nm: y, x", needed))
    lines.append(_depth(first, needed))
    lines += _crop(first)
    conflicts = [found.text for part in parts for found in part.header.conflicts]
    lines += [f"# mind: {one_line(text)}" for text in dict.fromkeys([*conflicts, *mixed(parts)])]
    return lines, needed


def _by_voltage(sources: Sequence[str], parts: Sequence[Part]) -> dict[str, str]:
    """Return sources by the voltages in kV that their headers tell."""
    found: dict[str, str] = {}
    for source, part in zip(sources, parts, strict=True):
        told = part.header.voltage_kv
        key = "no voltage" if told is None or "voltage_kv" in part.varying else f"{told:g}"
        if key in found or key == "no voltage":
            msg = (
                "several sources must tell a voltage each; the headers of "
                f"{part.name} tell {key}: make a recipe for one of them, and write [input] voltages"
            )
            raise RecipeError(msg)
        found[key] = source
    return found


def _header_line(part: Part, name: str, key: str, unit: str, needed: list[str]) -> str:
    """Return a line for what the headers tell, or for what is needed because they do not."""
    if name in part.varying:
        needed.append(key)
        values = " and ".join(_number(value) for value, _ in part.varying[name])
        return _line(f"# {key} =", f"{unit}; NEEDED: headers tell {values}")
    value = getattr(part.header, name)
    if value is None:
        needed.append(key)
        return _line(f"# {key} =", f"{unit}; NEEDED: no header tells it")
    return _line(
        f"# {key} = {_number(value)}",
        f"{unit}; from {_origin(part, name)}, unless a line here tells another",
    )


def _line(text: str, comment: str) -> str:
    return f"{text:26} # {comment}"


def _depth(part: Part, needed: list[str]) -> str:
    """Return a line about what tells where the slices lie."""
    if part.slices.depths is not None:
        first, last = part.slices.depths[0], part.slices.depths[-1]
        return f"# depths stand in {part.slices.told}, {first:g} to {last:g} nm"
    line = _header_line(part, "slice_thickness_nm", "slice_thickness", "nm", needed)
    table = _line('# z = "depths.csv"', "in its place: a table with the depth of each slice")
    return f"{line}\n{table}"


def _crop(part: Part) -> Iterator[str]:
    """Iterate over a line that cuts off a burnt-in data bar, unless a header tells of none."""
    rows, height = part.header.scanned_rows, part.layout.height
    if rows is None:
        crop = f"# crop = {{ y = [0, {height}] }}"
        yield _line(crop, "fewer cut a data bar or logo off the bottom: look at one slice")
    elif rows < height:
        yield f"crop = {{ y = [0, {rows}] }}  # rows below are a data bar, by the header"


def _origin(part: Part, name: str) -> str:
    return one_line(part.header.origins[name])


def _number(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(f'{number:.6g}' for number in value)}]"
    return f"{value:.6g}"


def _path(source: str, out: Path) -> str:
    """Return a path relative to the recipe, or an address, as TOML writes a text."""
    if is_address(source):
        return _text(source)
    given, beside = Path(source).expanduser().absolute(), out.absolute().parent
    path = os.path.relpath(given, beside)
    if (beside / path).resolve() != given.resolve():  # ".." leads elsewhere behind a link
        path = os.path.relpath(given.resolve(), beside.resolve())
    return _text(path)


def _text(value: str | int) -> str:
    """Return a text, or a number, as TOML writes it."""
    return tomli_w.dumps({"key": value}).removeprefix("key = ").strip()


def write_recipe(
    sources: Sequence[str],
    out: Path,
    *,
    detector: str | None = None,
    dataset: str | None = None,
    channel: str | None = None,
) -> list[str]:
    """Write a recipe as `propose_recipe` makes it; return the keys that it still needs.

    Raises
    ------
    RecipeError
        If there is a file already.
    StackReadError
        If images cannot be read, or the recipe not be written.
    """
    if out.exists():
        msg = f"{out} exists; name another file, or remove it"
        raise RecipeError(msg)
    text, needed = propose_recipe(sources, out, detector=detector, dataset=dataset, channel=channel)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"{out} cannot be written: {error.strerror or error}"
        raise StackReadError(msg) from error
    return needed
