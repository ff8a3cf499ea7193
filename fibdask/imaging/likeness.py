"""What to simulate with, so that images are like those of a stack."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ..conventions import (
    AXES,
    ConventionError,
    FibdaskWarning,
    attributes,
    axis_spacing,
    check_spacing,
    measured_slices,
    recorded_steps,
    require,
)
from ..pieces.image_header import ImageNames
from ..pieces.models import AUTO
from ..simulate import simulate_images
from ..simulate.electrons.attenuation import find_detector
from ..simulate.electrons.elastic import Model
from ..simulate.images.imaging import EPOXY_GOLD, WHITE
from ..simulate.images.noise import FULL_SCALE
from .measurement import measure_imaging

_MOST_SLICES = 32  # that are measured
_FULL_WIDTH = 2 * (2 * np.log(2)) ** 0.5  # at half maximum of a Gaussian, in standard deviations
_MOST_ELECTRONS = 1e5  # counted on a white pixel, where noise does not grow with brightness
_UNSEEN = 0.1  # of the variance of other noise: what counting adds that is taken for none
_MANY = 1000.0  # electrons on a pixel, ten times the default, to be followed one by one
_OTHER = 1.5  # times, by which voltages may differ in what the simulator has one number of
_FAINT = 2.0  # standard errors, below which drifts and stripes are none
_FAINT_STRIPES = 0.02  # of the contrast: structures have that much in common by chance
_BULK = (1, 16, 16)  # voxels of a bulk
_BULK_VOXEL = 100.0  # nm: electrons cross it in few steps
_BULK_ELECTRONS = 1600.0  # on a pixel: 400,000, whose chance is half a grey level of 255


def simulation_options(
    stack: xr.Dataset,
    *,
    model: str = "monte_carlo",
    materials: dict[str, str] | None = None,
    detector: str = "tld",
    elastic: Model = "mott",
) -> dict[str, Any]:
    """Return options of `simulate_stack` for images like those of a stack.

    Computes: it measures up to 32 of the slices, see `measure_imaging`, and simulates images of
    bulks of both materials, seconds.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x), as it was recorded.
    model
        As it will be simulated: the electrons of `monte_carlo` come from a beam as wide as the
        blur; of images of the other models edges at the face are blurred, with their noise (see
        `blur_edges`), and what shines through stays sharp: from 2 kV on, less blur is measured of
        them than of the stack.
    materials
        Of `pore` and `solid`, as they will be simulated; by default epoxy and gold.
    detector, elastic
        As they will be simulated, see `simulate_images`.

    Returns
    -------
    dict
        `voxel_size`, `mean_thickness`, `std_thickness`, `voltage`, `dtype`, `electrons_per_pixel`,
        `gaussian_std`, `beam_diameter`, `blur_width`, `contrast`, `brightness`, `gain_std`,
        `offset_std`, `gradient_std` and `curtaining`; drifts and stripes of less than two standard
        errors are 0. Grey levels of solid and deep pore become those of the stack, and so does
        their noise. Where it does not grow with brightness, it is Gaussian, and electrons are so
        many that counting adds next to none: 1e5 are counted on a white pixel. `monte_carlo`,
        which follows each, has fewer, so that a bright pixel's counting adds a tenth of the
        variance.

    Raises
    ------
    ConventionError
        If the stack cannot be measured, its solid is not brighter than its pores, float32 images
        drift by more than their white, 1, or the model does not know the materials.

    Warns
    -----
    FibdaskWarning
        If voltages differ by more than half in noise, blur or drift, of which the simulator has
        one number: the median is taken, and of blur that of the lowest voltage. If `monte_carlo`
        would follow more than 1000 electrons on each pixel.
    """
    stack = require(stack, "intensity")
    measured = np.flatnonzero(measured_slices(stack))
    some = np.unique(np.linspace(0, len(measured) - 1, _MOST_SLICES).astype(int))
    found = measure_imaging(stack.isel(z=measured[some]))
    signals = _bulk_signals(found["voltage"].values, model, materials, detector, elastic)
    contrast, brightness = _grey_scale(found, *signals)
    counted, gaussian = _noise(found, *signals, followed=model == "monte_carlo")
    electrons = _one("electrons_per_pixel", counted / (WHITE * find_detector(detector).share))
    if model == "monte_carlo":
        _warn_of_many(electrons)
    white = FULL_SCALE[str(found.attrs["grey_type"])]
    size_y, size_x = check_spacing(stack, "y"), check_spacing(stack, "x")
    # That of a pixel is in all images, and in those that are simulated.
    of_pixel = (size_y**2 + size_x**2) / 24
    blur = np.sqrt(max(np.nan_to_num(found["blur"].values[0]) ** 2 - of_pixel, 0.0))
    thickness = _thicknesses(stack)
    mean = float(thickness.mean()) if len(thickness) else axis_spacing(stack, "z")
    of_white = {
        "offset_std": _drift(found, "offset_std", white),
        "gradient_std": _drift(found, "gradient_std", white),
        "curtaining": _stripes(found) / white,
    }
    _check_white(of_white)
    return {
        "voxel_size": (min(size_y, size_x), size_y, size_x),
        "mean_thickness": mean,
        "std_thickness": float(thickness.std()) if len(thickness) > 1 else 0.0,
        "voltage": tuple(float(v) for v in stack["voltage"].values),
        "dtype": str(found.attrs["grey_type"]),
        "electrons_per_pixel": electrons,
        "gaussian_std": _one("gaussian_std", gaussian),
        "beam_diameter": float(_FULL_WIDTH * blur) if model == "monte_carlo" else 0.0,
        "blur_width": 0.0 if model == "monte_carlo" else float(blur),
        "contrast": tuple(map(float, contrast)),
        "brightness": tuple(map(float, brightness)),
        "gain_std": _drift(found, "gain_std", 1.0),
        **of_white,
    }


def _check_white(of_white: Mapping[str, float]) -> None:
    """Refuse drifts and stripes beyond white: grey values are on another scale."""
    name, most = max(of_white.items(), key=lambda item: item[1])
    if most > 1:
        msg = (
            f"drifts and stripes must be shares of white, which is 1 in float32 images; {name} is "
            f"{most:.3g}: bring grey values to 0 … 1 first, such as by stack.assign("
            'intensity=stack["intensity"] / white) with the grey value that is to be white'
        )
        raise ConventionError(msg)


def _thicknesses(stack: xr.Dataset) -> np.ndarray:
    """Return distances of slices in nm that follow one another: those across lost ones are none.

    Planes of a repositioned stack that are not measured are no slices that were lost; numbers that
    the names of images skip are.
    """
    z, measured = stack["z"].values, measured_slices(stack)
    if any(record["step"] == "reposition_slices" for record in recorded_steps(stack)):
        return np.diff(z[measured])
    both = measured[1:] & measured[:-1]
    images = ImageNames.of(stack)
    if images is not None and len(images.numbers):
        both &= images.spans == 1
    steps: np.ndarray = np.diff(z)
    return steps[both] if both.any() else steps


def _bulk_signals(
    kilovolts: np.ndarray,
    model: str,
    materials: Mapping[str, str] | None,
    detector: str,
    elastic: Model,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the signals (voltage) of pore and solid without end, of which 1 is white."""
    sizes = zip(AXES, _BULK, strict=True)
    attrs = {"spacing": _BULK_VOXEL}
    coords = {
        axis: (axis, _BULK_VOXEL * np.arange(n), attributes(axis) | attrs) for axis, n in sizes
    }
    signals = []
    for label in (0, 1):
        bulk = xr.DataArray(
            np.full(_BULK, label, np.uint8), coords, AXES, attrs=attributes("phase")
        )
        images = simulate_images(
            bulk,
            voltage=kilovolts.tolist(),
            # Networks have learnt what Monte Carlo says.
            model="monte_carlo" if model == "learned" else model,
            electrons_per_pixel=None if model == "analytic" else _BULK_ELECTRONS,
            gaussian_std=0.0,
            materials=materials or EPOXY_GOLD,
            detector=detector,
            elastic=elastic,
            seed=0,
            dtype="float32",
            # The same numbers wherever a recipe is read.
            device=AUTO if model == "analytic" else "cpu",
        )
        signals.append(images["intensity"].values.mean(axis=(1, 2, 3), dtype=np.float64))
    return signals[0], signals[1]


