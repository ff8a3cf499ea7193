"""What saving refuses, so that nothing of anybody is lost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from ..blocks import Reduction, StoredArray, Target, is_complete, origin
from ..conventions import ConventionError, StackReadError
from .opening import WRITER, open_dataset


def check_path(path: Path) -> None:
    """Refuse a path that holds something that fibdask did not write."""
    if path.is_symlink() and not path.exists():
        msg = f"{path} is a link to what does not exist; choose another output path or remove it"
        raise StackReadError(msg)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / "zarr.json").is_file():
        msg = f"{path} exists and is not a Zarr v3 store; choose another output path or remove it"
        raise StackReadError(msg)
    if WRITER not in open_dataset(path).attrs:
        msg = f"{path} was not written by fibdask; choose another output path or remove it"
        raise StackReadError(msg)


def check_inputs(arrays: Sequence[tuple[Target, Any]], path: Path, *, resume: bool) -> None:
    """Refuse to overwrite or drop arrays that the new values are computed from."""
    complete = [t for t, array in arrays if resume and is_complete(array, t)]
    kept = {target.path.resolve() for target in complete}
    for target, array in arrays:
        if target.path.resolve() in kept:
            continue
        for read in _inputs_below(array, path):
            if read not in kept:
                msg = (
                    f"{target.path.name} is computed from {read}, which saving to {path} "
                    "would overwrite; save to another path"
                )
                raise ConventionError(msg)


def _inputs_below(array: Any, path: Path) -> list[Path]:
    """Return the stored arrays below a path that an array reads, as far as can be known."""
    source = origin(array)
    if source is not None:
        leaves = [Path(stored.path).resolve() for stored in _stored_leaves(source)]
        return [leaf for leaf in leaves if leaf.is_relative_to(path.resolve())]
    if isinstance(array, np.ndarray) or not path.exists():
        return []
    # Any reader of the store holds its name somewhere in the graph.
    graph = cloudpickle.dumps(dict(array.dask))
    return [path.resolve()] if path.name.encode() in graph else []


def _stored_leaves(source: Any) -> list[StoredArray]:
    if isinstance(source, StoredArray):
        return [source]
    if isinstance(source, Reduction):
        return _stored_leaves(source.partials)
    below = [*getattr(source, "inputs", ()), *getattr(source, "parameters", ())]
    below += [source.source] if hasattr(source, "source") else []
    return [leaf for part in below for leaf in _stored_leaves(part)]
