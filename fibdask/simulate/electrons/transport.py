"""Tables of what happens to electrons in materials, and structures for them to fly in."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from ...conventions import ConventionError, check_choice, check_not_negative
from ._kernels.distance import pack_voxels
from .elastic import BINS, ENERGIES_EV, MODELS, ElasticTable, Model, elastic_table, mean_free_paths
from .elements import ELEMENTS
from .materials import Material
from .records import ANGLE_STEPS, LOSS_STEPS, Beam, DiscreteTables, Structure, Tables

VoxelLengths = tuple[float, float, float]
"""Of a voxel along z, y, x in nm."""

Losses = Literal["continuous", "discrete"]
LOSSES: tuple[Losses, ...] = ("continuous", "discrete")
CUTOFF_EV = 50.0
"""Energy below which electrons are given up, as slow as secondary ones."""
_MOST_VOXELS = 2**31 - 1
_LARGEST_TILT = 85.0
_RANGE_MARGIN = 1.02  # losses of single flights differ from the mean along the way
# With discrete losses, ranges times the first and some mean free paths more: of the electrons
# that come out, less than one in a thousand would have come from deeper, or flown longer.
_STRAGGLING = 1.3
_LOSSLESS_PATHS_BACK, _LOSSLESS_PATHS = 4.0, 12.0
_LOSS_SCALE, _LIGHT_LOSS_SCALE = 1643.0, 600.0  # eV²
_LIGHT = 18  # atomic number below which the second one holds


def stopping_power(material: Material, energies_ev: np.ndarray) -> np.ndarray:
    """Return the mean energy loss along the path in eV/nm, (energy,).

    Parameters
    ----------
    material
        What the electrons travel through.
    energies_ev
        Their kinetic energies in eV.

    Notes
    -----
    Bethe's formula with the modification of Joy and Luo [1]_ for low energies, summed over the
    elements by mass fraction c: S = 7.85 ρ/E Σ c Z/A ln(1.166 (E + k J)/J), in eV/nm with ρ in
    g/cm³ and E in keV, of the mean ionisation potential J and k = 0.731 + 0.0688 log₁₀ Z.

    References
    ----------
    .. [1] Joy, D. C., Luo, S. (1989), An empirical stopping power relationship for low-energy
       electrons, Scanning 11, 176–180.
    """
    energies = np.asarray(energies_ev, np.float64)
    loss = np.zeros_like(energies)
    for symbol, share in material.mass_fractions.items():
        element = ELEMENTS[symbol]
        potential = element.mean_ionisation_potential
        k = 0.731 + 0.0688 * np.log10(element.number)
        logarithm = np.log(1.166 * (energies + k * potential) / potential)
        loss += share * element.number / element.weight * logarithm
    return 7850 * material.density * loss / energies


def loss_scale(material: Material) -> float:
    """Return C in eV² of the distribution of single energy losses T, ∝ T/(C + T²)².

    Notes
    -----
    Tougaard's universal cross-section for inelastic scattering [1]_: 1643 eV² fits metals. It
    is less for polymers; 600 eV² is taken below a mean atomic number of 18. The narrow plasmon
    losses of aluminium and silicon are not resolved.

    References
    ----------
    .. [1] Tougaard, S. (1988), Quantitative analysis of the inelastic background in surface
       electron spectroscopy, Surface and Interface Analysis 11, 453–472; (1997), Universality
       classes of inelastic electron scattering cross-sections, same journal 25, 137–154.
    """
    return _LIGHT_LOSS_SCALE if material.atomic_number < _LIGHT else _LOSS_SCALE


def mean_loss(material: Material, energies_ev: np.ndarray) -> np.ndarray:
    """Return the mean of single losses up to the energies of the electrons, in eV (energy,)."""
    energies = np.asarray(energies_ev, np.float64)
    root, square = np.sqrt(loss_scale(material)), energies**2
    share = square / (root**2 + square)  # of all losses, without a limit
    return np.asarray(root * np.arctan(energies / root) / share - root**2 / energies)


@dataclass(frozen=True)
class Illumination:
    """How electrons are sent, and how they are followed.

    Attributes
    ----------
    energy_ev
        Of the beam, in eV.
    tilt
        Angle between the beam and the normal of the surface in degrees; the electrons fly
        towards +y.
    diameter
        Full width at half maximum of the Gaussian beam on an untilted surface in nm; it is cut
        off at three standard deviations.
    cutoff_ev
        Energy in eV at which electrons are given up.
    elastic
        Model of elastic scattering, see `elastic_table`.
    losses
        `continuous`: along the way, as the mean. `discrete`: in collisions, with that mean, see
        `loss_scale`.
    """

    energy_ev: float
    tilt: float = 0.0
    diameter: float = 0.0
    cutoff_ev: float = CUTOFF_EV
    elastic: Model = "mott"
    losses: Losses = "continuous"

    def __post_init__(self) -> None:
        low, high = ENERGIES_EV[[0, -1]]
        if not low <= self.cutoff_ev < self.energy_ev <= high:
            msg = (
                f"cut-off and beam must be in {low:g} … {high:g} eV, the cut-off below the beam; "
                f"got {self.cutoff_ev:g} eV and {self.energy_ev:g} eV"
            )
            raise ConventionError(msg)
        if not 0 <= self.tilt < _LARGEST_TILT:
            msg = f"tilt must be in 0 … {_LARGEST_TILT:g} degrees; got {self.tilt}"
            raise ConventionError(msg)
        check_not_negative("beam_diameter", self.diameter, "nm")
        check_choice("elastic", self.elastic, MODELS)
        check_choice("losses", self.losses, LOSSES)

    def beam(self, voxel_size: VoxelLengths, *, pixel: float = 1.0) -> Beam:
        """Return the beam in voxels; it covers this share of the side of a pixel, or its centre."""
        std = self.diameter / np.sqrt(8 * np.log(2))
        cosine, sine = np.cos(np.deg2rad(self.tilt)), np.sin(np.deg2rad(self.tilt))
        spread = std / cosine / voxel_size[1], std / voxel_size[2]
        return Beam(
            energy=np.float32(self.energy_ev),
            cosine=np.float32(cosine),
            sine=np.float32(sine),
            pixel=np.float32(pixel),
            spread_y=np.float32(spread[0]),
            spread_x=np.float32(spread[1]),
        )

    def tables(self, materials: tuple[Material, ...]) -> Tables | DiscreteTables:
        """Return the tables of some materials, in the order of their labels."""
        return transport_tables(
            materials, self.energy_ev, self.cutoff_ev, self.elastic, self.losses
        )

    def reach(self, materials: tuple[Material, ...]) -> float:
        """Return the longest path of an electron in nm; infinite in vacuum."""
        return float(self.tables(materials).longest)


@lru_cache(maxsize=16)
def transport_tables(
    materials: tuple[Material, ...],
    energy_ev: float,
    cutoff_ev: float,
    elastic: Model,
    losses: Losses,
) -> Tables | DiscreteTables:
    """Return the tables of some materials from the cut-off to the energy of the beam.

    Parameters
    ----------
    materials
        In the order of their labels.
    energy_ev, cutoff_ev, elastic, losses
        As of `Illumination`.
    """
    edges, first = _float_grid(cutoff_ev, energy_ev, LOSS_STEPS)
    centres = (edges[1:] + edges[:-1]) / 2
    loss = np.array([stopping_power(material, centres) for material in materials])
    scattering = np.array([1 / _free_paths(material, centres, elastic) for material in materials])
    with np.errstate(divide="ignore"):  # an electron flies on for ever in a vacuum
        ranges = np.cumsum(np.diff(edges) / loss, axis=1)
    nodes, first_angle = _float_grid(cutoff_ev, energy_ev, ANGLE_STEPS)
    cosines = np.array([_mixed_cosines(material, nodes, elastic) for material in materials])
    common: dict[str, Any] = {
        "cosine": cosines.ravel(),
        "energies": np.int32(len(centres)),
        "angle_energies": np.int32(len(nodes)),
        "angles": np.int32(cosines.shape[-1]),
        "first_energy": np.int32(first),
        "first_angle_energy": np.int32(first_angle),
        "cutoff": np.float32(cutoff_ev),
    }
    if losses == "discrete":
        mean = [mean_loss(material, centres) for material in materials]
        scales = np.array([loss_scale(material) for material in materials])
        return _discrete_tables(scattering, loss / mean, ranges, loss_scale=_flat(scales), **common)
    reach = (ranges * _RANGE_MARGIN).max(axis=0).astype(np.float32)
    return Tables(
        inverse_path=_flat(scattering), loss=_flat(loss), reach=reach, longest=reach[-1], **common
    )


def _discrete_tables(
    scattering: np.ndarray, losing: np.ndarray, ranges: np.ndarray, **common: Any
) -> DiscreteTables:
    """Return tables of collisions, of which there are as many in 1/nm, and of mean ranges in nm."""
    both = scattering + losing
    with np.errstate(divide="ignore"):
        ranges, lossless = _STRAGGLING * ranges, 1 / losing
    return DiscreteTables(
        inverse_path=_flat(both),
        elastic_share=_flat(np.divide(scattering, both, out=np.ones_like(both), where=both > 0)),
        reach=(ranges + _LOSSLESS_PATHS_BACK * lossless).max(axis=0).astype(np.float32),
        longest=np.float32((ranges + _LOSSLESS_PATHS * lossless)[:, -1].max()),
        **common,
    )


def _flat(table: np.ndarray) -> np.ndarray:
    return table.astype(np.float32).ravel()


def _float_grid(low: float, high: float, bits: int) -> tuple[np.ndarray, int]:
    """Return energies at which the first `bits` of the float32 mantissa change, about a range.

    They bound it on both sides. Also returned are the leading bits of the first one: those of
    another energy, less these, are its index.
    """
    shift = 23 - bits
    first, last = (int(np.float32(value).view(np.int32)) >> shift for value in (low, high))
    words = np.arange(first, last + 2, dtype=np.int32) << np.int32(shift)
    return words.view(np.float32).astype(np.float64), first


def _free_paths(material: Material, energies: np.ndarray, elastic: Model) -> np.ndarray:
    """Return elastic mean free paths in nm; at the ends of the tables these."""
    inside = np.clip(energies, *ENERGIES_EV[[0, -1]])
    return np.asarray(mean_free_paths(material, inside, model=elastic)[0])


def _mixed_cosines(material: Material, energies: np.ndarray, elastic: Model) -> np.ndarray:
    """Return mean cosines in bins of v of a material, float32 (energy, bin)."""
    inside = np.clip(energies, *ENERGIES_EV[[0, -1]])
    densities = material.atom_densities
    tables = [elastic_table(symbol, model=elastic) for symbol in densities]
    if not tables:
        return np.ones((len(energies), BINS), np.float32)
    cosines = np.array([_cosines_at(table, inside) for table in tables])
    sections = np.array([table.cross_sections(inside)[0] for table in tables])
    shares = np.array(list(densities.values()))[:, np.newaxis] * sections
    shares /= shares.sum(axis=0)
    mixed = [_mix(cosines[:, i], shares[:, i]) for i in range(len(energies))]
    return np.array(mixed, np.float32)


def _cosines_at(table: ElasticTable, energies: np.ndarray) -> np.ndarray:
    """Interpolate the cosines of an atom (energy, bin), 1 − cos θ as a power of the energy."""
    nodes = np.log(table.energies_ev)
    place = np.interp(np.log(energies), nodes, np.arange(len(nodes)))
    lower = np.minimum(place.astype(int), len(nodes) - 2)
    logarithm = np.log(np.maximum(1 - table.cosines.astype(np.float64), 1e-9))
    weight = (place - lower)[:, np.newaxis]
    return np.asarray(1 - np.exp((1 - weight) * logarithm[lower] + weight * logarithm[lower + 1]))


def _mix(cosines: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the mean cosines (bin) of a mixture of atoms (atom, bin) with their shares (atom).

    The distributions are put together and cut anew at equal steps of v; the mean stays.
    """
    edges = np.linspace(0, 1, BINS + 1) ** 2
    order = np.argsort(cosines, axis=None)
    probability = (shares[:, np.newaxis] * np.diff(edges)).ravel()[order]
    reached = np.append(0, np.cumsum(probability))
    integral = np.append(0, np.cumsum(probability * cosines.ravel()[order]))
    return np.asarray(np.diff(np.interp(edges * reached[-1], reached, integral)) / np.diff(edges))


def pack_structure(labels: np.ndarray, voxel_size: VoxelLengths, *, deepest: int) -> Structure:
    """Return a structure for electrons to fly in.

    Parameters
    ----------
    labels
        Index of the material of each voxel, uint8 (z, y, x), from the surface down.
    voxel_size
        Along z, y, x in nm.
    deepest
        Planes below the surface at which electrons are given up. If there are fewer, the last
        one goes on.

    Raises
    ------
    ConventionError
        If there are more voxels than 32 bits can number.
    """
    if labels.size > _MOST_VOXELS:
        msg = f"a structure must have at most {_MOST_VOXELS} voxels; got {labels.size}"
        raise ConventionError(msg)
    n_z, n_y, n_x = labels.shape
    packed = np.zeros(-(-labels.size // 4) * 4, np.uint8)
    pack_voxels(labels, packed[: labels.size].reshape(labels.shape))
    return Structure(
        words=packed.view(np.int32),
        planes=np.int32(n_z),
        rows=np.int32(n_y),
        columns=np.int32(n_x),
        size_z=np.float32(voxel_size[0]),
        size_y=np.float32(voxel_size[1]),
        size_x=np.float32(voxel_size[2]),
        deepest=np.int32(deepest),
    )
