"""The public function: grey values (voltage, z, y, x) to the phase (z, y, x)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from .. import blocks
from ..conventions import (
    AXES,
    ConventionError,
    Intervals,
    chosen_region,
    finish_stack,
    inherit_inpainted,
    record_step,
    require,
    voltage_index,
)
from .histograms import (
    JOINT_BITS,
    AboveThreshold,
    ClusterCentres,
    ClusterThreshold,
    Dtype,
    GreyCodes,
    GreyCounts,
    GreyRange,
    JointCounts,
    NearestBrightest,
    OtsuThreshold,
)

METHODS = ("kmeans", "otsu", "threshold")
_MOST_VOLTAGES = 6  # jointly: 3 bits of each are left of 18


def segment_phases(
    stack: xr.Dataset,
    *,
    method: str = "kmeans",
    classes: int = 3,
    voltage: float | None = None,
    threshold: float | None = None,
    region_of_interest: Intervals | None = None,
    data_bar: int = 0,
) -> xr.Dataset:
    """Add `phase`: the brightest grey values are solid.

    Lazy. Thresholds and cluster centres are global: they are fitted on one histogram, which is
    counted block by block when the phase is computed.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x).
    method
        `kmeans`: solid is the brightest of `classes` clusters, of one voltage or of all jointly;
        `otsu`: solid is what exceeds the threshold of Otsu; `threshold`: what exceeds `threshold`.
    classes
        Number of clusters of `kmeans`; three are solid, pore, and structure that shines through
        from below.
    voltage
        The accelerating voltage in kV that is used, one of the stack. By default `kmeans` uses
        all of them jointly, and `otsu` and `threshold` the lowest, where least shines through.
    threshold
        Grey value, for `threshold` only.
    region_of_interest
        The part of the images whose grey values are counted, by axis: `{"z": (10, 90)}` are the
        slices 10 to 89. Axes left out are counted whole; all of the stack is segmented.
    data_bar
        Rows of pixels at the bottom of the images (largest y) that are no image: they are neither
        counted nor kept, and every variable of the result is cropped.

    Returns
    -------
    xarray.Dataset
        The stack with `phase` (z, y, x), uint8: 0 pore, 1 solid.

    Raises
    ------
    ConventionError
        If an argument does not fit the stack; when computed, if grey values are NaN or infinite,
        or fewer different ones than classes.

    Notes
    -----
    Histograms of 8- and 16-bit images are exact. Those of float32 have 2^18 bins, that is values
    rounded towards zero to 10 significant bits; every integer up to 1024 has its own. Joint
    k-means of two 8-bit voltages is exact (256 x 256 bins); else the joint histogram has about
    2^(18/n) bins for each of n voltages: equal steps of the 8-bit scale, or, after one more
    histogram, of the range that holds all but 0.05 % of the 16-bit or float32 grey values at
    either end. Only the centres are rounded by this: every voxel takes the centre that is nearest
    to its own grey values.

    K-means uses no random numbers. That of one voltage has the least sum of squares of all: its
    clusters are intervals, and the best ones are found by dynamic programming (H. Wang and M.
    Song, The R Journal 3/2 (2011) 29-33). Joint k-means takes the least sum that Lloyd's
    iterations reach from the best intervals of each voltage and of the mean over voltages, and
    then, as long as that helps, with two clusters merged and one cut in two; it need not be the
    least of all. The brightest cluster is that whose centre, averaged over voltages, is brightest.
    """
    stack = require(stack, "intensity")
    _check_method(method, classes, threshold)
    stack = _without_data_bar(stack, data_bar)
    used = _used_voltages(stack, voltage, method)
    whole = {axis: (0, stack.sizes[axis]) for axis in AXES}
    chosen = chosen_region(stack, region_of_interest, whole, name="region_of_interest")
    region = tuple(chosen.values())
    segmentation = _Segmentation(stack["intensity"].data, used, region)
    if threshold is not None:
        phase = segmentation.by_threshold(float(threshold))
    elif method == "otsu":
        phase = segmentation.by_fitted_threshold(OtsuThreshold(segmentation.dtype))
    elif used.stop - used.start == 1:
        phase = segmentation.by_fitted_threshold(ClusterThreshold(classes, segmentation.dtype))
    else:
        phase = segmentation.by_joint_clusters(classes)
    parameters = {
        "method": method,
        "classes": classes if method == "kmeans" else None,
        "voltage": stack["voltage"].values[used],
        "threshold": threshold,
        "region_of_interest": {a: [s.start, s.stop] for a, s in zip(AXES, region, strict=True)},
        "data_bar": data_bar,
    }
    source = blocks.origin(segmentation.intensity)
    stack = finish_stack(stack.assign(phase=(AXES, phase)))
    stack = inherit_inpainted(stack, "phase", "intensity")
    return record_step(stack, "segment_phases", parameters, source.token if source else "")


@dataclass(frozen=True)
class _Segmentation:
    """The intensity (voltage, z, y, x), which voltages are used, and the region counted."""

    intensity: Any
    used: slice
    region: blocks.Region

    @property
    def dtype(self) -> Dtype:
        dtype: Dtype = self.intensity.dtype
        return dtype

    @property
    def voltages(self) -> int:
        return int(self.used.stop - self.used.start)

    @property
    def counted(self) -> Any:
        return self.intensity[(self.used, *self.region)]

    def _count(self, function: Any, codes: Any, finish: Any, shape: tuple[int, ...]) -> Any:
        sizes = codes.shape[1:]
        chunks = getattr(codes, "chunks", None)
        if chunks is None:
            block = blocks.default_block(sizes, codes.shape[0] * codes.dtype.itemsize)
        else:
            block = tuple(max(lengths) for lengths in chunks[1:])
        grid = blocks.Grid(sizes, block)
        return blocks.reduce_blocks(function, (codes,), grid=grid, finish=finish, shape=shape)

    def _phase(self, function: blocks.BlockFunction, image: Any, *fitted: Any) -> Any:
        return blocks.map_blocks(
            function, (image,), shape=image.shape[1:], dtype=np.uint8, parameters=fitted
        )

    def by_threshold(self, threshold: float) -> Any:
        return self._phase(AboveThreshold(self.used.start, threshold), self.intensity)

    def by_fitted_threshold(self, finish: Any) -> Any:
        counts = GreyCounts(1, self.dtype)
        fitted = self._count(counts, self.counted, finish, (1,))
        return self._phase(AboveThreshold(self.used.start), self.intensity, fitted)

    def by_joint_clusters(self, classes: int) -> Any:
        """Count joint grey values: those of 8 bits as they are, others in steps of a range."""
        bits = JOINT_BITS // self.voltages
        codes, shift, fitted = self.counted, 0, []
        if self.dtype == np.uint8:
            bits = min(bits, 8)
            shift = 8 - bits
        else:
            counts = GreyCounts(self.voltages, self.dtype)
            grey_range = self._count(counts, self.counted, GreyRange(self.dtype), (2,))
            fitted = [grey_range]
            codes = blocks.map_blocks(
                GreyCodes(bits), (codes,), shape=codes.shape, dtype=np.uint16, parameters=fitted
            )
        finish = ClusterCentres(classes, self.voltages, bits, shift)
        joint = JointCounts(self.voltages, bits, shift)
        centres = self._count(joint, codes, finish, (classes, self.voltages))
        nearest = NearestBrightest(self.voltages, bits)
        return self._phase(nearest, self.intensity, centres, *fitted)


def _check_method(method: str, classes: int, threshold: float | None) -> None:
    if method not in METHODS:
        msg = f"method must be one of {', '.join(METHODS)}; got {method!r}"
        raise ConventionError(msg)
    if method == "kmeans" and classes < 2:
        msg = f"classes must be at least 2; got {classes}"
        raise ConventionError(msg)
    if (method == "threshold") != (threshold is not None):
        msg = f"threshold goes with method 'threshold' only; got {threshold} with {method!r}"
        raise ConventionError(msg)
    if threshold is not None and not np.isfinite(threshold):
        msg = f"threshold must be a finite grey value; got {threshold}"
        raise ConventionError(msg)


def _without_data_bar(stack: xr.Dataset, rows: int) -> xr.Dataset:
    height = stack.sizes["y"]
    if not 0 <= rows < height:
        msg = f"data_bar must be between 0 and {height - 1} of {height} rows; got {rows}"
        raise ConventionError(msg)
    return stack.isel(y=slice(0, height - rows)) if rows else stack


def _used_voltages(stack: xr.Dataset, voltage: float | None, method: str) -> slice:
    if voltage is not None:
        place = voltage_index(stack, voltage)
        return slice(place, place + 1)
    used = slice(0, stack.sizes["voltage"] if method == "kmeans" else 1)
    if used.stop > _MOST_VOLTAGES:
        msg = f"joint kmeans takes up to {_MOST_VOLTAGES} voltages; got {used.stop}; choose one"
        raise ConventionError(msg)
    return used
