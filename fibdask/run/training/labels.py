"""Trainings by painted slices: `[labels]` of a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import xarray as xr
from pydantic import Field, NonNegativeInt, PositiveInt

from ...conventions import ConventionError, RecipeError, check_belongs, require
from ...io import open_stack
from ...pieces.labels import Painted, read_painted
from ...pieces.windows import SliceWindow
from ...segment import fit_forest
from ..recipe.record import blamed_on
from ..recipe.tables import Key, options_of
from .parts import Parts, Telling, TrainingRecipe
from .windows import network_keys

if TYPE_CHECKING:
    from ...learn.networks import Architecture
    from ...learn.published import Published

LABELS = "labels"
_FOREST = "forest"  # folder in the state of a training
_DIMENSIONS: Literal["2.5D"] = "2.5D"  # where none are given
_OF_WINDOWS = ("above", "below", "widths", "detail")
_OWN = {"width": ("2D", "3D"), "slices": ("3D",), **dict.fromkeys(_OF_WINDOWS, ("2.5D",))}
"""Dimensions of networks by the keys that only these look at."""


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Painted slices of a stack.

    Attributes
    ----------
    stack
        Store with the images.
    path
        Painted slices, as `labels` of `[segment]`.
    unlabelled
        Value of unpainted pixels, as for `[segment]`.
    validation
        Numbers of painted slices to judge by; by default one of five, never neighbours of those
        that the network learns from, or `begin` has learnt from.
    teacher
        What to learn from: `painted` pixels, or also what a `forest` grown on them predicts for
        other slices where it is sure.
    taught
        Number of slices that the forest labels.
    begin
        Model whose weights the training begins with, by name or folder, such as one that ships; it
        then defines the network, not `[network]`. Voltages that the stack lacks are left out; one
        that the model lacks begins as the nearest.
    """

    stack: str
    path: str
    unlabelled: Literal[0, 255] | None = None
    validation: Annotated[list[int], Field(min_length=1)] | None = None
    teacher: Literal["painted", "forest"] = "painted"
    taught: PositiveInt = 40
    begin: str | None = None


@dataclass(frozen=True, kw_only=True)
class DimensionOptions:
    """Choose what the network sees.

    Attributes
    ----------
    dimensions
        `2.5D`: each slice with those above and below it, whose depths it knows, which tells what
        shines through; `2D`: each slice alone; `3D`: small stacks of slices, as if evenly spaced.
        The latter two are residual U-Nets as in articles. By default that of the model that the
        training begins with, or `2.5D`.
    width
        For 2D and 3D only: features at full resolution; they double at each coarser one.
    slices
        For 3D only: slices of a stack; a multiple of eight is halved as the images are.
    """

    dimensions: Literal["2D", "2.5D", "3D"] | None = None
    width: Annotated[int, Field(ge=2)] = 16
    slices: Annotated[int, Field(ge=2)] = 8


@dataclass(frozen=True, kw_only=True)
class LabelSampleOptions:
    """Size and seed of samples.

    Attributes
    ----------
    crop
        Pixels of a sample along y and x.
    seed
        Seed of all samples.
    """

    crop: PositiveInt = 128
    seed: NonNegativeInt = 0


def label_tables() -> dict[str, dict[str, Key]]:
    """Return the keys of each table but the last, with early stopping unless it says else."""
    from ...learn.labelled import LabelVariation
    from ...learn.training import Schedule

    training = options_of(Schedule)
    training["decline"] = replace(training["decline"], default="plateau")
    return {
        LABELS: options_of(LabelOptions),
        "network": options_of(DimensionOptions) | network_keys(),
        "samples": options_of(LabelVariation, LabelSampleOptions),
        "training": training,
    }


