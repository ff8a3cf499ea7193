"""Where the volumes and maps of a stack are written, in which blocks, and what they read then.

A volume that is made of another, as a phase of its probability, reads that one where it is stored
too, unless rounding to integers changed it: nothing is made twice.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import (
    Computed,
    Source,
    StoredArray,
    Target,
    array_token,
    default_block,
    from_source,
    inner_chunks,
    made_of,
    open_stored,
    origin,
    storage_grid,
)
from ..conventions import (
    PROBABILITIES,
    VOLUME_DIMS,
    StackReadError,
    array_names,
    attributes,
)
from .packing import PROBABILITY_ATTRS


@dataclass(frozen=True)
class StoredVolume:
    """One volume or map of a stack and the array that it is written to."""

    name: str
    array: Any
    target: Target

    @property
    def rounded(self) -> bool:
        """Whether what is stored may differ from the array."""
        scale, source = self.target.attrs.get("scale_factor"), origin(self.array)
        function = source.function if isinstance(source, Computed) else None
        return scale is not None and scale != getattr(function, "scale_factor", None)

    def planned(self) -> StoredArray:
        """Return the array as it will be stored."""
        return StoredArray(
            str(self.target.path),
            self.array.shape,
            self.array.dtype,
            self.target.grid.block,
            self.target.inner,
            array_token(self.array),
            self.target.attrs.get("scale_factor"),
            rounded=self.rounded,
        )

    def opened(self) -> StoredArray:
        """Return the stored array.

        Raises
        ------
        StackReadError
            If it is incomplete.
        """
        return replace(open_stored(self.target.path, volume=self.name), rounded=self.rounded)

    def reading(self, stored: Iterable[StoredArray]) -> "StoredVolume":
        """Return the volume whose blocks read what is stored rather than make it again."""
        found = {array.token: array for array in stored}
        source = origin(self.array)
        if not found or not isinstance(source, Source):
            return self
        return replace(self, array=from_source(source.reading(found)))


def volume_targets(stack: xr.Dataset, path: Path, block_bytes: int) -> list[StoredVolume]:
    """Return where each volume and map of a stack is written, and in which blocks.

    Those that others can be read from come before them.
    """
    volumes = []
    for name in array_names(stack):
        variable = stack[name].variable
        probability = name in PROBABILITIES
        array = variable._data if isinstance(variable._data, np.ndarray) else variable.data
        grid = storage_grid(variable.shape, _block(array, block_bytes))
        attrs = attributes(name) | variable.attrs | (PROBABILITY_ATTRS if probability else {})
        dtype = "uint8" if probability else variable.dtype.name
        target = Target(
            path / name,
            grid,
            _chunks(name, variable, grid.block),
            dtype,
            tuple(str(dim) for dim in variable.dims),
            attrs,
        )
        volumes.append(StoredVolume(name, array, target))
    return sorted(volumes, key=lambda volume: len(readable(volume, volumes)))


def _chunks(name: str, variable: xr.Variable, block: tuple[int, ...]) -> tuple[int, ...]:
    """Return the chunks within a block; those of images are flat, and maps have no depth."""
    flat = name == "intensity" or variable.dims not in VOLUME_DIMS
    lacking = (1,) * (3 - len(block))
    return inner_chunks((*lacking, *block), flat=flat)[len(lacking) :]


def _block(array: Any, block_bytes: int) -> tuple[int, ...]:
    source = origin(array)
    if isinstance(source, Source):
        return source.fitted(block_bytes)
    return default_block(array.shape, array.dtype.itemsize, block_bytes)


def readable(volume: StoredVolume, volumes: Sequence[StoredVolume]) -> list[StoredVolume]:
    """Return those volumes of a stack that another is made of, and can be read for it.

    What is stored elsewhere already is read from there.
    """
    source = origin(volume.array)
    if not isinstance(source, Source):
        return []
    tokens = made_of(source)
    return [
        other
        for other in volumes
        if isinstance(inner := origin(other.array), Source)
        and inner.token in tokens
        and not isinstance(inner, StoredArray)
        and not other.rounded
    ]


def planned(volumes: Sequence[StoredVolume]) -> list[StoredVolume]:
    """Return the volumes of a stack as they will be made where all of it is written."""
    return [v.reading(other.planned() for other in readable(v, volumes)) for v in volumes]


def with_stored(volume: StoredVolume, volumes: Sequence[StoredVolume]) -> StoredVolume:
    """Return a volume of a stack as it is made now: what is incomplete, or was edited, is not read.

    Its fingerprint is the same either way.
    """
    return volume.reading(_opened(readable(volume, volumes)))


def _opened(volumes: Iterable[StoredVolume]) -> Iterator[StoredArray]:
    for volume in volumes:
        with suppress(StackReadError):
            stored = volume.opened()
            if stored.token == array_token(volume.array):
                yield stored
