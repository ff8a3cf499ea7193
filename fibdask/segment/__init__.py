"""Segmentation of grey values into pore and solid."""

from .phases import segment_phases

__all__ = ["segment_phases"]
