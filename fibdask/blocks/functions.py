"""How a stage's author says what a block needs and how it is made."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from .regions import Region


class BlockFunction(Protocol):
    """How one output block is made; a frozen dataclass whose fields determine the result.

    Fields are numbers, strings, tuples or numpy arrays: they are pickled into every task and
    hashed into the fingerprint of the result.
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
