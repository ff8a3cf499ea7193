"""The volume between the slices, from images that show what lies below them."""

from .volume import reconstruct_volume

__all__ = ["reconstruct_volume"]
