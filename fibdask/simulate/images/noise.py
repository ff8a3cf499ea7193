"""Noise of images, the same for a pixel in whatever block it is made."""

from dataclasses import dataclass

import numpy as np

from ...conventions import check_positive, check_seed, check_share
from ..keys import image_key
from . import _kernels as kernels

FULL_SCALE = {"uint8": 255, "uint16": 65535, "float32": 1}
"""Grey value of a signal of 1, by the type of the image."""


@dataclass(frozen=True)
class Noise:
    """Poisson noise of counted electrons, then Gaussian noise.

    Attributes
    ----------
    electrons
        Expected count at a signal of 1; 0 for no Poisson noise.
    gaussian_std
        Standard deviation on the 0-1 scale of the signal.
    seed
        The random numbers of a pixel are a hash of the seed, the image and the place in it.
    """

    electrons: float
    gaussian_std: float
    seed: int

    def add(self, signal: np.ndarray, image: tuple[int, ...], y0: int, x0: int) -> None:
        """Add the noise in place to a part (y, x), which begins at (y0, x0), of an image.

        Parameters
        ----------
        signal
            Float32 (y, x) on the 0-1 scale.
        image
            Whole numbers that name the image.
        y0, x0
            Place of the first pixel.
        """
        if self.electrons or self.gaussian_std:
            key = np.uint64(image_key((self.seed, *image)))
            kernels.add_image_noise(signal, key, y0, x0, self.electrons, self.gaussian_std)


def make_noise(electrons: float | None, gaussian_std: float, seed: int) -> Noise:
    """Check the arguments of noise.

    Raises
    ------
    ConventionError
        If one is out of range.
    """
    if electrons is not None:
        check_positive("electrons_per_pixel", electrons, "electrons")
    check_share("gaussian_std", gaussian_std, "white")
    return Noise(float(electrons or 0), float(gaussian_std), check_seed(seed))


def write_grey(signal: np.ndarray, out: np.ndarray) -> None:
    """Write a signal (y, x) on the 0-1 scale as grey values; integers are rounded and clipped."""
    scale = FULL_SCALE[out.dtype.name]
    if out.dtype.kind == "u":
        np.rint(np.clip(signal, 0, 1, out=signal) * scale, out=out, casting="unsafe")
    else:
        out[...] = signal
