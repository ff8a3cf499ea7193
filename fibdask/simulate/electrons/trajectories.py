"""Paths of single electrons in a bulk, to be looked at."""

from typing import Any

import numpy as np
import xarray as xr

from ...conventions import check_count
from ._kernels.transport import ESCAPED, FLYING, event, launch
from .backscatter import bulk_target
from .materials import Material, find_material
from .transport import Illumination

_MOST_ELECTRONS = 10_000


def electron_trajectories(
    material: str | Material, *, beam_energy_kev: float, electrons: int, seed: int
) -> xr.Dataset:
    """Follow electrons in a bulk and return all places where they are scattered.

    They are the first electrons that `backscattered_electrons` follows, for the same seed at normal
    incidence.

    Parameters
    ----------
    material
        Name, such as `Au` or `epoxy`, or a `Material`.
    beam_energy_kev
        In keV.
    electrons
        Number of electrons to follow, at most 10 000.
    seed
        Seed of the random numbers.

    Returns
    -------
    xarray.Dataset
        Along (electron, event), NaN after the end of a path: `z` (depth), `y` and `x` from the
        entrance in nm, and `energy` in eV after the event. The first event is the entrance. The
        last is the exit of an electron that is `backscattered` (electron), else the place where its
        energy falls below 50 eV.

    Raises
    ------
    ConventionError
        If the material is unknown or scatters nothing, or an argument is out of range.
    """
    material = find_material(material)
    electrons = check_count("electrons", electrons, most=_MOST_ELECTRONS)
    paths, escaped = _follow(material, beam_energy_kev * 1e3, electrons, seed)
    events = np.full((electrons, max(len(path) for path in paths), 4), np.nan, np.float32)
    for number, path in enumerate(paths):
        events[number, : len(path)] = path
    units = {"energy": "eV", "z": "nm", "y": "nm", "x": "nm"}
    variables = {
        name: (("electron", "event"), events[..., k], {"units": unit})
        for k, (name, unit) in enumerate(units.items())
    }
    attrs = {"material": material.name, "beam_energy_kev": beam_energy_kev}
    return xr.Dataset(variables | {"backscattered": ("electron", escaped)}, attrs=attrs)


def _follow(
    material: Material, energy_ev: float, electrons: int, seed: int
) -> tuple[list[np.ndarray], list[bool]]:
    """Return energies and places (event, 4) of each electron, and whether it comes out."""
    bulk = bulk_target(material, Illumination(energy_ev), seed)
    # Without a reach, electrons that cannot come back any more are followed to their end as well.
    tables = bulk.tables._replace(reach=np.full_like(bulk.tables.reach, np.inf))
    origin = np.array([0, 0, bulk.centre, bulk.centre])
    paths, escaped = [], []
    for number in range(electrons):
        electron, status = launch(bulk.structure, bulk.beam, bulk.place, 0, 0, number), FLYING
        path = [_where(electron)]
        while status == FLYING:
            electron, status = event(bulk.structure, tables, _typed(electron))
            path.append(_where(electron))
        paths.append((np.array(path) - origin) * (1, *(bulk.voxel_size,) * 3))
        escaped.append(status == ESCAPED)
    return paths, escaped


def _typed(electron: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return numbers of 32 bits: an event would be compiled for Python's own, and round otherwise.

    Whole numbers are three of the voxel, then those of the random generator.
    """
    return tuple(
        np.float32(v) if isinstance(v, float | np.floating) else (np.int32, np.uint32)[k > 3](v)
        for k, v in enumerate(electron)
    )


def _where(electron: tuple[Any, ...]) -> tuple[float, ...]:
    """Return energy in eV and place (z, y, x) in voxels."""
    energy, *place = electron[:7]
    return energy, *(voxel + inside for voxel, inside in zip(place[:3], place[3:], strict=True))
