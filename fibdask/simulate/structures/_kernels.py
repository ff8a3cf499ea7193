"""Compiled loops of structures: plane waves, spheres, gradient noise, mirrored copies.

No `fastmath`, and each voxel from its own number: it has the same bits whatever block it is in.
"""

import math
from typing import NamedTuple

import numpy as np

from ...compiling import compiled
from .._kernels import GOLDEN, mix, poisson_inverse

_S11 = np.uint64(11)

_TILE = 256  # voxels along x summed together: their tables stay in the second-level cache
_ROWS = 4  # rows summed together: each table value that is read serves all of them


@compiled(nogil=True, inline="always")
def _uniform(key, counter):
    """Return number `counter` of the stream of a key, in (0, 1)."""
    return ((mix(key + np.uint64(counter + 1) * GOLDEN) >> _S11) + 0.5) * 2.0**-53


@compiled(nogil=True, inline="always")
def _key_of(key, number):
    return mix(key + np.uint64(number + 1) * GOLDEN)


class Spheres(NamedTuple):
    """Spheres at random places in space, which is cut into cubic cells."""

    side: float
    """Of a cell in nm."""
    key: np.uint64
    """Of the seed."""
    centres: float
    """Mean number of centres in a cell."""
    radius: float
    """Mean of the normal radii in nm."""
    std: float
    """Their standard deviation in nm."""
    cut: float
    """Standard deviations at which they are cut."""


@compiled(nogil=True)
def remove_spheres(spheres, first, stop, size, start, out):
    """Set the voxels of spheres with random centres to 0.

    Each cell holds a Poisson number of centres, even in the cell; they and the radii are a hash of
    the key and the number of the cell.

    Parameters
    ----------
    spheres
        As their class says.
    first, stop
        Numbers of the first cell and of that after the last along z, y, x, ≥ 0. Cell 0 begins
        the largest radius before voxel 0, so that no cell that matters has a negative number.
    size
        Of a voxel along z, y, x in nm.
    start
        Number of the first voxel of `out` along z, y, x.
    out
        Uint8 (z, y, x), overwritten.
    """
    side = spheres.side
    reach = spheres.radius + spheres.cut * spheres.std
    for i in range(first[0], stop[0]):
        for j in range(first[1], stop[1]):
            for k in range(first[2], stop[2]):
                cell = _key_of(_key_of(_key_of(spheres.key, i), j), k)
                count = int(poisson_inverse(spheres.centres, _uniform(cell, 0)))
                for sphere in range(count):
                    stream = _key_of(cell, sphere + 1)
                    z = (i + _uniform(stream, 0)) * side - reach
                    y = (j + _uniform(stream, 1)) * side - reach
                    x = (k + _uniform(stream, 2)) * side - reach
                    r = spheres.radius + spheres.std * _cut_normal(stream, spheres.cut)
                    _remove_sphere(z, y, x, r, size, start, out)


@compiled(nogil=True)
def _cut_normal(stream, cut):
    """Return a normal deviate by the method of Box and Muller, drawn again if beyond `cut`."""
    counter = 3
    while True:
        distance = math.sqrt(-2 * math.log(_uniform(stream, counter)))
        deviate = distance * math.cos(2 * math.pi * _uniform(stream, counter + 1))
        if abs(deviate) <= cut:
            return deviate
        counter += 2


@compiled(nogil=True)
def _remove_sphere(z, y, x, radius, size, start, out):
    n_z, n_y, n_x = out.shape
    for i in range(
        max(math.ceil((z - radius) / size[0]) - start[0], 0),
        min(math.floor((z + radius) / size[0]) - start[0] + 1, n_z),
    ):
        square = radius**2 - ((start[0] + i) * size[0] - z) ** 2
        for j in range(
            max(math.ceil((y - radius) / size[1]) - start[1], 0),
            min(math.floor((y + radius) / size[1]) - start[1] + 1, n_y),
        ):
            half_square = square - ((start[1] + j) * size[1] - y) ** 2
            if half_square < 0:
                continue
            half = math.sqrt(half_square)
            begin = max(math.ceil((x - half) / size[2]) - start[2], 0)
            end = min(math.floor((x + half) / size[2]) - start[2] + 1, n_x)
            for k in range(begin, end):
                out[i, j, k] = 0


