"""Structures of known truth, milled and imaged: stacks to train on and to test against."""

from .artefacts import add_noise, blur_edges
from .backscatter import backscatter_coefficient, backscattered_electrons
from .images import simulate_images
from .levelled_waves import (
    hierarchical_levelled_wave,
    levelled_wave,
    levelled_wave_covariance,
    levelled_wave_two_point_correlation,
)
from .milling import mimic_milling
from .phantoms import anisotropy_phantom
from .stacks import simulate_stack

__all__ = [
    "add_noise",
    "anisotropy_phantom",
    "backscatter_coefficient",
    "backscattered_electrons",
    "blur_edges",
    "hierarchical_levelled_wave",
    "levelled_wave",
    "levelled_wave_covariance",
    "levelled_wave_two_point_correlation",
    "mimic_milling",
    "simulate_images",
    "simulate_stack",
]
