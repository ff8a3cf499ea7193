"""What is written for other programs, as it is found in stores and folders of runs."""

from pathlib import Path

import xarray as xr

from ...conventions import StackReadError, array_names
from ...io import open_stack
from ..folder.ownership import earlier_run
from ..folder.results import final_stack
from ..folder.run_folder import SUMMARY, RunFolder


def find_phase(path: str | Path) -> xr.Dataset:
    """Open a store, or the last stage of a run's folder that holds a phase.

    Raises
    ------
    StackReadError
        If there is no phase, or the run has not finished.
    """
    stack = find_stack(path)
    if "phase" not in stack:
        msg = f"{path} holds no phase{_earlier_phases(Path(path)) or _instead(stack)}"
        raise StackReadError(msg)
    return stack


def _instead(stack: xr.Dataset) -> str:
    """Say what makes a phase of images, or writes what is there instead."""
    names = [name for name in array_names(stack) if name != "intensity"]
    if not names or ("intensity" in stack and "label" not in stack):
        return "; segment it first"
    name = "label" if "label" in names else names[0]
    return (
        f", but {', '.join(names)}: Python writes them, such as "
        f'tifffile.imwrite("{name}.tif", stack["{name}"].values)'
    )


def _earlier_phases(path: Path) -> str:
    """Tell of the stores with a phase that an earlier run has left in the folder of another."""
    folder = RunFolder(path)
    if not (path / SUMMARY).is_file() or (earlier := earlier_run(folder)) is None:
        return ""
    made = folder.read()["stores"]
    places = [folder.store(name) for name in earlier.stores if name not in made]
    found = " and ".join(str(place) for place in places if (place / "phase").is_dir())
    return f"; of an earlier run there is {found}: give that" if found else ""


def find_stack(path: str | Path) -> xr.Dataset:
    """Open a store, or the stack after the last stage in a run's folder."""
    folder = Path(path)
    is_run = (folder / SUMMARY).is_file()
    return final_stack(RunFolder(folder)) if is_run else open_stack(path)
