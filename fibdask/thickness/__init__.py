"""The depth of slices, and their way onto a regular grid of planes."""

from .repositioning import reposition_slices

__all__ = ["reposition_slices"]
