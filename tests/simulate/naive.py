"""Slow, obvious versions of the simulator's kernels."""

import numpy as np

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def levelled_field(wave_vectors, phases, positions):
    """f(r) = √(2/N) Σ cos(k_i·r + φ_i) at positions (…, axis)."""
    angles = np.tensordot(positions, wave_vectors, axes=(-1, -1)) + phases
    return np.sqrt(2 / len(phases)) * np.cos(angles).sum(axis=-1)


def two_point_correlation(phase, axis, lag):
    """Share of pairs a number of voxels apart along an axis that are both solid."""
    moved = np.moveaxis(np.asarray(phase), axis, 0)
    return (moved[: len(moved) - lag] & moved[lag:]).mean()


def mean_ligament_diameter(phase, axis, voxel_size):
    """Area under L(k)/L(0): h (½ + Σ_k L(k)/L(0)), L(k) = P(k + 1 successive voxels are solid)."""
    solid = np.moveaxis(np.asarray(phase, bool), axis, 0)
    lineal_path, run = [], solid
    while run.any() and len(run) > 1:
        lineal_path.append(run.mean())
        run = run[:-1] & solid[len(solid) - len(run) + 1 :]
    return voxel_size * (sum(lineal_path) / lineal_path[0] - 0.5)


def attenuated(phase, z, plane, pore, solid, length):
    """Noiseless signal of a face: exponential in the depth of the first solid."""
    signal = np.full(phase.shape[1:], pore)
    for y, x in np.ndindex(signal.shape):
        below = np.flatnonzero(phase[plane:, y, x])
        if len(below):
            depth = z[plane + below[0]] - z[plane]
            signal[y, x] = pore + (solid - pore) * np.exp(-depth / length)
    return signal


def splitmix64(word):
    """Finaliser of the SplitMix64 generator, in whole numbers of any size."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def normal_deviate(key, y, x):
    """Gaussian deviate of a pixel by the method of Box and Muller."""
    row = splitmix64((key + (y + 1) * GOLDEN) & MASK)
    word = splitmix64((row + (2 * x + 1) * GOLDEN) & MASK)
    radius = np.sqrt(-2 * np.log(((word >> 32) + 0.5) / 2**32))
    return radius * np.cos(2 * np.pi * (word & 0xFFFFFFFF) / 2**32)
