"""The section about painted slices: what they teach, whether more help, and which."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ...conventions import recorded_steps
from ...pieces.labels import most_gained
from ..figures.labels import learning_trace
from ..figures.plots import embedded
from ..markup import Section, paragraph, picture, table
from ..words import count, number

_NEXT = 3  # slices that are named
_SURE = 2.0  # standard errors


def labels_section(
    stages: Mapping[str, xr.Dataset], estimates: Mapping[str, xr.Dataset]
) -> Section | None:
    """Say how wrong a forest is by the number of painted slices, and which to paint next."""
    found, stack = estimates.get("segment"), stages.get("segment")
    if found is None or stack is None:
        return None
    told = _told(stack)
    slices = told["painted_slices"]
    listed = ", ".join(map(str, slices))
    classes = ", ".join(told["classes"])
    body = [paragraph(f"{count(len(slices), 'painted slice')} of {classes}: {listed}.")]
    if "misplaced" in found:
        body += [_curve(found["misplaced"]), _judged(found["misplaced"])]
    else:
        body.append(paragraph(f"Whether more help is not known: {found.attrs['reason']}."))
    if "expected_misplaced" in found:
        body.append(_next_ones(found["expected_misplaced"], stack["z"].values, slices))
    return Section("labels", "Painted slices", "\n".join(body))


def _told(stack: xr.Dataset) -> Mapping[str, Any]:
    """Return what is recorded of the latest segmentation by painted slices."""
    records = [record["parameters"] for record in recorded_steps(stack)]
    return next(told for told in reversed(records) if "painted_slices" in told)


def _curve(misplaced: xr.DataArray) -> str:
    known = int(misplaced.notnull().any("learnt").sum())
    caption = (
        f"Each of {count(known, 'painted slice')} was judged by forests that had learnt from others"
        f", none of them a neighbour. {_verdict(misplaced)}"
    )
    figure = embedded(learning_trace(misplaced), "svg")
    return picture(figure, "Errors by the number of painted slices.", caption)


def _verdict(misplaced: xr.DataArray) -> str:
    """Say whether the last slices that were added lowered the error."""
    both = misplaced[-2:].dropna("judged")
    if both.sizes["learnt"] < 2 or both.sizes["judged"] < 2:
        return "These are too few to tell whether painting more helps."
    (fewer, more), (before, after) = both["learnt"].values, both.mean("judged").values
    fallen = (both[0] - both[1]).values
    mean, error = float(fallen.mean()), float(fallen.std(ddof=1) / np.sqrt(len(fallen)))
    told = (
        f"from {number(before, '.3g', ' %')} by {fewer} to {number(after, '.3g', ' %')} by {more}"
    )
    if mean > _SURE * error and mean > 0:
        return f"The mean error fell {told}: painting more helps."
    return (
        f"The mean error went {told}, a fall of {number(mean, '.2g')} ± {error:.2g} points: more "
        "slices like these help little; paint where the result is in doubt, or look for pixels "
        "that are painted wrongly in slices that stand out below."
    )


def _judged(misplaced: xr.DataArray) -> str:
    """List how wrong forests are on each slice that have learnt from the most others."""
    last = misplaced[-1].dropna("judged")
    most = int(misplaced["learnt"].values[-1])
    head = ("Painted slice", "Depth z (nm)", f"Misplaced, by {most} others")
    rows = [
        (str(int(k)), number(z, ".6g"), number(value, ".3g", " %"))
        for k, z, value in zip(last["judged"].values, last["z"].values, last.values, strict=True)
    ]
    return table(head, rows, numbers=(0, 1, 2), style="narrow") if rows else ""


def _next_ones(expected: xr.DataArray, z: np.ndarray, slices: list[int]) -> str:
    """List the slices whose painting is expected to help most."""
    doubt = expected.values / 100
    free = np.isfinite(doubt)
    free[slices] = False
    chosen = most_gained(np.nan_to_num(doubt), z, np.array(slices), free, _NEXT)
    head = ("Next slice to paint", "Depth z (nm)", "Expected wrong", "Of all expected errors")
    rows = [
        (
            str(k),
            number(z[k], ".6g"),
            number(expected.values[k], ".2g", " %"),
            number(100 * gain, ".0f", " %"),
        )
        for k, gain in chosen
    ]
    text = (
        "By its probabilities, most errors lie around these slices, and around none that is "
        "painted; fibdask labels … --how uncertain --result with the folder of this run cuts them."
    )
    return paragraph(text) + table(head, rows, numbers=(0, 1, 2, 3), style="narrow") if rows else ""
