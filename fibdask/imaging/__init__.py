"""How a stack was imaged: measured of the images themselves, and what to simulate such with."""

from .likeness import simulation_options
from .measurement import measure_imaging

__all__ = ["measure_imaging", "simulation_options"]
