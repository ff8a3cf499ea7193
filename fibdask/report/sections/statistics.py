"""The sections of the report besides the slices; each is None where there is nothing to say."""

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import xarray as xr

from ...conventions import recorded_steps, require
from ...statistics import statistics_warnings
from ..figures.plots import correlation_curves, embedded, fraction_profile
from ..figures.slices import geometry
from ..markup import Section, card, paragraph, picture, table
from ..words import count, duration, mean_and_spread, memory, number
from .slices import voxel_size

_STATISTICS = {
    "two_point_correlation": "two-point correlation",
    "lineal_path": "lineal path",
    "ligament_diameter": "ligament diameter",
}
_SYMBOLS = {
    "two_point_correlation": "S₂",
    "lineal_path": "L",
    "ligament_diameter": "D",
}
_ACCURACY = {
    "misplaced": ("misplaced voxels (MP)", " %"),
    "misplaced_solid": ("misplaced solid (MGP)", " %"),
    "mean_dice": ("mean Dice score (MDS)", ""),
}
_COUNTS = ("blocks", "blocks_run", "blocks_skipped", "blocks_failed")
_TIMING_HEAD = ("Stage", "Blocks", "Run", "Skipped", "Failed", "Time")
_CURVES = {"two_point_correlation": "S₂(r)", "lineal_path": "L(r)"}


def overview_section(
    stages: Mapping[str, xr.Dataset], statistics: xr.Dataset, summary: Mapping[str, Any]
) -> Section | None:
    """Show the numbers that matter first."""
    cards = []
    if "solid_fraction" in statistics:
        detail = _interval(statistics, "solid_fraction", ".4f")
        value = number(float(statistics["solid_fraction"]), ".4f")
        cards.append(card("Solid fraction φ", value, detail))
    noise = isotropy(statistics, "isotropy_noise")
    for name, error in isotropy(statistics).items():
        detail = f"{_STATISTICS[name]}{_up_to(statistics)}; 0 is isotropic"
        if np.isfinite(noise.get(name, np.nan)):
            detail += f", x against y {noise[name]:.4f}"
        detail = detail if np.isfinite(error) else _unknown(stages)
        cards.append(card(f"Isotropy error of {_SYMBOLS[name]}", number(error, ".4f"), detail))
    if "ligament_diameter" in statistics:
        cards.append(_diameter_card(diameters(statistics)))
    if stages:
        cards += _size_cards(stages, _assumed(summary))
    if not cards:
        return None
    listed = "\n".join(cards)
    body = f'<dl class="cards">\n{listed}\n</dl>{_cautions(statistics)}'
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


def _cautions(statistics: xr.Dataset) -> str:
    """List what must be known beside the numbers."""
    found = [f"<li>{escape(text)}</li>" for text in statistics_warnings(statistics)]
    if not found:
        return ""
    return f"<h3>To be known beside the numbers</h3>\n<ul>{''.join(found)}</ul>"


def _up_to(statistics: xr.Dataset) -> str:
    """Say up to which distance isotropy errors compare, if that is known."""
    return f" up to {int(statistics['lag'][-1])} voxels" if "lag" in statistics else ""


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
    detail = count(number_of_slices, "slice") + (": no spread" if number_of_slices == 1 else "")
    given = "thickness" not in stages and bool({"slice_thickness", "z"} & assumed)
    cards.append(card("Slice thickness", text, detail, assumed=given))
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


def profile_section(stages: Mapping[str, xr.Dataset], statistics: xr.Dataset) -> Section | None:
    """Plot the solid fraction along z."""
    if "solid_fraction_profile" not in statistics:
        return None
    profile = statistics["solid_fraction_profile"]
    measured = None
    for stack in stages.values():
        if "measured" in stack.coords and stack.sizes["z"] == profile.sizes["z"]:
            measured = stack["measured"].values
    values = profile.values[np.isfinite(profile.values)]
    if not len(values):
        return None
    caption = (
        f"Share of solid in each of {count(len(values), 'plane')}: mean {values.mean():.4f}, "
        f"standard deviation {number(values.std(), '.2g')}, "
        f"from {values.min():.4f} to {values.max():.4f}."
    )
    if missing := profile.size - len(values):
        caption += f" {count(missing, 'plane')} without data."
    figure = embedded(fraction_profile(profile, measured), "svg")
    return Section("profile", "Solid fraction", picture(figure, "Solid fraction along z.", caption))


