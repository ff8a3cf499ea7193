"""Drifts of brightness, whose truth is kept beside the images."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ...conventions import (
    DIMENSIONS,
    ConventionError,
    check_choice,
    check_not_negative,
    check_seed,
    check_share,
    require,
)
from ...pieces.volumes import with_intensity
from ..images.noise import FULL_SCALE
from ._functions import DriftingBrightness, RecordedBrightness
from .distortion import deviates, distorted

_DRIFTS = ("gain", "offset", "gradient_y", "gradient_x")


def add_brightness_drift(
    stack: xr.Dataset,
    *,
    gain_std: float = 0.05,
    offset_std: float = 0.02,
    gradient_std: float = 0.0,
    persistence: float = 0.0,
    seed: int,
) -> xr.Dataset:
    """Change brightness and contrast of `intensity` from image to image, lazily.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x).
    gain_std
        Standard deviation of the logarithm of the gain.
    offset_std
        Standard deviation of the offset relative to white.
    gradient_std
        Standard deviation of the change of brightness across the image, along y and along x,
        relative to white.
    persistence
        Standard deviation in slices of the Gaussian that smooths independent values along z: 0 for
        a new value at every slice.
    seed
        Seed of the values, which are independent at each voltage.

    Returns
    -------
    xarray.Dataset
        The stack with drifting `intensity` of the same type, integers clipped. The truth is in the
        coordinates `true_gain`, `true_offset`, `true_gradient_y` and `true_gradient_x` (voltage,
        z), float64, all but the gain relative to white.

    Raises
    ------
    ConventionError
        If the stack has no intensity or drifts already, or an argument is out of range.

    Notes
    -----
    I' = gain · I + white · (offset + gradient_y · t_y + gradient_x · t_x), where t is the
    distance from the middle of the image relative to its length, from −½ to ½.
    """
    stack = require(stack, "intensity")
    check_not_negative("persistence", persistence, "slices")
    stds = (gain_std, offset_std, gradient_std, gradient_std)
    key = check_seed(seed)
    truths = {}
    for number, (name, std) in enumerate(zip(_DRIFTS, stds, strict=True)):
        kind = name.split("_")[0]
        check_share(f"{kind}_std", std, "the contrast" if kind == "gain" else "white")
        values = std * deviates(stack, (key, number), persistence)
        attrs = {"long_name": f"true {name.replace('_', ' along ')} of brightness"}
        truths[f"true_{name}"] = (DIMENSIONS[:2], values, attrs)
    _, logarithm, attrs = truths["true_gain"]
    truths["true_gain"] = (DIMENSIONS[:2], np.exp(logarithm), attrs)
    drifts = np.stack([values for _, values, _ in truths.values()])
    function = DriftingBrightness(drifts, stack["intensity"].shape[2:])
    parameters = {
        "gain_std": gain_std,
        "offset_std": offset_std,
        "gradient_std": gradient_std,
        "persistence": persistence,
        "seed": seed,
    }
    return distorted(stack, function, truths, "add_brightness_drift", parameters)


def scale_brightness(
    stack: xr.Dataset,
    *,
    contrast: float | Sequence[float] = 1.0,
    brightness: float | Sequence[float] = 0.0,
    dtype: str | None = None,
) -> xr.Dataset:
    """Set contrast and brightness of `intensity`, as a detector's knobs do, lazily.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x).
    contrast
        Factor of the grey values, for all voltages or for each; above 0.
    brightness
        Offset that is then added, for all voltages or for each, relative to white: from -1 to 1,
        but any for float32 images.
    dtype
        Type of the result, `uint8`, `uint16` or `float32`; by default unchanged. Values beyond
        white in float32 fit into the range of a darker image.

    Returns
    -------
    xarray.Dataset
        The stack with rescaled `intensity`; integers are rounded and clipped.

    Raises
    ------
    ConventionError
        If the stack has no intensity, there are not as many numbers as voltages, numbers are out of
        range, or the type is another; when computed, if pixels without data (NaN) would become
        integers.
    """
    stack = require(stack, "intensity")
    kind = stack["intensity"].dtype.name if dtype is None else dtype
    check_choice("dtype", kind, FULL_SCALE)
    knobs = checked_knobs(contrast, brightness, stack.sizes["voltage"], kind)
    parameters = {"contrast": contrast, "brightness": brightness, "dtype": dtype}
    step = "scale_brightness", parameters
    return with_intensity(stack, RecordedBrightness(*knobs, kind), step, dtype=kind)


def checked_knobs(
    contrast: float | Sequence[float],
    brightness: float | Sequence[float],
    voltages: int,
    dtype: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Return contrast and brightness of each voltage, float32, of images of a type.

    Raises
    ------
    ConventionError
        If they are no numbers, not one for each voltage, or would leave no image.
    """
    knobs = _of_each("contrast", contrast, voltages), _of_each("brightness", brightness, voltages)
    if (low := knobs[0].min()) <= 0:
        msg = f"contrast must be above 0, at which images are even; got {low:g}"
        raise ConventionError(msg)
    if dtype != "float32" and (most := np.abs(knobs[1]).max()) > 1:  # that has no white
        msg = f"brightness is relative to white, from -1 to 1, not in grey values; got {most:g}"
        raise ConventionError(msg)
    return knobs


def _of_each(name: str, given: float | Sequence[float], voltages: int) -> np.ndarray:
    """Return a number of each voltage, float32.

    Raises
    ------
    ConventionError
        If it is not one for all of them, or one for each.
    """
    try:
        values = np.asarray(given, np.float64).ravel()
    except (TypeError, ValueError):
        msg = f"{name} must be a number, or one for each voltage; got {given!r}"
        raise ConventionError(msg) from None
    if values.size not in (1, voltages) or not np.isfinite(values).all():
        msg = (
            f"{name} must be one finite number, or one for each of {voltages} voltages; "
            f"got {values.tolist()}"
        )
        raise ConventionError(msg)
    return np.broadcast_to(values, voltages).astype(np.float32)
