"""Adapt a model to a stack without labels: candidates, the choice, the model and its page."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr
from pydantic import NonNegativeInt, PositiveInt

from ...blocks import array_token, fingerprint, put_file
from ...conventions import (
    VERSION,
    ConventionError,
    RecipeError,
    check_choice,
    check_count,
    check_seed,
    recorded_steps,
)
from ...io import open_stack
from ...learn.adaptation.target import Target
from ...learn.folder import ADAPTATION, CARD
from ...learn.models import Model, open_model
from ...learn.predicting import told_if_missing
from ...pieces.slant import check_tilt
from ...report import write_adaptation_report
from ..disk import told_if_full
from ..folder.run_folder import REPORT
from ..recipe.checking import check_output, check_paths, check_structure, checked_table
from ..recipe.reading import beside, opened, resolve_model
from ..recipe.record import blamed_on
from ..recipe.tables import Key, options_of
from ..telling import telling
from .parts import STATE

if TYPE_CHECKING:
    from ...learn.adaptation.candidates import Candidate

METHODS: Mapping[str, int] = {
    "statistics": 200,
    "self_training": 200,
    "simulation": 600,
    "translation": 2000,
}
"""By their names, with the steps of those that train."""
PARENT = "parent"
"""Name of the candidate that is the given model."""
_CLEAR = 0.15  # share of the parent's score that another must be lower by


def adapt_model(
    model: str | Path | Model,
    stack: xr.Dataset,
    *,
    method: str = "statistics",
    path: str | Path | None = None,
    steps: int | None = None,
    tilt: float = 0.0,
    seed: int = 0,
    quiet: bool = True,
) -> Path:
    """Fit a model to images without labels, and choose the result by a score.

    Computes: reads grey values of the whole stack, and its middle, up to 32 slices of 192 x 192
    pixels.

    Parameters
    ----------
    model
        Name of a model that ships, the folder of another, or a loaded one; for images at all
        voltages that the stack must have.
    stack
        Stack with `intensity` (voltage, z, y, x) that the model fits without resampling, of at
        least as many measured slices as the model sees at once.
    method
        How to make candidates:

        - `statistics`: the model with means and variances of its batch norms estimated anew on the
          stack, wholly or in part, with a bent scale of grey values, and with both;
        - `self_training`: the best of these also learns, in its first layers alone, what its
          voltages and mirrored images agree on; minutes;
        - `simulation`: the best of these also learns from images with known truth, simulated like
          those of the stack, of structures like the one that it sees there; minutes;
        - `translation`: one more candidate learns from simulated images to which a CycleGAN has
          given the look of the stack; longer.
    path
        Folder of the adapted model and the report; by default named after the model, with
        `-adapted`.
    steps
        Number of steps: of self-training, by default 200; of learning from simulated images, by
        default 600, in two halves, since the first shows better what structures are like; or of the
        CycleGAN, by default 2000, after which the model learns for a fourth as many. After an
        interruption, all continue where they were.
    tilt
        Tilt of the beam in degrees, as for `segment_phases`, where the adapted model then needs it,
        too.
    seed
        Seed of everything random.
    quiet
        Show no progress.

    Returns
    -------
    Path
        Folder of the chosen model: `path`, or that of the given model, where no candidate scores at
        least 15 % better. `path` holds `report.html` and `adaptation.json` either way.

    Raises
    ------
    ConventionError
        If the model is not for such a stack or finds no solid in it, images are constant or NaN, an
        argument is out of range, the folder is in use, torch is not installed, or, for a simulation
        or a translation, nothing simulates images of the model's voltages and materials.

    Notes
    -----
    The score adds up shares of voxels in %:

    - those expected to be wrong by the network's own probabilities;
    - half of those that it takes for another phase in one voltage alone;
    - those of which the given model was sure and which it contradicts;
    - how much more or less neighbouring slices have in common than isotropy allows, as they do
      where structure shines through.

    Where images of the model's materials can be simulated, networks that see the same grey values
    are compared by a test instead, on images with known truth, simulated like those of the stack:
    half as many wrong voxels give half the score. The score is no error: it ranks candidates, and
    cannot detect what all of them get wrong alike.
    """
    check_choice("method", method, tuple(METHODS))
    given = model if isinstance(model, Model) else open_model(model)
    made = METHODS[method] if steps is None else check_count("steps", steps)
    tilt = check_tilt(tilt)
    target = Target.of(given, stack, tilt)
    folder = Path(path) if path is not None else Path(f"{given.name}-adapted")
    key = fingerprint(given.fingerprint, target.fingerprint, method, made, check_seed(seed))
    if (done := _earlier(folder, key, given)) is not None:
        return done
    with told_if_missing():
        from ...learn.adaptation.candidates import Fitting
    with telling("adapting", quiet=quiet) as tell:
        fitting = Fitting(given, target, folder / STATE, steps={method: made}, seed=seed, tell=tell)
        found = list(fitting.candidates())
    chosen = best(found)
    told = {
        "fingerprint": key,
        "method": method,
        "tilt": tilt,
        "seed": seed,
        "parent": {"name": given.name, "fingerprint": given.fingerprint},
        "chosen": chosen.name,
        "images": fitting.images_told,
        "candidates": {one.name: one.score.told() for one in found},
        "versions": {"fibdask": VERSION},
    }
    stack_told = {
        "fingerprint": array_token(stack["intensity"].data),
        "steps": [dict(step) for step in recorded_steps(stack)],
    }
    folder.mkdir(parents=True, exist_ok=True)
    # What is interrupted from here on is known as that of this adaptation.
    put_file(folder / ADAPTATION, json.dumps(told | {"chosen": None}).encode())
    (folder / CARD).unlink(missing_ok=True)
    if chosen is not found[0]:
        fitting.write(folder, chosen, told)
    pictures = fitting.pictures(found[0], chosen)
    write_adaptation_report(folder / REPORT, told=told, pictures=pictures)
    record = json.dumps(told | {"stack": stack_told}, indent=1)
    put_file(folder / ADAPTATION, f"{record}\n".encode())
    return folder.absolute() if chosen is not found[0] else given.folder


def best(found: list["Candidate"]) -> "Candidate":
    """Return the candidate of the lowest score; the first unless that is clearly lower than its."""
    least = min(found, key=lambda one: one.score.total)
    return least if least.score.total < (1 - _CLEAR) * found[0].score.total else found[0]


def _earlier(folder: Path, key: str, parent: Model) -> Path | None:
    """Return what an adaptation of the same has chosen; refuse a folder of something else."""
    record = folder / ADAPTATION
    if not record.is_file():
        if (folder.exists() and not folder.is_dir()) or (
            folder.is_dir() and any(one.name != STATE for one in folder.iterdir())
        ):
            msg = f"{folder} exists and is not the folder of an adaptation; choose another path"
            raise ConventionError(msg)
        return None
    told: Mapping[str, Any] = json.loads(record.read_text())
    if told["fingerprint"] != key:
        msg = (
            f"{folder} holds another adaptation, of other images, another model or other options; "
            "remove it, or choose another path"
        )
        raise ConventionError(msg)
    if told["chosen"] is None:
        return None
    return parent.folder if told["chosen"] == PARENT else folder.absolute()


@dataclass(frozen=True, kw_only=True)
class AdaptOptions:
    """Which model to fit to which stack, and how; see `adapt_model`.

    Attributes
    ----------
    model
        Model to adapt: the name of one that ships, or a folder.
    stack
        Store with the images.
    method
        Method: `statistics`, `self_training`, `simulation` or `translation`.
    steps
        Number of steps; by default 200 for `self_training`, 600 for `simulation`, 2000 for
        `translation`.
    tilt
        Tilt of the beam in degrees, as in `[segment]`, where the adapted model then needs it, too.
    seed
        Seed of what is random.
    """

    model: str
    stack: str
    method: Literal["statistics", "self_training", "simulation", "translation"] = "statistics"
    steps: PositiveInt | None = None
    tilt: float = 0.0
    seed: NonNegativeInt = 0


@dataclass(frozen=True, kw_only=True)
class AdaptedOutput:
    """Where the adapted model and its report go.

    Attributes
    ----------
    path
        Folder; by default named after the recipe, beside it.
    """

    path: str | None = None


def adaptation_tables() -> dict[str, dict[str, Key]]:
    """Return the keys of the tables of an adaptation."""
    return {"adapt": options_of(AdaptOptions), "output": options_of(AdaptedOutput)}


def read_adaptation(
    recipe: str | Path | Mapping[str, Any], *, output_path: str | Path | None = None
) -> dict[str, dict[str, Any]] | None:
    """Read and check the recipe of an adaptation; None of one without [adapt].

    Raises
    ------
    RecipeError
        If it is wrong.
    """
    recipe, folder, stem = opened(recipe, "model")
    if "adapt" not in recipe:
        return None
    known = adaptation_tables()
    check_structure(recipe, known)
    tables = {name: checked_table(name, recipe.get(name, {}), known[name]) for name in known}
    table = tables["adapt"]
    check_paths(table["model"], table["stack"])
    table["stack"] = beside(folder, table["stack"])
    table["model"] = resolve_model(table["model"], folder)
    path = output_path or beside(folder, tables["output"]["path"] or f"{stem}-model")
    tables["output"]["path"] = str(path)
    check_output(str(path))
    return tables


def adapted(tables: Mapping[str, Mapping[str, Any]], *, minutes: float | None, quiet: bool) -> Path:
    """Adapt a model as a recipe says, and return the folder of the one that was chosen.

    Raises
    ------
    RecipeError
        If the model is not for the stack, or minutes are asked for.
    """
    if minutes is not None:
        msg = "an adaptation takes steps, not minutes: set [adapt] steps"
        raise RecipeError(msg)
    options = dict(tables["adapt"])
    stack, path = open_stack(options.pop("stack")), Path(tables["output"]["path"])
    with blamed_on("adapt"), told_if_full(path):
        return adapt_model(options.pop("model"), stack, path=path, quiet=quiet, **options)
