"""What there is to look at in a store, or in the folder of a run."""

import warnings
from pathlib import Path

import xarray as xr

from ..conventions import FibdaskError, FibdaskWarning, StackReadError, volume_names
from ..io import open_stack
from ..report.viewing import StackView, last_volumes, view_volumes
from .folder.reopening import reopen_input
from .folder.results import reopen
from .folder.run_folder import SUMMARY, RunFolder
from .recipe import read_recipe
from .stages import STRUCTURE


def view_path(path: str | Path) -> StackView:
    """Serve a page to look through a store, or the folder of a run; see `view`.

    Of a run each volume is that of the last stage that stored it, at the depths of that stage:
    images beside the phase of the regular volume that was made of them. Where no stage stored
    images, they are those that the run has read.

    Raises
    ------
    StackReadError
        If there is neither, or the run has stored no stack yet.
    ConventionError
        See `view`.

    Warns
    -----
    FibdaskWarning
        If the images that the run has read are not to be had; else see `view`.
    """
    return view_volumes(viewed_volumes(path))


def viewed_volumes(path: str | Path) -> dict[str, xr.Dataset]:
    """Return the volumes to look at by their names, each with its stack, in the table's order."""
    if not (Path(path) / SUMMARY).is_file():
        stack = open_stack(path)
        return dict.fromkeys(volume_names(stack), stack)
    folder = RunFolder(Path(path))
    stacks = reopen(folder)[0]
    # A structure has no place in the images that are made of it.
    made = [stack for name, stack in stacks.items() if name != STRUCTURE] or list(stacks.values())
    if not made:
        msg = f"the run in {path} has stored no stack (yet); view the stack that it reads"
        raise StackReadError(msg)
    if not any("intensity" in stack for stack in made):
        made = [*_input_images(folder), *made]
    return last_volumes(made)


def _input_images(folder: RunFolder) -> list[xr.Dataset]:
    """Return the images that a run has read, if they are still there, and still the same."""
    try:
        images = reopen_input(folder, read_recipe(folder.path / "recipe.toml"))
    except FibdaskError as error:
        msg = f"the images that the run read are not shown: {error}"
        warnings.warn(msg, FibdaskWarning, stacklevel=4)
        return []
    return [images[["intensity"]]] if images is not None and "intensity" in images else []
