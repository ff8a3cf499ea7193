"""Beams that do not meet slices at a right angle, and what lies along them."""

from dataclasses import dataclass
from math import ceil, cos, floor, isfinite, nan, radians, tan

import numpy as np

from ..conventions import ConventionError, plain_number

LARGEST_TILT = 70.0
"""Degrees up to which a beam still looks into slices."""


def check_tilt(tilt: object) -> float:
    """Return the tilt in degrees of a beam, which must look into slices.

    Raises
    ------
    ConventionError
        If it does not.
    """
    number = plain_number(tilt)
    if not abs(number) <= LARGEST_TILT:  # nor NaN
        msg = f"tilt must be in -{LARGEST_TILT:g} … {LARGEST_TILT:g} degrees; got {tilt!r}"
        raise ConventionError(msg)
    return number + 0.0  # no -0


@dataclass(frozen=True)
class Slant:
    """How a beam runs through slices.

    Shown with each slice moved along y to where the beams through another one meet it, images look
    as if the beam were upright, and slices farther apart.

    Attributes
    ----------
    step
        Pixels along y that a beam goes for each nm of depth.
    stretch
        Its length for each nm of depth.
    """

    step: float = 0.0
    stretch: float = 1.0

    @classmethod
    def of(cls, tilt: float, pixel: float = nan) -> "Slant":
        """Return that of a tilt about x in degrees, towards +y.

        Pixels are in nm along y; NaN if no row is another's neighbour.
        """
        angle = radians(tilt)
        return cls(tan(angle) / pixel if isfinite(pixel) else 0.0, 1 / cos(angle))

    def rows(self, depth: float) -> int:
        """Return how many rows further on a beam is, so many nm deeper, in whole pixels."""
        return round(self.step * depth)

    def met(self, rows: slice, depth: float, count: int) -> np.ndarray:
        """Return the rows that beams through some rows meet, so many nm deeper.

        In whole pixels; for rows beyond `count`, and before the first, the nearest ones stand.
        """
        moved = np.arange(rows.start, rows.stop) + self.rows(depth)
        return moved.clip(0, count - 1)

    def through(self, rows: slice, depth: float, count: int) -> slice:
        """Return rows of beams that meet some rows at any depth from 0 to one in nm."""
        moved = -self.step * depth
        first, last = floor(min(moved, 0.0)), ceil(max(moved, 0.0))
        return slice(max(rows.start + first, 0), min(rows.stop + last, count))

    def upright(self, values: np.ndarray, place: slice, rows: slice, depth: float) -> np.ndarray:
        """Return rows (y, x) of a plane, of values at the beams that meet it.

        Parameters
        ----------
        values
            Of the plane (y, x), by the rows where beams begin.
        place
            These rows.
        rows
            Of the plane.
        depth
            Of the plane below where beams begin, in nm.
        """
        begun = np.arange(rows.start, rows.stop) - self.step * depth - place.start
        begun = begun.clip(0, len(values) - 1)
        before = begun.astype(np.intp)
        share = (begun - before).astype(np.float32)[:, np.newaxis]
        after = np.minimum(before + 1, len(values) - 1)
        mixed: np.ndarray = values[before] * (1 - share) + values[after] * share
        return mixed


UPRIGHT = Slant()
"""That of a beam that meets slices at a right angle."""
