"""Grey values of any type, counted in bins: what histograms of stages are made of.

Integers are their own bins. Floats are first counted by the most significant bits of their
patterns, which needs no range; that tells the range in which they are then numbered in equal steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import (
    Grid,
    Region,
    default_block,
    lengths,
    map_blocks,
    reduce_blocks,
    shift,
    tell,
    voxels,
)
from ..conventions import AXES, ConventionError, covered_part, covered_region, measured_slices
from ._kernels import grey as kernels
from .functions import InPlace

SUMS = 3
"""Of each slice: how many pixels, their grey values, and the squares of these."""
_TOLD = 10  # slices in a warning
_FEW = 16  # pixels of a slice, which may be alike by chance
FINE_BITS = 18  # of the grey values of one float image
QUANTILES = (0.01, 0.99)
"""Shares of grey values below those that networks are shown as 0 and 1."""
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
class GreyCounts(InPlace):
    """Count the grey values of an integer image (voltage, z, y, x), each for itself.

    What tells slices of one grey value comes after the counts: see `ToldBlank`.

    Attributes
    ----------
    bins
        Number of grey values.
    measured
        Which slices (z) are counted, bool.
    """

    bins: int
    measured: np.ndarray

    revision = 2

    @property
    def size(self) -> int:
        """Number of counts and sums."""
        return self.bins + SUMS * len(self.measured)

    def compute(self, region: Region, codes: np.ndarray) -> np.ndarray:
        """Return the counts of a block, of one voltage."""
        counts = np.zeros(self.size, np.int64)
        kernels.integer_counts(codes, self.measured[region[1]], counts)
        add_slice_sums(codes, self.measured, region[1], counts[self.bins :])
        return counts


def add_slice_sums(
    codes: np.ndarray, measured: np.ndarray, planes: slice, counts: np.ndarray
) -> None:
    """Add the sums of slices (voltage, z, y, x), `planes` of all, to flat int64 `counts`."""
    sums = counts.reshape(len(codes), len(measured), SUMS)
    kernels.slice_sums(codes, measured[planes], sums[:, planes])


@dataclass(frozen=True)
class ToldBlank:
    """Finish counts as another finish does, and tell of slices that hold one grey value alone.

    Attributes
    ----------
    finish
        Takes the counts.
    bins
        How many of them there are, before the sums of slices.
    slices
        That are counted.
    start
        Numbers of the first voltage and slice in the stack.
    """

    finish: Callable[[np.ndarray], np.ndarray]
    bins: int
    slices: int
    start: tuple[int, ...]

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return what is made of the counts."""
        found = self.finish(counts[..., : self.bins])  # which says more of images without contrast
        sums = counts[..., self.bins :].reshape(-1, self.slices, SUMS)
        # As Python's integers, which have no largest one.
        pixels, total, squares = np.moveaxis(sums.astype(object), -1, 0)
        blank = (pixels > _FEW) & (pixels * squares == total**2)
        for v, slices in enumerate(blank):
            if slices.any():
                tell(self._told(v + self.start[0], np.flatnonzero(slices) + self.start[1]))
        return found

    def _told(self, voltage: int, slices: np.ndarray) -> str:
        shown = ", ".join(map(str, slices[:_TOLD])) + (", …" if len(slices) > _TOLD else "")
        return (
            f"of voltage number {voltage}, {len(slices)} of {self.slices} slices hold one grey "
            f"value alone, as images do that failed: {shown}; what is made of them is nothing of "
            "the sample; align the stack, which finds them, or set its coordinate measured to "
            "False there: then they are gaps"
        )


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


@dataclass(frozen=True, eq=False)
class CountedGrey:
    """The part of the images of a stack whose grey values are counted, lazily.

    Attributes
    ----------
    image
        Grey values (voltage, z, y, x).
    measured
        Which of its slices (z) are counted, bool.
    start
        Where it begins in the stack (voltage, z, y, x), for messages.
    common
        Whether steps of floats are equally long for all voltages, as `GreyCodes` says.
    """

    image: Any
    measured: np.ndarray
    start: tuple[int, ...]
    common: bool = False

    @classmethod
    def of(
        cls,
        intensity: Any,
        measured: np.ndarray,
        used: slice,
        region: Region,
        *,
        common: bool = False,
    ) -> "CountedGrey":
        """Return what is counted of the voltages `used` in a region (z, y, x) of a stack."""
        start = (used.start, *(part.start for part in region))
        return cls(intensity[(used, *region)], measured[region[0]], start, common)

    @property
    def voltages(self) -> int:
        """Number of voltages."""
        return int(self.image.shape[0])

    @cached_property
    def ranges(self) -> list[Any]:
        """The lazy range (voltage, 2) that the grey values of floats are numbered in; else none."""
        if self.image.dtype.kind != "f":
            return []
        function = FloatCounts(self.measured, self.start)
        return [self._by_voltage(function, self.image, FloatRange(margin=1.0), (self.voltages, 2))]

    @property
    def size(self) -> int:
        """How many grey values are told apart."""
        return 1 << FINE_BITS if self.ranges else int(np.iinfo(self.image.dtype).max) + 1

    @cached_property
    def integers(self) -> Any:
        """The grey values as integers: floats as steps of their range."""
        return self.coded(self.image, FINE_BITS, self.ranges) if self.ranges else self.image

    def coded(self, image: Any, bits: int, ranges: Sequence[Any]) -> Any:
        """Return an image as numbers of 2^bits steps of a lazy range."""
        codes = GreyCodes(bits, self.common)
        return map_blocks(codes, (image,), shape=image.shape, dtype=codes.dtype, parameters=ranges)

    def counted(self, finish: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...]) -> Any:
        """Return lazily what is made of the counts (voltage, grey) of the integers."""
        function = GreyCounts(self.size, self.measured)
        return self._by_voltage(function, self.integers, self.told(finish, self.size), shape)

    def told(self, finish: Callable[[np.ndarray], np.ndarray], bins: int) -> ToldBlank:
        """Return what finishes counts in `bins`, and the sums of slices that follow them."""
        return ToldBlank(finish, bins, len(self.measured), self.start[:2])

    def _by_voltage(self, function: Any, codes: Any, finish: Any, shape: tuple[int, ...]) -> Any:
        grid = ByVoltage(codes.shape, (1, *counting_block(codes)))
        return reduce_blocks(function, (codes,), grid=grid, finish=finish, shape=shape)


