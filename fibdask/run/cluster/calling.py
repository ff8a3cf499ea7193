"""Programs of batch systems, and the library that submits jobs to them."""

import asyncio
import contextlib
from importlib import import_module
from types import ModuleType

from ...conventions import RecipeError

_PATIENCE = 30.0  # seconds in which a batch system answers


def import_jobs(module: str) -> ModuleType:
    """Return a module of dask-jobqueue.

    Raises
    ------
    RecipeError
        If it is not installed.
    """
    try:
        return import_module(f"dask_jobqueue.{module}")
    except ImportError as error:
        msg = f"jobs of batch systems need dask-jobqueue ({error}); install fibdask[hpc]"
        raise RecipeError(msg) from None


async def answer(*command: str, fine: tuple[int, ...] = (0,)) -> str | None:
    """Return what a program prints, or None where it is missing, fails or does not answer.

    Parameters
    ----------
    fine
        Codes with which it may exit.
    """
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=nothing)
    except OSError:
        return None
    try:
        told, _ = await asyncio.wait_for(process.communicate(), _PATIENCE)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return None
    return told.decode(errors="replace") if process.returncode in fine else None
