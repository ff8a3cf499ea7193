"""Warnings that reach the user, wherever the task runs that finds a reason for one."""

import distributed

from ...conventions import FibdaskWarning


def tell(text: str) -> None:
    """Warn the user; from a worker, on the client too."""
    distributed.warn(text, FibdaskWarning, stacklevel=2)
