"""Sources: arrays that a task reads by coordinates, and functions that make blocks of them.

A task carries a source and a region, never data. Sources nest: a `Computed` source reads what its
function needs from its inputs, so a chain of lazy stages stays one task for each output block,
with the halos added up.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, cast

import numpy as np

from ..functions import BlockFunction
from ..regions import BlockList, Grid, Region, fit_block, lengths, shift, voxels
from .fingerprints import fingerprint

Values = Mapping[str, np.ndarray]
"""Results of reductions by token, for sources that depend on them."""


class Source(ABC):
    """An array that is read by coordinates, in any process."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    block: tuple[int, ...]

    @property
    @abstractmethod
    def token(self) -> str:
        """Fingerprint of everything that determines the values."""

    @abstractmethod
    def read(self, region: Region, values: Values) -> np.ndarray:
        """Return the voxels of a region."""

    def task_bytes(self, region: Region) -> int:
        """Return the peak bytes of reading a region, the result included."""
        return 2 * self.nbytes(region)

    def nbytes(self, region: Region) -> int:
        """Return the bytes of a region's voxels."""
        return voxels(region) * self.dtype.itemsize

    @property
    def held_bytes(self) -> int:
        """Bytes that reading needs beside a block, however small that is."""
        return 0

    def fitted(self, most: int) -> tuple[int, ...]:
        """Return the block that is stored: this source's, or a part of it of `most` bytes."""
        return fit_block(self.block, most // self.dtype.itemsize)

    @property
    def disk_bytes(self) -> int | None:
        """Bytes of the files that hold this array; None if it is made of others."""
        return None

    @property
    def reductions(self) -> tuple["Reduction", ...]:
        """Reductions whose results `read` needs among its values."""
        return ()

    @property
    def below(self) -> tuple["Source", ...]:
        """Sources that this one reads, and those that its reductions count in."""
        return ()

    @property
    def read_now(self) -> object:
        """What differs where the files that it reads are others than when this was looked at."""
        return [source.read_now for source in self.below]

    @property
    def devices(self) -> frozenset[str]:
        """Where parts of it are made that may be made on a GPU: `gpu`, `cpu`."""
        return frozenset()

    def reading(self, stored: Mapping[str, "Source"]) -> "Source":
        """Return this source, which reads those that are stored, by token, wherever it made them.

        Its token stays.
        """
        return stored.get(self.token, self)

    @property
    def grid(self) -> Grid:
        """The blocks of this source."""
        return Grid(self.shape, self.block)


@dataclass(frozen=True, eq=False)
class Computed(Source):
    """Blocks made by a function of other sources and of the results of reductions."""

    function: BlockFunction
    inputs: tuple[Source, ...]
    parameters: tuple["Reduction", ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    block: tuple[int, ...]

    @cached_property
    def token(self) -> str:
        """Fingerprint of the function, its fields and revision, and its inputs."""
        inputs = [source.token for source in self.inputs]
        results = [parameter.token for parameter in self.parameters]
        return fingerprint(self.function, self.shape, self.dtype.str, inputs, results)

    @property
    def reductions(self) -> tuple["Reduction", ...]:
        """Reductions of the whole chain, each once, in the order they can be computed."""
        found: dict[str, Reduction] = {}
        for source in self.inputs:
            found |= {reduction.token: reduction for reduction in source.reductions}
        for parameter in self.parameters:
            inner = parameter.partials.reductions
            found |= {reduction.token: reduction for reduction in (*inner, parameter)}
        return tuple(found.values())

    @property
    def below(self) -> tuple[Source, ...]:
        """The inputs, and the counts of parameters."""
        return (*self.inputs, *(parameter.partials for parameter in self.parameters))

    @property
    def devices(self) -> frozenset[str]:
        """Those of the function and of the inputs."""
        return devices_of(self.function).union(*(source.devices for source in self.inputs))

    def reading(self, stored: Mapping[str, Source]) -> Source:
        """Read stored ones among the inputs, and count in them."""
        if self.token in stored:
            return stored[self.token]
        return replace(
            self,
            inputs=tuple(source.reading(stored) for source in self.inputs),
            parameters=tuple(parameter.reading(stored) for parameter in self.parameters),
        )

    def read(self, region: Region, values: Values) -> np.ndarray:
        """Read what the function needs, and compute."""
        regions = self.function.needs(region)
        blocks = [
            source.read(needed, values) for source, needed in zip(self.inputs, regions, strict=True)
        ]
        parameters = [values[parameter.token] for parameter in self.parameters]
        return self.function.compute(region, *blocks, *parameters)

    def task_bytes(self, region: Region) -> int:
        """Peak of reading the inputs one after the other, then computing beside them."""
        held = peak = 0
        for source, needed in zip(self.inputs, self.function.needs(region), strict=True):
            peak = max(peak, held + source.task_bytes(needed))
            held += source.nbytes(needed)
        held += sum(parameter.nbytes for parameter in self.parameters)
        return max(peak, held + self.function.working_bytes(region) + self.nbytes(region))


@dataclass(frozen=True, eq=False)
class Reduction:
    """Integer counts of every block, summed, then turned into a small result.

    The counts of block i are row i of `partials` (blocks, counts): reductions are stored and
    resumed as any other array. Rows of `GroupedBlocks` are summed by group.
    """

    partials: Computed
    finish: Callable[[np.ndarray], np.ndarray]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @cached_property
    def token(self) -> str:
        """Fingerprint of the counts and of what is made of them."""
        return fingerprint(self.finish, self.partials.token)

    def reading(self, stored: Mapping[str, Source]) -> "Reduction":
        """Return this reduction, which counts in what is stored wherever that was made."""
        return replace(self, partials=cast("Computed", self.partials.reading(stored)))

    @property
    def nbytes(self) -> int:
        """Bytes of the result."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def blocks(self) -> BlockList:
        """The blocks that are counted."""
        return cast("EachBlock", self.partials.function).grid

    def result(self, counts: np.ndarray) -> np.ndarray:
        """Turn summed counts into the result."""
        return np.asarray(self.finish(counts), dtype=self.dtype).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Window(Source):
    """A rectangular part of a source; dimensions of length one may be dropped."""

    source: Source
    region: Region
    dropped: tuple[int, ...]

    @cached_property
    def _kept(self) -> tuple[int, ...]:
        return tuple(i for i in range(len(self.region)) if i not in self.dropped)

    @cached_property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Lengths of the kept dimensions."""
        return tuple(lengths(self.region)[i] for i in self._kept)

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """Type of the source."""
        return self.source.dtype

    @cached_property
    def block(self) -> tuple[int, ...]:  # type: ignore[override]
        """Blocks of the source, no longer than the window."""
        blocks = [self.source.block[i] for i in self._kept]
        return tuple(min(b, max(n, 1)) for b, n in zip(blocks, self.shape, strict=True))

    @cached_property
    def token(self) -> str:
        """Fingerprint of the source and the place."""
        places = [(s.start, s.stop) for s in self.region]
        return fingerprint("window", places, self.dropped, self.source.token)

    @property
    def disk_bytes(self) -> int | None:
        """Bytes of the files of the source."""
        return self.source.disk_bytes

    @property
    def reductions(self) -> tuple[Reduction, ...]:
        """Reductions of the source."""
        return self.source.reductions

    @property
    def below(self) -> tuple[Source, ...]:
        """The source."""
        return (self.source,)

    @property
    def devices(self) -> frozenset[str]:
        """As the source."""
        return self.source.devices

    def reading(self, stored: Mapping[str, Source]) -> Source:
        """Look into what is stored."""
        if self.token in stored:
            return stored[self.token]
        return replace(self, source=self.source.reading(stored))

    def _outer(self, region: Region) -> Region:
        outer = list(self.region)
        for axis, interval in zip(self._kept, region, strict=True):
            outer[axis] = shift(interval, self.region[axis].start)
        return tuple(outer)

    def read(self, region: Region, values: Values) -> np.ndarray:
        """Read the place in the source."""
        return self.source.read(self._outer(region), values).reshape(lengths(region))

    def task_bytes(self, region: Region) -> int:
        """As the source."""
        return self.source.task_bytes(self._outer(region))


@dataclass(frozen=True)
class EachBlock:
    """Block function of reductions and gatherings: element or row i is made of block i.

    Attributes
    ----------
    function
        Makes the counts or the object of one block.
    grid
        The blocks.
    """

    function: Any
    grid: BlockList

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return what the function needs for the block of this row."""
        return tuple(self.function.needs(self._block(region)))

    def compute(self, region: Region, *inputs: np.ndarray) -> np.ndarray:
        """Look at one block: a row of counts, or one element that holds any object."""
        made = self.function.compute(self._block(region), *inputs)
        if len(region) > 1:
            return np.asarray(made, np.int64)[np.newaxis]
        element = np.empty(1, object)
        element[0] = made
        return element

    def working_bytes(self, region: Region) -> int:
        """Return the temporaries of the function."""
        return int(self.function.working_bytes(self._block(region)))

    def _block(self, region: Region) -> Region:
        return self.grid.numbered(region[0].start)


def devices_of(function: Any) -> frozenset[str]:
    """Return the `device` of a block function, and of predictors in it, where they have one."""
    if not is_dataclass(function) or isinstance(function, type):  # arrays have another `device`
        return frozenset()
    values = {part.name: getattr(function, part.name) for part in fields(function)}
    own = {values["device"]} if "device" in values else set()
    return frozenset(own).union(*map(devices_of, values.values()))


def made_of(source: Source) -> set[str]:
    """Return the tokens of the sources that one is made of, at any depth."""
    tokens: set[str] = set()
    waiting = list(source.below)
    while waiting:
        inner = waiting.pop()
        if inner.token not in tokens:
            tokens.add(inner.token)
            waiting += inner.below
    return tokens
