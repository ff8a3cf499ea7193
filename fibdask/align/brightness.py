"""Steps and slow changes of brightness and contrast are removed; the porosity is not."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from .. import blocks
from ..conventions import (
    DIMENSIONS,
    ConventionError,
    covered_region,
    finish_stack,
    measured_slices,
    record_step,
    require,
)
from ._kernels import brightness as kernels

_LEAST_PIXELS = 16  # of an image along y and x
_MOST_SLICES = 64  # in a block that is counted
_OUTSIDE = 0.0005  # share of grey values left at either end of a range
_FUNCTIONS = 5  # of the place in the image


def equalize_brightness(stack: xr.Dataset, *, shading: bool = True) -> xr.Dataset:
    """Give all slices, and all parts of the image, the same brightness and contrast, lazily.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x).
    shading
        Whether to remove slow changes within the image that all slices have in common.

    Returns
    -------
    xarray.Dataset
        The stack with equalised `intensity` of the same type, by voltage; integers are rounded
        and clipped. The slice of median brightness and the middle of the image set the scale.

    Raises
    ------
    ConventionError
        If fewer than 16 pixels along y or x are covered by every slice, or no slice is measured;
        when computed, if grey values are NaN or infinite.

    Notes
    -----
    seen = gain(z) * ((1 + a(y, x)) * true + b(y, x)) + offset(z), with quadratic polynomials a and
    b. Grey values are counted in every slice, in 4 x 4 tiles of the image and 256 bins. The counts
    are explained by four classes whose grey values are the same in all slices but for gain and
    offset, and whose shares are free in each: a slice with more pores is darker, and stays so.
    This is the mixture with an inhomogeneous field of Wells et al., IEEE Transactions on
    Medical Imaging 15 (1996) 429-442.

    Slices are fitted in the quarters of the image, each for itself. What the quarters do not have
    in common is structure: a deviation is shrunk by its uncertainty, and of less than four
    standard errors it is none (of one, where most slices deviate by more than about two). So clean
    stacks of phases keep their grey values. Textures of all shades, as of tissue, have no reliable
    classes: where the gain of the usual slice is uncertain by more than 1 %, all slices stay as
    they are, unless the usual one deviates by more than about five standard errors; then steps are
    removed, less exactly than from phases.

    Slices with a range of grey values (5 to 95 %) of less than a quarter of the usual one, such
    as black ones, are left as they are, but for shading; in a stack of one slice only shading is
    found. Shading takes all parts of the image to hold the same material: without `shading`,
    they need not. Planes that are not `measured` count nowhere, nor do rows and columns that
    alignment filled in any slice (`filled_share`).

    Counted are 32 KiB a slice and voltage.
    """
    stack = require(stack, "intensity")
    intensity = stack["intensity"]
    measured, window = measured_slices(stack), tuple(covered_region(stack).values())
    _check_counted(measured, blocks.lengths(window))
    places = tuple(_places(n)[part] for n, part in zip(intensity.shape[2:], window, strict=True))
    counted = intensity.data[(slice(None), slice(None), *window)]
    grey_range, corrections = _fit(counted, measured, places, shading=shading)
    data = blocks.map_blocks(
        Equalised(intensity.shape[1:], intensity.dtype),
        [intensity.data],
        shape=intensity.shape,
        dtype=intensity.dtype,
        parameters=[corrections, *grey_range],
    )
    source = blocks.array_token(intensity.data)
    stack = finish_stack(stack.assign(intensity=(DIMENSIONS, data, intensity.attrs)))
    parameters = {"shading": shading}
    return record_step(stack, "equalize_brightness", parameters, blocks.fingerprint(source))


def _check_counted(measured: np.ndarray, sizes: tuple[int, ...]) -> None:
    if min(sizes) < _LEAST_PIXELS:
        msg = (
            f"brightness is measured in images of at least {_LEAST_PIXELS} pixels along y and x "
            f"that every slice covers; these have {sizes[0]} x {sizes[1]}"
        )
        raise ConventionError(msg)
    if not measured.any():
        msg = f"brightness is that of measured slices; none of {len(measured)} is measured"
        raise ConventionError(msg)


def _fit(
    intensity: Any, measured: np.ndarray, places: tuple[np.ndarray, ...], *, shading: bool
) -> tuple[list[Any], Any]:
    """Return the lazy range of grey values, none of 8 bits, and the corrections in its bins.

    Of an intensity whose rows and columns lie at `places`, and the slices that are measured.
    """
    codes, grey_range = intensity, []
    voltages, slices, n_y, n_x = shape = intensity.shape
    if intensity.dtype != np.uint8:
        grid = ByVoltage(shape, (1, *blocks.block_grid(intensity).block[1:]))
        counts, two = FloatCounts(measured), (voltages, 2)
        grey_range = [
            blocks.reduce_blocks(counts, (intensity,), grid=grid, finish=GreyRange(), shape=two)
        ]
        codes = blocks.map_blocks(
            GreyCodes(), (intensity,), shape=shape, dtype=np.uint8, parameters=grey_range
        )
    tile = (-(-n_y // kernels.TILES), -(-n_x // kernels.TILES))
    most = max(blocks.BLOCK_BYTES // (tile[0] * tile[1]), 1)
    tiles = EachApart(shape, (1, min(most, _MOST_SLICES, slices), *tile))
    corrections = blocks.reduce_blocks(
        TileCounts(tiles.block[1], measured),
        (codes,),
        grid=tiles,
        finish=Corrections(tiles, places, shading),
        shape=(voltages, 2, slices + _FUNCTIONS),
    )
    return grey_range, corrections


@dataclass(frozen=True)
class ByVoltage(blocks.Grid):
    """Blocks (voltage, z, y, x) whose counts are summed by voltage."""

    @property
    def groups(self) -> int:
        """Number of voltages."""
        return self.counts[0]

    def group(self, number: int) -> int:
        """Return the voltage of a block, one thick along it."""
        return self.position(number)[0]


@dataclass(frozen=True)
class EachApart(blocks.Grid):
    """Blocks that are counted each for itself."""

    @property
    def groups(self) -> int:
        """Number of blocks."""
        return self.size

    def group(self, number: int) -> int:
        """Return the number of the block."""
        return number


@dataclass(frozen=True)
class _OneBlock:
    """What needs a block (voltage, z, y, x) to make it, image by image."""

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the block itself."""
        return (region,)

    def working_bytes(self, region: blocks.Region) -> int:
        """Return the bytes of the float and integer copies of an image."""
        n_y, n_x = blocks.lengths(region)[2:]
        return 48 * n_y * n_x


