"""Images of a structure: the solid at the surface, and what shines through the pores."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from ... import blocks
from ...conventions import (
    AXES,
    DIMENSIONS,
    PHASE_ATTRS,
    PHASES,
    ConventionError,
    FibdaskWarning,
    OptionTable,
    attributes,
    check_belongs,
    check_choice,
    check_positive,
    check_spacing,
    check_z,
    finish_stack,
    record_step,
    require_phase,
    validate_stack,
)
from ...pieces.devices import chosen_device
from ...pieces.models import AUTO
from ...pieces.planes import block_of, pick_planes
from ..electrons.attenuation import (
    ATOMIC_NUMBERS,
    Detector,
    bulk_backscatter,
    check_materials,
    find_detector,
)
from ..electrons.cuda import cuda_available
from ..electrons.elastic import Model
from ..electrons.materials import Material
from ..electrons.transport import CUTOFF_EV, Losses, VoxelLengths
from ..structures.building import check_known, split_history
from ._functions_analytic import AnalyticImages
from ._functions_learned import LearnedImages
from ._functions_monte_carlo import (
    Materials,
    Microscope,
    MonteCarloImages,
    label_materials,
    tile_block,
)
from .learned import learned_images
from .noise import FULL_SCALE, Noise, make_noise

EPOXY_GOLD: Mapping[str, str] = MappingProxyType({"pore": "epoxy", "solid": "Au"})
GAUSSIAN_STD = 0.001**0.5
WHITE = 0.6
"""Backscatter coefficient that is shown white: above gold's at any voltage."""
_ELECTRONS_PER_PA_US = 6.241509  # in a picoampere times a microsecond
_PLACE_TOLERANCE = 1e-6  # nm
_SAME_DISTANCE = 1e-6  # relative difference that is rounding
_KILOVOLTS = (0.05, 60.0)  # of microscopes
_NARROW = 2.0  # degrees: an acceptance angle that lets in a thousandth of the electrons
_MODELS = ("analytic", "learned", "monte_carlo")
_MICROSCOPE = ("learned", "monte_carlo")  # models of a microscope; the first refuses others
_OF_MODELS: OptionTable = {
    "network": (AUTO, ("learned",)),
    "acceptance_angle": (90.0, _MICROSCOPE),
    "energy_window": (None, _MICROSCOPE),
    "elastic": ("mott", _MICROSCOPE),
    "losses": (None, _MICROSCOPE),
    "tilt": (0.0, _MICROSCOPE),
    "beam_diameter": (0.0, _MICROSCOPE),
    "cutoff_ev": (CUTOFF_EV, _MICROSCOPE),
    "device": (AUTO, _MICROSCOPE),
}
_FINEST_PART = 4  # of the least distance of uneven planes, in which the others are measured
_PART_TOLERANCE = 0.01

Images = AnalyticImages | LearnedImages | MonteCarloImages


