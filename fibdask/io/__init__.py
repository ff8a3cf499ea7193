"""Read raw images and vendor headers; open and save stacks in Zarr."""

from .store import open_stack, save_stack

__all__ = ["open_stack", "save_stack"]
