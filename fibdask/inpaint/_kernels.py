"""Kernels of inpainting: spline weights, signed distance maps, weighted planes, small holes.

Planes are arrays (y, x). Sums over planes are taken in the order of depth for every pixel, and a
pixel's distance is the least of the same set of numbers in any window that holds its
neighbourhood, so that the results do not depend on how a volume is cut.
"""

from functools import lru_cache
from math import comb

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import label

from ..compiling import compiled

_LANES = 64  # pixels along x that are worked on together
TIE = 2.0**-10
"""What the plane below a gap weighs more than the spline says, so that ties are its own."""


def smoothing_taps(radius: int) -> np.ndarray:
    """Return float32 weights (2 radius + 1) that smooth, but leave cubic polynomials as they are.

    Binomial weights times the parabola that takes the second moment away: curved interfaces do
    not shrink, as they do by the binomial weights alone.
    """
    offset = np.arange(-radius, radius + 1)
    weights = np.array([comb(2 * radius, radius + j) for j in offset], float)
    weights *= (weights * offset**4).sum() - (weights * offset**2).sum() * offset**2
    taps: np.ndarray = (weights / weights.sum()).astype(np.float32)
    return taps


@lru_cache(maxsize=1 << 14)
def spline_weights(knots: tuple[int, ...], position: int) -> np.ndarray:
    """Return the float64 weights (knots) of a natural cubic spline at a position."""
    weights: np.ndarray = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")(position)
    weights.flags.writeable = False
    return weights


@compiled(nogil=True)
def weighted_planes(volume, planes, weights, out):
    """Write the sum of `weights` (planes) times planes of `volume` (z, y, x) to float64 `out`."""
    out[:] = 0.0
    for k in range(len(planes)):
        for y in range(out.shape[0]):
            for x in range(out.shape[1]):
                out[y, x] += weights[k] * volume[planes[k], y, x]


@compiled(nogil=True)
def row_squares(phase, reach, step_nm, out):
    """Write the squared distance along x to the other phase in nm² to float32 `out` (y, x).

    Distances are at most `reach` pixels of the float32 `step_nm`; squares are negative in pores.
    """
    one = np.float32(1)
    nx = phase.shape[1]
    for y in range(phase.shape[0]):
        row, squares = phase[y], out[y]
        start = 0
        while start < nx:
            stop = start + 1
            while stop < nx and row[stop] == row[start]:
                stop += 1
            # Of what lies beyond the window nothing is known: as far as counts.
            left = 1 if start > 0 else reach
            right = stop if stop < nx else stop + reach
            sign = one if row[start] else -one
            for x in range(start, stop):
                distance = np.float32(min(x - start + left, right - x, reach)) * step_nm
                squares[x] = sign * (distance * distance)
            start = stop


@compiled(nogil=True)
def signed_distances(squares, pixel_nm, reach_nm, start, out):
    """Write the signed distance to the interface in nm to float32 `out` (y, x).

    The distance to the nearest pixel centre of the other phase, at most `reach_nm`, less half a
    pixel; positive in solid. `squares` are those of row distances of a window, of which `out` is
    the part from pixel `start` (y, x).
    """
    rows, nx = len(squares), out.shape[1]
    step, reach = np.float32(pixel_nm[0]), np.float32(reach_nm)
    half = np.float32(0.5) * min(step, np.float32(pixel_nm[1]))
    least, sign = np.empty(_LANES, np.float32), np.empty(_LANES, np.float32)
    for first in range(0, nx, _LANES):
        lanes = min(_LANES, nx - first)
        left = first + start[1]
        for y in range(out.shape[0]):
            centre = y + start[0]
            own = squares[centre, left : left + lanes]
            for x in range(lanes):
                sign[x] = np.copysign(np.float32(1), own[x])
                least[x] = min(abs(own[x]), reach * reach)
            for j in range(1, rows):
                # Rows at distance j only matter where they are nearer than what is found already,
                # so the search ends after a few of them. There may be one on one side only.
                before, after = max(centre - j, 0), min(centre + j, rows - 1)
                above = squares[before if centre >= j else after, left : left + lanes]
                below = squares[after if centre + j < rows else before, left : left + lanes]
                if not _approach(least, sign, above, below, np.float32(j), step):
                    break
            distances = out[y, first : first + lanes]
            for x in range(lanes):
                distances[x] = sign[x] * (np.sqrt(least[x]) - half)


