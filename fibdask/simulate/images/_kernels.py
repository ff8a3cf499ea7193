"""Compiled loops of images: what shines through, what lies in layers, and noise.

No `fastmath`: sums keep their order, so a pixel has the same bits whatever block it is made in.
"""

import math

import numpy as np

from ...compiling import compiled
from .._kernels import GOLDEN, POISSON_EXPANSION, mix, poisson_expansion, poisson_inverse

_S11, _S32 = np.uint64(11), np.uint64(32)
_LOW_32 = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)


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
    # From below: the last one that is written is the first below the surface.
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


@compiled(nogil=True)
def add_planes(phase, weights, shares):
    """Add the solid of planes to the layers that they lie in.

    Parameters
    ----------
    phase
        Uint8 (plane, y, x).
    weights
        Share of each layer that lies in each plane, float32 (plane, layer).
    shares
        Of solid in each layer, float32 (layer, y, x), added to.
    """
    planes, n_y, n_x = phase.shape
    for plane in range(planes):
        for layer in range(weights.shape[1]):
            weight = weights[plane, layer]
            if weight > 0:
                for y in range(n_y):
                    for x in range(n_x):
                        shares[layer, y, x] += weight if phase[plane, y, x] != 0 else weight * 0


@compiled(nogil=True)
def find_first_runs(phase, edges, runs):
    """Find where the first solid below each pixel begins and ends.

    Parameters
    ----------
    phase
        Uint8 (plane, y, x).
    edges
        Depths at which planes begin, and the last one ends, in nm, float32 (plane + 1).
    runs
        Depths of both in nm, float32 (end, y, x), written to; where there is no solid, the last
        edge.
    """
    planes, n_y, n_x = phase.shape
    runs[:] = edges[planes]
    for plane in range(planes - 1, -1, -1):
        for y in range(n_y):
            for x in range(n_x):
                if phase[plane, y, x] != 0:
                    if runs[0, y, x] != edges[plane + 1]:  # the plane below is pore
                        runs[1, y, x] = edges[plane + 1]
                    runs[0, y, x] = edges[plane]


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
        # A key of the row, then of the pixel in it: rows are hashed once for all their pixels.
        row_key = mix(key + np.uint64(y0 + y + 1) * GOLDEN)
        for x in range(n_x):
            # Two numbers a pixel: odd ones for both deviates, even ones for the inverse.
            counter = np.uint64(2 * (x0 + x) + 1)
            word = mix(row_key + counter * GOLDEN)
            # Box and Muller: two independent normal deviates of two uniform ones in (0, 1).
            radius = math.sqrt(-2 * math.log(((word >> _S32) + 0.5) * 2.0**-32))
            angle = 2 * math.pi * ((word & _LOW_32) * 2.0**-32)
            value = float(signal[y, x])
            if electrons > 0:
                mean = electrons * value
                if mean < POISSON_EXPANSION:
                    word = mix(row_key + (counter + _ONE) * GOLDEN)
                    count = poisson_inverse(mean, (word >> _S11) * 2.0**-53)
                else:
                    count = poisson_expansion(mean, radius * math.sin(angle))
                value = count / electrons
            signal[y, x] = value + gaussian_std * radius * math.cos(angle)
