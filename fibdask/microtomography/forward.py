"""What films look like at each energy of the beam: three models of the same signals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from ..conventions import ConventionError, OptionTable, check_belongs, check_choice
from ..simulate.electrons.materials import find_material
from ..simulate.electrons.transport import stopping_power
from .films import FilmTable, read_films, shipped_films
from .grids import named_layers

ForwardName = Literal["report2022", "analytic", "monte_carlo"]
FORWARDS: tuple[ForwardName, ...] = ("report2022", "analytic", "monte_carlo")
ALUMINIUM_ON_GOLD: tuple[tuple[str, float], ...] = (("Al", 150.0), ("Au", 15.0))
"""Material and largest thickness in nm of the source's layers, from the surface down."""
_OPTIONS: OptionTable = {"table": (None, ("monte_carlo",))}

_REACH, _REACH_POWER = 74.0, 1.55  # in µg/cm² and keV, of mass thicknesses of the same unit
_DENSITY_POWER = 0.91
_ENERGY_STEPS = 400
_PIECE = 2**12  # pixels


@dataclass(frozen=True)
class _Bulk:
    """What the source's formulas take of a material: its number, density and own signal."""

    number: int
    density: float
    signal: float


_BULKS: Mapping[str, _Bulk] = {
    "Al": _Bulk(13, 2.7, 0.47),
    "Au": _Bulk(79, 19.3, 0.90),
    "Si": _Bulk(14, 2.65, 0.49),
}


class Forward(Protocol):
    """Signals of films, as block functions are given it: a frozen dataclass."""

    @property
    def layers(self) -> tuple[tuple[str, float], ...]:
        """Material and largest thickness in nm of each layer, from the surface down."""

    @property
    def substrate(self) -> str:
        """Material below them."""

    def covariance(self, energies: np.ndarray) -> np.ndarray:
        """Return that of errors of the model in logarithms of its signals (energy, energy)."""

    def signals(self, thickness: np.ndarray, energies: np.ndarray) -> np.ndarray:
        """Return signals (energy, film) of films of a thickness (layer, film) in nm.

        Energies (energy) are in keV.
        """

    def check(self, energies: np.ndarray) -> None:
        """Refuse energies in keV that the model does not hold for.

        Raises
        ------
        ConventionError
            Naming the energy and the rule.
        """


def find_forward(
    forward: ForwardName,
    layers: Sequence[tuple[str, float]],
    substrate: str,
    table: str | Path | None = None,
) -> Forward:
    """Return a forward model by its name, for some layers.

    Raises
    ------
    ConventionError
        If there is no such model, or it knows nothing of these layers.
    """
    check_choice("forward", forward, FORWARDS)
    if not layers:
        msg = "layers must be at least one (material, largest thickness in nm); got none"
        raise ConventionError(msg)
    films = tuple((_name(name), most) for name, most in named_layers(layers))
    find_material(substrate)
    check_belongs(forward, {"table": table}, _OPTIONS, of="forward")
    if forward == "report2022":
        return Report2022(films, substrate)
    if forward == "analytic":
        return Analytic(films, substrate)
    found = shipped_films() if table is None else read_films(Path(table))
    return MonteCarlo(films, substrate, found)


def _name(material: str) -> str:
    return find_material(material).name


