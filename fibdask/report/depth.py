"""The sections of the report about the third axis: alignment, thickness, depth."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ..conventions import is_regular, require
from .depth_figures import (
    depth_trace,
    distance_trace,
    drift_trace,
    pair_quality,
    thickness_outliers,
    thickness_trace,
)
from .figures import embedded
from .markup import Section, paragraph, picture, table
from .stages import provenance
from .words import count, mean_and_spread

_IMPLAUSIBLE = 1.0  # nm: no slice is milled that thin
_OUTLIERS = "|z-score| > 1.5"


def alignment_section(estimates: Mapping[str, xr.Dataset]) -> Section | None:
    """Plot the drift that was found, and how well the slices fit."""
    if "align" not in estimates:
        return None
    estimate = estimates["align"].compute()
    bad = int(estimate["bad"].sum()) if "bad" in estimate else 0
    caption = f"Shifts that bring {count(estimate.sizes['z'], 'slice')} into line."
    if bad:
        caption += f" Crosses: images that fit no neighbour ({bad})."
    body = picture(embedded(drift_trace(estimate), "svg"), "Drift of the slices.", caption)
    if "correlation_after" in estimate or "residual" in estimate:
        source = embedded(pair_quality(estimate), "svg")
        body += picture(source, "Quality of each slice.", _quality(estimate))
    return Section("alignment", "Alignment", body)


def _quality(estimate: xr.Dataset) -> str:
    """Say how well slices correlate with their neighbours, and what shift is left."""
    text = "Mean over the pairs of a slice with its neighbours; thin: before."
    medians = {
        when: float(estimate[f"correlation_{when}"].median())
        for when in ("before", "after")
        if f"correlation_{when}" in estimate
    }
    if medians:
        listed = ", ".join(f"{value:.3f} {when}" for when, value in medians.items())
        text += f" Median correlation: {listed} alignment."
    if "residual" in estimate:
        residual = float(np.sqrt((estimate["residual"] ** 2).mean()))
        unit = estimate["residual"].attrs.get("units", "")
        text += f" Residual: {residual:.3g} {unit}".rstrip() + " rms."
    return text


def depth_section(
    stages: Mapping[str, xr.Dataset], estimates: Mapping[str, xr.Dataset]
) -> Section | None:
    """Plot z and thickness of the slices as they came, as estimated, and on the grid."""
    if not stages:
        return None
    stack = require(next(iter(stages.values())))
    if stack.sizes["z"] < 2:
        return None
    body = []
    if "thickness" not in estimates or not is_regular(stack):
        body.append(_given(stack))
    if "thickness" in estimates:
        estimate = estimates["thickness"].isel(z=slice(-1))  # nothing ends the last slice
        body.append(_estimated(estimate.compute()))
    body.append(_on_grid(stages))
    return Section("depth", "Slice depth", "\n".join(filter(None, body)))


def _given(stack: xr.Dataset) -> str:
    thickness = stack["slice_thickness"].values[:-1]
    out = thickness_outliers(thickness)
    caption = (
        f"Depth and thickness of the {stack.sizes['z']} slices; dashed: mean, band: one "
        f"standard deviation. Thickness is {mean_and_spread(thickness, 'nm')}"
    )
    if out.any():
        caption += (
            f"; without outliers ({out.sum()} of {len(out)}, {_OUTLIERS}, dots) "
            f"{mean_and_spread(thickness[~out], 'nm')}"
        )
    return picture(embedded(depth_trace(stack), "svg"), "Depth of the slices.", caption + ".")


def _estimated(estimate: xr.Dataset) -> str:
    """Plot the estimated thickness, beside a second source if there is one."""
    thickness = estimate["thickness"].values
    if not np.isfinite(thickness).any():
        return paragraph(f"None of {count(len(thickness), 'slice')} has an estimated thickness.")
    flags = {"lost": np.isnan(thickness), "outlier": thickness_outliers(thickness)}
    absent = {name: ("z", flag) for name, flag in flags.items() if name not in estimate}
    estimate = estimate.assign(absent)
    sources = {"estimated": thickness}
    if "reference_thickness" in estimate:
        reference = estimate["reference_thickness"]
        sources[str(reference.attrs.get("source", "as given"))] = reference.values
    caption = "Dashed: mean, band: one standard deviation."
    if "standard_error" in estimate:
        error = float(estimate["standard_error"].median())
        caption += f" Grey around the line: standard error, median {error:.2g} nm."
    lost = int(estimate["lost"].sum())
    if lost:
        caption += f" Grey stripes: {count(lost, 'lost slice')}."
    names = list(sources)
    figure = embedded(thickness_trace(estimate, (names[0], names[-1])), "svg")
    rows = [_source_row(name, values) for name, values in sources.items()]
    head = ("Thickness", "Slices", "Mean ± std", f"Without outliers, {_OUTLIERS}", "≤ 1 nm")
    body = picture(figure, "Estimated slice thickness.", caption)
    return body + table(head, rows, numbers=range(1, len(head)), style="narrow")


def _source_row(name: str, thickness: np.ndarray) -> tuple[str, ...]:
    known = thickness[np.isfinite(thickness)]
    inner = mean_and_spread(known[~thickness_outliers(known)], "nm")
    thin = f"{np.mean(known <= _IMPLAUSIBLE):.1%}" if len(known) else "–"
    return name, str(len(known)), mean_and_spread(known, "nm"), inner, thin


def _on_grid(stages: Mapping[str, xr.Dataset]) -> str:
    """Say how far the planes of the grid are from slices, and which slices were removed."""
    gridded = [stack for stack in stages.values() if "measured" in stack.coords]
    if not gridded:
        return ""
    stack = require(gridded[-1])
    measured = stack["measured"].values
    if not measured.any():
        return paragraph("No plane holds a slice.")
    distance = distance_to_slice(stack["z"].values, measured)
    caption = (
        f"{measured.sum()} of {len(measured)} planes hold a slice; the others are at most "
        f"{distance.max():.4g} nm away from one, {distance[~measured].mean():.3g} nm in the mean."
        if not measured.all()
        else f"All {len(measured)} planes hold a slice."
    )
    caption += _left_out(stages, int(measured.sum()))
    if measured.all():
        return paragraph(caption)
    figure = embedded(distance_trace(stack, distance), "svg")
    return picture(figure, "Distance to the nearest slice.", caption)


def distance_to_slice(z: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Return the distance in nm of each plane to the nearest one with a slice, (z)."""
    slices = z[measured]
    after = np.searchsorted(slices, z).clip(0, len(slices) - 1)
    before = (after - 1).clip(0)
    return np.asarray(np.minimum(np.abs(z - slices[after]), np.abs(z - slices[before])))


def _left_out(stages: Mapping[str, xr.Dataset], moved: int) -> str:
    """Say how many slices have not come onto the grid."""
    before = [stack for stack in stages.values() if not _is_repositioned(stack)]
    left_out = before[-1].sizes["z"] - moved if before else 0
    if left_out <= 0 or len(before) == len(stages):
        return ""
    return f" Left out as failed or duplicate: {count(left_out, 'slice')}."


def _is_repositioned(stack: xr.Dataset) -> bool:
    return any(record["step"] == "reposition_slices" for record in provenance(stack))