# Twenty arguments: public; the block functions below take them as records.
def simulate_images(
    phase: xr.DataArray,
    *,
    voltage: float | Sequence[float],
    model: str = "monte_carlo",
    network: str = AUTO,
    slices: xr.Dataset | Sequence[float] | None = None,
    electrons_per_pixel: float | None = 100.0,
    beam_current: float | None = None,
    dwell_time: float | None = None,
    gaussian_std: float = GAUSSIAN_STD,
    materials: Materials = EPOXY_GOLD,
    detector: str = "tld",
    acceptance_angle: float = 90.0,
    energy_window: float | None = None,
    elastic: Model = "mott",
    losses: Losses | None = None,
    tilt: float = 0.0,
    beam_diameter: float = 0.0,
    cutoff_ev: float = CUTOFF_EV,
    seed: int,
    dtype: str = "uint8",
    device: str = "auto",
) -> xr.Dataset:
    """Simulate the images of a structure at one or several accelerating voltages.

    Lazy: a part of the result needs the structure there and, by the depth that is seen, below.

    Parameters
    ----------
    phase
        Structure (z, y, x), uint8, at depths z in nm that may be uneven: phases, or for Monte
        Carlo any labels that have materials.
    voltage
        Accelerating voltages in kV, increasing.
    model
        `monte_carlo`: each electron is followed. `learned`: a network that has learnt from that
        says how many electrons come back on average, in seconds. `analytic`: contrast falls
        exponentially with the depth of the first solid. Arguments from `acceptance_angle` to
        `cutoff_ev`, and other materials than named for the others, are for `monte_carlo` only.
    network
        For `learned`: `auto`, the best one that ships for these voltages, pixels and materials,
        or the name or folder of another; see `list_models`.
    slices
        Faces that are imaged: z in nm, or a stack of `mimic_milling`, of planes of the structure.
        Each shows the structure below it at full resolution. By default all planes.
    electrons_per_pixel
        Electrons of the beam on each pixel, whose back-scattered share is counted; None for
        images without Poisson noise, as they are on average, which Monte Carlo cannot make.
    beam_current, dwell_time
        In pA and µs; where given, their product is the charge on each pixel.
    gaussian_std
        Standard deviation of Gaussian noise added to that, relative to white.
    materials
        Of `pore` and `solid`: for `analytic` epoxy or PMMA, and Au, Ag, Cu, Si, Al, C, epoxy or
        PMMA; for `learned` those of the network's card: epoxy, PMMA or vacuum, and Au, Ag, Cu, Al
        or Si with the one that ships. For Monte Carlo any names or a `Material`, of the phases or
        of labels 0, 1, ….
    detector
        `tld`: through the lens, all back-scattered electrons; `icd`: in the column, only those
        that lost less than a tenth of their energy.
    acceptance_angle
        Half-angle in degrees of the cone about the beam in which electrons are detected.
    energy_window
        Share of its energy that a detected electron may have lost, instead of the detector's.
    elastic
        `mott` or `browning`: model of elastic scattering, see `elastic_table`.
    losses
        `continuous` along the way, or `discrete` and random; by default discrete for a window of
        energies, which shows too little with continuous ones. See `loss_scale`.
    tilt
        Angle between beam and normal of the surface in degrees, towards +y.
    beam_diameter
        Full width at half maximum of the beam in nm, beside an even spread over the pixel.
    cutoff_ev
        Energy in eV at which electrons are given up.
    seed
        Of all random numbers. Those of a pixel depend on the seed, the voltage, the plane of the
        structure and the pixel, not on what else is imaged.
    dtype
        Of the images: uint8, uint16 or float32 (1 is white).
    device
        Where electrons fly or a network predicts: `gpu`, `cpu`, or `auto`, a GPU where this
        process has one. Images of both agree within their statistics, not bit for bit; so they
        have other fingerprints. Not for `analytic`.

    Returns
    -------
    xarray.Dataset
        Stack with `intensity` (voltage, z, y, x) and `true_phase` (z, y, x) on the imaged faces;
        `true_label` in its place for a structure of labels that are no phases. Images and truth
        have blocks of their own.

    Raises
    ------
    ConventionError
        If the structure is no phase or holds planes without data, an argument is out of range or
        not for the model, or torch is needed and not installed.

    Warns
    -----
    FibdaskWarning
        If next to no electrons come out in so small an acceptance angle, or more in an energy
        window than white stands for.

    Notes
    -----
    In the analytic model, a pixel whose first solid lies at depth d below the imaged face has
    the signal

        η(d) = η_pore + (η_solid − η_pore) exp(−d / L),

    with the coefficients η of the bulks and the attenuation length L = h / ln 2. The depth h at
    which half of the contrast is left is 24.2 nm (V / 2 kV)^1.83 for `tld` and
    6.1 nm (V / 2 kV)^1.53 for `icd`. White is η = 0.6. Where less than half a grey level of 255
    would be left of the contrast, at about 5 L, the structure is not seen at all.

    By Monte Carlo, the number of electrons on a pixel is Poisson-distributed and those detected
    are counted, so that shot noise is that of a real image. White is 0.6 of them times 0.35 for
    `icd`, and times sin² of the acceptance angle, as of a cosine law. No public text defines the
    acceptance of these detectors; the angle and the window can be set. Beyond its sides the
    structure is mirrored; below its last plane it goes on as that. Planes of uneven z are cut anew
    below each face, at steps of the least of their distances or a half, third or fourth of it,
    whichever fits all. Where a material is vacuum, electrons are given up 1 µm below the face.

    The network of `learned` is shown how much solid is in layers below each pixel and around it,
    and says the mean image of all electrons through the lens, without tilt, by a beam as thin as
    a point, with Mott's cross-sections; anything else is refused. Counts about that are Poisson-
    distributed, as they are by Monte Carlo. It is shown the structure's mirror image only a few
    pixels beyond the sides. Its card tells how much it errs.
    """
    check_choice("model", model, _MODELS)
    check_choice("dtype", dtype, FULL_SCALE)
    given = {
        "network": network,
        "acceptance_angle": acceptance_angle,
        "energy_window": energy_window,
        "elastic": elastic,
        "losses": losses,
        "tilt": tilt,
        "beam_diameter": beam_diameter,
        "cutoff_ev": cutoff_ev,
        "device": device,
    }
    check_belongs(model, given, _OF_MODELS, of="model")
    kilovolts = _kilovolts(voltage)
    if not isinstance(materials, Mapping):
        msg = f"materials must be by name, such as {EPOXY_GOLD}; got {materials!r}"
        raise ConventionError(msg)
    (check_materials if model == "analytic" else label_materials)(materials)
    is_phase = set(materials) == set(EPOXY_GOLD)
    phase = _checked_structure(phase, kilovolts, is_phase=is_phase)
    electrons = _dose(electrons_per_pixel, beam_current, dwell_time)
    noise = make_noise(electrons, gaussian_std, seed)
    seen = find_detector(detector)
    window = seen.largest_loss if energy_window is None else energy_window
    microscope = Microscope(
        acceptance_angle=acceptance_angle,
        energy_window=window,
        tilt=tilt,
        beam_diameter=beam_diameter,
        cutoff_ev=cutoff_ev,
        elastic=elastic,
        losses=losses or ("continuous" if window == 1 else "discrete"),
        white=WHITE * seen.share,
    )
    _warn_of_angle(acceptance_angle)
    _warn_of_window(window, seen.largest_loss)
    faces = phase["z"].values, _find_planes(phase["z"].values, slices), kilovolts
    images: Images
    told: dict[str, Any] = {}
    if model == "analytic":
        images = _analytic_images(faces, check_materials(materials), seen, noise, dtype)
        block = (1, *block_of(pick_planes(phase.data, images.planes)))
    elif model == "learned":
        images, told = learned_images(
            phase, faces, materials, microscope, network, device, noise, dtype
        )
        block = (1, 1, *images.tile)
    else:
        size, image = _voxel_size(phase), (phase.sizes["y"], phase.sizes["x"])
        named = label_materials(materials)
        at = chosen_device(device, cuda_available)
        images = MonteCarloImages(*faces, size, image, named, microscope, noise, dtype, at)
        told = asdict(microscope) | {"device": at}
        block = tile_block(*images.image)
    truth = "true_phase" if is_phase or _are_phases(phase, materials) else "true_label"
    stack = _imaged_stack(phase, images, block, truth, _nominal_thickness(phase, slices))
    stack = stack.assign_attrs(_history(phase, slices))
    parameters = {
        "voltage": kilovolts,
        "model": model,
        "electrons_per_pixel": electrons,
        "gaussian_std": gaussian_std,
        "materials": _plain_materials(materials),
        "detector": detector,
        "seed": seed,
        **told,
    }
    token = blocks.fingerprint(blocks.array_token(phase.data))
    return record_step(stack, "simulate_images", parameters, token)


