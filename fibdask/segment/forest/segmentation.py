"""From painted slices to volumes, lazily: trees are grown of stored features of painted pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

from ...blocks import INNER_CHUNK, even_part, fingerprint, map_blocks, reduce_blocks
from ...conventions import (
    AXES,
    LABELS,
    ConventionError,
    axis_spacing,
    measured_slices,
    recorded_steps,
    require,
)
from ...pieces.grey import QUANTILES, CountedGrey, grey_ranges, without_filled
from ...pieces.labels import Painted, label_attributes, read_painted
from ...pieces.validity import mean_thickness
from ...pieces.windows import LikelySolid
from ._functions import (
    CodedLabels,
    GrowTrees,
    IsLabel,
    KeptForest,
    LabelOf,
    PaintedFeatures,
    PaintedSlices,
    ProbabilityOf,
    SolidProbability,
)
from .features import SCALES, Features
from .saved import Forest
from .trees import Growth, features_of, scikit_learn

SAMPLES = 100_000
"""Painted pixels that trees are grown on, at most."""
SOLID = "solid"
_TILE = 384  # pixels along y and x
_PLANES = 32  # of a block

Volumes = dict[str, tuple[tuple[str, ...], Any, Mapping[str, Any]]]


@dataclass(frozen=True, eq=False)
class Shown:
    """Images that forests are shown.

    Attributes
    ----------
    stack
        With the voltages that are used.
    counted
        Where grey values are counted, by axis.
    scales
        In nm; by default 1, 2, 4 and 8 pixels.
    """

    stack: xr.Dataset
    counted: Mapping[str, slice]
    scales: Sequence[float] | None = None

    @property
    def image(self) -> Any:
        """Grey values (voltage, z, y, x)."""
        return self.stack["intensity"].data

    @cached_property
    def pixel_size(self) -> tuple[float, float]:
        """Along y and x in nm; of an axis of one pixel, as along the other."""
        found = [axis_spacing(self.stack, axis) for axis in ("y", "x")]
        known = [size for size in found if np.isfinite(size)] or [1.0]
        y, x = (size if np.isfinite(size) else known[0] for size in found)
        return y, x

    @cached_property
    def lengths(self) -> list[float]:
        """Scales in nm."""
        if self.scales is not None:
            return [float(scale) for scale in self.scales]
        return [scale * max(self.pixel_size) for scale in SCALES]

    @cached_property
    def features(self) -> Features:
        """What is made of them."""
        z, measured = self.stack["z"].values, measured_slices(self.stack)
        return Features.of(self.lengths, self.pixel_size, z, measured, self.image.shape)

    @cached_property
    def ranges(self) -> list[Any]:
        """The lazy ranges of grey values."""
        used = slice(0, self.image.shape[0])
        region = tuple(self.counted.values())
        measured = measured_slices(self.stack)
        return grey_ranges(CountedGrey.of(self.image, measured, used, region), QUANTILES)

    @cached_property
    def block(self) -> tuple[int, int, int]:
        """Planes, rows and columns that are predicted together."""
        n_z, n_y, n_x = self.image.shape[1:]
        y, x = (min(even_part(n, _TILE, INNER_CHUNK), n) for n in (n_y, n_x))
        return even_part(n_z, _PLANES, 1), y, x


def grown(shown: Shown, painted: Painted, growth: Growth) -> Any:
    """Return the packed nodes (tree, node, column) of a forest, lazily.

    Raises
    ------
    ConventionError
        If scikit-learn is not installed.
    """
    scikit_learn("sklearn")  # now, rather than when all else is done
    function, grid = painted_features(shown, painted, growth)
    _, classes = painted.drawn(SAMPLES, growth.seed)
    count = len(painted.names)
    return reduce_blocks(
        function,
        (shown.image,),
        grid=grid,
        finish=GrowTrees(growth, classes, count, shown.features.count),
        shape=growth.shape(count),
        parameters=shown.ranges,
    )


def painted_features(
    shown: Shown, painted: Painted, growth: Growth
) -> tuple[PaintedFeatures, PaintedSlices]:
    """Return what features of painted pixels are made by, and of which blocks."""
    pixels, _ = painted.drawn(SAMPLES, growth.seed)
    tile = shown.block[1:]
    made = PaintedFeatures(shown.features, painted.slices, pixels, painted.probes, tile)
    return made, PaintedSlices(painted.slices, shown.features.shape)


def fit_forest(
    stack: xr.Dataset,
    *,
    labels: str,
    unlabelled: int | None = None,
    scales: Sequence[float] | None = None,
    seed: int = 0,
    only: Sequence[int] | None = None,
) -> Forest:
    """Grow a forest on painted slices of a stack, to keep it.

    Computes: reads these slices at once.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x).
    labels, unlabelled, scales
        As for `segment_phases`.
    seed
        Seed of the choice of painted pixels.
    only
        Numbers of the painted slices to use; by default all.

    Returns
    -------
    Forest
        The forest; `save` writes it into a folder, for `model` of `segment_phases`.

    Raises
    ------
    ConventionError
        If labels or scales do not fit the stack, or scikit-learn is not installed.
    StackReadError
        If labels cannot be read.
    """
    stack = require(stack, "intensity")
    painted = read_painted(labels, stack, unlabelled=unlabelled)
    if only is not None:
        unknown = [number for number in only if number not in painted.slices]
        if unknown:
            msg = f"only must name painted slices, {painted.slices.tolist()}; got {unknown[0]}"
            raise ConventionError(msg)
        painted = painted.of_slices(np.flatnonzero(np.isin(painted.slices, only))).check()
    whole = {axis: slice(0, stack.sizes[axis]) for axis in AXES}
    shown = Shown(stack, without_filled(stack, whole), scales)
    packed = np.asarray(grown(shown, painted, Growth(seed=seed)).compute())
    card = {
        "classes": list(painted.names),
        "colours": list(painted.colours),
        "scales": shown.lengths,
        "voltages": stack["voltage"].values.tolist(),
        "pixel_size": list(shown.pixel_size),
        "thickness": mean_thickness(stack),
        "quantiles": list(QUANTILES),
        "slices": painted.slices.tolist(),
        "growth": asdict(Growth(seed=seed)),
        "history": recorded_steps(stack),
    }
    return Forest(packed, card)


def segment_by_forest(
    shown: Shown,
    whole: xr.Dataset,
    used: slice,
    labels: str | None,
    unlabelled: int | None,
    model: str | None,
) -> tuple[Volumes, dict[str, Any]]:
    """Return volumes of a stack, lazily, and what provenance tells of them.

    Parameters
    ----------
    shown
        The images.
    whole
        The stack that was painted, which may have more rows.
    used
        Which of its voltages the images are.
    labels, unlabelled
        What is painted, and the value of what is not.
    model
        Folder of a forest instead.
    """
    if model is not None:
        forest = Forest.load(model)
        _check_card(forest, model)
        forest.check(shown.stack)
        shown = replace(shown, scales=forest.card["scales"])
        _check_features(forest, shown.features.count)
        names, colours = tuple(forest.card["classes"]), tuple(forest.card["colours"])
        kept = KeptForest(str(Path(model).absolute()), forest.card["sha256"])
        told: dict[str, Any] = {"model": str(model), "model_fingerprint": kept.fingerprint}
        return _volumes(shown, names, colours, kept, []), told
    painted = read_painted(cast("str", labels), whole, unlabelled=unlabelled)
    painted = painted.shown(used, shown.image.shape[2])
    packed = grown(shown, painted.check(), Growth())
    told = {
        "labels": str(labels),
        "labels_fingerprint": fingerprint(painted.slices, painted.classes),
        "painted_slices": painted.slices.tolist(),
        "classes": list(painted.names),
        "scales": shown.lengths,
    }
    return _volumes(shown, painted.names, painted.colours, None, [packed]), told


def _check_card(forest: Forest, folder: str) -> None:
    """Refuse a forest whose card is not that of its nodes.

    Raises
    ------
    ConventionError
        With the folder, and what stands on the card.
    """
    card, nodes = forest.card, forest.packed.shape
    try:
        count = len(card["classes"])
        fitting = Growth(**card["growth"]).shape(count) == nodes and count == len(card["colours"])
        fitting &= len(card["voltages"]) > 0 and len(card["pixel_size"]) == 2 and count > 1
    except (KeyError, TypeError):
        fitting = False
    if not fitting:
        msg = (
            f"nodes and card of a forest must go together; {folder} has nodes {nodes}, and its "
            f"card the classes {card['classes']}: the card was changed"
        )
        raise ConventionError(msg)


def _check_features(forest: Forest, count: int) -> None:
    """Refuse so many features of a pixel, if nodes look at others.

    Raises
    ------
    ConventionError
        With both numbers.
    """
    if (most := features_of(forest.packed)) > count:
        msg = (
            f"the forest looks at {most} features of a pixel; the scales on its card, "
            f"{forest.card['scales']} nm, make {count}: the card was changed"
        )
        raise ConventionError(msg)


def _volumes(
    shown: Shown,
    names: tuple[str, ...],
    colours: tuple[str, ...],
    kept: KeptForest | None,
    packed: list[Any],
) -> Volumes:
    """Return phase and probability, or, of more than two classes, labels, lazily."""

    def made(function: Any, inputs: Any, dtype: Any, parameters: Sequence[Any] = ()) -> Any:
        shape, block = shown.image.shape[1:], shown.block
        shared = not parameters
        return map_blocks(
            function, (inputs,), shape=shape, dtype=dtype, parameters=parameters, block=block,
            shared=shared,
        )  # fmt: skip

    results = [*packed, *shown.ranges]
    if len(names) == 2:
        function = SolidProbability(shown.features, 2, kept)
        probability = made(function, shown.image, np.float32, results)
        phase = made(LikelySolid(), probability, np.uint8)
        return {"phase": (AXES, phase, {}), "solid_probability": (AXES, probability, {})}
    codes = made(CodedLabels(shown.features, len(names), kept), shown.image, np.uint16, results)
    label = made(LabelOf(), codes, np.uint8)
    likely = made(ProbabilityOf(), codes, np.float32)
    named, how_likely = LABELS
    volumes: Volumes = {
        named: (AXES, label, label_attributes(names, colours)),
        how_likely: (AXES, likely, {"long_name": "probability of the label"}),
    }
    if SOLID in names:
        phase = made(IsLabel(names.index(SOLID)), label, np.uint8)
        volumes["phase"] = (AXES, phase, {})
    return volumes
