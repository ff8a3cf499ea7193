"""Layered films: uneven layers of several materials on a substrate."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Literal

import numpy as np
import xarray as xr

from ... import blocks
from ...conventions import (
    ConventionError,
    check_choice,
    check_count,
    check_not_negative,
    check_positive,
    check_seed,
    plain_number,
)
from ...pieces.planes import block_of
from ..electrons.materials import find_material
from ..electrons.records import LARGEST_LABEL
from ._functions import FilmMaterial, LayerThickness
from ._functions_relief import SharpThickness, TerracedThickness
from .building import Chunks, VoxelSize, build_structure, check_shape, check_voxel_size

Relief = Literal["smooth", "terraced", "sharp"]
RELIEFS: tuple[Relief, ...] = ("smooth", "terraced", "sharp")
GOLD_ON_ALUMINIUM = (("Au", 0.0, 15.0), ("Al", 0.0, 150.0))


def layered_film(
    shape: Sequence[int] = (16, 128, 128),
    *,
    voxel_size: VoxelSize = 10.0,
    layers: Sequence[tuple[str, float, float]] = GOLD_ON_ALUMINIUM,
    substrate: str = "Si",
    feature_size: float = 320.0,
    relief: Relief = "smooth",
    terraces: int = 5,
    bare: float = 0.5,
    seed: int,
    chunks: Chunks = "auto",
) -> xr.Dataset:
    """Generate layers of uneven thickness on a substrate, as labels of their materials.

    Lazy: any block is computed from its coordinates alone.

    Parameters
    ----------
    shape
        Number of voxels (z, y, x).
    voxel_size
        Voxel size (z, y, x), or of a cube, in nm.
    layers
        Material, least and largest thickness in nm of each layer, from the surface down.
    substrate
        Material below them.
    feature_size
        Width of the coarsest thick and thin places in nm.
    relief
        How the thickness varies: `smooth`; `terraced`, in equal steps; `sharp`, from bare places to
        plates and lines with vertical walls.
    terraces
        For `terraced`: number of steps from the least to the largest thickness.
    bare
        For `terraced` and `sharp`: share of the pixels, or of the cells, of least thickness.
    seed
        Seed of the thickness maps, which are independent of one another.
    chunks
        Blocks of the labels: "auto" or as Dask takes them.

    Returns
    -------
    xarray.Dataset
        `material` (z, y, x), uint8: 0, 1, … for the layers from the surface down, then the
        substrate; its attributes `flag_values` and `flag_meanings` name them. `layer_thickness`
        (layer, y, x), float32, in nm.

    Raises
    ------
    ConventionError
        If an argument is out of range.

    Notes
    -----
    The thickness of a layer is least + (largest − least) Φ(n / σ), with Perlin's gradient noise
    n of three octaves, its standard deviation σ and the normal distribution Φ: all thicknesses
    between are about equally frequent, and the expected mean is exactly (least + largest) / 2.

    `terraced` is made of one octave, u = Φ(n / σ): thickness is least up to u = bare, then goes up
    in steps that each cover as many pixels on average.

    `sharp` stands in for structures of lithography: each cell of a square grid of `feature_size`,
    unless it is bare, holds a rectangular plate, or as often a field of straight lines, four
    to a cell and as wide as the gaps between them. They are at a random place in it, 0.35 to 0.9 of
    it long and wide, and a third, two thirds or all as thick as is possible.

    Depth is counted from the surface at each pixel; the surface is taken as flat. A voxel is of
    the material at its centre, so that the layers of a column are as thick as the map says to
    one voxel. What is deeper than the volume is cut off.

    `simulate_images(film["material"], materials=…)` takes the materials by label::

        attrs = film["material"].attrs
        materials = dict(zip(attrs["flag_values"], attrs["flag_meanings"].split()))

    References
    ----------
    .. [1] Perlin, K. (2002), Improving noise, ACM Transactions on Graphics 21.
    """
    sizes = check_voxel_size(voxel_size)
    names, least, largest = _check_layers(layers)
    _check_name(substrate)
    spacing = check_positive("feature_size", feature_size, "nm")
    maps = LayerThickness(least, largest, spacing, check_seed(seed), sizes[1:])
    thickness, told = _with_relief(maps, relief, terraces, bare)
    labels = build_structure(
        FilmMaterial(thickness, sizes[0]),
        shape=check_shape(shape),
        voxel_size=sizes,
        chunks=chunks,
        step="layered_film",
        parameters={
            "layers": [list(layer) for layer in layers],
            "substrate": substrate,
            "feature_size": feature_size,
            "seed": seed,
            **told,
        },
    )
    attrs = {
        "long_name": "material",
        "flag_values": list(range(len(names) + 1)),
        "flag_meanings": " ".join([*names, substrate]),
        "provenance": labels.attrs["provenance"],
    }
    material = labels.rename("material").drop_attrs(deep=False).assign_attrs(attrs)
    film = material.to_dataset()
    film["layer_thickness"] = _thickness_maps(thickness, material)
    return film.assign_coords(layer=list(names)).assign_attrs(provenance=attrs["provenance"])


def _with_relief(
    maps: LayerThickness, relief: Relief, terraces: int, bare: float
) -> tuple[LayerThickness, dict[str, Any]]:
    """Return maps of a relief, and what is told of it."""
    check_choice("relief", relief, RELIEFS)
    share = plain_number(bare)
    if not 0 <= share < 1:
        msg = f"bare must be a share from 0 to less than 1; got {bare!r}"
        raise ConventionError(msg)
    terraces = check_count("terraces", terraces)
    given = {field.name: getattr(maps, field.name) for field in fields(LayerThickness)}
    if relief == "terraced":
        told = {"relief": relief, "terraces": terraces, "bare": share}
        return TerracedThickness(**given, bare=share, terraces=terraces), told
    if relief == "sharp":
        return SharpThickness(**given, bare=share), {"relief": relief, "bare": share}
    return maps, {}


def _thickness_maps(thickness: "LayerThickness", material: xr.DataArray) -> xr.Variable:
    shape = (len(thickness.least), *material.shape[1:])
    block = (len(thickness.least), *block_of(material.data)[1:])
    data = blocks.map_blocks(thickness, shape=shape, dtype=np.float32, block=block)
    below = material.attrs["flag_meanings"].split()[-1]
    attrs = {"long_name": "thickness of the layer", "units": "nm", "substrate": below}
    return xr.Variable(("layer", "y", "x"), data, attrs)


def _check_name(material: str) -> None:
    """Refuse what is no name of a material: names are what labels mean and what is recorded."""
    if not isinstance(material, str):
        msg = f"layers and substrate are told by the names of known materials; got {material!r}"
        raise ConventionError(msg)
    find_material(material)


def _check_layers(
    layers: Sequence[tuple[str, float, float]],
) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]]:
    if not 0 < len(layers) <= LARGEST_LABEL:
        msg = f"layers must be 1 to {LARGEST_LABEL}; got {len(layers)}"
        raise ConventionError(msg)
    for number, layer in enumerate(layers):
        if len(layer) != 3:
            msg = f"layer {number} must be (material, least, largest thickness in nm); got {layer}"
            raise ConventionError(msg)
        _check_name(layer[0])
    names, least, largest = zip(*layers, strict=True)
    for number, (low, high) in enumerate(zip(least, largest, strict=True)):
        check_not_negative(f"least thickness of layer {number}", low, "nm")
        check_not_negative(f"largest thickness of layer {number}", high, "nm")
        if low > high:
            msg = (
                f"least thickness must not exceed the largest of {high} nm; "
                f"got {low} nm in layer {number} ({names[number]})"
            )
            raise ConventionError(msg)
    return names, tuple(map(float, least)), tuple(map(float, largest))
