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
def row_distances(phase, reach, out):
    """Write the distance along x to the other phase, in pixels, to float32 `out` (y, x).

    Distances are at most `reach`, a float32, and negative in pores.
    """
    one = np.float32(1)
    ny, nx = phase.shape
    for y in range(ny):
        distance = reach  # of what lies beyond the window nothing is known: as far as counts
        for x in range(nx):
            changed = x > 0 and phase[y, x] != phase[y, x - 1]
            distance = one if changed else min(distance + one, reach)
            out[y, x] = distance
        distance = reach
        for x in range(nx - 1, -1, -1):
            changed = x < nx - 1 and phase[y, x] != phase[y, x + 1]
            distance = one if changed else min(distance + one, reach)
            nearest = min(distance, out[y, x])
            out[y, x] = nearest if phase[y, x] else -nearest


@compiled(nogil=True)
def signed_distances(rows, pixel_nm, reach_nm, start, out):
    """Write the signed distance to the interface in nm to float32 `out` (y, x).

    The distance to the nearest pixel centre of the other phase, at most `reach_nm`, less half a
    pixel; positive in solid. `rows` are row distances of a window, of which `out` is the part
    from pixel `start` (y, x).

    The rows at distance j only matter where they are nearer than what is found already, so
    the search ends after a few rows, and its inner loop runs over neighbours in memory.
    """
    zero = np.float32(0)
    ny, nx = out.shape
    step_y, step_x = np.float32(pixel_nm[0]), np.float32(pixel_nm[1])
    half = np.float32(0.5) * min(step_y, step_x)
    reach = np.float32(reach_nm)
    # Squares without the sign: rows are compared by them, and the sign is put back at the end.
    square = np.empty(nx, np.float32)
    sign = np.empty(nx, np.float32)
    for y in range(ny):
        centre = y + start[0]
        for x in range(nx):
            row = rows[centre, x + start[1]]
            sign[x] = np.float32(1) if row > zero else np.float32(-1)
            square[x] = min(abs(row) * step_x, reach) ** 2
        for j in range(1, rows.shape[0]):
            across = (np.float32(j) * step_y) ** 2
            if across >= square.max():
                break
            for other in (centre - j, centre + j):
                if 0 <= other < rows.shape[0]:
                    for x in range(nx):
                        # Negative in a pixel of the other phase, whose distance along x is 0.
                        along = max(sign[x] * rows[other, x + start[1]], zero) * step_x
                        square[x] = min(square[x], along * along + across)
        for x in range(nx):
            out[y, x] = sign[x] * (np.sqrt(square[x]) - half)


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
    for y in range(ny):
        # Along y first, then along x: taps of both, not their product, for each pixel.
        column[:] = 0
        for j in range(len(taps)):
            row = distances[min(max(y + start[0] + j - radius, 0), rows - 1)]
            for x in range(first, last):
                column[x] += taps[j] * row[x + start[1] - radius]
        column[:first] = column[first]
        column[last:] = column[last - 1]
        smooth[:] = 0
        for j in range(len(taps)):
            for x in range(nx):
                smooth[x] += taps[j] * column[x + j]
        for x in range(nx):
            if distances[y + start[0], x + start[1]] > 0:
                out[y, x] = max(smooth[x], least)
            else:
                out[y, x] = min(smooth[x], -least)


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
