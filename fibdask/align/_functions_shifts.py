"""How the slices of a block are translated."""

from dataclasses import dataclass
from math import floor

import numpy as np

from .. import blocks
from ..pieces._kernels.resampling import LANCZOS_TAPS as TAPS
from ._kernels.registration import interpolated_image


@dataclass(frozen=True, eq=False)
class ShiftedSlices:
    """Block function: slices translated by their own shifts.

    Attributes
    ----------
    pixels
        Shifts in pixels (voltage, z, 2) or (z, 2), float64.
    image
        Shape of a raw slice (y, x).
    origin
        Raw row and column of the first pixel of the result.
    value_range
        What results are clipped to.
    zero
        Whether pixels that the raw slice does not cover are 0.
    """

    pixels: np.ndarray
    image: tuple[int, ...]
    origin: tuple[int, ...]
    value_range: tuple[float, float]
    zero: bool

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the pixels that the slices of the block are interpolated from."""
        pixels = self.pixels[region[:-2]].reshape(-1, 2)
        rows = [
            slice(
                int(np.clip(interval.start + first + floor(-shift.max()) + TAPS[0], 0, n - 1)),
                int(np.clip(interval.stop + first + floor(-shift.min()) + TAPS[-1], 1, n)),
            )
            for interval, first, shift, n in zip(
                region[-2:], self.origin, pixels.T, self.image, strict=True
            )
        ]
        return ((*region[:-2], *rows),)

    def compute(self, region: blocks.Region, raw: np.ndarray) -> np.ndarray:
        """Translate slice by slice."""
        ((*_, rows, columns),) = self.needs(region)
        shifted = np.empty(blocks.lengths(region), raw.dtype)
        pixels = self.pixels[region[:-2]]
        for place in np.ndindex(shifted.shape[:-2]):
            self._shift(raw[place], (rows, columns), pixels[place], region[-2:], shifted[place])
        return shifted

    def _shift(
        self,
        raw: np.ndarray,
        window: tuple[slice, ...],
        pixels: np.ndarray,
        region: tuple[slice, ...],
        out: np.ndarray,
    ) -> None:
        indices, fractions, covered = [], [], []
        for interval, first, move, have, n in zip(
            region, self.origin, pixels, window, self.image, strict=True
        ):
            # Whole pixels are a matter of what is read; only the fraction is interpolated.
            whole = floor(-move)
            fraction = -move - whole
            places = np.arange(interval.start, interval.stop) + first
            covered.append((places - move >= -0.5) & (places - move < n - 0.5))
            reach = (TAPS[0], TAPS[-1]) if fraction else (0, 0)
            # Beyond the border its nearest pixel is taken again, as often as the taps reach.
            taken = np.arange(places[0] + reach[0], places[-1] + reach[1] + 1) + whole
            indices.append(np.clip(taken, 0, n - 1) - have.start)
            fractions.append(fraction)
        image = _taken(raw, *indices)
        if any(fractions):
            image = interpolated_image(image, fractions)
            low, high = self.value_range
            image = np.clip(image, np.float32(low), np.float32(high))
            image = np.rint(image) if out.dtype.kind in "iu" else image
        out[...] = image
        if self.zero:
            out[~covered[0]] = 0
            out[:, ~covered[1]] = 0

    def working_bytes(self, region: blocks.Region) -> int:
        """Return the bytes of one slice: as it is read, as floats, and two partial sums."""
        n_y, n_x = (n + len(TAPS) for n in blocks.lengths(region)[-2:])
        return 20 * n_y * n_x


def _taken(raw: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return rows and columns that do not decrease, without a copy where none is there twice."""
    if np.ptp(rows) == len(rows) - 1 and np.ptp(columns) == len(columns) - 1:
        return np.asarray(raw[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return np.asarray(raw[np.ix_(rows, columns)])
