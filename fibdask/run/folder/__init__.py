"""The folder of a run: what lies in it, whose it is, and what is read of it again."""

from .run_folder import RunFolder

__all__ = ["RunFolder"]
