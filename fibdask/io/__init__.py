"""Read raw images and vendor headers; open and save stacks in Zarr."""

from .opening import open_stack
from .read import read_images
from .store import save_stack

__all__ = ["open_stack", "read_images", "save_stack"]
