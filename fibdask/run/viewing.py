"""What there is to look at in a store, or in the folder of a run."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import xarray as xr

from ..conventions import FibdaskError, FibdaskWarning, StackReadError, volume_names
from ..io import open_stack
from ..report.viewing import StackView, last_volumes, view_volumes
from .folder.reopening import reopen_stages
from .folder.results import reopen, reopen_estimates
from .folder.run_folder import SUMMARY, RunFolder
from .stages import STRUCTURE


def view_path(path: str | Path) -> StackView:
    """Serve a page to look through a store, or the folder of a run; see `view`.

    Of a run each volume is that of the last stage that stored it, at the depths of that stage:
    images beside the phase of the regular volume that was made of them. Where no stage stored
    images, they are those that the run has read; where it has measured how thick slices are, they
    lie at these depths.

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
    stored = reopen(folder)[0]
    if not stored:
        msg = f"the run in {path} has stored no stack (yet); view the stack that it reads"
        raise StackReadError(msg)
    # A structure has no place in the images that are made of it.
    stacks = {name: stack for name, stack in _stages(folder, stored) if name != STRUCTURE}
    return last_volumes(stacks.values() or stored.values())


def _stages(
    folder: RunFolder, stored: Mapping[str, xr.Dataset]
) -> Iterator[tuple[str, xr.Dataset]]:
    """Iterate over the stacks of a run, of those that are in no store the images alone."""
    with warnings.catch_warnings():
        if any("intensity" in stack for stack in stored.values()):  # what was read does not matter
            warnings.simplefilter("ignore", FibdaskWarning)
        stages = _reopened(folder, stored)
    for name, stack in stages.items():
        if name in stored:
            yield name, stored[name]
        elif "intensity" in stack:
            yield name, stack[["intensity"]]


def _reopened(folder: RunFolder, stored: Mapping[str, xr.Dataset]) -> Mapping[str, xr.Dataset]:
    """Return the stacks of a run by stage; those of its stores where no more can be told."""
    try:
        return reopen_stages(folder, stored, reopen_estimates(folder))
    except FibdaskError:  # depths that the run could not go on with, either
        return stored
