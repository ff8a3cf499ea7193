"""Samples for filling gaps: slices of structures whose phases are known, and planes between them.

Nothing is simulated but milling: what a network needs to know of structures is in their shapes.
Distances count in pixels, so one network serves every magnification.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from ..conventions import ConventionError, check_not_negative
from ..pieces.windows import NO_SLICE, PIXEL, SliceWindow
from ..simulate import hierarchical_levelled_wave, mimic_milling
from .samples import Drawing, Sample, check_range

UNSEEN_THICKNESS = 10.16, 3.12
"""Mean and standard deviation in nm of slices that networks are judged by, as of the articles."""


@dataclass(frozen=True)
class Structure:
    """A hierarchical structure of levelled waves.

    Attributes
    ----------
    shape
        Voxels (z, y, x), cubes of `PIXEL`.
    ligament_size, solid_fraction
        Of each level of ligaments, the size in nm.
    seed
        Of its waves.
    """

    shape: tuple[int, int, int]
    ligament_size: tuple[float, ...]
    solid_fraction: tuple[float, ...]
    seed: int

    def phase(self) -> xr.DataArray:
        """Return the phase (z, y, x), uint8, lazily."""
        return hierarchical_levelled_wave(voxel_size=PIXEL, **asdict(self))


@dataclass(frozen=True)
class PhaseVariation:
    """What differs between samples of the same structure.

    Attributes
    ----------
    thickness
        Least and most mean thickness of slices in pixels.
    unevenness
        Largest standard deviation of the thickness, relative to its mean.
    roughness
        Largest standard deviation of the noise added to smoothed phases before they are segmented
        anew, as segmentation errs at edges.
    """

    thickness: tuple[float, float] = (2.0, 7.0)
    unevenness: float = 0.5
    roughness: float = 0.15

    def __post_init__(self) -> None:
        check_range("thickness", self.thickness)
        for name in ("unevenness", "roughness"):
            check_not_negative(name, getattr(self, name))


@dataclass(frozen=True, eq=False)
class PhaseSamples(Drawing):
    """Samples of structures.

    Attributes
    ----------
    structures
        Where they come from, each as often as any other.
    variation
        What differs.
    """

    structures: Sequence[Structure]
    variation: PhaseVariation

    @cached_property
    def _volumes(self) -> list[np.ndarray]:
        return [structure.phase().values for structure in self.structures]

    def __getitem__(self, number: int) -> Sample:
        """Return a sample; its image is a phase, 0 or 1, of one voltage."""
        rng = self.rng(number)
        structure = self._turned(self._volumes[int(rng.integers(len(self._volumes)))], rng)
        faces = self._faces(structure.shape[0], rng)
        i = int(rng.integers(len(faces)))
        part = structure[:, *self.part(structure.shape[1:], rng)]
        end = faces[i + 1] if i + 1 < len(faces) else faces[i] + 1
        planes = rng.integers(min(faces[i] + 1, end - 1), end, self.planes)
        sample = phase_window(part, faces, i, planes, self.window)
        known = np.isfinite(sample.distances)
        sample.images[0, known] = self._roughened(sample.images[0, known], rng)
        return sample

    def _turned(self, structure: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a view along other axes and directions, which are all alike."""
        structure = structure.transpose(rng.permutation(3))
        return structure[tuple(slice(None, None, 1 - 2 * int(rng.integers(2))) for _ in range(3))]

    def _faces(self, depth: int, rng: np.random.Generator) -> np.ndarray:
        """Return the planes that are slices: gamma-distributed distances, at least one plane."""
        mean = rng.uniform(*self.variation.thickness)
        std = max(self.variation.unevenness * rng.random() * mean, 0.1)
        steps = rng.gamma((mean / std) ** 2, std**2 / mean, int(depth / mean) + self.window.size)
        steps = np.maximum(np.rint(steps).astype(np.int64), 1)
        faces = np.append(0, np.cumsum(steps)) + rng.integers(2)
        return faces[faces < depth]

    def _roughened(self, phases: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return phases as a segmentation would find them, in half of the samples."""
        if not self.variation.roughness or rng.random() < 0.5:
            return phases
        smooth = gaussian_filter(phases, (0, 1, 1))
        noise = gaussian_filter(rng.standard_normal(phases.shape, np.float32), (0, 1, 1))
        noise *= self.variation.roughness * rng.random() / noise.std()
        return np.asarray(smooth + noise > 0.5)


def phase_window(
    phase: np.ndarray, faces: np.ndarray, i: int, planes: np.ndarray, window: SliceWindow
) -> Sample:
    """Return the window of a slice, and what is on planes below it.

    Parameters
    ----------
    phase
        Of a structure (z, y, x), uint8.
    faces
        Its planes that are slices (slice).
    i
        Number of the slice.
    planes
        From it to the next (plane).
    window
        Slices that are shown.
    """
    slots = window.slices(i, len(faces))
    known = slots != NO_SLICE
    images = np.zeros((1, len(slots), *phase.shape[1:]), np.float32)
    images[0, known] = phase[faces[slots[known]]]
    return Sample(
        images,
        np.ones(1, np.float32),
        (window.distances(i, faces) * PIXEL).astype(np.float32),
        ((planes - faces[i]) * PIXEL).astype(np.float32),
        phase[planes].astype(np.float32),
    )


@dataclass(frozen=True, eq=False)
class PhaseWindows:
    """All windows of a milled structure, whole, with all planes between their slice and the next.

    Attributes
    ----------
    phase
        Of the structure (z, y, x), uint8.
    faces
        Its planes that are slices (slice).
    window
        Slices that are shown.
    """

    phase: np.ndarray
    faces: np.ndarray
    window: SliceWindow

    @classmethod
    def milled(cls, structure: Structure, window: SliceWindow) -> "PhaseWindows":
        """Return windows of a structure that is milled as those of the articles."""
        phase = structure.phase()
        mean, std = UNSEEN_THICKNESS
        slices = mimic_milling(phase, mean_thickness=mean, std_thickness=std, seed=structure.seed)
        faces = np.rint(slices["z"].values / PIXEL).astype(np.int64)
        return cls(phase.values, faces, window)

    def __iter__(self) -> Iterator[Sample]:
        """Iterate over windows along z, as far as there is a plane below the slice."""
        for i, (face, below) in enumerate(pairwise(self.faces)):
            if below - face > 1:
                planes = np.arange(face + 1, below)
                yield phase_window(self.phase, self.faces, i, planes, self.window)


def phase_ranges(samples: PhaseSamples) -> dict[str, Any]:
    """Return what phases must be like for a network that was trained on these; lengths in nm.

    They count in pixels of `PIXEL`, whatever those of the phases are.
    """
    least, most = samples.variation.thickness
    sizes = [size for one in samples.structures for size in one.ligament_size]
    fractions = [float(np.prod(one.solid_fraction)) for one in samples.structures]
    return {
        "voltages": [],
        "pixel_size": None,
        "thickness": [least * PIXEL, most * PIXEL],
        "gap": [PIXEL, most * PIXEL * (1 + 2 * samples.variation.unevenness)],
        "materials": {},
        "electrons_per_pixel": None,
        "solid_fraction": [min(fractions), max(fractions)],
        "ligament_size": [min(sizes), max(sizes)],
    }


def check_structures(learnt: Sequence[Structure], unseen: Structure, crop: int) -> None:
    """Refuse a structure that cannot be, is learnt from and judged by, or smaller than a crop.

    Raises
    ------
    ConventionError
        With what cannot be, the seed, or the shape.
    """
    for structure in (*learnt, unseen):
        structure.phase()  # lazy: what it is made of is checked
    if min(unseen.shape) < crop:
        msg = (
            f"structures must be as large as a crop of {crop} voxels; their shape is {unseen.shape}"
        )
        raise ConventionError(msg)
    if unseen.seed in {structure.seed for structure in learnt}:
        msg = f"a structure that is learnt from may not be judged by; both have seed {unseen.seed}"
        raise ConventionError(msg)
