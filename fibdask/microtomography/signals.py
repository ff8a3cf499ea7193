"""Signals of layered samples, and their layers as voxels."""

import warnings
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import (
    BLOCK_BYTES,
    INNER_CHUNK,
    array_token,
    fingerprint,
    fit_block,
    map_blocks,
)
from ..conventions import (
    AXES,
    SIGNAL_DIMS,
    ConventionError,
    FibdaskWarning,
    check_count,
    check_positive,
    check_seed,
    finish_layers,
    layer_attributes,
    plain_number,
    record_step,
    require_layers,
)
from ._functions import Labels, Signals, bottoms, check_within
from .films import read_films, shipped_films
from .forward import ALUMINIUM_ON_GOLD, ForwardName, find_forward

BEAM_ENERGIES = tuple(float(energy) for energy in range(5, 36))
"""In keV, of the source."""
_MOST_NOISE = 0.3
_LEAST = 0.3  # nm, about an atom


def layer_signals(
    thickness: xr.DataArray | xr.Dataset,
    *,
    beam_energy_kev: Sequence[float] = BEAM_ENERGIES,
    forward: ForwardName = "monte_carlo",
    substrate: str | None = None,
    table: str | None = None,
    noise: float = 0.0,
    seed: int | None = None,
) -> xr.DataArray:
    """Return the signals of layered films at several beam energies, lazily.

    Parameters
    ----------
    thickness
        Thickness of each layer in nm, (layer, y, x), on the coordinate `layer` of materials from
        the surface down; alone, or in a dataset.
    beam_energy_kev
        Energies of the beam in keV, increasing.
    forward
        Model: `monte_carlo`, backscatter by fibdask's own electrons relative to the bare substrate,
        from a table; `analytic`, formulas for aluminium and gold, see `Analytic`; `report2022`,
        the same formulas as the source computed them, faults included, see `Report2022`.
    substrate
        Material below the layers; by default the one that the attributes of `thickness` name, else
        `Si`.
    table
        For `monte_carlo`: a file of `simulate_films`. By default the one that ships, of aluminium
        up to 200 nm on gold up to 20 nm on silicon at 5 to 35 keV.
    noise
        Standard deviation of Gaussian noise as a share of the signal; 0.02 in the source.
    seed
        Seed of the noise. The noise of a pixel depends on the seed, the energy and the place of the
        pixel.

    Returns
    -------
    xarray.DataArray
        `signal` (energy, y, x), float32; NaN where a thickness is.

    Raises
    ------
    ConventionError
        If the model does not know a material, an energy or a thickness, or an argument is out of
        range.

    Warns
    -----
    FibdaskWarning
        If all layers, as far as they are in memory, are thinner than atoms.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> maps = xr.DataArray(
    ...     np.full((2, 1, 1), [[[150.0]], [[0.0]]]),
    ...     dims=("layer", "y", "x"),
    ...     coords={"layer": ["Al", "Au"], "y": ("y", [0.0], {"units": "nm"}),
    ...             "x": ("x", [0.0], {"units": "nm"})},
    ... )
    >>> signal = layer_signals(maps, beam_energy_kev=[5.0], forward="report2022")
    >>> round(float(signal[0, 0, 0]), 3)
    0.844
    """
    thickness = require_layers(thickness, "thickness")
    below = substrate or str(thickness.attrs.get("substrate", "Si"))
    energies = check_energies(beam_energy_kev)
    names = [str(name) for name in thickness["layer"].values]
    model = find_forward(forward, _limits(forward, names, table), below, table)
    model.check(energies)
    if isinstance(thickness._variable._data, np.ndarray):
        check_within(model, thickness.values, (0, 0, 0))
        _warn_of_unit(thickness.values)
    share = check_noise(noise)
    if share and seed is None:
        msg = "noise needs a seed; none given"
        raise ConventionError(msg)
    number = check_seed(seed) if seed is not None else 0
    shape = (len(energies), *thickness.shape[1:])
    data = map_blocks(
        Signals(model, tuple(energies), share, number),
        (thickness.data,),
        shape=shape,
        dtype=np.float32,
        block=maps_block(thickness.data, shape, 4 * len(energies)),
    )
    attrs = layer_attributes("signal") | {"forward": forward, "substrate": below, "noise": share}
    coords: dict[str, Any] = {"energy": ("energy", energies, layer_attributes("energy"))}
    coords |= {axis: thickness[axis].variable for axis in ("y", "x")}
    signal = xr.Dataset({"signal": (SIGNAL_DIMS, data, attrs)}, coords)
    told = {"forward": forward, "substrate": below, "beam_energy_kev": energies, "noise": share,
            "seed": seed, "layers": names, **table_told(table)}  # fmt: skip
    made = record_step(finish_layers(signal), "layer_signals", told, input_of(thickness))
    return made["signal"].assign_attrs(provenance=made.attrs["provenance"])


def _limits(
    forward: ForwardName, names: Sequence[str], table: str | Path | None
) -> tuple[tuple[str, float], ...]:
    """Return layers with the largest thickness in nm that a model knows."""
    if forward == "report2022":
        known: dict[str, float] = dict(ALUMINIUM_ON_GOLD)
    elif forward == "monte_carlo":
        films = shipped_films() if table is None else read_films(Path(table))
        if [name for name, _ in films.grid.layers] == list(names):
            return films.grid.layers
        known = {}
    else:
        known = {}
    return tuple((name, known.get(name, np.inf)) for name in names)


