"""What the block that a thread is at work on has read."""

import threading

import numpy as np


class _Reading(threading.local):
    voxels = 0
    nbytes = 0


_reading = _Reading()


def note_read(data: np.ndarray) -> None:
    """Note voxels as they come from files: before they are scaled."""
    _reading.voxels += data.size
    _reading.nbytes += data.nbytes


def taken_reading() -> tuple[int, int]:
    """Return how many voxels and bytes were read since this was asked last, by this thread."""
    read = _reading.voxels, _reading.nbytes
    _reading.voxels = _reading.nbytes = 0
    return read
