"""Kernels of inpainting: spline weights, signed distance maps, weighted planes, small holes.

Planes are arrays (y, x). Sums over planes are taken in the order of depth for every pixel, and a
pixel's distance is the least of the same set of numbers in any window that holds its
neighbourhood, so that the results do not depend on how a volume is cut.
"""

from functools import lru_cache

import numpy as np
from numba import njit
from scipy.interpolate import CubicSpline
from scipy.ndimage import label

TIE = 2.0**-10
"""What the plane below a gap weighs more than the spline says, so that ties are its own."""


@lru_cache(maxsize=1 << 14)
def spline_weights(knots: tuple[int, ...], position: int) -> np.ndarray:
    """Return the float64 weights (knots) of a natural cubic spline at a position."""
    weights: np.ndarray = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")(position)
    weights.flags.writeable = False
    return weights


@njit(nogil=True, cache=True)
def weighted_planes(volume, planes, weights, out):
    """Write the sum of `weights` (planes) times planes of `volume` (z, y, x) to float64 `out`."""
    out[:] = 0.0
    for k in range(len(planes)):
        for y in range(out.shape[0]):
            for x in range(out.shape[1]):
                out[y, x] += weights[k] * volume[planes[k], y, x]


@njit(nogil=True, cache=True)
def row_distances(phase, reach, out):
    """Write the distance along x to the other phase, in pixels, to float32 `out` (y, x).

    Distances are at most `reach`, a float32, and negative in pores.
    """
    one = np.float32(1)
    ny, nx = phase.shape
    for y in range(ny):
        distance = reach
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


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
def smoothed_distances(distances, start, least_nm, out):
    """Write distances smoothed by the weights 1 2 1 along y and x to float32 `out` (y, x).

    `out` is the part from pixel `start` of `distances`; beyond their edge they are repeated.
    Every pixel keeps its phase, at a distance of at least `least_nm`.
    """
    two, sixteenth = np.float32(2), np.float32(1 / 16)
    least = np.float32(least_nm)
    rows, columns = distances.shape
    ny, nx = out.shape
    column = np.empty(columns, np.float32)
    for y in range(ny):
        centre = y + start[0]
        above, below = max(centre - 1, 0), min(centre + 1, rows - 1)
        for x in range(columns):
            column[x] = distances[above, x] + two * distances[centre, x] + distances[below, x]
        for x in range(nx):
            middle = x + start[1]
            left, right = max(middle - 1, 0), min(middle + 1, columns - 1)
            smooth = (column[left] + two * column[middle] + column[right]) * sixteenth
            if distances[centre, middle] > 0:
                out[y, x] = max(smooth, least)
            else:
                out[y, x] = min(smooth, -least)


@njit(nogil=True, cache=True)
def interpolated_phase(maps, planes, weights, caps_nm, out):
    """Write to uint8 `out` (y, x) where the weighted sum of capped distances is positive.

    `maps` (map, y, x) hold signed distances; `planes`, float32 `weights` and float32 `caps_nm`
    tell which are added, with which weight, and up to which distance.
    """
    total = np.empty(out.shape[1], np.float32)
    for y in range(out.shape[0]):
        total[:] = 0
        for k in range(len(planes)):
            cap, weight, row = caps_nm[k], weights[k], maps[planes[k], y]
            for x in range(len(total)):
                total[x] += weight * min(max(row[x], -cap), cap)
        for x in range(len(total)):
            out[y, x] = total[x] > 0


def fill_holes(phase: np.ndarray, pixels: int) -> np.ndarray:
    """Return the uint8 phase (y, x) with pores of fewer than `pixels` made solid.

    Pores are connected by edges; those that touch the edge of the plane are not enclosed.
    """
    pores, count = label(phase == 0)
    sizes = np.bincount(pores.ravel(), minlength=count + 1)
    small = sizes < pixels
    small[0] = False
    for edge in (pores[0], pores[-1], pores[:, 0], pores[:, -1]):
        small[edge] = False
    return phase | small[pores]
