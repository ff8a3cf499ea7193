"""The public function: grey values (voltage, z, y, x) to the phase (z, y, x)."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from .. import blocks
from ..conventions import (
    AXES,
    FILLED,
    LABELS,
    PROBABILITIES,
    ConventionError,
    FibdaskWarning,
    Intervals,
    OptionTable,
    axis_spacing,
    check_belongs,
    check_choice,
    check_count,
    chosen_region,
    finish_stack,
    inherit_inpainted,
    measured_slices,
    plain_number,
    record_step,
    require,
    value_range,
    voltage_index,
)
from ..pieces.grey import FINE_BITS, CountedGrey, counting_block, without_filled
from ..pieces.models import (
    AUTO,
    Seen,
    find_model,
    model_record,
    predict_solid,
    warn_of_gaps,
)
from ..pieces.windows import PlacedPlanes
from ._functions import (
    JOINT_BITS,
    AboveThreshold,
    ClusterCentres,
    ClusterThreshold,
    GreyRange,
    JointCounts,
    NearestBrightest,
    OtsuThreshold,
)
from .forest.curve import curve_of_forests
from .forest.segmentation import Shown, segment_by_forest

METHODS = ("kmeans", "otsu", "threshold", "network", "random_forest")
_FOREST = "random_forest"
_LEARNT = ("network", _FOREST)
_OPTIONS: OptionTable = {
    "model": (AUTO, _LEARNT),
    "device": (AUTO, ("network",)),
    "threshold": (None, ("threshold",)),
    "tilt": (Seen.tilt, ("network",)),
    "mirrored": (Seen.mirrored, ("network",)),
    "disagreement": (False, ("network",)),
    "labels": (None, (_FOREST,)),
    "unlabelled": (None, (_FOREST,)),
    "scales": (None, (_FOREST,)),
    "region_of_interest": (None, ("kmeans", "otsu", *_LEARNT)),
}
_MOVED = 0.5  # rows
_MOST_VOLTAGES = 6  # jointly: 3 bits of each are left of 18


def segment_phases(
    stack: xr.Dataset,
    *,
    method: str = "kmeans",
    classes: int = 3,
    voltage: float | None = None,
    threshold: float | None = None,
    labels: str | None = None,
    unlabelled: int | None = None,
    scales: Sequence[float] | None = None,
    model: str = AUTO,
    device: str = AUTO,
    tilt: float = 0.0,
    mirrored: bool = False,
    disagreement: bool = False,
    region_of_interest: Intervals | None = None,
    data_bar: int = 0,
) -> xr.Dataset:
    """Add `phase`: solid by grey value, by a network, or by a forest grown on painted slices.

    Lazy. Thresholds and cluster centres are global: they are fitted on one histogram, which is
    counted block by block when the phase is computed. The range of grey values that a network sees
    is found likewise.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x).
    method
        `kmeans`: solid is the brightest of `classes` clusters, of one voltage or of all jointly.
        `otsu`: solid is above Otsu's threshold. `threshold`: solid is above `threshold`. `network`:
        a trained network sees each slice with those around it and knows their depths, so it tells
        solid from structure that shines through. `random_forest`: decision trees, grown on a few
        painted slices (`labels`), look at what each pixel has around, above and below it.
    classes
        Number of clusters of `kmeans`. Three are solid, pore, and structure that shines through
        from below; use two if nothing shines through, else the third would be half of a phase.
    voltage
        Accelerating voltage in kV to use, one of the stack. By default `kmeans`, `network` and
        `random_forest` use all jointly, `otsu` and `threshold` the lowest, where least shines
        through.
    threshold
        Grey value above which pixels are solid, for `threshold` only.
    labels
        For `random_forest` only: painted slices, in a folder that `fibdask labels` made, or in
        files by slice or of the whole stack. Scribbles are enough.
    unlabelled
        For `labels` only: value of unpainted pixels, if neither the folder nor the labels state it:
        255 (then 0 is pore and 1 solid) or 0 (then 1 is pore and 2 solid).
    scales
        For `labels` only: standard deviations in nm, increasing, of the surroundings that trees
        look at; by default 1, 2, 4 and 8 pixels. Along z they reach as far, up to 16 slices.
    model
        For `network`: name or folder of a model trained for such voltages, pixels and slices;
        `auto` is the best that ships for those of the stack. For `random_forest`, instead of
        labels: folder of a forest that `fit_forest` has grown.
    device
        For `network` only: where it predicts, `gpu`, `cpu`, or `auto`, a GPU if this process has
        one. Results of the two differ in the last bits, and so do their fingerprints.
    tilt
        For `network` only: angle in degrees between the beam and the normal of the slices, about x;
        positive if electrons fly towards +y, so that what shines through lies at larger y than it
        appears. Not for models trained on images of such a beam.
    mirrored
        For `network` only: whether to also predict images mirrored along x, along y and along both,
        and take the mean; takes four times as long. Models trained on images of a tilted beam
        mirror along x only.
    disagreement
        For `network` and several voltages only: whether to add `voltage_disagreement`, how far
        apart the predictions from each voltage alone are. Each is then predicted once more.
    region_of_interest
        Part of the images whose grey values are counted, by axis: `{"z": (10, 90)}` are slices 10
        to 89. Axes left out are counted whole. The whole stack is segmented. Not for `threshold`,
        which counts nothing.
    data_bar
        Rows of pixels at the bottom of the images (largest y) that are not image. They are not
        counted, and are cropped from every variable of the result. Alignment moves a bar with its
        slice; with `outside` other than `crop` a part of it may stay: crop it before, by `crop` of
        `read_images`.

    Returns
    -------
    xarray.Dataset
        The stack with `phase` (z, y, x), uint8: 0 pore, 1 solid.

        `network` also adds `solid_probability` (z, y, x), float32, and, on request,
        `voltage_disagreement` (z, y, x), float32: the largest less the smallest probability that
        single voltages give. All three are 0 in planes that are not measured. `kmeans`, `otsu`
        and `threshold` segment such planes as they look, and drop the latter two from a stack that
        had them.

        `random_forest` also adds `solid_probability`, and leaves such planes 0. Where more than two
        classes are painted, it adds `label` (z, y, x), uint8, with names and colours in its
        attributes, and `label_probability`, float32; then it adds `phase` only if a class is called
        "solid", and drops one that the stack had.

    Raises
    ------
    ConventionError
        If an argument, labels or the model do not fit the stack, or torch or scikit-learn is needed
        and not installed; when computed, if labels were cut from another stack, or grey values of
        measured slices are NaN or infinite, or fewer different ones than classes.
    StackReadError
        If labels cannot be read.

    Warns
    -----
    FibdaskWarning
        When computed, unless a `threshold` is given, if less than 0.1 % of what is counted is left
        to one of the phases, `kmeans` with three or more classes parts one peak of grey values in
        two, or measured slices hold one grey value alone; at once, if no grey value of an integer
        type can be on one side of `threshold`, or none of images in memory is; if alignment has
        left parts of data bars above those rows that `data_bar` cuts; if slices lie beside longer
        gaps than the network was trained on, or are much thinner or thicker than those that the
        forest was grown on; or if images are known to be simulated with other materials or
        electrons, or a beam of another tilt.

    Notes
    -----
    Planes that are not `measured` do not count, nor do pixels that alignment filled
    (`filled_share`): rows and columns that any measured slice lacks.

    Histograms of 8- and 16-bit images are exact. Those of float32 have 2^18 equal steps over the
    range of the grey values, found first from a histogram of 10 significant bits: all but 0.05 % at
    either end, widened by as much again above and below. Grey values beyond, such as hot pixels,
    count as the end. Joint k-means of two 8-bit voltages is exact (256 x 256 bins). Otherwise the
    joint histogram has about 2^(18/n) bins for each of n voltages: equal steps of the 8-bit scale,
    or, after one more histogram, of a range that is as long as the longest of any voltage and
    begins below all but 0.05 % of the grey values of each. Only the centres are rounded by this:
    every voxel takes the centre that is nearest to its own grey values.

    K-means uses no random numbers. For one voltage it finds the least sum of squares of all:
    clusters are intervals, and dynamic programming finds the best ones (H. Wang and M. Song, The R
    Journal 3/2 (2011) 29-33). Joint k-means takes the least sum that Lloyd's iterations reach from
    the best intervals of each voltage and of the mean over voltages, and then, as long as that
    helps, with two clusters merged and one split; this need not be the global minimum. The
    brightest cluster has the brightest centre, averaged over voltages.
    """
    stack = require(stack, "intensity")
    check_choice("method", method, METHODS)
    as_seen = Seen(tilt, mirrored)
    of_labels = {"labels": labels, "unlabelled": unlabelled, "scales": scales}
    given = {
        "model": model,
        "device": device,
        "threshold": threshold,
        "disagreement": disagreement,
        "region_of_interest": region_of_interest,
        **asdict(as_seen),
        **of_labels,
    }
    _check_options(method, classes, given)
    if method == _FOREST:
        _check_forest(model, of_labels)
    whole_stack, stack = stack, _without_data_bar(stack, data_bar)
    used = _used_voltages(stack, voltage, method)
    if disagreement and used.stop - used.start == 1:
        msg = "disagreement is between voltages; the network is shown one alone"
        raise ConventionError(msg)
    chosen = _counted_region(stack, region_of_interest)
    if threshold is None:
        chosen = without_filled(stack, chosen)
    region = tuple(chosen.values())
    parameters = {
        "method": method,
        "classes": classes if method == "kmeans" else None,
        "voltage": stack["voltage"].values[used],
        "threshold": threshold,
        "region_of_interest": {a: [s.start, s.stop] for a, s in zip(AXES, region, strict=True)},
        "data_bar": data_bar,
    }
    volumes: dict[str, Any]
    if method == "network":
        shown = stack.isel(voltage=used)
        found = find_model(model, shown, device, as_seen)
        planes = PlacedPlanes.of_slices(stack["z"].values, measured_slices(stack))
        warn_of_gaps(planes, found, tilt=as_seen.tilt)
        volumes = predict_solid(shown, found, planes, chosen, as_seen, disagreement=disagreement)
        parameters |= {"disagreement": disagreement} | model_record(found, shown, as_seen)
    elif method == _FOREST:
        forest = None if model == AUTO else model
        images = Shown(stack.isel(voltage=used), chosen, scales)
        made, told = segment_by_forest(images, whole_stack, used, labels, unlabelled, forest)
        parameters, volumes = parameters | told, {**made}
    else:
        phase = _by_grey_values(stack, used, region, method, classes, threshold)
        volumes = {"phase": (AXES, phase)}
    fingerprint = blocks.array_token(stack["intensity"].data)
    # What another segmentation has left says nothing of this one, which need not make a phase.
    stack = stack.drop_vars(("phase", *PROBABILITIES, *LABELS), errors="ignore")
    stack = finish_stack(stack.assign(volumes))
    for name in volumes:
        # A network is shown measured slices only, however other planes were filled.
        stack = inherit_inpainted(stack, name, None if method in _LEARNT else "intensity")
    return record_step(stack, "segment_phases", parameters, fingerprint)


def learning_curve(
    stack: xr.Dataset,
    *,
    labels: str,
    unlabelled: int | None = None,
    scales: Sequence[float] | None = None,
    voltage: float | None = None,
    region_of_interest: Intervals | None = None,
    data_bar: int = 0,
) -> xr.Dataset:
    """Return the errors of forests against the number of painted slices that they learn from.

    Shows whether painting more helps. Each painted slice is judged by forests that have learnt from
    other slices, none of them a neighbour. Lazy; where the stack is also segmented by the same
    labels, what both look at is made once.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x).
    labels, unlabelled, scales, voltage, region_of_interest, data_bar
        As for `segment_phases` with the method `random_forest`.

    Returns
    -------
    xarray.Dataset
        `misplaced` (learnt, judged) in %: the share of painted pixels of the slice `judged` that
        forests get wrong that have learnt from `learnt` others; NaN where these hold one class
        alone, or are too few. The coordinate `z` (judged) is in nm.

    Raises
    ------
    ConventionError
        If labels or scales do not fit the stack, no painted slice lies more than two slices from
        another, or scikit-learn is not installed.
    StackReadError
        If labels cannot be read.

    Warns
    -----
    FibdaskWarning
        If alignment has left parts of data bars above those rows that `data_bar` cuts.

    Notes
    -----
    The slices are divided into five folds, or as many as there are: every fifth slice, or, where
    that leaves too few others far enough apart, consecutive slices. The numbers to learn from
    double, up to as many as every fold leaves; slices taken are spread evenly among these. Forests
    grow as in `segment_phases`, on at most 40,000 pixels.
    """
    stack = require(stack, "intensity")
    cropped = _without_data_bar(stack, data_bar)
    used = _used_voltages(cropped, voltage, _FOREST)
    chosen = without_filled(cropped, _counted_region(cropped, region_of_interest))
    images = Shown(cropped.isel(voltage=used), chosen, scales)
    return curve_of_forests(images, stack, used, labels, unlabelled)


def _counted_region(stack: xr.Dataset, region: Intervals | None) -> dict[str, slice]:
    """Return where grey values are counted, by axis."""
    whole = {axis: (0, stack.sizes[axis]) for axis in AXES}
    return chosen_region(stack, region, whole, name="region_of_interest")


def _by_grey_values(
    stack: xr.Dataset,
    used: slice,
    region: blocks.Region,
    method: str,
    classes: int,
    threshold: float | None,
) -> Any:
    """Return the phase of the grey values of some voltages, which are counted in a region."""
    segmentation = _Segmentation(stack["intensity"].data, used, region, measured_slices(stack))
    if threshold is not None:
        _warn_of_one_phase(float(threshold), stack["intensity"][used].data, segmentation.measured)
        return segmentation.by_threshold(float(threshold))
    if method == "otsu":
        return segmentation.by_fitted_threshold(OtsuThreshold())
    if used.stop - used.start == 1:
        return segmentation.by_fitted_threshold(ClusterThreshold(classes))
    return segmentation.by_joint_clusters(classes)


@dataclass(frozen=True, eq=False)
class _Segmentation:
    """The intensity (voltage, z, y, x), which voltages are used, and what is counted of it.

    Counted are those slices of the region that are measured (z of the stack, bool).
    """

    intensity: Any
    used: slice
    region: blocks.Region
    measured: np.ndarray

    @property
    def voltages(self) -> int:
        return int(self.used.stop - self.used.start)

    @cached_property
    def grey(self) -> CountedGrey:
        """What is counted of the images."""
        part = self.used, self.region
        return CountedGrey.of(self.intensity, self.measured, *part, common=True)

    def _phase(self, function: blocks.BlockFunction, *fitted: Any) -> Any:
        image = self.intensity
        return blocks.map_blocks(
            function, (image,), shape=image.shape[1:], dtype=np.uint8, parameters=fitted
        )

    def by_threshold(self, threshold: float) -> Any:
        return self._phase(AboveThreshold(self.measured, self.used.start, threshold))

    def by_fitted_threshold(self, finish: Any) -> Any:
        fitted = self.grey.counted(finish, (1,))
        return self._phase(
            AboveThreshold(self.measured, self.used.start), fitted, *self.grey.ranges
        )

    def by_joint_clusters(self, classes: int) -> Any:
        """Count joint grey values: those of 8 bits as they are, others in steps of a range."""
        grey = self.grey
        codes, ranges = grey.integers, grey.ranges
        bits, shift, steps = JOINT_BITS // self.voltages, 0, (FINE_BITS,) * len(ranges)
        if self.intensity.dtype == np.uint8:
            bits = min(bits, 8)
            shift = 8 - bits
        else:
            narrow = grey.counted(GreyRange(), (self.voltages, 2))
            codes = grey.coded(codes, bits, [narrow])
            ranges, steps = [narrow, *ranges], (bits, *steps)
        counts = JointCounts(self.voltages, bits, shift, grey.measured, looks=not ranges)
        finish = ClusterCentres(classes, self.voltages, bits, shift)
        centres = blocks.reduce_blocks(
            counts,
            (codes,),
            grid=blocks.Grid(codes.shape[1:], counting_block(codes)),
            finish=grey.told(finish, counts.bins) if counts.looks else finish,
            shape=(classes, self.voltages),
        )
        return self._phase(NearestBrightest(self.voltages, self.measured, steps), centres, *ranges)


def _check_options(method: str, classes: int, given: Mapping[str, Any]) -> None:
    check_belongs(method, given, _OPTIONS)
    if method == "kmeans":
        check_count("classes", classes, least=2)
    if method == "threshold" and not np.isfinite(plain_number(given["threshold"])):
        msg = f"threshold must be a finite grey value; got {given['threshold']!r} with {method!r}"
        raise ConventionError(msg)


def _check_forest(model: str, of_labels: Mapping[str, Any]) -> None:
    """Refuse a forest of nothing, or of two things."""
    given = [name for name, value in of_labels.items() if value is not None]
    if (of_labels["labels"] is None) == (model == AUTO):
        msg = (
            f"{_FOREST} needs labels, the painted slices that it is grown on, or a model, the "
            f"folder of one that is grown, and not both; got labels {of_labels['labels']!r} and "
            f"model {model!r}"
        )
        raise ConventionError(msg)
    if model != AUTO and given:
        msg = f"{given[0]} goes with labels only; the model says it itself"
        raise ConventionError(msg)


def _warn_of_one_phase(threshold: float, image: Any, measured: np.ndarray) -> None:
    """Warn of a threshold that no grey value of an integer type, or in memory, is beyond."""
    (low, high), of = value_range("intensity", image.dtype), f"of {image.dtype.name}"
    if low <= threshold < high and isinstance(image, np.ndarray) and measured.any():
        counted = image[:, measured]
        low, high, of = counted.min(), counted.max(), "that is measured"
    if low > threshold or high <= threshold:  # neither, if grey values are NaN
        phase = "solid" if low > threshold else "pore"
        text = f"every grey value {of} is {phase} at a threshold of {threshold:g}"
        warnings.warn(text, FibdaskWarning, stacklevel=4)


def _without_data_bar(stack: xr.Dataset, rows: int) -> xr.Dataset:
    height = stack.sizes["y"]
    check_count("data_bar", rows, least=0, most=height - 1, unit="rows")
    if not rows:
        return stack
    _warn_of_moved_bar(stack)
    return stack.isel(y=slice(0, height - rows))


def _warn_of_moved_bar(stack: xr.Dataset) -> None:
    """Warn of a data bar that alignment has moved upwards with its slice, and filled below.

    Where slices were cropped, the lowest rows are of the bars of all.
    """
    measured = measured_slices(stack)
    if FILLED not in stack.coords or "shift_y" not in stack.variables or not measured.any():
        return
    rows = -stack["shift_y"].values[..., measured].min() / axis_spacing(stack, "y")
    if rows >= _MOVED:
        text = (
            f"alignment has moved slices up by up to {rows:.3g} rows and filled those below: as "
            "many rows of their data bars are left above those that data_bar cuts, and count as "
            "structure; cut them off before slices are aligned ([input] crop)"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=4)


def _used_voltages(stack: xr.Dataset, voltage: float | None, method: str) -> slice:
    if voltage is not None:
        place = voltage_index(stack, voltage)
        return slice(place, place + 1)
    jointly = method in ("kmeans", *_LEARNT)
    used = slice(0, stack.sizes["voltage"] if jointly else 1)
    if method == "kmeans" and used.stop > _MOST_VOLTAGES:
        msg = f"joint kmeans takes up to {_MOST_VOLTAGES} voltages; got {used.stop}; choose one"
        raise ConventionError(msg)
    return used
