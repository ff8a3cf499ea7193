"""What trains a network of layers as a recipe says: films are made while it learns."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from ...conventions import ConventionError, RecipeError
from ..recipe.tables import Key, options_of
from .parts import Parts, Telling, TrainingRecipe, check_seeds

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
        Number of films.
    side
        Pixels along y and x, a multiple of the network's stride.
    noise
        Least and most noise, as a share of the signals.
    seed
        Seed of the films.
    unseen_seed
        Seed of those that the network is judged by.
    unseen_rounds
        Number of films to judge by, of each relief, model, and noise of 0.5, 1, 2 and 5 %; as many
        set the scale of its errors.
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
    from ...learn.layers.networks import LayerArchitecture
    from ...learn.training import Schedule

    films, network = options_of(FilmOptions), options_of(LayerArchitecture)
    return {"films": films, "network": network, "training": options_of(Schedule)}


def film_parts(read: TrainingRecipe, _telling: Telling) -> Parts:
    """Return a network, films, and what judges it by other ones."""
    from ...learn.layers.making import FilmJudge
    from ...learn.layers.networks import LayerArchitecture
    from ...learn.layers.samples import FilmBatch, Films

    given = read.made("films", FilmOptions)
    architecture = read.made("network", LayerArchitecture)
    if given.side % architecture.stride:
        rule = f"side must be a multiple of the network's stride, {architecture.stride}"
        msg = f"[films] {rule}; got {given.side}"
        raise RecipeError(msg)
    learnt, unseen = (
        Films(given.count, given.side, given.noise, architecture.smoothing, seed)
        for seed in (given.seed, given.unseen_seed)
    )
    judge = FilmJudge(learnt, unseen, given.unseen_rounds)
    return Parts(architecture, learnt, judge, {"gather": FilmBatch.of, "ahead": _AHEAD})
