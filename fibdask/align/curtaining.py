"""Stripes that milling leaves along y are removed, image by image."""

import math

import xarray as xr

from .. import blocks
from ..conventions import (
    ConventionError,
    axis_spacing,
    known_planes,
    plain_number,
    require,
)
from ..pieces.volumes import with_intensity
from ._functions_curtaining import WithoutStripes

_LEAST_PIXELS = 32  # of an image along y and x
_LEAST_LENGTH = 128  # pixels, by default
_STEEPEST = 30.0  # degrees
_MOST_SLICES = 64  # in a block: stores read about as many together


def remove_curtaining(
    stack: xr.Dataset,
    *,
    length: float | None = None,
    width: float | None = None,
    inclination: float = 0.0,
) -> xr.Dataset:
    """Remove stripes along the milling direction, usually y, from `intensity`, lazily.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x).
    length
        Least length of a stripe along y in nm; shorter ones are kept as structure. By default half
        the image's height, and at least 128 pixels.
    width
        Largest period of stripes along x in nm; broader ones are kept. Default and maximum are an
        eighth of the image's height, beyond which stripes cannot be told from structure.
    inclination
        Angle of the stripes to y in degrees, -30 to 30; positive if x grows with y along them.

    Returns
    -------
    xarray.Dataset
        The stack with repaired `intensity` of the same type. Integers are rounded and clipped;
        those at either end of their range, of saturated pixels, are kept. Images without stripes
        hardly change; uniform images, uniform columns at either side, and planes that hold no data
        do not change.

    Raises
    ------
    ConventionError
        If an image has fewer than 32 pixels along y or x, a length or a width does not fit the
        image, or stripes incline by more than 30 degrees; when computed, if grey values are NaN or
        infinite outside planes that hold no data.

    Notes
    -----
    Images are cut into windows along y of a quarter of `length`. In each, the step of the grey
    value from one column to the next is the biweight mean over rows, which ignores edges of
    structures, since they are few among the rows. The resulting profiles are transformed into
    cosine modes along y and frequencies along x. Modes of at most two half waves in `length`, each
    at least about eight periods long, hold the stripes: the broader the stripes, the longer they
    must be. Of each mode, the share 1 - (N / P)² is taken for stripes. P is its power, and N that
    of the modes up to twice as fast at the same frequency, both averaged over 0.0125 cycles per
    pixel: what distinguishes it from its neighbours in angle. The least mean square error would
    need 1 - N / P (Wiener), but stripes harm later stages more than a loss of texture. The stripes
    are subtracted, in each window to the share, 0 to 1, that its own steps show.

    Inclined stripes are set upright by moving rows by whole pixels; grey values are not resampled.
    Stripes that lean away from `inclination`, or bend, by more than their own width over a window
    are partly left. The direction is not estimated: where structure is elongated, the estimate
    would follow the structure.

    Structure more than about five times as long along the stripes as across them loses contrast. So
    do the marks of a ruler: measure them before. Stripes are assumed to add to the grey values;
    where they scale with them, the part common to most rows is removed.

    The robust steps, in place of wavelets, are of Bouali and Ladjal's kind, IEEE Transactions on
    Geoscience and Remote Sensing 49 (2011) 2924-2935; the damping of a wedge in Fourier space is
    that of Münch et al., Optics Express 17 (2009) 8567-8591.
    """
    stack = require(stack, "intensity")
    intensity = stack["intensity"]
    n_y, n_x = intensity.shape[2:]
    if min(n_y, n_x) < _LEAST_PIXELS:
        msg = (
            f"curtaining is told from structure in images of at least {_LEAST_PIXELS} pixels "
            f"along y and x; these have {n_y} x {n_x}"
        )
        raise ConventionError(msg)
    usual = min(max(n_y / 2, _LEAST_LENGTH), n_y)
    length_pixels = _pixels(stack, "length", length, "y", (usual, n_y))
    broadest = min(n_y / 8, n_x)
    width_pixels = _pixels(stack, "width", width, "x", (broadest, broadest))
    slope = _slope(stack, inclination)
    parameters = {
        "length": None if length is None else float(length),
        "width": None if width is None else float(width),
        "inclination": float(inclination),
        "length_pixels": length_pixels,
        "width_pixels": width_pixels,
    }
    return with_intensity(
        stack,
        WithoutStripes(known_planes(intensity), length_pixels, width_pixels, slope, (n_y, n_x)),
        ("remove_curtaining", parameters),
        block=image_block(intensity.shape, intensity.dtype.itemsize),
    )


def _pixels(
    stack: xr.Dataset, name: str, value: float | None, axis: str, usual: tuple[float, float]
) -> float:
    """Return a length in pixels of an axis, by default and at most the `usual` ones."""
    default, most = usual
    if value is None:
        return float(default)
    spacing = axis_spacing(stack, axis)
    if not 4 * spacing <= plain_number(value) <= most * spacing:
        msg = (
            f"{name} must be from 4 to {most:g} pixels along {axis} in images of "
            f"{stack.sizes['y']} rows, {4 * spacing:g} to {most * spacing:g} nm; got {value!r} nm"
        )
        raise ConventionError(msg)
    return float(value / spacing)


def _slope(stack: xr.Dataset, inclination: float) -> float:
    """Return the pixels along x by which stripes move from row to row."""
    if not abs(plain_number(inclination)) <= _STEEPEST:
        msg = (
            f"inclination must be between -{_STEEPEST:g} and {_STEEPEST:g} degrees from y; "
            f"got {inclination!r}"
        )
        raise ConventionError(msg)
    return math.tan(math.radians(inclination)) * axis_spacing(stack, "y") / axis_spacing(stack, "x")


def image_block(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return a block of whole images (voltage, z, y, x): as many slices as 64 MiB hold."""
    slices = blocks.BLOCK_BYTES // (shape[2] * shape[3] * itemsize)
    return (1, min(max(slices, 1), _MOST_SLICES, shape[1]), *shape[2:])
