"""Histograms of grey values, counted block by block, and what is fitted on them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..blocks import Region, lengths, voxels
from ..conventions import ConventionError
from . import _kernels

JOINT_BITS = 18  # of a joint grey value: 2^18 bins, 2 MiB of counts
Dtype = np.dtype[Any]
_OUTSIDE = 0.0005  # share of grey values left at either end of a range


@dataclass(frozen=True)
class _InPlace:
    """What compiled loops have in common: they have no temporaries."""

    def working_bytes(self, region: Region) -> int:
        """Return 0."""
        return 0


@dataclass(frozen=True)
class _EveryVoltage(_InPlace):
    """Reads the block (z, y, x) of each of the first `voltages` voltages."""

    voltages: int

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block, of every voltage."""
        return ((slice(0, self.voltages), *region),)


@dataclass(frozen=True)
class GreyCounts(_EveryVoltage):
    """Count the grey values of an image (voltage, z, y, x), all voltages together.

    Integers are counted each for itself, float32 values rounded towards zero to 10 significant
    bits, in 2^18 bins; one more count takes what is not finite.
    """

    dtype: Dtype

    @property
    def size(self) -> int:
        """Number of counts."""
        if self.dtype.kind == "f":
            return _kernels.FLOAT_BINS + 1
        return int(np.iinfo(self.dtype).max) + 1

    def compute(self, region: Region, *inputs: np.ndarray) -> np.ndarray:
        """Return the counts of a block."""
        counts = np.zeros(self.size, np.int64)
        if self.dtype.kind == "f":
            _kernels.float_counts(inputs[0].view(np.uint32), counts)
        else:
            _kernels.integer_counts(inputs[0], counts)
        return counts


@dataclass(frozen=True)
class JointCounts(_EveryVoltage):
    """Count joint grey values, `bits` bits of each voltage, of codes (voltage, z, y, x)."""

    bits: int
    shift: int

    @property
    def size(self) -> int:
        """Number of joint bins."""
        return 1 << (self.bits * self.voltages)

    def compute(self, region: Region, *inputs: np.ndarray) -> np.ndarray:
        """Return the counts of a block."""
        counts = np.zeros(self.size, np.int64)
        _kernels.joint_counts(inputs[0], self.bits, self.shift, counts)
        return counts


@dataclass(frozen=True)
class GreyCodes(_InPlace):
    """Number the grey values of an image (voltage, z, y, x) in 2^bits steps of a fitted range."""

    bits: int

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block itself."""
        return (region,)

    def compute(self, region: Region, *inputs: np.ndarray) -> np.ndarray:
        """Return the uint16 codes of a block."""
        image, (low, high) = inputs
        codes = np.empty(lengths(region), np.uint16)
        _kernels.grey_codes(image, low, high, float(1 << self.bits), codes)
        return codes


@dataclass(frozen=True)
class OtsuThreshold:
    """Finish grey-value counts with the threshold of Otsu (1)."""

    dtype: Dtype

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the threshold."""
        bins = _occupied(counts, self.dtype)
        _require_distinct(len(bins), 2, "otsu")
        split = _kernels.otsu_split(_grey(bins, self.dtype), counts[bins])
        below = bins[split : split + 1]
        return _kernels.float_bin_top(below) if self.dtype.kind == "f" else below


@dataclass(frozen=True)
class ClusterThreshold:
    """Finish grey-value counts with the threshold below the brightest k-means cluster (1)."""

    classes: int
    dtype: Dtype

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the middle between the two brightest centres."""
        bins = _occupied(counts, self.dtype)
        _require_distinct(len(bins), self.classes, f"kmeans with {self.classes} classes")
        points = _grey(bins, self.dtype)[:, np.newaxis]
        centres = _kernels.cluster_centres(points, counts[bins], self.classes)
        return np.asarray(centres[-2] + centres[-1]) / 2


@dataclass(frozen=True)
class GreyRange:
    """Finish grey-value counts with the range that holds all but 0.05 % at either end (2)."""

    dtype: Dtype

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the lowest and highest grey value of the range."""
        bins = _occupied(counts, self.dtype)
        grey = _grey(bins, self.dtype)
        share = np.cumsum(counts[bins]) / counts[bins].sum()
        low = grey[np.searchsorted(share, _OUTSIDE)]
        high = grey[np.searchsorted(share, 1 - _OUTSIDE)]
        return np.array([low, high if high > low else low + 1])


