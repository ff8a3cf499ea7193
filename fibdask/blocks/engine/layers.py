"""Layers of Dask graphs whose tasks are made when they are asked for, which planning never does.

Tasks are those of Dask's public specification: what they are given stands for itself unless it
is a reference, so tuples of numbers are safe among their arguments.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from dask.highlevelgraph import Layer, MaterializedLayer
from dask.task_spec import GraphNode, List, TaskRef

from .sources import Reduction, Source


class LazyLayer(Layer):  # type: ignore[misc]
    """A layer that is a mapping from keys to tasks without holding them.

    Attributes
    ----------
    name
        Of the array that these tasks make.
    origin
        What that array is read from by coordinates, or None.
    """

    has_legacy_tasks = False  # or Dask would make every task to find out

    def __init__(self, name: str, origin: Source | Reduction | None = None) -> None:
        super().__init__()
        self.name, self.origin = name, origin

    def is_materialized(self) -> bool:
        """Say that there are no tasks yet."""
        return False

    def get_output_keys(self) -> Any:
        """Return all keys."""
        return self.keys()

    def cull(self, keys: Any, all_hlg_keys: Any) -> Any:
        """Make the tasks that are wanted, and those of this layer that they depend on."""
        tasks: dict[Any, GraphNode] = {}
        wanted = set(keys)
        while wanted:
            key = wanted.pop()
            if key not in tasks and key in self:
                tasks[key] = self[key]
                wanted |= tasks[key].dependencies
        dependencies = {key: set(task.dependencies) for key, task in tasks.items()}
        return MaterializedLayer(tasks, annotations=self.annotations), dependencies


class BlockLayer(LazyLayer):
    """One task for each block of a grid, with its position for a key."""

    def __init__(
        self, name: str, counts: tuple[int, ...], origin: Source | Reduction | None = None
    ) -> None:
        super().__init__(name, origin)
        self.counts = counts

    @abstractmethod
    def task(self, key: Any, position: tuple[int, ...]) -> GraphNode:
        """Make the task of a block."""

    def __getitem__(self, key: Any) -> GraphNode:
        if key not in self:
            raise KeyError(key)
        return self.task(key, key[1:])

    def __contains__(self, key: Any) -> bool:
        if not isinstance(key, tuple) or len(key) != len(self.counts) + 1 or key[0] != self.name:
            return False
        return all(0 <= i < n for i, n in zip(key[1:], self.counts, strict=True))

    def __iter__(self) -> Iterator[Any]:
        return ((self.name, *position) for position in np.ndindex(self.counts))

    def __len__(self) -> int:
        return prod(self.counts)


class BuiltLayer(LazyLayer):
    """Tasks that are made all at once."""

    def __init__(
        self,
        name: str,
        build: Callable[[], dict[Any, GraphNode]],
        origin: Source | Reduction | None = None,
    ) -> None:
        super().__init__(name, origin)
        self.build = build

    @cached_property
    def _tasks(self) -> dict[Any, GraphNode]:
        return self.build()

    def __getitem__(self, key: Any) -> GraphNode:
        return self._tasks[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def references(keys: Sequence[Any]) -> List:
    """Return a task's argument that holds the results of other tasks."""
    return List(*map(TaskRef, keys))


def whole_key(array: Any) -> Any:
    """Return the key of an array in one chunk."""
    return (array.name, *(0,) * array.ndim)