def _grey_scale(
    found: xr.Dataset, pore: np.ndarray, solid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return contrast and brightness (voltage) that make grey values of the signals of bulks.

    A signal s becomes white * (contrast * s + brightness), after its noise.
    """
    white = FULL_SCALE[str(found.attrs["grey_type"])]
    dark, bright = found["deep_pore_level"].values, found["solid_level"].values
    if (wrong := ~((bright > dark) & (solid > pore))).any():
        v = int(np.argmax(wrong))
        msg = (
            f"solid must be brighter than pores to be simulated; at {found['voltage'].values[v]:g} "
            f"kV grey values are {bright[v]:.4g} and {dark[v]:.4g}, and signals of the materials "
            f"{solid[v]:.3g} and {pore[v]:.3g} of white"
        )
        raise ConventionError(msg)
    contrast = (bright - dark) / (white * (solid - pore))
    return contrast, dark / white - contrast * pore


def _noise(
    found: xr.Dataset, pore: np.ndarray, solid: np.ndarray, *, followed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts of a signal of 1 and the Gaussian noise of signals (voltage).

    Electrons that are `followed` one by one are no more than needed.
    """
    dark, bright = found["deep_pore_level"].values, found["solid_level"].values
    per_grey = (solid - pore) / (bright - dark)
    rise = found["counting_noise"].values ** 2 / bright * per_grey**2  # of variance with grey value
    at_dark = rise * dark + (found["gaussian_noise"].values * per_grey) ** 2
    least = 1 / _MOST_ELECTRONS
    if followed:  # at no voltage is what counting adds to bright pixels seen
        least = max(least, _UNSEEN * float((at_dark / solid).min()))
    per_signal = np.maximum(rise / per_grey, least)
    return 1 / per_signal, np.sqrt(np.maximum(at_dark - per_signal * pore, 0))


def _warn_of_many(electrons: float) -> None:
    """Warn of electrons that take Monte Carlo long."""
    if electrons > _MANY:
        text = (
            f"noise of these images hardly grows with brightness, as that of {electrons:.3g} "
            "electrons_per_pixel, each of which the model 'monte_carlo' follows: that takes long; "
            "the models 'learned' and 'analytic' count any number at once"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=3)


def _one(name: str, values: np.ndarray) -> float:
    """Return the median of what voltages differ in, and warn if they do."""
    if values.max() > _OTHER * max(values.min(), 1e-3 * values.max()) and values.max() > 0.01:
        text = ", ".join(f"{value:.3g}" for value in values)
        told = f"{name} is one number for all voltages; measured are {text}: the median is taken"
        warnings.warn(told, FibdaskWarning, stacklevel=4)
    return float(np.median(values))


def _drift(found: xr.Dataset, name: str, white: float) -> float:
    value, error = (np.nan_to_num(found[key].values) / white for key in (name, f"{name}_error"))
    return float(np.median(np.where(value > _FAINT * error, value, 0.0)))


def _stripes(found: xr.Dataset) -> float:
    contrast = (found["solid_level"] - found["deep_pore_level"]).values
    least = np.maximum(_FAINT * found["curtaining_error"].values, _FAINT_STRIPES * contrast)
    value = found["curtaining"].values
    return float(np.median(np.where(value > least, value, 0.0)))
