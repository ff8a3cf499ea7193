"""What trains a network of images as a recipe says: pairs are simulated first."""

from dataclasses import dataclass, replace

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from ...conventions import RecipeError
from ...learn.simulation.pairs import PairStore, Scenes
from ..recipe.record import blamed_on
from ..recipe.tables import Key, options_of
from .parts import Parts, Telling, TrainingRecipe, check_seeds


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """Structures and their images by Monte Carlo; the task is then `simulate_images`.

    Structures of several kinds, sizes, materials, pixels and distances of planes are drawn, and
    each is imaged at several voltages from 0.8 to 5 kV.

    Attributes
    ----------
    count
        Number of structures.
    side
        Pixels of images along y and x, a multiple of 8.
    images
        Images of each structure.
    electrons_per_pixel
        Electrons per pixel of the images to learn from: few are enough, since their noise cancels
        out.
    seed
        Seed of the structures and images.
    unseen_count
        Number of structures that the network is judged by.
    unseen_electrons
        Electrons per pixel of their images.
    unseen_seed
        Seed of these structures and images.
    bulk_electrons
        Electrons by which each backscatter coefficient of a bulk is found.
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

    def __post_init__(self) -> None:
        check_seeds(self.seed, self.unseen_seed)

    def scenes(self) -> tuple[Scenes, Scenes]:
        """Return those that are learnt from, and those that the network is judged by."""
        learnt = Scenes(self.count, self.side, self.images, self.electrons_per_pixel, self.seed)
        unseen = replace(
            learnt,
            count=self.unseen_count,
            electrons_per_pixel=self.unseen_electrons,
            seed=self.unseen_seed,
        )
        return learnt, unseen


def pair_tables() -> dict[str, dict[str, Key]]:
    """Return the keys of each table but those of the output."""
    from ...learn.simulation.networks import ImageArchitecture
    from ...learn.training import Schedule

    network = options_of(ImageArchitecture)
    for fixed in ("layers", "pores", "solids"):  # which pairs are drawn with
        del network[fixed]
    pairs, training = options_of(PairOptions), options_of(Schedule)
    return {"pairs": pairs, "network": network, "training": training}


def pair_parts(read: TrainingRecipe, telling: Telling) -> Parts:
    """Simulate pairs, telling how far that is; return a network, and what judges it by others."""
    from ...learn.simulation.bulks import stored_coefficients
    from ...learn.simulation.making import BulkDesign, PairJudge
    from ...learn.simulation.networks import STRIDE, ImageArchitecture
    from ...learn.simulation.samples import ImageBatch, ImageSamples

    given = read.made("pairs", PairOptions)
    if given.side % STRIDE:
        msg = f"[pairs] side must be a multiple of {STRIDE}; got {given.side}"
        raise RecipeError(msg)
    architecture = read.made("network", ImageArchitecture)
    with blamed_on("pairs"):
        scenes = given.scenes()
    learnt, unseen = (
        PairStore(read.state / name, one, architecture.layers)
        for name, one in zip(("pairs", "unseen"), scenes, strict=True)
    )
    for name, store in (("unseen images", unseen), ("images", learnt)):
        with telling(name) as tell:
            store.make(tell)
    pairs = [learnt[number] for number in range(learnt.scenes.count)]
    samples = ImageSamples(pairs, architecture.margin, read.tables["training"]["seed"])
    bulk = stored_coefficients(read.state, given.bulk_electrons, given.seed)
    design, judge = BulkDesign(architecture, bulk), PairJudge(learnt, unseen)
    return Parts(design, samples, judge, {"gather": ImageBatch.of})
