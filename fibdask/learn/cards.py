"""What a card says of the data that a network was trained on: ranges that it is valid in."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import numpy as np
import xarray as xr

from ..conventions import axis_spacing, measured_slices
from ..pieces.grey import QUANTILES
from .data import SimulatedStack
from .samples import Drawing, Variation

_PIXELS = 0.1  # a pixel may be smaller or larger by this share than those of the data
_THINNER, _THICKER = 0.7, 1.5  # mean thickness, since distances vary and slices are left out
_FINER, _COARSER = 0.25, 1.35  # pixels that are resampled, beside those that need not be
_DENSER = 0.25  # slices of which one of several is shown


def ranges(stacks: Sequence[SimulatedStack], variation: Variation) -> dict[str, Any]:
    """Return what stacks must be like for a network that was trained on these.

    Voltages are in kV, lengths in nm, each a least and a most. `thickness` is the mean distance of
    slices, `gap` that of any two. What is `resampled` to these may be smaller or larger.
    """
    pixels = _span(stack.pixel_size for stack in stacks)
    thickness = _span(stack.thickness for stack in stacks)
    gaps = [float(gap) for stack in stacks for gap in np.diff(stack.z)]
    electrons = _span(
        min(limit, stack.electrons) for stack in stacks for limit in variation.electrons_per_pixel
    )
    sizes = [size for stack in stacks for size in stack.ligament_sizes]
    pixels = _rounded(pixels[0] * (1 - _PIXELS), pixels[1] * (1 + _PIXELS))
    thickness = _rounded(thickness[0] * _THINNER, thickness[1] * _THICKER)
    return {
        "voltages": [float(v) for v in stacks[0].voltage],
        "pixel_size": pixels,
        "thickness": thickness,
        "resampled": {
            "pixel_size": _rounded(pixels[0] * _FINER, pixels[1] * _COARSER),
            "thickness": _rounded(thickness[0] * _DENSER, thickness[1]),
        },
        "gap": _rounded(*_span(gaps)),
        "materials": stacks[0].materials,
        "other_materials": _others(stacks),
        "electrons_per_pixel": electrons,
        "solid_fraction": _rounded(*_span(float(stack.truth.mean()) for stack in stacks)),
        "ligament_size": _rounded(*_span(sizes)) if sizes else None,
        "grey": {"quantiles": list(QUANTILES)},
    }


def _others(stacks: Sequence[SimulatedStack]) -> list[dict[str, str]]:
    """Return materials of stacks that are not those of the first, each once."""
    found: list[dict[str, str]] = []
    for stack in stacks[1:]:
        if stack.materials and stack.materials not in (stacks[0].materials, *found):
            found.append(stack.materials)
    return found


def near_ranges(stack: xr.Dataset) -> dict[str, Any]:
    """Return what stacks must be like for a network that has learnt from slices of this one.

    Of what is in them nothing is known but that.
    """
    z = stack["z"].values[measured_slices(stack)]
    gaps = np.diff(z) if len(z) > 1 else np.ones(1)
    sizes = [axis_spacing(stack, axis) for axis in ("y", "x")]
    return {
        "voltages": [float(v) for v in stack["voltage"].values],
        "pixel_size": _rounded(min(sizes) * (1 - _PIXELS), max(sizes) * (1 + _PIXELS)),
        "thickness": _rounded(gaps.mean() * _THINNER, gaps.mean() * _THICKER),
        "gap": _rounded(*_span(map(float, gaps))),
        "materials": {},
        "electrons_per_pixel": None,
        "solid_fraction": None,
        "ligament_size": None,
        "grey": {"quantiles": list(QUANTILES)},
    }


def told_samples(samples: Drawing, variation: Any) -> dict[str, Any]:
    """Return what samples of some variation are made of, for the training's record."""
    drawn = {name: getattr(samples, name) for name in ("crop", "planes", "seed")}
    return asdict(variation) | drawn


def told_stacks(stacks: Iterable[SimulatedStack]) -> list[dict[str, Any]]:
    """Return where data come from: names of folders, and all that made them."""
    return [
        {"folder": stack.name, "shape": list(stack.counts.shape), "steps": stack.told}
        for stack in stacks
    ]


def image_hashes(stack: xr.Dataset, slices: Iterable[int]) -> list[list[str]]:
    """Return hashes of the images (slice, voltage) of some slices, by which a card knows them."""
    images = stack["intensity"].transpose("voltage", "z", "y", "x")
    grey = (images.isel(z=int(k)).values for k in slices)
    return [[sha256(one.tobytes()).hexdigest()[:20] for one in each] for each in grey]


def _span(values: Iterable[float]) -> list[float]:
    found = list(values)
    return [min(found), max(found)]


def _rounded(*values: float) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
