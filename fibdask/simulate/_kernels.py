"""Compiled loops of the simulator: arrays and numbers in, arrays out.

No `fastmath`: sums keep their order, so a voxel has the same bits whatever block it is made in.
"""

import math

import numpy as np

from ..compiling import compiled

_TILE = 256  # voxels along x summed together: their tables stay in the second-level cache
_ROWS = 4  # rows summed together: each table value that is read serves all of them
_POISSON_EXPANSION = 10.0  # mean count from which the expansion replaces inversion

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32, _S11 = (np.uint64(shift) for shift in (27, 30, 31, 32, 11))
_LOW_32 = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)


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


@compiled(nogil=True)
def update_first_solid(phase, start, first_solid):
    """Lower the index of the first solid plane below the surface by planes stacked on top.

    Parameters
    ----------
    phase
        Planes start, start + 1, … of the structure, uint8 (plane, y, x).
    start
        Index of the first of them.
    first_solid
        Index of the first solid plane, int32 (y, x), overwritten.
    """
    planes, n_y, n_x = phase.shape
    for plane in range(planes - 1, -1, -1):
        for y in range(n_y):
            for x in range(n_x):
                solid = phase[plane, y, x] != 0
                first_solid[y, x] = start + plane if solid else first_solid[y, x]


@compiled(nogil=True)
def look_up_depth(first_solid, surface, signals, out):
    """Fill the noiseless image of one face.

    Parameters
    ----------
    first_solid
        Index of the first solid plane, int32 (y, x).
    surface
        Index of the imaged plane.
    signals
        Signal of a solid 0, 1, … planes below the surface, float32; the last value stands for
        all that is deeper.
    out
        Signal, float32 (y, x), overwritten.
    """
    n_y, n_x = out.shape
    last = len(signals) - 1
    for y in range(n_y):
        for x in range(n_x):
            out[y, x] = signals[min(first_solid[y, x] - surface, last)]


@compiled(nogil=True, inline="always")
def _mix(word):
    word = (word ^ (word >> _S30)) * _MIX_1
    word = (word ^ (word >> _S27)) * _MIX_2
    return word ^ (word >> _S31)


@compiled(nogil=True)
def add_image_noise(signal, key, y0, x0, electrons, gaussian_std):
    """Add Poisson, then Gaussian noise to an image in place.

    The random numbers of a pixel are a hash of the key and of its own y and x: any part of an
    image alone gets the same noise as in the whole.

    Parameters
    ----------
    signal
        Image on a 0-1 scale, float32 (y, x), overwritten.
    key
        Uint64, of the seed and the image.
    y0, x0
        Place of the first pixel in the image.
    electrons
        Expected count at signal 1; 0 for no Poisson noise.
    gaussian_std
        Standard deviation of the Gaussian noise on the 0-1 scale.
    """
    n_y, n_x = signal.shape
    for y in range(n_y):
        row_key = _mix(key + np.uint64(y0 + y + 1) * _GOLDEN)
        for x in range(n_x):
            counter = np.uint64(2 * (x0 + x) + 1)
            word = _mix(row_key + counter * _GOLDEN)
            # Box and Muller: two independent normal deviates of two uniform ones in (0, 1).
            radius = math.sqrt(-2 * math.log(((word >> _S32) + 0.5) * 2.0**-32))
            angle = 2 * math.pi * ((word & _LOW_32) * 2.0**-32)
            value = float(signal[y, x])
            if electrons > 0:
                mean = electrons * value
                if mean < _POISSON_EXPANSION:
                    word = _mix(row_key + (counter + _ONE) * _GOLDEN)
                    count = poisson_inverse(mean, (word >> _S11) * 2.0**-53)
                else:
                    count = poisson_expansion(mean, radius * math.sin(angle))
                value = count / electrons
            signal[y, x] = value + gaussian_std * radius * math.cos(angle)


@compiled(nogil=True)
def poisson_inverse(mean, uniform):
    """Return the Poisson count whose cumulative probability first exceeds a number in [0, 1)."""
    if mean <= 0:
        return 0.0
    count = 0.0
    term = math.exp(-mean)
    total = term
    while uniform >= total and term > 0:
        count += 1
        term *= mean / count
        total += term
    return count


@compiled(nogil=True)
def poisson_expansion(mean, normal):
    """Return the Poisson count of a normal deviate, by the expansion of Cornish and Fisher.

    Rounding to whole counts adds a variance of 1/12, which is taken off before. Cumulative
    probabilities are right to 3e-4 from a mean of 10.
    """
    std = math.sqrt(mean - 1 / 12)
    square = normal * normal
    skewed = std * normal + (square - 1) / 6 + normal * (1 - square) / (72 * std)
    return max(math.floor(mean + skewed + 0.5), 0.0)