def computed_ranges(stack: xr.Dataset, shares: tuple[float, float] = QUANTILES) -> np.ndarray:
    """Count the images of a stack, and return their `range_values` (voltage, 2)."""
    whole = {axis: slice(0, stack.sizes[axis]) for axis in AXES}
    region = tuple(without_filled(stack, whole).values())
    used = slice(0, stack.sizes["voltage"])
    counted = CountedGrey.of(stack["intensity"].data, measured_slices(stack), used, region)
    lazy = xr.Dataset(
        {
            f"part_{k}": ((f"voltage_{k}", f"number_{k}"), part)
            for k, part in enumerate(grey_ranges(counted, shares))
        }
    )
    return range_values(*(part.values for part in lazy.compute().values()))


def counting_block(image: Any) -> tuple[int, ...]:
    """Return the block (z, y, x) in which an image (voltage, z, y, x) is counted."""
    if (chunks := getattr(image, "chunks", None)) is not None:
        return tuple(max(lengths) for lengths in chunks[1:])
    return default_block(image.shape[1:], image.shape[0] * image.dtype.itemsize)


def without_filled(stack: xr.Dataset, region: dict[str, slice]) -> dict[str, slice]:
    """Return the part of a region that measured slices, and raw pixels, lie in.

    Raises
    ------
    ConventionError
        If there is none.
    """
    if not measured_slices(stack)[region["z"]].any():
        msg = (
            f"grey values are counted in measured slices; of slices {region['z'].start} to "
            f"{region['z'].stop - 1} none is measured"
        )
        raise ConventionError(msg)
    return covered_part(stack, region, "region_of_interest")


def measured_part(stack: xr.Dataset, what: str, least: int) -> tuple[tuple[slice, ...], np.ndarray]:
    """Return the part (y, x) of images that every slice covers, and which slices are measured.

    Parameters
    ----------
    stack
        Stack with images.
    what
        Is measured in them.
    least
        Pixels along y and x that this needs.

    Raises
    ------
    ConventionError
        If the part is smaller, or no slice is measured.
    """
    part, measured = tuple(covered_region(stack).values()), measured_slices(stack)
    y, x = lengths(part)
    if min(y, x) < least:
        msg = (
            f"{what} is measured in images of at least {least} pixels along y and x that every "
            f"slice covers; these have {y} x {x}"
        )
        raise ConventionError(msg)
    if not measured.any():
        msg = f"{what} is that of measured slices; none of {len(measured)} is measured"
        raise ConventionError(msg)
    return part, measured


@dataclass(frozen=True)
class GreyQuantiles:
    """Finish counts (voltage, grey) with quantiles (voltage, 2), which are grey values themselves.

    Attributes
    ----------
    shares
        Of the counted pixels: a quantile is the least grey value that such a share does not exceed.
    """

    shares: tuple[float, float]

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the quantiles, which differ."""
        cumulated = np.cumsum(counts, axis=1)
        wanted = np.ceil(np.multiply.outer(cumulated[:, -1], self.shares))
        pairs = zip(cumulated, wanted, strict=True)
        quantiles = np.array([np.searchsorted(row, ranks) for row, ranks in pairs])
        low, high = quantiles.T
        if (low == high).any():
            v = int(np.argmax(low == high))
            msg = (
                "the images of each voltage must differ in brightness; of voltage number "
                f"{v}, {self.shares[0]:.0%} to {self.shares[1]:.0%} of the counted grey values "
                "are the same"
            )
            raise ConventionError(msg)
        return quantiles


def grey_ranges(grey: CountedGrey, shares: tuple[float, float] = QUANTILES) -> list[Any]:
    """Return lazily what `range_values` makes quantiles of grey values (voltage, 2) of.

    They are exact, those of floats to a 2^18th of about three times the range of their voltage.
    """
    return [grey.counted(GreyQuantiles(shares), (grey.voltages, 2)), *grey.ranges]


def range_values(quantiles: np.ndarray, *ranges: np.ndarray) -> np.ndarray:
    """Return the grey values (voltage, 2) of `grey_ranges`, once these are computed."""
    for fitted in ranges:
        low, step = (
            values[:, np.newaxis] for values in grey_steps(fitted, FINE_BITS, common=False)
        )
        quantiles = low + (quantiles + 0.5) * step
    return quantiles
