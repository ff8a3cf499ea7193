"""Tables of elastic scattering by atoms: how often, and by which angles.

`python -m fibdask.simulate.electrons.elastic FILE` computes the Mott tables that come with the
package.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.interpolate import PchipInterpolator

from ...conventions import ConventionError, check_choice
from .elements import Element
from .materials import Material, find_element
from .mott import partial_waves

Model = Literal["mott", "browning"]
MODELS: tuple[Model, ...] = ("mott", "browning")
ENERGIES_EV = 50.0 * 2.0 ** (np.arange(61) / 6)
"""Energies of all tables: six to the octave, from 50 eV to 51.2 keV."""
BINS = 512
SHIPPED = ("H", "C", "N", "O", "Al", "Si", "Ti", "Cu", "Ag", "Pt", "Au")
"""Elements whose Mott tables come with the package; others take half a second, once per process."""
_INSIDE = 8  # angles averaged in a bin
_PANELS = 500
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(4)


@dataclass(frozen=True, eq=False)
class ElasticTable:
    """Elastic scattering of electrons by one atom.

    Attributes
    ----------
    energies_ev
        Kinetic energies in eV, uniform in their logarithm, (energy,).
    total_nm2, transport_nm2
        Cross-sections ∫dσ and ∫(1 − cos θ) dσ in nm², (energy,).
    cosines
        Cosines of the scattering angle, float32 (energy, bin), ascending: the mean in each of
        equal bins of v = √(1 − u), where u is the probability of a smaller angle. The first bin
        is that of the largest angles. With a uniform random u an electron is deflected by
        `cosines[energy, int(v * bins)]`; steps in v resolve the rare large angles, and means
        keep the transport cross-section.
    """

    energies_ev: np.ndarray
    total_nm2: np.ndarray
    transport_nm2: np.ndarray
    cosines: np.ndarray

    def __post_init__(self) -> None:
        for array in (self.energies_ev, self.total_nm2, self.transport_nm2, self.cosines):
            array.flags.writeable = False

    def cross_sections(self, energies_ev: np.ndarray) -> np.ndarray:
        """Return the total and transport cross-sections in nm², (2, energy).

        Both are interpolated, in logarithms.

        Raises
        ------
        ConventionError
            If an energy is outside the table.
        """
        energies = np.asarray(energies_ev, np.float64)
        low, high = self.energies_ev[[0, -1]]
        outside = ~((energies >= low) & (energies <= high))
        if outside.any():
            msg = f"energies must be in {low:g} … {high:g} eV; got {energies[outside][0]:g} eV"
            raise ConventionError(msg)
        nodes, tables = np.log(self.energies_ev), (self.total_nm2, self.transport_nm2)
        return np.exp([np.interp(np.log(energies), nodes, np.log(table)) for table in tables])


@cache
def elastic_table(symbol: str, *, model: Model = "mott", incoherent: bool = True) -> ElasticTable:
    """Return the elastic scattering of an element.

    Parameters
    ----------
    symbol
        Of the element.
    model
        `mott`: partial waves of the Dirac equation, see `partial_waves`. `browning`: the
        empirical cross-section and angles of [1]_.
    incoherent
        Whether Mott cross-sections are multiplied by `incoherent_factor`. Those of Browning
        are always as published.

    Raises
    ------
    ConventionError
        If the element or the model is unknown.

    References
    ----------
    .. [1] Browning, R., Li, T. Z., Chui, B., Ye, J., Pease, R. F. W., Czyżewski, Z., Joy, D. C.
       (1994), Empirical forms for the electron/atom elastic scattering cross sections from
       0.1 to 30 keV, Journal of Applied Physics 76, 2016–2022.
    """
    element = find_element(symbol)
    check_choice("model", model, MODELS)
    if model == "browning":
        return _browning_table(element)
    table = _shipped_table(symbol) if symbol in SHIPPED else compute_elastic_table(symbol)
    factor = incoherent_factor(symbol) if incoherent else 1.0
    return replace(
        table, total_nm2=factor * table.total_nm2, transport_nm2=factor * table.transport_nm2
    )


def incoherent_factor(symbol: str) -> float:
    """Return 1 + 1/Z, by which the electrons of an atom add to the deflections by its field.

    Notes
    -----
    Beyond small angles each of the Z electrons scatters like a unit charge, which adds Z to the
    Z² of the nucleus. This matters for light elements: 17 % in carbon, 1.3 % in gold. It is
    applied to all, so that no step divides light from heavy ones.
    """
    return 1 + 1 / find_element(symbol).number


def mean_free_paths(
    material: Material,
    energies_ev: np.ndarray,
    *,
    model: Model = "mott",
    incoherent: bool = True,
) -> np.ndarray:
    """Return the elastic and transport mean free paths of a material in nm, (2, energy).

    Raises
    ------
    ConventionError
        If an energy is outside the tables.
    """
    per_length = np.zeros((2, np.size(energies_ev)))
    for symbol, density in material.atom_densities.items():
        table = elastic_table(symbol, model=model, incoherent=incoherent)
        per_length += density * table.cross_sections(np.atleast_1d(energies_ev))
    with np.errstate(divide="ignore"):  # nothing scatters in a vacuum
        return np.asarray(1 / per_length)


def compute_elastic_table(symbol: str, energies_ev: np.ndarray = ENERGIES_EV) -> ElasticTable:
    """Return the Mott table of an element, computed anew and without the incoherent factor."""
    element = find_element(symbol)
    return _unpack(np.array(energies_ev), *_packed(element, energies_ev))


def _packed(element: Element, energies_ev: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what is stored: cross-sections float32 (2, energy), sines float16 (energy, bin)."""
    found = [_scattering(element, float(energy)) for energy in energies_ev]
    total, transport, sines = zip(*found, strict=True)
    return np.array([total, transport], np.float32), np.array(sines, np.float16)


