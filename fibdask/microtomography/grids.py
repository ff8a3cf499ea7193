"""Films whose backscatter is simulated: all pairs of some thicknesses, at some energies."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, log

import numpy as np

from ..conventions import ConventionError, check_positive, check_seed, plain_number
from ..simulate.electrons.films import send_through_films
from ..simulate.electrons.materials import find_material
from ..simulate.electrons.transport import Illumination
from ..simulate.keys import image_key

MOST_LAYERS = 3


@dataclass(frozen=True)
class FilmGrid:
    """Where backscatter from films is simulated.

    Attributes
    ----------
    layers
        Material and largest thickness in nm of each layer, from the surface down.
    substrate
        Below them.
    energies
        Least and most energy of the beam in keV.
    thicknesses
        Number of thicknesses of each layer.
    electrons
        On each film.
    seed
        Of all of them.
    beams
        Number of energies.
    """

    layers: tuple[tuple[str, float], ...]
    substrate: str
    energies: tuple[float, float]
    thicknesses: int
    electrons: int
    seed: int
    beams: int = 8

    def __post_init__(self) -> None:
        if not 0 < len(self.layers) <= MOST_LAYERS:
            msg = f"films have 1 to {MOST_LAYERS} layers; got {len(self.layers)}"
            raise ConventionError(msg)
        for name, most in self.layers:
            find_material(name)
            check_positive(f"largest thickness of {name}", most, "nm")
        find_material(self.substrate)
        low, high = (check_positive("beam_energy_kev", e, "keV") for e in self.energies)
        if not low < high:
            msg = f"energies must be the least and the most; got {low:g} and {high:g} keV"
            raise ConventionError(msg)
        for name in ("thicknesses", "beams", "electrons"):
            least = 1 if name == "electrons" else 3
            if not plain_number(number := getattr(self, name)) >= least:
                msg = f"{name} must be at least {least}; got {number!r}"
                raise ConventionError(msg)
        check_seed(self.seed)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of energies, then of thicknesses of each layer."""
        return self.beams, *(self.thicknesses,) * len(self.layers)

    def axes(self) -> list[np.ndarray]:
        """Return the energies in keV, then the thicknesses of each layer in nm.

        They are denser at both ends, where polynomials through them would swing otherwise.
        """
        logarithms = _extrema(log(self.energies[0]), log(self.energies[1]), self.beams)
        depths = [_extrema(0.0, most, self.thicknesses) for _, most in self.layers]
        return [np.exp(logarithms), *depths]

    def send(self, node: tuple[int, ...]) -> int:
        """Return how many electrons come out of the film of a node (energy, layer, …)."""
        energy, *depths = (axis[i] for axis, i in zip(self.axes(), node, strict=True))
        names = [name for name, _ in self.layers]
        layers = [(find_material(n), float(t)) for n, t in zip(names, depths, strict=True)]
        return send_through_films(
            layers,
            find_material(self.substrate),
            Illumination(float(energy) * 1e3),
            electrons=self.electrons,
            seed=image_key((self.seed, *node)) >> 1,
        )


def named_layers(layers: Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """Return the material and largest thickness in nm of each layer.

    Raises
    ------
    ConventionError
        If one is no such pair.
    """
    for layer in layers:
        pair = isinstance(layer, tuple | list) and len(layer) == 2
        if not pair or isnan(plain_number(layer[1])):
            msg = f"a layer must be a pair (material, largest thickness in nm); got {layer!r}"
            raise ConventionError(msg)
    return tuple((name, float(most)) for name, most in layers)


def _extrema(low: float, high: float, number: int) -> np.ndarray:
    """Return the places of the extrema of a Chebyshev polynomial between two ends."""
    share = (1 - np.cos(np.pi * np.arange(number) / (number - 1))) / 2
    return np.asarray(low + (high - low) * share)