@dataclass(frozen=True)
class ClusterCentres:
    """Finish joint counts with k-means centres (class, voltage), the brightest last."""

    classes: int
    voltages: int
    bits: int
    shift: int

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the centres as grey values of the codes that were counted."""
        joint = np.flatnonzero(counts)
        _require_distinct(len(joint), self.classes, f"kmeans with {self.classes} classes")
        shifts = self.bits * np.arange(self.voltages)[::-1]
        steps = (joint[:, np.newaxis] >> shifts) & ((1 << self.bits) - 1)
        middle = (2**self.shift - 1) / 2
        points = (steps << self.shift) + middle
        return np.asarray(_kernels.cluster_centres(points, counts[joint], self.classes))


@dataclass(frozen=True)
class AboveThreshold(_InPlace):
    """Phase of one voltage: solid where it is brighter than a threshold, given or fitted."""

    voltage: int
    threshold: float | None = None

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block, of one voltage."""
        return ((slice(self.voltage, self.voltage + 1), *region),)

    def compute(self, region: Region, *inputs: np.ndarray) -> np.ndarray:
        """Return the uint8 phase of a block."""
        image, *fitted = inputs
        _require_finite(image, region)
        threshold = float(fitted[0][0]) if self.threshold is None else self.threshold
        return np.asarray(_kernels.above_threshold(image[0], threshold))


@dataclass(frozen=True)
class NearestBrightest(_EveryVoltage):
    """Phase of several voltages: solid where the brightest centre is the nearest.

    Centres are those of grey values, or of `2**bits` steps of a range that follows them.
    """

    bits: int

    def compute(self, region: Region, *inputs: np.ndarray) -> np.ndarray:
        """Return the uint8 phase of a block."""
        image, centres, *grey_range = inputs
        _require_finite(image, region)
        for low, high in grey_range:
            centres = low + (centres + 0.5) * ((high - low) / 2**self.bits)
        phase = np.empty(lengths(region), np.uint8)
        _kernels.nearest_is_last(image, centres, phase)
        return phase


def _occupied(counts: np.ndarray, dtype: Dtype) -> np.ndarray:
    """Return the bins of `GreyCounts` that are not empty."""
    if dtype.kind != "f":
        return np.flatnonzero(counts)
    unfit = int(counts[-1])
    if unfit:
        msg = f"intensity must be finite; {unfit} grey values are NaN or infinite"
        raise ConventionError(msg)
    return np.flatnonzero(counts[:-1])


def _grey(bins: np.ndarray, dtype: Dtype) -> np.ndarray:
    return _kernels.float_bin_grey(bins) if dtype.kind == "f" else bins.astype(np.float64)


def _require_distinct(found: int, needed: int, what: str) -> None:
    if found < needed:
        msg = f"{what} needs at least {needed} different grey values; the image holds {found}"
        raise ConventionError(msg)


def _require_finite(image: np.ndarray, region: Region) -> None:
    if image.dtype.kind != "f":
        return
    unfit = int(_kernels.non_finite(image))
    if unfit:
        places = zip("zyx", region, strict=True)
        where = ", ".join(f"{axis} {part.start}:{part.stop}" for axis, part in places)
        msg = (
            f"intensity must be finite; {unfit} of {voxels(region) * len(image)} grey values "
            f"are NaN or infinite in the block {where}"
        )
        raise ConventionError(msg)
