"""What tells the content of an array on a server, without reading its voxels.

Servers keep a size and a tag of each object; the tag changes whenever the object does.
"""

import warnings
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import zarr

from ...conventions import FibdaskWarning, StackReadError
from ..regions import Grid
from .fingerprints import fingerprint
from .journal import Record, read_begun
from .places import RemotePath, object_states, store_of
from .shards import METADATA, checksum

_METADATA = (METADATA, ".zarray", ".zattrs")
_N5 = "attributes.json"
_MOST_ASKED = 4096  # chunks of a server that lists nothing: a few seconds of questions

States = Mapping[str, tuple[int, str]]


def remote_content(path: RemotePath, array: Any) -> tuple[str, int, bool]:
    """Return the fingerprint of an array, its bytes, and whether fibdask has written it.

    Raises
    ------
    StackReadError
        If it was written by fibdask, and shards are missing, or its metadata are others.
    """
    record = read_begun(path)
    states = _states(path, array)
    size = sum(size for size, _ in states.values())
    if record is None:
        return fingerprint(path.address, sorted(states.items())), size, False
    names = _chunk_names(array)
    shards = sorted((name, states[name]) for name in names if name in states)
    _check_written(path, array, record, len(shards))
    return fingerprint(record.fingerprint, shards), size, True


def remote_identity(place: RemotePath) -> str:
    """Return what changes when an object does, or an array below a place, one of N5 too.

    Raises
    ------
    StackReadError
        If the server does not tell.
    """
    states = object_states(place.parent, [place.name])
    if states:
        return fingerprint(place.address, sorted(states.items()))
    if object_states(place, [_N5]):
        return fingerprint(place.address, sorted(object_states(place, None).items()))
    return remote_content(place, zarr.open_array(store=store_of(place), mode="r"))[0]


def _states(path: RemotePath, array: Any) -> States:
    """Return what the server tells of the chunks, and of what lies beside them."""
    if path.address.startswith("s3://"):
        return object_states(path, None)
    grid = _grid(array)
    if grid.size > _MOST_ASKED:
        text = (
            f"{path} has {grid.size} chunks on a server that lists nothing: if some of them are "
            "replaced, that is not seen, and results that were made of them are kept; run with "
            "--fresh then"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=2)
        return object_states(path, _METADATA)
    return object_states(path, [*_METADATA, *_chunk_names(array)])


def _grid(array: Any) -> Grid:
    return Grid(tuple(array.shape), tuple(array.shards or array.chunks))


def _chunk_names(array: Any) -> Iterator[str]:
    for position in product(*map(range, _grid(array).counts)):
        yield array.metadata.encode_chunk_key(position)


def _check_written(path: RemotePath, array: Any, record: Record, shards: int) -> None:
    """Refuse an array of fibdask of which something is missing."""
    if record.metadata not in (None, checksum((path / METADATA).read_bytes())):
        msg = f"{path / METADATA} is not what was written: it is damaged; copy the store again"
        raise StackReadError(msg)
    if shards < record.blocks or record.blocks != _grid(array).size:
        msg = (
            f"{path} is incomplete: {shards} of {record.blocks} blocks are there; copy the store "
            "again"
        )
        raise StackReadError(msg)
