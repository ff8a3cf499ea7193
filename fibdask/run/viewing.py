"""What there is to look at in a store, or in the folder of a run."""

from pathlib import Path

import xarray as xr

from ..conventions import StackReadError, volume_names
from ..io import open_stack
from ..report.viewing import StackView, view_volumes
from .folder.results import reopen
from .folder.run_folder import SUMMARY, RunFolder
from .stages import STRUCTURE


def view_path(path: str | Path) -> StackView:
    """Serve a page to look through a store, or the folder of a run; see `view`.

    Of a run each volume is that of the last stage that stored it, at the depths of that stage:
    images beside the phase of the regular volume that was made of them.

    Raises
    ------
    StackReadError
        If there is neither, or the run has stored no stack yet.
    ConventionError
        See `view`.
    """
    return view_volumes(viewed_volumes(Path(path)))


def viewed_volumes(path: Path) -> dict[str, xr.Dataset]:
    """Return the volumes to look at by their names, each with its stack, in the table's order."""
    if not (path / SUMMARY).is_file():
        stack = open_stack(path)
        return dict.fromkeys(volume_names(stack), stack)
    stacks = reopen(RunFolder(path))[0]
    # A structure has no place in the images that are made of it.
    made = [stack for name, stack in stacks.items() if name != STRUCTURE] or list(stacks.values())
    if not made:
        msg = f"the run in {path} has stored no stack (yet); view the stack that it reads"
        raise StackReadError(msg)
    last = {name: stack for stack in made for name in volume_names(stack)}
    # The last stage comes first: the middle of its volume is looked at.
    return {name: last[name] for stack in reversed(made) for name in volume_names(stack)}
