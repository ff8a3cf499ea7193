"""Train a network as a recipe says: from simulated stacks to a model with its card."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field, NonNegativeInt, PositiveInt

from ..conventions import ConventionError, RecipeError, StackReadError
from ..learn.data import SimulatedStack, check_data
from ..learn.models import CARD, Model
from ..learn.phases import PhaseSamples, PhaseVariation, Structure, check_structures
from ..learn.predicting import TORCH_IS_MISSING
from ..learn.samples import Samples, Variation
from ..pieces.validity import IMAGES, LAYERS, PHASES, SIMULATION
from ..pieces.windows import SliceWindow
from ..report import write_training_report
from .adapting import adapted, read_adaptation
from .disk import told_if_full
from .folder.run_folder import REPORT
from .recipe.checking import check_output, check_paths, check_structure, checked_table
from .recipe.reading import beside, parse_recipe, resolve_model
from .recipe.record import blamed_on
from .recipe.tables import Key, options_of
from .shown import one_line, shown
from .telling import telling
from .training_films import film_options, train_layers
from .training_images import pair_options, train_images
from .training_labels import LABELS, labelled_tables, prepared_labels, resolve_labels

if TYPE_CHECKING:
    from ..learn.begun import Begun
    from ..learn.making import Judge
    from ..learn.networks import Architecture, Network
    from ..learn.training import Training

    Designed = Architecture | Begun

_DATA = ("train", "validation")
_STATE = "state"
_Folders = Annotated[list[str], Field(min_length=1)]
_Levels = Annotated[list[list[float]], Field(min_length=1)]
Varied = TypeVar("Varied", Variation, PhaseVariation)


def data_options(
    *,
    train: _Folders,
    validation: _Folders,
    begin: str | None = None,
    kept: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> dict[str, Any]:
    """Folders of simulated stacks.

    Parameters
    ----------
    train
        That the network learns from, as `fibdask simulate` leaves them.
    validation
        That it is judged by, of other seeds.
    begin
        Model whose weights the training begins with, by name or folder, such as one that ships, or
        one of a shorter training; it says itself what `[network]` else does.
    kept
        Share of these weights in the mean of them and of what is learnt: a network that has learnt
        from other data sees those nearly as well then, and forgets little of what it saw before.
    """
    return {"train": train, "validation": validation, "begin": begin, "kept": kept}


def structure_options(
    *,
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (192, 192, 192),
    ligament_size: _Levels,
    solid_fraction: _Levels,
    seed: NonNegativeInt = 0,
    unseen_seed: NonNegativeInt,
) -> dict[str, Any]:
    """Structures whose slices are filled in between; the task is then `inpaint_gaps`.

    Parameters
    ----------
    shape
        Voxels (z, y, x) of each.
    ligament_size, solid_fraction
        Of each structure, those of its levels of ligaments, the size in nm at voxels of 2.5 nm.
    seed
        Of the first structure; the others have the next ones.
    unseen_seed
        Of a structure like the first one that the network is judged by.
    """
    return {
        "shape": shape,
        "ligament_size": ligament_size,
        "solid_fraction": solid_fraction,
        "seed": seed,
        "unseen_seed": unseen_seed,
    }


def structures(**options: Any) -> tuple[list[Structure], Structure]:
    """Return the structures that are learnt from, and that which networks are judged by.

    Raises
    ------
    ConventionError
        If there are not as many sizes as solid fractions.
    """
    sizes, fractions = options["ligament_size"], options["solid_fraction"]
    if list(map(len, sizes)) != list(map(len, fractions)):
        msg = f"each ligament_size needs a solid_fraction; got {sizes} and {fractions}"
        raise ConventionError(msg)
    learnt = [
        Structure(options["shape"], tuple(size), tuple(fraction), options["seed"] + number)
        for number, (size, fraction) in enumerate(zip(sizes, fractions, strict=True))
    ]
    return learnt, replace(learnt[0], seed=options["unseen_seed"])


def sample_options(
    *,
    crop: PositiveInt = 128,
    planes: Annotated[int, Field(ge=2)] = 3,
    seed: NonNegativeInt = 0,
) -> dict[str, Any]:
    """Size and seed of samples.

    Parameters
    ----------
    crop
        Pixels along y and x.
    planes
        Number of planes of a sample: a slice, and others between it and the next.
    seed
        Of all samples.
    """
    return {"crop": crop, "planes": planes, "seed": seed}


def model_options(
    *, path: str | None = None, name: str | None = None, licence: str = "none stated"
) -> dict[str, Any]:
    """Where the model goes, and what it is called.

    Parameters
    ----------
    path
        Folder of the model; by default it is named after the recipe, and lies beside it.
    name
        Of the model; by default that of the recipe.
    licence
        Under which others may use it.
    """
    return {"path": path, "name": name, "licence": licence}


def train(
    recipe: str | Path | Mapping[str, Any],
    *,
    minutes: float | None = None,
    output_path: str | Path | None = None,
    quiet: bool = True,
) -> Path:
    """Train a network, judge it by what it has not seen, and write it.

    A training that was interrupted is taken up where it was; one that is done is not done again.
    With a table `[adapt]`, a model is fitted to a stack instead, see `adapt_model`.

    Parameters
    ----------
    recipe
        Path of a TOML file, whose relative paths are relative to it, or its content: tables
        `[data]`, `[labels]`, `[structures]`, `[pairs]` or `[films]`, `[network]`, `[samples]` (not
        with `[pairs]` or `[films]`), `[training]` and `[output]`; or `[adapt]` and `[output]`.
    minutes
        Of training, instead of the recipe's.
    output_path
        Folder of the model instead of the recipe's, relative to the working directory.
    quiet
        Print nothing.

    Returns
    -------
    Path
        Of the model: a folder that `load_model` reads; of an adaptation, the one that was chosen.

    Raises
    ------
    RecipeError
        If the recipe is wrong, the data cannot train a network, or torch is not installed.
    StackReadError
        If data cannot be read, or the output is something else than a model.
    """
    if (adaptation := read_adaptation(recipe, output_path=output_path)) is not None:
        return adapted(adaptation, minutes=minutes, quiet=quiet)
    read = read_training(recipe, minutes=minutes, output_path=output_path)
    folder = read.folder
    _check_folder(folder)
    shown = partial(telling, quiet=quiet)
    with told_if_full(folder):
        made: Model
        training: Training[Any, Any]
        if "pairs" in read.tables:
            made, training = train_images(read.tables, folder, folder / _STATE, shown)
        elif "films" in read.tables:
            made, training = train_layers(read.tables, folder, folder / _STATE, shown)
        else:
            made, training = _train_windows(read, shown)
        _report(made, training)
    return folder


def _train_windows(
    read: "TrainingRecipe", shown: Callable[[str], Any]
) -> tuple[Model, "Training[Any, Any]"]:
    """Train a network of windows of slices."""
    training, judge = prepared_training(read)
    from ..learn.making import make_model

    output = read.tables["output"]
    described = {"name": output["name"], "licence": output["licence"]}
    with shown("training") as tell:
        return make_model(read.folder, training, judge, **described, tell=tell), training


@dataclass(frozen=True)
class TrainingRecipe:
    """A checked recipe of a training: parameters by table, defaults included."""

    tables: Mapping[str, Mapping[str, Any]]

    @property
    def folder(self) -> Path:
        """Of the model."""
        return Path(self.tables["output"]["path"])


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
    try:
        from ..learn.layers.networks import LayerArchitecture
        from ..learn.networks import Architecture
        from ..learn.simulation.networks import ImageArchitecture
        from ..learn.training import Schedule
    except ImportError:
        raise RecipeError(TORCH_IS_MISSING) from None
    schedule, output = options_of(Schedule), {"output": options_of(model_options)}
    last = {"training": schedule} | output
    if task == SIMULATION:
        network = options_of(ImageArchitecture)
        for fixed in ("layers", "pores", "solids"):  # which pairs are drawn with
            del network[fixed]
        return {"pairs": options_of(pair_options), "network": network} | last
    if task == LAYERS:
        return {"films": options_of(film_options), "network": options_of(LayerArchitecture)} | last
    network = options_of(Architecture)
    del network["voltages"]  # those of the data
    if task == LABELS:
        return labelled_tables(network, schedule) | output
    phases = task == PHASES
    first = (
        {"structures": options_of(structure_options)}
        if phases
        else {"data": options_of(data_options)}
    )
    return (
        first
        | {
            "network": network,
            "samples": options_of(PhaseVariation if phases else Variation, sample_options),
        }
        | last
    )


def read_training(
    recipe: str | Path | Mapping[str, Any],
    *,
    minutes: float | None = None,
    output_path: str | Path | None = None,
) -> TrainingRecipe:
    """Read and check the recipe of a training; see `train`."""
    folder, stem = Path(), "model"
    if isinstance(recipe, str | Path):
        folder, stem = Path(recipe).parent, Path(recipe).stem
        recipe = parse_recipe(Path(recipe))
    known = training_tables(_task(recipe))
    check_structure(recipe, known)
    given = {name: dict(recipe.get(name, {})) for name in known}
    if minutes is not None:
        given["training"] |= {"minutes": minutes, "steps": None}
    tables = {name: checked_table(name, given[name], known[name]) for name in known}
    output = tables["output"]
    if "labels" in tables:
        resolve_labels(tables["labels"], folder)
    folders = {key: tables["data"][key] for key in _DATA} if "data" in tables else {}
    for key, names in folders.items():
        tables["data"][key] = [beside(folder, name) for name in names]
    for name in (LABELS, "data"):
        if begin := tables.get(name, {}).get("begin"):
            tables[name]["begin"] = resolve_model(begin, folder)
    path = output_path or beside(folder, output["path"] or f"{stem}-model")
    output |= {"path": str(path), "name": output["name"] or one_line(stem)}
    check_paths(*(path for key in folders for path in tables["data"][key]))
    check_output(output["path"])
    if not re.fullmatch(r"[\w.-]+", output["name"]):
        rule = "a name of a model is made of letters, digits, '.', '-' and '_'"
        msg = f"[output] {rule}; got {shown(output['name'])}"
        raise RecipeError(msg)
    return TrainingRecipe(tables)


def _task(recipe: Mapping[str, Any]) -> str:
    """Return what a recipe trains a network of."""
    tasks = {LABELS: LABELS, "structures": PHASES, "pairs": SIMULATION, "films": LAYERS}
    return next((task for table, task in tasks.items() if table in recipe), IMAGES)


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
    if used and not ((folder / CARD).is_file() or (folder / _STATE).is_dir()):
        msg = (
            f"output path {folder} exists and is not the folder of a model; "
            "choose another or remove it"
        )
        raise StackReadError(msg)


def prepared_training(read: TrainingRecipe) -> tuple["Training[Any, Network]", "Judge"]:
    """Return a training that may begin, and what judges its network."""
    from ..learn.training import Schedule, Training, best_device

    tables = read.tables
    if "labels" in tables:
        return prepared_labels(tables, read.folder / _STATE)
    with blamed_on("training"):
        schedule = Schedule(**tables["training"])
    design, samples, judge = (_of_phases if "structures" in tables else _of_images)(tables)
    folder = read.folder / _STATE
    training: Training[Any, Network] = Training(
        design, samples, schedule, folder, unseen=judge.drawn(), device=best_device()
    )
    return training, judge


def _of_images(tables: Mapping[str, Mapping[str, Any]]) -> "tuple[Designed, Samples, Judge]":
    """Return a network, samples of simulated stacks, and what judges it by other ones."""
    from ..learn.begun import Begun, Mixed
    from ..learn.making import ImageJudge

    variation, drawn = _varied(Variation, tables)
    with blamed_on("data"):
        learnt, unseen = (
            [SimulatedStack.open(path) for path in tables["data"][key]] for key in _DATA
        )
        check_data(learnt, unseen, drawn["crop"])
        begin, kept = tables["data"]["begin"], tables["data"]["kept"]
        if kept and not begin:
            msg = f"kept is a share of the weights of begin, which is not given; got {kept:g}"
            raise ConventionError(msg)
        if begin:
            begun = Begun.of_windows(begin, learnt[0].voltage)
            begun.check_unseen(unseen)
            begun = Mixed(**vars(begun), kept=kept) if kept else begun
    design = begun if begin else _architecture(tables, len(learnt[0].voltage))
    window = _window(design, drawn["crop"])
    samples = Samples(learnt, variation, window=window, **drawn)
    return design, samples, ImageJudge(samples, unseen)


def _of_phases(tables: Mapping[str, Mapping[str, Any]]) -> "tuple[Designed, PhaseSamples, Judge]":
    """Return a network, samples of structures, and what judges it by another one."""
    from ..learn.making import PhaseJudge

    variation, drawn = _varied(PhaseVariation, tables)
    with blamed_on("structures"):
        learnt, unseen = structures(**tables["structures"])
        check_structures(learnt, unseen, drawn["crop"])
    design = _architecture(tables, 1)
    window = _window(design, drawn["crop"])
    samples = PhaseSamples(learnt, variation, window=window, **drawn)
    return design, samples, PhaseJudge(samples, unseen)


def _architecture(tables: Mapping[str, Mapping[str, Any]], voltages: int) -> "Architecture":
    from ..learn.networks import Architecture

    with blamed_on("network"):
        return Architecture(voltages=voltages, **tables["network"])


def _window(architecture: "Designed", crop: int) -> SliceWindow:
    """Return the window that a network sees, in samples of a size that it takes."""
    if crop % architecture.stride:
        msg = f"[samples] crop must be a multiple of {architecture.stride}; got {crop}"
        raise RecipeError(msg)
    return SliceWindow(architecture.above, architecture.below)


def _varied(
    kind: type[Varied], tables: Mapping[str, Mapping[str, Any]]
) -> tuple[Varied, dict[str, Any]]:
    """Return what differs between samples, and how they are drawn."""
    options = dict(tables["samples"])
    with blamed_on("samples"):
        drawn = {name: options.pop(name) for name in options_of(sample_options)}
        return kind(**options), drawn
