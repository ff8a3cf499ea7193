"""The planes that repositioning leaves empty, filled from the measured ones."""

from .gaps import inpaint_gaps

__all__ = ["inpaint_gaps"]
