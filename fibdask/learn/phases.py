"""Samples for filling gaps: slices of structures whose phases are known, and planes between them.

Nothing is simulated but milling: what a network needs to know of structures is in their shapes.
Distances count in pixels, so one network serves every magnification.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ..pieces.windows import NO_SLICE, PIXEL, SliceWindow
from .samples import Sample


@dataclass(frozen=True)
class PhaseVariation:
    """What differs between samples of the same structure.

    Attributes
    ----------
    thickness
        Least and most mean thickness of slices in pixels.
    unevenness
        Most standard deviation of the thickness, relative to its mean.
    roughness
        Most standard deviation of what is added to the smoothed phases before they are told
        apart anew, as segmentation errs at edges.
    """

    thickness: tuple[float, float] = (2.0, 7.0)
    unevenness: float = 0.5
    roughness: float = 0.15


@dataclass(frozen=True, eq=False)
class PhaseSamples:
    """Samples by their number.

    Attributes
    ----------
    structures
        Isotropic phases (z, y, x), uint8.
    window
        Slices of a sample.
    variation
        What differs.
    crop
        Pixels along y and x.
    planes
        Number of planes of a sample.
    seed
        Of all of it.
    """

    structures: Sequence[np.ndarray]
    window: SliceWindow
    variation: PhaseVariation
    crop: int
    planes: int
    seed: int

    def __getitem__(self, number: int) -> Sample:
        """Return a sample; its image is a phase, 0 or 1, of one voltage."""
        rng = np.random.default_rng((self.seed, number))
        structure = self._turned(self.structures[int(rng.integers(len(self.structures)))], rng)
        faces = self._faces(structure.shape[0], rng)
        i = int(rng.integers(len(faces)))
        slots = self.window.slices(i, len(faces))
        known = slots != NO_SLICE
        corner = [int(rng.integers(n - self.crop + 1)) for n in structure.shape[1:]]
        part = tuple(slice(start, start + self.crop) for start in corner)
        images = np.zeros((1, len(slots), self.crop, self.crop), np.float32)
        images[0, known] = self._roughened(structure[faces[slots[known]]][:, *part], rng)
        end = faces[i + 1] if i + 1 < len(faces) else faces[i] + 1
        planes = rng.integers(min(faces[i] + 1, end - 1), end, self.planes)
        distances = np.where(known, faces[slots] - faces[i], np.nan)
        return Sample(
            images,
            np.ones(1, np.float32),
            (distances * PIXEL).astype(np.float32),
            ((planes - faces[i]) * PIXEL).astype(np.float32),
            structure[planes][:, *part].astype(np.float32),
        )

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
        if rng.random() < 0.5:
            return phases
        smooth = gaussian_filter(phases.astype(np.float32), (0, 1, 1))
        noise = gaussian_filter(rng.standard_normal(phases.shape, np.float32), (0, 1, 1))
        noise *= self.variation.roughness * rng.random() / noise.std()
        return np.asarray(smooth + noise > 0.5)
