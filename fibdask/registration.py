"""`Dataset.fib` from the moment both fibdask and xarray are imported, in whichever order.

Importing xarray here would make `import fibdask` slow, so that a later import of it is waited for.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def offer_accessor() -> None:
    """Give datasets their `fib`, now or when xarray has been imported."""
    if "xarray" in sys.modules:
        _register(sys.modules["xarray"])
    else:
        sys.meta_path.insert(0, _XarrayFinder())


def _register(xarray: ModuleType) -> None:
    if getattr(xarray.Dataset, "fib", None) is not _accessor:
        xarray.register_dataset_accessor("fib")(_accessor)


def _accessor(stack: Any) -> Any:
    """Return the stages and statistics of a stack; all of them are imported at the first use."""
    from .accessor import StackAccessor

    return StackAccessor(stack)


class _XarrayFinder:
    """Finds xarray as the other finders do; once it has been executed, registers and is gone."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "xarray":
            return None
        later = sys.meta_path[sys.meta_path.index(self) + 1 :]
        specs = (finder.find_spec(name, path, target) for finder in later)
        spec = next(filter(None, specs), None)
        if spec is not None and spec.loader is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: Any) -> None:
        """Let a loader register after it has executed its module; else it stays as it is."""
        execute = loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            sys.meta_path.remove(self)
            _register(module)

        loader.exec_module = execute_and_register