@dataclass(frozen=True, eq=False)
class FloatCounts(_OneBlock):
    """Count grey values of measured slices (z), rounded to 10 significant bits."""

    measured: np.ndarray

    @property
    def size(self) -> int:
        """Number of bins."""
        return kernels.FLOAT_BINS

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Return the counts of a block."""
        counts = np.zeros(self.size, np.int64)
        for v, k in np.ndindex(inputs[0].shape[:2]):
            if not self.measured[region[1].start + k]:
                continue
            image = inputs[0][v, k]
            if not np.isfinite(image).all():
                msg = (
                    f"intensity must be finite; slice {region[1].start + k} of voltage number "
                    f"{region[0].start + v} has NaN or infinite grey values"
                )
                raise ConventionError(msg)
            counts += np.bincount(kernels.float_bins(image).ravel(), minlength=self.size)
        return counts


@dataclass(frozen=True)
class GreyRange:
    """Finish counts (voltage, bin) with the range that holds all but 0.05 % at either end."""

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the lowest and highest grey value (voltage, 2)."""
        share = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
        ends = np.array([np.searchsorted(row, (_OUTSIDE, 1 - _OUTSIDE)) for row in share])
        low, high = kernels.float_bin_ends(ends)
        return np.stack([low[:, 0], high[:, 1]], axis=1)


