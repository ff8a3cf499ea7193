"""Curtains and drifts of brightness, whose truth is kept beside the images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ... import blocks
from ...conventions import (
    DIMENSIONS,
    ConventionError,
    axis_spacing,
    finish_stack,
    record_step,
    require,
)
from ..images.noise import FULL_SCALE, image_key, voltage_word, write_grey
from ..structures.building import check_not_negative, check_positive, check_seed
from ._kernels import smooth_deviates, smoothing_halo

_DRIFTS = ("gain", "offset", "gradient_y", "gradient_x")
_CURTAINS = 4  # word of the key of their deviates, after those of the drifts


def add_curtaining(
    stack: xr.Dataset,
    *,
    strength: float = 0.05,
    width: float = 10.0,
    decay_length: float | None = None,
    persistence: float = 0.0,
    seed: int,
) -> xr.Dataset:
    """Add vertical stripes to `intensity`, as uneven milling leaves them, lazily.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x).
    strength
        Standard deviation of the stripes in the first row relative to white.
    width
        Standard deviation in nm of the Gaussian that independent pixels are smoothed by.
    decay_length
        Distance along y in nm in which stripes fall to 1/e; None where they do not.
    persistence
        As `width` along z, in slices: 0 for independent slices.
    seed
        Of the stripes.

    Returns
    -------
    xarray.Dataset
        The stack with curtained `intensity` of the same type, integers clipped, and the truth in
        the coordinate `true_curtaining` (z, x), float32, in the first row relative to white.

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
    check_not_negative("strength", strength, "of white")
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
        Of the offset relative to white.
    gradient_std
        Of the rise of brightness across the image, along y and along x, relative to white.
    persistence
        Standard deviation in slices of the Gaussian that independent values are smoothed by
        along z: 0 for a new value at every slice.
    seed
        Of the values, which are independent at each voltage.

    Returns
    -------
    xarray.Dataset
        The stack with drifting `intensity` of the same type, integers clipped, and the truth in
        the coordinates `true_gain`, `true_offset`, `true_gradient_y` and `true_gradient_x`
        (voltage, z), float64, all but the gain relative to white.

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
        check_not_negative(f"{name.split('_')[0]}_std", std, "")
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
    intensity = stack["intensity"]
    data = blocks.map_blocks(
        function, [intensity.data], shape=intensity.shape, dtype=intensity.dtype
    )
    stack = stack.assign(intensity=(DIMENSIONS, data, intensity.attrs)).assign_coords(truths)
    return record_step(finish_stack(stack), step, parameters)


def pixel_size(stack: xr.Dataset) -> tuple[float, float]:
    """Return the spacing of pixels along y and x in nm."""
    size_y, size_x = (
        check_positive(f"spacing of {axis}", axis_spacing(stack, axis), "nm") for axis in "yx"
    )
    return size_y, size_x


def deviates(stack: xr.Dataset, words: Sequence[int], persistence: float = 0.0) -> np.ndarray:
    """Return normal deviates (voltage, z), float64, independent at each voltage."""
    count = stack.sizes["z"]
    rows = []
    for voltage in stack["voltage"].values:
        key = image_key((*words, voltage_word(voltage)))
        rows.append(smooth_deviates(key, (0, 0), (count, 1), (persistence, 0.0))[:, 0])
    return np.stack(rows).astype(np.float64)


@dataclass(frozen=True)
class Curtains:
    """Block function: stripes in the first row (z, x).

    Attributes
    ----------
    strength
        Their standard deviation.
    stds
        Of the smoothing in slices and pixels.
    seed
        The stripes are a hash of the seed, the slice and the column, smoothed.
    """

    strength: float
    stds: tuple[float, float]
    seed: int

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return nothing: coordinates suffice."""
        return ()

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Draw the stripes of a region."""
        del inputs
        start = [interval.start for interval in region]
        key = image_key((self.seed, _CURTAINS))
        deviates = smooth_deviates(key, start, blocks.lengths(region), self.stds)
        return np.asarray(np.float32(self.strength) * deviates)

    def working_bytes(self, region: blocks.Region) -> int:
        """Deviates before and after smoothing, and one term of its sum."""
        n_z, n_x = (
            n + 2 * smoothing_halo(std)
            for n, std in zip(blocks.lengths(region), self.stds, strict=True)
        )
        return 12 * n_z * n_x


@dataclass(frozen=True)
class AddedCurtains:
    """Block function: grey values with stripes.

    Attributes
    ----------
    curtains
        The stripes in the first row.
    decay
        Logarithm by which they fall from row to row.
    """

    curtains: Curtains
    decay: float

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the region itself."""
        return (region,)

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Add the stripes image by image."""
        (intensity,) = inputs
        _, slices, y, x = region
        stripes = self.curtains.compute((slices, x))
        fall = np.exp(-self.decay * np.arange(y.start, y.stop)).astype(np.float32)
        return _each_image(intensity, lambda signal, _, k: signal + fall[:, None] * stripes[k])

    def working_bytes(self, region: blocks.Region) -> int:
        """Stripes, and float images of one image."""
        _, slices, y, x = region
        stripes = (slices, x)
        kept = 4 * blocks.voxels(stripes) + self.curtains.working_bytes(stripes)
        return kept + 12 * blocks.voxels((y, x))


@dataclass(frozen=True, eq=False)
class DriftingBrightness:
    """Block function: grey values with gain, offset and gradients.

    Attributes
    ----------
    drifts
        Gain, offset, gradient along y and along x, (4, voltage, z), float64.
    image
        Shape of an image (y, x).
    """

    drifts: np.ndarray
    image: tuple[int, ...]

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the region itself."""
        return (region,)

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Change the brightness image by image."""
        (intensity,) = inputs
        voltages, slices, *part = region
        drifts = self.drifts[:, voltages, slices]
        y, x = (
            (np.arange(s.start, s.stop) + 0.5) / n - 0.5
            for s, n in zip(part, self.image, strict=True)
        )

        def change(signal: np.ndarray, v: int, k: int) -> np.ndarray:
            gain, offset, gradient_y, gradient_x = drifts[:, v, k]
            along_y = np.asarray(offset + gradient_y * y, np.float32)[:, np.newaxis]
            along_x = np.asarray(gradient_x * x, np.float32)
            return np.asarray(np.float32(gain) * signal + along_y + along_x)

        return _each_image(intensity, change)

    def working_bytes(self, region: blocks.Region) -> int:
        """Float images of one image."""
        return 16 * blocks.voxels(region[2:])


def _each_image(
    intensity: np.ndarray, change: Callable[[np.ndarray, int, int], np.ndarray]
) -> np.ndarray:
    """Return grey values after a change (signal, voltage, slice) of each image's signal."""
    out = np.empty_like(intensity)
    scale = np.float32(FULL_SCALE[intensity.dtype.name])
    for v, k in np.ndindex(intensity.shape[:2]):
        signal = intensity[v, k].astype(np.float32) / scale
        write_grey(change(signal, v, k), out[v, k])
    return out
