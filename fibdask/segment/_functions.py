"""Histograms of grey values, counted block by block, and what is fitted on them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..blocks import Grid, Region, lengths, shift, tell, voxels
from ..conventions import ConventionError
from . import _kernels

JOINT_BITS = 18  # of a joint grey value: 2^18 bins, 2 MiB of counts
FINE_BITS = 18  # of the grey values of one float image
Dtype = np.dtype[Any]
_OUTSIDE = 0.0005  # share of grey values left at either end of a range
_RARE = 0.001  # share of the counted voxels below which a phase is told of


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


@dataclass(frozen=True)
class _InPlace:
    """What compiled loops have in common: they have no temporaries, and read their own block."""

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block itself."""
        return (region,)

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


@dataclass(frozen=True, eq=False)
class GreyCounts(_InPlace):
    """Count the grey values of an integer image (voltage, z, y, x), each for itself.

    Attributes
    ----------
    size
        Number of grey values.
    measured
        Which slices (z) are counted, bool.
    """

    size: int
    measured: np.ndarray

    def compute(self, region: Region, *inputs: np.ndarray) -> np.ndarray:
        """Return the counts of a block."""
        counts = np.zeros(self.size, np.int64)
        _kernels.integer_counts(inputs[0], self.measured[region[1]], counts)
        return counts


@dataclass(frozen=True, eq=False)
class FloatCounts(_InPlace):
    """Count float32 grey values (voltage, z, y, x) by their 10 most significant bits.

    `measured` as in `GreyCounts`; `start` (z, y, x) is where the image begins in the stack.
    """

    measured: np.ndarray
    start: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of bins."""
        return _kernels.FLOAT_BINS

    def compute(self, region: Region, *inputs: np.ndarray) -> np.ndarray:
        """Return the counts of a block."""
        counts = np.zeros(self.size, np.int64)
        measured = self.measured[region[1]]
        unfit = _kernels.float_counts(inputs[0].view(np.uint32), measured, counts)
        if unfit:
            place = tuple(map(shift, region[1:], self.start))
            _refuse_unfit(inputs[0], measured, unfit, place)
        return counts


@dataclass(frozen=True, eq=False)
class JointCounts(_EveryVoltage):
    """Count joint grey values, `bits` bits of each voltage, of codes (voltage, z, y, x).

    `measured` as in `GreyCounts`.
    """

    bits: int
    shift: int
    measured: np.ndarray

    @property
    def size(self) -> int:
        """Number of joint bins."""
        return 1 << (self.bits * self.voltages)

    def compute(self, region: Region, *inputs: np.ndarray) -> np.ndarray:
        """Return the counts of a block."""
        counts = np.zeros(self.size, np.int64)
        measured = self.measured[region[0]]
        _kernels.joint_counts(inputs[0], measured, self.bits, self.shift, counts)
        return counts


@dataclass(frozen=True)
class GreyCodes(_InPlace):
    """Number the grey values of an image (voltage, z, y, x) in 2^bits steps of fitted ranges."""

    bits: int

    @property
    def dtype(self) -> Dtype:
        """Type of the codes."""
        return np.min_scalar_type((1 << self.bits) - 1)

    def compute(self, region: Region, *inputs: np.ndarray) -> np.ndarray:
        """Return the codes of a block."""
        image, ranges = inputs
        codes = np.empty(lengths(region), self.dtype)
        low, step = _steps(ranges, self.bits)
        _kernels.grey_codes(image, low[region[0]], 1 / step, float(1 << self.bits), codes)
        return codes


def _steps(ranges: np.ndarray, bits: int) -> tuple[np.ndarray, float]:
    """Return the lowest grey value (voltage) of ranges (voltage, 2), and the length of a step."""
    low, high = ranges.T
    return low, float((high - low).max()) / (1 << bits)


@dataclass(frozen=True)
class FloatRange:
    """Finish `FloatCounts` (voltage, bin) with a range (voltage, 2) that outliers do not stretch.

    It holds all but 0.05 % at either end, and as much again above and below.
    """

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the lowest and highest grey value of the range."""
        ends = _kernels.float_bin_ends(_quantile_bins(counts))
        low, high = ends[0][:, 0], ends[1][:, 1]
        length = high - low
        return np.stack([low - length, high + length], axis=1)


@dataclass(frozen=True)
class GreyRange:
    """Finish counts (voltage, grey) with the range (voltage, 2) of all but 0.05 % at either end."""

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the lowest and highest grey value of the range."""
        low, high = _quantile_bins(counts).T
        return np.stack([low, np.maximum(high, low + 1)], axis=1)


def _quantile_bins(counts: np.ndarray) -> np.ndarray:
    """Return the bins (row, 2) between which all but 0.05 % of counts (row, bin) lie."""
    share = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
    return np.array([np.searchsorted(row, (_OUTSIDE, 1 - _OUTSIDE)) for row in share])


@dataclass(frozen=True)
class OtsuThreshold:
    """Finish grey-value counts with the threshold of Otsu (1)."""

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the threshold."""
        (counts,) = counts
        grey = _occupied(counts, 2, "otsu")
        threshold = grey[_kernels.otsu_split(grey.astype(np.float64), counts[grey])]
        _tell_of_rare(counts[threshold + 1 :].sum(), counts.sum(), "otsu")
        return np.asarray(threshold)