def statistics_section(statistics: xr.Dataset) -> Section | None:
    """Plot the two-point correlation and the lineal path, and list the numbers."""
    body = []
    curves = {name: label for name, label in _CURVES.items() if name in statistics}
    errors = isotropy(statistics)
    if curves:
        caption = "Probability that both ends of a segment (S₂), or all of it (L), lie in solid."
        if errors:
            caption += f" Isotropy errors{_up_to(statistics)}: {_listed(errors)}; 0 is isotropic."
        caption += _error_bars(statistics)
        title = "Functions of distance along x, y and z."
        body.append(
            picture(embedded(correlation_curves(statistics, curves), "svg"), title, caption)
        )
    rows = _number_rows(statistics)
    if rows:
        body.append(_number_table(rows, _confidence(statistics)))
        body.append(_cautions(statistics))
    return Section("statistics", "Statistics", "\n".join(body)) if body else None


def _number_table(rows: list[tuple[str, str, str]], confidence: str) -> str:
    if not confidence:
        short = [row[:2] for row in rows]
        return table(("Quantity", "Value"), short, numbers=(1,), style="narrow")
    head = ("Quantity", "Value", f"{confidence} confidence interval")
    return table(head, rows, numbers=(1, 2), style="narrow")


def _error_bars(statistics: xr.Dataset) -> str:
    """Say what the bands are, and how large isotropy errors are in the plane."""
    text = ""
    noise = isotropy(statistics, "isotropy_noise")
    if noise:
        text += f" x against y: {_listed(noise)}; noise alone, if the plane is isotropic."
    confidence = _confidence(statistics)
    return text + (f" Bands: {confidence} confidence intervals." if confidence else "")


def _listed(errors: Mapping[str, float]) -> str:
    return ", ".join(f"{_SYMBOLS[name]} {number(error, '.4f')}" for name, error in errors.items())


def _confidence(statistics: xr.Dataset) -> str:
    for array in statistics.data_vars.values():
        if "confidence" in array.attrs:
            return f"{100 * array.attrs['confidence']:g} %"
    return ""


def _interval(statistics: xr.Dataset, name: str, style: str, **place: str) -> str:
    """Return a confidence interval in words, or nothing."""
    if f"{name}_interval" not in statistics:
        return ""
    ends = statistics[f"{name}_interval"].sel(place)
    lower, upper = (float(ends.sel(bound=bound)) for bound in ("lower", "upper"))
    if not np.isfinite(lower):
        return ""
    end = f"to {number(upper, style)}" if np.isfinite(upper) else "or more"
    return f"{number(lower, style)} {end}"


def _number_rows(statistics: xr.Dataset) -> list[tuple[str, str, str]]:
    rows = []
    if "solid_fraction" in statistics:
        interval = _interval(statistics, "solid_fraction", ".5f")
        value = number(float(statistics["solid_fraction"]), ".5f")
        rows.append(("solid fraction φ", value, interval))
    if "ligament_diameter" in statistics:
        for axis, size in diameters(statistics).items():
            interval = _interval(statistics, "ligament_diameter", ".4g", axis=axis)
            value = number(size, ".4g", " nm")
            rows.append((f"ligament diameter along {axis}", value, interval))
    for label, key in (("", "isotropy_error"), (", x against y", "isotropy_noise")):
        for name, error in isotropy(statistics, key).items():
            interval = _interval(statistics, key, ".5f", statistic=name)
            text = f"isotropy error of the {_STATISTICS[name]}{label}"
            rows.append((text, number(error, ".5f"), interval))
    return rows


def accuracy_section(statistics: xr.Dataset) -> Section | None:
    """List the errors against the truth, and sizes beside the true ones."""
    rows = [
        (prefix + label, number(float(statistics[key + name]), ".4g", unit))
        for key, prefix in (("", ""), ("volume_", "whole volume: "))
        for name, (label, unit) in _ACCURACY.items()
        if key + name in statistics
    ]
    body = []
    if rows:
        errors = ("Segmentation against the truth", "Value")
        body.append(table(errors, rows, numbers=(1,), style="narrow"))
    if sizes := _true_sizes(statistics):
        beside = ("Structure", "Measured", "Truth")
        body.append(table(beside, sizes, numbers=(1, 2), style="narrow"))
    return Section("accuracy", "Accuracy", "\n".join(body)) if body else None


