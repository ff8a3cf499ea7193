"""What a network sees in a stack, as a structure, and what images of that structure would show.

The planes of the structure are about as far apart as pixels, so that its axes may be exchanged.
Below the last slice it is taken to go on as a mirror would show it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from ...conventions import ConventionError, build_stack
from ...pieces.validity import known_materials
from ...simulate import simulate_images
from ...simulate.images.layers import half_contrast_depth
from ..models import Model
from ..networks import WindowNetwork
from ..samples import Sample
from .fitting import probability
from .target import Target

_SMOOTH = 0.7  # pixels, by which what is seen is smoothed: specks are none
_BELOW = 2.0  # half-contrast depths, below which nothing shines through


@dataclass(frozen=True)
class Simulator:
    """How images are simulated.

    Attributes
    ----------
    model, detector
        Of `simulate_images`.
    materials
        Of pore and solid; by default the first ones that a network has learnt from.
    """

    model: str
    detector: str
    materials: tuple[str, str] | None = None


SIMULATORS = (
    Simulator("learned", "tld"),
    Simulator("analytic", "tld"),
    Simulator("analytic", "icd"),
)
"""Those that may explain images, if they know their voltages and materials."""


@dataclass(frozen=True, eq=False)
class Structure:
    """Phases on planes, some of which are the faces of slices.

    Attributes
    ----------
    phase
        Where solid is, bool (z, y, x).
    z
        Of the planes in nm.
    faces
        Numbers of the planes that are those of slices (slice).
    pixel
        Size of a pixel in nm, about that of the distance of planes.
    """

    phase: np.ndarray
    z: np.ndarray
    faces: np.ndarray
    pixel: float

    @classmethod
    def seen(cls, folded: WindowNetwork, target: Target, temperature: float) -> "Structure":
        """Return what a network, made ready for prediction, sees between the slices of a target."""
        every = np.ones(len(target.images), bool)
        said, depths = [], []
        for i, step in enumerate(target.step):
            sample = target.sample(i)
            number = max(round(step / target.pixel), 1)
            offsets = step * np.arange(number) / number
            planes = Sample(
                sample.images,
                sample.present,
                sample.distances,
                offsets.astype(np.float32),
                np.zeros((number, *sample.truth.shape[1:]), np.float32),
            )
            said.append(probability(folded, planes, every, temperature))
            depths.append(target.z[i] + offsets)
        solid = gaussian_filter((np.concatenate(said) > 0.5).astype(np.float32), _SMOOTH) > 0.5
        faces = np.cumsum([0, *(len(planes) for planes in said[:-1])])
        return cls(solid, np.concatenate(depths), faces, target.pixel)

    @property
    def slices(self) -> np.ndarray:
        """Where solid is on the faces of slices (slice, y, x)."""
        return np.asarray(self.phase[self.faces])

    def depth(self, reach: float) -> np.ndarray:
        """Return how far below each face solid comes first, in nm (slice, y, x).

        It is infinite where none comes within the reach, and NaN where the structure ends before.
        """
        first = np.full(self.phase.shape[1:], np.nan)
        found, is_face = [], np.isin(np.arange(len(self.z)), self.faces)
        for k in reversed(range(len(self.z))):
            first[self.phase[k]] = self.z[k]
            if is_face[k]:
                nothing = np.inf if self.z[-1] - self.z[k] > reach else np.nan
                found.append(np.where(np.isnan(first), nothing, first - self.z[k]))
        return np.stack(found[::-1])

    def images(self, model: Model, simulator: Simulator) -> np.ndarray:
        """Return images of the faces without noise, float32 (voltage, slice, y, x), 1 is white.

        Raises
        ------
        ConventionError
            If the simulator does not know the voltages, pixels or materials of the model.
        """
        voltages = model.card["voltages"]
        below = planes_below(voltages, self.pixel)
        whole = np.pad(self.phase, ((0, below), (0, 0), (0, 0)), mode="symmetric")
        depths = self.z[-1] + self.pixel * np.arange(1, below + 1)
        stack = build_stack(
            {"phase": whole.astype(np.uint8)},
            z=np.append(self.z, depths),
            pixel_size=(self.pixel, self.pixel),
            nominal_thickness=self.pixel,
        )
        images = simulate_images(
            stack["phase"],
            voltage=voltages,
            slices=self.z[self.faces].tolist(),
            materials=_materials(model, simulator),
            model=simulator.model,
            detector=simulator.detector,
            electrons_per_pixel=None,
            gaussian_std=0.0,
            dtype="float32",
            seed=0,
        )
        return np.asarray(images["intensity"].values)


def _materials(model: Model, simulator: Simulator) -> Mapping[str, str]:
    if simulator.materials is None:
        known: Mapping[str, str] = model.card["materials"]
        return known
    return dict(zip(("pore", "solid"), simulator.materials, strict=True))


def planes_below(voltages: Sequence[float], pixel: float) -> int:
    """Return how many planes, a pixel apart, may be seen below a face."""
    return int(np.ceil(_BELOW * half_contrast_depth(max(voltages)) / pixel))


def simulators(model: Model, seen: Structure) -> dict[Simulator, np.ndarray]:
    """Return images of what is seen by each simulator that knows such images.

    Raises
    ------
    ConventionError
        If none does.
    """
    found, refused = {}, []
    pairs = [(pair["pore"], pair["solid"]) for pair in known_materials(model.card)]
    several = pairs if len(pairs) > 1 else [None]
    for one in (replace(one, materials=pair) for one in SIMULATORS for pair in several):
        try:
            found[one] = seen.images(model, one)
        except ConventionError as error:
            refused.append(str(error))
    if not found:
        msg = f"images like those that {model.name} is for cannot be simulated: {refused[0]}"
        raise ConventionError(msg)
    return found
