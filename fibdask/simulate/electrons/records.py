"""What the compiled transport of electrons works on, with the types that it is compiled for."""

from typing import NamedTuple

import numpy as np

LANES = 64
"""Electrons that fly side by side."""
DISTANCE_BITS = 4
"""Bits of a voxel's byte that hold its distance to another material; the others hold its own."""
LARGEST_DISTANCE = (1 << DISTANCE_BITS) - 1
"""Cap in voxels of the distance to the nearest voxel of another material."""
LARGEST_LABEL = (1 << (8 - DISTANCE_BITS)) - 1
LOSS_STEPS = 6
"""Bits of an energy's mantissa that count for losses and paths: 64 steps to an octave."""
ANGLE_STEPS = 4
"""Of those that count for angles: 16 distributions to an octave."""


class Structure(NamedTuple):
    """Voxels that electrons fly in; the surface is the upper face of plane 0.

    Beyond the faces in y and x it goes on as its mirror image, below the last plane as that.
    """

    words: np.ndarray
    """Voxels (z, y, x) as bytes, four in an int32: distance to another material + material."""
    planes: np.int32
    rows: np.int32
    columns: np.int32
    size_z: np.float32
    """Of a voxel in nm."""
    size_y: np.float32
    size_x: np.float32
    deepest: np.int32
    """Plane at which electrons are given up."""


class Tables(NamedTuple):
    """What happens to electrons in the materials; flat arrays in the order of the axes named."""

    inverse_path: np.ndarray
    """1/mean free path in 1/nm (material, energy)."""
    loss: np.ndarray
    """Energy loss in eV/nm (material, energy)."""
    reach: np.ndarray
    """Longest path in nm that is left in any of the materials (energy)."""
    cosine: np.ndarray
    """Cosine of the scattering angle (material, energy, v), v = √(1 − probability) in [0, 1)."""
    energies: np.int32
    angle_energies: np.int32
    angles: np.int32
    first_energy: np.int32
    """Bits of the cut-off energy, shifted, that belong to index 0."""
    first_angle_energy: np.int32
    cutoff: np.float32
    """Energy in eV at which electrons are given up."""
    longest: np.float32
    """Path in nm at which they are given up; with continuous losses, none flies so far."""


class DiscreteTables(NamedTuple):
    """The same where energy is lost in collisions, instead of along the way."""

    inverse_path: np.ndarray
    """1/mean free path between collisions, elastic or not, in 1/nm (material, energy)."""
    elastic_share: np.ndarray
    """Of the collisions (material, energy)."""
    loss_scale: np.ndarray
    """C of the distribution of losses T, ∝ T/(C + T²)², in eV² (material)."""
    reach: np.ndarray
    cosine: np.ndarray
    energies: np.int32
    angle_energies: np.int32
    angles: np.int32
    first_energy: np.int32
    first_angle_energy: np.int32
    cutoff: np.float32
    longest: np.float32


class Beam(NamedTuple):
    """Electrons that come in, alike on every pixel."""

    energy: np.float32
    """In eV."""
    cosine: np.float32
    """Of the angle between the beam and the normal of the surface."""
    sine: np.float32
    """Of it; the electrons fly towards +y."""
    pixel: np.float32
    """Side of the area of a pixel that they are spread over evenly: 1, or 0 for its centre."""
    spread_y: np.float32
    """Standard deviation of the beam on the surface, in voxels."""
    spread_x: np.float32


class Acceptance(NamedTuple):
    """Which of the electrons that come out are counted."""

    energy: np.float32
    """Least energy in eV."""
    cosine: np.float32
    """Least cosine of the angle to the axis of the beam."""


class Place(NamedTuple):
    """Part of an image."""

    key: np.uint64
    """Of the image."""
    image_y: int
    """First pixel in the image."""
    image_x: int
    structure_y: int
    """First pixel in the structure."""
    structure_x: int


class Lanes(NamedTuple):
    """Electrons in flight, one in each lane."""

    energy: np.ndarray
    voxel_z: np.ndarray
    voxel_y: np.ndarray
    voxel_x: np.ndarray
    z: np.ndarray
    """Place in the voxel, 0 to 1."""
    y: np.ndarray
    x: np.ndarray
    to_z: np.ndarray
    """Direction."""
    to_y: np.ndarray
    to_x: np.ndarray
    depth: np.ndarray
    """Greatest so far, in voxels."""
    word_0: np.ndarray
    """State of the generator of random numbers."""
    word_1: np.ndarray
    word_2: np.ndarray
    word_3: np.ndarray
    path: np.ndarray
    """Flown so far, in nm; counted with discrete losses only."""
    status: np.ndarray
