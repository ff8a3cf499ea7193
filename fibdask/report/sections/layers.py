"""The section with the layers of a sample that beams of several energies have looked through."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ..figures.layers import layer_maps
from ..figures.plots import embedded
from ..markup import Section, paragraph, picture, table
from ..words import number

_SHOWN = 1024  # pixels along y and x at most
_MISFIT = 1.5  # from which on model or noise are thought wrong


def layers_section(samples: Mapping[str, xr.Dataset]) -> Section | None:
    """Show the thickness of each layer in the middle of the last sample that has it."""
    found = [sample for sample in samples.values() if "thickness" in sample]
    if not found:
        return None
    part = {axis: _middle(found[-1].sizes[axis]) for axis in ("y", "x")}
    wanted = [name for name in ("thickness", "thickness_error", "misfit") if name in found[-1]]
    sample = found[-1][wanted].isel(part).compute()
    height, width = sample.sizes["y"], sample.sizes["x"]
    caption = f"The {height} × {width} pixels in the middle of the map."
    body = picture(embedded(layer_maps(sample), "webp"), "Thickness of the layers.", caption)
    return Section("layers", "Layers", body + _numbers(sample) + _misfit(sample))


def _middle(size: int) -> slice:
    start = max(size - _SHOWN, 0) // 2
    return slice(start, min(start + _SHOWN, size))


def _numbers(sample: xr.Dataset) -> str:
    rows = []
    # By their place: two layers may be of one material.
    for place, layer in enumerate(sample["layer"].values):
        values = sample["thickness"].values[place]
        known = values[np.isfinite(values)]
        there = known[known > 0]
        covered = 100 * len(there) / max(len(known), 1)
        mean = float(there.mean()) if len(there) else np.nan
        error = np.nan
        if "thickness_error" in sample:
            error = float(np.nanmedian(sample["thickness_error"].values[place]))
        sizes = number(mean, ".4g", " nm"), number(error, ".3g", " nm")
        rows.append([str(layer), f"{covered:.1f} %", *sizes])
    head = ["Layer", "covers", "mean thickness there", "median standard error"]
    return table(head, rows, numbers=[1, 2, 3], style="narrow")


def _misfit(sample: xr.Dataset) -> str:
    """Say whether signals are explained by the layers."""
    if "misfit" not in sample:
        return ""
    median = float(np.nanmedian(sample["misfit"].values))
    text = f"Median misfit {number(median, '.3g')}; it is about 1 where model and noise are right."
    if median > _MISFIT:
        text += " Here they are not: thicknesses and their errors are not to be trusted."
    return paragraph(text)
