"""Sections about the numbers that were measured, and how true they are."""

from collections.abc import Mapping
from html import escape

import numpy as np
import xarray as xr

from ...statistics import statistics_warnings
from ...statistics.lines.distances import compared_distance
from ..figures.plots import correlation_curves, embedded, fraction_profile
from ..markup import Section, picture, table
from ..words import count, number

STATISTICS = {
    "two_point_correlation": "two-point correlation",
    "lineal_path": "lineal path",
    "ligament_diameter": "ligament diameter",
}
SYMBOLS = {
    "two_point_correlation": "S₂",
    "lineal_path": "L",
    "ligament_diameter": "D",
}
_ACCURACY = {
    "misplaced": ("misplaced voxels (MP)", " %"),
    "misplaced_on_slices": ("misplaced in planes that hold a slice", " %"),
    "misplaced_between": ("misplaced in planes between slices", " %"),
    "misplaced_solid": ("misplaced solid (MGP)", " %"),
    "mean_dice": ("mean Dice score (MDS)", ""),
}
CURVES = {"two_point_correlation": "S₂(r)", "lineal_path": "L(r)"}


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
    curves = {name: label for name, label in CURVES.items() if name in statistics}
    errors = isotropy(statistics)
    if curves:
        caption = "Probability that both ends of a segment (S₂), or all of it (L), lie in solid."
        if errors:
            caption += f" Isotropy errors{up_to(statistics)}: {_listed(errors)}; 0 is isotropic."
        caption += _error_bars(statistics)
        title = "Functions of distance along x, y and z."
        body.append(
            picture(embedded(correlation_curves(statistics, curves), "svg"), title, caption)
        )
    rows = _number_rows(statistics)
    if rows:
        body.append(_number_table(rows, confidence(statistics)))
        body.append(cautions(statistics))
    return Section("statistics", "Statistics", "\n".join(body)) if body else None


def _number_table(rows: list[tuple[str, str, str]], level: str) -> str:
    if not level:
        short = [row[:2] for row in rows]
        return table(("Quantity", "Value"), short, numbers=(1,), style="narrow")
    head = ("Quantity", "Value", f"{level} confidence interval")
    return table(head, rows, numbers=(1, 2), style="narrow")


def _error_bars(statistics: xr.Dataset) -> str:
    """Say what the bands are, and how large isotropy errors are in the plane."""
    text = ""
    noise = isotropy(statistics, "isotropy_noise")
    if noise:
        text += f" x against y: {_listed(noise)}; noise alone, if the plane is isotropic."
    level = confidence(statistics)
    return text + (f" Bands: {level} confidence intervals." if level else "")


def _listed(errors: Mapping[str, float]) -> str:
    return ", ".join(f"{SYMBOLS[name]} {number(error, '.4f')}" for name, error in errors.items())


def confidence(statistics: xr.Dataset) -> str:
    """Return the confidence of the intervals in words, or nothing."""
    for array in statistics.data_vars.values():
        if "confidence" in array.attrs:
            return f"{100 * array.attrs['confidence']:g} %"
    return ""


def interval_of(statistics: xr.Dataset, name: str, style: str, unit: str = "", **place: str) -> str:
    """Return a confidence interval in words, or nothing."""
    if f"{name}_interval" not in statistics:
        return ""
    ends = statistics[f"{name}_interval"].sel(place)
    lower, upper = (float(ends.sel(bound=bound)) for bound in ("lower", "upper"))
    if not np.isfinite(lower):
        return ""
    end = f"to {number(upper, style)}" if np.isfinite(upper) else "or more"
    return f"{number(lower, style)} {end}{unit}"


def _number_rows(statistics: xr.Dataset) -> list[tuple[str, str, str]]:
    rows = []
    if "solid_fraction" in statistics:
        interval = interval_of(statistics, "solid_fraction", ".5f")
        value = number(float(statistics["solid_fraction"]), ".5f")
        rows.append(("solid fraction φ", value, interval))
    if "ligament_diameter" in statistics:
        for axis, size in diameters(statistics).items():
            interval = interval_of(statistics, "ligament_diameter", ".4g", " nm", axis=axis)
            value = number(size, ".4g", " nm")
            rows.append((f"ligament diameter along {axis}", value, interval))
    for label, key in (("", "isotropy_error"), (", x against y", "isotropy_noise")):
        for name, error in isotropy(statistics, key).items():
            interval = interval_of(statistics, key, ".5f", statistic=name)
            text = f"isotropy error of the {STATISTICS[name]}{label}"
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


def cautions(statistics: xr.Dataset) -> str:
    """List what must be known beside the numbers."""
    found = [f"<li>{escape(text)}</li>" for text in statistics_warnings(statistics)]
    if not found:
        return ""
    return f"<h3>To be known beside the numbers</h3>\n<ul>{''.join(found)}</ul>"


def up_to(statistics: xr.Dataset) -> str:
    """Say up to which distance isotropy errors compare, if that is known."""
    if "lineal_path" not in statistics:
        return ""
    distance = compared_distance(statistics)
    return f" up to {distance:.4g} nm" if np.isfinite(distance) else ""
