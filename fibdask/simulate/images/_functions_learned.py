"""Images by a network that has learnt from Monte Carlo, with the noise of counted electrons."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ... import blocks
from ...conventions import check_phase_values
from ..keys import voltage_word
from .layers import RUNS, Layers, mirrored, show_layers, window_of
from .noise import Noise, write_grey


class ImagePredictor(Protocol):
    """Says how many electrons come back from a face: a small description, pickled into tasks."""

    @property
    def fingerprint(self) -> str:
        """Hash of weights and of all else that determines what is predicted."""

    @property
    def layers(self) -> Layers:
        """Layers below a face that it is shown."""

    @property
    def halo(self) -> int:
        """How many pixels along y and x a result looks in either direction."""

    @property
    def margin(self) -> int:
        """Pixels beyond the sides of an image in which it is shown its mirror image."""

    @property
    def stride(self) -> int:
        """Windows begin at multiples of it in pixels, and their lengths are such."""

    def bytes(self, shape: tuple[int, int]) -> int:
        """Return peak bytes of the host for a window (y, x), beside what is shown of it."""

    def __call__(
        self,
        shown: np.ndarray,
        *,
        voltage: float,
        pixel_size: tuple[float, float],
        materials: tuple[str, str],
    ) -> np.ndarray:
        """Return the share of the electrons that each pixel scatters back, float32 (y, x)."""


@dataclass(frozen=True, eq=False)
class LearnedImages:
    """Block function: images by a network, with noise.

    Attributes
    ----------
    z
        Of the planes of the structure in nm.
    planes
        The imaged ones.
    voltage
        In kV.
    pixel_size
        Along y and x in nm.
    image
        Shape (y, x).
    tile
        Pixels along y and x that are predicted at once, the same whatever region is wanted.
    materials
        Of pore and solid.
    predictor
        The network.
    white
        Backscatter coefficient that is shown white.
    noise
        Of every image.
    dtype
        Of the images.
    """

    z: np.ndarray
    planes: np.ndarray
    voltage: np.ndarray
    pixel_size: tuple[float, float]
    image: tuple[int, int]
    tile: tuple[int, int]
    materials: tuple[str, str]
    predictor: ImagePredictor
    white: float
    noise: Noise
    dtype: str
    revision = 4

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the planes that are seen of the windows that the region touches."""
        voltages, slices, *part = region
        last = int(self.planes[slices][-1])
        ends = [last + len(self._weights(v, last)) for v in range(voltages.start, voltages.stop)]
        tiles = self._tiles((part[0], part[1]))
        in_plane = (
            self._read([tile[axis] for tile in tiles], self.image[axis]) for axis in range(2)
        )
        return ((slice(int(self.planes[slices.start]), max(ends)), *in_plane),)

    def compute(self, region: blocks.Region, phase: np.ndarray) -> np.ndarray:
        """Simulate the images of a region."""
        check_phase_values("phase", phase, tuple(part.start for part in self.needs(region)[0]))
        voltages, slices, y, x = region
        (read,) = self.needs(region)
        images = np.empty(blocks.lengths(region), self.dtype)
        signal = np.empty(images.shape[2:], np.float32)
        for v, k in np.ndindex(images.shape[:2]):
            plane = int(self.planes[slices.start + k])
            seen = self._look(phase, plane, read[0].start, voltages.start + v)
            for tile in self._tiles((y, x)):
                self._predict(seen, (read[1], read[2]), tile, voltages.start + v, (y, x), signal)
            word = (voltage_word(self.voltage[voltages.start + v]), plane)
            self.noise.add(signal, word, y.start, x.start)
            write_grey(signal, images[v, k])
        return images

    def working_bytes(self, region: blocks.Region) -> int:
        """Layers of a face, those that are shown of a window, and what predicting takes."""
        (read,) = self.needs(region)
        layers = len(self.predictor.layers.edges) + RUNS
        windows = [
            tuple(self._window(part, n) for part, n in zip(tile, self.image, strict=True))
            for tile in self._tiles((region[2], region[3]))
        ]
        n_y, n_x = (int(max(sizes)) for sizes in zip(*map(blocks.lengths, windows), strict=True))
        shown = 4 * (2 * layers + 1) * n_y * n_x
        # Beside the layers, ends of the first solid, and what is made of them.
        own = 4 * (layers + 5) * blocks.voxels(read[1:]) + 8 * blocks.voxels(region[2:])
        return own + shown + self.predictor.bytes((n_y, n_x))

    @property
    def _vacuum(self) -> bool:
        return self.materials[0] == "vacuum"

    def _weights(self, v: int, plane: int) -> np.ndarray:
        voltage = float(self.voltage[v])
        return self.predictor.layers.weights(self.z, plane, voltage, vacuum=self._vacuum)

    def _look(self, phase: np.ndarray, plane: int, first: int, v: int) -> np.ndarray:
        """Return what is seen below a face, of planes that begin with the `first`."""
        weights = self._weights(v, plane)
        below = slice(plane - first, plane - first + len(weights))
        return self.predictor.layers.look(
            phase[below],
            self.z[plane : plane + len(weights)] - self.z[plane],
            weights,
            float(self.voltage[v]),
            self.pixel_size,
            vacuum=self._vacuum,
        )

    def _predict(
        self,
        seen: np.ndarray,
        read: tuple[slice, slice],
        tile: blocks.Region,
        v: int,
        wanted: tuple[slice, slice],
        signal: np.ndarray,
    ) -> None:
        """Fill what of a tile is wanted, of what is seen where the structure was read."""
        windows = [self._window(part, n) for part, n in zip(tile, self.image, strict=True)]
        y, x = (
            mirrored(window, n, self.predictor.margin) - part.start
            for window, n, part in zip(windows, self.image, read, strict=True)
        )
        found = self.predictor(
            show_layers(seen, (y, x), (windows[0], windows[1])),
            voltage=float(self.voltage[v]),
            pixel_size=self.pixel_size,
            materials=self.materials,
        )
        part = blocks.overlap(tile, wanted)
        inside = blocks.within(part, (windows[0], windows[1]))
        signal[blocks.within(part, wanted)] = found[inside] / np.float32(self.white)

    def _tiles(self, part: tuple[slice, slice]) -> list[blocks.Region]:
        return blocks.touched_tiles(part, self.tile, self.image)

    def _window(self, tile: slice, length: int) -> slice:
        own = self.predictor
        return window_of(tile, length, halo=own.halo, margin=own.margin, stride=own.stride)

    def _read(self, tiles: list[slice], length: int) -> slice:
        """Return what is read along an axis for some tiles."""
        margin = self.predictor.margin
        seen = np.concatenate([mirrored(self._window(t, length), length, margin) for t in tiles])
        return slice(int(seen.min()), int(seen.max()) + 1)
