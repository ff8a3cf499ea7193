"""Images without trajectories: contrast falls exponentially with the depth of the solid."""

from dataclasses import dataclass

import numpy as np

from ... import blocks
from ...conventions import check_phase_values
from ..keys import voltage_word
from . import _kernels as kernels
from .noise import Noise, write_grey

_GREY_LEVELS = 255


@dataclass(frozen=True, eq=False)
class AnalyticImages:
    """Block function: images by exponential attenuation, with noise.

    Attributes
    ----------
    z
        Of the planes of the structure in nm.
    planes
        The imaged ones.
    voltage
        In kV.
    pore, solid
        Signal of the bulks relative to white (voltage).
    attenuation_length
        In nm (voltage).
    noise
        Of every image.
    dtype
        Of the images.
    """

    z: np.ndarray
    planes: np.ndarray
    voltage: np.ndarray
    pore: np.ndarray
    solid: np.ndarray
    attenuation_length: np.ndarray
    noise: Noise
    dtype: str

    revision = 2

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the planes from the first imaged one to the deepest that is seen."""
        voltages, slices, y, x = region
        planes = self.planes[slices]
        deepest = max(self._last_seen(v, planes[-1]) for v in range(voltages.start, voltages.stop))
        return ((slice(int(planes[0]), deepest + 1), y, x),)

    def compute(self, region: blocks.Region, phase: np.ndarray) -> np.ndarray:
        """Simulate the images of a region."""
        check_phase_values("phase", phase, tuple(part.start for part in self.needs(region)[0]))
        voltages, slices, y, x = region
        images = np.empty(blocks.lengths(region), self.dtype)
        signal = np.empty(images.shape[2:], np.float32)
        top = int(self.planes[slices.start])
        # From the bottom up, each plane is looked at once for all faces above it.
        first_solid = np.full(signal.shape, len(self.z), np.int32)
        below = top + len(phase)
        for k in reversed(range(slices.start, slices.stop)):
            plane = int(self.planes[k])
            kernels.update_first_solid(phase[plane - top : below - top], plane, first_solid)
            below = plane
            for v in range(voltages.start, voltages.stop):
                kernels.look_up_depth(first_solid, plane, self._signals(v, plane), signal)
                image = (voltage_word(self.voltage[v]), plane)
                self.noise.add(signal, image, y.start, x.start)
                write_grey(signal, images[v - voltages.start, k - slices.start])
        return images

    def working_bytes(self, region: blocks.Region) -> int:
        """First solid, signal and its grey values, of one plane at a time."""
        n_y, n_x = blocks.lengths(region)[2:]
        return 12 * n_y * n_x + 32 * len(self.z)

    def _last_seen(self, voltage: int, plane: int) -> int:
        contrast = abs(self.solid[voltage] - self.pore[voltage]) * _GREY_LEVELS
        reach = self.attenuation_length[voltage] * np.log(max(2 * contrast, 1.0))
        return int(np.searchsorted(self.z, self.z[plane] + reach, side="right")) - 1

    def _signals(self, voltage: int, plane: int) -> np.ndarray:
        """Return the signal of a first solid 0, 1, … planes below, and last of none in sight."""
        depth = self.z[plane : self._last_seen(voltage, plane) + 1] - self.z[plane]
        attenuation = np.append(np.exp(-depth / self.attenuation_length[voltage]), 0)
        pore, solid = self.pore[voltage], self.solid[voltage]
        return np.asarray(pore + (solid - pore) * attenuation, np.float32)