def label_parts(read: TrainingRecipe, _telling: Telling) -> Parts:
    """Return a network, samples of painted slices, and what judges it by other ones."""
    from ...learn.begun import Begun
    from ...learn.labelled import LabelJudge, LabelledStack, LabelSamples, LabelVariation, parted

    labels = read.made(LABELS, LabelOptions)
    variation, drawn = read.varied(LabelVariation, LabelSampleOptions)
    with blamed_on(LABELS):
        stack = require(open_stack(labels.stack), "intensity")
        painted = read_painted(labels.path, stack, unlabelled=labels.unlabelled)
    with blamed_on("network"):
        architecture = _architecture(labels.begin, read.tables["network"], stack)
    with blamed_on(LABELS):
        begun, slices = isinstance(architecture, Begun), painted.slices.tolist()
        seen = architecture.learnt_slices(stack, slices) if begun else []
        learnt, unseen = parted(painted, labels.validation, seen)
    _check_crop(drawn["crop"], stack, architecture.stride)
    with blamed_on(LABELS):
        if labels.teacher == "forest":
            learnt = _taught(stack, labels, learnt, unseen, read.state)
        window = SliceWindow(architecture.above, architecture.below)
        stacks = [LabelledStack.of(stack, part, window) for part in (learnt, unseen)]
    samples = LabelSamples(stacks[0], variation, window=window, planes=1, **drawn)
    judge = LabelJudge(samples, stacks[1], architecture.stride, architecture.halo)
    return Parts(architecture, samples, judge, {"unseen": judge.drawn()})


def _architecture(begin: str | None, network: Mapping[str, Any], stack: xr.Dataset) -> Any:
    """Return what determines the network: the recipe, or a model that it begins with."""
    from ...learn.begun import Begun
    from ...learn.networks import Architecture
    from ...learn.published import RESIDUAL_3D, SMALL_RESIDUAL, Published

    if begin:
        begun = Begun.of(begin, stack["voltage"].values)
        _check_dimensions(network, begun.fields)
        return begun
    voltages, dimensions = stack.sizes["voltage"], network["dimensions"] or _DIMENSIONS
    _check_own(network, dimensions)
    if dimensions == "2.5D":
        return Architecture(voltages=voltages, **{key: network[key] for key in _OF_WINDOWS})
    width = network["width"]
    if dimensions == "2D":
        return Published(SMALL_RESIDUAL, 2, voltages=voltages, width=width)
    return Published(RESIDUAL_3D, 3, network["slices"], voltages, width=width)


def _check_dimensions(network: Mapping[str, Any], begun: "Architecture | Published") -> None:
    """Refuse other dimensions than those of the model that a training begins with."""
    from ...learn.published import Published

    own = f"{begun.dimensions}D" if isinstance(begun, Published) else _DIMENSIONS
    if network["dimensions"] not in (own, None):
        msg = (
            f"dimensions are those of the model that begin names, {own}; got "
            f"{network['dimensions']}: leave one of both out"
        )
        raise ConventionError(msg)


def _check_own(network: Mapping[str, Any], dimensions: str) -> None:
    """Refuse keys of a network of other dimensions."""
    from ...learn.networks import Architecture

    known = options_of(DimensionOptions, Architecture)
    options = {key: (known[key].default, kinds) for key, kinds in _OWN.items()}
    given = {key: network[key] for key in _OWN}
    check_belongs(dimensions, given, options, of="dimensions")


def _check_crop(crop: int, stack: xr.Dataset, stride: int) -> None:
    least = min(stack.sizes["y"], stack.sizes["x"])
    if crop % stride or crop > least:
        msg = (
            f"[samples] crop must be a multiple of {stride}, and not larger than the images, "
            f"{least} pixels; got {crop}"
        )
        raise RecipeError(msg)


def _taught(
    stack: xr.Dataset, labels: LabelOptions, learnt: Painted, unseen: Painted, state: Path
) -> Painted:
    """Return what a forest that has seen what is learnt from says of more slices.

    None of them is near those that the network is judged by.
    """
    from ...learn.labelled import taught

    forest = fit_forest(
        stack, labels=labels.path, unlabelled=labels.unlabelled, only=learnt.slices.tolist()
    )
    folder = forest.save(state / _FOREST)
    return taught(stack, learnt, str(folder), labels.taught, away_from=unseen)
