"""Windows of slices (placeholder until merge)."""

from dataclasses import dataclass
import numpy as np

NO_SLICE = -1


@dataclass(frozen=True)
class SliceWindow:
    above: int
    below: int

    @property
    def size(self):
        return self.above + self.below

    def slices(self, i, count):
        n = np.arange(i - self.above + 1, i + self.below + 1)
        return np.where((n >= 0) & (n < count), n, NO_SLICE)
