"""What painted slices tell of the segmentation that was learnt from them."""

from collections.abc import Mapping
from typing import Any

import xarray as xr

from ..conventions import ConventionError
from ..segment import learning_curve
from ..statistics.certainty import certainty
from .estimates import options_of


def judged_labels(
    before: xr.Dataset, made: xr.Dataset, table: Mapping[str, Any]
) -> xr.Dataset | None:
    """Return how wrong a forest is, lazily; None of a segmentation that no labels were given.

    Parameters
    ----------
    before
        The stack whose images were segmented.
    made
        What is stored of the segmentation.
    table
        Of the stage.

    Returns
    -------
    xarray.Dataset or None
        As of `learning_curve`, or nothing of it, and in the attribute `reason` why; and
        `expected_misplaced` (plane) in % where there is a probability of solid.
    """
    if table["labels"] is None:
        return None
    try:
        found = learning_curve(before, **options_of(learning_curve, table))
    except ConventionError as error:  # labels that cannot be used were refused before
        found = xr.Dataset(attrs={"reason": str(error)})
    if "solid_probability" in made:
        sure = certainty(made)
        found = found.assign(expected_misplaced=sure["expected_misplaced"])
    return found
