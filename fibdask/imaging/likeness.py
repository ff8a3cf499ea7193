"""What to simulate with, so that images are like those of a stack."""

import warnings
from typing import Any

import numpy as np
import xarray as xr

from ..conventions import (
    ConventionError,
    FibdaskWarning,
    axis_spacing,
    check_spacing,
    measured_slices,
    recorded_steps,
    require,
)
from ..pieces.labels.names import ImageNames
from ..simulate.electrons.attenuation import (
    ATOMIC_NUMBERS,
    bulk_backscatter,
    check_materials,
    find_detector,
)
from ..simulate.images.imaging import EPOXY_GOLD, WHITE
from ..simulate.images.noise import FULL_SCALE
from .measurement import measure_imaging

_MOST_SLICES = 32  # that are measured
_FULL_WIDTH = 2 * (2 * np.log(2)) ** 0.5  # at half maximum of a Gaussian, in standard deviations
_MOST_ELECTRONS = 1e5  # on a pixel, where noise does not grow with brightness
_OTHER = 1.5  # times, by which voltages may differ in what the simulator has one number of
_FAINT = 2.0  # standard errors, below which drifts and stripes are none
_FAINT_STRIPES = 0.02  # of the contrast: structures have that much in common by chance


def simulation_options(
    stack: xr.Dataset,
    *,
    model: str = "monte_carlo",
    materials: dict[str, str] | None = None,
    detector: str = "tld",
) -> dict[str, Any]:
    """Return options of `simulate_stack` for images like those of a stack.

    Computes: it measures up to 32 of the slices, see `measure_imaging`.

    Parameters
    ----------
    stack
        Stack with `intensity` (voltage, z, y, x), as it was recorded.
    model
        As it will be simulated: the electrons of `monte_carlo` come from a beam as wide as the
        blur; of images of the other models edges are blurred, with their noise.
    materials
        Of `pore` and `solid`, as they will be simulated; by default epoxy and gold.
    detector
        As it will be simulated, `tld` or `icd`.

    Returns
    -------
    dict
        `voxel_size`, `mean_thickness`, `std_thickness`, `voltage`, `dtype`, `electrons_per_pixel`,
        `gaussian_std`, `beam_diameter`, `blur_width`, `contrast`, `brightness`, `gain_std`,
        `offset_std`, `gradient_std` and `curtaining`; drifts and stripes of less than two standard
        errors are 0. Grey levels of solid and deep pore become those of the stack, and so does
        their noise.

    Raises
    ------
    ConventionError
        If the stack cannot be measured, or its solid is not brighter than its pores.

    Warns
    -----
    FibdaskWarning
        If voltages differ by more than half in noise, blur or drift, of which the simulator has
        one number: the median is taken, and of blur that of the lowest voltage.
    """
    stack = require(stack, "intensity")
    measured = np.flatnonzero(measured_slices(stack))
    some = np.unique(np.linspace(0, len(measured) - 1, _MOST_SLICES).astype(int))
    found = measure_imaging(stack.isel(z=measured[some]))
    electrons, gaussian, contrast, brightness = _grey_scale(
        found, check_materials(materials or EPOXY_GOLD), detector
    )
    white = FULL_SCALE[str(found.attrs["grey_type"])]
    size_y, size_x = check_spacing(stack, "y"), check_spacing(stack, "x")
    # That of a pixel is in all images, and in those that are simulated.
    of_pixel = (size_y**2 + size_x**2) / 24
    blur = np.sqrt(max(np.nan_to_num(found["blur"].values[0]) ** 2 - of_pixel, 0.0))
    thickness = _thicknesses(stack)
    mean = float(thickness.mean()) if len(thickness) else axis_spacing(stack, "z")
    return {
        "voxel_size": (min(size_y, size_x), size_y, size_x),
        "mean_thickness": mean,
        "std_thickness": float(thickness.std()) if len(thickness) > 1 else 0.0,
        "voltage": tuple(float(v) for v in stack["voltage"].values),
        "dtype": str(found.attrs["grey_type"]),
        "electrons_per_pixel": _one("electrons_per_pixel", electrons),
        "gaussian_std": _one("gaussian_std", gaussian),
        "beam_diameter": float(_FULL_WIDTH * blur) if model == "monte_carlo" else 0.0,
        "blur_width": 0.0 if model == "monte_carlo" else float(blur),
        "contrast": tuple(map(float, contrast)),
        "brightness": tuple(map(float, brightness)),
        "gain_std": _drift(found, "gain_std", 1.0),
        "offset_std": _drift(found, "offset_std", white),
        "gradient_std": _drift(found, "gradient_std", white),
        "curtaining": _stripes(found) / white,
    }


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
        both &= np.diff(images.numbers) == 1
    steps: np.ndarray = np.diff(z)
    return steps[both] if both.any() else steps


def _grey_scale(
    found: xr.Dataset, materials: tuple[str, str], detector: str
) -> tuple[np.ndarray, ...]:
    """Return electrons, Gaussian noise, contrast and brightness (voltage) that make grey values.

    A signal s becomes white * (contrast * s + brightness), after its noise.
    """
    white = FULL_SCALE[str(found.attrs["grey_type"])]
    kilovolts = found["voltage"].values
    pore, solid = (bulk_backscatter(ATOMIC_NUMBERS[name], kilovolts) / WHITE for name in materials)
    dark, bright = found["deep_pore_level"].values, found["solid_level"].values
    if (wrong := ~((bright > dark) & (solid > pore))).any():
        v = int(np.argmax(wrong))
        msg = (
            f"solid must be brighter than pores to be simulated; at {kilovolts[v]:g} kV grey "
            f"values are {bright[v]:.4g} and {dark[v]:.4g}, and signals of {materials[1]} and "
            f"{materials[0]} {solid[v]:.3g} and {pore[v]:.3g} of white"
        )
        raise ConventionError(msg)
    contrast = (bright - dark) / (white * (solid - pore))
    brightness = dark / white - contrast * pore
    counted = found["counting_noise"].values ** 2
    rise = counted / bright / (contrast * white) ** 2  # of relative variance with grey value
    per_signal = np.maximum(rise * contrast * white, 1 / _MOST_ELECTRONS)
    at_dark = rise * dark + (found["gaussian_noise"].values / (contrast * white)) ** 2
    gaussian = np.sqrt(np.maximum(at_dark - per_signal * pore, 0))
    electrons = 1 / (per_signal * WHITE * find_detector(detector).share)
    return electrons, gaussian, contrast, brightness


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
