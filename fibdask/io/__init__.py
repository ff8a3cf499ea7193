"""Read raw images and vendor headers; open and save stacks in Zarr."""

from .read import read_images
from .store import open_stack, save_stack

__all__ = ["open_stack", "read_images", "save_stack"]
