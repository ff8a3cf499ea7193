"""Histograms of grey values, counted block by block, and what is fitted on them."""

from dataclasses import dataclass

import numpy as np

from ..blocks import Region, lengths, tell
from ..conventions import ConventionError
from ..pieces.functions import EveryVoltage, InPlace
from ..pieces.grey import (
    FINE_BITS,
    SUMS,
    add_slice_sums,
    grey_steps,
    outer_bins,
    require_finite,
)
from . import _kernels

JOINT_BITS = 18  # of a joint grey value: 2^18 bins, 2 MiB of counts
_RARE = 0.001  # share of the counted voxels below which a phase is told of
_WINDOW = 0.2  # standard deviation of what is counted at a grey value, in distances of centres
_FEWEST_PARTED = 3  # clusters: two have no other choice
_PARTED = 1.25
"""How many times as many voxels between two centres as at either tell that both are of one peak.
Of the halves of a normal one, it is 1.33."""
_SURE = 5  # standard deviations of their difference, beyond which it is no chance


@dataclass(frozen=True, eq=False)
class JointCounts(EveryVoltage):
    """Count joint grey values, `bits` bits of each voltage, of codes (voltage, z, y, x).

    `measured` as in `GreyCounts`. If codes are the grey values themselves, so that it `looks` at
    slices, what tells those of one grey value comes after the counts.
    """

    bits: int
    shift: int
    measured: np.ndarray
    looks: bool

    revision = 2

    @property
    def bins(self) -> int:
        """Number of joint bins."""
        return 1 << (self.bits * self.voltages)

    @property
    def size(self) -> int:
        """Number of counts and sums."""
        return self.bins + self.looks * SUMS * self.voltages * len(self.measured)

    def compute(self, region: Region, codes: np.ndarray) -> np.ndarray:
        """Return the counts of a block."""
        counts = np.zeros(self.size, np.int64)
        measured = self.measured[region[0]]
        _kernels.joint_counts(codes, measured, self.bits, self.shift, counts)
        if self.looks:
            add_slice_sums(codes, self.measured, region[0], counts[self.bins :])
        return counts


@dataclass(frozen=True)
class GreyRange:
    """Finish counts (voltage, grey) with the range (voltage, 2) of all but 0.05 % at either end."""

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the lowest and highest grey value of the range."""
        low, high = outer_bins(counts).T
        return np.stack([low, np.maximum(high, low + 1)], axis=1)


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

    revision = 2

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the middle between the two brightest centres."""
        (counts,) = counts
        grey = _occupied(counts, self.classes, f"kmeans with {self.classes} classes")
        points = grey[:, np.newaxis].astype(np.float64)
        centres = _kernels.cluster_centres(points, counts[grey], self.classes)
        threshold = np.asarray(centres[-2] + centres[-1]) / 2
        _tell_of_rare(counts[int(threshold[0]) + 1 :].sum(), counts.sum(), "kmeans")
        _tell_if_parted(points, counts[grey], centres)
        return threshold


@dataclass(frozen=True)
class ClusterCentres:
    """Finish joint counts with k-means centres (class, voltage), the brightest last."""

    classes: int
    voltages: int
    bits: int
    shift: int

    revision = 2

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
        _tell_if_parted(points, counts[joint], centres)
        return np.asarray(centres)


@dataclass(frozen=True, eq=False)
class AboveThreshold(InPlace):
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

    def compute(self, region: Region, image: np.ndarray, *fitted: np.ndarray) -> np.ndarray:
        """Return the uint8 phase of a block."""
        voltage = slice(self.voltage, self.voltage + 1)
        require_finite(image, self.measured[region[0]], (voltage, *region))
        if self.threshold is not None:
            return np.asarray(_kernels.above_threshold(image[0], self.threshold))
        (threshold,), *ranges = fitted
        if not ranges:
            return np.asarray(_kernels.above_threshold(image[0], float(threshold)))
        low, step = grey_steps(ranges[0], FINE_BITS, common=True)
        phase = np.empty(lengths(region), np.uint8)
        _kernels.above_code(image[0], low[0], 1 / step[0], np.floor(threshold), phase)
        return phase


@dataclass(frozen=True, eq=False)
class NearestBrightest(EveryVoltage):
    """Phase of several voltages: solid where the brightest centre is the nearest.

    Centres are those of grey values, or of steps of ranges that follow them: 2^bits for each
    number of `bits`, the first being steps of steps of the second. `measured` as above.
    """

    measured: np.ndarray
    bits: tuple[int, ...] = ()

    def compute(
        self, region: Region, image: np.ndarray, centres: np.ndarray, *ranges: np.ndarray
    ) -> np.ndarray:
        """Return the uint8 phase of a block."""
        require_finite(image, self.measured[region[0]], self.needs(region)[0])
        for fitted, bits in zip(ranges, self.bits, strict=True):
            low, step = grey_steps(fitted, bits, common=True)
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


def _tell_if_parted(points: np.ndarray, counts: np.ndarray, centres: np.ndarray) -> None:
    """Warn if the brightest two of `centres` (class, voltage) are halves of one peak.

    More grey values `points` (bin, voltage) with their `counts` lie between them than at either.
    """
    if len(centres) < _FEWEST_PARTED:
        return
    below, solid = centres[-2:]
    along = solid - below
    place = (points - below) @ along / (along @ along)
    distances = (place[:, np.newaxis] - (0, 0.5, 1)) / _WINDOW
    lower, between, upper = counts @ np.exp(-(distances**2) / 2)
    at_either = max(lower, upper)
    chance = _SURE * np.sqrt(between + at_either)
    if between > max(_PARTED * at_either, at_either + chance):
        tell(
            f"kmeans with {len(centres)} classes parts one peak of grey values in two, and takes "
            "for solid the brighter part alone: where nothing shines through from below, use "
            'classes = 2, or method = "otsu"; else judge the phase by eye, or paint a few slices '
            "(random_forest)"
        )
