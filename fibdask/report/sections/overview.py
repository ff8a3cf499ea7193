"""The section with the numbers that matter first."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ...conventions import require
from ..figures.slices import geometry
from ..markup import Section, card
from ..words import count, mean_and_spread, number
from .slices import is_placed, voxel_size
from .statistics import (
    STATISTICS,
    SYMBOLS,
    cautions,
    confidence,
    diameters,
    interval_of,
    isotropy,
    up_to,
)


def overview_section(
    stages: Mapping[str, xr.Dataset], statistics: xr.Dataset, summary: Mapping[str, Any]
) -> Section | None:
    """Show the numbers that matter first."""
    cards = []
    if "solid_fraction" in statistics:
        detail = interval_of(statistics, "solid_fraction", ".4f")
        detail += f", {confidence(statistics)} confidence" if detail else ""
        value = number(float(statistics["solid_fraction"]), ".4f")
        cards.append(card("Solid fraction φ", value, detail))
    noise = isotropy(statistics, "isotropy_noise")
    for name, error in isotropy(statistics).items():
        detail = f"{STATISTICS[name]}{up_to(statistics)}; 0 is isotropic"
        if np.isfinite(noise.get(name, np.nan)):
            detail += f", x against y {noise[name]:.4f}"
        detail = detail if np.isfinite(error) else _unknown(stages)
        cards.append(card(f"Isotropy error of {SYMBOLS[name]}", number(error, ".4f"), detail))
    if "ligament_diameter" in statistics:
        cards.append(_diameter_card(diameters(statistics)))
    if stages:
        cards += _size_cards(stages, _assumed(summary))
    if not cards:
        return None
    listed = "\n".join(cards)
    body = f'<dl class="cards">\n{listed}\n</dl>{cautions(statistics)}'
    return Section("overview", "Overview", body)


def _diameter_card(sizes: Mapping[str, float]) -> str:
    """Show the mean diameter, along the axes where it is known; and say which those are."""
    found = {axis: size for axis, size in sizes.items() if np.isfinite(size)}
    detail = ", ".join(f"{axis} {size:.4g}" for axis, size in found.items())
    detail += " nm" if found else ""
    label = "Mean ligament diameter"
    if len(found) < len(sizes):
        missing = ", ".join(axis for axis in sizes if axis not in found)
        detail += f"{'; ' if found else ''}not known along {missing}"
        label += f" along {', '.join(found)}" if found else ""
    mean = np.mean(list(found.values())) if found else np.nan
    return card(label, number(float(mean), ".4g", " nm"), detail)


def _size_cards(stages: Mapping[str, xr.Dataset], assumed: set[str]) -> list[str]:
    first, last = next(iter(stages.values())), require(list(stages.values())[-1])
    where = geometry(last)
    lengths = " × ".join(f"{where.length(axis) / 1000:.3g}" for axis in "xyz")
    voxels = " × ".join(str(last.sizes[axis]) for axis in "xyz")
    detail = f"{voxels} voxels of {voxel_size(last)}"
    given = bool({"pixel_size", "slice_thickness", "z"} & assumed)
    cards = [card("Size along x, y, z (µm)", lengths, detail, assumed=given)]
    sliced = require(stages.get("thickness", first))
    number_of_slices = sliced.sizes["z"]
    text = mean_and_spread(sliced["slice_thickness"].values[: max(number_of_slices - 1, 1)], "nm")
    placed = is_placed(sliced)  # where slices were is not known any more
    detail = count(number_of_slices, "plane" if placed else "slice")
    detail += ": no spread" if number_of_slices == 1 else ""
    given = "thickness" not in stages and bool({"slice_thickness", "z"} & assumed)
    label = "Distance of planes" if placed else "Slice thickness"
    cards.append(card(label, text, detail, assumed=given))
    for stack in stages.values():
        if "voltage" in stack.coords:
            text = ", ".join(f"{v:g}" for v in stack["voltage"].values) + " kV"
            given = bool({"voltage", "voltages"} & assumed)
            cards.append(card("Accelerating voltage", text, assumed=given))
            break
    return cards


def _unknown(stages: Mapping[str, xr.Dataset]) -> str:
    """Say why an isotropy error is not known."""
    last = list(stages.values())[-1:]
    single = any(stack.sizes["z"] == 1 for stack in last)
    return "one slice tells nothing along z" if single else "not measured along all axes"


def _assumed(summary: Mapping[str, Any]) -> set[str]:
    """Return the names of values that nobody measured: what stands before the equals sign."""
    return {str(text).partition("=")[0].strip() for text in summary.get("assumptions", [])}
