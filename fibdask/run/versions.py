"""What a report of a fault needs: versions of fibdask and of what it uses, and the machine."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

import psutil

from ..blocks import format_bytes
from ..conventions import VERSION

_QUERY = ("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")


def version_lines() -> Iterator[str]:
    """Iterate over lines: fibdask, Python, the machine, its GPUs, and all packages that are used.

    They name no user, host or path.
    """
    yield f"fibdask {VERSION}"
    yield f"Python {platform.python_version()} on {platform.platform()}"
    memory = format_bytes(psutil.virtual_memory().total)
    yield f"processors: {len(os.sched_getaffinity(0))} of {os.cpu_count()}; memory: {memory}"
    yield f"GPU: {'; '.join(_gpus()) or 'none'}"
    found = {name: _version(name) for name in _packages()}
    yield from (f"{name} {told}" for name, told in found.items() if told)
    yield f"not installed: {', '.join(name for name, told in found.items() if not told)}"


def _gpus() -> list[str]:
    """Return name, driver and memory of each GPU, as the driver tells them."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        command = [program, *_QUERY]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return [f"nvidia-smi fails: {error}"]
    return done.stdout.splitlines()


def _packages() -> list[str]:
    """Return the names of the packages that fibdask needs, or can use."""
    found = {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requires("fibdask") or ()}
    return sorted(found - {"fibdask"}, key=str.lower)


def _version(name: str) -> str:
    """Return the version of a package; nothing where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
