"""Mott cross-sections: elastic scattering of an electron by an atom, from partial waves."""

import math
from dataclasses import dataclass

import numpy as np

from ...conventions import ConventionError
from ._kernels import elastic as kernels
from .elements import Element

HARTREE_EV = 27.211386
BOHR_NM = 0.0529177211
_NEGLIGIBLE = 1e-8  # of the charge that is left where the potential ends


@dataclass(frozen=True, eq=False)
class PartialWaves:
    """An electron of one energy scattered by an atom.

    Attributes
    ----------
    wave_number
        k, per Bohr radius.
    shifts
        Phase shifts of total angular momentum l + ½ and l − ½ in radians, (2, l).
    born
        Their first Born approximation, (l,).
    strengths, decays
        The potential −Σ s exp(−α r)/r of the Born approximation, in Hartree atomic units.
    """

    wave_number: float
    shifts: np.ndarray
    born: np.ndarray
    strengths: np.ndarray
    decays: np.ndarray

    def amplitudes(self, cosines: np.ndarray) -> np.ndarray:
        """Return the direct and spin-flip amplitudes (2, angle) in nm.

        Notes
        -----
        f = Σ [(l+1) sin δ₊ exp(iδ₊) + l sin δ₋ exp(iδ₋)] P_l(cos θ)/k and
        g = Σ [sin δ₋ exp(iδ₋) − sin δ₊ exp(iδ₊)] P_l¹(cos θ)/k.
        Of f, Born's approximation is summed in closed form and the rest by partial waves [1]_.

        References
        ----------
        .. [1] Salvat, F., Jablonski, A., Powell, C. J. (2005), ELSEPA – Dirac partial-wave
           calculation of elastic scattering of electrons and positrons by atoms, positive ions
           and molecules, Computer Physics Communications 165, 157–190.
        """
        potential = self.strengths, self.decays
        found = kernels.amplitudes(self.wave_number, self.shifts, self.born, *potential, cosines)
        return np.asarray(BOHR_NM * found)

    def differential_cross_section(self, cosines: np.ndarray) -> np.ndarray:
        """Return dσ/dΩ = |f|² + |g|² of an unpolarised beam in nm²/sr, (angle,)."""
        return np.asarray((np.abs(self.amplitudes(cosines)) ** 2).sum(axis=0))


def partial_waves(element: Element, energy_ev: float, *, exchange: bool = True) -> PartialWaves:
    """Return the partial waves of an electron in the static field of an atom.

    Parameters
    ----------
    element
        The atom, free and neutral.
    energy_ev
        Kinetic energy in eV.
    exchange
        Whether the electron exchanges with those of the atom, by a local potential [2]_.

    Raises
    ------
    ConventionError
        If the element has no screening function.

    Notes
    -----
    The radial Dirac equation is solved in the analytic potential of [1]_. Absorption and
    polarisation are neglected: below a few hundred eV, and in a solid, results are rough.

    References
    ----------
    .. [1] Salvat, F., Martínez, J. D., Mayol, R., Parellada, J. (1987), Analytical
       Dirac–Hartree–Fock–Slater screening function for atoms (Z = 1–92), Physical Review A 36,
       467–474.
    .. [2] Furness, J. B., McCarthy, I. E. (1973), Semiphenomenological optical model for electron
       scattering on atoms, Journal of Physics B 6, 2280–2291.
    """
    if not element.screening:
        msg = f"no screening function is known of {element.symbol}: use the model browning"
        raise ConventionError(msg)
    energy = energy_ev / HARTREE_EV
    wave = kernels.wave_number(energy)
    weights, decays = np.array(element.screening).T
    charges = element.number * weights
    strengths = 2 * kernels.relativistic_mass(energy) * charges
    if exchange:  # far out, where the exchange potential is −4πρ/4E
        strengths = strengths * (1 + decays**2 / (4 * energy))
    r_max = math.log(element.number / _NEGLIGIBLE) / decays.min()
    r, a, b = kernels.radial_grid(wave, 1e-6 / element.number, r_max)
    potential = -kernels.yukawa(charges, decays, r)
    if exchange:
        density = kernels.yukawa(charges * decays**2, decays, r)
        potential += kernels.exchange_potential(energy, potential, density)
    terms = kernels.radial_terms(energy, potential, r, a, b)
    free = kernels.radial_terms(energy, np.zeros_like(potential), r, a, b)[2]
    born = kernels.born_shifts(wave, strengths, decays, int(0.95 * wave * r_max))
    born = born[: kernels.count_waves(born)]
    shifts = kernels.phase_shifts(wave, r, terms, free, len(born))
    return PartialWaves(wave, shifts, born, strengths, decays)
