"""Layered samples: how thick each layer is at every pixel, from a series of beam energies."""

from .estimation import estimate_layers
from .films import simulate_films
from .images import measure_signals
from .signals import layer_labels, layer_signals

__all__ = ["estimate_layers", "layer_labels", "layer_signals", "measure_signals", "simulate_films"]
