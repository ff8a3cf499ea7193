"""How kernels are compiled: kept on the disk between processes, where there is a place for that."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

from numba import njit


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function when it is first called, with options of `numba.njit`.

    The machine code is kept beside the source, in the user's cache, or in the folder that
    NUMBA_CACHE_DIR names. Where none of them can be written, as in some containers, every
    process compiles anew.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # numba looks for the place at once
            _tell()
            return njit(**options)(function)

    return decorate


@cache
def _tell() -> None:
    from .conventions import FibdaskWarning

    warnings.warn(
        "compiled code cannot be kept, because neither the package's folder nor the user's cache "
        "can be written: every process compiles anew; NUMBA_CACHE_DIR may name a folder that can",
        FibdaskWarning,
        stacklevel=2,
    )
