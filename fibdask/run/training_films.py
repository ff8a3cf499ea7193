"""Train a network of layers as a recipe says: films are made while it learns."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from ..conventions import ConventionError, RecipeError
from ..learn.models import Model
from .recipe.tables import Key, options_of
from .training_recipe import Telling, TrainingRecipe, check_seeds

if TYPE_CHECKING:
    from ..learn.layers.networks import LayerNetwork
    from ..learn.layers.samples import Films
    from ..learn.training import Training

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

    def __post_init__(self) -> None:
        check_seeds(self.seed, self.unseen_seed)
        low, high = self.noise
        if low > high:
            msg = f"noise must be the least and the most; got {low:g} and {high:g}"
            raise ConventionError(msg)


def film_tables() -> dict[str, dict[str, Key]]:
    """Return the keys of each table but those of the output."""
    from ..learn.layers.networks import LayerArchitecture
    from ..learn.training import Schedule

    films, network = options_of(FilmOptions), options_of(LayerArchitecture)
    return {"films": films, "network": network, "training": options_of(Schedule)}


def train_layers(
    read: TrainingRecipe, telling: Telling
) -> tuple[Model, "Training[Films, LayerNetwork]"]:
    """Train and judge a network, telling how far that is."""
    from ..learn.layers.making import make_layers_model
    from ..learn.layers.networks import LayerArchitecture
    from ..learn.layers.samples import FilmBatch, Films
    from ..learn.training import Schedule, Training, best_device

    given = read.made("films", FilmOptions)
    schedule = read.made("training", Schedule)
    architecture = read.made("network", LayerArchitecture)
    if given.side % architecture.stride:
        rule = f"side must be a multiple of the network's stride, {architecture.stride}"
        msg = f"[films] {rule}; got {given.side}"
        raise RecipeError(msg)
    learnt, unseen = (
        Films(given.count, given.side, given.noise, architecture.smoothing, seed)
        for seed in (given.seed, given.unseen_seed)
    )
    training = Training(
        architecture,
        learnt,
        schedule,
        read.state,
        gather=FilmBatch.of,
        device=best_device(),
        ahead=_AHEAD,
    )
    with telling("training") as tell:
        rounds = given.unseen_rounds
        made = make_layers_model(read.folder, training, unseen, rounds, **read.described, tell=tell)
    return made, training
