"""What all artefacts of images share: intensity made anew, its truth kept beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ... import blocks
from ...conventions import ConventionError, check_spacing
from ...pieces.volumes import with_intensity
from ..keys import image_key, voltage_word
from ._kernels import smooth_deviates


def distorted(
    stack: xr.Dataset,
    function: blocks.BlockFunction,
    truths: Mapping[str, Any],
    step: str,
    parameters: Mapping[str, Any],
) -> xr.Dataset:
    """Return a stack with intensity made anew and the truth about it as coordinates."""
    known = [name for name in truths if name in stack.variables]
    if known:
        msg = f"{step} must not be done twice, one truth would be lost; the stack holds {known[0]}"
        raise ConventionError(msg)
    return with_intensity(stack.assign_coords(truths), function, (step, parameters))


def pixel_size(stack: xr.Dataset) -> tuple[float, float]:
    """Return the spacing of pixels along y and x in nm."""
    return check_spacing(stack, "y"), check_spacing(stack, "x")


def deviates(stack: xr.Dataset, words: Sequence[int], persistence: float = 0.0) -> np.ndarray:
    """Return normal deviates (voltage, z), float64, independent at each voltage."""
    count = stack.sizes["z"]
    rows = []
    for voltage in stack["voltage"].values:
        key = image_key((*words, voltage_word(voltage)))
        rows.append(smooth_deviates(key, (0, 0), (count, 1), (persistence, 0.0))[:, 0])
    return np.stack(rows).astype(np.float64)
