"""Structures of known truth, milled and imaged: stacks to train on and to test against."""

from .artefacts.blur import blur_edges
from .artefacts.brightness import add_brightness_drift, scale_brightness
from .artefacts.curtaining import add_curtaining
from .artefacts.noise import add_noise
from .artefacts.shifts import add_shifts
from .electrons.backscatter import backscatter_coefficient, backscattered_electrons
from .electrons.materials import Material
from .electrons.trajectories import electron_trajectories
from .images.imaging import simulate_images
from .stacks import simulate_stack, simulate_structure
from .structures.layered_film import layered_film
from .structures.levelled_waves import (
    hierarchical_levelled_wave,
    levelled_wave,
    levelled_wave_covariance,
    levelled_wave_two_point_correlation,
)
from .structures.milling import mimic_milling
from .structures.phantoms import anisotropy_phantom
from .structures.random_pores import random_pores
from .structures.self_similar import self_similar

__all__ = [
    "Material",
    "add_brightness_drift",
    "add_curtaining",
    "add_noise",
    "add_shifts",
    "anisotropy_phantom",
    "backscatter_coefficient",
    "backscattered_electrons",
    "blur_edges",
    "electron_trajectories",
    "hierarchical_levelled_wave",
    "layered_film",
    "levelled_wave",
    "levelled_wave_covariance",
    "levelled_wave_two_point_correlation",
    "mimic_milling",
    "random_pores",
    "scale_brightness",
    "self_similar",
    "simulate_images",
    "simulate_stack",
    "simulate_structure",
]
