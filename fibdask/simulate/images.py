"""Images of a structure: the solid at the surface, and what shines through the pores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import xarray as xr

from .. import blocks
from ..conventions import (
    AXES,
    DIMENSIONS,
    ConventionError,
    attributes,
    check_z,
    finish_stack,
    record_step,
    require_phase,
    validate_stack,
)
from . import _kernels as kernels
from .electrons import ATOMIC_NUMBERS, bulk_backscatter, check_materials, find_detector
from .milling import take_planes
from .noise import FULL_SCALE, Noise, make_noise, voltage_word, write_grey
from .structures import block_of, split_history

EPOXY_GOLD: Mapping[str, str] = MappingProxyType({"pore": "epoxy", "solid": "Au"})
GAUSSIAN_STD = 0.001**0.5
_WHITE = 0.6  # backscatter coefficient that is shown white: above gold's at any voltage
_GREY_LEVELS = 255
_PLACE_TOLERANCE = 1e-6  # nm


def simulate_images(
    phase: xr.DataArray,
    *,
    voltage: float | Sequence[float],
    model: str = "analytic",
    slices: xr.Dataset | Sequence[float] | None = None,
    electrons_per_pixel: float | None = 100.0,
    gaussian_std: float = GAUSSIAN_STD,
    materials: Mapping[str, str] = EPOXY_GOLD,
    detector: str = "tld",
    seed: int,
    dtype: str = "uint8",
) -> xr.Dataset:
    """Simulate the images of a structure at one or several accelerating voltages.

    Lazy: a part of the result needs the structure there and, by the depth that is seen, below.

    Parameters
    ----------
    phase
        Structure (z, y, x), uint8; its z in nm may be uneven.
    voltage
        Accelerating voltages in kV, increasing.
    model
        `analytic`: contrast falls exponentially with the depth of the first solid.
    slices
        Faces that are imaged: z in nm, or a stack of `mimic_milling`, of planes of the structure.
        Each shows the structure below it at full resolution. By default all planes.
    electrons_per_pixel
        Electrons of the beam on each pixel, whose back-scattered share is counted; None for
        images without Poisson noise.
    gaussian_std
        Standard deviation of Gaussian noise added to that, relative to white.
    materials
        Of `pore` (epoxy or PMMA) and `solid` (Au, Ag, Cu, Si, Al, C, epoxy or PMMA).
    detector
        `tld`: through the lens, all back-scattered electrons; `icd`: in the column, only those
        that lost less than a tenth of their energy.
    seed
        Of the noise. The noise of a pixel depends on the seed, the voltage, the plane of the
        structure and the pixel, not on what else is imaged.
    dtype
        Of the images: uint8, uint16 or float32 (1 is white).

    Returns
    -------
    xarray.Dataset
        Stack with `intensity` (voltage, z, y, x) and `true_phase` (z, y, x) on the imaged faces.

    Raises
    ------
    ConventionError
        If the structure is no phase, or an argument is out of range.

    Notes
    -----
    A pixel whose first solid lies at depth d below the imaged face has the signal

        η(d) = η_pore + (η_solid − η_pore) exp(−d / L),

    with the coefficients η of the bulks and the attenuation length L = h / ln 2. The depth h at
    which half of the contrast is left is 24.2 nm (V / 2 kV)^1.83 for `tld` and
    4.6 nm (V / 2 kV)^1.71 for `icd`. White is η = 0.6. Where less than half a grey level of 255
    would be left of the contrast, at about 5 L, the structure is not seen at all.
    """
    _check_structure(phase, voltage, model, dtype)
    noise = make_noise(electrons_per_pixel, gaussian_std, seed)
    kilovolts = np.atleast_1d(np.asarray(voltage, np.float64))
    pore, solid = (
        bulk_backscatter(ATOMIC_NUMBERS[name], kilovolts) / _WHITE
        for name in check_materials(materials)
    )
    seen = find_detector(detector)
    noise = Noise(noise.electrons * seen.share * _WHITE, noise.gaussian_std, noise.seed)
    planes = _find_planes(phase["z"].values, slices)
    attenuation = seen.attenuation_length(kilovolts)
    function = AnalyticImages(
        phase["z"].values, planes, kilovolts, pore, solid, attenuation, noise, dtype
    )
    stack = _imaged_stack(phase, function, _nominal_thickness(phase, slices))
    parameters = {
        "voltage": kilovolts,
        "model": model,
        "electrons_per_pixel": electrons_per_pixel,
        "gaussian_std": gaussian_std,
        "materials": dict(materials),
        "detector": detector,
        "seed": seed,
    }
    return record_step(stack, "simulate_images", parameters)


def _check_structure(
    phase: xr.DataArray, voltage: float | Sequence[float], model: str, dtype: str
) -> None:
    require_phase(phase)
    kilovolts = np.atleast_1d(np.asarray(voltage, np.float64))
    axes = {axis: phase[axis].variable for axis in AXES}
    axes["voltage"] = xr.Variable("voltage", kilovolts, attributes("voltage"))
    validate_stack(xr.Dataset({"phase": phase.variable}, axes))
    if model != "analytic":
        msg = f"model must be 'analytic'; got {model!r}"
        raise ConventionError(msg)
    if dtype not in FULL_SCALE:
        msg = f"dtype must be one of {', '.join(FULL_SCALE)}; got {dtype!r}"
        raise ConventionError(msg)


def _find_planes(z: np.ndarray, slices: xr.Dataset | Sequence[float] | None) -> np.ndarray:
    """Return the planes of the structure that are imaged."""
    if slices is None:
        return np.arange(len(z))
    faces = slices["z"].values if isinstance(slices, xr.Dataset) else slices
    faces = np.atleast_1d(np.asarray(faces, np.float64))
    if not len(faces):
        msg = "slices must hold at least one face; got none"
        raise ConventionError(msg)
    check_z(faces)
    planes = np.abs(z - faces[:, np.newaxis]).argmin(axis=1)
    distance = np.abs(z[planes] - faces)
    if (distance > _PLACE_TOLERANCE).any():
        k = int(np.argmax(distance))
        msg = (
            f"slices must be planes of the structure; slice {k} is at {faces[k]:g} nm, "
            f"the nearest plane at {z[planes[k]]:g} nm"
        )
        raise ConventionError(msg)
    return np.asarray(planes)


def _nominal_thickness(
    phase: xr.DataArray, slices: xr.Dataset | Sequence[float] | None
) -> float | None:
    """Return the thickness of the last slice, or None to repeat that of the one before it."""
    for source in (slices, phase if slices is None else None):
        if isinstance(source, xr.Dataset | xr.DataArray) and "slice_thickness" in source.coords:
            return float(source["slice_thickness"].values[-1])
    spacing = phase["z"].attrs.get("spacing")
    return None if spacing is None else float(spacing)


def _imaged_stack(
    phase: xr.DataArray, function: "AnalyticImages", nominal_thickness: float | None
) -> xr.Dataset:
    planes = function.planes
    _, history = split_history(phase)
    slices = take_planes(phase.data, planes)
    images = blocks.map_blocks(
        function,
        [phase.data],
        shape=(len(function.voltage), *slices.shape),
        dtype=function.dtype,
        block=(1, *block_of(slices)),
    )
    coords = {axis: phase[axis].variable for axis in ("y", "x")}
    coords["z"] = xr.Variable("z", phase["z"].values[planes], attributes("z"))
    coords["voltage"] = xr.Variable("voltage", function.voltage, attributes("voltage"))
    volumes = {
        "intensity": (DIMENSIONS, images, attributes("intensity")),
        "true_phase": (AXES, slices, attributes("true_phase")),
    }
    return finish_stack(xr.Dataset(volumes, coords, history), nominal_thickness=nominal_thickness)


@dataclass(frozen=True, eq=False)
class AnalyticImages:
    """Block function: images by exponential attenuation, with noise.

    Attributes
    ----------
    z
        Of the planes of the structure in nm.
    planes
        The imaged ones.
    voltage
        In kV.
    pore, solid
        Signal of the bulks relative to white (voltage).
    attenuation_length
        In nm (voltage).
    noise
        Of every image.
    dtype
        Of the images.
    """

    z: np.ndarray
    planes: np.ndarray
    voltage: np.ndarray
    pore: np.ndarray
    solid: np.ndarray
    attenuation_length: np.ndarray
    noise: Noise
    dtype: str

    def needs(self, region: blocks.Region) -> tuple[blocks.Region, ...]:
        """Return the planes from the first imaged one to the deepest that is seen."""
        voltages, slices, y, x = region
        planes = self.planes[slices]
        deepest = max(self._last_seen(v, planes[-1]) for v in range(voltages.start, voltages.stop))
        return ((slice(int(planes[0]), deepest + 1), y, x),)

    def compute(self, region: blocks.Region, *inputs: np.ndarray) -> np.ndarray:
        """Simulate the images of a region."""
        (phase,) = inputs
        voltages, slices, y, x = region
        images = np.empty(blocks.lengths(region), self.dtype)
        signal = np.empty(images.shape[2:], np.float32)
        top = int(self.planes[slices.start])
        # From the bottom up, each plane is looked at once for all faces above it.
        first_solid = np.full(signal.shape, len(self.z), np.int32)
        below = top + len(phase)
        for k in reversed(range(slices.start, slices.stop)):
            plane = int(self.planes[k])
            kernels.update_first_solid(phase[plane - top : below - top], plane, first_solid)
            below = plane
            for v in range(voltages.start, voltages.stop):
                kernels.look_up_depth(first_solid, plane, self._signals(v, plane), signal)
                image = (voltage_word(self.voltage[v]), plane)
                self.noise.add(signal, image, y.start, x.start)
                write_grey(signal, images[v - voltages.start, k - slices.start])
        return images

    def working_bytes(self, region: blocks.Region) -> int:
        """First solid, signal and its grey values, of one plane at a time."""
        n_y, n_x = blocks.lengths(region)[2:]
        return 12 * n_y * n_x + 32 * len(self.z)

    def _last_seen(self, voltage: int, plane: int) -> int:
        contrast = abs(self.solid[voltage] - self.pore[voltage]) * _GREY_LEVELS
        reach = self.attenuation_length[voltage] * np.log(max(2 * contrast, 1.0))
        return int(np.searchsorted(self.z, self.z[plane] + reach, side="right")) - 1

    def _signals(self, voltage: int, plane: int) -> np.ndarray:
        """Return the signal of a first solid 0, 1, … planes below, and last of none in sight."""
        depth = self.z[plane : self._last_seen(voltage, plane) + 1] - self.z[plane]
        attenuation = np.append(np.exp(-depth / self.attenuation_length[voltage]), 0)
        pore, solid = self.pore[voltage], self.solid[voltage]
        return np.asarray(pore + (solid - pore) * attenuation, np.float32)
