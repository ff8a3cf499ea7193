"""From a few numbers to a whole simulated stack, for recipes."""

import numpy as np
import xarray as xr

from ..conventions import (
    ConventionError,
    axis_spacing,
    check_not_negative,
    check_seed,
    check_share,
    finish_stack,
    known_spacing,
    require,
)
from ..pieces.models import AUTO
from .artefacts.blur import blur_edges
from .artefacts.brightness import add_brightness_drift, checked_knobs, scale_brightness
from .artefacts.curtaining import add_curtaining
from .artefacts.shifts import add_shifts
from .electrons.elastic import Model
from .images.imaging import EPOXY_GOLD, GAUSSIAN_STD, simulate_images
from .structures.building import split_history
from .structures.levelled_waves import hierarchical_levelled_wave
from .structures.milling import mimic_milling

_TOLERANCE = 1e-6  # of a plane, which is rounding of coordinates


def simulate_structure(
    *,
    shape: tuple[int, int, int],
    voxel_size: tuple[float, float, float] | float = 2.5,
    ligament_size: tuple[float, ...] = (110.0, 15.0),
    solid_fraction: tuple[float, ...] = (0.35, 0.35),
    seed: int = 0,
) -> xr.Dataset:
    """Generate the structure that `simulate_stack` images, lazily.

    Parameters
    ----------
    shape
        Number of voxels (z, y, x).
    voxel_size
        Voxel size (z, y, x), or of a cube, in nm.
    ligament_size, solid_fraction
        Of each level of ligaments; sizes in nm.
    seed
        Seed of everything random.

    Returns
    -------
    xarray.Dataset
        Stack with `phase` (z, y, x), uint8: 0 pore, 1 solid.

    Raises
    ------
    ConventionError
        If an argument is out of range.
    """
    phase = hierarchical_levelled_wave(
        shape,
        voxel_size=voxel_size,
        ligament_size=ligament_size,
        solid_fraction=solid_fraction,
        seed=_seeds(seed)[0],
    )
    spacing = axis_spacing(phase, "z")
    phase, history = split_history(phase)
    stack = phase.to_dataset(name="phase").assign_attrs(history)
    return finish_stack(stack, nominal_thickness=spacing)


