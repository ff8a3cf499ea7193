"""Processes that stand still at a place of a run, so that a test need not hope to be in time."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 400
"""Seconds to wait for what takes a few on a quiet machine."""

HOOK = '''
import os, sys, time
from pathlib import Path

FOLDER, seen = Path(__file__).parent, 0


def hold(event, arguments):
    """Stand still before a file of the place gets its name, as long as nothing lets go."""
    global seen
    if event not in ("os.link", "os.rename") or {place!r} not in str(arguments[1]):
        return
    seen += 1
    if seen > {after} and not (FOLDER / "go").exists():
        (FOLDER / str(os.getpid())).touch()
        while not (FOLDER / "go").exists():
            time.sleep(0.02)


sys.addaudithook(hold)
'''


def wait_until(condition):
    """Wait until a condition holds, and return what it is."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)
    return found


@dataclass(frozen=True)
class Hold:
    """Holds every Python that is started with its folder in PYTHONPATH.

    Attributes
    ----------
    folder
        Of the module that Python loads when it starts, and of what held processes leave there.
    """

    folder: Path

    @classmethod
    def at(cls, folder: Path, place: str, after: int) -> "Hold":
        """Hold processes at the files of a place, each after it has made some of them."""
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(HOOK.format(place=place, after=after))
        return cls(folder)

    @property
    def path(self) -> str:
        """PYTHONPATH of processes that are to be held."""
        return os.pathsep.join(filter(None, [str(self.folder), os.environ.get("PYTHONPATH")]))

    @property
    def processes(self) -> list[int]:
        """The numbers of those that stand still, or did."""
        return [int(file.name) for file in self.folder.iterdir() if file.name.isdigit()]

    def wait(self) -> list[int]:
        """Wait until a process stands still, and return which do."""
        return wait_until(lambda: self.processes)

    def let_go(self) -> None:
        """Let all go on, and hold none any more."""
        (self.folder / "go").touch()
