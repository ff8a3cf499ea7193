"""Images by Monte Carlo: every electron of the beam is followed through the structure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from ... import blocks
from ...conventions import ConventionError
from ...pieces.devices import Device
from ..electrons._kernels.transport import draw_electrons
from ..electrons.cuda import electron_transport
from ..electrons.elastic import Model
from ..electrons.materials import Material, find_material
from ..electrons.records import LARGEST_DISTANCE, LARGEST_LABEL, Acceptance, Place
from ..electrons.transport import Illumination, Losses, VoxelLengths
from ..keys import image_key, voltage_word
from .noise import Noise, write_grey

Materials = Mapping[Any, str | Material]
"""By the names of the phases, or by label."""
MOST_ELECTRONS = 2**30
"""On a pixel: counts have 32 bits."""
VACUUM_DEPTH = 1000.0
"""Depth in nm at which electrons are given up where the structure holds vacuum."""
_TABLE_BYTES = 2**22  # of angles, losses and paths, at most
_TILE = 512  # pixels along y and x of one task


def label_materials(materials: Materials) -> tuple[Material, ...]:
    """Return materials in the order of their labels.

    Raises
    ------
    ConventionError
        If a material is unknown, or keys are neither `pore` and `solid` nor labels from 0 on.
    """
    by_key = dict(materials)
    if set(by_key) == {"pore", "solid"}:
        return find_material(by_key["pore"]), find_material(by_key["solid"])
    if not 0 < len(by_key) <= LARGEST_LABEL + 1 or set(by_key) != set(range(len(by_key))):
        msg = (
            "materials must name those of pore and solid, or of labels 0, 1, … up to "
            f"{LARGEST_LABEL}; got {', '.join(map(str, by_key)) or 'none'}"
        )
        raise ConventionError(msg)
    return tuple(find_material(by_key[label]) for label in range(len(by_key)))


def tile_block(n_y: int, n_x: int) -> tuple[int, int, int, int]:
    """Return the block of one task: an image, or an even part of a large one."""
    y, x = (min(n, blocks.even_part(n, _TILE)) for n in (n_y, n_x))
    return 1, 1, y, x


@dataclass(frozen=True)
class Microscope:
    """How the beam comes in, how electrons are followed, and which are detected.

    Attributes
    ----------
    acceptance_angle
        Half-angle in degrees of the cone about the beam that electrons come out in.
    energy_window
        Share of the energy of the beam that a detected electron may have lost.
    tilt, beam_diameter, cutoff_ev, elastic, losses
        As of `Illumination`.
    white
        Backscatter coefficient that is shown white, were electrons of all angles detected.
    """

    acceptance_angle: float
    energy_window: float
    tilt: float
    beam_diameter: float
    cutoff_ev: float
    elastic: Model
    losses: Losses
    white: float

    def __post_init__(self) -> None:
        for name, value, most, unit in (
            ("acceptance_angle", self.acceptance_angle, 90, " degrees"),
            ("energy_window", self.energy_window, 1, " of the energy of the beam"),
        ):
            if not 0 < value <= most:
                msg = f"{name} must be > 0 and <= {most}{unit}; got {value}"
                raise ConventionError(msg)

    @property
    def white_share(self) -> float:
        """Share of the electrons of the beam that is shown white, by a cosine law of angles."""
        return float(self.white * np.sin(np.deg2rad(self.acceptance_angle)) ** 2)

    def illumination(self, voltage: float) -> Illumination:
        """Return the beam of a voltage in kV; it ends where electrons are not detected."""
        energy = 1e3 * voltage
        cutoff = max(self.cutoff_ev, self._least_energy(energy))
        return Illumination(
            energy, self.tilt, self.beam_diameter, cutoff, self.elastic, self.losses
        )

    def acceptance(self, voltage: float) -> Acceptance:
        """Return what is detected at a voltage in kV."""
        least = self._least_energy(1e3 * voltage)
        # All angles means all that come out: from a tilted surface even backwards to the beam.
        everything = self.acceptance_angle == 90
        cosine = -1.0 if everything else np.cos(np.deg2rad(self.acceptance_angle))
        return Acceptance(np.float32(least), np.float32(cosine))

    def _least_energy(self, energy_ev: float) -> float:
        return (1 - self.energy_window) * energy_ev


@dataclass(frozen=True, eq=False)
class MonteCarloImages:
    """Block function: images by electrons that are followed one by one.

    Attributes
    ----------
    z
        Of the planes of the structure in nm.
    planes
        The imaged ones.
    voltage
        In kV.
    voxel_size
        Along z, y, x in nm; planes of uneven z are cut anew at steps of it below each face.
    image
        Shape (y, x).
    materials
        Of the labels 0, 1, …
    microscope
        Beam and detector.
    noise
        Mean number of electrons on a pixel, and Gaussian noise of every image; its seed is that
        of the electrons too.
    dtype
        Of the images.
    device
        Where electrons fly: counts differ in their last bits between processors and GPUs.
    """

    z: np.ndarray
    planes: np.ndarray
    voltage: np.ndarray
    voxel_size: VoxelLengths
    image: tuple[int, int]
    materials: tuple[Material, ...]
    microscope: Microscope
    noise: Noise
    dtype: str
    device: Device

    def __post_init__(self) -> None:
        if not self.noise.electrons:
            msg = "Monte Carlo needs a number of electrons_per_pixel; got None"
            raise ConventionError(msg)
        if self.noise.electrons > MOST_ELECTRONS:
            msg = f"electrons_per_pixel must be at most 2^30; got {self.noise.electrons:g}"
            raise ConventionError(msg)
        for v in range(len(self.voltage)):
            self._illumination(v)

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return what electrons can reach, and the cap of the distances beyond."""
        voltages, slices, *part = region
        planes = self.planes[slices]
        numbers = range(voltages.start, voltages.stop)
        last = max(self._planes_below(int(planes[-1]), v)[-1] for v in numbers)
        halo = [max(halos) for halos in zip(*(self._halo(v) for v in numbers), strict=True)]
        in_plane = (
            blocks.grow(interval, h, h, n)
            for interval, h, n in zip(part, halo, self.image, strict=True)
        )
        return ((slice(int(planes[0]), int(last) + 1), *in_plane),)

    def compute(self, region: blocks.Region, labels: np.ndarray) -> np.ndarray:
        """Simulate the images of a region."""
        self._check_labels(labels)
        voltages, slices, y, x = region
        (read,) = self.needs(region)
        corner = tuple(interval.start for interval in read)
        images = np.empty(blocks.lengths(region), self.dtype)
        gaussian = replace(self.noise, electrons=0.0)
        for v, k in np.ndindex(images.shape[:2]):
            plane = int(self.planes[slices.start + k])
            signal = self._image(labels, corner, voltages.start + v, plane, (y, x))
            word = (voltage_word(self.voltage[voltages.start + v]), plane)
            gaussian.add(signal, word, y.start, x.start)
            write_grey(signal, images[v, k])
        return images

    def working_bytes(self, region: blocks.Region) -> int:
        """Structure below one face, packed and not, with numbers and grey values of its image."""
        voltages, slices, y, x = region
        one = (voltages, slice(slices.stop - 1, slices.stop), y, x)
        n_y, n_x = blocks.lengths(self.needs(one)[0])[1:]
        deepest = max(self._deepest(v) for v in range(voltages.start, voltages.stop))
        n_z = deepest + LARGEST_DISTANCE
        return (2 * n_z + 1) * n_y * n_x + 24 * blocks.voxels((y, x)) + _TABLE_BYTES

    def _image(
        self,
        labels: np.ndarray,
        corner: tuple[int, ...],
        v: int,
        plane: int,
        part: tuple[slice, slice],
    ) -> np.ndarray:
        """Return the signal of a part of an image, float32 (y, x)."""
        illumination = self._illumination(v)
        below = labels[self._planes_below(plane, v) - corner[0]]
        device = electron_transport(self.device)
        structure = device.pack_structure(below, self.voxel_size, deepest=self._deepest(v))
        key = np.uint64(image_key((self.noise.seed, voltage_word(self.voltage[v]), plane, 1)))
        y, x = part
        place = Place(key, y.start, x.start, y.start - corner[1], x.start - corner[2])
        electrons = np.empty(blocks.lengths(part), np.int32)
        draw_electrons(place, self.noise.electrons, electrons)
        counts = np.zeros_like(electrons)
        device.send_electrons(
            structure,
            illumination.tables(self.materials),
            illumination.beam(self.voxel_size),
            self.microscope.acceptance(self.voltage[v]),
            place,
            electrons,
            counts,
            np.empty((0, 7), np.float32),
        )
        white = self.noise.electrons * self.microscope.white_share
        return np.asarray(counts / white, np.float32)

    def _illumination(self, v: int) -> Illumination:
        return self.microscope.illumination(float(self.voltage[v]))

    def _check_labels(self, labels: np.ndarray) -> None:
        if labels.max() >= len(self.materials):
            label = labels.max()
            msg = f"materials must name that of each label; label {label} has none"
            raise ConventionError(msg)

    def _deepest(self, v: int) -> int:
        """Return the number of planes below a face that electrons come back from."""
        reach = self._illumination(v).reach(self.materials)
        depth = VACUUM_DEPTH if np.isinf(reach) else reach / 2
        return ceil(depth / self.voxel_size[0]) + 1

    def _planes_below(self, plane: int, v: int) -> np.ndarray:
        """Return the planes of the structure at even steps below one of them."""
        steps = np.arange(self._deepest(v) + LARGEST_DISTANCE) + 0.5
        depths = self.z[plane] + steps * self.voxel_size[0]
        below = np.searchsorted(self.z, depths, side="right") - 1
        # Below the last plane the structure goes on as that; the transport knows.
        return np.asarray(below[: np.searchsorted(below, len(self.z) - 1) + 1])

    def _halo(self, v: int) -> tuple[int, int]:
        """Return the pixels along y and x that electrons can go and distances look at."""
        illumination = self._illumination(v)
        reach = illumination.reach(self.materials)
        if np.isinf(reach):
            return self.image
        beam = illumination.beam(self.voxel_size)
        spreads = (float(beam.spread_y), float(beam.spread_x))
        halo_y, halo_x = (
            ceil(reach / size + 3 * spread) + LARGEST_DISTANCE + 1
            for size, spread in zip(self.voxel_size[1:], spreads, strict=True)
        )
        return halo_y, halo_x
