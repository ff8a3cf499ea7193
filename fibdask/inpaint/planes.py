"""Which measured planes a gap is filled from: arithmetic on plane numbers."""

from dataclasses import dataclass

import numpy as np

WINDOW = 4  # measured planes on each side of a gap


@dataclass(frozen=True, eq=False)
class MeasuredPlanes:
    """The planes of a regular stack that hold a measured slice.

    Attributes
    ----------
    numbers
        Their plane numbers, int64 (measured), increasing, at least one.
    """

    numbers: np.ndarray

    def below(self, plane: int) -> int:
        """Return the index of the last measured plane at or before a plane; -1 before the first."""
        return int(np.searchsorted(self.numbers, plane, side="right")) - 1

    def nearest(self, plane: int) -> int:
        """Return the nearest measured plane; of two, the one with the lower number."""
        index = self.below(plane)
        near = self.numbers[max(index, 0) : index + 2]
        return int(near[np.argmin(np.abs(near - plane))])

    def within(self, plane: int) -> bool:
        """Tell whether a plane is a gap between two measured planes."""
        index = self.below(plane)
        return 0 <= index < len(self.numbers) - 1 and self.numbers[index] != plane

    def window(self, plane: int) -> range:
        """Return the indices of the measured planes around a gap, up to `WINDOW` on each side."""
        index = self.below(plane)
        return range(max(index + 1 - WINDOW, 0), min(index + 1 + WINDOW, len(self.numbers)))

    def span(self, planes: slice, *, width: int = WINDOW) -> slice:
        """Return a range of planes with the `width` measured ones before and after it.

        A range without gaps is enough for itself.
        """
        inside = np.searchsorted(self.numbers, (planes.start, planes.stop))
        if inside[1] - inside[0] == planes.stop - planes.start:
            return planes
        first, last = self._surrounding(planes)
        low = self.numbers[max(first + 1 - width, 0)]
        high = self.numbers[min(last - 1 + width, len(self.numbers) - 1)]
        return slice(int(min(low, planes.start)), int(max(high + 1, planes.stop)))

    def longest_gap(self, planes: slice) -> int:
        """Return the most steps between measured planes around gaps in a range; 0 without gaps."""
        first, last = self._surrounding(planes)
        steps = np.diff(self.numbers[max(first, 0) : last + 1])
        return int(steps[steps > 1].max(initial=0))

    def _surrounding(self, planes: slice) -> tuple[int, int]:
        """Return the indices of the measured planes at or before, and at or after, a range."""
        return self.below(planes.start), int(np.searchsorted(self.numbers, planes.stop - 1))
