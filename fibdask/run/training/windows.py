"""Trainings of networks that are shown windows of slices: of images, or of their phases."""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from ...conventions import ConventionError, RecipeError
from ...learn.data import SimulatedStack, check_data
from ...learn.phases import PhaseSamples, PhaseVariation, Structure, check_structures
from ...learn.samples import Samples, Variation
from ...pieces.windows import SliceWindow
from ..recipe.record import blamed_on
from ..recipe.tables import Key, options_of
from .parts import Parts, Telling, TrainingRecipe

if TYPE_CHECKING:
    from ...learn.begun import Begun
    from ...learn.networks import Architecture

    Designed = Architecture | Begun

_Folders = Annotated[list[str], Field(min_length=1)]
_Levels = Annotated[list[list[float]], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Folders of simulated stacks.

    Attributes
    ----------
    train
        Folders to learn from, as `fibdask simulate` leaves them.
    validation
        Folders to judge by, of other seeds.
    begin
        Model whose weights the training begins with, by name or folder: one that ships, or one of a
        shorter training. It then defines the network, not `[network]`.
    kept
        Share of these weights in the mean of them and the learnt ones. The network then sees the
        new data nearly as well, and forgets little of what it saw before.
    """

    train: _Folders
    validation: _Folders
    begin: str | None = None
    kept: Annotated[float, Field(ge=0, lt=1)] = 0.0


@dataclass(frozen=True, kw_only=True)
class StructureOptions:
    """Structures whose gaps between slices are filled; the task is then `inpaint_gaps`.

    Attributes
    ----------
    shape
        Voxels (z, y, x) of each structure.
    ligament_size
        For each structure, the ligament size of its levels in nm, at voxels of 2.5 nm.
    solid_fraction
        For each structure, the solid fraction of its levels.
    seed
        Seed of the first structure; the others have the next ones.
    unseen_seed
        Seed of a structure like the first one that the network is judged by.
    """

    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (192, 192, 192)
    ligament_size: _Levels
    solid_fraction: _Levels
    seed: NonNegativeInt = 0
    unseen_seed: NonNegativeInt

    def __post_init__(self) -> None:
        sizes, fractions = self.ligament_size, self.solid_fraction
        if list(map(len, sizes)) != list(map(len, fractions)):
            msg = f"each ligament_size needs a solid_fraction; got {sizes} and {fractions}"
            raise ConventionError(msg)

    def structures(self) -> tuple[list[Structure], Structure]:
        """Return those that are learnt from, and that which networks are judged by."""
        levels = zip(self.ligament_size, self.solid_fraction, strict=True)
        learnt = [
            Structure(self.shape, tuple(size), tuple(fraction), self.seed + number)
            for number, (size, fraction) in enumerate(levels)
        ]
        return learnt, replace(learnt[0], seed=self.unseen_seed)


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Size and seed of samples.

    Attributes
    ----------
    crop
        Pixels of a sample along y and x.
    planes
        Planes of a sample: a slice, and others between it and the next.
    seed
        Seed of all samples.
    """

    crop: PositiveInt = 128
    planes: Annotated[int, Field(ge=2)] = 3
    seed: NonNegativeInt = 0


def image_tables() -> dict[str, dict[str, Key]]:
    """Return the keys of each table of a network of images, but those of the output."""
    return {"data": options_of(DataOptions), **_window_tables(Variation)}


def phase_tables() -> dict[str, dict[str, Key]]:
    """Return the keys of each table of a network of phases, but those of the output."""
    return {"structures": options_of(StructureOptions), **_window_tables(PhaseVariation)}


def _window_tables(variation: type) -> dict[str, dict[str, Key]]:
    from ...learn.training import Schedule

    samples = options_of(variation, SampleOptions)
    return {"network": network_keys(), "samples": samples, "training": options_of(Schedule)}


def network_keys() -> dict[str, Key]:
    """Return the keys of a network of windows."""
    from ...learn.networks import Architecture

    network = options_of(Architecture)
    del network["voltages"]  # those of the data
    return network


def image_parts(read: TrainingRecipe, _telling: Telling) -> Parts:
    """Return a network, samples of simulated stacks, and what judges it by other ones."""
    from ...learn.making import ImageJudge
    from ...learn.networks import Architecture

    variation, drawn = read.varied(Variation, SampleOptions)
    given = read.made("data", DataOptions)
    with blamed_on("data"):
        learnt, unseen = (
            [SimulatedStack.open(path) for path in paths]
            for paths in (given.train, given.validation)
        )
        check_data(learnt, unseen, drawn["crop"])
        begun = _begun(given, learnt, unseen)
    voltages = len(learnt[0].voltage)
    design: Designed = begun or read.made("network", partial(Architecture, voltages=voltages))
    window = _window(design, drawn["crop"])
    samples = Samples(learnt, variation, window=window, **drawn)
    judge = ImageJudge(samples, unseen)
    return Parts(design, samples, judge, {"unseen": judge.drawn()})


def _begun(
    given: DataOptions, learnt: list[SimulatedStack], unseen: list[SimulatedStack]
) -> "Begun | None":
    """Return the model that a training begins with, if it does with one."""
    from ...learn.begun import Begun, Mixed

    if given.begin:
        begun = Begun.of_windows(given.begin, learnt[0].voltage)
        begun.check_unseen(unseen)
        return Mixed(**vars(begun), kept=given.kept) if given.kept else begun
    if given.kept:
        msg = f"kept is a share of the weights of begin, which is not given; got {given.kept:g}"
        raise ConventionError(msg)
    return None


def phase_parts(read: TrainingRecipe, _telling: Telling) -> Parts:
    """Return a network, samples of structures, and what judges it by another one."""
    from ...learn.making import PhaseJudge
    from ...learn.networks import Architecture

    variation, drawn = read.varied(PhaseVariation, SampleOptions)
    given = read.made("structures", StructureOptions)
    with blamed_on("structures"):
        learnt, unseen = given.structures()
        check_structures(learnt, unseen, drawn["crop"])
    design = read.made("network", partial(Architecture, voltages=1))
    window = _window(design, drawn["crop"])
    samples = PhaseSamples(learnt, variation, window=window, **drawn)
    judge = PhaseJudge(samples, unseen)
    return Parts(design, samples, judge, {"unseen": judge.drawn()})


def _window(architecture: "Designed", crop: int) -> SliceWindow:
    """Return the window that a network sees, in samples of a size that it takes."""
    if crop % architecture.stride:
        msg = f"[samples] crop must be a multiple of {architecture.stride}; got {crop}"
        raise RecipeError(msg)
    return SliceWindow(architecture.above, architecture.below)
