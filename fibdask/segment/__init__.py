"""Segmentation of grey values into pore and solid."""

from .forest.segmentation import fit_forest
from .phases import learning_curve, segment_phases

__all__ = ["fit_forest", "learning_curve", "segment_phases"]