def _true_sizes(statistics: xr.Dataset) -> list[tuple[str, ...]]:
    """Return solid fraction and diameters, as measured and as they truly are."""
    rows: list[tuple[str, ...]] = []
    if {"solid_fraction", "true_solid_fraction"} <= set(statistics.data_vars):
        pair = statistics["solid_fraction"], statistics["true_solid_fraction"]
        rows.append(("solid fraction φ", *(number(float(value), ".5f") for value in pair)))
    if {"ligament_diameter", "true_ligament_diameter"} <= set(statistics.data_vars):
        found, true = diameters(statistics), diameters(statistics, "true_ligament_diameter")
        for axis in found:
            pair_nm = (number(size, ".4g", " nm") for size in (found[axis], true[axis]))
            rows.append((f"ligament diameter along {axis}", *pair_nm))
    return rows


def isotropy(statistics: xr.Dataset, key: str = "isotropy_error") -> dict[str, float]:
    """Return the isotropy errors, or their noise floor, by the name of their statistic."""
    if key not in statistics:
        return {}
    errors = statistics[key]
    return {str(n): float(errors.sel(statistic=n)) for n in errors["statistic"].values}


def diameters(statistics: xr.Dataset, key: str = "ligament_diameter") -> dict[str, float]:
    """Return the ligament diameters in nm, or the true ones, by axis, x first."""
    sizes = statistics[key]
    return {str(a): float(sizes.sel(axis=a)) for a in sorted(sizes["axis"].values)}


def timing_section(summary: Mapping[str, Any]) -> Section | None:
    """List blocks, times and memory of every stage."""
    stages = summary.get("stages", [])
    if not stages:
        return None
    rows = [
        (
            str(stage["name"]),
            *(f"{stage[key]:,}" for key in _COUNTS),
            duration(stage["seconds"]),
            memory(stage["forecast_bytes"]),
            memory(stage["peak_bytes"]),
        )
        for stage in stages
    ]
    totals = (f"{sum(stage[key] for stage in stages):,}" for key in _COUNTS)
    rows.append(("all", *totals, duration(sum(stage["seconds"] for stage in stages)), "", ""))
    head = (*_TIMING_HEAD, "Memory, forecast", "Memory, measured")
    body = table(head, rows, numbers=range(1, len(head)), style="total")
    note = "Memory is that of one process: forecast before the run, and the measured peak."
    return Section("timings", "Time and memory", body + paragraph(note))


def failures_section(summary: Mapping[str, Any]) -> Section | None:
    """Name the blocks that failed, and why."""
    rows = [
        (str(stage["name"]), str(failure["block"]), str(failure["cause"]))
        for stage in summary.get("stages", [])
        for failure in stage.get("failures", [])
    ]
    if not rows:
        return None
    body = table(("Stage", "Block", "Cause"), rows)
    return Section("failures", "Failed blocks", body, alarm=True)


def provenance_section(
    stages: Mapping[str, xr.Dataset], summary: Mapping[str, Any]
) -> Section | None:
    """List the steps that made the result, with their parameters."""
    records = recorded_steps(list(stages.values())[-1]) if stages else []
    rows = [
        (
            str(record["step"]),
            "\n".join(f"{k} = {_plain(v)}" for k, v in record["parameters"].items()),
            str(record["version"]),
        )
        for record in records
    ]
    body = table(("Step", "Parameters", "Version"), rows) if rows else ""
    assumptions = [f"<li>{escape(str(text))}</li>" for text in summary.get("assumptions", [])]
    if assumptions:
        body += f"<h3>Assumed, not measured</h3>\n<ul>{''.join(assumptions)}</ul>"
    return Section("provenance", "Provenance", body) if body else None


def _plain(value: object) -> str:
    return "none" if value is None else str(value)


def recipe_section(summary: Mapping[str, Any]) -> Section | None:
    """Show the resolved recipe."""
    text = str(summary.get("recipe", "")).strip()
    return Section("recipe", "Recipe", f"<pre>{escape(text)}</pre>") if text else None
