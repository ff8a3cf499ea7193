"""Blur at the edges of the solid."""

import xarray as xr

from ...conventions import check_positive, check_spacing, require
from ...pieces.volumes import with_intensity
from ._functions import BlurredEdges


def blur_edges(stack: xr.Dataset, *, width: float) -> xr.Dataset:
    """Blur images at the edges of the true solid, as a beam of finite width does, lazily.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x) and `true_phase` (z, y, x).
    width
        Standard deviation of the blur, and of the mask about the edges, in nm.

    Returns
    -------
    xarray.Dataset
        The stack with blurred `intensity` of the same type.

    Raises
    ------
    ConventionError
        If the stack lacks a variable, or the width is out of range.

    Notes
    -----
    In every image, pixels that have a neighbour (of 4) of the other phase are edges. A mask is
    exp(−d²/2w²) at the distance d from the nearest edge, 0 beyond 3 w. The whole image is blurred
    by a Gaussian of w, cut at 3 w and reflected at the borders, and blended in by the mask. Pixels
    without data (NaN) stay so, and do not count.
    """
    stack = require(stack, "intensity", "true_phase")
    check_positive("width", width, "nm")
    sigma = [width / check_spacing(stack, axis) for axis in ("y", "x")]
    return with_intensity(
        stack,
        BlurredEdges(tuple(sigma), stack["intensity"].shape[2:]),
        ("blur_edges", {"width": width}),
        beside=[stack["true_phase"].data],
    )
