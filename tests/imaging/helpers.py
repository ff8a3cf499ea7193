"""Images whose noise, blur and drift are known."""

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from fibdask import add_noise, levelled_wave, simulate_images


def clean_images(shape=(12, 128, 128), voltage=(1.0, 2.0), **options):
    """Return images without noise of a coarse structure, float32."""
    phase = levelled_wave(shape, voxel_size=2.5, ligament_size=45, solid_fraction=0.4, seed=1)
    return simulate_images(
        phase.compute(),
        voltage=voltage,
        model="analytic",
        electrons_per_pixel=None,
        gaussian_std=0,
        seed=3,
        dtype="float32",
        **options,
    ).compute()


def with_grey(stack, change):
    """Return a stack whose intensity is changed by a function of it."""
    grey = change(stack["intensity"].values)
    return stack.assign(intensity=(stack["intensity"].dims, grey, stack["intensity"].attrs))


def blurred(stack, width):
    """Return images blurred by a Gaussian of a standard deviation in nm."""
    sigma = width / 2.5
    return with_grey(stack, lambda grey: gaussian_filter(grey, (0, 0, sigma, sigma)))


def in_bytes(stack):
    """Return images of uint8."""
    return with_grey(stack, lambda grey: np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8))


def recorded(stack, width=2.5, electrons=100.0, gaussian=0.02):
    """Return images blurred by a Gaussian, in bytes, with noise."""
    noisy: xr.Dataset = add_noise(
        in_bytes(blurred(stack, width)),
        electrons_per_pixel=electrons,
        gaussian_std=gaussian,
        seed=5,
    ).compute()
    return noisy
