"""How a stack was imaged, measured without labels: what to simulate with."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from .. import blocks
from ..align import GREY_BINS, GREY_BITS, EachApart, TileCounts
from ..conventions import (
    ConventionError,
    FibdaskWarning,
    check_spacing,
    require,
    value_range,
)
from ..pieces.grey import ByVoltage, FloatCounts, FloatRange, GreyCodes, measured_part
from ..pieces.image_header import intensity_shift
from . import _kernels as kernels
from . import estimates
from ._functions import TileRecords
from .drifts import HALVES, QUANTITIES, Drifts, shine_through, spread

_LEAST_PIXELS = 48  # of an image along y and x
_LARGEST_TILE = 512
_MOST_TILES = 4  # along y and x
_SLICES = 8  # of a task
_MOST_COUNTED = 64  # slices of a block
_SAME = 1e-9  # relative difference of grey values that is rounding
_NAMED = 5  # slices in a message
_BELOW = 0.02  # of the contrast: noise may bring the darkest grey values so far below 0
_NEAR_ZERO = 0.9  # of what was added
ROUNDING = 1 / 12
"""Variance that rounding to whole grey values adds."""


def measure_imaging(
    stack: xr.Dataset,
    *,
    compute: Callable[[xr.Dataset], xr.Dataset] = xr.Dataset.compute,
) -> xr.Dataset:
    """Measure noise, blur, drifts, stripes and grey levels of the images of a stack.

    Computes: reads the images once or twice, block by block, and returns a small result.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x) as recorded: filters change noise.
    compute
        Function that computes the small lazy measurements.

    Returns
    -------
    xarray.Dataset
        Each quantity with its standard error, `…_error`, of the same dimensions. For each voltage:

        - `white_electrons`: electrons counted in a white pixel (255, 65535 or 1.0 by type), from
          the noise; infinite where noise does not grow with brightness;
        - `counting_noise` and `gaussian_noise`: standard deviations of both kinds of noise at the
          grey value of solid;
        - `blur`: standard deviation of the point spread in nm;
        - `solid_level`, `pore_level` and `deep_pore_level`: grey values;
        - `curtaining`, `gain_std`, `offset_std` and `gradient_std`: standard deviations of stripes,
          of the logarithm of the gain, of the offset and of the change of brightness from side to
          side; grey values except for the gain.

        For each slice (voltage, z): `gain` and `offset` relative to the usual slice, and
        `blur_of_slice` in nm. NaN where a slice is not measured or has no contrast.

    Raises
    ------
    ConventionError
        If images have fewer than 48 pixels along y or x that every slice covers, no slice is
        measured, or grey values are NaN or all the same.

    Warns
    -----
    FibdaskWarning
        If grey values are negative, so that grey 0 does not mean no electrons; or if slices have
        one grey value alone, and so do not count.

    Notes
    -----
    Planes that are not `measured`, and rows and columns that alignment filled in any slice, do not
    count. Of larger images, all but drifts use 16 tiles of 512 x 512 pixels each.

    Noise comes from second differences of neighbouring pixels (Immerkaer, Computer Vision and Image
    Understanding 64 (1996) 300-302) in the flat parts of the images, sorted by brightness: its
    variance is rise * grey + intercept. The rising part was counted, if grey 0 means no electrons;
    the rest is taken for Gaussian. Noise is assumed to be white: images that were interpolated or
    smoothed seem to have less.

    Blur comes from how much edges blur when they are blurred more (S. Zhuo and T. Sim, Pattern
    Recognition 44 (2011) 1852-1858): for the strongest edges, as a Gaussian, with pixels counted as
    points; for edges as sharp as these, it is about a third of a pixel. Structures must be some
    five times as thick. Where much shines through, edges below the face are among them.

    Drifts are those of grey values of classes (see `equalize_brightness`) in the quarters of the
    images, less their scatter. At high voltages, what shines through, more in some slices than in
    others, brightens pores and leaves solid unchanged, as less gain with more offset does. What
    both have in common is subtracted, too, and is included in their errors, since a drift of
    contrast about a grey value looks the same. Where deep structure is nearly as bright as solid (4
    kV), a hundredth or two of the gain may still be structure; where solid is cut off at white,
    gain seems to drift less.

    Stripes are what distant bands of rows have in common along x, after subtracting the grey values
    of the two phases. For fine structures, some of that is chance: compare with the error, and with
    some hundredths of the contrast.
    """
    stack = require(stack, "intensity")
    window, measured = measured_part(stack, "imaging", _LEAST_PIXELS)
    image = stack["intensity"].data
    fineness = _fineness(stack)
    found = compute(_lazily(image, window, measured, fineness))
    for v, kilovolts in enumerate(stack["voltage"].values):
        blank = _blank(found["records"].values[v], float(kilovolts))
        if blank.any():
            _warn_of_blank(blank, float(kilovolts))
            # Their grey values are in the range by which drifts were counted.
            again = compute(_lazily(image[v : v + 1], window, measured & ~blank, fineness))
            for name, values in again.data_vars.items():
                found[name][v] = values[0]
    return _dataset_of(stack, found)


def _fineness(stack: xr.Dataset) -> tuple[float, float]:
    """Return pixels along y and x that are as long as the longest side of a pixel."""
    y, x = (check_spacing(stack, axis) for axis in "yx")
    return max(y, x) / y, max(y, x) / x


def _lazily(
    image: Any, window: tuple[slice, ...], measured: np.ndarray, fineness: tuple[float, float]
) -> xr.Dataset:
    """Return numbers of tiles, drifts, and the range in which grey values were counted for them."""
    return xr.Dataset(
        {
            "records": (
                ("voltage", "z", "tile", "record"),
                _records(image, TileRecords(_tiles(window), measured, fineness)),
            ),
            "drifts": (("voltage", "quantity", "z"), _drifts(image, window, measured)),
            "ranges": (("voltage", "end"), _grey_range(image, window, measured)),
        }
    )


def _tiles(window: tuple[slice, ...]) -> tuple[blocks.Region, ...]:
    """Return up to 4 x 4 tiles of up to 512 x 512 pixels, spread over the images."""
    axes = []
    for part in window:
        n = part.stop - part.start
        count = min(-(-n // _LARGEST_TILE), _MOST_TILES)
        length = min(n // count, _LARGEST_TILE)
        starts = part.start + np.linspace(0, n - length, count).astype(int)
        axes.append([slice(int(s), int(s) + length) for s in starts])
    return tuple((y, x) for y in axes[0] for x in axes[1])


def _records(image: Any, function: TileRecords) -> Any:
    shape = (*image.shape[:2], len(function.tiles), kernels.RECORD)
    return blocks.map_blocks(
        function,
        (image,),
        shape=shape,
        dtype=np.float64,
        block=(1, min(_SLICES, shape[1]), 1, kernels.RECORD),
    )


def _grey_range(image: Any, window: tuple[slice, ...], measured: np.ndarray) -> Any:
    """Return lazily the range (voltage, 2) that grey values are counted in."""
    if image.dtype == np.uint8:
        return np.tile([-0.5, GREY_BINS - 0.5], (len(image), 1))
    counted = image[(slice(None), slice(None), *window)]
    grid = ByVoltage(counted.shape, (1, *blocks.block_grid(counted).block[1:]))
    counts = FloatCounts(measured, (0, 0, *(part.start for part in window)))
    finish, shape = FloatRange(), (len(image), 2)
    return blocks.reduce_blocks(counts, (counted,), grid=grid, finish=finish, shape=shape)


def _drifts(image: Any, window: tuple[slice, ...], measured: np.ndarray) -> Any:
    """Return lazily the drifts (voltage, quantity, z) in bins of the range."""
    codes = counted = image[(slice(None), slice(None), *window)]
    if image.dtype != np.uint8:
        function = GreyCodes(GREY_BITS, common=False)
        ranges = [_grey_range(image, window, measured)]
        codes = blocks.map_blocks(
            function, (counted,), shape=counted.shape, dtype=function.dtype, parameters=ranges
        )
    voltages, slices, n_y, n_x = counted.shape
    quarter = (-(-n_y // HALVES), -(-n_x // HALVES))
    most = max(blocks.BLOCK_BYTES // (quarter[0] * quarter[1]), 1)
    quarters = EachApart(counted.shape, (1, min(most, _MOST_COUNTED, slices), *quarter))
    return blocks.reduce_blocks(
        TileCounts(quarters.block[1], measured),
        (codes,),
        grid=quarters,
        finish=Drifts(quarters),
        shape=(voltages, len(QUANTITIES), slices),
    )


def _dataset_of(stack: xr.Dataset, found: xr.Dataset) -> xr.Dataset:
    """Return what measurements say, by voltage and by slice."""
    dtype = stack["intensity"].dtype
    ends = value_range("intensity", dtype) if dtype.kind == "u" else (-np.inf, np.inf)
    fineness = _fineness(stack)
    unit = check_spacing(stack, "y") * fineness[0]
    each = []
    for v in range(stack.sizes["voltage"]):
        records = found["records"].values[v]
        low, high = found["ranges"].values[v]
        scale = (high - low) / GREY_BINS
        one = _of_tiles(records, ends, dtype, unit, fineness)
        one |= _of_slices(found["drifts"].values[v], low, scale, one["solid_level"][1])
        each.append(xr.Dataset({name: (dims, value) for name, (dims, value, _) in one.items()}))
    result = xr.concat(each, xr.Variable("voltage", stack["voltage"].values))
    for name, (_, _, attrs) in one.items():
        result[name].attrs |= attrs
    coords = {name: stack[name].variable for name in ("voltage", "z")}
    _warn_of_shifted(stack, result)
    _warn_of_negative(result.assign_coords(coords))
    return result.assign_coords(coords).assign_attrs(grey_type=dtype.name)


def _warn_of_shifted(stack: xr.Dataset, found: xr.Dataset) -> None:
    """Warn of signed integers that reading has shifted, though nothing was much below 0."""
    kind, shift = intensity_shift(stack) or ("", np.inf)
    if float(found["deep_pore_level"].min()) > _NEAR_ZERO * shift:
        text = (
            f"grey 0 is taken for no electrons, but the images were read of {kind}, whose 0 is "
            f"grey {shift} now: white_electrons, counting_noise and gaussian_noise mean nothing; "
            f'measure stack.assign(intensity=stack["intensity"].clip(min={shift}) - {shift})'
        )
        warnings.warn(text, FibdaskWarning, stacklevel=4)


def _warn_of_negative(found: xr.Dataset) -> None:
    """Warn of grey values below 0, where noise does not tell how many electrons were counted."""
    solid, deep = (found[f"{name}_level"].values for name in ("solid", "deep_pore"))
    below = deep < -_BELOW * (solid - deep)
    if below.any():
        v = int(np.argmax(below))
        text = (
            f"grey 0 is taken for no electrons, but at {found['voltage'].values[v]:g} kV deep "
            f"pores have {deep[v]:.4g}: white_electrons, counting_noise and gaussian_noise mean "
            "nothing; measure images as they were recorded"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=4)


def _blank(records: np.ndarray, kilovolts: float) -> np.ndarray:
    """Return which slices have one grey value alone, bool (z), by records (z, tile, record).

    Raises
    ------
    ConventionError
        If all measured ones do.
    """
    known = np.flatnonzero(np.isfinite(records[:, 0, 0]))
    levels = [estimates.parts(records[[k]])[1] for k in known]
    alike = [not np.ptp(level) > _SAME * np.abs(level).max() for level in levels]
    if all(alike):
        msg = (
            f"images must differ in brightness; at {kilovolts:g} kV each measured slice has one "
            f"grey value alone, the first one {levels[0].mean():g}"
        )
        raise ConventionError(msg)
    blank = np.zeros(len(records), bool)
    blank[known[alike]] = True
    return blank


def _warn_of_blank(blank: np.ndarray, kilovolts: float) -> None:
    """Warn of slices (z) that are left out."""
    numbers = np.flatnonzero(blank)
    named = ", ".join(map(str, numbers[:_NAMED])) + (", …" if len(numbers) > _NAMED else "")
    text = (
        f"slices of one grey value alone show nothing and are left out: {len(numbers)} at "
        f"{kilovolts:g} kV ({named}); what shows nothing at any voltage is better not measured"
    )
    warnings.warn(text, FibdaskWarning, stacklevel=3)


Told = dict[str, tuple[tuple[str, ...], Any, dict[str, str]]]


def _of_tiles(
    records: np.ndarray,
    ends: tuple[float, float],
    dtype: np.dtype[Any],
    unit: float,
    fineness: tuple[float, float],
) -> Told:
    """Return noise, blur, levels and stripes of the records (z, tile, record) of a voltage."""
    rounding = ROUNDING if dtype.kind == "u" else 0.0
    white = float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0

    def all_of(some: np.ndarray) -> np.ndarray:
        noise, levels, edges, products = estimates.parts(some)
        line = estimates.noise_line(noise, ends, rounding)
        grey = estimates.grey_levels(levels)
        counted, gaussian = np.sqrt(np.maximum([line[0] * grey[0], line[1]], 0))
        electrons = white / line[0] if line[0] > 0 else np.inf
        spread_of = unit * estimates.blur(edges, line, fineness)
        stripes = estimates.stripes(products)
        return np.array([electrons, counted, gaussian, spread_of, *grey, stripes])

    with np.errstate(invalid="ignore"):  # infinite electrons have no error
        values, errors = estimates.with_error(records, all_of)
    told: Told = {}
    for (name, (words, units)), value, error in zip(
        _OF_VOLTAGES.items(), values, errors, strict=True
    ):
        told |= _pair(name, words, units, value, error)
    blurs = [all_of(one[None])[3] if np.isfinite(one[0, 0]) else np.nan for one in records]
    attrs = {"long_name": "blur of each slice", "units": "nm"}
    return told | {"blur_of_slice": (("z",), np.array(blurs), attrs)}


def _of_slices(drifts: np.ndarray, low: float, scale: float, solid: float) -> Told:
    """Return drifts of a voltage in grey values, of those (quantity, z) in bins of a range.

    `solid` is its grey value.
    """
    gain, gain_error, offset, offset_error, along_y, along_x, rest = drifts
    # A bin b holds grey values about low + scale * b: what a gain does to `low` is no offset.
    offset = scale * offset + low * (1 - gain)
    offset_error = np.hypot(scale * offset_error, abs(low) * gain_error)
    structure = shine_through(np.stack([gain, gain_error, offset]), solid)
    error_of_offset = np.hypot(offset_error, structure * solid)
    told = _pair(
        "gain", "gain relative to the usual slice", "1", gain, np.hypot(gain_error, structure)
    )
    told |= _pair("offset", "offset relative to the usual slice", "", offset, error_of_offset)
    gradients = np.concatenate([along_y, along_x])
    stds = {
        "gain_std": (
            "drift of the logarithm of the gain",
            spread(np.log(gain), gain_error / gain, structure),
        ),
        "offset_std": ("drift of the offset", spread(offset, offset_error, structure * solid)),
        "gradient_std": (
            "change of brightness from side to side",
            spread(scale * gradients, scale * np.concatenate([rest, rest])),
        ),
    }
    for name, (words, (value, error)) in stds.items():
        told |= _pair(name, words, "1" if name == "gain_std" else "", value, error)
    return told


def _pair(name: str, words: str, units: str, value: Any, error: Any) -> Told:
    """Return a quantity and its standard error."""
    attrs = {"long_name": words} | ({"units": units} if units else {})
    dims = ("z",) if np.ndim(value) else ()
    of_error = attrs | {"long_name": f"standard error of the {words}"}
    return {name: (dims, value, attrs), f"{name}_error": (dims, error, of_error)}


_OF_VOLTAGES = {
    "white_electrons": ("electrons counted in a white pixel", "1"),
    "counting_noise": ("counting noise of solid", ""),
    "gaussian_noise": ("Gaussian noise", ""),
    "blur": ("standard deviation of the point spread", "nm"),
    "solid_level": ("grey value of solid", ""),
    "pore_level": ("grey value of pore", ""),
    "deep_pore_level": ("grey value of deep pore", ""),
    "curtaining": ("stripes along y", ""),
}
