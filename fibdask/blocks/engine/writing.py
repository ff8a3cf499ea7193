"""The task of one block: make it, write it, and say how it went."""

import contextlib
import ctypes
import errno
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import dask.array as da
import distributed
import numpy as np

from ...conventions import DeviceLostError
from ..regions import Grid, Region
from .dependencies import map_dependencies
from .monitor import NOTHING_SPENT, Spent
from .reading import taken_reading
from .shards import NOT_WRITTEN, Shard
from .sources import Source, Values
from .targets import Target

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_PASSING = (
    *(errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EBUSY, errno.EINTR),
    *(errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNRESET, errno.EHOSTDOWN, errno.ENETDOWN),
)
"""Errors of file systems on a network that may be gone a moment later."""
_PAUSES = (1.0, 5.0)  # seconds before a block is tried again for one of them
_LONG = 0.1  # seconds: a block in which giving memory back, some 2 ms, is nothing

Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome:
    """How one block went.

    Attributes
    ----------
    number
        Of the block in its grid.
    shard
        What tells its shard file.
    cause
        Why it failed, or nothing.
    final
        Whether every further block would fail the same way: the disk is full, or the device of
        this process is lost.
    spent
        What it took, of a block that was written.
    """

    number: int
    peak_bytes: int
    shard: Shard = NOT_WRITTEN
    cause: str = ""
    final: bool = False
    spent: Spent = NOTHING_SPENT


@dataclass(frozen=True, eq=False)
class BlockWork:
    """What the tasks of an array have in common.

    Attributes
    ----------
    target
        Where its blocks go.
    token
        Fingerprint under which it is written.
    source
        What they are read or made from.
    values
        Results of the reductions that the source needs.
    """

    target: Target
    token: str
    source: Source
    values: Values


def write_block(number: int, work: BlockWork) -> Outcome:
    """Make one block and write it."""
    began = _begin()
    region = work.target.grid.numbered(number)
    try:
        data = _patiently(lambda: work.source.read(region, work.values))
    except DeviceLostError as error:
        _end_worker()
        return failure(number, error)
    except Exception as error:  # the block is reported as failed, the others go on
        return failure(number, error)
    return _written(work.target, number, work.token, data, began)


def outcomes(array: Any, target: Target, token: str, name: str) -> da.Array:
    """Return the lazy outcomes (block) of an array that is not read by coordinates."""
    grid = Grid((target.grid.size,), (1,))
    return map_dependencies(_Writing(target, token), [array], [], grid, np.dtype(object), name)


@dataclass(frozen=True, eq=False)
class _Writing:
    """Block function: element i says how block i went."""

    target: Target
    token: str

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block."""
        return (self.target.grid.numbered(region[0].start),)

    def compute(self, region: Region, data: np.ndarray) -> Any:
        """Write the block; nobody joins outcomes, so one is no array."""
        began = _begin()
        return _written(self.target, region[0].start, self.token, data, began)

    def working_bytes(self, region: Region) -> int:
        """Return none: the forecast of the array counts what writing needs."""
        return 0


def failure(number: int, error: BaseException) -> Outcome:
    """Return the outcome of a block that failed with an error."""
    full = any(getattr(e, "errno", None) in DISK_FULL for e in _chain(error))
    lost = isinstance(error, DeviceLostError) and not _is_worker()
    cause = f"{type(error).__name__}: {error}"
    if _passes(error):
        cause += f" (tried {1 + len(_PAUSES)} times)"
    return Outcome(number, _peak_bytes(), cause=cause, final=full or lost)


def _is_worker() -> bool:
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


def _end_worker() -> None:
    """End this process if it is a worker's with a nanny, which starts a new one.

    Dask gives the block to another worker, and after a few that ended it counts as failed.
    """
    with contextlib.suppress(ValueError):  # no worker
        if distributed.get_worker().nanny:
            os._exit(1)


def _written(target: Target, number: int, token: str, data: np.ndarray, began: float) -> Outcome:
    try:
        position = target.grid.position(number)
        shard = _patiently(lambda: target.write(position, data, token))
    except Exception as error:  # the block is reported as failed, the others go on
        return failure(number, error)
    outcome = Outcome(number, _peak_bytes(), shard, spent=_spent(target, data, began))
    if outcome.spent.seconds > _LONG:
        give_back_memory()  # so that peaks of blocks do not add up
    return outcome


def _patiently(step: Callable[[], Result]) -> Result:
    """Take a step, and take it again where the file system's error may have passed."""
    for pause in _PAUSES:
        try:
            return step()
        except Exception as error:
            if not _passes(error):
                raise
        time.sleep(pause)
    return step()


def _passes(error: BaseException) -> bool:
    return any(getattr(e, "errno", None) in _PASSING for e in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _begin() -> float:
    """Begin to measure what a block takes; of derived arrays, others have made its voxels."""
    _reset_peak()
    taken_reading()
    return time.perf_counter()


def _spent(target: Target, data: np.ndarray, began: float) -> Spent:
    read_voxels, read_bytes = taken_reading()
    voxels = data.size if target.holds_voxels else read_voxels
    return Spent(time.perf_counter() - began, voxels, read_bytes, data.nbytes)


def give_back_memory() -> None:
    """Give free memory of this process, which its C library keeps, back to the system."""
    with contextlib.suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def _reset_peak() -> None:
    """Make the kernel measure the peak of this process's memory anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    most: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
