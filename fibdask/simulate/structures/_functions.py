"""How a block of a structure is made of its coordinates: the block functions of all generators."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import ndtr

from ... import blocks
from ...pieces.functions import FromCoordinates
from ..keys import image_key
from . import _kernels as kernels
from ._kernels import Spheres, add_gradient_noise, keep_in_copy, remove_spheres

CUT = 3.0  # standard deviations at which the radii of pores are cut
_CENTRES = 4.0  # in a cell of space, in the mean


@dataclass(frozen=True, eq=False)
class LevelledWaves(FromCoordinates):
    """Block function: solid where the field of every level exceeds it.

    Attributes
    ----------
    wave_vectors
        In rad/nm (level, wave, axis), axes z, y, x.
    phases
        In rad (level, wave).
    levels
        In standard deviations of the field (level).
    voxel_size
        In nm (z, y, x).
    """

    wave_vectors: np.ndarray
    phases: np.ndarray
    levels: np.ndarray
    voxel_size: tuple[float, float, float]

    def compute(self, region: blocks.Region) -> np.ndarray:
        """Generate the voxels of a region."""
        positions = [
            np.arange(s.start, s.stop) * h for s, h in zip(region, self.voxel_size, strict=True)
        ]
        waves = self.phases.shape[1]
        phase = np.ones(blocks.lengths(region), np.uint8)
        for vectors, phases, level in zip(self.wave_vectors, self.phases, self.levels, strict=True):
            table_z, table_y, table_x = (
                _table(r, k, offset)
                for r, k, offset in zip(positions, vectors.T, (phases, 0, 0), strict=True)
            )
            table_x = np.ascontiguousarray(table_x.transpose(0, 2, 1), np.float32)
            sum_level = np.float32(level * np.sqrt(waves / 2))
            kernels.keep_above_level(table_z, table_y, table_x, sum_level, phase)
        return phase

    def working_bytes(self, region: blocks.Region) -> int:
        """Angles, sines and cosines of one level: at most 32 bytes for each coordinate and wave."""
        return 32 * int(self.phases.shape[1]) * sum(blocks.lengths(region)) + 2**16


def _table(position: np.ndarray, wave_number: np.ndarray, offset: np.ndarray | float) -> np.ndarray:
    """Return cosines and sines (2, position, wave) of the phases that one axis contributes."""
    angle = np.multiply.outer(position, wave_number)
    angle += offset
    table = np.empty((2, *angle.shape))
    np.cos(angle, out=table[0])
    np.sin(angle, out=table[1])
    return table


@dataclass(frozen=True)
class RandomPores(FromCoordinates):
    """Block function: solid outside spheres whose centres are a Poisson process.

    Attributes
    ----------
    radius, std
        Mean and standard deviation of the radii in nm.
    density
        Of the centres in 1/nm³.
    seed
        The spheres of a cell of space are a hash of the seed and the cell.
    voxel_size
        In nm (z, y, x).
    """

    radius: float
    std: float
    density: float
    seed: int
    voxel_size: tuple[float, float, float]

    def compute(self, region: blocks.Region) -> np.ndarray:
        """Generate the voxels of a region."""
        sizes = np.array(self.voxel_size)
        start = np.array([interval.start for interval in region])
        stop = np.array([interval.stop for interval in region])
        side = (_CENTRES / self.density) ** (1 / 3)
        reach = self.radius + CUT * self.std
        # Cell 0 begins the reach before the first voxel; one cell more makes up for rounding.
        first = np.maximum(np.floor(start * sizes / side).astype(np.int64) - 1, 0)
        last = np.floor(((stop - 1) * sizes + 2 * reach) / side).astype(np.int64) + 1
        phase = np.ones(blocks.lengths(region), np.uint8)
        key = np.uint64(image_key((self.seed,)))
        spheres = Spheres(side, key, _CENTRES, self.radius, self.std, CUT)
        remove_spheres(spheres, first, last + 1, sizes, start, phase)
        return phase

    def working_bytes(self, region: blocks.Region) -> int:
        """Cells are drawn one by one: little beside the result."""
        return 2**12


@dataclass(frozen=True)
class StretchedSpheres(FromCoordinates):
    """Block function: spheres on a square grid in layers stretched along z; lengths in nm."""

    diameter: float
    spacing: float
    growth: float
    voxel_size: tuple[float, float, float]

    def compute(self, region: blocks.Region) -> np.ndarray:
        """Generate the voxels of a region."""
        z, y, x = (
            np.arange(s.start, s.stop) * h for s, h in zip(region, self.voxel_size, strict=True)
        )
        square_z, square_y, square_x = (
            self._offset(position) ** 2 for position in (self._unstretched(z), y, x)
        )
        square_radius = (self.diameter / 2) ** 2
        return np.asarray(kernels.ellipsoids(square_z, square_y, square_x, square_radius))

    def working_bytes(self, region: blocks.Region) -> int:
        """Squared distances of one plane and their sum, and a few of each axis."""
        n_z, n_y, n_x = blocks.lengths(region)
        return 16 * n_y * n_x + 64 * (n_z + n_y + n_x)

    def _offset(self, position: np.ndarray) -> np.ndarray:
        return position % self.spacing - self.spacing / 2

    def _unstretched(self, z: np.ndarray) -> np.ndarray:
        """Return z with every layer squeezed to the height of the first."""
        height = z / self.spacing
        layers = np.arange(np.ceil(height[-1]) + 2)
        starts = layers + self.growth / 2 * layers * (layers - 1)
        layer = np.searchsorted(starts, height, side="right") - 1
        inside = (height - starts[layer]) / (1 + self.growth * layer)
        return np.asarray((layer + inside) * self.spacing)


@dataclass(frozen=True, eq=False)
class MirroredCopies:
    """Block function: solid where every resized and rotated copy of a phase is.

    Attributes
    ----------
    matrices, offsets
        A voxel with its centre at r, in voxels from the faces of the result, is at
        matrix @ r + offset in a copy, in voxels of the phase from the centre of the first
        (copy, axis, axis) and (copy, axis).
    period
        Shape of the phase (z, y, x).
    """

    matrices: np.ndarray
    offsets: np.ndarray
    period: tuple[int, ...]

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the box of the phase in which each copy of the region lies."""
        centres = np.array([(s.start + 0.5, s.stop - 0.5) for s in region])
        needed = []
        for matrix, offset in zip(self.matrices, self.offsets, strict=True):
            ends = matrix[:, :, np.newaxis] * centres
            lowest = offset + ends.min(axis=2).sum(axis=1)
            highest = offset + ends.max(axis=2).sum(axis=1)
            box = zip(lowest, highest, self.period, strict=True)
            needed.append(tuple(_reached(low, high, n) for low, high, n in box))
        return tuple(needed)

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Generate the voxels of a region."""
        start = np.array([interval.start for interval in region])
        phase = np.ones(blocks.lengths(region), np.uint8)
        copies = zip(inputs, self.needs(region), self.matrices, self.offsets, strict=True)
        for source, box, matrix, offset in copies:
            corner = np.array([interval.start for interval in box])
            keep_in_copy(source, corner, np.array(self.period), matrix, offset, start, phase)
        return phase

    def working_bytes(self, region: blocks.Region) -> int:
        """Places of voxels along the axes of the phase, while what is reached is found."""
        return 48 * max(self.period) + 2**13


def _reached(low: float, high: float, length: int) -> slice:
    """Return the interval of a mirrored axis in which places, not rounded exactly, fall."""
    first, last = int(np.floor(low)) - 1, int(np.floor(high)) + 2
    folded = np.arange(first, min(last, first + 2 * length) + 1) % (2 * length)
    folded = np.minimum(folded, 2 * length - 1 - folded)
    return slice(int(folded.min()), int(folded.max()) + 1)


@dataclass(frozen=True)
class LayerThickness(FromCoordinates):
    """Block function: thickness in nm (layer, y, x) of layers.

    Attributes
    ----------
    least, largest
        Thickness of each layer in nm.
    feature_size
        Spacing of the coarsest lattice of the noise in nm.
    seed
        Gradients are a hash of the seed, the layer, the octave and the lattice point.
    pixel_size
        In nm (y, x).
    """

    least: tuple[float, ...]
    largest: tuple[float, ...]
    feature_size: float
    seed: int
    pixel_size: tuple[float, ...]

    octaves = 3  # each of half the lattice spacing and amplitude of the one before

    def compute(self, region: blocks.Region) -> np.ndarray:
        """Generate the maps of a region."""
        layers, *part = region
        maps = np.empty(blocks.lengths(region), np.float32)
        for out, layer in zip(maps, range(layers.start, layers.stop), strict=True):
            low, high = self.least[layer], self.largest[layer]
            out[...] = low + (high - low) * ndtr(self._noise(layer, part))
        return maps

    def working_bytes(self, region: blocks.Region) -> int:
        """Noise of one layer, its distribution and the sum."""
        return 24 * blocks.voxels(region[1:])

    def _noise(self, layer: int, part: Sequence[slice]) -> np.ndarray:
        """Return noise (y, x) of mean 0 and variance 1, float64."""
        noise = np.zeros(blocks.lengths(tuple(part)))
        amplitudes = 0.5 ** np.arange(self.octaves)
        amplitudes /= _noise_std() * sqrt((amplitudes**2).sum())
        for octave, amplitude in enumerate(amplitudes):
            key = image_key((self.seed, layer, octave))
            # Shifted by a random part of the lattice, whose points are zeros of the noise.
            shifts = [image_key((key, axis)) * 2.0**-64 for axis in range(2)]
            y, x = (
                np.arange(s.start, s.stop) * (h * 2**octave / self.feature_size) + shift
                for s, h, shift in zip(part, self.pixel_size, shifts, strict=True)
            )
            add_gradient_noise(y, x, np.uint64(key), amplitude, noise)
        return noise


def _noise_std() -> float:
    """Return the standard deviation of gradient noise at a random place.

    Each of four corners adds a slope of variance d²/2 at the distance d, times the squares of
    the fades s(y) s(x).
    """
    fade = np.polynomial.Polynomial([1, 0, 0, -10, 15, -6])
    weight = (fade**2).integ()(1)
    weighted_square = (fade**2 * np.polynomial.Polynomial([0, 0, 1])).integ()(1)
    return float(sqrt(4 * weight * weighted_square))


@dataclass(frozen=True)
class FilmMaterial(FromCoordinates):
    """Block function: number of the layer at the centre of each voxel (z, y, x).

    Attributes
    ----------
    thickness
        Of the layers.
    plane_spacing
        Voxel size along z in nm.
    """

    thickness: LayerThickness
    plane_spacing: float

    def compute(self, region: blocks.Region) -> np.ndarray:
        """Count the layers that end above the centre of each voxel."""
        z, *part = region
        layers = slice(0, len(self.thickness.least))
        maps = self.thickness.compute((layers, *part))
        bottoms = np.cumsum(maps, axis=0, dtype=np.float64)
        labels = np.zeros(blocks.lengths(region), np.uint8)
        for plane, number in zip(labels, range(z.start, z.stop), strict=True):
            for bottom in bottoms:
                plane += bottom <= (number + 0.5) * self.plane_spacing
        return labels

    def working_bytes(self, region: blocks.Region) -> int:
        """Thickness maps and depths of all layers, and what the maps take."""
        maps = (slice(0, len(self.thickness.least)), *region[1:])
        return 12 * blocks.voxels(maps) + self.thickness.working_bytes(maps)
