"""Trainings by painted slices: `[labels]` of a recipe."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import xarray as xr
from pydantic import Field, NonNegativeInt, PositiveInt

from ..conventions import RecipeError, require
from ..io import open_stack
from ..pieces.labels import Painted, read_painted
from ..pieces.windows import SliceWindow
from ..segment import fit_forest
from .recipe.record import blamed_on
from .recipe.tables import Key, options_of

if TYPE_CHECKING:
    from ..learn.labelled import LabelJudge
    from ..learn.networks import WindowNetwork
    from ..learn.training import Training

LABELS = "labels"
_FOREST = "forest"  # folder in the state of a training


def label_options(
    *,
    stack: str,
    path: str,
    unlabelled: Literal[0, 255] | None = None,
    validation: Annotated[list[int], Field(min_length=1)] | None = None,
    teacher: Literal["painted", "forest"] = "painted",
    taught: PositiveInt = 40,
    begin: str | None = None,
) -> dict[str, Any]:
    """Painted slices of a stack.

    Parameters
    ----------
    stack
        Store of the images.
    path
        What is painted, as for `[segment]`.
    unlabelled
        Value of what is not painted, as for `[segment]`.
    validation
        Numbers of painted slices that the network is judged by; by default one of five, which
        never are neighbours of those that it learns from.
    teacher
        What is learnt from: what is `painted`, or also what a `forest` that is grown on it says
        of other slices where it is sure.
    taught
        Number of slices that the forest labels.
    begin
        Model whose weights the training begins with, by name or folder, such as one that ships;
        it says itself what `[network]` else does. Voltages that the stack has not are left out;
        one that the model has not begins as the nearest.
    """
    return {
        "stack": stack,
        "path": path,
        "unlabelled": unlabelled,
        "validation": validation,
        "teacher": teacher,
        "taught": taught,
        "begin": begin,
    }


def label_sample_options(*, crop: PositiveInt = 128, seed: NonNegativeInt = 0) -> dict[str, Any]:
    """Size and seed of samples.

    Parameters
    ----------
    crop
        Pixels along y and x.
    seed
        Of all samples.
    """
    return {"crop": crop, "seed": seed}


def labelled_tables(
    network: Mapping[str, Key], training: Mapping[str, Key]
) -> dict[str, dict[str, Key]]:
    """Return the keys of each table but the last, with early stopping unless it says else."""
    from ..learn.labelled import LabelVariation

    early = replace(training["decline"], default="plateau")
    return {
        LABELS: options_of(label_options),
        "network": dict(network),
        "samples": options_of(LabelVariation, label_sample_options),
        "training": {**training, "decline": early},
    }


def resolve_labels(table: dict[str, Any], folder: Path) -> None:
    """Make the paths of `[labels]` relative to the working directory."""
    for key in ("stack", "path"):
        table[key] = str(folder / table[key])
    if table["begin"] and (folder / table["begin"]).is_dir():
        table["begin"] = str(folder / table["begin"])


def prepared_labels(
    tables: Mapping[str, Mapping[str, Any]], state: Path
) -> "tuple[Training[Any, WindowNetwork], LabelJudge]":
    """Return a training that may begin, and what judges its network."""
    from ..learn.labelled import (
        LabelJudge,
        LabelledStack,
        LabelSamples,
        LabelVariation,
        parted,
    )
    from ..learn.training import Schedule, Training, best_device

    with blamed_on("training"):
        schedule = Schedule(**tables["training"])
    labels, options = tables[LABELS], dict(tables["samples"])
    with blamed_on("samples"):
        drawn = {name: options.pop(name) for name in options_of(label_sample_options)}
        variation = LabelVariation(**options)
    with blamed_on(LABELS):
        stack = require(open_stack(labels["stack"]), "intensity")
        painted = read_painted(labels["path"], stack, unlabelled=labels["unlabelled"])
        learnt, unseen = parted(painted, labels["validation"])
    with blamed_on("network"):
        architecture = _architecture(labels, tables["network"], stack)
    design = architecture.fields if labels["begin"] else architecture
    _check_crop(drawn["crop"], stack, design.stride)
    with blamed_on(LABELS):
        if labels["teacher"] == "forest":
            learnt = _taught(stack, labels, learnt, unseen, state)
        window = SliceWindow(design.above, design.below)
        stacks = [LabelledStack.of(stack, part, window) for part in (learnt, unseen)]
    samples = LabelSamples(stacks[0], variation, window=window, planes=1, **drawn)
    judge = LabelJudge(samples, stacks[1], design.stride)
    training = Training(
        architecture, samples, schedule, state, unseen=judge.drawn(), device=best_device()
    )
    return training, judge


def _architecture(labels: Mapping[str, Any], network: Mapping[str, Any], stack: xr.Dataset) -> Any:
    """Return what determines the network: the recipe, or a model that it begins with."""
    from ..learn.begun import Begun
    from ..learn.networks import Architecture

    if labels["begin"]:
        return Begun.of(labels["begin"], stack)
    return Architecture(voltages=stack.sizes["voltage"], **network)


def _check_crop(crop: int, stack: xr.Dataset, stride: int) -> None:
    least = min(stack.sizes["y"], stack.sizes["x"])
    if crop % stride or crop > least:
        msg = (
            f"[samples] crop must be a multiple of {stride}, and not larger than the images, "
            f"{least} pixels; got {crop}"
        )
        raise RecipeError(msg)


def _taught(
    stack: xr.Dataset, labels: Mapping[str, Any], learnt: Painted, unseen: Painted, state: Path
) -> Painted:
    """Return what a forest that has seen what is learnt from says of more slices.

    None of them is near those that the network is judged by.
    """
    from ..learn.labelled import taught

    given = {"labels": labels["path"], "unlabelled": labels["unlabelled"]}
    forest = fit_forest(stack, **given, only=learnt.slices.tolist())
    folder = forest.save(state / _FOREST)
    return taught(stack, learnt, str(folder), labels["taught"], away_from=unseen)
