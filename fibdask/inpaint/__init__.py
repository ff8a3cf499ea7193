"""The planes that repositioning leaves empty, filled from the measured ones."""

from .gaps import gap_distance, inpaint_gaps

__all__ = ["gap_distance", "inpaint_gaps"]