@compiled(nogil=True)
def _approach(least, sign, above, below, j, step):
    """Lower the `least` squares by rows at distance j; return how many the next may lower."""
    across, beyond = (j * step) ** 2, ((j + np.float32(1)) * step) ** 2
    open_ = 0
    for x in range(len(above)):
        # Negative in a pixel of the other phase, whose distance along x is 0.
        along = max(min(sign[x] * above[x], sign[x] * below[x]), np.float32(0))
        least[x] = min(least[x], along + across)
        open_ += least[x] > beyond
    return open_


@compiled(nogil=True)
def smoothed_distances(distances, start, taps, least_nm, out):
    """Write distances smoothed by float32 `taps` along y and x to float32 `out` (y, x).

    `out` is the part from pixel `start` of `distances`; beyond their edge they are repeated.
    Every pixel keeps its phase, at a distance of at least `least_nm`.
    """
    radius = len(taps) // 2
    least = np.float32(least_nm)
    rows, columns = distances.shape
    ny, nx = out.shape
    column = np.empty(nx + 2 * radius, np.float32)
    smooth = np.empty(nx, np.float32)
    first = max(radius - start[1], 0)  # pixels of `column` before the edge, and up to it
    last = min(columns - start[1] + radius, len(column))
    inner = column[first:last]
    left = first + start[1] - radius
    for y in range(ny):
        # Along y first, then along x: taps of both, not their product, for each pixel.
        column[:] = 0
        for j in range(len(taps)):
            number = min(max(y + start[0] + j - radius, 0), rows - 1)
            row = distances[number, left : left + len(inner)]
            for x in range(len(inner)):
                inner[x] += taps[j] * row[x]
        column[:first] = column[first]
        column[last:] = column[last - 1]
        smooth[:] = 0
        for j in range(len(taps)):
            moved = column[j : j + nx]
            for x in range(nx):
                smooth[x] += taps[j] * moved[x]
        own = distances[y + start[0], start[1] : start[1] + nx]
        smoothed = out[y]
        for x in range(nx):
            smoothed[x] = max(smooth[x], least) if own[x] > 0 else min(smooth[x], -least)


@compiled(nogil=True)
def interpolated_phase(maps, planes, weights, cap_nm, out):
    """Write to uint8 `out` (y, x) where the weighted sum of capped distances is positive.

    `maps` (map, y, x) hold signed distances; `planes` and float32 `weights` tell which are added,
    and with which weight; the float32 `cap_nm` is the largest distance that counts.
    """
    total = np.empty(out.shape[1], np.float32)
    for y in range(out.shape[0]):
        total[:] = 0
        for k in range(len(planes)):
            weight, row = weights[k], maps[planes[k], y]
            for x in range(len(total)):
                total[x] += weight * min(max(row[x], -cap_nm), cap_nm)
        for x in range(len(total)):
            out[y, x] = total[x] > 0


def fill_holes(phase: np.ndarray, pixels: int) -> np.ndarray:
    """Return the uint8 phase (y, x) with pores of fewer than `pixels` made solid.

    Pores are connected by edges; those that touch the edge of the plane are not enclosed.
    """
    pores, count = label(phase == 0)
    # A pore at the edge of the window may go on beyond it: its size is not known.
    sizes = np.bincount(pores.ravel(), minlength=count + 1)
    small = sizes < pixels
    small[0] = False
    for edge in (pores[0], pores[-1], pores[:, 0], pores[:, -1]):
        small[edge] = False
    return phase | small[pores]
