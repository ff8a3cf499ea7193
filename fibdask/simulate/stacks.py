"""From a few numbers to a whole simulated stack, for recipes."""

import numpy as np
import xarray as xr

from .images import GAUSSIAN_STD, simulate_images
from .levelled_waves import hierarchical_levelled_wave
from .milling import mimic_milling


def simulate_stack(
    *,
    shape: tuple[int, int, int],
    voxel_size: tuple[float, float, float] | float = 2.5,
    ligament_size: tuple[float, ...] = (110.0, 15.0),
    solid_fraction: tuple[float, ...] = (0.35, 0.35),
    mean_thickness: float = 10.16,
    std_thickness: float = 3.12,
    voltage: tuple[float, ...] = (1.0, 2.0, 4.0),
    electrons_per_pixel: float | None = 100.0,
    gaussian_std: float = GAUSSIAN_STD,
    detector: str = "tld",
    seed: int = 0,
) -> xr.Dataset:
    """Simulate a stack of hierarchical gold in epoxy, milled unevenly, lazily.

    Parameters
    ----------
    shape
        Voxels (z, y, x) of the structure, of which the slices are planes.
    voxel_size
        Of the structure (z, y, x), or of a cube, in nm.
    ligament_size, solid_fraction
        Of each level of ligaments, the size in nm.
    mean_thickness, std_thickness
        Of the slices in nm.
    voltage
        Accelerating voltages in kV, increasing.
    electrons_per_pixel, gaussian_std, detector
        As for `simulate_images`.
    seed
        Of everything that is random.

    Returns
    -------
    xarray.Dataset
        Stack with `intensity` (voltage, z, y, x) and `true_phase` (z, y, x).

    Raises
    ------
    ConventionError
        If an argument is out of range.
    """
    structure_seed, milling_seed, noise_seed = (
        int(word) for word in np.random.SeedSequence(seed).generate_state(3)
    )
    structure = hierarchical_levelled_wave(
        shape,
        voxel_size=voxel_size,
        ligament_size=ligament_size,
        solid_fraction=solid_fraction,
        seed=structure_seed,
    )
    slices = mimic_milling(
        structure,
        mean_thickness=mean_thickness,
        std_thickness=std_thickness,
        seed=milling_seed,
    )
    return simulate_images(
        structure,
        slices=slices,
        voltage=voltage,
        electrons_per_pixel=electrons_per_pixel,
        gaussian_std=gaussian_std,
        detector=detector,
        seed=noise_seed,
    )