@dataclass(frozen=True)
class GreyCodes(_OneBlock):
    """Number grey values in 256 steps of a fitted range."""

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Return the uint8 codes of a block."""
        image, grey_range = inputs
        codes = np.empty(image.shape, np.uint8)
        for v, k in np.ndindex(image.shape[:2]):
            kernels.grey_codes(image[v, k], *grey_range[region[0].start + v], codes[v, k])
        return codes


@dataclass(frozen=True, eq=False)
class TileCounts(_OneBlock):
    """Count the codes of each measured slice of a tile; the last blocks have fewer slices."""

    slices: int
    measured: np.ndarray

    @property
    def size(self) -> int:
        """Number of counts: 256 a slice."""
        return self.slices * kernels.GREY_BINS

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Return the counts of a block, slice by slice."""
        counts = np.zeros((self.slices, kernels.GREY_BINS), np.int64)
        for k in np.flatnonzero(self.measured[region[1]]):
            image = inputs[0][0, k]
            counts[k] = np.bincount(image.ravel(), minlength=kernels.GREY_BINS)
        return counts.ravel()


@dataclass(frozen=True, eq=False)
class Corrections:
    """Finish counts of tiles with gains and offsets, of slices and of functions of the place.

    `places` are those of the rows and columns that are counted, -1 to 1 over the image.
    """

    tiles: EachApart
    places: tuple[np.ndarray, ...]
    shading: bool

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return gain and offset in bins (voltage, 2, z and functions)."""
        voltages, slices = self.tiles.shape[:2]
        counts = counts.reshape(*self.tiles.counts, self.tiles.block[1], kernels.GREY_BINS)
        counts = np.moveaxis(counts, 4, 2)
        counts = counts.reshape(voltages, -1, *counts.shape[3:])[:, :slices]
        found = np.zeros((voltages, 2, slices + _FUNCTIONS))
        centres = (
            np.array([along[i * step : (i + 1) * step].mean() for i in range(kernels.TILES)])
            for along, step in zip(self.places, self.tiles.block[2:], strict=True)
        )
        places = kernels.shading_functions(*centres)
        for voltage, image in enumerate(counts):
            found[voltage, :, :slices] = kernels.slice_corrections(image)
            if self.shading:
                found[voltage, :, slices:] = kernels.shading_corrections(
                    image, found[voltage, :, :slices], places
                )
        return found


def _places(size: int) -> np.ndarray:
    """Return the places of pixels, from -1 to 1 over the image."""
    return (np.arange(size) + 0.5) * (2 / size) - 1


@dataclass(frozen=True)
class Equalised(_OneBlock):
    """Block function: grey values less the corrections; shape of the volume (z, y, x)."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Equalise image by image."""
        image, corrections, *grey_range = inputs
        equal = np.empty_like(image)
        slices = self.shape[0]
        places = [_places(n)[part] for n, part in zip(self.shape[1:], region[2:], strict=True)]
        for v, found in enumerate(corrections[region[0]]):
            low, high = grey_range[0][region[0].start + v] if grey_range else (-0.5, 255.5)
            scale = (high - low) / kernels.GREY_BINS
            shaded = found[:, slices:].any()
            if shaded:
                gain, offset = (kernels.shading_field(c, *places) for c in found[:, slices:])
                gain += 1
                offset *= scale
            for k in range(image.shape[1]):
                slice_gain, slice_offset = found[:, region[1].start + k]
                if slice_gain == 1 and slice_offset == 0 and not shaded:
                    equal[v, k] = image[v, k]
                    continue
                true = image[v, k].astype(np.float32)
                true -= np.float32(low + slice_offset * scale)
                true /= np.float32(slice_gain)
                if shaded:
                    true -= offset
                    true /= gain
                true += np.float32(low)
                if equal.dtype.kind == "u":
                    np.rint(true, out=true)
                    np.clip(true, 0, np.iinfo(equal.dtype).max, out=true)
                equal[v, k] = true
        return equal

    def working_bytes(self, region: blocks.Region) -> int:
        """Return the bytes of two fields, and of an image, in float32."""
        n_y, n_x = blocks.lengths(region)[2:]
        return 16 * n_y * n_x
