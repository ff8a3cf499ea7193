"""Electrons scattered back by a bulk: how many, from what depth, where and how they come out."""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ...conventions import ConventionError, check_count, check_positive, check_seed
from ..keys import image_key
from ._kernels.transport import send_electrons
from .elastic import Model
from .materials import Material, find_material
from .records import Acceptance, Beam, Place, Structure
from .transport import CUTOFF_EV, Illumination, Losses, pack_structure

_VOXELS_PER_REACH = 8  # of a bulk: larger ones would cost digits of the places, smaller ones time
_DEEPEST = 2**20  # planes: beyond the reach of any electron
_MOST_ELECTRONS = 2**31 - 1
_EVERYTHING = Acceptance(np.float32(0), np.float32(-1))


def backscatter_coefficient(
    material: str | Material,
    *,
    beam_energy_kev: float,
    electrons: int = 100_000,
    seed: int,
    elastic: Model = "mott",
    losses: Losses = "continuous",
    tilt: float = 0.0,
    cutoff_ev: float = CUTOFF_EV,
) -> float:
    """Return the share of beam electrons that a bulk material scatters back, by Monte Carlo.

    Parameters
    ----------
    material
        Name, such as `Au` or `epoxy`, or a `Material`.
    beam_energy_kev
        In keV.
    electrons
        Number of electrons to follow; the standard error is √(η (1 − η)/electrons).
    seed
        Seed of the random numbers.
    elastic
        `mott` or `browning`, see `elastic_table`.
    losses
        `continuous`, or `discrete`: in single events, as needed for the energies of electrons that
        come out with little loss. See `loss_scale`.
    tilt
        Angle between beam and normal of the surface in degrees.
    cutoff_ev
        Energy in eV at which electrons are no longer followed.

    Returns
    -------
    float
        The share, from 0 to 1.

    Raises
    ------
    ConventionError
        If the material is unknown, or an argument is out of range.
    """
    energy = 1e3 * check_positive("beam_energy_kev", beam_energy_kev, "keV")
    illumination = Illumination(energy, tilt, 0.0, cutoff_ev, elastic, losses)
    electrons = check_count("electrons", electrons, most=_MOST_ELECTRONS)
    bulk = find_material(material)
    if not bulk.composition:  # vacuum
        check_seed(seed)
        return 0.0
    count, _ = _send(bulk, illumination, electrons, seed, recorded=0)
    return float(count / electrons)


def backscattered_electrons(
    material: str | Material,
    *,
    beam_energy_kev: float,
    electrons: int = 100_000,
    seed: int,
    elastic: Model = "mott",
    losses: Losses = "continuous",
    tilt: float = 0.0,
    cutoff_ev: float = CUTOFF_EV,
) -> xr.Dataset:
    """Follow electrons in a bulk and return those that come out again.

    Parameters
    ----------
    material, beam_energy_kev, electrons, seed, elastic, losses, tilt, cutoff_ev
        As for `backscatter_coefficient`.

    Returns
    -------
    xarray.Dataset
        Of each electron that comes out, along `electron` (its number among all): `energy` in
        eV, greatest `depth` in nm, `y` and `x` of the exit from the entrance in nm, and
        `direction` (electron, axis), a unit vector (z, y, x) with z into the material.

    Raises
    ------
    ConventionError
        As `backscatter_coefficient`, and if the material scatters nothing.
    """
    energy = 1e3 * check_positive("beam_energy_kev", beam_energy_kev, "keV")
    illumination = Illumination(energy, tilt, 0.0, cutoff_ev, elastic, losses)
    electrons = check_count("electrons", electrons, most=_MOST_ELECTRONS)
    _, exits = _send(find_material(material), illumination, electrons, seed, recorded=electrons)
    numbers = np.flatnonzero(exits[:, 0])
    energy, depth, y, x = exits[numbers, :4].T
    lengths = {"depth": depth, "y": y, "x": x}
    variables = {name: ("electron", value, {"units": "nm"}) for name, value in lengths.items()}
    variables["energy"] = ("electron", energy, {"units": "eV"})
    direction = ("electron", "axis"), exits[numbers, 4:]
    coords = {"electron": numbers, "axis": ["z", "y", "x"]}
    return xr.Dataset(variables | {"direction": direction}, coords, {"electrons": electrons})


class Bulk(NamedTuple):
    """A bulk that a beam hits in the middle.

    Attributes
    ----------
    structure, tables, beam, place
        What electrons are launched and followed with.
    voxel_size
        Of a cube in nm.
    centre
        Place along y and x in voxels at which the beam comes in.
    """

    structure: Structure
    tables: Any
    beam: Beam
    place: Place
    voxel_size: float
    centre: float


def bulk_target(material: Material, illumination: Illumination, seed: int) -> Bulk:
    """Return a bulk that no electron leaves but by its surface."""
    if not material.composition:
        msg = f"material must scatter electrons; {material.name} does not"
        raise ConventionError(msg)
    size = illumination.reach((material,)) / _VOXELS_PER_REACH
    width = 2 * _VOXELS_PER_REACH + 3
    labels = np.zeros((1, width, width), np.uint8)
    middle = width // 2
    return Bulk(
        pack_structure(labels, (size, size, size), deepest=_DEEPEST),
        illumination.tables((material,)),
        illumination.beam((size, size, size), pixel=0.0),
        Place(np.uint64(image_key((check_seed(seed),))), 0, 0, middle, middle),
        size,
        middle + 0.5,
    )


def _send(
    material: Material, illumination: Illumination, electrons: int, seed: int, *, recorded: int
) -> tuple[int, np.ndarray]:
    """Return how many electrons come out, and the exits of the first ones, lengths in nm."""
    bulk = bulk_target(material, illumination, seed)
    numbers, counts = np.full((1, 1), electrons, np.int32), np.zeros((1, 1), np.int32)
    exits = np.zeros((recorded, 7), np.float32)
    send_electrons(*bulk[:3], _EVERYTHING, bulk.place, numbers, counts, exits)
    exits[:, 2:4] -= bulk.centre
    exits[:, 1:4] *= bulk.voxel_size
    return int(counts[0, 0]), exits
