"""How a stage's author says what a block needs and how it is made."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np

from .regions import Region

Function = TypeVar("Function", bound=Callable[..., object])


class BlockFunction(Protocol):
    """How one output block is made; a frozen dataclass whose fields determine the result.

    Fields are numbers, strings, tuples, numpy arrays or such dataclasses: they are pickled into
    every task and hashed into the fingerprint of the result, with the name of the class and its
    `revision`, a number that is 1 where the class has none. It is raised whenever the function,
    or a kernel that it calls, begins to compute other values: what was stored is then made anew.

    Blocks of a function that has a `device` which is "gpu", or a field that has, such as a
    predictor, are given to workers with a GPU, where a cluster has such.

    A class of which all values are `unpacked` integers has their `scale_factor`: storing them with
    it loses nothing, so that what is made of them may read what is stored.
    """

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the region that is read of each input, halo included, inside that input.

        What is read along one of the last two axes must not depend on the place along the other:
        memory forecasts do not look at every pair.
        """

    @property
    def compute(self) -> Callable[..., np.ndarray]:
        """Method (region, *inputs) that makes the block; results of reductions come last."""

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of temporaries beside inputs and output."""


def unpacked(integers: np.ndarray, scale_factor: float) -> np.ndarray:
    """Return the float32 values of integers that are stored with a scale factor."""
    return integers.astype(np.float32) * np.float32(scale_factor)


def revised(number: int) -> Callable[[Function], Function]:
    """Give a function that finishes a reduction or a gathering a `revision` other than 1."""

    def decorate(function: Function) -> Function:
        function.revision = number  # type: ignore[attr-defined]
        return function

    return decorate
