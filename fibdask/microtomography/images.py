"""Signals of real images: grey values relative to those of the bare substrate."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..blocks import Region, map_blocks, voxels
from ..conventions import (
    SIGNAL_DIMS,
    ConventionError,
    Intervals,
    check_not_negative,
    check_positive,
    chosen_region,
    covered_part,
    covered_region,
    finish_layers,
    layer_attributes,
    measured_slices,
    record_step,
    require,
)
from .signals import input_of, maps_block

_SATURATED = 0.01  # share of pixels of the substrate, from which on its mean is too dark


@dataclass(frozen=True)
class RelativeGrey:
    """Block function: signals (energy, y, x) of grey values (voltage, z, y, x) of one slice.

    Attributes
    ----------
    black
        Grey value without electrons.
    levels
        Grey values of a signal of 1, above black, by energy.
    covered
        Rows and columns that were imaged at all energies.
    """

    black: float
    levels: tuple[float, ...]
    covered: Region

    revision = 2

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block of the slice."""
        return ((region[0], slice(0, 1), *region[1:]),)

    def compute(self, region: Region, grey: np.ndarray) -> np.ndarray:
        """Return the signals of a block; what is below black is 0, what is not known NaN."""
        levels = np.array(self.levels[region[0]], np.float32)[:, np.newaxis, np.newaxis]
        above = np.maximum(grey[:, 0].astype(np.float32) - np.float32(self.black), 0)
        rows, columns = (
            np.isin(np.arange(part.start, part.stop), np.arange(there.start, there.stop))
            for part, there in zip(region[1:], self.covered, strict=True)
        )
        known = rows[:, np.newaxis] & columns
        if grey.dtype.kind == "u":
            known = known & (grey[:, 0] < np.iinfo(grey.dtype).max)
        return np.where(known, above / levels, np.float32(np.nan))

    def working_bytes(self, region: Region) -> int:
        """Grey values as float32, three times, and which are known."""
        return 13 * voxels(region)


def measure_signals(
    stack: xr.Dataset,
    *,
    substrate: Intervals,
    black_level: float = 0.0,
    substrate_signal: float = 1.0,
) -> xr.Dataset:
    """Return images at several voltages as signals of a layered sample.

    Reads the grey values of the bare substrate now; all else is lazy.

    Parameters
    ----------
    stack
        Images of one surface at several accelerating voltages, in register: `intensity`
        (voltage, z, y, x) of one slice, linear in the electrons that are counted.
    substrate
        Region where nothing lies on the substrate, by axis: `{"y": (10, 60), "x": (0, 80)}`. Pixels
        that alignment filled do not count.
    black_level
        Grey value without electrons.
    substrate_signal
        Signal of the bare substrate: 1 for `forward="monte_carlo"`, 0.49 for the others, on
        silicon.

    Returns
    -------
    xarray.Dataset
        `signal` (energy, y, x), float32. 0 where it is darker than black; NaN where alignment
        filled a pixel at one of the energies, or where a grey value is the largest of its integer
        type, since the detector may have been saturated.

    Raises
    ------
    ConventionError
        If the stack has several slices or one that is not measured, the region does not lie in it,
        or the substrate is not brighter than black or has the largest grey value.
    """
    stack = require(stack, "intensity")
    if stack.sizes["z"] != 1:
        msg = f"signals are of one surface, a stack of one slice; got {stack.sizes['z']} slices"
        raise ConventionError(msg)
    if not measured_slices(stack).all():
        msg = "signals are of a slice that was imaged; this one is not measured"
        raise ConventionError(msg)
    if not isinstance(substrate, Mapping) or not substrate:
        msg = (
            "substrate must say where nothing lies on the substrate, as {'y': (10, 60)}; got "
            f"{substrate!r}"
        )
        raise ConventionError(msg)
    black = check_not_negative("black_level", black_level)
    bare = check_positive("substrate_signal", substrate_signal)
    whole = {axis: (0, stack.sizes[axis]) for axis in ("y", "x")}
    region = covered_part(
        stack, chosen_region(stack, substrate, whole, name="substrate"), "substrate"
    )
    energies = stack["voltage"].values
    grey = _mean_grey(stack["intensity"].isel(region)) - black
    for energy, level in zip(energies, grey, strict=True):
        if not level > 0:
            msg = (
                f"the substrate must be brighter than the black level of {black:g}; at "
                f"{energy:g} kV it is {level + black:g}"
            )
            raise ConventionError(msg)
    intensity = stack["intensity"].data
    shape = (len(energies), *intensity.shape[2:])
    covered = covered_region(stack)
    data = map_blocks(
        RelativeGrey(
            black, tuple(float(level / bare) for level in grey), (covered["y"], covered["x"])
        ),
        (intensity,),
        shape=shape,
        dtype=np.float32,
        block=maps_block(intensity, shape, 4 * len(energies)),
    )
    coords = {"energy": ("energy", energies, layer_attributes("energy"))}
    signal = (SIGNAL_DIMS, data, layer_attributes("signal"))
    sample = xr.Dataset({"signal": signal}, coords).assign_coords(y=stack["y"], x=stack["x"])
    told = {"substrate": dict(substrate), "black_level": black_level,
            "substrate_signal": substrate_signal}  # fmt: skip
    sample.attrs = {k: v for k, v in stack.attrs.items() if k == "provenance"}
    return record_step(finish_layers(sample), "measure_signals", told, input_of(stack["intensity"]))


def _mean_grey(substrate: xr.DataArray) -> np.ndarray:
    """Return mean grey values of images of the bare substrate, refusing saturated ones."""
    most = np.iinfo(substrate.dtype).max if substrate.dtype.kind == "u" else np.inf
    over = ["z", "y", "x"]
    found = xr.Dataset(
        {
            "mean": substrate.mean(over, dtype="float64"),
            "saturated": (substrate == most).mean(over, dtype="float64"),
        }
    ).compute()
    shares = found["saturated"].values
    if (saturated := shares > _SATURATED).any():
        k = int(np.argmax(saturated))
        msg = (
            f"{100 * shares[k]:.3g} % of the substrate at {substrate['voltage'].values[k]:g} kV "
            f"have the largest grey value, {most}: the detector was saturated, and signals cannot "
            "be told from it; choose another part, or images with less brightness"
        )
        raise ConventionError(msg)
    return np.asarray(found["mean"].values)