def _fraction(number: int, mass: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return the share ξ of electrons that turn back in a layer: all where it is too thick."""
    with np.errstate(divide="ignore", invalid="ignore"):
        psi = np.where(mass < reach, mass / (reach - mass), np.inf)
    return np.asarray(1 - np.exp(-psi / (0.49 * np.exp(-0.022 * (number + 2)))))


def _reach(energies: np.ndarray) -> np.ndarray:
    return np.asarray(_REACH * energies**_REACH_POWER)


def _check_known(name: str, layers: Sequence[tuple[str, float]], substrate: str) -> None:
    """Refuse materials whose signals the source does not tell."""
    for material in (*(name for name, _ in layers), substrate):
        if material not in _BULKS:
            msg = (
                f"forward={name!r} knows {', '.join(_BULKS)}; got {material!r}: take "
                "forward='monte_carlo' with a table of simulate_films"
            )
            raise ConventionError(msg)


@dataclass(frozen=True)
class Report2022:
    """The source's model of aluminium on gold on silicon as it was computed, faults included.

    With d in nm, ρ in g/cm³ and E in keV: m = d ρ^0.91, R = 74 E^1.55, ψ = m/(R − m),
    A(Z) = 1/(0.49 exp(−0.022 (Z + 2))), ξ = 1 − exp(−A ψ); aluminium first at E, then gold at
    E₂ = E exp(−ψ_Al^0.45); φ = ξ_Au (1 − ξ_Al), and the signal is 0.49 (1 − φ) + 0.90 φ.

    Faults: where there is no gold, aluminium takes its place and is as bright (φ = ξ_Al), so that
    its own 0.47 is never used; over gold it is as bright as silicon; E₂ is far too low.
    """

    layers: tuple[tuple[str, float], ...]
    substrate: str

    def __post_init__(self) -> None:
        names = tuple(name for name, _ in self.layers)
        if names != ("Al", "Au") or self.substrate != "Si":
            msg = (
                "forward='report2022' knows aluminium on gold on silicon only, layers Al, Au and "
                f"substrate Si; got {', '.join(names)} on {self.substrate}"
            )
            raise ConventionError(msg)

    def check(self, energies: np.ndarray) -> None:
        """Refuse energies at which the layers are thicker than electrons reach."""
        (_, thickest), (_, gold) = self.layers
        low = np.array([energies.min()])
        mass = thickest * _BULKS["Al"].density ** _DENSITY_POWER
        inside = mass < _reach(low)[0]
        if inside:
            left = self._slowed(mass, low)
            inside = gold * _BULKS["Au"].density ** _DENSITY_POWER < _reach(left)[0]
        if not inside:
            msg = (
                "forward='report2022' holds where electrons pass the layers; at "
                f"{low[0]:g} keV they do not pass {thickest:g} nm Al and {gold:g} nm Au: "
                "raise the energy or lower the largest thickness"
            )
            raise ConventionError(msg)

    def _slowed(self, mass: np.ndarray | float, energies: np.ndarray) -> np.ndarray:
        psi = mass / (_reach(energies) - mass)
        return np.asarray(energies * np.exp(-(psi**0.45)))

    def covariance(self, energies: np.ndarray) -> np.ndarray:
        """Return that of formulas: none."""
        return np.zeros((len(energies),) * 2)

    def signals(self, thickness: np.ndarray, energies: np.ndarray) -> np.ndarray:
        """Return signals (energy, film)."""
        energies = energies[:, np.newaxis]
        aluminium, gold = (_BULKS[name] for name in ("Al", "Au"))
        masses = [
            d * bulk.density**_DENSITY_POWER
            for d, bulk in zip(thickness, (aluminium, gold), strict=True)
        ]
        upper = _fraction(aluminium.number, masses[0], _reach(energies))
        below = self._slowed(masses[0], energies)
        lower = _fraction(gold.number, masses[1], _reach(below))
        share = np.where(thickness[1] > 0, lower * (1 - upper), upper)
        return np.asarray(0.49 * (1 - share) + 0.90 * share)


@dataclass(frozen=True)
class Analytic:
    """The source's model mended, for layers of aluminium and gold in any order on any of them.

    Each layer turns back the share ξ_i, as of `Report2022`, of the electrons that reach it, at
    the energy E_i that Bethe's formula leaves of them straight through the layers above; they are
    as bright as a bulk of it, B: the signal is Σ_i B_i ξ_i Π_(j<i) (1 − ξ_j), the substrate last
    with ξ = 1. B is 0.47 of aluminium, 0.49 of silicon and 0.90 of gold.
    """

    layers: tuple[tuple[str, float], ...]
    substrate: str

    def __post_init__(self) -> None:
        _check_known("analytic", self.layers, self.substrate)

    def check(self, energies: np.ndarray) -> None:
        """Refuse energies of which Bethe's formula tells nothing."""
        if not 0.5 <= energies.min() <= energies.max() <= 50:
            wrong = next(e for e in energies if not 0.5 <= e <= 50)
            msg = f"forward='analytic' holds from 0.5 to 50 keV; got {wrong:g} keV"
            raise ConventionError(msg)

    def covariance(self, energies: np.ndarray) -> np.ndarray:
        """Return that of formulas: none."""
        return np.zeros((len(energies),) * 2)

    def signals(self, thickness: np.ndarray, energies: np.ndarray) -> np.ndarray:
        """Return signals (energy, film)."""
        left = np.repeat(energies[:, np.newaxis], thickness.shape[1], axis=1)
        passing = np.ones_like(left)
        signals = np.zeros_like(left)
        for (name, _), depth in zip(self.layers, thickness, strict=True):
            bulk = _BULKS[name]
            turned = _fraction(bulk.number, depth * bulk.density**_DENSITY_POWER, _reach(left))
            signals += bulk.signal * turned * passing
            passing *= 1 - turned
            left = slowed(name, left, depth)
        return signals + _BULKS[self.substrate].signal * passing


@lru_cache(maxsize=16)
def _ranges(material: str) -> tuple[np.ndarray, np.ndarray]:
    """Return energies in keV and how far electrons go from them, in nm, down to 50 eV."""
    energies = np.geomspace(50, 60e3, _ENERGY_STEPS)
    inverse = 1 / stopping_power(find_material(material), energies)
    steps = np.diff(energies) * (inverse[1:] + inverse[:-1]) / 2
    return energies / 1e3, np.append(0, np.cumsum(steps))


def slowed(material: str, energies: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return the energies in keV that are left after a way through a material in nm."""
    grid, ranges = _ranges(material)
    return np.asarray(np.interp(np.interp(energies, grid, ranges) - depth, ranges, grid))


@dataclass(frozen=True)
class MonteCarlo:
    """Backscatter of films by fibdask's own electrons, relative to that of the bare substrate."""

    layers: tuple[tuple[str, float], ...]
    substrate: str
    table: FilmTable

    def __post_init__(self) -> None:
        self.table.check_layers(self.layers, self.substrate)

    def covariance(self, energies: np.ndarray) -> np.ndarray:
        """Return that of the table's electrons, which are counted at a few energies only."""
        return self.table.covariance([most for _, most in self.layers], energies)

    def check(self, energies: np.ndarray) -> None:
        """Refuse energies outside the table."""
        self.table.check_energies(energies)

    def signals(self, thickness: np.ndarray, energies: np.ndarray) -> np.ndarray:
        """Return signals (energy, film)."""
        bare = self.table.backscatter(np.zeros((len(self.layers), 1)), energies)
        return np.asarray(self.table.backscatter(thickness, energies) / bare)


def modelled(forward: Forward, thickness: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Return signals (energy, y, x), float32, of thicknesses (layer, y, x) in nm; NaN of NaN.

    Pixels are taken piece by piece, so that temporaries stay small, and in pieces of the same
    length, so that the last bits do not depend on how many there are.
    """
    flat = thickness.reshape(len(thickness), -1)
    out = np.empty((len(energies), flat.shape[1]), np.float32)
    for start in range(0, flat.shape[1], _PIECE):
        part = flat[:, start : start + _PIECE]
        piece = np.zeros((len(flat), _PIECE))
        piece[:, : part.shape[1]] = np.nan_to_num(part)
        signals = forward.signals(piece, energies)[:, : part.shape[1]]
        signals[:, np.isnan(part).any(axis=0)] = np.nan
        out[:, start : start + _PIECE] = signals
    return out.reshape(len(energies), *thickness.shape[1:])
