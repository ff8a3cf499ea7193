"""The command `fibdask`: thin faces of library functions; no tracebacks for user errors."""

from .commands import cli, main

__all__ = ["cli", "main"]
