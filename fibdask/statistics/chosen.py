"""The voxels that are measured: solid or pore, inside a mask."""

from typing import Literal, get_args

import numpy as np

from ..blocks import Region
from ..conventions import ConventionError, check_phase_values
from .masks import covering

Chosen = Literal["solid", "pore"]


def check_choice(of: str) -> None:
    """Check the name of a phase.

    Raises
    ------
    ConventionError
        If it is neither solid nor pore.
    """
    if of not in get_args(Chosen):
        msg = f"of must be one of {', '.join(get_args(Chosen))}; got {of!r}"
        raise ConventionError(msg)


def chosen_voxels(
    region: Region,
    block: np.ndarray,
    *masks: np.ndarray,
    of: Chosen,
    mask_axes: tuple[int, ...] | None = None,
) -> np.ndarray:
    """Return uint8 ones in the voxels of a phase that lie inside a mask, if there is one.

    `region` is the place of the block; the mask lies along `mask_axes` of it.
    """
    check_phase_values("phase", block, tuple(s.start for s in region))
    voxels = block if of == "solid" else (block == 0).view(np.uint8)
    for mask in masks:
        voxels = voxels & covering(mask, region, mask_axes or ())
    return voxels
