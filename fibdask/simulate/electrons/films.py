"""Electrons scattered back by films on a substrate, which are even in the plane.

Losses and free paths depend on mass per area alone, so that a layer of any thickness fits into one
plane of voxels: what happens along its thickness happens along one voxel instead.
"""

from collections.abc import Sequence

import numpy as np

from ...conventions import ConventionError, check_not_negative, check_seed
from ..keys import image_key
from ._kernels.transport import send_electrons
from .materials import Material
from .records import LARGEST_DISTANCE, LARGEST_LABEL, Acceptance, Place, Tables
from .transport import Illumination, pack_structure

_PLANES_PER_REACH = 8
"""Planes of the substrate that are as deep as electrons go."""
_WIDTH = 1e6  # of a voxel in the plane, in heights: no electron meets its side faces often
_DEEPEST = 2**20
_EVERYTHING = Acceptance(np.float32(0), np.float32(-1))


def send_through_films(
    layers: Sequence[tuple[Material, float]],
    substrate: Material,
    illumination: Illumination,
    *,
    electrons: int,
    seed: int,
) -> int:
    """Return how many of the electrons that hit films on a substrate come out again.

    Parameters
    ----------
    layers
        Material and thickness in nm of each, from the surface down.
    substrate
        Below them, as deep as electrons go.
    illumination
        With continuous losses.
    electrons
        Number that is sent.
    seed
        Of the random numbers.

    Raises
    ------
    ConventionError
        If a thickness is negative, there are too many layers, losses are discrete, or the
        substrate scatters nothing.
    """
    layers = [layer for layer in _checked(layers) if layer[1] > 0]
    if not substrate.composition:
        msg = f"the substrate must scatter electrons; {substrate.name} does not"
        raise ConventionError(msg)
    planes = np.arange(len(layers) + LARGEST_DISTANCE, dtype=np.uint8)
    labels = np.minimum(planes, np.uint8(len(layers))).reshape(-1, 1, 1)
    size = 1.0, _WIDTH, _WIDTH
    counts = np.zeros((1, 1), np.int32)
    send_electrons(
        pack_structure(labels, size, deepest=_DEEPEST),
        _scaled_tables(layers, substrate, illumination),
        illumination.beam(size, pixel=0.0),
        _EVERYTHING,
        Place(np.uint64(image_key((check_seed(seed),))), 0, 0, 0, 0),
        np.full((1, 1), electrons, np.int32),
        counts,
        np.zeros((0, 7), np.float32),
    )
    return int(counts[0, 0])


def _checked(layers: Sequence[tuple[Material, float]]) -> list[tuple[Material, float]]:
    if len(layers) > LARGEST_LABEL:
        msg = f"films must be at most {LARGEST_LABEL} layers; got {len(layers)}"
        raise ConventionError(msg)
    return [
        (material, check_not_negative(f"thickness of {material.name}", thickness, "nm"))
        for material, thickness in layers
    ]


def _scaled_tables(
    layers: Sequence[tuple[Material, float]], substrate: Material, illumination: Illumination
) -> Tables:
    """Return tables by which one plane is as thick as a layer, or a part of the substrate."""
    tables = illumination.tables((*(material for material, _ in layers), substrate))
    below = illumination.tables((substrate,))
    if not isinstance(tables, Tables):
        msg = f"films take continuous losses; got {illumination.losses}"
        raise ConventionError(msg)
    plane = float(below.longest) / _PLANES_PER_REACH
    heights = np.array([*(thickness for _, thickness in layers), plane], np.float32)
    heights = np.repeat(heights, tables.energies)
    # Whoever is below the films must come back through the substrate, which tells the way left.
    reach = (below.reach / np.float32(plane) + np.float32(len(layers))).astype(np.float32)
    return tables._replace(
        inverse_path=tables.inverse_path * heights,
        loss=tables.loss * heights,
        reach=reach,
        longest=reach[-1],
    )
