"""Stripes along the milling direction, whose truth is kept beside the images."""

from typing import Any

import numpy as np
import xarray as xr

from ... import blocks
from ...conventions import check_not_negative, check_positive, check_seed, check_share, require
from ._functions import AddedCurtains, Curtains
from .distortion import distorted, pixel_size


def add_curtaining(
    stack: xr.Dataset,
    *,
    strength: float = 0.05,
    width: float = 10.0,
    decay_length: float | None = None,
    persistence: float = 0.0,
    seed: int,
) -> xr.Dataset:
    """Add vertical stripes to `intensity`, as from uneven milling, lazily.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x).
    strength
        Standard deviation of the stripes in the first row relative to white.
    width
        Standard deviation in nm of the Gaussian that smooths independent pixels.
    decay_length
        Distance along y in nm over which stripes fall to 1/e; None for no decay.
    persistence
        As `width` along z, in slices: 0 for independent slices.
    seed
        Seed of the stripes.

    Returns
    -------
    xarray.Dataset
        The stack with curtained `intensity` of the same type, integers clipped. The truth is in the
        coordinate `true_curtaining` (z, x), float32: stripes in the first row relative to white.

    Raises
    ------
    ConventionError
        If the stack has no intensity or is curtained already, or an argument is out of range.

    Notes
    -----
    I' = I + white · c(z, x) exp(−y / decay_length) with y from the first row, the same at all
    voltages because they image the same face. c is normal with the standard deviation
    `strength`; its correlation a distance d along x is exp(−d² / 4 width²), and likewise along z.
    """
    stack = require(stack, "intensity")
    check_share("strength", strength, "white")
    check_not_negative("persistence", persistence, "slices")
    size_y, size_x = pixel_size(stack)
    std_x = check_not_negative("width", width, "nm") / size_x
    curtains = Curtains(float(strength), (float(persistence), std_x), check_seed(seed))
    shape = (stack.sizes["z"], stack.sizes["x"])
    attrs: dict[str, Any] = {"long_name": "true curtaining in the first row, relative to white"}
    decay = 0.0
    if decay_length is not None:
        decay = size_y / check_positive("decay_length", decay_length, "nm")
        attrs["decay_length"] = float(decay_length)
    truth = blocks.map_blocks(curtains, shape=shape, dtype=np.float32)
    function = AddedCurtains(curtains, decay)
    parameters = {
        "strength": strength,
        "width": width,
        "decay_length": decay_length,
        "persistence": persistence,
        "seed": seed,
    }
    truths = {"true_curtaining": (("z", "x"), truth, attrs)}
    return distorted(stack, function, truths, "add_curtaining", parameters)