def layer_labels(
    thickness: xr.DataArray | xr.Dataset,
    *,
    voxel_size: float = 10.0,
    planes: int | None = None,
    most: float | None = None,
    thin_layers: bool = True,
) -> xr.DataArray:
    """Convert layer thicknesses to labelled voxels, lazily.

    Parameters
    ----------
    thickness
        Thickness of each layer in nm, (layer, y, x), as for `layer_signals`.
    voxel_size
        Height of a voxel in nm; along y and x a voxel is a pixel.
    planes
        Number of planes; what is deeper is cut off. By default enough for layers of `most` nm.
    most
        Largest thickness of all layers together in nm; needed if `planes` is not given and the maps
        are not in memory.
    thin_layers
        Keep layers thinner than a voxel, see Notes.

    Returns
    -------
    xarray.DataArray
        `label` (z, y, x), uint8: 0, 1, … for the layers from the surface down, then the
        substrate; 255 where a thickness is NaN. `z` is the depth of voxel centres in nm.

    Raises
    ------
    ConventionError
        If an argument is out of range, or the number of planes is not known.

    Notes
    -----
    A voxel has the material at its centre. With `thin_layers`, a layer without a centre still takes
    the voxel below the layer above it, so that no layer is lost; those below it then begin one
    voxel deeper, unless they reach farther anyway.
    """
    thickness = require_layers(thickness, "thickness")
    height = check_positive("voxel_size", voxel_size, "nm")
    if planes is None:
        planes = _planes(thickness, height, most, thin=bool(thin_layers))
    planes = check_count("planes", planes)
    names = [str(name) for name in thickness["layer"].values]
    shape = (planes, *thickness.shape[1:])
    data = map_blocks(
        Labels(len(names), height, bool(thin_layers)),
        (thickness.data,),
        shape=shape,
        dtype=np.uint8,
        block=maps_block(thickness.data, shape, planes),
    )
    below = str(thickness.attrs.get("substrate", "Si"))
    attrs = {
        "long_name": "material",
        "flag_values": [*range(len(names) + 1), 255],
        "flag_meanings": " ".join([*names, below, "no_data"]),
    }
    depths = (np.arange(planes) + 0.5) * height
    coords: dict[str, Any] = {"z": ("z", depths, layer_attributes("z") | {"spacing": height})}
    coords |= {axis: thickness[axis].variable for axis in ("y", "x")}
    return xr.DataArray(data, coords=coords, dims=AXES, name="label", attrs=attrs)


def _warn_of_unit(thickness: np.ndarray) -> None:
    """Warn of layers of less than an atom, whose thicknesses are rather in another unit."""
    most = np.nanmax(thickness, initial=0.0)
    if 0 < most < _LEAST:
        text = f"the thickest layer is {most:.3g} nm thick: thicknesses are in nm"
        warnings.warn(text, FibdaskWarning, stacklevel=3)


def _planes(thickness: xr.DataArray, height: float, most: float | None, *, thin: bool) -> int:
    """Return how many planes hold all layers, of up to `most` nm together if that is given."""
    layers = len(thickness["layer"])
    if most is not None:
        pushed = layers - 1 if thin else 0  # each below the first may take a voxel of its own
        return max(int(check_positive("most", most, "nm") / height + 0.5) + pushed, layers)
    if isinstance(thickness._variable._data, np.ndarray):
        *_, deepest = bottoms(thickness.values, height, thin=thin)
        return max(int(deepest.max()), layers)
    msg = "labels of maps that are not in memory need planes or most; none given"
    raise ConventionError(msg)


def check_energies(energies: Sequence[float]) -> np.ndarray:
    """Return energies in keV, which must be above zero and increasing.

    Raises
    ------
    ConventionError
        Naming the first that is not.
    """
    try:
        values = np.atleast_1d(np.asarray(energies, np.float64))
    except (TypeError, ValueError):
        values = np.empty(0)
    if not values.size or values.ndim != 1:
        msg = f"beam_energy_kev must be one or more energies in keV; got {energies!r}"
        raise ConventionError(msg)
    for before, energy in zip([0.0, *values], values, strict=False):
        if not before < energy < np.inf:
            msg = f"beam_energy_kev must be > 0 keV and increasing; got {energy:g} after {before:g}"
            raise ConventionError(msg)
    return values


def check_noise(noise: object) -> float:
    """Return a share of noise.

    Raises
    ------
    ConventionError
        If it is not from 0 to 0.3.
    """
    share = plain_number(noise)
    if not 0 <= share <= _MOST_NOISE:
        msg = f"noise must be a share of the signal from 0 to {_MOST_NOISE:g}; got {noise!r}"
        raise ConventionError(msg)
    return share


def maps_block(array: Any, shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return a block of all maps (…, y, x) of a shape, not longer than those of an array.

    `itemsize` is what all maps take of a pixel in bytes, or more.
    """
    chunks = getattr(array, "chunks", None)
    plane = tuple(int(max(c)) for c in chunks[-2:]) if chunks else shape[-2:]
    padded = tuple(ceil(n / INNER_CHUNK) * INNER_CHUNK for n in plane)
    fitting = fit_block(padded, max(BLOCK_BYTES // itemsize, INNER_CHUNK**2))
    return (*shape[:-2], *(min(b, n) for b, n in zip(fitting, plane, strict=True)))


def table_told(table: str | None) -> dict[str, str]:
    """Return what provenance tells of a table that was given."""
    return {} if table is None else {"table": str(Path(table).absolute())}


def input_of(array: xr.DataArray) -> str:
    """Return the fingerprint of what a step reads."""
    return fingerprint(array_token(array.data))