# Twenty-eight arguments: the keys of a recipe's table, which is flat so that a user can read it.
def simulate_stack(
    stack: xr.Dataset | None = None,
    *,
    shape: tuple[int, int, int] | None = None,
    voxel_size: tuple[float, float, float] | float = 2.5,
    ligament_size: tuple[float, ...] = (110.0, 15.0),
    solid_fraction: tuple[float, ...] = (0.35, 0.35),
    mean_thickness: float = 10.16,
    std_thickness: float = 3.12,
    unmilled: float = 0.0,
    voltage: tuple[float, ...] | float = (1.0, 2.0, 4.0),
    model: str = "monte_carlo",
    network: str = AUTO,
    electrons_per_pixel: float | None = 100.0,
    gaussian_std: float = GAUSSIAN_STD,
    materials: dict[str, str] | None = None,
    detector: str = "tld",
    elastic: Model = "mott",
    beam_diameter: float = 0.0,
    dtype: str = "uint8",
    device: str = "auto",
    blur_width: float = 0.0,
    contrast: float | tuple[float, ...] = 1.0,
    brightness: float | tuple[float, ...] = 0.0,
    shift_std: float = 0.0,
    gain_std: float = 0.0,
    offset_std: float = 0.0,
    gradient_std: float = 0.0,
    curtaining: float = 0.0,
    seed: int = 0,
) -> xr.Dataset:
    """Mill a structure unevenly and image its slices, lazily.

    Parameters
    ----------
    stack
        Stack with the `phase` (z, y, x) of a structure, of which the slices are planes; by
        default the hierarchical one of `simulate_structure`.
    shape
        Voxels (z, y, x) of the structure, where none is given.
    voxel_size
        Voxel size of that structure in nm: one number, or (z, y, x).
    ligament_size
        Size of each level of its ligaments in nm.
    solid_fraction
        Solid fraction of each level.
    mean_thickness
        Mean thickness of slices in nm.
    std_thickness
        Standard deviation of slice thickness in nm.
    unmilled
        Depth in nm at the bottom of the structure without slices, so that the last slices, too,
        show what lies below them. Without it, the structure continues as its last plane.
    voltage
        Accelerating voltages in kV, increasing.
    model
        `monte_carlo`, `learned` or `analytic`, as for `simulate_images`.
    network
        Network of `learned`, by name or folder; `auto` is the best that ships, see
        `simulate_images`.
    electrons_per_pixel
        Electrons of the beam on each pixel; None for none of their noise, see `simulate_images`.
    gaussian_std
        Standard deviation of Gaussian noise, relative to white.
    materials
        Materials of `pore` and `solid`; by default epoxy and gold.
    detector
        `tld` (through the lens) or `icd` (in the column), as for `simulate_images`.
    elastic
        Model of elastic scattering, for `monte_carlo` only, see `elastic_table`.
    beam_diameter
        Full width at half maximum of the beam in nm, for `monte_carlo` only.
    dtype
        Type of the images: uint8, uint16 or float32.
    device
        Where to compute: `gpu`, `cpu`, or `auto`, a GPU if this process has one.
    blur_width
        Standard deviation of the blur of `blur_edges` in nm; 0 for none.
    contrast
        Factor of grey values, for all voltages or for each (`scale_brightness`); 1 leaves them.
    brightness
        Added to grey values then, relative to white, for all voltages or for each; 0 leaves them.
    shift_std
        Standard deviation of the steps of the random walk of `add_shifts` in nm; 0 for none.
    gain_std
        Standard deviation of the logarithm of the gain of images (`add_brightness_drift`); 0 for
        none.
    offset_std
        Standard deviation of the offset of images, relative to white; 0 for none.
    gradient_std
        Standard deviation of the rise of brightness across images, relative to white; 0 for none.
    curtaining
        Standard deviation of the stripes of `add_curtaining`, relative to white; 0 for none.
    seed
        Seed of everything random.

    Returns
    -------
    xarray.Dataset
        Stack with `intensity` (voltage, z, y, x), `true_phase` (z, y, x), which is not shifted, and
        the truth of what was added to the images.

    Raises
    ------
    ConventionError
        If an argument is out of range, or there is neither a structure nor a shape.
    """
    check_not_negative("blur_width", blur_width or 0, "nm")
    check_not_negative("shift_std", shift_std or 0, "nm")
    check_share("curtaining", curtaining or 0, "white")
    if stack is None:
        if shape is None:
            msg = "shape is needed where no structure is given; got None"
            raise ConventionError(msg)
        stack = simulate_structure(
            shape=shape,
            voxel_size=voxel_size,
            ligament_size=ligament_size,
            solid_fraction=solid_fraction,
            seed=seed,
        )
    phase = require(stack, "phase")["phase"].assign_attrs(stack.attrs)
    _, milling_seed, image_seed, *artefact_seeds = _seeds(seed)
    milled = _milled(phase, unmilled)
    slices = mimic_milling(
        milled, mean_thickness=mean_thickness, std_thickness=std_thickness, seed=milling_seed
    )
    drifts = {"gain_std": gain_std, "offset_std": offset_std, "gradient_std": gradient_std}
    knobs = checked_knobs(contrast, brightness, np.size(voltage), dtype)
    scaled = bool((knobs[0] != 1).any() or (knobs[1] != 0).any())
    spoilt = any(drifts.values()) or bool(curtaining)
    # What changes brightness does so before grey values are rounded and cut off at white.
    images = simulate_images(
        phase,
        slices=slices,
        voltage=voltage,
        model=model,
        network=network,
        electrons_per_pixel=electrons_per_pixel,
        gaussian_std=gaussian_std,
        materials=materials or EPOXY_GOLD,
        detector=detector,
        elastic=elastic,
        beam_diameter=beam_diameter,
        dtype="float32" if scaled or spoilt else dtype,
        device=device,
        seed=image_seed,
    )
    if blur_width:
        images = blur_edges(images, width=blur_width)
    if shift_std:
        images = add_shifts(images, step_std=shift_std, seed=artefact_seeds[0])
    if scaled:
        images = scale_brightness(
            images,
            contrast=contrast,
            brightness=brightness,
            dtype="float32" if spoilt else dtype,
        )
    if any(drifts.values()):
        images = add_brightness_drift(images, **drifts, seed=artefact_seeds[1])
    if curtaining:
        images = add_curtaining(images, strength=curtaining, seed=artefact_seeds[2])
    rounded = images["intensity"].dtype.name == dtype
    return images if rounded else scale_brightness(images, dtype=dtype)


def _milled(phase: xr.DataArray, unmilled: float) -> xr.DataArray:
    """Return the part of a structure that slices are taken of."""
    check_not_negative("unmilled", unmilled, "nm")
    z = phase["z"].values
    kept = z <= z[-1] - unmilled + _TOLERANCE * known_spacing(phase, "z")
    if not kept.any():
        msg = f"unmilled must leave a part of {z[-1] - z[0]:g} nm; got {unmilled:g} nm"
        raise ConventionError(msg)
    return phase[kept] if unmilled else phase


def _seeds(seed: int) -> tuple[int, ...]:
    """Return seeds of the structure, its milling, the images, and their three artefacts."""
    return tuple(int(word) for word in np.random.SeedSequence(check_seed(seed)).generate_state(6))
