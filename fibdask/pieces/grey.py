"""Grey values of any type, counted in bins: what histograms of stages are made of.

Integers are their own bins. Floats are first counted by the most significant bits of their
patterns, which needs no range; that tells the range in which they are then numbered in equal steps.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..blocks import Grid, Region, lengths, shift, voxels
from ..conventions import ConventionError
from ._kernels import grey as kernels
from .functions import InPlace

_OUTSIDE = 0.0005  # share of grey values left at either end of a range


@dataclass(frozen=True)
class ByVoltage(Grid):
    """Blocks (voltage, z, y, x), one thick along the first, whose counts are summed by voltage."""

    @property
    def groups(self) -> int:
        """Number of voltages."""
        return self.counts[0]

    def group(self, number: int) -> int:
        """Return the voltage of a block."""
        return self.position(number)[0]


@dataclass(frozen=True, eq=False)
class FloatCounts(InPlace):
    """Count grey values (voltage, z, y, x), as float32, by their 10 most significant bits.

    Attributes
    ----------
    measured
        Which slices (z) are counted, bool.
    start
        Where the image begins in the stack (voltage, z, y, x), for messages.
    """

    measured: np.ndarray
    start: tuple[int, ...]

    size = kernels.FLOAT_BINS

    def compute(self, region: Region, image: np.ndarray) -> np.ndarray:
        """Return the counts of a block."""
        counts = np.zeros(self.size, np.int64)
        unfit = 0
        measured = self.measured[region[1]]
        for v, k in np.argwhere(np.broadcast_to(measured, image.shape[:2])):
            grey = np.ascontiguousarray(image[v, k], np.float32)
            unfit += kernels.float_counts(grey.view(np.uint32), counts)
        if unfit:
            _refuse_unfit(image, measured, unfit, tuple(map(shift, region, self.start)))
        return counts

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of one slice as float32."""
        return 4 * voxels(region[2:])


@dataclass(frozen=True)
class FloatRange:
    """Finish `FloatCounts` (voltage, bin) with the range (voltage, 2) of all but 0.05 % each end.

    Attributes
    ----------
    margin
        Added at either end, as a share of the length of the range.
    """

    margin: float = 0.0

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the lowest and highest grey value of the range."""
        least, largest = kernels.float_bin_ends(outer_bins(counts))
        low, high = least[:, 0], largest[:, 1]
        margin = self.margin * (high - low)
        return np.stack([low - margin, high + margin], axis=1)


def outer_bins(counts: np.ndarray) -> np.ndarray:
    """Return the bins (row, 2) between which all but 0.05 % of counts (row, bin) lie."""
    share = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
    return np.array([np.searchsorted(row, (_OUTSIDE, 1 - _OUTSIDE)) for row in share])


@dataclass(frozen=True)
class GreyCodes(InPlace):
    """Number the grey values of an image (voltage, z, y, x) in 2^bits steps of fitted ranges.

    Attributes
    ----------
    bits
        Of the codes.
    common
        Whether steps of all voltages are as long as the longest, as distances between joint grey
        values need them.
    """

    bits: int
    common: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the codes."""
        return np.min_scalar_type((1 << self.bits) - 1)

    def compute(self, region: Region, image: np.ndarray, ranges: np.ndarray) -> np.ndarray:
        """Return the codes of a block."""
        codes = np.empty(lengths(region), self.dtype)
        low, step = (values[region[0]] for values in grey_steps(ranges, self.bits, self.common))
        kernels.grey_codes(image, low, 1 / step, float(1 << self.bits), codes)
        return codes


def grey_steps(ranges: np.ndarray, bits: int, common: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest grey value of ranges (voltage, 2), and the length of their steps."""
    low, high = ranges.T
    length = high - low
    if common:
        length = np.full_like(length, length.max())
    return low, length / (1 << bits)


def require_finite(image: np.ndarray, measured: np.ndarray, region: Region) -> None:
    """Refuse an image (voltage, z, y, x) of a block with values in measured slices that are none.

    Raises
    ------
    ConventionError
        With their number, and the place of the first.
    """
    if image.dtype.kind == "f" and (unfit := int(kernels.non_finite(image, measured))):
        _refuse_unfit(image, measured, unfit, region)


def _refuse_unfit(image: np.ndarray, measured: np.ndarray, unfit: int, region: Region) -> None:
    where = ", ".join(f"{a} {s.start}:{s.stop}" for a, s in zip("zyx", region[1:], strict=True))
    wrong = ~np.isfinite(image) & measured[:, np.newaxis, np.newaxis]
    voltage, *place = (np.argwhere(wrong)[0] + [s.start for s in region]).tolist()
    first = ", ".join(f"{axis} {number}" for axis, number in zip("zyx", place, strict=True))
    msg = (
        f"intensity must be finite; slice {place[0]} of voltage number {voltage} has NaN or "
        f"infinite ones: {unfit} of {image.size} grey values in the block {where}, the first at "
        f"{first}; crop or fill them, or mark their slices by the coordinate measured"
    )
    raise ConventionError(msg)
