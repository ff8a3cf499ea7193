"""Structures of known truth, milled and imaged: stacks to train on and to test against."""

from .artefacts import add_noise, blur_edges
from .backscatter import backscatter_coefficient, backscattered_electrons
from .displacements import add_shifts
from .distortions import add_brightness_drift, add_curtaining
from .images import simulate_images
from .layered_film import layered_film
from .levelled_waves import (
    hierarchical_levelled_wave,
    levelled_wave,
    levelled_wave_covariance,
    levelled_wave_two_point_correlation,
)
from .materials import Material
from .milling import mimic_milling
from .phantoms import anisotropy_phantom
from .random_pores import random_pores
from .self_similar import self_similar
from .stacks import simulate_stack, simulate_structure
from .trajectories import electron_trajectories

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
    "self_similar",
    "simulate_images",
    "simulate_stack",
    "simulate_structure",
]