@dataclass(frozen=True)
class ClusterThreshold:
    """Finish grey-value counts with the threshold below the brightest k-means cluster (1)."""

    classes: int

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the middle between the two brightest centres."""
        (counts,) = counts
        grey = _occupied(counts, self.classes, f"kmeans with {self.classes} classes")
        points = grey[:, np.newaxis].astype(np.float64)
        centres = _kernels.cluster_centres(points, counts[grey], self.classes)
        threshold = np.asarray(centres[-2] + centres[-1]) / 2
        _tell_of_rare(counts[int(threshold[0]) + 1 :].sum(), counts.sum(), "kmeans")
        return threshold


@dataclass(frozen=True)
class ClusterCentres:
    """Finish joint counts with k-means centres (class, voltage), the brightest last."""

    classes: int
    voltages: int
    bits: int
    shift: int

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the centres as grey values of the codes that were counted."""
        joint = _occupied(counts, self.classes, f"kmeans with {self.classes} classes")
        shifts = self.bits * np.arange(self.voltages)[::-1]
        steps = (joint[:, np.newaxis] >> shifts) & ((1 << self.bits) - 1)
        middle = (2**self.shift - 1) / 2
        points = (steps << self.shift) + middle
        centres = _kernels.cluster_centres(points, counts[joint], self.classes)
        solid = np.empty((1, 1, len(points)), np.uint8)
        _kernels.nearest_is_last(points.T[:, np.newaxis, np.newaxis], centres, solid)
        _tell_of_rare(counts[joint] @ solid[0, 0].astype(np.int64), counts.sum(), "kmeans")
        return np.asarray(centres)


@dataclass(frozen=True, eq=False)
class AboveThreshold(_InPlace):
    """Phase of one voltage: solid where it is brighter than a threshold, given or fitted.

    A threshold fitted to a float image is one of the steps of a range that follows it. `measured`
    are the slices (z) of the stack that must be finite.
    """

    measured: np.ndarray
    voltage: int
    threshold: float | None = None

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block, of one voltage."""
        return ((slice(self.voltage, self.voltage + 1), *region),)

    def compute(self, region: Region, *inputs: np.ndarray) -> np.ndarray:
        """Return the uint8 phase of a block."""
        image, *fitted = inputs
        _require_finite(image, self.measured[region[0]], region)
        if self.threshold is not None:
            return np.asarray(_kernels.above_threshold(image[0], self.threshold))
        (threshold,), *ranges = fitted
        if not ranges:
            return np.asarray(_kernels.above_threshold(image[0], float(threshold)))
        low, step = _steps(ranges[0], FINE_BITS)
        phase = np.empty(lengths(region), np.uint8)
        _kernels.above_code(image[0], low[0], 1 / step, np.floor(threshold), phase)
        return phase


@dataclass(frozen=True, eq=False)
class NearestBrightest(_EveryVoltage):
    """Phase of several voltages: solid where the brightest centre is the nearest.

    Centres are those of grey values, or of steps of ranges that follow them: 2^bits for each
    number of `bits`, the first being steps of steps of the second. `measured` as above.
    """

    measured: np.ndarray
    bits: tuple[int, ...] = ()

    def compute(self, region: Region, *inputs: np.ndarray) -> np.ndarray:
        """Return the uint8 phase of a block."""
        image, centres, *ranges = inputs
        _require_finite(image, self.measured[region[0]], region)
        for fitted, bits in zip(ranges, self.bits, strict=True):
            low, step = _steps(fitted, bits)
            centres = low + (centres + 0.5) * step
        phase = np.empty(lengths(region), np.uint8)
        _kernels.nearest_is_last(image, centres, phase)
        return phase


def _occupied(counts: np.ndarray, needed: int, what: str) -> np.ndarray:
    """Return the bins that are not empty, at least as many as needed."""
    bins = np.flatnonzero(counts)
    if len(bins) < needed:
        msg = (
            f"{what} needs at least {needed} different grey values; what is counted holds "
            f"{len(bins)} of the {len(counts):,} that are told apart"
        )
        raise ConventionError(msg)
    return bins


def _tell_of_rare(solid: int, total: int, method: str) -> None:
    """Warn of a threshold that lies between nearly everything and a few outliers."""
    for name, count in (("solid", solid), ("pore", total - solid)):
        if count < _RARE * total:
            tell(
                f"{method} leaves {count:,} of {total:,} counted voxels to the {name} phase "
                f"({100 * count / total:.2g} %): the threshold separates outliers, or what is no "
                "image, from all the rest; choose a region_of_interest, or give the threshold"
            )


def _require_finite(image: np.ndarray, measured: np.ndarray, region: Region) -> None:
    if image.dtype.kind == "f" and (unfit := int(_kernels.non_finite(image, measured))):
        _refuse_unfit(image, measured, unfit, region)


def _refuse_unfit(image: np.ndarray, measured: np.ndarray, unfit: int, region: Region) -> None:
    """Refuse an image (voltage, z, y, x) of a block (z, y, x), naming a place."""
    where = ", ".join(f"{a} {s.start}:{s.stop}" for a, s in zip("zyx", region, strict=True))
    wrong = ~np.isfinite(image) & measured[:, np.newaxis, np.newaxis]
    first = np.argwhere(wrong)[0][1:] + [s.start for s in region]
    msg = (
        f"intensity must be finite where it is measured; {unfit} of {voxels(region) * len(image)} "
        f"grey values are NaN or infinite in the block {where}, the first at "
        + ", ".join(f"{axis} {place}" for axis, place in zip("zyx", first, strict=True))
        + "; crop or fill them, or mark their slices by the coordinate measured"
    )
    raise ConventionError(msg)
