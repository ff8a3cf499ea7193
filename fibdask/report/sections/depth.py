"""The sections of the report about the third axis: alignment, thickness, depth."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ...conventions import (
    OUTLIER_SCORE,
    THINNEST,
    is_regular,
    require,
    thickness_outliers,
    thin_share,
)
from ...inpaint import gap_distance
from ...thickness import compare_slice_thickness
from ..figures.depth import depth_trace, distance_trace, drift_trace, pair_quality, thickness_trace
from ..figures.plots import embedded
from ..markup import Section, paragraph, picture, table
from ..words import count, mean_and_spread, number, percent, uniform
from .slices import is_placed

_OUTLIERS = f"|z-score| > {OUTLIER_SCORE}"
_HEAD = (
    "Thickness",
    "Slices",
    "Mean ± std",
    f"Outliers, {_OUTLIERS}",
    "Without outliers",
    f"≤ {THINNEST:g} nm",
)


def alignment_section(estimates: Mapping[str, xr.Dataset]) -> Section | None:
    """Plot the drift that was found, and how well the slices fit."""
    if "align" not in estimates:
        return None
    estimate = estimates["align"].compute()
    flagged = int((estimate["flag"] > 0).sum())
    caption = f"Shifts that bring {count(estimate.sizes['z'], 'slice')} into line."
    if flagged:
        caption += f" Crosses: images that are blank, defocused or fit no neighbour ({flagged})."
    body = picture(embedded(drift_trace(estimate), "svg"), "Drift of the slices.", caption)
    if estimate.sizes["z"] > 1:
        source = embedded(pair_quality(estimate.sel(neighbour=1)), "svg")
        body += picture(source, "Each slice with the next.", _quality(estimate))
    return Section("alignment", "Alignment", body)


def _quality(estimate: xr.Dataset) -> str:
    """Say how well slices correlate with the next, and what shift is left."""
    following = estimate.sel(neighbour=1).median()
    text = (
        f"Median correlation: {float(following['correlation_before']):.3f} before, "
        f"{float(following['correlation_after']):.3f} after alignment. Residual, the measured "
        f"shift less the solution: median {number(float(following['residual']), '.2g', ' nm')}"
    )
    if estimate.sizes["voltage"] > 1:
        between = float(estimate["residual"].sel(neighbour=0).median())
        text += f", between voltages {number(between, '.2g', ' nm')}"
    return text + "."


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
    if not is_placed(stack) and ("thickness" not in estimates or not is_regular(stack)):
        body.append(_given(stack))
    if "thickness" in estimates:
        body.append(_estimated(estimates["thickness"].compute()))
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
    shown = estimate.isel(z=slice(-1))  # nothing ends the last slice
    sources = {"estimated": shown["thickness"].values}
    if not np.isfinite(sources["estimated"]).any():
        return paragraph("No slice has an estimated thickness.")
    error = float(shown["standard_error"].median())
    caption = (
        "Dashed: mean, band: one standard deviation. Grey around the line: standard error, "
        f"median {error:.2g} nm."
    )
    lost = int(estimate["lost"].sum())
    if lost:
        caption += f" Grey stripes: {count(lost, 'lost slice')}."
    agreement = ""
    if "reference_thickness" in estimate:
        reference = shown["reference_thickness"]
        name = str(reference.attrs.get("source", "as given"))
        if uniform(reference.values):
            caption += f" Thickness {name}: {mean_and_spread(reference.values, 'nm')} throughout."
        else:
            sources[name] = reference.values
            agreement = _agreement(estimate, name)
    figure = embedded(thickness_trace(shown, sources), "svg")
    rows = [_source_row(name, values) for name, values in sources.items()]
    body = picture(figure, "Estimated slice thickness.", caption)
    return body + table(_HEAD, rows, numbers=range(1, len(_HEAD)), style="narrow") + agreement


def _source_row(name: str, thickness: np.ndarray) -> tuple[str, ...]:
    known = thickness[np.isfinite(thickness)]
    out = thickness_outliers(known)
    return (
        name,
        str(len(known)),
        mean_and_spread(known, "nm"),
        percent(out.mean(), ".1%"),
        mean_and_spread(known[~out], "nm"),
        percent(thin_share(known), ".1%"),
    )


def _agreement(estimate: xr.Dataset, name: str) -> str:
    """Say how well the estimate agrees with a second source, slice by slice."""
    sources = estimate["thickness"], estimate["reference_thickness"]
    found = compare_slice_thickness(*sources, names=("estimated", name))
    numbers = {
        "correlation": f"{float(found['correlation']):.3f}",
        "rms difference": f"{float(found['rms_difference']):.3g} nm",
        "mean difference": number(float(found["mean_difference"]), "+.2g", " nm"),
    }
    listed = ", ".join(f"{label} {number}" for label, number in numbers.items())
    return paragraph(f"Slice by slice, {name} less estimated: {listed}.")


def _on_grid(stages: Mapping[str, xr.Dataset]) -> str:
    """Say how far the planes of the grid are from slices, and which slices were removed."""
    placed = [s for s in stages.values() if "measured" in s.coords and is_placed(s)]
    if not placed:
        return ""
    stack = require(placed[-1])
    measured = stack["measured"].values
    if not measured.any():
        return paragraph("No plane holds a slice.")
    if measured.all():
        return paragraph(f"All {len(measured)} planes hold a slice.{_left_out(stages, measured)}")
    distance = gap_distance(stack).values
    caption = (
        f"{measured.sum()} of {len(measured)} planes hold a slice; the others are at most "
        f"{distance.max():.4g} nm away from one, {distance[~measured].mean():.3g} nm in the mean."
    )
    figure = embedded(distance_trace(stack, distance), "svg")
    return picture(figure, "Distance to the nearest slice.", caption + _left_out(stages, measured))


def _left_out(stages: Mapping[str, xr.Dataset], measured: np.ndarray) -> str:
    """Say how many of the slices that were imaged have not come onto the grid."""
    first = stages.get("simulate", next(iter(stages.values())))
    left_out = first.sizes["z"] - int(measured.sum())
    if left_out <= 0 or is_placed(first):
        return ""
    return f" Left out as failed or duplicate: {count(left_out, 'slice')}."
