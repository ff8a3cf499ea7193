"""The folder of a run: stores of the stages, log, and the summary that status and report read."""

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...blocks import StageReport, TakenError, is_locked, locked
from ...conventions import VERSION, StackReadError
from ..cluster.security import FOLDER as CERTIFICATES
from .figures import MEASURED, figures
from .life import SILENT, signs_of_life, silence
from .parts import PARTS, living_parts, merged, read_figures
from .summary import parse_summary

SUMMARY = "run.json"
LOG = "fibdask.log"
COUNTS = "counts"
LOCK = "run.lock"
REPORT = "report.html"
PROFILE = "profile.html"
JOBS = "jobs"
"""Logs of the jobs that start workers, which come before the run."""
PARTIAL, REMOVED = ".{}.partial", ".{}.removed"
"""Names of what is written beside the thing that it replaces, and of what is being removed."""
_WRITE_EVERY = 1.0  # seconds


class RunFolder:
    """Output folder of a recipe, and its summary on disk.

    Attributes
    ----------
    run
        Name of the run, where several processes make it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = ""
        self.summary: dict[str, Any] = {}
        self._earlier: dict[str, Any] = {}
        self._written = 0.0

    @property
    def log(self) -> Path:
        """The log of a run."""
        return self.path / LOG

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Keep the folder from being used by two runs at once, and clean up after a killed one.

        Raises
        ------
        StackReadError
            If another run uses it, or the path is something else than the folder of a run.
        """
        self._make()
        with locked(self.path / LOCK):
            if living := living_parts(self.path):
                numbers = ", ".join(map(str, living))
                msg = f"{self.path} is being written as part {numbers}; wait for it, or stop it"
                raise TakenError(msg)
            self._sweep()
            with signs_of_life(self.path / LOCK):
                yield

    def _make(self) -> None:
        self.check()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"output path {self.path} cannot be written: {error.strerror}"
            raise StackReadError(msg) from error

    def _sweep(self) -> None:
        for pattern in (PARTIAL, REMOVED):
            for leftover in self.path.glob(pattern.format("*")):
                _remove(leftover)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from noting anything: where one run has taken the folder, nobody does."""
        yield

    def check(self) -> None:
        """Refuse a path that is something else than the folder of a run.

        Raises
        ------
        StackReadError
            Naming it.
        """
        used = self.path.exists() and not (self.path.is_dir() and not self._holds_anything())
        known = self._file.is_file() or (self.path / LOCK).is_file()
        if used and not known:
            msg = (
                f"output path {self.path} exists and is not the folder of a run; "
                "choose another or remove it"
            )
            raise StackReadError(msg)

    def _holds_anything(self) -> bool:
        """Tell whether there is more than what is made before a run begins."""
        return any(child.name not in (CERTIFICATES, JOBS) for child in self.path.iterdir())

    def prepare(
        self, title: str, recipe: str, assumptions: list[str], made_of: Sequence[str] = ()
    ) -> bool:
        """Begin the summary of a run; figures of an earlier one are kept where nothing runs.

        There may always be something to do. `made_of` are fingerprints of what is read now.
        """
        earlier = self.read() if self._file.is_file() else {}
        self._earlier = {stage["name"]: stage for stage in earlier.get("stages", [])}
        shutil.rmtree(self.path / PARTS, ignore_errors=True)
        self.summary = self._new_summary(title, recipe, assumptions, made_of, earlier)
        self.discard_pages(earlier, self.summary)
        self._write()
        replace_file(self.path / "recipe.toml", recipe)
        return True

    def _new_summary(
        self,
        title: str,
        recipe: str,
        assumptions: list[str],
        made_of: Sequence[str],
        earlier: Mapping[str, Any],
    ) -> dict[str, Any]:
        return {
            "title": title,
            "version": VERSION,
            "created": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "recipe": recipe,
            "assumptions": assumptions,
            "made_of": list(made_of),
            "state": "running",
            "stages": [],
            "stores": {},
            "error": None,
            "warnings": earlier.get("warnings", {}),
        }

    @property
    def _file(self) -> Path:
        return self.path / SUMMARY

    @property
    def is_awaited(self) -> bool:
        """Whether no run has begun here, but one may, or is about to."""
        if self._file.exists():
            return False
        return not self.path.exists() or (
            self.path.is_dir() and (not self._holds_anything() or is_locked(self.path / LOCK))
        )

    def store(self, stage: str) -> Path:
        """Return the store of a stage."""
        return self.path / f"{stage}.zarr"

    def read(self) -> dict[str, Any]:
        """Read the summary of the last run; one that was killed is `interrupted`.

        Of a run that seems dead, `silent_seconds` is the time since it gave a sign of life.

        Raises
        ------
        StackReadError
            If there is none.
        """
        summary = self._noted() | {"silent_seconds": None}
        if summary["state"] == "running" and not living_parts(self.path):
            seen = self._seen(summary)
            summary = self._noted() | {"silent_seconds": None}  # which may just have ended
            if summary["state"] == "running":
                summary |= seen
        told = read_figures(self.path)  # until the last part has ended
        if told and summary["state"] in ("running", "interrupted"):
            summary = merged(summary, told)
        if summary["stores"] is None:
            summary["stores"] = self._stores_of(summary)
        return summary

    def _noted(self) -> dict[str, Any]:
        """Return the summary as it is on disk."""
        try:
            return parse_summary(self._file.read_text(encoding="utf-8"))
        except OSError as error:
            msg = f"{self.path} is not the folder of a run: {SUMMARY}: {error.strerror}"
            raise StackReadError(msg) from None
        except ValueError as error:
            msg = f"{self._file} is damaged: {error}; run the recipe anew with --fresh"
            raise StackReadError(msg) from None

    def _seen(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is seen of a run that has not ended.

        Some file systems show the locks of their own machine only: there, signs of life count.
        """
        lock = self.path / LOCK
        silent = silence(lock)
        here = summary["host"] in ("", socket.gethostname())
        if not is_locked(lock) and (here or silent > SILENT):
            ended = f"process {summary['process']} on {summary['host']} has ended; run it again"
            return {"state": "interrupted", "error": summary["error"] or ended}
        return {"silent_seconds": round(silent) if silent > SILENT else None}

    def _stores_of(self, summary: Mapping[str, Any]) -> dict[str, str]:
        """Return the stores of a run that did not note them: one for each stage that it made."""
        state = "done" if summary["state"] == "done" else "unfinished"
        names = [stage["name"] for stage in summary["stages"]]
        return {name: state for name in names if self.store(name).is_dir()}

    def update(self, stage: Mapping[str, Any], *, now: bool) -> None:
        """Put a stage's figures into the summary; on disk at once, or within a second."""
        stages = [s for s in self.summary["stages"] if s["name"] != stage["name"]]
        self.summary["stages"] = [*stages, dict(stage)]
        if now or time.monotonic() - self._written > _WRITE_EVERY:
            self._write()

    def begin_store(self, name: str) -> Path:
        """Note that a store is being made, and return its path; not done, it is not read."""
        self._note_store(name, "unfinished")
        return self.store(name)

    def end_store(self, name: str) -> None:
        """Note that a store is done."""
        self._note_store(name, "done")

    def note_warnings(self, name: str, texts: list[str]) -> None:
        """Note what was warned of when a store was made."""
        self.summary["warnings"][name] = texts
        self._write()

    def is_done(self, name: str) -> bool:
        """Tell whether this run has made a store."""
        return bool(self.summary["stores"].get(name) == "done")

    def _note_store(self, name: str, state: str) -> None:
        self.summary["stores"][name] = state
        self._write()

    @contextlib.contextmanager
    def closed(self, state: str, error: str | None = None) -> Iterator[bool]:
        """Write the last summary of a run, with what ended it; then it is to be reported."""
        self.summary |= {"state": state, "error": error}
        self._write()
        yield True

    def discard(self, path: Path) -> None:
        """Remove something of an earlier run: at once for readers, though it takes its time."""
        removed = path.with_name(REMOVED.format(path.name))
        path.rename(removed)
        _remove(removed)

    def discard_pages(self, earlier: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
        """Remove what shows an earlier run, unless its results are those of the run that begins."""
        if all(earlier.get(key) == summary[key] for key in ("recipe", "made_of", "version")):
            return
        for name in (REPORT, PROFILE):
            with contextlib.suppress(FileNotFoundError):  # there is none, or another part was first
                self.discard(self.path / name)

    def _write(self) -> None:
        replace_file(self._file, json.dumps(self.summary, indent=1))
        self._written = time.monotonic()

    def merge(self, name: str, reports: list[StageReport]) -> dict[str, Any]:
        """Add up the arrays of a stage; a stage of which nothing ran keeps what was measured."""
        failures = [asdict(failure) for report in reports for failure in report.failures]
        stage: dict[str, Any] = {
            "name": name,
            "blocks": sum(r.blocks for r in reports),
            "blocks_run": sum(r.blocks_run for r in reports),
            "blocks_skipped": sum(r.blocks_skipped for r in reports),
            "blocks_elsewhere": sum(r.blocks_elsewhere for r in reports),
            "blocks_failed": len(failures),
            "seconds": round(sum(r.seconds for r in reports), 3),
            "forecast_bytes": max(r.forecast_bytes for r in reports),
            "peak_bytes": max(r.peak_bytes for r in reports),
            **figures(reports),
            "failures": failures,
        }
        earlier = self._earlier.get(name)
        if earlier and not stage["blocks_run"] and not failures:
            for key in ("peak_bytes", "forecast_bytes"):
                stage[key] = max(int(stage[key]), int(earlier[key]))
            stage |= {key: earlier[key] for key in MEASURED}
        return stage


def replace_file(path: Path, text: str) -> None:
    """Write a file beside the old one and put it in its place, so that it is always whole."""
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        msg = f"{path} cannot be written: {error.strerror}"
        raise StackReadError(msg) from error


def _remove(path: Path) -> None:
    """Remove a file or a folder; of a link the link, not what it points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
