"""Shifts of images, whose truth is kept beside them."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ...conventions import DIMENSIONS, ConventionError, check_not_negative, check_seed, require
from ..keys import image_key
from ._functions import ShiftedImages
from ._kernels import smooth_deviates
from .distortion import deviates, distorted, pixel_size

_WALKS = (5, 6)  # along y, x: words of the keys of deviates, after those of other distortions
_JITTERS = (7, 8)


def add_shifts(
    stack: xr.Dataset,
    *,
    step_std: float = 0.0,
    voltage_std: float = 0.0,
    shifts: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Shift the content of each image by fractions of a pixel, as stage drift does, lazily.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x).
    step_std
        Standard deviation in nm, along y and along x, of the steps of a random walk from slice to
        slice, which all voltages share; the first slice stays.
    voltage_std
        Standard deviation in nm of the shifts between the voltages of one slice; the first voltage
        follows the walk.
    shifts
        Instead, the shifts (s_y, s_x) in nm, each (voltage, z) or broadcastable to it.
    seed
        Seed of the random shifts.

    Returns
    -------
    xarray.Dataset
        The stack with shifted `intensity` of the same type. The truth is in the coordinates
        `true_shift_y` and `true_shift_x` (voltage, z), float64, in nm. Nothing else is shifted.

    Raises
    ------
    ConventionError
        If the stack has no intensity or is shifted already, or an argument is out of range.

    Notes
    -----
    I'(y, x) = I(y − s_y, x − s_x): content moves by +s, and a translation by −s moves it back.
    Images are mirrored at their borders and interpolated by cubic convolution (Keys 1981), which
    smooths existing noise: add noise afterwards. Shifts by whole pixels copy.
    """
    stack = require(stack, "intensity")
    sizes = pixel_size(stack)
    if shifts is None:
        moves = _random_shifts(stack, step_std, voltage_std, check_seed(seed))
    else:
        moves = _given_shifts(stack, shifts)
    truths = {
        f"true_shift_{axis}": (
            DIMENSIONS[:2],
            move,
            {"long_name": f"true shift of the content along {axis}", "units": "nm"},
        )
        for axis, move in zip("yx", moves, strict=True)
    }
    pixels = np.stack([move / size for move, size in zip(moves, sizes, strict=True)])
    function = ShiftedImages(pixels, stack["intensity"].shape[2:])
    parameters: dict[str, Any] = {"step_std": step_std, "voltage_std": voltage_std, "seed": seed}
    if shifts is not None:
        parameters = {"shifts": [move.tolist() for move in moves]}
    return distorted(stack, function, truths, "add_shifts", parameters)


def _random_shifts(
    stack: xr.Dataset, step_std: float, voltage_std: float, seed: int
) -> list[np.ndarray]:
    check_not_negative("step_std", step_std, "nm")
    check_not_negative("voltage_std", voltage_std, "nm")
    count = stack.sizes["z"]
    moves = []
    for walk, jitter in zip(_WALKS, _JITTERS, strict=True):
        key = image_key((seed, walk))
        steps = smooth_deviates(key, (0, 0), (count, 1), (0.0, 0.0))[:, 0].astype(np.float64)
        steps[0] = 0
        apart = voltage_std * deviates(stack, (seed, jitter))
        apart[0] = 0
        moves.append(step_std * np.cumsum(steps) + apart)
    return moves


def _given_shifts(stack: xr.Dataset, shifts: tuple[ArrayLike, ArrayLike]) -> list[np.ndarray]:
    shape = stack["intensity"].shape[:2]
    if len(shifts) != 2:
        msg = f"shifts must be those along y and those along x; got {len(shifts)} of them"
        raise ConventionError(msg)
    moves = []
    for axis, given in zip("yx", shifts, strict=True):
        values = np.asarray(given, np.float64)
        try:
            values = np.broadcast_to(values, shape)
        except ValueError:
            msg = f"shifts must fit (voltage, z) of {shape}; got {values.shape} along {axis}"
            raise ConventionError(msg) from None
        if not np.isfinite(values).all():
            v, k = np.argwhere(~np.isfinite(values))[0]
            msg = f"shifts must be finite; slice {k} has {values[v, k]} nm along {axis}"
            raise ConventionError(msg)
        moves.append(values)
    return moves
