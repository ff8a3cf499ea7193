"""Steps and slow changes of brightness and contrast are removed; the porosity is not."""

from typing import Any

import numpy as np
import xarray as xr

from .. import blocks
from ..conventions import known_planes, require
from ..pieces.grey import ByVoltage, FloatCounts, FloatRange, GreyCodes, measured_part
from ..pieces.volumes import with_intensity
from ._functions_brightness import (
    FUNCTIONS,
    Corrections,
    EachApart,
    Equalised,
    TileCounts,
    places_along,
)
from ._kernels import brightness as kernels

_LEAST_PIXELS = 16  # of an image along y and x
_MOST_SLICES = 64  # in a block that is counted


def equalize_brightness(stack: xr.Dataset, *, shading: bool = True) -> xr.Dataset:
    """Give all slices and all parts of the image the same brightness and contrast, lazily.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x).
    shading
        Whether to remove slow changes within the image that all slices share.

    Returns
    -------
    xarray.Dataset
        The stack with equalised `intensity` of the same type, by voltage; integers are rounded and
        clipped. The slice of median brightness and the middle of the image set the scale.

    Raises
    ------
    ConventionError
        If fewer than 16 pixels along y or x are covered by every slice, or no slice is measured;
        when computed, if grey values are NaN or infinite.

    Notes
    -----
    seen = gain(z) * ((1 + a(y, x)) * true + b(y, x)) + offset(z), with quadratic polynomials a and
    b. Grey values are counted in every slice, in 4 x 4 tiles of the image and 256 bins. The counts
    are explained by four classes. Their grey values are the same in all slices but for gain and
    offset; their shares are free in each: a slice with more pores is darker, and stays so. This is
    the mixture with an inhomogeneous field of Wells et al., IEEE Transactions on Medical Imaging 15
    (1996) 429-442.

    Slices are fitted in each quarter of the image separately. What the quarters do not have in
    common is structure: a deviation is shrunk by its uncertainty, and ignored below four standard
    errors (below one, where most slices deviate by more than about two). So clean stacks of phases
    keep their grey values. Textures of all shades, as of tissue, have no reliable classes: where
    the gain of the usual slice is uncertain by more than 1 %, all slices stay as they are, unless
    the usual one deviates by more than about five standard errors; then steps are removed, less
    exactly than from phases.

    Slices with a range of grey values (5 to 95 %) below a quarter of the usual one, such as black
    slices, stay as they are, but for shading; in a stack of one slice, only shading is found.
    Shading assumes that all parts of the image hold the same material; without it, they need not.
    Planes that hold no data do not count, nor do rows and columns that alignment filled in any
    slice (`filled_share`). Inpainted planes are corrected as slices are.

    The counts take 32 KiB per slice and voltage.
    """
    stack = require(stack, "intensity")
    intensity = stack["intensity"]
    window, _ = measured_part(stack, "brightness", _LEAST_PIXELS)
    known = known_planes(intensity)
    places = tuple(
        places_along(n)[part] for n, part in zip(intensity.shape[2:], window, strict=True)
    )
    counted = intensity.data[(slice(None), slice(None), *window)]
    start = (0, 0, *(part.start for part in window))
    grey_range = _float_range(counted, known, start)
    corrections = _corrections(counted, known, places, grey_range, shading=shading)
    return with_intensity(
        stack,
        Equalised(intensity.shape[1:]),
        ("equalize_brightness", {"shading": shading}),
        parameters=[corrections, *grey_range],
    )


def _float_range(intensity: Any, known: np.ndarray, start: tuple[int, ...]) -> list[Any]:
    """Return the lazy range (voltage, 2) of counted grey values; none of 8 bits.

    Of an intensity that begins at `start` in the stack, and the planes that hold data.
    """
    if intensity.dtype == np.uint8:
        return []
    grid = ByVoltage(intensity.shape, (1, *blocks.block_grid(intensity).block[1:]))
    counts, shape = FloatCounts(known, start), (len(intensity), 2)
    finish = FloatRange()
    return [blocks.reduce_blocks(counts, (intensity,), grid=grid, finish=finish, shape=shape)]


def _corrections(
    intensity: Any,
    known: np.ndarray,
    places: tuple[np.ndarray, ...],
    grey_range: list[Any],
    *,
    shading: bool,
) -> Any:
    """Return the lazy corrections, in bins of the range, of an intensity at `places` (y), (x)."""
    codes = intensity
    voltages, slices, n_y, n_x = shape = intensity.shape
    if grey_range:
        function = GreyCodes(kernels.GREY_BITS, common=False)
        codes = blocks.map_blocks(
            function, (intensity,), shape=shape, dtype=function.dtype, parameters=grey_range
        )
    tile = (-(-n_y // kernels.TILES), -(-n_x // kernels.TILES))
    most = max(blocks.BLOCK_BYTES // (tile[0] * tile[1]), 1)
    tiles = EachApart(shape, (1, min(most, _MOST_SLICES, slices), *tile))
    return blocks.reduce_blocks(
        TileCounts(tiles.block[1], known),
        (codes,),
        grid=tiles,
        finish=Corrections(tiles, places, shading),
        shape=(voltages, 2, slices + FUNCTIONS),
    )
