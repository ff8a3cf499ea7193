"""Brightness that differs between slices and within them, in samples of training."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

_SHARE = 0.25  # of the samples that have an artefact
_WIDTHS = (1.0, 6.0)  # pixels, of stripes


@dataclass(frozen=True)
class Artefacts:
    """Standard deviations of artefacts of a sample, relative to the range of grey values.

    Attributes
    ----------
    gain
        Of the gain of each slice and voltage; its offset has half of it.
    gradient
        Of how much brightness rises across the sample, along y and along x.
    stripes
        Of stripes along y, the same at all voltages, which see the same face.
    """

    gain: float
    gradient: float
    stripes: float

    @classmethod
    def drawn(
        cls, gain: float, gradient: float, stripes: float, rng: np.random.Generator
    ) -> "Artefacts":
        """Draw how much a sample has of what it has at most; what is 0 draws nothing."""
        most = (gain, gradient, stripes)
        return cls(*(m and m * rng.random() * (rng.random() < _SHARE) for m in most))

    @property
    def std(self) -> float:
        """Of what is added to grey values, whose range grows with it."""
        return float(np.sqrt(self.gain**2 / 4 + self.gradient**2 / 6 + self.stripes**2))

    def added(self, images: np.ndarray, exist: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return images with their artefacts.

        Parameters
        ----------
        images
            Grey values, float32 (voltage, slot, y, x).
        exist
            Which of them there are, bool (voltage, slot); others stay as they are.
        rng
            What draws them.
        """
        voltages, slots, *size = images.shape
        gain, offset, *gradients = rng.standard_normal((4, voltages, slots, 1, 1), np.float32)
        changed = images * np.exp(np.float32(self.gain) * gain)
        changed += np.float32(self.gain / 2) * offset
        if self.gradient:
            y, x = (np.linspace(-0.5, 0.5, n, dtype=np.float32) for n in size)
            rise = gradients[0] * y[:, np.newaxis] + gradients[1] * x
            changed += np.float32(self.gradient) * rise
        if self.stripes:
            changed += np.float32(self.stripes) * _stripes((slots, size[1]), rng)[:, np.newaxis]
        return np.where(exist[..., np.newaxis, np.newaxis], changed, images)


def _stripes(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise of the standard deviation 1, float32 (slot, x)."""
    width = rng.uniform(*_WIDTHS)
    smooth = gaussian_filter1d(rng.standard_normal(shape), width, mode="wrap")
    # The sum of the squares of a Gaussian's weights is 1 / (2 width sqrt(pi)).
    return np.asarray(smooth * np.sqrt(2 * width * np.sqrt(np.pi)), np.float32)
