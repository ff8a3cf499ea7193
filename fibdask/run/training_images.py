"""Train a network of images as a recipe says: pairs are simulated first, then it learns."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from ..conventions import RecipeError
from ..learn.models import Model
from ..learn.simulation.pairs import PairStore, Scenes
from .recipe.record import blamed_on

if TYPE_CHECKING:
    from ..learn.simulation.networks import ImageNetwork
    from ..learn.simulation.samples import ImageSamples
    from ..learn.training import Training

Tables = Mapping[str, Mapping[str, Any]]
Tell = Callable[[int, int, float], None]


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """Structures and their images by Monte Carlo; the task is then `simulate_images`.

    Structures of several kinds, sizes, materials, pixels and distances of planes are drawn, and
    each is imaged at several voltages from 0.8 to 5 kV.

    Attributes
    ----------
    count
        Of structures.
    side
        Pixels of images along y and x, a multiple of 8.
    images
        Of each structure.
    electrons_per_pixel
        Of the images that are learnt from: few are enough, since their noise cancels out.
    seed
        Of the structures and images.
    unseen_count, unseen_electrons, unseen_seed
        Of those that the network is judged by.
    bulk_electrons
        By which each backscatter coefficient of a bulk is found.
    """

    count: PositiveInt = 260
    side: PositiveInt = 128
    images: PositiveInt = 4
    electrons_per_pixel: PositiveFloat = 24.0
    seed: NonNegativeInt = 0
    unseen_count: PositiveInt = 30
    unseen_electrons: PositiveFloat = 64.0
    unseen_seed: NonNegativeInt
    bulk_electrons: PositiveInt = 200_000


def train_images(
    tables: Tables,
    folder: Path,
    state: Path,
    telling: Callable[[str], Any],
) -> tuple[Model, "Training[ImageSamples, ImageNetwork]"]:
    """Simulate pairs, and train and judge a network by them.

    Parameters
    ----------
    tables
        Of the recipe.
    folder, state
        Of the model, and of what is needed to go on with it.
    telling
        Returns a context, by the name of what is done, whose value takes its progress.
    """
    from ..learn.simulation.bulks import stored_coefficients
    from ..learn.simulation.making import BulkDesign, make_images_model
    from ..learn.simulation.networks import STRIDE, ImageArchitecture
    from ..learn.simulation.samples import ImageBatch, ImageSamples
    from ..learn.training import Schedule, Training, best_device

    given = tables["pairs"]
    if given["side"] % STRIDE:
        msg = f"[pairs] side must be a multiple of {STRIDE}; got {given['side']}"
        raise RecipeError(msg)
    if given["seed"] == given["unseen_seed"]:
        msg = f"[pairs] seed and unseen_seed must differ; both are {given['seed']}"
        raise RecipeError(msg)
    with blamed_on("training"):
        schedule = Schedule(**tables["training"])
    with blamed_on("network"):
        architecture = ImageArchitecture(**tables["network"])
    learnt, unseen = (
        PairStore(state / name, scenes, architecture.layers)
        for name, scenes in (("pairs", _scenes(given)), ("unseen", _unseen(given)))
    )
    for name, store in (("unseen images", unseen), ("images", learnt)):
        with telling(name) as tell:
            store.make(tell)
    samples = ImageSamples(
        [learnt[number] for number in range(learnt.scenes.count)],
        architecture.margin,
        schedule.seed,
    )
    bulk = stored_coefficients(state, given["bulk_electrons"], given["seed"])
    design = BulkDesign(architecture, bulk)
    device = best_device()
    training = Training(design, samples, schedule, state, gather=ImageBatch.of, device=device)
    data = {"data": asdict(learnt.scenes), "validation": asdict(unseen.scenes)}
    described = {"name": tables["output"]["name"], "licence": tables["output"]["licence"]}
    with telling("training") as tell:
        made = make_images_model(folder, training, unseen, **described, data=data, tell=tell)
    return made, training


def _scenes(given: Mapping[str, Any]) -> Scenes:
    with blamed_on("pairs"):
        return Scenes(
            given["count"],
            given["side"],
            given["images"],
            given["electrons_per_pixel"],
            given["seed"],
        )


def _unseen(given: Mapping[str, Any]) -> Scenes:
    with blamed_on("pairs"):
        return Scenes(
            given["unseen_count"],
            given["side"],
            given["images"],
            given["unseen_electrons"],
            given["unseen_seed"],
        )
