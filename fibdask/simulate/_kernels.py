"""Random numbers of all kernels of the simulator: hashes of keys, and Poisson counts.

No generator with a state: a number is a hash of what it is for, so that any part of a volume
alone has the numbers of the whole.
"""

import math

import numpy as np

from ..compiling import compiled

POISSON_EXPANSION = 10.0
"""Mean count from which `poisson_expansion` replaces the loop of `poisson_inverse`."""
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: multiples of it, hashed, are the numbers of a stream (SplitMix64)."""

_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = (np.uint64(shift) for shift in (27, 30, 31))


@compiled(nogil=True, inline="always")
def mix(word):
    """Return a word (uint64) hashed: the finaliser of SplitMix64."""
    word = (word ^ (word >> _S30)) * _MIX_1
    word = (word ^ (word >> _S27)) * _MIX_2
    return word ^ (word >> _S31)


@compiled(nogil=True)
def poisson_inverse(mean, uniform):
    """Return the Poisson count whose cumulative probability first exceeds a number in [0, 1)."""
    if mean <= 0:  # a signal of zero, or rounded below it, counts nothing
        return 0.0
    count = 0.0
    term = math.exp(-mean)
    total = term
    # Terms that vanish end the sum: rounded, it may stay below a number that is nearly 1.
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
    std = math.sqrt(mean - 1 / 12)  # rounding puts it back
    square = normal * normal
    skewed = std * normal + (square - 1) / 6 + normal * (1 - square) / (72 * std)
    return max(math.floor(mean + skewed + 0.5), 0.0)
