"""Read raw images and vendor headers; open and save stacks in Zarr."""

from .images import read_images
from .opening import open_stack
from .store import save_stack

__all__ = ["open_stack", "read_images", "save_stack"]
