"""Materials that electrons travel through: composition and density."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from ...conventions import ConventionError, check_positive
from .elements import ELEMENTS, Element

AVOGADRO = 602.214076  # per mole, in g/cm³ → atoms/nm³


@dataclass(frozen=True)
class Material:
    """A homogeneous material.

    Parameters
    ----------
    name
        Name of the material.
    composition
        Numbers of atoms by element symbol, in any formula or ratio; empty for vacuum. For an alloy,
        see `from_mass_fractions`.
    density
        In g/cm³; zero for vacuum only.

    Raises
    ------
    ConventionError
        If an element is unknown, or a number is not positive.

    Examples
    --------
    >>> water = Material("water", {"H": 2, "O": 1}, density=1.0)
    >>> round(water.mass_fractions["O"], 3)
    0.888
    """

    name: str
    composition: Mapping[str, float] = field(hash=False)
    density: float

    def __post_init__(self) -> None:
        for symbol, atoms in self.composition.items():
            find_element(symbol)
            check_positive(f"atoms of {symbol} in {self.name}", atoms)
        if self.composition:
            check_positive(f"density of {self.name}", self.density, "g/cm³")
        elif self.density != 0:
            msg = f"{self.name} of density {self.density} g/cm³ must have a composition"
            raise ConventionError(msg)

    @classmethod
    def from_mass_fractions(
        cls, name: str, fractions: Mapping[str, float], *, density: float
    ) -> "Material":
        """Return a material from the mass fractions of its elements, in any unit.

        Parameters
        ----------
        name
            What it is called.
        fractions
            Shares of the mass by symbol of the element.
        density
            In g/cm³.

        Returns
        -------
        Material
            Its composition in numbers of atoms.

        Raises
        ------
        ConventionError
            If an element is unknown, or a number is not positive.
        """
        atoms = {symbol: share / find_element(symbol).weight for symbol, share in fractions.items()}
        return cls(name, atoms, density)

    @property
    def mass_fractions(self) -> dict[str, float]:
        """Shares of the mass by symbol; they sum to one."""
        masses = {s: n * ELEMENTS[s].weight for s, n in self.composition.items()}
        return {symbol: mass / sum(masses.values()) for symbol, mass in masses.items()}

    @property
    def atom_densities(self) -> dict[str, float]:
        """Atoms per nm³ by symbol."""
        return {
            symbol: AVOGADRO * self.density * share / ELEMENTS[symbol].weight
            for symbol, share in self.mass_fractions.items()
        }

    @property
    def atomic_number(self) -> float:
        """Mean by mass of the atomic numbers; zero in vacuum."""
        return sum(ELEMENTS[s].number * share for s, share in self.mass_fractions.items())


def find_material(material: str | Material) -> Material:
    """Return a material by its name; one that is given is returned as it is.

    Raises
    ------
    ConventionError
        If there is none of this name.
    """
    if isinstance(material, Material):
        return material
    if material not in MATERIALS:
        msg = f"material must be one of {', '.join(MATERIALS)} or a Material; got {material!r}"
        raise ConventionError(msg + _nearest(material, MATERIALS))
    return MATERIALS[material]


def find_element(symbol: str) -> Element:
    """Return an element by its symbol.

    Raises
    ------
    ConventionError
        If there is none of this symbol from hydrogen to uranium.
    """
    if symbol not in ELEMENTS:
        msg = f"element must be a symbol from H to U; got {symbol!r}"
        raise ConventionError(msg + _nearest(symbol, ELEMENTS))
    return ELEMENTS[symbol]


def _nearest(name: str, known: Mapping[str, object]) -> str:
    """Return a question that names the nearest known name, if any is near."""
    by_lower = {key.lower(): key for key in known}
    found = get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.5)
    return f"; did you mean {by_lower[found[0]]!r}?" if found else ""


MATERIALS: Mapping[str, Material] = {
    material.name: material
    for material in (
        Material("Au", {"Au": 1}, 19.30),
        Material("Ag", {"Ag": 1}, 10.49),
        Material("Cu", {"Cu": 1}, 8.96),
        Material("Al", {"Al": 1}, 2.70),
        Material("Si", {"Si": 1}, 2.33),
        Material("C", {"C": 1}, 2.25),
        Material("epoxy", {"C": 21, "H": 24, "O": 4}, 1.20),
        Material("PMMA", {"C": 5, "H": 8, "O": 2}, 1.19),
        Material("vacuum", {}, 0.0),
    )
}
"""The named materials."""
