"""Bits of a store that are flipped, one at a time."""

import os
from contextlib import contextmanager

import numpy as np

from fibdask import open_stack


def values_of(path):
    """Return all values of a store, and nothing that only describes them."""
    return open_stack(path).drop_attrs().load()


@contextmanager
def flipped(path, chance, *, volumes=True):
    """Flip one bit, any of all files alike; give its place, and restore it at the end.

    Without `volumes`, none of their shards.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file())
    if not volumes:
        names = [record.parent.name for record in path.glob("*/array.json")]
        files = [file for file in files if file.relative_to(path).parts[:2] not in _shards(names)]
    ends = np.cumsum([file.stat().st_size for file in files])
    at = int(chance.integers(ends[-1]))
    number = int(np.searchsorted(ends, at, side="right"))
    file, at = files[number], at - int(ends[number - 1] if number else 0)
    state, content = file.stat(), file.read_bytes()
    changed = bytearray(content)
    changed[at] ^= 1 << int(chance.integers(8))
    with file.open("r+b") as opened:
        opened.write(changed)
    _set_times(file, state)
    try:
        yield f"{file} byte {at}"
    finally:
        with file.open("r+b") as opened:
            opened.write(content)
        _set_times(file, state)


def _shards(names):
    return [(name, "c") for name in names]


def _set_times(file, state):
    """Leave no trace: bits at rest change no times."""
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
