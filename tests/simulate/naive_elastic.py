"""Elastic scattering the slow way: the radial Dirac equation by a general integrator."""

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import spherical_jn, spherical_yn

HARTREE_EV = 27.211386
LIGHT = 137.035999


def dirac_phase_shift(element, energy_ev, kappa, r_end):
    """Return a phase shift modulo π in the static field, from P and Q on a logarithmic radius."""
    energy = energy_ev / HARTREE_EV
    wave = np.sqrt(energy * (energy + 2 * LIGHT**2)) / LIGHT
    z = element.number

    def kinetic(r):
        return energy + z / r * sum(a * np.exp(-decay * r) for a, decay in element.screening)

    def slopes(log_r, state):
        r, (p, q) = np.exp(log_r), state
        t = kinetic(r)
        return -kappa * p + r * (t / LIGHT + 2 * LIGHT) * q, -r * t / LIGHT * p + kappa * q

    # Near the nucleus P and Q go as r^γ, in a ratio that the first equation fixes.
    r_start, gamma = 1e-6, np.sqrt(kappa**2 - (z / LIGHT) ** 2)
    start = 1e-20 * np.array([1.0, (gamma + kappa) * LIGHT / z])
    span = np.log([r_start, r_end])
    p, q = solve_ivp(slopes, span, start, method="DOP853", rtol=1e-11, atol=0).y[:, -1]
    order = kappa if kappa > 0 else -kappa - 1
    other = order - np.sign(kappa)  # of the small component
    x, ratio = wave * r_end, wave * LIGHT / (energy + 2 * LIGHT**2)
    # Outside P ∝ cos δ j − sin δ y, Q ∝ sign(κ) ratio (the same of the other order).
    small = q / (np.sign(kappa) * ratio)
    top = p * spherical_jn(other, x) - small * spherical_jn(order, x)
    return np.arctan(top / (p * spherical_yn(other, x) - small * spherical_yn(order, x)))
