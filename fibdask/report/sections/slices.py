"""The section of the report that shows every stage in orthogonal slices."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import xarray as xr

from ...conventions import FibdaskError, is_regular, known_spacing, recorded_steps, require
from ..figures import slices
from ..figures.plots import embedded, orthogonal_views
from ..figures.slices import Geometry, Planes
from ..markup import Section, colour_legend, paragraph, picture
from ..words import mean_and_spread, percent

_PHASES = [(slices.PORE, "pore"), (slices.SOLID, "solid")]
_GAPS = [(slices.GAP, "gap")]


def slices_section(stages: Mapping[str, xr.Dataset], titles: Mapping[str, str]) -> Section | None:
    """Show three orthogonal planes through the stack after every stage, under its title."""
    parts: list[str] = []
    shown: set[str] = set()
    for name, stack in stages.items():
        parts.append(f"<h3>{escape(titles.get(name, name.capitalize()))}</h3>")
        try:
            parts.append(_stage(stack, shown))
        except (FibdaskError, OSError) as error:  # a page about a failed run is still wanted
            parts.append(paragraph(f"This stage could not be read: {error}"))
    return Section("slices", "Slices", "\n".join(parts)) if parts else None


def is_placed(stack: xr.Dataset) -> bool:
    """Return whether slices are on the planes of a grid, where those that hold none are gaps."""
    return any(_is_filling(r) or r["step"] == "reposition_slices" for r in recorded_steps(stack))


def _is_filling(record: Mapping[str, Any]) -> bool:
    """Return whether a step tells of planes that hold no slice."""
    return str(record["step"]).startswith("inpaint") or record["step"] == "reconstruct_volume"


def describe(stack: xr.Dataset) -> str:
    """Return size and voxels of a stack in words."""
    where = slices.geometry(stack)
    voxels = " × ".join(str(stack.sizes[axis]) for axis in "xyz")
    lengths = " × ".join(f"{where.length(axis) / 1000:.3g}" for axis in "xyz")
    return f"{voxels} voxels (x, y, z), {lengths} µm; voxels of {voxel_size(stack)}."


def voxel_size(stack: xr.Dataset) -> str:
    """Return the voxel size of a stack in words."""
    sides = [f"{known_spacing(stack, axis):.4g}" for axis in "xy"]
    thickness = stack["slice_thickness"].values[: max(stack.sizes["z"] - 1, 1)]
    if is_regular(stack):
        return " × ".join([*sides, f"{thickness[0]:.4g}"]) + " nm"
    return f"{' × '.join(sides)} nm, slices {mean_and_spread(thickness, 'nm')}"


def _stage(stack: xr.Dataset, shown: set[str]) -> str:
    """Show what is new in a stack; `shown` collects what earlier stages have shown."""
    stack = require(stack)
    absent = np.zeros(stack.sizes["z"], bool)
    if "measured" in stack.coords:
        absent = ~stack["measured"].values
    filled, placed = any(map(_is_filling, recorded_steps(stack))), is_placed(stack)
    where = slices.geometry(stack, absent if filled else ~absent)
    gaps = absent if placed else np.zeros_like(absent)
    views = _StageViews(stack, where, gaps, filled=filled)
    cards = views.cards(shown)
    notes = [describe(stack), *_absent(absent, filled=filled, placed=placed)]
    new = [paragraph(note) for note in notes if note not in shown]
    shown.update(notes)
    return "\n".join([*new, '<div class="views">', *cards, "</div>"])


def _absent(absent: np.ndarray, *, filled: bool, placed: bool) -> list[str]:
    """Say what becomes of the planes (z) that hold no slice that was measured."""
    if not absent.any():
        return []
    number, share = f"{absent.sum()} of {len(absent)}", f"({percent(absent.mean(), '.0%')})"
    if filled:
        return [f"{number} planes {share} are filled between slices."]
    if placed:
        return [f"{number} planes {share} hold no slice: gaps, shown in colour."]
    failed = "fit no neighbour or are marked as failed: repositioning leaves them out."
    return [f"{number} slices {share} {failed}"]


class _StageViews:
    """The cards of one stage: figures in orthogonal planes."""

    def __init__(
        self, stack: xr.Dataset, where: Geometry, gaps: np.ndarray, *, filled: bool
    ) -> None:
        self.stack, self.where = stack, where
        self.gaps = np.zeros_like(gaps) if filled else gaps
        self.filled = gaps if filled else np.zeros_like(gaps)

    def cards(self, shown: set[str]) -> list[str]:
        names = [n for n in ("phase", "true_phase") if n in self.stack.data_vars]
        with_images = "intensity" in self.stack.data_vars and (
            "phase" not in names or "intensity" not in shown
        )
        outline = "intensity" in self.stack.data_vars and "phase" in names and not with_images
        outline = outline and "phase" not in shown
        volumes = {name: self.stack[name] for name in names}
        voltages = range(self.stack.sizes["voltage"] if with_images else int(outline))
        volumes |= {f"image {v}": self.stack["intensity"].isel(voltage=v) for v in voltages}
        planes = slices.read_planes(volumes, self.where)
        cards = [self._image(planes, v, outline=outline) for v in voltages]
        if "phase" in names:
            cards.append(self._phase(planes["phase"]))
        if "phase" in names and self.filled.any():
            cards.append(self._sources(planes["phase"]))
        if "true_phase" in names and "true_phase" not in shown:
            cards.append(self._labels(planes["true_phase"], "True phase.", _PHASES))
        if set(names) == {"phase", "true_phase"} and not (self.gaps | self.filled).any():
            cards.append(self._accuracy(planes["phase"], planes["true_phase"]))
        shown |= {*names, *(["intensity"] if with_images else [])}
        return cards

    def _image(self, planes: Mapping[str, Planes], voltage: int, *, outline: bool) -> str:
        image = planes[f"image {voltage}"]
        pictures = slices.grey_pictures(image, self.where, self.gaps)
        title = f"Image at {self.stack['voltage'].values[voltage]:g} kV."
        gaps = self.gaps.any() or not all(np.isfinite(plane).all() for plane in image.values())
        legend = _GAPS if gaps else []
        if outline:
            pictures = slices.outlined(pictures, planes["phase"], self.where)
            legend = [*legend, (slices.OUTLINE, "boundary of the solid")]
        return views_card(pictures, self.where, title, legend)

    def _phase(self, phase: Planes) -> str:
        return self._labels(phase, "Phase.", [*_PHASES, *(_GAPS if self.gaps.any() else [])])

    def _sources(self, phase: Planes) -> str:
        """Tell filled planes from measured ones."""
        entries = [
            (slices.PORE, "pore, measured"),
            (slices.SOLID, "solid, measured"),
            (slices.FILLED_PORE, "pore, filled"),
            (slices.FILLED_SOLID, "solid, filled"),
        ]
        filled = {
            view: self.filled[self.where.place["z"]] if view == "xy" else self.filled[:, None]
            for view in slices.VIEWS
        }
        labels = {view: phase[view] + np.uint8(2) * filled[view] for view in slices.VIEWS}
        return self._labels(labels, "Measured and filled.", entries)

    def _accuracy(self, phase: Planes, truth: Planes) -> str:
        entries = [
            *_PHASES,
            (slices.MISSED, "solid taken for pore"),
            (slices.EXCESS, "pore taken for solid"),
        ]
        meaning = np.array([[0, 3], [2, 1]])  # by truth, then by phase
        labels = {view: meaning[truth[view], phase[view]] for view in slices.VIEWS}
        return self._labels(labels, "Phase against the truth.", entries)

    def _labels(
        self, labels: Planes, title: str, legend: list[tuple[tuple[float, float, float], str]]
    ) -> str:
        palette = [colour for colour, text in legend if text != "gap"]
        pictures = slices.label_pictures(labels, palette, self.where, self.gaps)
        return views_card(pictures, self.where, title, legend)


def views_card(
    pictures: Planes,
    where: Geometry,
    title: str,
    legend: Sequence[tuple[tuple[float, float, float], str]],
) -> str:
    """Return a card of three orthogonal planes, with what their colours mean."""
    place = ", ".join(f"{axis} = {where.coordinate[axis]:.6g}" for axis in "xyz")
    caption = f"Planes at {place} nm, marked by the dashed lines."
    source = embedded(orthogonal_views(pictures, where), "webp")
    return picture(source, title, caption, colour_legend(legend) if legend else "")