@compiled(nogil=True)
def add_gradient_noise(y, x, key, amplitude, out):
    """Add Perlin's gradient noise with lattice points at whole numbers.

    Gradients are unit vectors whose angles are a hash of the key and of the lattice point; the
    noise is zero on average, and 0 at lattice points.

    Parameters
    ----------
    y, x
        Places in lattice spacings, float64 (y), (x), ≥ 0.
    key
        Uint64, of the seed and the map.
    amplitude
        Factor of the noise.
    out
        Float64 (y, x), added to.
    """
    slopes = np.empty((2, 2, 2))  # lattice point along y, along x; component along y, x
    for row in range(len(y)):
        i = math.floor(y[row])
        v = y[row] - i
        fade_y = _fade(v)
        before = -1
        for column in range(len(x)):
            k = math.floor(x[column])
            u = x[column] - k
            if k != before:
                for a in range(2):
                    for b in range(2):
                        # Hashed anew for each lattice cell, not kept: any part can be made alone.
                        angle = 2 * math.pi * _uniform(_key_of(key, i + a), k + b)
                        slopes[a, b, 0] = math.sin(angle)
                        slopes[a, b, 1] = math.cos(angle)
                before = k
            fade_x = _fade(u)
            upper = (
                _ramp(slopes[0, 0], v, u) * (1 - fade_x) + _ramp(slopes[0, 1], v, u - 1) * fade_x
            )
            lower = (
                _ramp(slopes[1, 0], v - 1, u) * (1 - fade_x)
                + _ramp(slopes[1, 1], v - 1, u - 1) * fade_x
            )
            out[row, column] += amplitude * (upper * (1 - fade_y) + lower * fade_y)


@compiled(nogil=True, inline="always")
def _fade(t):
    return t * t * t * (t * (t * 6 - 15) + 10)


@compiled(nogil=True, inline="always")
def _ramp(slope, y, x):
    return slope[0] * y + slope[1] * x


@compiled(nogil=True)
def keep_in_copy(source, corner, period, matrix, offset, start, out):
    """Set voxels to 0 where a resized and rotated copy of a phase, mirrored at its faces, is 0.

    Parameters
    ----------
    source
        The part of the phase that is reached, uint8 (z, y, x).
    corner
        Number of its first voxel along z, y, x.
    period
        Shape of the whole phase.
    matrix, offset
        A voxel with its centre at r, in voxels of `out` from its face, is at matrix @ r + offset
        in the copy, in voxels of the phase from the centre of the first.
    start
        Number of the first voxel of `out` along z, y, x.
    out
        Uint8 (z, y, x), overwritten. The copy is solid where the phase, interpolated linearly
        between voxel centres, exceeds one half.
    """
    n_z, n_y, n_x = out.shape
    near = np.empty((3, 2), np.int64)  # axis, lower or upper voxel
    share = np.empty((3, 2))
    for i in range(n_z):
        for j in range(n_y):
            for k in range(n_x):
                if out[i, j, k] == 0:  # another copy has a pore here already
                    continue
                for axis in range(3):
                    place = offset[axis] + matrix[axis, 0] * (start[0] + i + 0.5)
                    place += matrix[axis, 1] * (start[1] + j + 0.5)
                    place += matrix[axis, 2] * (start[2] + k + 0.5)
                    below = math.floor(place)
                    share[axis, 1] = place - below
                    share[axis, 0] = 1 - share[axis, 1]
                    for side in range(2):
                        folded = _mirror(below + side, period[axis])
                        near[axis, side] = folded - corner[axis]
                solid = 0.0
                for a in range(2):
                    for b in range(2):
                        for c in range(2):
                            voxel = source[near[0, a], near[1, b], near[2, c]]
                            solid += share[0, a] * share[1, b] * share[2, c] * voxel
                out[i, j, k] = solid > 0.5


