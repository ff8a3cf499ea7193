"""Compiled loops of generated structures: spheres, gradient noise, mirrored copies.

No `fastmath`, and each voxel from its own number: it has the same bits whatever block it is in.
"""

import math

import numpy as np

from ...compiling import compiled
from .._kernels import _GOLDEN, _S11, _mix, poisson_inverse


@compiled(nogil=True, inline="always")
def _uniform(key, counter):
    """Return number `counter` of the stream of a key, in (0, 1)."""
    return ((_mix(key + np.uint64(counter + 1) * _GOLDEN) >> _S11) + 0.5) * 2.0**-53


@compiled(nogil=True, inline="always")
def _key_of(key, number):
    return _mix(key + np.uint64(number + 1) * _GOLDEN)


@compiled(nogil=True)
def remove_spheres(first, stop, side, key, count, radius, std, cut, size, start, out):
    """Set the voxels of spheres with random centres to 0.

    Space is cut into cubic cells. Each holds a Poisson number of centres, even in the cell; they
    and the radii are a hash of the key and the number of the cell.

    Parameters
    ----------
    first, stop
        Numbers of the first cell and of that after the last along z, y, x, ≥ 0. Cell 0 begins
        the largest radius before voxel 0, so that no cell that matters has a negative number.
    side
        Of a cell in nm.
    key
        Uint64, of the seed.
    count
        Mean number of centres in a cell.
    radius, std, cut
        Mean and standard deviation of normal radii in nm, cut at `cut` standard deviations.
    size
        Of a voxel along z, y, x in nm.
    start
        Number of the first voxel of `out` along z, y, x.
    out
        Uint8 (z, y, x), overwritten.
    """
    reach = radius + cut * std
    for i in range(first[0], stop[0]):
        for j in range(first[1], stop[1]):
            for k in range(first[2], stop[2]):
                cell = _key_of(_key_of(_key_of(key, i), j), k)
                spheres = int(poisson_inverse(count, _uniform(cell, 0)))
                for sphere in range(spheres):
                    stream = _key_of(cell, sphere + 1)
                    z = (i + _uniform(stream, 0)) * side - reach
                    y = (j + _uniform(stream, 1)) * side - reach
                    x = (k + _uniform(stream, 2)) * side - reach
                    r = radius + std * _cut_normal(stream, cut)
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
                if out[i, j, k] == 0:
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
