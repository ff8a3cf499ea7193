"""Sections of a volume: a few parts along each axis, by its shape alone.

Counts are kept by subvolume, one for each combination of sections along z, y and x, so that
their scatter gives error bars. Sections do not depend on chunks or blocks; columns follow them.
"""

from itertools import pairwise

import numpy as np

from .._kernels.lines import LANES

SECTIONS = 4
"""Most sections along an axis."""


def section_edges(length: int) -> tuple[int, ...]:
    """Return where the sections of an axis begin, and where the last one ends.

    Long axes are cut at whole words of lines, which are whole chunks of stores.
    """
    unit = LANES if length >= SECTIONS * LANES else 1
    inner = {round(i * length / SECTIONS / unit) * unit for i in range(1, SECTIONS)}
    return (0, *sorted(inner - {0, length}), length)


def section_slices(length: int) -> list[slice]:
    """Return the sections of an axis."""
    return [slice(start, stop) for start, stop in pairwise(section_edges(length))]


def section_lengths(length: int) -> np.ndarray:
    """Return the lengths of the sections of an axis."""
    return np.diff(section_edges(length))
