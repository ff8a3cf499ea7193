"""The folder of a run that several processes make: who is at work, and what each of them did.

A part holds the lock of a file of its own in `parts/`, with its figures beside it. `run.json` tells
what all have in common; it is written by whoever holds the lock of the folder, for a moment only.
The first part that comes begins the run, and the last that leaves ends it.
"""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from ...blocks import Part, TakenError, locked
from ...conventions import VERSION, RecipeError, StackReadError
from .life import signs_of_life
from .parts import PARTS, ended, living_parts, part_file, read_figures
from .run_folder import LOCK, RunFolder, replace_file

_PATIENCE = 600.0  # seconds in which another part should have noted something, or made a report


class PartFolder(RunFolder):
    """Output folder of a recipe, as one of several processes uses it.

    Attributes
    ----------
    part
        Which one.
    """

    def __init__(self, path: Path, part: Part) -> None:
        super().__init__(path)
        self.part = part
        self._own = part_file(path, part, "json")
        self._holding = ExitStack()  # the lock of this part
        self._inside = 0  # how often this process holds the lock of the folder

    @property
    def log(self) -> Path:
        """The log of this part."""
        return self.path / f"fibdask-{self._own.stem}.log"

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Come to the folder, and leave it.

        Raises
        ------
        StackReadError
            If another run uses it, or another process is this part.
        """
        self._make()
        self._refuse_whole_run()
        with self.alone():
            self._own.parent.mkdir(exist_ok=True)
            self._hold()
            self._own.unlink(missing_ok=True)
        try:
            with signs_of_life(self.path / LOCK):
                yield
        finally:
            with self.alone(), suppress(OSError):  # where others have left something there
                self._holding.close()
                self._own.parent.rmdir()

    def _refuse_whole_run(self) -> None:
        """Refuse a folder in which a run without parts is at work, rather than wait for it."""
        summary: dict[str, Any] = {}
        with suppress(StackReadError):
            summary = self.read()
        if summary.get("state") == "running" and not summary.get("parts"):
            msg = f"{self.path} is being written by a run without parts; wait for it, or stop it"
            raise TakenError(msg)

    def _hold(self) -> None:
        try:
            lock = part_file(self.path, self.part, "lock")
            self._holding.enter_context(locked(lock, what=self.path, passing=True))
        except TakenError:
            msg = (
                f"part {self.part} of the run in {self.path} is being made by another process; "
                "give each process a number of its own"
            )
            raise TakenError(msg) from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the other parts from noting anything."""
        with ExitStack() as held:
            if not self._inside:
                held.enter_context(locked(self.path / LOCK, wait=_PATIENCE))
            self._inside += 1
            try:
                yield
            finally:
                self._inside -= 1

    def prepare(
        self, title: str, recipe: str, assumptions: list[str], made_of: Sequence[str] = ()
    ) -> bool:
        """Begin the run, or join those that have, and tell whether anything may be left to do.

        To be done `alone`.

        Raises
        ------
        RecipeError
            If they make another recipe, of other data, in other parts, or with another version.
        """
        beside = [part for part in self._beside() if part_file(self.path, part, "json").exists()]
        common = self._common()
        told = {"recipe": recipe, "version": VERSION, "made_of": list(made_of)}
        if beside:
            self._check_same(common, told, beside)
        elif self._is_late(common, told):
            self._write_common(self._came(common))
            return False
        else:
            common = self._begun(title, told, assumptions)
        common = self._came(common)
        self._write_common(common)
        self.run = common["run"]
        self.summary = {**common, "stages": [], "state": "running", "error": None}
        self._write()
        return True

    def _beside(self) -> list[Part]:
        return [part for part in living_parts(self.path) if part != self.part]

    def _common(self) -> dict[str, Any]:
        """Return what the parts have in common; nothing where no run has begun."""
        return self._noted() if self._file.is_file() else {}

    def _check_same(self, common: dict[str, Any], told: dict[str, Any], beside: list[Part]) -> None:
        others = ", ".join(map(str, beside))
        if beside[0].of != self.part.of:
            difference = f"this is part {self.part}; all must be of one number"
        elif common["version"] != VERSION:
            difference = f"by fibdask {common['version']}, and this is {VERSION}"
        elif common["recipe"] != told["recipe"]:
            difference = "of another recipe, or with other options; compare its recipe.toml"
        elif common["made_of"] != told["made_of"]:
            difference = (
                "and what it reads has changed since, or its networks run on another device; stop "
                "it, and begin again"
            )
        else:
            return
        msg = f"the run in {self.path} is being made as part {others}, {difference}"
        raise RecipeError(msg)

    def _is_late(self, common: dict[str, Any], told: dict[str, Any]) -> bool:
        """Tell whether the other parts have finished the run before this one came."""
        parts = common.get("parts") or {"of": 0, "came": []}
        same = all(common.get(key) == value for key, value in told.items())
        new = parts["of"] == self.part.of and self.part.number not in parts["came"]
        return same and new and common["state"] == "done"

    def _begun(self, title: str, told: dict[str, Any], assumptions: list[str]) -> dict[str, Any]:
        """Begin a run: clean up after a killed one, and return its summary."""
        self._sweep()
        earlier = self.read() if self._file.is_file() else {}
        for file in (self.path / PARTS).glob("*.json"):
            file.unlink()
        replace_file(self.path / "recipe.toml", told["recipe"])
        summary = self._new_summary(title, told["recipe"], assumptions, told["made_of"], earlier)
        self.discard_pages(earlier, summary)
        parts = {"of": self.part.of, "came": []}
        return {**summary, "stages": earlier.get("stages", []), "run": uuid4().hex, "parts": parts}

    def _came(self, common: dict[str, Any]) -> dict[str, Any]:
        """Return the summary in which it is noted that this part has come."""
        came = sorted({*common["parts"]["came"], self.part.number})
        return {**common, "parts": {"of": self.part.of, "came": came}}

    def _write_common(self, common: dict[str, Any]) -> None:
        replace_file(self._file, json.dumps(common, indent=1))

    def _write(self) -> None:
        """Write the figures of this part."""
        replace_file(self._own, json.dumps(self.summary, indent=1))
        self._written = time.monotonic()

    def is_done(self, name: str) -> bool:
        """Tell whether this run has made a store."""
        return bool(self._common()["stores"].get(name) == "done")

    def _note_store(self, name: str, state: str) -> None:
        with self.alone():
            common = self._common()
            if common["stores"].get(name) != "done":
                common["stores"][name] = state
                self._write_common(common)

    def note_warnings(self, name: str, texts: list[str]) -> None:
        """Note what was warned of when a store was made."""
        with self.alone():
            common = self._common()
            common["warnings"][name] = texts
            self._write_common(common)

    @contextmanager
    def closed(self, state: str, error: str | None = None) -> Iterator[bool]:
        """End this part, and the run if it is the last; then it is to be reported."""
        with self.alone():
            self.summary |= {"state": state, "error": error}
            self._write()
            last = not self._beside()
            if last:
                self.summary = ended(self._common(), read_figures(self.path), state)
                self._write_common(self.summary)
            self._holding.close()
            if last:
                shutil.rmtree(self.path / PARTS)
            yield last
