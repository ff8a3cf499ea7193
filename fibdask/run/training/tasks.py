"""Train a network as a recipe says: from what it learns from to a model with its card."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...conventions import RecipeError, StackReadError
from ...learn.folder import CARD
from ...learn.models import Model
from ...learn.predicting import TORCH_IS_MISSING
from ...pieces.validity import IMAGES, LAYERS, PHASES, SIMULATION
from ...report import write_training_report
from ..disk import told_if_full
from ..folder.run_folder import REPORT
from ..recipe.checking import check_output, check_paths, check_structure, checked_table
from ..recipe.reading import beside, opened, resolve_model
from ..recipe.tables import Key, options_of
from ..shown import one_line, shown
from ..telling import telling
from .adapting import adapted, read_adaptation
from .films import film_parts, film_tables
from .images import pair_parts, pair_tables
from .labels import LABELS, label_parts, label_tables
from .parts import STATE, Parts, Telling, TrainingRecipe
from .windows import image_parts, image_tables, phase_parts, phase_tables

if TYPE_CHECKING:
    from ...learn.making import Judge
    from ...learn.training import Training

_QUIETLY = partial(telling, quiet=True)


@dataclass(frozen=True)
class TrainingTask:
    """What a recipe may train a network of.

    Attributes
    ----------
    table
        That makes a recipe one of it.
    name
        Of the task.
    tables
        Function that returns the keys of each table but `[output]`; needs torch.
    parts
        Function (recipe, telling) that returns what a training is made of; needs torch.
    paths
        Keys of the table that hold paths, which are relative to the recipe.
    """

    table: str
    name: str
    tables: Callable[[], dict[str, dict[str, Key]]]
    parts: Callable[[TrainingRecipe, Telling], Parts]
    paths: tuple[str, ...] = ()


TRAININGS = (
    TrainingTask(
        table="labels",
        name=LABELS,
        tables=label_tables,
        parts=label_parts,
        paths=("stack", "path"),
    ),
    TrainingTask(
        table="structures",
        name=PHASES,
        tables=phase_tables,
        parts=phase_parts,
    ),
    TrainingTask(table="pairs", name=SIMULATION, tables=pair_tables, parts=pair_parts),
    TrainingTask(table="films", name=LAYERS, tables=film_tables, parts=film_parts),
    TrainingTask(
        table="data",
        name=IMAGES,
        tables=image_tables,
        parts=image_parts,
        paths=("train", "validation"),
    ),
)
"""The first one whose table a recipe holds; the last one of a recipe that holds none of them."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Where the model goes, and what it is called.

    Attributes
    ----------
    path
        Folder of the model; by default named after the recipe, beside it.
    name
        Name of the model; by default that of the recipe.
    licence
        Licence under which others may use it.
    """

    path: str | None = None
    name: str | None = None
    licence: str = "none stated"


def train(
    recipe: str | Path | Mapping[str, Any],
    *,
    minutes: float | None = None,
    output_path: str | Path | None = None,
    quiet: bool = True,
) -> Path:
    """Train a network, judge it on data that it has not seen, and write it.

    An interrupted training continues where it was; a finished one is not repeated. A recipe with a
    table `[adapt]` fits a model to a stack instead, see `adapt_model`.

    Parameters
    ----------
    recipe
        Path of a TOML file, whose relative paths are relative to it, or its content: tables
        `[data]`, `[labels]`, `[structures]`, `[pairs]` or `[films]`, `[network]`, `[samples]` (not
        with `[pairs]` or `[films]`), `[training]` and `[output]`; or `[adapt]` and `[output]`.
    minutes
        Minutes of training, instead of the recipe's.
    output_path
        Folder of the model instead of the recipe's, relative to the working directory.
    quiet
        Print nothing.

    Returns
    -------
    Path
        Folder of the model, for `load_model`; of an adaptation, the chosen model.

    Raises
    ------
    RecipeError
        If the recipe is wrong, the data cannot train a network, or torch is not installed.
    StackReadError
        If data cannot be read, or the output is something other than a model.
    """
    if (adaptation := read_adaptation(recipe, output_path=output_path)) is not None:
        return adapted(adaptation, minutes=minutes, quiet=quiet)
    read = read_training(recipe, minutes=minutes, output_path=output_path)
    folder = read.folder
    _check_folder(folder)
    with told_if_full(folder):
        _report(*_trained(read, partial(telling, quiet=quiet)))
    return folder


def _trained(read: TrainingRecipe, telling: Telling) -> tuple[Model, "Training[Any, Any]"]:
    """Train and judge a network, telling how far that is."""
    from ...learn.making import make_model

    training, judge = prepared(read, telling)
    with telling("training") as tell:
        made = make_model(read.folder, training, judge, **read.described, tell=tell)
    return made, training


def prepared(
    read: TrainingRecipe, telling: Telling = _QUIETLY
) -> tuple["Training[Any, Any]", "Judge"]:
    """Return the training of a recipe, which may have been begun, and what judges its network."""
    from ...learn.training import Schedule, Training, best_device

    schedule = read.made("training", Schedule)
    parts = _task_of(read.tables).parts(read, telling)
    training: Training[Any, Any] = Training(
        parts.design, parts.samples, schedule, read.state, device=best_device(), **parts.options
    )
    return training, parts.judge


def training_tables(task: str = IMAGES) -> dict[str, dict[str, Key]]:
    """Return the keys of each table, for networks of a task.

    Parameters
    ----------
    task
        `windows` of images, `phases`, painted `labels`, `simulation`, or `layers`.

    Raises
    ------
    RecipeError
        If torch is not installed.
    """
    (tables,) = (one.tables for one in TRAININGS if one.name == task)
    try:
        return tables() | {"output": options_of(ModelOptions)}
    except ImportError:
        raise RecipeError(TORCH_IS_MISSING) from None


def read_training(
    recipe: str | Path | Mapping[str, Any],
    *,
    minutes: float | None = None,
    output_path: str | Path | None = None,
) -> TrainingRecipe:
    """Read and check the recipe of a training; see `train`."""
    recipe, folder, stem = opened(recipe, "model")
    task = _task_of(recipe)
    known = training_tables(task.name)
    check_structure(recipe, known)
    given = {name: dict(recipe.get(name, {})) for name in known}
    if minutes is not None:
        given["training"] |= {"minutes": minutes, "steps": None}
    tables = {name: checked_table(name, given[name], known[name]) for name in known}
    output = tables["output"]
    _resolve(tables[task.table], task.paths, folder)
    path = output_path or beside(folder, output["path"] or f"{stem}-model")
    output |= {"path": str(path), "name": output["name"] or one_line(stem)}
    check_output(output["path"])
    if not re.fullmatch(r"[\w.-]+", output["name"]):
        rule = "a name of a model is made of letters, digits, '.', '-' and '_'"
        msg = f"[output] {rule}; got {shown(output['name'])}"
        raise RecipeError(msg)
    return TrainingRecipe(tables)


def _task_of(recipe: Mapping[str, Any]) -> TrainingTask:
    """Return what a recipe trains a network of."""
    return next((task for task in TRAININGS if task.table in recipe), TRAININGS[-1])


def _resolve(table: dict[str, Any], paths: Iterable[str], folder: Path) -> None:
    """Make paths of a table relative to the working directory."""
    for key in paths:
        several = isinstance(table[key], list)
        found = [beside(folder, path) for path in (table[key] if several else [table[key]])]
        check_paths(*found)
        table[key] = found if several else found[0]
    if begin := table.get("begin"):
        table["begin"] = resolve_model(begin, folder)


def _report(model: Model, training: "Training[Any, Any]") -> None:
    """Write the page of a model that has been trained just now; an earlier one stays."""
    if training.losses:
        every, last = training.schedule.look_every, training.step
        looks = {min(every * (k + 1), last): loss for k, loss in enumerate(training.looks)}
        page, losses = model.folder / REPORT, training.losses
        write_training_report(
            page, card=model.card, losses=losses, looks=looks, example=model.example()
        )


def _check_folder(folder: Path) -> None:
    """Refuse a path that is something else than the folder of a model."""
    used = folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))
    if used and not ((folder / CARD).is_file() or (folder / STATE).is_dir()):
        msg = (
            f"output path {folder} exists and is not the folder of a model; "
            "choose another or remove it"
        )
        raise StackReadError(msg)
