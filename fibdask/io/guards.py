"""What saving refuses, so that nothing of anybody is lost."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import xarray as xr
from zarr.storage import LocalStore

from ..blocks import Reduction, Source, StoredArray, Target, origin
from ..conventions import ConventionError, StackReadError, recorded_steps
from .metadata import UNFINISHED, WRITER, root_attributes

_TAKEN_NAME = re.compile(r"\..*|.*/.*|zarr\.json|labels|scale\d+")


def check_path(path: Path) -> None:
    """Refuse a path that holds something that fibdask did not write, or links to elsewhere."""
    if path.is_symlink() and not path.exists():
        msg = f"{path} is a link to what does not exist; choose another output path or remove it"
        raise StackReadError(msg)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / "zarr.json").is_file():
        msg = f"{path} exists and is not a Zarr v3 store; choose another output path or remove it"
        raise StackReadError(msg)
    try:
        attrs = root_attributes(path)
    except StackReadError as error:
        msg = f"{error}; choose another output path, or remove it to have it made anew"
        raise StackReadError(msg) from None
    if WRITER not in attrs:
        msg = f"{path} was not written by fibdask; choose another output path or remove it"
        raise StackReadError(msg)
    refuse_links(path)


def check_names(stack: xr.Dataset) -> None:
    """Refuse variables that cannot lie in a store under their names.

    Raises
    ------
    ConventionError
        Naming the variable.
    """
    for name in map(str, stack.variables):
        if not name or _TAKEN_NAME.fullmatch(name):
            msg = (
                f"a variable cannot be stored as {name!r}: the name must be that of a folder of "
                "its own, not labels or scale1, without a slash or a dot at the beginning; rename"
            )
            raise ConventionError(msg)


def refuse_links(folder: Path, *, depth: int = 3) -> None:
    """Refuse links below a folder that is written to: what they point to is not ours.

    Raises
    ------
    StackReadError
        Naming the link.
    """
    for child in folder.iterdir():
        if child.is_symlink():
            msg = f"{child} is a link, and what it points to would be changed; remove the link"
            raise StackReadError(msg)
        if depth > 1 and child.is_dir():
            refuse_links(child, depth=depth - 1)


def check_inputs(arrays: Sequence[tuple[Target, Any]], path: Path, complete: set[Path]) -> None:
    """Refuse to overwrite or drop arrays that the new values are computed from.

    Those that are `complete` stay as they are.
    """
    kept = {place.resolve() for place in complete}
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
        leaves = [stored.place for stored in _stored_leaves(source)]
        folders = [leaf.resolve() for leaf in leaves if isinstance(leaf, Path)]
        return [folder for folder in folders if folder.is_relative_to(path.resolve())]
    if isinstance(array, np.ndarray) or not path.exists():
        return []
    return [place for place in _places_in(array) if place.is_relative_to(path.resolve())]


class _PlaceFinder(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles to nowhere, and notes the stores that it comes across."""

    def __init__(self) -> None:
        super().__init__(_Nowhere())
        self.places: list[Path] = []

    def persistent_id(self, value: Any) -> str | None:
        """Look at an object; it is pickled as ever, but for voxels, which name no store."""
        if isinstance(value, LocalStore):
            self.places.append(Path(value.root).resolve())
        elif isinstance(value, StoredArray) and isinstance(value.place, Path):
            self.places.append(value.place.resolve())
        return "voxels" if isinstance(value, np.ndarray) and value.dtype != object else None


class _Nowhere:
    def write(self, data: Any) -> int:
        return len(data)


def _places_in(array: Any) -> list[Path]:
    """Return the stores that the graph of a derived array reads."""
    finder = _PlaceFinder()
    finder.dump(array.dask)
    return finder.places


def _stored_leaves(source: Source | Reduction) -> list[StoredArray]:
    if isinstance(source, StoredArray):
        return [source]
    below = (source.partials,) if isinstance(source, Reduction) else source.below
    return [leaf for part in below for leaf in _stored_leaves(part)]


def check_sample(stack: xr.Dataset, path: Path, targets: Sequence[Target]) -> None:
    """Refuse to replace finished volumes of a store by those of another sample.

    The first step of its history tells which sample a stack is of; where a stack has none, what
    replaces another volume may be of another sample.

    Raises
    ------
    ConventionError
        Naming both.
    """
    replaced = [target.path.name for target in targets if target.path.exists()]
    if not replaced or root_attributes(path).get(UNFINISHED):
        return
    stored, new = _sample(xr.Dataset(attrs=root_attributes(path))), _sample(stack)
    if stored is None or stored != new:
        msg = (
            f"{path} holds {', '.join(replaced)} of {stored or 'unknown origin'}; this stack is of "
            f"{new or 'unknown origin'}; save to another path, or replace it: resume=False, --fresh"
        )
        raise ConventionError(msg)


def _sample(stack: xr.Dataset) -> str | None:
    """Say what a stack is of: the images that were read, or how it was made."""
    steps = recorded_steps(stack)
    if not steps:
        return None
    parameters = steps[0]["parameters"]
    text = json.dumps(parameters.get("source", parameters), sort_keys=True)
    name = f"{steps[0]['step']} {text}"
    if "source" in parameters or not (made_of := steps[0].get("input_fingerprint")):
        return name
    return f"{name} of what has the fingerprint {made_of[:12]}"
