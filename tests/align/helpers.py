"""Stacks of images alone."""

import numpy as np

from fibdask.conventions import build_stack


def stack_of(images):
    """Return images (z, y, x) or (voltage, z, y, x) as a stack of even slices."""
    images = images if images.ndim == 4 else images[np.newaxis]
    return build_stack(
        {"intensity": images},
        z=10.0 * np.arange(images.shape[1]),
        pixel_size=(5, 5),
        nominal_thickness=10,
        voltage=1.0 + np.arange(len(images)),
    )
