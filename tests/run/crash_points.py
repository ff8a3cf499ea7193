"""Runs that are killed just before one of their changes of the file system.

A forked child runs a recipe in its own process, with a hook on Python's audit events that counts
what creates, renames, links or removes anything below a folder, and kills the child at a number.
The parent must not have used Zarr or Dask: their threads would not be there in the child.
Compiled code is made ready in the parent, once for all children; that starts no thread.
"""

import os
import shutil
import signal
import sys
import traceback
import warnings
from itertools import count
from pathlib import Path

import numpy as np
import tifffile

from fibdask.run import runner
from fibdask.statistics._kernels.lines import packed_lines

_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

SMALL = """
title = "small"
[input]
path = "{images}"
voltage = 2.0
pixel_size = 5
slice_thickness = 10
[segment]
method = "otsu"
[reposition]
spacing = 5
[inpaint]
method = "distance"
[statistics]
max_lag = 4
[output]
path = "out"
report = false
"""


def changes_of(recipe: Path, folder: Path) -> int:
    """Return how often a run changes the file system below a folder."""
    return _in_child(recipe, folder, None)


def kill_at(point: int, recipe: Path, folder: Path) -> None:
    """Run a recipe up to a change, and end it there."""
    _in_child(recipe, folder, point)


def run_undisturbed(recipe: Path, folder: Path) -> None:
    """Run a recipe to its end."""
    _in_child(recipe, folder, None)


def files_of(out: Path) -> dict[str, bytes]:
    """Return the content of all files of a run, but what tells times, memory and the folder."""
    varying = ("run.json", "array.json", "recipe.toml")
    of_processes = (".jsonl", ".log")
    return {
        str(file.relative_to(out)): b"" if file.name in varying else file.read_bytes()
        for file in sorted(out.rglob("*"))
        if file.is_file() and file.suffix not in of_processes
    }


def copied(folder: Path, place: Path) -> Path:
    """Return a fresh copy of a folder, its times kept."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place)
    return place


def _in_child(recipe: Path, folder: Path, point: int | None) -> int:
    """Run a recipe in a child; return the number of changes of one that was not to be killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _run(recipe, str(folder), point, writing)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    _, state = os.waitpid(child, 0)
    if point is not None:
        return 0
    assert os.WIFEXITED(state), text
    assert os.WEXITSTATUS(state) == 0, text
    return int(text)


def _run(recipe: Path, folder: str, point: int | None, writing: int) -> None:
    """Run a recipe in this child and end it; the only way out."""
    changes = _count_changes(folder, point)
    code = 0
    warnings.simplefilter("ignore")  # that results of another input are replaced
    try:
        runner.run_recipe(recipe)
        text = str(next(changes))
    except BaseException:
        code, text = 1, traceback.format_exc()
    os.write(writing, text.encode())
    os._exit(code)


def _count_changes(folder: str, point: int | None) -> "count[int]":
    changes = count()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            changing = isinstance(flags, int) and bool(flags & _WRITING)
        else:
            path, changing = (arguments or ("",))[0], event in _CHANGES
        ours = changing and isinstance(path, str | Path) and str(path).startswith(folder)
        if ours and next(changes) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return changes


class Trial:
    """A run, as it is and after its input has changed, killed at any of its changes.

    Attributes
    ----------
    points
        Number of changes that can be killed, by kind: `new` for the first run into a folder,
        `changed` for one with fewer slices into the folder of a finished run.
    """

    def __init__(self, folder: Path) -> None:
        list(packed_lines(np.zeros((2, 2, 2), np.uint8), 0))
        self._folder = folder
        self._recipes = {kind: folder / f"{kind}.toml" for kind in ("new", "changed")}
        for kind, slices in (("new", 12), ("changed", 9)):
            write_images(folder / kind, slices)
            self._recipes[kind].write_text(SMALL.format(images=folder / kind))
        self._starts = {"new": folder / "empty", "changed": folder / "finished"}
        for start in self._starts.values():
            start.mkdir()
        run_undisturbed(self._recipe("new", self._starts["changed"]), self._starts["changed"])
        self.points: dict[str, int] = {}
        self._expected: dict[str, dict[str, bytes]] = {}
        for kind in self._starts:
            place = copied(self._starts[kind], folder / f"expected-{kind}")
            self.points[kind] = changes_of(self._recipe(kind, place), place)
            self._expected[kind] = files_of(place / "out")

    def _recipe(self, kind: str, place: Path) -> Path:
        return Path(shutil.copy(self._recipes[kind], place / "recipe.toml"))

    def differences(self, kind: str, point: int) -> list[str]:
        """Kill a run at a point, run it again, and return the files that are not as they should."""
        place = copied(self._starts[kind], self._folder / f"{kind}-{point}")
        recipe = self._recipe(kind, place)
        kill_at(point, recipe, place)
        run_undisturbed(recipe, place)
        found, expected = files_of(place / "out"), self._expected[kind]
        shutil.rmtree(place)
        names = {*found, *expected}
        return sorted(name for name in names if found.get(name) != expected.get(name))


def write_images(folder: Path, slices: int) -> None:
    """Write slices of noise."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(slices):
        grey = rng.integers(0, 256, (70, 70), np.uint8)
        tifffile.imwrite(folder / f"slice_{number:03d}.tif", grey)