@compiled(nogil=True, inline="always")
def _mirror(number, length):
    folded = number % (2 * length)
    return folded if folded < length else 2 * length - 1 - folded


@compiled(nogil=True)
def keep_above_level(tables_z, tables_y, tables_x, level, out):
    """Set voxels of `out` to 0 where a sum of plane waves does not exceed a level.

    The sum is Σ_i cos(a_i(z) + b_i(y) + c_i(x)), by the angle sums of separate tables.

    Parameters
    ----------
    tables_z, tables_y
        Cosines and sines of the partial phases, float64 (2, z, wave) and (2, y, wave).
    tables_x
        The same, float32 (2, wave, x).
    level
        Float32.
    out
        Uint8 (z, y, x), overwritten.
    """
    n_z, n_y, _ = out.shape
    waves = tables_x.shape[1]
    cosines = np.empty((n_y, waves), np.float32)
    sines = np.empty((n_y, waves), np.float32)
    # cos(a + b + c) by sums of angles: the cosines of z and y are joined once a plane, so that
    # every voxel costs two products a wave and no cosine.
    for z in range(n_z):
        for y in range(n_y):
            for i in range(waves):
                cos_z, sin_z = tables_z[0, z, i], tables_z[1, z, i]
                cos_y, sin_y = tables_y[0, y, i], tables_y[1, y, i]
                cosines[y, i] = cos_z * cos_y - sin_z * sin_y
                sines[y, i] = sin_z * cos_y + cos_z * sin_y
        _keep_plane(cosines, sines, tables_x[0], tables_x[1], level, out[z])


@compiled(nogil=True)
def _keep_plane(cosines, sines, cos_x, sin_x, level, out):
    n_y, n_x = out.shape
    waves = cosines.shape[1]
    sums = np.empty((_ROWS, _TILE), np.float32)
    sum_0, sum_1, sum_2, sum_3 = sums[0], sums[1], sums[2], sums[3]
    for x0 in range(0, n_x, _TILE):
        width = min(_TILE, n_x - x0)
        for y0 in range(0, n_y, _ROWS):
            # The last rows repeat where fewer than four are left; only real ones are written.
            y1, y2, y3 = min(y0 + 1, n_y - 1), min(y0 + 2, n_y - 1), min(y0 + 3, n_y - 1)
            sums[:] = np.float32(0)
            for i in range(waves):
                c0, c1, c2, c3 = cosines[y0, i], cosines[y1, i], cosines[y2, i], cosines[y3, i]
                s0, s1, s2, s3 = sines[y0, i], sines[y1, i], sines[y2, i], sines[y3, i]
                u, v = cos_x[i, x0 : x0 + width], sin_x[i, x0 : x0 + width]
                for x in range(width):
                    sum_0[x] += c0 * u[x] - s0 * v[x]
                    sum_1[x] += c1 * u[x] - s1 * v[x]
                    sum_2[x] += c2 * u[x] - s2 * v[x]
                    sum_3[x] += c3 * u[x] - s3 * v[x]
            for row in range(min(_ROWS, n_y - y0)):
                for x in range(width):
                    out[y0 + row, x0 + x] &= sums[row, x] > level


def ellipsoids(
    square_z: np.ndarray, square_y: np.ndarray, square_x: np.ndarray, square_radius: float
) -> np.ndarray:
    """Return the voxels (z, y, x) inside, uint8: where the squared distances sum to ≤ radius².

    Squared distances to the nearest centre, float64 (z), (y), (x), are scaled to a sphere. Those
    along y and x are added first, so that the result is symmetric in y and x to the last bit.
    """
    in_plane = square_y[:, np.newaxis] + square_x
    out = np.empty((len(square_z), *in_plane.shape), np.uint8)
    for plane, square in zip(out, square_z, strict=True):
        np.less_equal(in_plane, square_radius - square, out=plane.view(bool))
    return out
