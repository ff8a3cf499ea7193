"""Noise, added to images that are there."""

import xarray as xr

from ...conventions import require
from ...pieces.volumes import with_intensity
from ..images.imaging import GAUSSIAN_STD
from ..images.noise import make_noise
from ._functions import AddedNoise


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
        Seed of the noise. The noise of a pixel depends on the seed, the voltage, the slice and the
        pixel.

    Returns
    -------
    xarray.Dataset
        The stack with noisy `intensity` of the same type; integers are clipped.

    Raises
    ------
    ConventionError
        If the stack has no intensity, or an argument is out of range; when computed, if float32
        images have grey values above 10, or below -1 where electrons are counted.
    """
    stack = require(stack, "intensity")
    noise = make_noise(electrons_per_pixel, gaussian_std, seed)
    parameters = {
        "electrons_per_pixel": electrons_per_pixel,
        "gaussian_std": gaussian_std,
        "seed": seed,
    }
    function = AddedNoise(noise, stack["voltage"].values)
    return with_intensity(stack, function, ("add_noise", parameters))
