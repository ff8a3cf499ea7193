"""Noise and blur, added to images that are there."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import ndimage

from ... import blocks
from ...conventions import (
    DIMENSIONS,
    axis_spacing,
    finish_stack,
    record_step,
    require,
)
from ..images.imaging import GAUSSIAN_STD
from ..images.noise import FULL_SCALE, Noise, make_noise, voltage_word, write_grey
from ..structures.building import check_positive

_ADDED = 2  # word of the key: other noise than that of `simulate_images` with the same seed
_STDS = 3.0  # where the blur and the mask of the edges are cut off


def add_noise(
    stack: xr.Dataset,
    *,
    electrons_per_pixel: float | None = 100.0,
    gaussian_std: float = GAUSSIAN_STD,
    seed: int,
) -> xr.Dataset:
    """Add Poisson, then Gaussian noise to `intensity`, lazily.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x).
    electrons_per_pixel
        Expected count in a white pixel (255, 65535 or 1.0 by type); None for no Poisson noise.
    gaussian_std
        Standard deviation of the Gaussian noise relative to white.
    seed
        Of the noise. That of a pixel depends on the seed, the voltage, the slice and the pixel.

    Returns
    -------
    xarray.Dataset
        The stack with noisy `intensity` of the same type; integers are clipped.

    Raises
    ------
    ConventionError
        If the stack has no intensity, or an argument is out of range.
    """
    stack = require(stack, "intensity")
    noise = make_noise(electrons_per_pixel, gaussian_std, seed)
    intensity = stack["intensity"]
    function = AddedNoise(noise, stack["voltage"].values)
    data = blocks.map_blocks(
        function, [intensity.data], shape=intensity.shape, dtype=intensity.dtype
    )
    stack = finish_stack(stack.assign(intensity=(DIMENSIONS, data, intensity.attrs)))
    parameters = {
        "electrons_per_pixel": electrons_per_pixel,
        "gaussian_std": gaussian_std,
        "seed": seed,
    }
    return record_step(stack, "add_noise", parameters)


@dataclass(frozen=True, eq=False)
class AddedNoise:
    """Block function: grey values with noise; voltages in kV."""

    noise: Noise
    voltage: np.ndarray

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the region itself."""
        return (region,)

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Add noise image by image."""
        (intensity,) = inputs
        voltages, slices, y, x = region
        noisy = np.empty_like(intensity)
        scale = np.float32(FULL_SCALE[intensity.dtype.name])
        for v, k in np.ndindex(intensity.shape[:2]):
            signal = intensity[v, k].astype(np.float32) / scale
            image = (voltage_word(self.voltage[voltages.start + v]), slices.start + k, _ADDED)
            self.noise.add(signal, image, y.start, x.start)
            write_grey(signal, noisy[v, k])
        return noisy

    def working_bytes(self, region: blocks.Region) -> int:
        """Signal of one image and its grey values."""
        n_y, n_x = blocks.lengths(region)[2:]
        return 12 * n_y * n_x


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
    In every image, pixels that have a neighbour (of 4) of the other phase are edges; a mask is
    exp(−d²/2w²) at the distance d from the nearest edge, 0 beyond 3 w; the whole image is blurred
    by a Gaussian of w, cut at 3 w and reflected at the borders of the image; the blurred image is
    blended in by the mask.
    """
    stack = require(stack, "intensity", "true_phase")
    check_positive("width", width, "nm")
    sigma = []
    for axis in ("y", "x"):
        spacing = axis_spacing(stack, axis)
        sigma.append(width / check_positive(f"spacing of {axis}", spacing, "nm"))
    intensity = stack["intensity"]
    data = blocks.map_blocks(
        BlurredEdges(tuple(sigma), intensity.shape[2:]),
        [intensity.data, stack["true_phase"].data],
        shape=intensity.shape,
        dtype=intensity.dtype,
    )
    stack = finish_stack(stack.assign(intensity=(DIMENSIONS, data, intensity.attrs)))
    return record_step(stack, "blur_edges", {"width": width})


@dataclass(frozen=True)
class BlurredEdges:
    """Block function: images blurred at the edges of the solid.

    Attributes
    ----------
    sigma
        Standard deviation in pixels (y, x).
    image
        Shape of an image (y, x).
    """

    sigma: tuple[float, ...]
    image: tuple[int, ...]

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the region widened in y and x by the cut-off and one pixel to find edges."""
        wide = self._widen(region)
        return wide, wide[1:]

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Blur image by image."""
        intensity, true_phase = inputs
        inner = blocks.within(region, self._widen(region))[2:]
        blurred = np.empty(blocks.lengths(region), intensity.dtype)
        for k, phase in enumerate(true_phase):
            weight = self._edge_mask(phase)[inner]
            for v in range(len(intensity)):
                sharp = intensity[v, k].astype(np.float32)
                smooth = ndimage.gaussian_filter(sharp, self.sigma, truncate=_STDS)[inner]
                blend = sharp[inner] + weight * (smooth - sharp[inner])
                blurred[v, k] = np.rint(blend) if blurred.dtype.kind == "u" else blend
        return blurred

    def working_bytes(self, region: blocks.Region) -> int:
        """Return the bytes of a distance map with its indices, and of float images."""
        n_y, n_x = blocks.lengths(self._widen(region))[2:]
        return 56 * n_y * n_x

    def _widen(self, region: blocks.Region) -> blocks.Region:
        widened = [
            blocks.grow(interval, halo, halo, length)
            for interval, sigma, length in zip(region[2:], self.sigma, self.image, strict=True)
            for halo in [int(_STDS * sigma + 0.5) + 1]
        ]
        return (*region[:2], *widened)

    def _edge_mask(self, phase: np.ndarray) -> np.ndarray:
        """Return weights (y, x), float32: 1 on edges, falling to 0 with the distance."""
        edges = np.zeros(phase.shape, bool)
        differs = phase[1:] != phase[:-1]
        edges[1:] |= differs
        edges[:-1] |= differs
        differs = phase[:, 1:] != phase[:, :-1]
        edges[:, 1:] |= differs
        edges[:, :-1] |= differs
        if not edges.any():
            return np.zeros(phase.shape, np.float32)
        sampling = [1 / sigma for sigma in self.sigma]
        distance = ndimage.distance_transform_edt(~edges, sampling=sampling)
        weight = np.exp(-0.5 * distance**2)
        weight[distance > _STDS] = 0
        return np.asarray(weight, np.float32)
