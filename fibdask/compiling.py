"""How kernels are compiled: kept on the disk between processes, where there is a place for that."""

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np
from numba import njit
from numba.core.dispatcher import Dispatcher

_NO_PLACE = (
    "neither the package's folder nor the user's cache can be written; NUMBA_CACHE_DIR may name "
    "a folder that can"
)
_OTHER_NUMBA = "this version of numba keeps it in another way than those that are known"
_CONSTANTS = (bool, int, float, complex, str, tuple, np.generic, np.dtype)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function when it is first called, with options of `numba.njit`.

    The machine code is kept beside the source, in the user's cache, or in the folder that
    NUMBA_CACHE_DIR names, until the file of the function changes, or what that imports: compiled
    functions and constants. Where none of them can be written, as in some containers, every
    process compiles anew.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            kernel = njit(cache=True, **options)(function)
            _follow_imports(kernel)
        except RuntimeError:  # numba looks for the place at once
            reason = _NO_PLACE
        except AttributeError:
            reason = _OTHER_NUMBA
        else:
            return kernel
        _tell(reason)
        return njit(**options)(function)

    return decorate


def _follow_imports(kernel: Any) -> None:
    """Let machine code be kept only as long as what its module imports is the same too.

    numba looks at the file of a function alone, though functions and constants of other files are
    part of the machine code: after a change there it would go on with what was.
    """
    if isinstance(kernel, Dispatcher):  # with NUMBA_DISABLE_JIT it is the function itself
        file = _cache_file(kernel)
        file._source_stamp = f"{file._source_stamp!r} {_digest(kernel.py_func.__globals__)}"


def _cache_file(kernel: Any) -> Any:
    """Return where numba keeps the machine code of a kernel; there is no public name for it."""
    return kernel._cache._cache_file


def _digest(names: Mapping[str, Any]) -> str:
    """Return a hash of the compiled functions and the constants that a module has so far."""
    digest = sha256()
    for name, value in sorted(names.items()):
        if isinstance(value, Dispatcher):
            digest.update(f"{name} {_cache_file(value)._source_stamp}".encode())
        elif isinstance(value, _CONSTANTS) and not name.startswith("__"):
            digest.update(f"{name} {value!r}".encode())
        elif isinstance(value, type) and issubclass(value, tuple):
            digest.update(f"{name} {getattr(value, '_fields', ())}".encode())
    return digest.hexdigest()


@cache
def _tell(reason: str) -> None:
    from .conventions import FibdaskWarning

    warnings.warn(
        f"compiled code cannot be kept: every process compiles anew, because {reason}",
        FibdaskWarning,
        stacklevel=2,
    )
