"""Raw images: files, their formats, what microscopes write to them, and the depth of slices."""

from .read import read_images

__all__ = ["read_images"]
