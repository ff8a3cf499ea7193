"""Train a network of layers as a recipe says: films are made while it learns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt

from ..conventions import RecipeError
from ..learn.models import Model
from .recipe.record import blamed_on

if TYPE_CHECKING:
    from ..learn.layers.networks import LayerNetwork
    from ..learn.layers.samples import Films
    from ..learn.training import Training

Tables = Mapping[str, Mapping[str, Any]]
_AHEAD = 3  # batches: films take longer than steps
_Share = Annotated[float, Field(gt=0, le=0.3)]


@dataclass(frozen=True, kw_only=True)
class FilmOptions:
    """Films of aluminium on gold that the task `estimate_layers` is learnt from.

    Each is made when it is first asked for, and mirrored and turned each time: of any relief of
    `layered_film`, any width of its features, and any forward model of `layer_signals`; tables of
    `monte_carlo` are drawn anew.

    Attributes
    ----------
    count
        Of films.
    side
        Pixels along y and x, a multiple of the network's stride.
    noise
        Least and most share of the signals.
    seed
        Of the films.
    unseen_seed
        Of those that the network is judged by.
    unseen_rounds
        How many it is judged by of each relief, model, and noise of 0.5, 1, 2 and 5 %, and as many
        by which the scale of its errors is set.
    """

    count: PositiveInt = 600
    side: PositiveInt = 64
    noise: tuple[_Share, _Share] = (0.004, 0.06)
    seed: NonNegativeInt = 0
    unseen_seed: NonNegativeInt
    unseen_rounds: PositiveInt = 1


def train_layers(
    tables: Tables, folder: Path, state: Path, telling: Callable[[str], Any]
) -> tuple[Model, "Training[Films, LayerNetwork]"]:
    """Train and judge a network; arguments as of `train_images`."""
    from ..learn.layers.making import make_layers_model
    from ..learn.layers.networks import LayerArchitecture
    from ..learn.layers.samples import FilmBatch, Films
    from ..learn.training import Schedule, Training, best_device

    given = tables["films"]
    with blamed_on("training"):
        schedule = Schedule(**tables["training"])
    with blamed_on("network"):
        architecture = LayerArchitecture(**tables["network"])
    if given["side"] % architecture.stride:
        rule = f"side must be a multiple of the network's stride, {architecture.stride}"
        msg = f"[films] {rule}; got {given['side']}"
        raise RecipeError(msg)
    if given["seed"] == given["unseen_seed"]:
        msg = f"[films] seed and unseen_seed must differ; both are {given['seed']}"
        raise RecipeError(msg)
    low, high = given["noise"]
    if low > high:
        msg = f"[films] noise must be the least and the most; got {low:g} and {high:g}"
        raise RecipeError(msg)
    learnt, unseen = (
        Films(given["count"], given["side"], (low, high), architecture.smoothing, given[name])
        for name in ("seed", "unseen_seed")
    )
    training = Training(
        architecture,
        learnt,
        schedule,
        state,
        gather=FilmBatch.of,
        device=best_device(),
        ahead=_AHEAD,
    )
    described = {"name": tables["output"]["name"], "licence": tables["output"]["licence"]}
    with telling("training") as tell:
        rounds = given["unseen_rounds"]
        made = make_layers_model(folder, training, unseen, rounds, **described, tell=tell)
    return made, training