def _kilovolts(voltage: float | Sequence[float]) -> np.ndarray:
    """Return voltages, float64 (voltage)."""
    try:
        return np.atleast_1d(np.asarray(voltage, np.float64))
    except (TypeError, ValueError):
        msg = f"voltage must be a number of kV, or several; got {voltage!r}"
        raise ConventionError(msg) from None


def _warn_of_angle(degrees: float) -> None:
    """Warn of an acceptance angle that is rather in radians."""
    if degrees < _NARROW:
        share = np.sin(np.deg2rad(degrees)) ** 2
        text = f"an acceptance_angle of {degrees:.3g} degrees lets in {share:.1g} of the electrons"
        warnings.warn(text, FibdaskWarning, stacklevel=3)


def _warn_of_window(window: float, of_white: float) -> None:
    """Warn of a window that lets in more than white stands for."""
    if window > of_white:
        text = (
            f"an energy_window of {window:g} lets in more electrons than those of {of_white:g}, "
            "which white stands for with this detector: grey values are cut off at white; use the "
            "detector 'tld', or dtype='float32', which goes beyond"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=3)


def _are_phases(labels: xr.DataArray, materials: Materials) -> bool:
    """Tell whether labels 0 and 1 mean pore and solid; attributes may be of what they were."""
    meant = labels.attrs.get("flag_meanings") == PHASE_ATTRS["flag_meanings"]
    return meant and set(materials) <= {0, 1}


def _plain_materials(materials: Materials) -> dict[str, Any]:
    """Return materials as JSON knows them."""
    return {
        str(key): asdict(material) if isinstance(material, Material) else material
        for key, material in materials.items()
    }


def _analytic_images(
    faces: tuple[np.ndarray, np.ndarray, np.ndarray],
    materials: tuple[str, str],
    seen: Detector,
    noise: Noise,
    dtype: str,
) -> AnalyticImages:
    pore, solid = (bulk_backscatter(ATOMIC_NUMBERS[name], faces[2]) / WHITE for name in materials)
    noise = replace(noise, electrons=noise.electrons * seen.share * WHITE)
    return AnalyticImages(*faces, pore, solid, seen.attenuation_length(faces[2]), noise, dtype)


