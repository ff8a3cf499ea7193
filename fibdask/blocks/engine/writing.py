"""The task of one block: make it, write it, and say how it went."""

import contextlib
import errno
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import distributed
import numpy as np
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from ...conventions import DeviceLostError
from .dependencies import piece
from .shards import NOT_WRITTEN, Shard
from .sources import Source, Values
from .targets import Target

_FULL = (errno.ENOSPC, errno.EDQUOT)


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
    full
        Whether the disk is full, so that every further block would fail the same way.
    """

    number: int
    peak_bytes: int
    shard: Shard = NOT_WRITTEN
    cause: str = ""
    full: bool = False


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
    _reset_peak()
    region = work.target.grid.region(work.target.grid.position(number))
    try:
        data = work.source.read(region, work.values)
    except DeviceLostError as error:
        _end_worker()
        return failure(number, error)
    except Exception as error:  # the block is reported as failed, the others go on
        return failure(number, error)
    return _written(work.target, number, work.token, data)


def write_task(array: Any, target: Target, number: int, token: str) -> Delayed:
    """Return the task of a block of an array that is not read by coordinates."""
    key = f"write-{uuid4().hex}-{number}"
    argument, dependencies = piece(array, target.grid.region(target.grid.position(number)))
    graph = {key: (_write_data, target, number, token, argument)}
    return Delayed(key, HighLevelGraph.from_collections(key, graph, dependencies=dependencies))


def number_of(key: str) -> int:
    """Return the block's number of a task's key."""
    return int(key.rsplit("-", 1)[1])


def failure(number: int, error: BaseException) -> Outcome:
    """Return the outcome of a block that failed with an error."""
    full = any(getattr(e, "errno", None) in _FULL for e in _chain(error))
    cause = f"{type(error).__name__}: {error}"
    return Outcome(number, _peak_bytes(), cause=cause, full=full)


def _end_worker() -> None:
    """End this process if it is a worker's with a nanny, which starts a new one.

    Dask gives the block to another worker, and after a few that ended it counts as failed.
    """
    with contextlib.suppress(ValueError):  # no worker
        if distributed.get_worker().nanny:
            os._exit(1)


def _write_data(target: Target, number: int, token: str, data: np.ndarray) -> Outcome:
    _reset_peak()
    return _written(target, number, token, data)


def _written(target: Target, number: int, token: str, data: np.ndarray) -> Outcome:
    try:
        shard = target.write(target.grid.position(number), data, token)
    except Exception as error:  # the block is reported as failed, the others go on
        return failure(number, error)
    return Outcome(number, _peak_bytes(), shard)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


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
