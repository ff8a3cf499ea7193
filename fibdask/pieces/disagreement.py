"""How far apart the voltages of a stack are, where a network is shown one of them at a time."""

from dataclasses import dataclass

import numpy as np

from ..blocks import Region
from .grey import range_values
from .windows import STEPS, PlanePredictions, in_steps


@dataclass(frozen=True, eq=False)
class VoltageDisagreement:
    """Block function: largest less smallest probability (z, y, x) that single voltages give.

    Attributes
    ----------
    each
        What predicts planes of the images (1, z, y, x) of each voltage, in their order.
    """

    each: tuple[PlanePredictions, ...]

    revision = 4
    scale_factor = 1 / STEPS

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return what one voltage needs, of all of them."""
        (place,) = self.each[0].needs(region)
        return ((slice(0, len(self.each)), *place[1:]),)

    def compute(self, region: Region, image: np.ndarray, *ranges: np.ndarray) -> np.ndarray:
        """Predict by one voltage after the other."""
        ends = range_values(*ranges)
        low = high = self.each[0].compute(region, image[:1], ends[:1])
        for v, predictions in enumerate(self.each[1:], start=1):
            one = predictions.compute(region, image[v : v + 1], ends[v : v + 1])
            low, high = np.minimum(low, one), np.maximum(high, one)
        return in_steps(high - low)

    def working_bytes(self, region: Region) -> int:
        """Return what predictions take, and five probabilities of the block."""
        block = 4 * int(np.prod([part.stop - part.start for part in region]))
        return self.each[0].working_bytes(region) + 5 * block
