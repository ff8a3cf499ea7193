"""Electrons followed on a GPU, by numba for CUDA.

The numbers of electrons and their random numbers are those of the processor. So counts on both
agree: not bit for bit, since roundings differ, but far within their statistics.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from ...blocks import tell
from ...conventions import ConventionError, DeviceLostError
from ...pieces.devices import Device
from . import transport
from ._kernels import transport as _kernels_transport
from .records import Acceptance, Beam, DiscreteTables, Place, Structure, Tables
from .transport import VoxelLengths

_THREADS = 64  # of a block
_FEWEST_BLOCKS, _MOST_BLOCKS = 128, 4096  # more than fly at once: late ones find nothing to do
_OUT_OF_MEMORY = 2  # error code of CUDA


class _MemoryFullError(Exception):
    """That of the GPU is; one may go on."""


class Transport(NamedTuple):
    """Functions that let electrons fly, on a processor or on a GPU."""

    pack_structure: Callable[..., Structure]
    """As `transport.pack_structure`."""
    send_electrons: Callable[..., None]
    """As `_kernels_transport.send_electrons`."""


def cuda_available() -> bool:
    """Tell whether this process has a GPU, and what compiles for it: the extra `gpu`."""
    from numba import cuda

    return find_spec("numba_cuda") is not None and bool(cuda.is_available())


@lru_cache(maxsize=2)
def electron_transport(device: Device) -> Transport:
    """Return the transport on a device of this process.

    Raises
    ------
    ConventionError
        If it has no GPU, but was to make images on one: those of its processor are others.
    """
    if device == "cpu":
        return Transport(transport.pack_structure, _kernels_transport.send_electrons)
    if not cuda_available():
        msg = (
            "these images were to be made on a GPU, and this process has none, or not the extra "
            "`gpu`; on a processor they would not be the same bit for bit: set device to cpu"
        )
        raise ConventionError(msg)
    return Transport(pack_structure, send_electrons)


def pack_structure(labels: np.ndarray, voxel_size: VoxelLengths, *, deepest: int) -> Structure:
    """Return a structure in the memory of the GPU; where that is full, in the own one.

    Parameters
    ----------
    labels, voxel_size, deepest
        As of `transport.pack_structure`.

    Raises
    ------
    DeviceLostError
        If the GPU fails.
    """
    try:
        with _errors_of_cuda():
            words = _pack_words(labels)
    except _MemoryFullError:
        _tell_of_processor()
        return transport.pack_structure(labels, voxel_size, deepest=deepest)
    planes, rows, columns = labels.shape
    size_z, size_y, size_x = voxel_size
    return Structure(
        words=words,
        planes=np.int32(planes),
        rows=np.int32(rows),
        columns=np.int32(columns),
        size_z=np.float32(size_z),
        size_y=np.float32(size_y),
        size_x=np.float32(size_x),
        deepest=np.int32(deepest),
    )


def send_electrons(
    structure: Structure,
    tables: Tables | DiscreteTables,
    beam: Beam,
    acceptance: Acceptance,
    place: Place,
    electrons: np.ndarray,
    counts: np.ndarray,
    exits: np.ndarray,
) -> None:
    """Send electrons to all pixels of a part of an image, and count those that come out.

    They fly on the processor where the memory of the GPU is full, and where exits are recorded.

    Parameters
    ----------
    structure
        In the memory of the GPU, or in the own one.
    tables, beam, acceptance, place, electrons, counts, exits
        As of `_kernels_transport.send_electrons`.

    Raises
    ------
    DeviceLostError
        If the GPU fails.
    """
    scene = tables, beam, acceptance, place
    if len(exits) == 0:
        with suppress(_MemoryFullError), _errors_of_cuda():
            _send(structure, *scene, electrons, counts)
            return
        _tell_of_processor()
    if not isinstance(structure.words, np.ndarray):
        structure = structure._replace(words=structure.words.copy_to_host())
    _kernels_transport.send_electrons(structure, *scene, electrons, counts, exits)


def _tell_of_processor() -> None:
    tell(
        "the memory of the GPU is full: some images are made on the processor, and agree with "
        "those of the GPU within their statistics, not bit for bit"
    )


@contextmanager
def _errors_of_cuda() -> Iterator[None]:
    """Tell a full memory, after which one may go on, from other errors, after which not."""
    from numba.cuda.cudadrv.driver import CudaAPIError

    try:
        yield
    except CudaAPIError as error:
        if error.code == _OUT_OF_MEMORY:
            raise _MemoryFullError(str(error)) from error
        msg = f"the GPU has failed, and this process cannot use it any more: {error}"
        raise DeviceLostError(msg) from error


def _pack_words(labels: np.ndarray) -> Any:
    """Return the words of a structure in the memory of the GPU, int32."""
    from numba import cuda

    from ._kernels import cuda as kernels

    size, (n_z, n_y, n_x) = labels.size, labels.shape
    words, others = (cuda.device_array(-(-size // 4), np.int32) for _ in range(2))
    one, two = (array.view(np.uint8)[:size] for array in (words, others))
    grid = _blocks(size), _THREADS
    kernels.write_labels[grid](cuda.to_device(np.ascontiguousarray(labels).ravel()), two)
    kernels.lower_distances[grid](two, 1, n_x, one)
    kernels.lower_distances[grid](one, n_x, n_y, two)
    kernels.lower_distances[grid](two, n_x * n_y, n_z, one)
    return words


def _send(
    structure: Structure,
    tables: Tables | DiscreteTables,
    beam: Beam,
    acceptance: Acceptance,
    place: Place,
    electrons: np.ndarray,
    counts: np.ndarray,
) -> None:
    from numba import cuda

    from ._kernels import cuda as kernels

    shares = max(-(-int(electrons.max()) // kernels.SHARE), 1)
    found, taken = cuda.to_device(counts), cuda.to_device(np.zeros(1, np.int64))
    kernels.follow_electrons[_blocks(shares * counts.size), _THREADS](
        _on_device(structure),
        _on_device(tables),
        beam,
        acceptance,
        place,
        cuda.to_device(electrons),
        shares,
        taken,
        found,
    )
    found.copy_to_host(counts)


def _blocks(work: int) -> int:
    return min(max(-(-work // _THREADS), _FEWEST_BLOCKS), _MOST_BLOCKS)


def _on_device(record: Any) -> Any:
    """Return a record with its arrays in the memory of the GPU."""
    from numba import cuda

    return type(record)(
        *(cuda.to_device(value) if isinstance(value, np.ndarray) else value for value in record)
    )
