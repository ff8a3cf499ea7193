"""Partial waves of an electron in the field of an atom: Dirac phase shifts and amplitudes.

Hartree atomic units throughout: lengths in Bohr radii, energies in hartrees, ħ = mₑ = e = 1.

The large component P of the radial Dirac equation, written u = P/√D with D = (E − V + 2c²)/c,
obeys u″ = [κ(κ+1)/r² + κ D′/(D r) + w(r)] u. On the grid t = a ln r + b r, in whole steps, with
u = √(dr/dt) y, this is y″ = [κ(κ+1) centrifugal + κ spin_orbit + central] y: three arrays that
all partial waves share. Numerov's rule solves it outwards, and once more without the potential:
the difference of the two phases is free of the rule's own error.
"""

import math

import numpy as np

from ....compiling import compiled

SPEED_OF_LIGHT = 137.035999
_WAVELENGTH_POINTS = 42.0  # points of the grid in the shortest wavelength
_FOLD_POINTS = 80.0  # points while r grows by a factor e, near the nucleus
_START_FOLDS = 36.0  # folds of r^l between the start of a wave and where it first oscillates
_SMALL_SHIFT = 1e-7  # of the Born approximation: from there on this is all there is


def wave_number(energy: float) -> float:
    """Return k of a kinetic energy."""
    return math.sqrt(energy * (energy + 2 * SPEED_OF_LIGHT**2)) / SPEED_OF_LIGHT


def relativistic_mass(energy: float) -> float:
    """Return the mass, with that of the electron at rest as one."""
    return 1 + energy / SPEED_OF_LIGHT**2


