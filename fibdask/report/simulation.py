"""A page about simulated images: the physics of the electrons, and what it makes of a structure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..conventions import VERSION, require
from .figures.plots import embedded
from .figures.simulation import (
    coefficient_curves,
    shine_through_curves,
    slice_row,
    trajectory_paths,
)
from .figures.slices import geometry
from .markup import Section, picture, table
from .page import write_page
from .words import percent

_TITLE = "Simulated electron images"


def write_simulation_report(
    path: str | Path,
    *,
    trajectories: xr.Dataset | None = None,
    backscatter: xr.Dataset | None = None,
    images: xr.Dataset | None = None,
    shine_through: xr.DataArray | None = None,
    summary: Mapping[str, Any] | None = None,
) -> Path:
    """Write a page about a simulation, which works from disk without a network.

    Parameters
    ----------
    path
        Of the page.
    trajectories
        Paths of electrons, as of `electron_trajectories`.
    backscatter
        `backscatter_coefficient` (material, energy) with `energy` in keV; beside them, if any,
        `measured_coefficient` (point) with the coordinates `measured_material` and
        `measured_energy` (point).
    images
        Simulated stack with `intensity` (voltage, z, y, x) and `true_phase` or `true_label`
        (z, y, x); its middle slice is shown.
    shine_through
        Mean intensity (voltage, depth) of a layer of pore material over the solid, with `depth`,
        the thickness of the layer, in nm from 0 to where nothing shines through.
    summary
        `title`, `created` and `assumptions`, as for `write_report`.

    Returns
    -------
    Path
        The page.
    """
    made = [
        None if trajectories is None else _trajectories_section(trajectories),
        None if backscatter is None else _backscatter_section(backscatter),
        None if images is None else _images_section(images),
        None if shine_through is None else _shine_through_section(shine_through),
    ]
    known = {"title": _TITLE, "version": VERSION} | dict(summary or {})
    return write_page(path, known, made)


def _trajectories_section(paths: xr.Dataset) -> Section:
    out = paths["backscattered"].values
    material, energy = paths.attrs["material"], paths.attrs["beam_energy_kev"]
    caption = (
        f"{len(out)} electrons of {energy:g} keV in bulk {material}, seen along y; "
        f"{out.sum()} of them ({percent(out.mean(), '.0%')}) are scattered back. "
        f"The deepest one reaches {float(paths['z'].max()):.3g} nm."
    )
    title = f"Paths of electrons in {material}."
    figure = picture(embedded(trajectory_paths(paths), "webp"), title, caption)
    return Section("trajectories", "Trajectories", figure)


def _backscatter_section(coefficients: xr.Dataset) -> Section:
    caption = "Lines: simulated."
    body = ""
    if "measured_coefficient" in coefficients:
        caption += " Symbols: measured."
        head = ("Material", "Measured points", "Simulated against measured, mean", "Spread")
        body = table(head, _deviations(coefficients), numbers=(1, 2, 3), style="narrow")
    title = "Backscatter coefficient against energy."
    figure = picture(embedded(coefficient_curves(coefficients), "svg"), title, caption)
    return Section("backscatter", "Backscatter", figure + body)


def _deviations(coefficients: xr.Dataset) -> list[tuple[str, ...]]:
    """Return how far simulated coefficients are from measured ones, for each material."""
    rows: list[tuple[str, ...]] = []
    points = coefficients["measured_coefficient"]
    for name in coefficients["material"].values:
        curve = coefficients["backscatter_coefficient"].sel(material=name)
        energy = curve["energy"].values
        of_it = points[points["measured_material"].values == name]
        place = of_it["measured_energy"].values
        inside = (place >= energy[0]) & (place <= energy[-1])
        if inside.any():
            simulated = np.interp(np.log(place[inside]), np.log(energy), curve)
            excess = simulated / of_it.values[inside] - 1
            text = percent(excess.mean(), "+.1%"), f"± {percent(excess.std(), '.1%')}"
            rows.append((str(name), str(inside.sum()), *text))
    return rows


def _images_section(images: xr.Dataset) -> Section:
    images = require(images)
    where = geometry(images)
    truth = "true_phase" if "true_phase" in images else "true_label"
    part = images[["intensity", truth]].isel(z=where.place["z"]).compute()
    z = float(images["z"][where.place["z"]])
    caption = f"The slice at z = {z:.4g} nm on one grey scale, and the structure in its face."
    figure = embedded(slice_row(part["intensity"], part[truth], where), "webp")
    body = picture(figure, "Slice beside its truth.", caption)
    return Section("images", "Images", body)


def _shine_through_section(signal: xr.DataArray) -> Section:
    signal = signal.transpose("voltage", "depth").compute()
    depth = signal["depth"].values
    half = {
        float(voltage): half_contrast_depth(depth, signal.sel(voltage=voltage).values)
        for voltage in signal["voltage"].values
    }
    listed = ", ".join(f"{place:.3g} nm at {voltage:g} kV" for voltage, place in half.items())
    caption = f"Dots: half of the contrast is left, {listed}."
    figure = embedded(shine_through_curves(signal, half), "svg")
    body = picture(figure, "Mean intensity of a layer over the solid.", caption)
    return Section("shine_through", "Shine-through", body)


def half_contrast_depth(depth: np.ndarray, signal: np.ndarray) -> float:
    """Return the depth where a signal first falls to the mean of its two ends; NaN if nowhere."""
    level = (signal[0] + signal[-1]) / 2
    below = np.flatnonzero(signal <= level)
    if not len(below) or below[0] == 0:
        return float("nan")
    k = below[0]
    return float(np.interp(level, signal[[k, k - 1]], depth[[k, k - 1]]))
