"""Predictions of an image and of its mirror images, of which the mean is taken."""

from dataclasses import dataclass

import numpy as np

from ..blocks import Region, fingerprint, lengths
from .windows import Pixels, SliceWindow, WindowPredictor

_ALL = ((), (-1,), (-2,), (-2, -1))  # axes that are mirrored: none, x, y, and both
_ALONG_X = _ALL[:2]


@dataclass(frozen=True)
class Mirrored:
    """What a predictor says of a window and of its mirror images along y and x, on average.

    Attributes
    ----------
    predictor
        That is shown all of them, one after another.
    along_x
        Whether images are mirrored along x alone, as where it has learnt from those of a beam that
        is tilted about x.
    """

    predictor: WindowPredictor
    along_x: bool = False

    revision = 2

    @property
    def fingerprint(self) -> str:
        """Hash of all that determines what is predicted."""
        return fingerprint(self.predictor.fingerprint, self._axes)

    @property
    def _axes(self) -> tuple[tuple[int, ...], ...]:
        return _ALONG_X if self.along_x else _ALL

    @property
    def window(self) -> SliceWindow:
        """The slices that it is shown."""
        return self.predictor.window

    @property
    def voltages(self) -> int:
        """How many images of each slice it is shown."""
        return self.predictor.voltages

    @property
    def halo(self) -> Pixels:
        """How many pixels along y and x a result looks in either direction."""
        return self.predictor.halo

    @property
    def stride(self) -> Pixels:
        """Images begin at multiples of it in pixels along y and x, and their lengths are such."""
        return self.predictor.stride

    def bytes(self, shape: Pixels, planes: int) -> tuple[int, int]:
        """Return peak bytes of the host and of the device for a window, beside its images."""
        host, device = self.predictor.bytes(shape, planes)
        images = self.voltages * self.window.size
        return host + 4 * shape[0] * shape[1] * (images + 2 * planes), device

    def __call__(
        self,
        images: np.ndarray,
        present: np.ndarray,
        distances: np.ndarray,
        offsets: np.ndarray,
        pixels: Region | None = None,
    ) -> np.ndarray:
        """Return the mean probability of solid on planes of a window, as `WindowPredictor` does."""
        wanted = pixels or tuple(slice(0, n) for n in images.shape[-2:])
        mean = np.zeros((len(offsets), *lengths(wanted)), np.float32)
        for axes in self._axes:
            shown = np.ascontiguousarray(np.flip(images, axes))
            part = tuple(
                _mirrored(one, n) if axis in axes else one
                for one, n, axis in zip(wanted, images.shape[-2:], (-2, -1), strict=True)
            )
            said = self.predictor(shown, present, distances, offsets, part)
            mean += np.flip(said, axes) / np.float32(len(self._axes))
        return mean


def _mirrored(part: slice, length: int) -> slice:
    return slice(length - part.stop, length - part.start)