def yukawa(strengths: np.ndarray, decays: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Return Σ s exp(−α r)/r and its first two derivatives, (3, r)."""
    x = decays[:, None] * r
    parts = strengths[:, None] * np.exp(-x)
    first, second = (1 + x) * parts, (2 + 2 * x + x * x) * parts
    return np.stack([parts.sum(0) / r, -first.sum(0) / r**2, second.sum(0) / r**3])


def exchange_potential(energy: float, potential: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Return the local exchange potential of Furness and McCarthy and two derivatives, (3, r).

    It is ½ (T − √(T² + 4πρ)), with the kinetic energy T = E − V.

    Parameters
    ----------
    energy
        Kinetic energy far away.
    potential
        V and its first two derivatives, (3, r).
    density
        The same of 4πρ, of the electrons.
    """
    t, t1, t2 = energy - potential[0], -potential[1], -potential[2]
    n, n1, n2 = density
    root = np.sqrt(t * t + n)
    root1 = (t * t1 + n1 / 2) / root
    root2 = (t1 * t1 + t * t2 + n2 / 2 - root1**2) / root
    return np.stack([t - root, t1 - root1, t2 - root2]) / 2


def radial_grid(wave: float, r_min: float, r_max: float) -> tuple[np.ndarray, float, float]:
    """Return the radii of whole steps of t = a ln r + b r, and a and b."""
    a, b = _FOLD_POINTS, _WAVELENGTH_POINTS * wave / (2 * math.pi)
    count = math.ceil(a * math.log(r_max / r_min) + b * (r_max - r_min)) + 1
    t = a * math.log(r_min) + b * r_min + np.arange(count)
    r = np.geomspace(r_min, r_max, count)
    r = np.interp(t, a * np.log(r) + b * r, r)
    for _ in range(4):  # Newton's rule; t(r) is concave and the start is close
        r = r + (t - a * np.log(r) - b * r) * r / (a + b * r)
    return r, a, b


def radial_terms(
    energy: float, potential: np.ndarray, r: np.ndarray, a: float, b: float
) -> np.ndarray:
    """Return the arrays (3, r) centrifugal, spin_orbit and central of y″.

    Parameters
    ----------
    energy
        Kinetic energy far away.
    potential
        V and its first two derivatives, (3, r).
    r, a, b
        The grid.
    """
    v, v1, v2 = potential
    kinetic = energy - v
    total = kinetic + 2 * SPEED_OF_LIGHT**2
    slope, curve = -v1 / total, -v2 / total  # D′/D and D″/D
    step = r / (a + b * r)  # dr/dt
    bend = (a * a / 4 + a * b * r) / (a + b * r) ** 4
    central = 0.75 * slope**2 - curve / 2 - kinetic * total / SPEED_OF_LIGHT**2
    return np.stack([(step / r) ** 2, step**2 * slope / r, step**2 * central + bend])


@compiled(nogil=True)
def _outward(first, square, kappa, centrifugal, spin_orbit, central, gap):
    """Return y at two places, `gap` steps apart, at the end of the grid."""
    q = square * centrifugal[first] + kappa * spin_orbit[first] + central[first]
    # In w = (1 − q/12) y; the start is that of a wave that grows as exp(√q t).
    before = 1e-30
    now = before * math.exp(math.sqrt(q))
    n = centrifugal.shape[0]
    kept = 0.0
    for i in range(first + 1, n - 1):
        q = square * centrifugal[i] + kappa * spin_orbit[i] + central[i]
        if i == n - 1 - gap:
            kept = now / (1 - q / 12)
        before, now = now, (2 + 12 * q / (12 - q)) * now - before
    q = square * centrifugal[n - 1] + kappa * spin_orbit[n - 1] + central[n - 1]
    return kept, now / (1 - q / 12)


@compiled(nogil=True)
def riccati_bessel(x, count):
    """Return x j_l(x) and −x y_l(x) of l = 0 … count − 1 ≤ x, where upwards is stable, (2, l)."""
    values = np.empty((2, count))
    regular, regular_next = math.sin(x), math.sin(x) / x - math.cos(x)
    other, other_next = math.cos(x), math.cos(x) / x + math.sin(x)
    for order in range(count):
        values[0, order], values[1, order] = regular, other
        factor = (2 * order + 3) / x
        regular, regular_next = regular_next, factor * regular_next - regular
        other, other_next = other_next, factor * other_next - other
    return values


@compiled(nogil=True)
def _phase(before, end, f_before, g_before, f_end, g_end):
    return math.atan2(end * f_before - before * f_end, before * g_end - end * g_before)


@compiled(nogil=True)
def phase_shifts(wave, r, terms, free_central, count):
    """Return the phase shifts, modulo π, of j = l + ½ and j = l − ½, float64 (2, l).

    Parameters
    ----------
    wave
        Wave number k.
    r
        Radii of the grid; k times the last must exceed `count`.
    terms
        Centrifugal, spin_orbit and central, (3, r).
    free_central
        The central term without a potential, (r,).
    count
        Number of partial waves.
    """
    centrifugal, spin_orbit, central = terms[0], terms[1], terms[2]
    n = r.shape[0]
    gap = int(_WAVELENGTH_POINTS / 4)
    f_before, g_before = riccati_bessel(wave * r[n - 1 - gap], count)
    f_end, g_end = riccati_bessel(wave * r[n - 1], count)
    stretch_before = centrifugal[n - 1 - gap] ** 0.25 * math.sqrt(r[n - 1 - gap])  # √(dr/dt)
    stretch_end = centrifugal[n - 1] ** 0.25 * math.sqrt(r[n - 1])
    shifts = np.zeros((2, count))
    for order in range(count):
        turn = (order + 0.5) / wave * math.exp(-_START_FOLDS / (order + 0.5))
        first = min(np.searchsorted(r, turn), n - gap - 3)
        square = order * (order + 1.0)
        args = f_before[order], g_before[order], f_end[order], g_end[order]
        before, end = _outward(first, square, 0.0, centrifugal, spin_orbit, free_central, gap)
        error = _phase(before * stretch_before, end * stretch_end, *args)
        for spin in range(2 if order else 1):
            kappa = float(order) if spin else -order - 1.0
            before, end = _outward(first, square, kappa, centrifugal, spin_orbit, central, gap)
            shift = _phase(before * stretch_before, end * stretch_end, *args) - error
            shifts[spin, order] = shift - math.pi * round(shift / math.pi)
    return shifts


@compiled(nogil=True)
def born_shifts(wave, strengths, decays, count):
    """Return the first Born phase shifts of U = −Σ s exp(−α r)/r, float64 (l,).

    They are Σ s/(2k) Q_l(1 + α²/2k²), with Legendre functions of the second kind.
    """
    shifts = np.zeros(count)
    ratios = np.empty(count)
    for i in range(strengths.shape[0]):
        x = 1 + decays[i] ** 2 / (2 * wave**2)
        fold = math.log(x + math.sqrt(x * x - 1))
        ratio = math.exp(-fold)
        for order in range(count + int(20 / fold), 0, -1):
            ratio = order / ((2 * order + 1) * x - (order + 1) * ratio)
            if order < count:
                ratios[order] = ratio
        legendre = 0.5 * math.log((x + 1) / (x - 1))
        for order in range(count):
            if order:
                legendre *= ratios[order]
            shifts[order] += strengths[i] / (2 * wave) * legendre
    return shifts


def count_waves(born: np.ndarray) -> int:
    """Return how many partial waves differ from their Born approximation."""
    small = np.abs(born) < _SMALL_SHIFT
    return int(small.argmax()) if small.any() else len(born)


@compiled(nogil=True)
def amplitudes(wave, shifts, born, strengths, decays, cosines):
    """Return the direct and the spin-flip amplitude, complex128 (2, angle), in Bohr radii.

    The partial waves add what goes beyond the Born approximation, which is summed exactly.

    Parameters
    ----------
    wave
        Wave number k.
    shifts
        Phase shifts of j = l + ½ and l − ½, (2, l).
    born
        Their Born approximation, (l,).
    strengths, decays
        The potential U = −Σ s exp(−α r)/r of the Born approximation.
    cosines
        Of the scattering angles.
    """
    count = born.shape[0]
    direct = np.empty(count, np.complex128)
    flip = np.empty(count, np.complex128)
    for order in range(count):
        up = math.sin(shifts[0, order]) * np.exp(1j * shifts[0, order])
        down = math.sin(shifts[1, order]) * np.exp(1j * shifts[1, order])
        direct[order] = ((order + 1) * up + order * down - (2 * order + 1) * born[order]) / wave
        flip[order] = (down - up) / wave
    out = np.zeros((2, cosines.shape[0]), np.complex128)
    for i in range(cosines.shape[0]):
        x = cosines[i]
        legendre, legendre_next = 1.0, x
        associated, associated_next = 0.0, math.sqrt(max(0.0, 1 - x * x))
        f, g = 0j, 0j
        for order in range(count):
            f += direct[order] * legendre
            g += flip[order] * associated
            twice = (2 * order + 3) * x
            following = (twice * legendre_next - (order + 1) * legendre) / (order + 2)
            legendre, legendre_next = legendre_next, following
            following = (twice * associated_next - (order + 2) * associated) / (order + 1)
            associated, associated_next = associated_next, following
        for j in range(strengths.shape[0]):
            f += strengths[j] / (2 * wave**2 * (1 - x) + decays[j] ** 2)
        out[0, i], out[1, i] = f, g
    return out