def _unpack(energies: np.ndarray, sections: np.ndarray, sines: np.ndarray) -> ElasticTable:
    """Return a table from the sines of half the angles, whose relative precision is even."""
    cosines = 1 - 2 * sines.astype(np.float64) ** 2
    total, transport = sections.astype(np.float64)
    return ElasticTable(energies, total, transport, cosines.astype(np.float32))


def _scattering(element: Element, energy_ev: float) -> tuple[float, float, np.ndarray]:
    """Return both cross-sections in nm² and the sines of half the angles of the bins."""
    waves = partial_waves(element, energy_ev)
    # Uniform in ln(1 + x/scale) of x = 1 − cos θ, where scale is less than the forward peak.
    scale = 0.15 * (waves.decays.min() / waves.wave_number) ** 2
    edges = np.linspace(0, np.log1p(2 / scale), _PANELS + 1)
    half = edges[1] / 2
    nodes = edges[:-1, None] + half * (1 + _NODES)
    x = scale * np.expm1(nodes)
    measure = 2 * np.pi * half * _NODE_WEIGHTS * (x + scale)
    sections = measure * waves.differential_cross_section(1 - x.ravel()).reshape(x.shape)
    # Summed from the back, so that the rare large angles are not lost in rounding.
    beyond = np.append(np.cumsum(sections.sum(axis=1)[::-1])[::-1], 0.0)
    edge_at = PchipInterpolator(np.sqrt(beyond / beyond[0])[::-1], edges[::-1])
    deflections = np.minimum(scale * np.expm1(edge_at(_fine_bins())), 2.0)
    return beyond[0], float((x * sections).sum()), np.sqrt(_bin_means(deflections) / 2)


def _fine_bins() -> np.ndarray:
    count = BINS * _INSIDE
    return (np.arange(count) + 0.5) / count


def _bin_means(deflections: np.ndarray) -> np.ndarray:
    """Return means in the bins of values at v = `_fine_bins`, of equal steps in u = 1 − v²."""
    fine = _fine_bins().reshape(BINS, _INSIDE)
    values = deflections.reshape(*deflections.shape[:-1], BINS, _INSIDE)
    return np.asarray((values * fine).sum(axis=-1) / fine.sum(axis=-1))


def _browning_table(element: Element) -> ElasticTable:
    """Return the table of Browning's total cross-section and mixture of angles.

    Angles are those of screened Rutherford scattering or isotropic. With s = (1 − cos θ)/2 the
    probability of a smaller angle is p s(1 + α)/(s + α) + (1 − p) s, a quadratic equation for s.
    """
    z, energies = element.number, ENERGIES_EV / 1000
    total = (
        3e-4
        * z**1.7
        / (  # nm²
            energies + 0.005 * z**1.7 * np.sqrt(energies) + 0.0007 * z**2 / np.sqrt(energies)
        )
    )
    odds = 300 * energies ** (1 - z / 2000) / z + z**3 / (3e5 * energies)
    p, screening = odds / (1 + odds), 0.007 / energies
    rutherford = (1 + screening) * (np.log1p(1 / screening) - 1 / (1 + screening))
    mean = p * screening * rutherford + (1 - p) / 2
    u, p, screening = 1 - _fine_bins() ** 2, p[:, None], screening[:, None]
    linear = p * (1 + screening) + (1 - p) * screening - u
    root = np.sqrt(linear**2 + 4 * (1 - p) * u * screening)
    s = 2 * u * screening / (linear + root)
    cosines = (1 - 2 * _bin_means(s)).astype(np.float32)
    return ElasticTable(ENERGIES_EV.copy(), total, 2 * mean * total, cosines)


def _shipped_table(symbol: str) -> ElasticTable:
    with (files(__package__) / "data" / "mott.npz").open("rb") as file, np.load(file) as arrays:
        return _unpack(ENERGIES_EV.copy(), arrays[f"{symbol}_sections"], arrays[f"{symbol}_sines"])


def write_tables(path: Path, symbols: Iterable[str] = SHIPPED) -> None:
    """Compute the Mott tables of elements and write them as an NPZ file."""
    arrays: dict[str, Any] = {}
    for symbol in symbols:
        sections, sines = _packed(find_element(symbol), ENERGIES_EV)
        arrays |= {f"{symbol}_sections": sections, f"{symbol}_sines": sines}
    np.savez_compressed(path, **arrays)


if __name__ == "__main__":
    write_tables(Path(sys.argv[1]))