def _checked_structure(
    phase: xr.DataArray, kilovolts: np.ndarray, *, is_phase: bool
) -> xr.DataArray:
    if is_phase:
        phase = require_phase(phase)
    elif not isinstance(phase, xr.DataArray) or phase.dims != AXES or phase.dtype != np.uint8:
        found = f"{phase.dims} of {phase.dtype}" if hasattr(phase, "dims") else type(phase).__name__
        msg = f"labels must be an xarray.DataArray (z, y, x) of uint8; got {found}"
        raise ConventionError(msg)
    check_known(phase)
    axes = {axis: phase[axis].variable for axis in AXES}
    axes["voltage"] = xr.Variable("voltage", kilovolts, attributes("voltage"))
    blank = np.broadcast_to(np.uint8(0), (len(kilovolts), *phase.shape))
    validate_stack(xr.Dataset({"intensity": (DIMENSIONS, blank)}, axes))
    low, high = _KILOVOLTS
    if kilovolts[0] < low or kilovolts[-1] > high:
        msg = f"voltage must be from {low:g} to {high:g} kV; got {kilovolts.tolist()} kV"
        raise ConventionError(msg)
    return phase


def _dose(
    electrons_per_pixel: float | None, beam_current: float | None, dwell_time: float | None
) -> float | None:
    """Return the electrons on a pixel: those given, or current times time."""
    if beam_current is None and dwell_time is None:
        return electrons_per_pixel
    if beam_current is None or dwell_time is None:
        msg = (
            "beam_current and dwell_time must be given together; "
            f"got {beam_current} pA and {dwell_time} µs"
        )
        raise ConventionError(msg)
    current = check_positive("beam_current", beam_current, "pA")
    return current * check_positive("dwell_time", dwell_time, "µs") * _ELECTRONS_PER_PA_US


def _voxel_size(phase: xr.DataArray) -> VoxelLengths:
    """Return the spacing of voxels along z, y, x in nm; that of uneven planes is made finer."""
    z = phase["z"].values
    size_z = _common_step(np.diff(z)) if len(z) > 1 else check_spacing(phase, "z")
    return size_z, check_spacing(phase, "y"), check_spacing(phase, "x")


def _common_step(distances: np.ndarray) -> float:
    """Return the least distance or the largest whole part of it that divides all, if large."""
    least = float(distances.min())
    for parts in range(1, _FINEST_PART):
        steps = distances * parts / least
        if np.abs(steps - np.rint(steps)).max() < _PART_TOLERANCE:
            return least / parts
    return least / _FINEST_PART


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
    """Return the thickness of the last slice, or None where nothing tells it."""
    source = phase if slices is None else slices
    if isinstance(source, xr.Dataset | xr.DataArray) and "slice_thickness" in source.coords:
        return float(source["slice_thickness"].values[-1])
    z, spacing = phase["z"].values, phase["z"].attrs.get("spacing")
    faces = slices["z"].values if isinstance(slices, xr.Dataset) else slices
    distances = np.diff(z if faces is None else np.atleast_1d(faces))
    if len(distances):
        distance = float(distances[-1])
    elif len(z) > 1:  # no other face is below it: it is as thick as the planes
        distance = float(np.median(np.diff(z)))
    else:
        return None if spacing is None else float(spacing)
    # The attribute is without the rounding of coordinates, but stays where planes are left out.
    if spacing is not None and np.isclose(spacing, distance, rtol=_SAME_DISTANCE):
        return float(spacing)
    return distance


def _imaged_stack(
    phase: xr.DataArray,
    images: Images,
    block: tuple[int, ...],
    truth: str,
    nominal_thickness: float | None,
) -> xr.Dataset:
    planes = images.planes
    slices = pick_planes(phase.data, planes)
    intensity = blocks.map_blocks(
        images,
        [phase.data],
        shape=(len(images.voltage), *slices.shape),
        dtype=images.dtype,
        block=block,
    )
    coords = {axis: phase[axis].variable for axis in ("y", "x")}
    coords["z"] = xr.Variable("z", phase["z"].values[planes], attributes("z"))
    coords["voltage"] = xr.Variable("voltage", images.voltage, attributes("voltage"))
    attrs = attributes(truth) if truth in PHASES else {"long_name": "true material"}
    volumes = {
        "intensity": (DIMENSIONS, intensity, attributes("intensity")),
        truth: (AXES, slices, attrs),
    }
    return finish_stack(xr.Dataset(volumes, coords), nominal_thickness=nominal_thickness)


def _history(phase: xr.DataArray, slices: xr.Dataset | Sequence[float] | None) -> dict[str, Any]:
    """Return the provenance of the slices, which holds that of the structure."""
    if isinstance(slices, xr.Dataset) and "provenance" in slices.attrs:
        return {"provenance": slices.attrs["provenance"]}
    return split_history(phase)[1]
