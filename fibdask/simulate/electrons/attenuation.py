"""Back-scattered electrons without trajectories: how bright a bulk is, how deep one sees."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...conventions import ConventionError, check_choice

ATOMIC_NUMBERS: Mapping[str, float] = {
    "Au": 79.0,
    "Ag": 47.0,
    "Cu": 29.0,
    "Si": 14.0,
    "Al": 13.0,
    "C": 6.0,
    "PMMA": 6.24,  # C5H8O2, mean by mass
    "epoxy": 6.02,  # C21H24O4, mean by mass
}
_EMBEDDING = ("epoxy", "PMMA")  # alike in density and composition, so also in depth


@dataclass(frozen=True)
class Detector:
    """Which of the back-scattered electrons are seen.

    Attributes
    ----------
    half_contrast_depth
        Depth in nm of gold under epoxy that shows with half its contrast, at 2 kV.
    exponent
        Of the accelerating voltage in the half-contrast depth.
    share
        Share of the back-scattered electrons that is detected.
    largest_loss
        Share of the energy of the beam that a detected electron may have lost.
    """

    half_contrast_depth: float
    exponent: float
    share: float
    largest_loss: float

    def attenuation_length(self, voltage: np.ndarray) -> np.ndarray:
        """Return the depths in nm over which contrast falls to 1/e, of voltages in kV."""
        half = self.half_contrast_depth * (voltage / 2) ** self.exponent
        return np.asarray(half / np.log(2))


DETECTORS: Mapping[str, Detector] = {
    # All angles and energies; fitted to 7, 23 and 88 nm at 1, 2 and 4 kV.
    "tld": Detector(half_contrast_depth=24.2, exponent=1.83, share=1.0, largest_loss=1.0),
    # Only energies above 0.9 of the beam's; fitted to 2.1, 6.0 and 17.7 nm.
    "icd": Detector(half_contrast_depth=6.1, exponent=1.53, share=0.35, largest_loss=0.1),
}
"""Half-contrast depths are those of Monte Carlo simulations of gold under a layer of epoxy, and the
share that of bulk gold, with discrete losses for the window."""


def find_detector(name: str) -> Detector:
    """Return a detector by its name.

    Raises
    ------
    ConventionError
        If there is none of this name.
    """
    check_choice("detector", name, DETECTORS)
    return DETECTORS[name]


def check_materials(materials: Mapping[Any, Any]) -> tuple[str, str]:
    """Return the materials of pore and solid.

    Raises
    ------
    ConventionError
        If a phase has no material, or one that is not known.
    """
    if set(materials) != {"pore", "solid"}:
        named = ", ".join(map(str, materials)) or "none"
        msg = f"materials must name those of pore and solid; got {named}"
        raise ConventionError(msg)
    pore, solid = materials["pore"], materials["solid"]
    check_choice("the solid", solid, ATOMIC_NUMBERS)
    if pore not in _EMBEDDING:
        msg = (
            f"in the analytic model pores must hold one of {', '.join(_EMBEDDING)}, "
            f"which attenuate what lies below; got {pore!r}"
        )
        raise ConventionError(msg)
    return pore, solid


def bulk_backscatter(atomic_number: float, voltage: np.ndarray) -> np.ndarray:
    """Return the share η of a beam at normal incidence that a bulk scatters back.

    Parameters
    ----------
    atomic_number
        Z of the material; the mean by mass of a compound.
    voltage
        Accelerating voltages in kV.

    Notes
    -----
    η = C Eᵐ with m = 0.1382 − 0.9211/√Z, C = 0.1904 − 0.2236 ln Z + 0.1292 ln²Z − 0.01491 ln³Z
    and E in keV. Fitted to elements at 4 to 40 keV; below that the value for light elements, not
    for heavy ones, is too high by up to a half.

    References
    ----------
    .. [1] Hunger, H.-J., Küchler, L. (1979), Measurements of the electron backscattering
       coefficient for quantitative EPMA in the energy range of 4 to 40 keV, physica status
       solidi (a) 56, K45.
    """
    exponent = 0.1382 - 0.9211 / np.sqrt(atomic_number)
    factor = np.polynomial.Polynomial((0.1904, -0.2236, 0.1292, -0.01491))(np.log(atomic_number))
    return np.asarray(factor * voltage**exponent)
