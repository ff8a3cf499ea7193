"""How stripes are taken out of the images of a block."""

from dataclasses import dataclass

import numpy as np

from .. import blocks
from ..conventions import ConventionError
from ._kernels.curtaining import stripe_image, subtract


@dataclass(frozen=True, eq=False)
class WithoutStripes:
    """Block function: images less their stripes; those without data stay as they are.

    Attributes
    ----------
    known
        Which slices (z) hold data, bool.
    length, width
        Least length of stripes along y and their largest period along x, in pixels.
    slope
        Pixels along x by which stripes move from row to row.
    image
        Shape of an image (y, x).
    """

    known: np.ndarray
    length: float
    width: float
    slope: float
    image: tuple[int, int]

    revision = 2

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the whole images of the region."""
        return ((*region[:2], *blocks.whole(self.image)),)

    def compute(self, region: blocks.Region, intensity: np.ndarray) -> np.ndarray:
        """Repair image by image."""
        voltages, slices, *part = region
        inner = tuple(part)
        repaired = np.empty(blocks.lengths(region), intensity.dtype)
        for v, k in np.ndindex(intensity.shape[:2]):
            if not self.known[slices.start + k]:
                repaired[v, k] = intensity[v, k][inner]
                continue
            image = intensity[v, k].astype(np.float32)
            if not np.isfinite(image).all():
                msg = (
                    f"intensity must be finite; slice {slices.start + k} of voltage number "
                    f"{voltages.start + v} has NaN or infinite grey values"
                )
                raise ConventionError(msg)
            stripes = stripe_image(image, self.length, self.width, self.slope)
            if repaired.dtype.kind == "u":
                subtract(intensity[v, k][inner], stripes[inner], repaired[v, k])
            else:
                np.subtract(image[inner], stripes[inner], out=repaired[v, k])
        return repaired

    def working_bytes(self, _region: blocks.Region) -> int:
        """Return the bytes of an image and its stripes in float32, and of modes along y."""
        n_y, n_x = self.image
        wide = n_x + abs(self.slope) * n_y
        windows = max(4 * n_y / self.length, 4) + 1
        return int(16 * n_y * wide + 16 * n_y * windows + 200 * windows * wide)
